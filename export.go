package tokenstore

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// ErrChanged: something was issued or revoked, or a user was being erased, while all was exported. Begin again.
var ErrChanged = errors.New("tokenstore: changed while it was exported")

// ExportOptions say what is exported. The zero value, and nil, export resources.
type ExportOptions struct {
	// Full exports all that another database needs to take the tenant's place: digests, salts, and what is remembered of
	// revocations too. Whoever has such a file can't exchange anything with it, but it holds what the database holds: a file
	// of it should be readable by its owner only. Defaults to false, public properties.
	Full bool
	// Progress is called after each page with what has been written so far. Defaults to none.
	Progress func(ExportReport)
}

// ExportReport says what was exported.
type ExportReport struct {
	ID       ulid.ULID // ID names a full export; zero for resources.
	Sequence uint64    // Sequence is the tenant's, as of which all is exported; 0 for resources.
	Guards   int       // Guards is how many targets of revocations were written; 0 for resources.
	Tokens   int       // Tokens is how many tokens were written.
}

// Export writes the tenant's tokens, one JSON object a line, without what is revoked. It reads a page at a time, so it needs
// little memory and holds up nobody.
//
// The lines are resources, as [Manager.ImportNDJSON] reads them, or those of a full export, which [Manager.ImportFull]
// does. No form has a secret. A full export is of one moment: the tenant must be at rest, and if anything is issued or revoked
// meanwhile it returns [ErrChanged] and leaves out the last line, without which nobody takes it for complete. An exchange is
// not noticed, but its new secret is not in the export. A full export needs a backend whose stores are [store.Mover];
// otherwise the error is errors.ErrUnsupported.
func (m *Manager) Export(ctx context.Context, w io.Writer, opts *ExportOptions) (ExportReport, error) {
	if opts == nil {
		opts = &ExportOptions{}
	}
	buffered := bufio.NewWriterSize(w, 1<<16)
	e := exporter{m: m, opts: *opts, out: buffered}
	export := e.tokens
	if opts.Full {
		export = e.full
	}
	err := export(ctx)
	if err == nil {
		err = buffered.Flush()
	}
	return e.report, err
}

type exporter struct {
	m      *Manager
	opts   ExportOptions
	out    io.Writer
	report ExportReport
}

func (e *exporter) write(line any) error {
	data, err := json.Marshal(line)
	if err == nil {
		_, err = e.out.Write(append(data, '\n'))
	}
	return err
}

// tokens writes the tokens that no revocation covers.
func (e *exporter) tokens(ctx context.Context) error {
	q := store.Query{Limit: store.MaxPage, Fenced: true}
	for {
		page, err := e.m.store.List(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Tokens {
			var line any = page.Tokens[i]
			if e.opts.Full {
				line = fullLine{Token: newFullToken(&page.Tokens[i])}
			}
			if err := e.write(line); err != nil {
				return err
			}
			e.report.Tokens++
		}
		e.progress()
		if q.After = page.Next; q.After.IsZero() {
			return nil
		}
	}
}

func (e *exporter) progress() {
	if e.opts.Progress != nil {
		e.opts.Progress(e.report)
	}
}

// full writes a full export. Whatever numbers something meanwhile is found by the sequence at the end; an erasure that was
// recorded before could rename a guard that is yet to be read, so there must be none.
func (e *exporter) full(ctx context.Context) error {
	mover, err := e.m.mover()
	if err != nil {
		return err
	}
	before, err := e.m.store.State(ctx)
	if err != nil {
		return err
	}
	if e.report.ID, err = e.m.newID(e.m.now()); err != nil {
		return err
	}
	e.report.Sequence = before.Sequence
	first, err := mover.Guards(ctx, store.GuardQuery{Limit: 1})
	if err != nil {
		return err
	}
	err = e.write(fullLine{Export: &fullHeader{
		Version: fullVersion, ID: e.report.ID, Tenant: e.m.opts.Tenant, Sequence: before.Sequence,
		HorizonSequence: before.Horizon.Sequence, HorizonTime: before.Horizon.Time, ErasureKey: unlessZero(first.ErasureKey[:]),
		LastEvent: before.LastEvent,
	}})
	if err != nil {
		return err
	}
	// What is retired between the two is found among the guards.
	if err := errors.Join(e.pending(ctx), e.guards(ctx, mover)); err != nil {
		return err
	}
	if err := e.tokens(ctx); err != nil {
		return err
	}
	after, err := e.m.store.State(ctx)
	switch {
	case err != nil:
		return err
	case after.Sequence != before.Sequence || after.Horizon != before.Horizon:
		return ErrChanged
	}
	return e.write(fullLine{End: &fullEnd{Guards: e.report.Guards, Tokens: e.report.Tokens}})
}

// pending writes what the pending revocations will leave.
func (e *exporter) pending(ctx context.Context) error {
	q := store.RevocationQuery{Limit: store.MaxPage}
	for {
		page, err := e.m.store.Revocations(ctx, q)
		if err != nil {
			return err
		}
		for _, status := range page.Revocations {
			if status.Tombstone.Erases {
				return fmt.Errorf("%w: an erasure is pending", ErrChanged)
			}
			if err := e.remember(status.Tombstone.Guards()); err != nil {
				return err
			}
		}
		if q.After = page.Next; q.After.IsZero() {
			return nil
		}
	}
}

func (e *exporter) guards(ctx context.Context, mover store.Mover) error {
	q := store.GuardQuery{Limit: store.MaxPage}
	for {
		page, err := mover.Guards(ctx, q)
		if err != nil {
			return err
		}
		if err := e.remember(page.Guards); err != nil {
			return err
		}
		if q.After = page.Next; q.After == "" {
			return nil
		}
	}
}

func (e *exporter) remember(guards []domain.Guard) error {
	for _, guard := range guards {
		if err := e.write(fullLine{Guard: newFullGuard(guard)}); err != nil {
			return err
		}
		e.report.Guards++
	}
	e.progress()
	return nil
}

// mover is the store as one that can move.
func (m *Manager) mover() (store.Mover, error) {
	mover, ok := store.As[store.Mover](m.store)
	if !ok {
		return nil, fmt.Errorf("tokenstore: the backend can't hand over what it remembers: %w", errors.ErrUnsupported)
	}
	return mover, nil
}
