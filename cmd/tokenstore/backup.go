package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
		return notPlaced(out, err)
	}
	fmt.Fprintf(os.Stderr, "backed up to %s, and checked\n", out)
	return nil
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

// scheduleFlags have a file backed up while it is served.
type scheduleFlags struct {
	dir   string
	every time.Duration
}

func (f *scheduleFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.dir, "backup-dir", "", "back the file up into `DIR` while it is served, and check each backup; none is removed")
	flags.DurationVar(&f.every, "backup-every", 24*time.Hour, "how long after the latest backup in --backup-dir to make the next")
	needs(flags, "backup-every", "backup-dir")
}

func (f *scheduleFlags) check(scheme string) error {
	switch {
	case f.every <= 0:
		return usage("--backup-every must be positive")
	case f.dir == "":
		return nil
	case scheme != "":
		return usage("--backup-dir is for a file: %s is backed up by its own tools", scheme)
	}
	if info, err := os.Stat(f.dir); err != nil || !info.IsDir() {
		return usage("--backup-dir: %s is no directory: make it first", f.dir)
	}
	return nil
}

// backupName is the name of a backup, of when it was made.
const backupName = "tokens-20060102T150405Z.db"

// latest is when the latest backup in the directory was made; the zero time if there is none.
func (f *scheduleFlags) latest() (latest time.Time) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return latest // the backup will say so
	}
	for _, entry := range entries {
		if at, err := time.Parse(backupName, entry.Name()); err == nil && at.After(latest) {
			latest = at
		}
	}
	return latest
}

// run makes backups until ctx ends. One that fails is tried again as late as the next would be.
func (f *scheduleFlags) run(ctx context.Context, database store.Backend, made *prometheus.CounterVec, logger *slog.Logger) {
	file, is := database.(*boltstore.Backend)
	if !is || f.dir == "" {
		return
	}
	for next := f.latest().Add(f.every); ; next = time.Now().Add(f.every) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		path := filepath.Join(f.dir, time.Now().UTC().Format(backupName))
		err := file.Backup(ctx, path)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			made.WithLabelValues("failed").Inc()
			logger.ErrorContext(ctx, "the backup failed", "error", notPlaced(path, err))
		default:
			made.WithLabelValues("made").Inc()
			logger.InfoContext(ctx, "backed up, and checked", "file", path)
		}
	}
}
