package tokenstore

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// ImportFull takes a tenant over from a full export ([Manager.Export]). The manager's tenant must have the exported one's name
// and be empty, or have been taken over from the same export before, which may be repeated after a failure or a crash, and
// changes nothing then; otherwise the error is [ErrOccupied].
//
// What was remembered comes first, so that from the first token on nothing that the other database had revoked is let in: its
// sequence, which goes on from there, so that as-of points that a host has kept stay exact; its guards, those of revocations
// that were pending among them; its horizon; its erasure key; and the number of its latest event, so that cursors of its feed
// stay good. Each token is then let in as of its own sequence, with the
// state of its secret, so the clients exchange what they hold. A token that has been revoked here since stays out. Tokens whose
// digests are under a key need that key here.
//
// A line that is no part of a full export, and a guard that can't be taken over, end the import with an error; a token that is
// refused is reported, and holds up no other. An export that is cut short is an error that matches io.ErrUnexpectedEOF: put
// the tenant to use only after ImportFull has returned none. Of the options, only Refused and Progress apply.
func (m *Manager) ImportFull(ctx context.Context, r io.Reader, opts *ImportOptions) (ImportReport, error) {
	mover, err := m.mover()
	if err != nil {
		return ImportReport{}, err
	}
	f := fullImporter{importer: newImporter(m, r, opts), mover: mover}
	f.importer.commit = f.letIn
	err = f.read(ctx, func(text []byte) (*RefreshToken, error) { return f.line(ctx, text) })
	if err == nil && !f.ended {
		err = fmt.Errorf("tokenstore: the export is cut short: %w", io.ErrUnexpectedEOF)
	}
	return f.report, err
}

// fullImporter takes over a full export.
type fullImporter struct {
	*importer
	mover  store.Mover
	header *fullHeader
	guards []domain.Guard // those not yet taken over
	tokens int
	ended  bool
}

// line takes in one line, and returns the token of one that has it.
func (f *fullImporter) line(ctx context.Context, text []byte) (*RefreshToken, error) {
	var line fullLine
	err := json.Unmarshal(text, &line)
	if err == nil && !domain.ValidUnicode(text) { // encoding/json would replace what is not
		err = &FieldError{Field: "line", Limit: "valid UTF-8", Size: len(text)}
	}
	switch {
	case err != nil && f.header == nil:
		return nil, fatal{f.header.check("")}
	case err != nil:
		return nil, fatal{lineError(err, text)}
	case f.header == nil:
		return nil, f.begin(ctx, line.Export)
	case f.ended:
		return nil, fatal{&FieldError{Field: "line", Limit: "none after the end"}}
	case line.Guard != nil && f.tokens == 0:
		return nil, f.guard(ctx, line.Guard.guard())
	case line.Token != nil:
		return f.token(ctx, line.Token)
	case line.End != nil:
		return nil, f.end(ctx, line.End)
	}
	return nil, fatal{&FieldError{Field: "line", Limit: "what a full export has at this place", Size: len(text)}}
}

func (f *fullImporter) begin(ctx context.Context, header *fullHeader) error {
	if err := header.check(f.m.opts.Tenant); err != nil {
		return fatal{err}
	}
	f.header = header
	return f.remember(ctx)
}

// remember takes over the guards that were read, and with the first of them all else that is remembered.
func (f *fullImporter) remember(ctx context.Context) error {
	memory := store.Memory{
		Origin: f.header.ID, Sequence: f.header.Sequence, Horizon: f.header.horizon(), ErasureKey: f.header.erasureKey(), Guards: f.guards,
		LastEvent: f.header.LastEvent, Complete: f.ended,
	}
	if err := again(func() error { return f.mover.Remember(ctx, memory) }); err != nil {
		return fatal{err}
	}
	f.report.Guards += len(f.guards)
	f.guards = f.guards[:0]
	return nil
}

func (f *fullImporter) guard(ctx context.Context, g domain.Guard) error {
	f.guards = append(f.guards, g)
	if len(f.guards) < store.MaxBatch {
		return nil
	}
	return f.remember(ctx)
}

func (f *fullImporter) token(ctx context.Context, line *fullToken) (*RefreshToken, error) {
	if f.tokens++; len(f.guards) > 0 {
		if err := f.remember(ctx); err != nil {
			return nil, err
		}
	}
	token, err := line.token()
	if err != nil {
		return nil, err
	}
	return &token, nil
}

func (f *fullImporter) end(ctx context.Context, end *fullEnd) error {
	guards := f.report.Guards + len(f.guards)
	if end.Tokens != f.tokens || end.Guards != guards {
		return fatal{fmt.Errorf("%d of %d tokens and %d of %d guards: %w", f.tokens, end.Tokens, guards, end.Guards, io.ErrUnexpectedEOF)}
	}
	f.ended = true
	return f.remember(ctx)
}

// letIn inserts tokens as of their own sequences. That they were not revoked is known up to the sequence of the export: what
// of that is forgotten can't refuse them.
func (f *fullImporter) letIn(ctx context.Context, tokens []RefreshToken) ([]ImportResult, error) {
	results := make([]ImportResult, len(tokens))
	var rows []store.Insertion
	var at []int // rows[i] is tokens[at[i]]
	for i, token := range tokens {
		if err := f.check(&token); err != nil {
			results[i] = ImportResult{ID: token.ID, Outcome: Refused, Err: err}
			continue
		}
		asOf := domain.AsOfSequence(token.Sequence).Cleared(f.header.Sequence)
		rows, at = append(rows, store.Insertion{Token: token, AsOf: asOf}), append(at, i)
	}
	outcomes, err := f.m.letIn(ctx, rows, func(there, imported *RefreshToken) bool {
		return sameToken(there, imported) && there.ForeignDigest == imported.ForeignDigest
	})
	for i, result := range outcomes {
		results[at[i]] = result
	}
	return results, err
}

func (f *fullImporter) check(token *RefreshToken) error {
	if token.Sequence < 1 || token.Sequence > f.header.Sequence {
		return &FieldError{Field: "sequence", Limit: "at least 1, and not beyond that of the export"}
	}
	if err := token.Validate(); err != nil {
		return err
	}
	token.Device = f.m.opts.Device.Keep(token.Device)
	return f.m.opts.Legacy.Check(token.CreatedAt, token.SessionID)
}
