package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"example.com/tokenstore/boltstore"
	"github.com/spf13/cobra"
)

func newBackupCommand() *cobra.Command {
	var f databaseFlags
	cmd := &cobra.Command{
		Use:   "backup --db FILE OUT",
		Short: "Copy a file of tokens, and check the copy",
		Long: "backup makes a consistent copy of the whole file, with all its tenants, checks it, and only then gives it its name, which must not\n" +
			"be taken. While tokenstore serve holds the file it makes the backups itself: see its --backup-dir. PostgreSQL and etcd have\n" +
			"tools of their own. A backup is no secret that could be exchanged, but holds what the file holds.",
		Example: "  tokenstore backup --db tokens.db backups/tokens-2026-11-27.db",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("backup takes one file to write")
			}
			return nil
		},
	}
	f.register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		if f.scheme() != "" {
			return usage("backup is for a file: %s is backed up by its own tools, and made fit for use again by tokenstore restore", f.scheme())
		}
		return f.backUp(cmd.Context(), args[0])
	}
	return cmd
}

func (f *databaseFlags) backUp(ctx context.Context, out string) (err error) {
	if _, err := os.Lstat(out); err == nil {
		return usage("%s is there already, and left alone", out)
	}
	file, err := boltstore.Open(f.name(), &boltstore.Options{MustExist: true})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return usage("--db: there is no file %s", f.name())
	case errors.Is(err, boltstore.ErrLocked):
		return fmt.Errorf("%s is in use by another process, which has to make its backups: tokenstore serve does with --backup-dir, a program by Backend.Backup", f.name())
	case err != nil:
		return fmt.Errorf("%s can't be opened: %w", f.name(), err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := file.Backup(ctx, out); err != nil {
		return notPlaced(out, damaged(f.name(), err))
	}
	fmt.Fprintf(os.Stderr, "backed up to %s, and checked\n", out)
	return nil
}

// damaged has an error that is about the file which is copied name that file: the copy is named by [notPlaced].
func damaged(copied string, err error) error {
	for _, kind := range []error{boltstore.ErrNotOurs, boltstore.ErrTruncated, boltstore.ErrCorrupt, boltstore.ErrFormat} {
		if errors.Is(err, kind) {
			return fmt.Errorf("%s: %w", copied, err)
		}
	}
	return err
}

// notPlaced says that a file was not made, or how far that can be relied on.
func notPlaced(out string, err error) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return usage("%s is there already, and left alone", out)
	case errors.Is(err, boltstore.ErrUnsettled):
		return fmt.Errorf("%s was made, and is whole, but a loss of power may take away its name, since the folder could not be synced: %w", out, err)
	}
	return fmt.Errorf("%s was not made: %w", out, err)
}
