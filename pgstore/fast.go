package pgstore

import (
	"context"
	"errors"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// The calls that matter most have a short way, in which a single statement asks whether there is anything at all that might
// matter: a pending revocation or a guard that stands where it could name the token, an id that is taken, a record that has changed. It
// writes nothing then, and the call goes the long way, which finds out what it means.

// insertFast inserts one token that stems from now, in one round trip that it may share, unless there is anything that might refuse it.
func (s *tenant) insertFast(ctx context.Context, rows []store.Insertion) (token domain.RefreshToken, ok bool, err error) {
	row := &rows[0]
	token = row.Token
	if len(rows) > 1 || row.Cap.Max > 0 || row.Emit.Has(store.KindIssued) || row.AsOf.Reach() != domain.AnchorSession || !row.Former.IsNull() ||
		!fresh(&token) || s.backend.opts.Serializable {
		return token, false, nil
	}
	args, err := issueArgs(&token)
	if err != nil {
		return token, false, err
	}
	added := false
	err = s.shortly(ctx, &call{id: token.ID, verb: &s.backend.q.issue, args: args, row: func(row pgx.Rows) error {
		added = true
		return row.Scan(nil, (*number)(&token.Sequence))
	}})
	// A row that was returned tells nothing of the commit, which comes after it.
	return token, added && err == nil, longWay(err)
}

// updateFast updates a token that nothing pending may cover, in two round trips, of which it may share both, and holds nothing while it
// is decided. It does so if no more is to be written than what an exchange changes.
func (s *tenant) updateFast(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) (verdict error, ok bool, err error) {
	if s.backend.opts.Serializable {
		return nil, false, nil
	}
	var view store.View
	var version uint32
	err = s.look(ctx, &call{id: id, verb: &s.backend.q.look, args: []any{identity(id)}, row: func(row pgx.Rows) error {
		return scanToken(row, &view.Token, &version)
	}})
	if err != nil || view.Token.ID != id {
		return nil, false, longWay(err)
	}
	d := decide(view)
	if d.Next == nil || d.Revoke != nil || d.Emit != 0 || d.Check(&view) != nil || !exchanged(&view.Token, d.Next) {
		return nil, false, nil
	}
	replaced := false
	err = s.shortly(ctx, &call{id: id, verb: &s.backend.q.exchange, args: append([]any{identity(id), version}, exchangeArgs(d.Next)...), row: func(pgx.Rows) error {
		replaced = true
		return nil
	}})
	return d.Err, replaced && err == nil, longWay(err)
}

// longWay passes over a failure for which the long way begins again.
func longWay(err error) error {
	if f, failed := errors.AsType[*failure](err); err == errNotAlone || failed && f.again() {
		return nil
	}
	return err
}
