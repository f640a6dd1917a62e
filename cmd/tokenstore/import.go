package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"example.com/tokenstore"
	"example.com/tokenstore/revocation"
	"github.com/spf13/cobra"
)

// batchSize is how many tokens are committed at once.
const batchSize = 1000

func newImportCommand() *cobra.Command {
	var f tenantFlags
	cmd := &cobra.Command{
		Use:   "import --db FILE FILE.ndjson",
		Short: "Import tokens, one JSON resource a line",
		Long: "import reads tokens in the shape of the management API's resource, one a line, from a file or, for \"-\", from stdin. Lines\n" +
			"that are refused are reported on stderr, with their number and the reason, and hold up no other; the exit code is then 3.\n" +
			"An import may be repeated: what is there already is unchanged, and what has been revoked stays out.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("import takes one file of tokens, or - for stdin")
			}
			return nil
		},
	}
	f.register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return f.importFrom(cmd.Context(), args[0], cmd.OutOrStdout())
	}
	return cmd
}

func (f *tenantFlags) importFrom(ctx context.Context, name string, out io.Writer) (err error) {
	input, size := os.Stdin, int64(-1)
	if name != "-" {
		if input, err = os.Open(name); err != nil {
			return usage("%w", err)
		}
		defer input.Close()
		if info, err := input.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
	}
	file, manager, err := f.open(slog.New(slog.DiscardHandler), revocation.Events{}, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	bar := newBar(size)
	i := importer{manager: manager, bar: bar, errs: bar.over(os.Stderr)}
	err = i.read(ctx, bar.reader(input))
	bar.done()
	fmt.Fprintf(out, "imported %d, unchanged %d, refused %d\n", i.imported, i.unchanged, i.refused)
	switch {
	case err != nil:
		return fmt.Errorf("import stopped, and may be repeated: %w", err)
	case i.refused > 0:
		return exitError{exitRefused, fmt.Errorf("%d lines were refused", i.refused)}
	}
	return nil
}

// importer brings in the tokens of lines, a batch at a time.
type importer struct {
	manager *tokenstore.Manager
	bar     *bar
	errs    io.Writer

	batch   []tokenstore.RefreshToken
	numbers []int // the line of each token of the batch

	imported, unchanged, refused int
}

func (i *importer) read(ctx context.Context, r io.Reader) error {
	for n, line := range lines(r) {
		if line.err != nil {
			return line.err
		}
		var token tokenstore.RefreshToken
		switch {
		case line.tooLong:
			i.refuse(n, fmt.Errorf("longer than %d bytes", maxLine))
			continue
		case len(line.text) == 0:
			continue
		}
		if err := json.Unmarshal(line.text, &token); err != nil {
			i.refuse(n, reason(err))
			continue
		}
		i.batch, i.numbers = append(i.batch, token), append(i.numbers, n)
		if len(i.batch) == batchSize {
			if err := i.commit(ctx); err != nil {
				return err
			}
		}
	}
	return i.commit(ctx)
}

// reason says what is wrong with a line without repeating any of it.
func reason(err error) error {
	if field, ok := errors.AsType[*tokenstore.FieldError](err); ok {
		return field
	}
	return errors.New("not valid JSON")
}

func (i *importer) commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	results, err := i.manager.Import(ctx, i.batch)
	for k, result := range results {
		switch result.Outcome {
		case tokenstore.Imported:
			i.imported++
		case tokenstore.Unchanged:
			i.unchanged++
		default:
			i.refuse(i.numbers[k], result.Err)
		}
	}
	i.batch, i.numbers = i.batch[:0], i.numbers[:0]
	return err
}

func (i *importer) refuse(line int, why error) {
	i.refused++
	fmt.Fprintf(i.errs, "line %d: %v\n", line, why)
}
