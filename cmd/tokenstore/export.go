package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"example.com/tokenstore"
	"github.com/spf13/cobra"
)

// exportFlags say what is exported.
type exportFlags struct {
	tenantFlags
	full bool
}

func newExportCommand() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export --db FILE|URL FILE.ndjson",
		Short: "Export tokens, one JSON resource a line, or all that another database needs",
		Long: "export writes the tokens of a tenant that are not revoked, one a line, to a file that must not be there yet or, for \"-\", to\n" +
			"stdout. With --full it writes all that another database needs to take the tenant's place; that file is readable by its\n" +
			"owner only. No export has a secret that could be exchanged.",
		Example: `  tokenstore export --db tokens.db exported.ndjson
  tokenstore export --db tokens.db -
  tokenstore export --db tokens.db --full everything.ndjson`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("export takes one file to write, or - for stdout")
			}
			return nil
		},
	}
	f.writes = true // it would bring back what a restoration has not revoked again yet
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.full, "full", false, "export digests, and what is remembered of revocations, too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return f.exportTo(cmd.Context(), args[0])
	}
	return cmd
}

func (f *exportFlags) exportTo(ctx context.Context, name string) (err error) {
	database, manager, err := f.manage(ctx, tokenstore.Options{}, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	if err := f.known(ctx, manager); err != nil {
		return err
	}
	out := os.Stdout
	if name != "-" {
		if out, err = f.create(name); err != nil {
			return err
		}
		defer func() {
			if err = errors.Join(err, out.Close()); err != nil {
				err = errors.Join(err, os.Remove(name))
			}
		}()
	}
	report, err := manager.Export(ctx, out, &tokenstore.ExportOptions{Full: f.full})
	if err == nil && name != "-" {
		err = out.Sync()
	}
	if err != nil {
		return fmt.Errorf("export stopped: %w", err)
	}
	fmt.Fprintf(os.Stderr, "exported %d tokens, %d guards\n", report.Tokens, report.Guards)
	return nil
}

// create makes the file, which is for its owner alone if it holds more than resources. One that is there is left alone: its
// mode would stay as it is.
func (f *exportFlags) create(name string) (*os.File, error) {
	mode := os.FileMode(0o644)
	if f.full {
		mode = 0o600
	}
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, usage("%w", fileError(err))
	}
	return out, nil
}
