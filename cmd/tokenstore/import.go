package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// importFlags say what an import lets in.
type importFlags struct {
	tenantFlags
	legacyFlags
	nullLegacySessions, beyondMemory, full bool
}

func newImportCommand() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import --db FILE|URL FILE.ndjson",
		Short: "Import tokens, one JSON resource a line, or a full export",
		Long: "import reads tokens in the shape of the management API's resource, one a line, from a file or, for \"-\", from stdin. Lines\n" +
			"that are refused are reported on stderr, with their number and the reason, and hold up no other; the exit code is then 3.\n" +
			"An import may be repeated: what is there already is unchanged, and what has been revoked stays out.",
		Example: `  tokenstore import --db new.db tokens.ndjson
  tokenstore import --db tokens.db --region us-3 --null-legacy-sessions --beyond-memory tokens.ndjson
  tokenstore import --db copy.db --full all.ndjson`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("import takes one file of tokens, or - for stdin")
			}
			return nil
		},
	}
	f.creates, f.writes = true, true
	f.tenantFlags.register(cmd.Flags())
	f.legacyFlags.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.nullLegacySessions, "null-legacy-sessions", false, "leave out the session id of tokens created before the cut-off, instead of refusing them")
	cmd.Flags().BoolVar(&f.beyondMemory, "beyond-memory", false, "let in tokens so old that their revocation may be forgotten; each is logged")
	cmd.Flags().BoolVar(&f.full, "full", false, "take over the tenant of a full export; the tenant must be empty")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return f.importFrom(cmd.Context(), args[0], cmd.OutOrStdout())
	}
	return cmd
}

func (f *importFlags) check() error {
	if f.full && (f.nullLegacySessions || f.beyondMemory) {
		return usage("--full takes over a tenant as it was: --null-legacy-sessions and --beyond-memory have no part in it")
	}
	if err := f.tenantFlags.check(); err != nil {
		return err
	}
	_, err := f.rule()
	return err
}

func (f *importFlags) importFrom(ctx context.Context, name string, out io.Writer) (err error) {
	legacy, err := f.rule()
	if err != nil {
		return err
	}
	input, size := os.Stdin, int64(-1)
	if name != "-" {
		if input, err = os.Open(name); err != nil {
			return usage("%w", fileError(err))
		}
		defer input.Close()
		if info, err := input.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
	}
	_, err = os.Lstat(f.name())
	makes := f.scheme() == "" && errors.Is(err, fs.ErrNotExist)
	bar := newBar("importing", size, progressbar.OptionShowBytes(true))
	errs := bar.over(os.Stderr)
	database, manager, err := f.manage(ctx, tokenstore.Options{Legacy: legacy, Logger: slog.New(slog.NewTextHandler(errs, nil))}, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && makes {
			err = errors.Join(err, f.unmake(ctx, database))
		}
		err = errors.Join(err, database.Close())
	}()
	read := manager.ImportNDJSON
	if f.full {
		read = manager.ImportFull
	}
	report, err := read(ctx, bar.reader(input), &tokenstore.ImportOptions{
		NullLegacySessions: f.nullLegacySessions, BeyondMemory: f.beyondMemory,
		Refused: func(l tokenstore.RefusedLine) { fmt.Fprintln(errs, refusal(l)) },
	})
	bar.done()
	fmt.Fprintf(out, "imported %d, unchanged %d, refused %d", report.Imported, report.Unchanged, report.Refused)
	if f.full {
		fmt.Fprintf(out, ", guards %d", report.Guards)
	}
	fmt.Fprintln(out)
	switch {
	case err != nil:
		return fmt.Errorf("import stopped, and may be repeated: %w", err)
	case report.Refused > 0:
		return exitError{exitRefused, fmt.Errorf("%d lines were refused", report.Refused)}
	}
	return nil
}

// unmake removes the file that was made for an import that failed, if nothing came in. It is still held, so nobody else has written to it.
func (f *importFlags) unmake(ctx context.Context, database store.Backend) error {
	names, err := database.Tenants(context.WithoutCancel(ctx), "", 1)
	if err != nil || len(names) > 0 {
		return err
	}
	return os.Remove(f.name())
}

// refusal is the message of a refused line. A foreign id is not told: it is whatever the line says.
func refusal(l tokenstore.RefusedLine) string {
	if l.ID == (ulid.ULID{}) {
		return fmt.Sprintf("line %d: %v", l.Number, l.Err)
	}
	return fmt.Sprintf("line %d, token %s: %v", l.Number, l.ID, l.Err)
}
