package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"

	"example.com/tokenstore"
	"example.com/tokenstore/revocation"
	"github.com/spf13/cobra"
)

// eventsFlags say which events are printed.
type eventsFlags struct {
	operatorFlags
	after  string
	follow bool
}

// latest stands for the cursor of who wants what comes.
const latest = "latest"

func newEventsCommand() *cobra.Command {
	var f eventsFlags
	cmd := &cobra.Command{
		Use:   "events --db FILE|URL",
		Short: "Print the feed of what was revoked, reused and erased",
		Long: "events prints the events of a tenant after a cursor, the number of an event, in the order of their commits. By default it prints\n" +
			"a line of JSON each; such a copy, kept elsewhere, is what restore needs to bring a backup up to date. --follow waits for more,\n" +
			"until it is interrupted.",
		Example: `  tokenstore events --db tokens.db
  tokenstore events --db tokens.db --after 2 --output table
  tokenstore events --db tokens.db --after latest`,
		Args: noArgs,
	}
	f.register(cmd.Flags(), formNDJSON)
	cmd.Flags().StringVar(&f.after, "after", "0", "begin after the event of this `CURSOR`: a number, or latest for what comes (default 0)")
	cmd.Flags().BoolVar(&f.follow, "follow", false, "go on with what comes, as lines of JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return f.with(cmd.Context(), revocation.Options{}, func(m *tokenstore.Manager) error {
			if err := f.known(cmd.Context(), m); err != nil {
				if !f.follow || !isCode(err, exitNotFound) {
					return err
				}
				fmt.Fprintf(os.Stderr, "tokenstore: there is no tenant %q yet; waiting for it\n", f.tenant)
			}
			return f.events(cmd.Context(), m, cmd.OutOrStdout())
		})
	}
	return cmd
}

func (f *eventsFlags) check() error {
	if err := f.operatorFlags.check(); err != nil {
		return err
	}
	if _, err := strconv.ParseUint(f.after, 10, 64); err != nil && f.after != latest {
		return usage("--after: the number of an event, or latest")
	}
	switch {
	case f.follow && f.output.form != formNDJSON:
		return usage("--follow is for --output ndjson")
	case f.follow && f.scheme() == "":
		return usage("--follow is for databases that other processes write to: while this one holds a file, nothing can come")
	}
	return nil
}

func (f *eventsFlags) events(ctx context.Context, m *tokenstore.Manager, out io.Writer) error {
	after, err := f.cursor(ctx, m)
	if err != nil {
		return err
	}
	switch {
	case f.follow:
		err = tokenstore.WriteEvents(out, m.Follow(ctx, after))
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = nil // as it was meant to end
		}
	case f.output.form == formNDJSON:
		err = writeEvents(out, m.Events(ctx, after))
	default:
		err = f.printEvents(out, m.Events(ctx, after))
	}
	if field, ok := errors.AsType[*tokenstore.FieldError](err); ok && field.Field == "after" {
		return usage("--after: the feed has not come to %d", after)
	}
	if gone, ok := errors.AsType[*tokenstore.CursorGoneError](err); ok {
		return fmt.Errorf("what came after event %d is not there any more, or the database was restored: take stock anew, and begin with --after %d", gone.Cursor, gone.Resume)
	}
	return err
}

// cursor is the number that is meant.
func (f *eventsFlags) cursor(ctx context.Context, m *tokenstore.Manager) (uint64, error) {
	if f.after != latest {
		return strconv.ParseUint(f.after, 10, 64)
	}
	state, err := m.State(ctx)
	return state.LastEvent, err
}

// writeEvents writes lines, many at once.
func writeEvents(out io.Writer, events iter.Seq2[tokenstore.Event, error]) error {
	buffered := bufio.NewWriter(out)
	err := tokenstore.WriteEvents(buffered, events)
	return errors.Join(err, buffered.Flush())
}

func (f *eventsFlags) printEvents(out io.Writer, events iter.Seq2[tokenstore.Event, error]) error {
	heads := []string{"NUMBER", "TIME", "KIND", "REVOCATION", "TOKENS", "TARGETS", "COUNT", "REASON", "ACTOR"}
	return f.output.records(out, heads, func(p *printer) error {
		for e, err := range events {
			if err != nil {
				return err
			}
			if err := p.print(e, eventCells(&e)...); err != nil {
				return err
			}
		}
		return nil
	})
}

// eventCells are those of a table.
func eventCells(e *tokenstore.Event) []string {
	var ids, count string
	if len(e.Tokens) > 0 {
		ids = e.Tokens[0].ID.String()
	}
	if more := len(e.Tokens) - 1; more > 0 {
		ids += fmt.Sprintf(" and %d more", more)
	}
	if e.Count > 0 {
		count = strconv.FormatUint(e.Count, 10)
	}
	return []string{
		strconv.FormatUint(e.Number, 10), instant(e.Time), e.Kind.String(), idOrNone(e.Revocation), ids, describe(e.Targets), count, e.Reason, e.Actor,
	}
}
