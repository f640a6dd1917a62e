package pgstore

import (
	"context"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// fenced is one target of a pending tombstone.
type fenced struct {
	id    ulid.ULID
	guard domain.Guard
}

// covers reports whether the tombstone covers the token by this target.
func (f *fenced) covers(token *domain.RefreshToken) bool {
	t := domain.Tombstone{Targets: []domain.Target{f.guard.Target}, Watermark: f.guard.Watermark}
	return t.Covers(token)
}

// scanFenced takes rows of a tombstone's id, its watermark and times, and one of its targets.
func scanFenced(into *[]fenced) func(pgx.Rows) error {
	return func(row pgx.Rows) error {
		var f fenced
		var target targetRow
		var at, through instant
		fields := append([]any{
			(*identity)(&f.id), (*number)(&f.guard.Watermark), &at.at, &at.ns, &through.at, &through.ns,
		}, target.fields()...)
		if err := row.Scan(fields...); err != nil {
			return err
		}
		f.guard.Time, f.guard.Through, f.guard.Target = at.time(), through.time(), target.target()
		*into = append(*into, f)
		return nil
	}
}

// revokedBy is one of the tombstones that covers the token, or zero.
func revokedBy(fence []fenced, token *domain.RefreshToken) ulid.ULID {
	for i := range fence {
		if fence[i].covers(token) {
			return fence[i].id
		}
	}
	return ulid.ULID{}
}

// scanTokens takes rows of tokens.
func scanTokens(into *[]domain.RefreshToken) func(pgx.Rows) error {
	return func(row pgx.Rows) error {
		var token domain.RefreshToken
		if err := scanToken(row, &token); err != nil {
			return err
		}
		*into = append(*into, token)
		return nil
	}
}

// view is a token and what covers it, as they are read.
type view struct {
	tokens []domain.RefreshToken // one, or none
	fence  []fenced
}

// steps read a token by its id.
func (v *view) steps(t *tx, sql string, id ulid.ULID) []step {
	return []step{
		{sql, []any{t.tenant, identity(id)}, scanTokens(&v.tokens)},
		{t.q.fenceOf, []any{t.tenant, identity(id)}, scanFenced(&v.fence)},
	}
}

func (v *view) view() (store.View, error) {
	if len(v.tokens) == 0 {
		return store.View{}, store.ErrNotFound
	}
	return store.View{Token: v.tokens[0], RevokedBy: revokedBy(v.fence, &v.tokens[0])}, nil
}

// Get reads one token.
func (s *tenant) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	var v view
	err := s.snapshot(ctx, func(t *tx) error {
		v = view{}
		return t.finish(ctx, v.steps(t, t.q.get, id)...)
	})
	if err != nil {
		return store.View{}, err
	}
	return v.view()
}

// Find returns the id of the token that has the foreign digest.
func (s *tenant) Find(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
	var id identity
	err := s.snapshot(ctx, func(t *tx) error {
		return t.finish(ctx, step{t.q.find, []any{t.tenant, foreign[:]}, func(row pgx.Rows) error { return row.Scan(&id) }})
	})
	if err == nil && id == (identity{}) {
		err = store.ErrNotFound
	}
	return ulid.ULID(id), err
}

// List reads one page.
func (s *tenant) List(ctx context.Context, q store.Query) (page store.Page, err error) {
	if err := q.Validate(); err != nil {
		return store.Page{}, err
	}
	err = s.snapshot(ctx, func(t *tx) error {
		page = store.Page{}
		after := q.After
		for {
			tokens, err := t.rows(ctx, q, after)
			if err != nil {
				return err
			}
			more := len(tokens) > q.Limit
			if more {
				after = tokens[q.Limit-1].ID
			}
			var fence []fenced
			if q.Fenced && len(tokens) > 0 {
				if fence, err = t.fenceOver(ctx, tokens); err != nil {
					return err
				}
			}
			for i := range tokens {
				if q.Fenced && !revokedBy(fence, &tokens[i]).IsZero() {
					continue
				}
				if len(page.Tokens) == q.Limit { // one more is there, so this page is not the last
					page.Next = page.Tokens[q.Limit-1].ID
					return t.finish(ctx)
				}
				if i < q.Limit {
					page.Tokens = append(page.Tokens, tokens[i])
				}
			}
			if !more {
				return t.finish(ctx)
			}
		}
	})
	return page, err
}

// rows reads one row more than a page of a query has, after the given id.
func (t *tx) rows(ctx context.Context, q store.Query, after ulid.ULID) (tokens []domain.RefreshToken, err error) {
	args := []any{t.tenant, [16]byte(after), q.Limit + 1}
	switch {
	case q.SessionID != "":
		err = t.fetch(ctx, step{t.q.listSession, append(args, q.SessionID, q.ClientID, q.UserID), scanTokens(&tokens)})
	case q.UserID != "":
		err = t.fetch(ctx, step{t.q.listUser, append(args, q.UserID, q.ClientID), scanTokens(&tokens)})
	default:
		err = t.fetch(ctx, step{t.q.listAll, args, scanTokens(&tokens)})
	}
	return tokens, err
}

// fenceOver reads the pending targets that may cover any of the tokens.
func (t *tx) fenceOver(ctx context.Context, tokens []domain.RefreshToken) (fence []fenced, err error) {
	var a anchors
	for i := range tokens {
		a.add(&tokens[i], domain.AnchorNone)
	}
	err = t.fetch(ctx, step{t.q.fenceOver, []any{t.tenant, a.kinds, a.values}, scanFenced(&fence)})
	return fence, err
}

// anchors are where targets that match some tokens can stand, each once.
type anchors struct {
	kinds  []int16
	values []string
	seen   map[domain.Anchor]bool
}

// add adds the anchors of a token, up to a kind.
func (a *anchors) add(token *domain.RefreshToken, widest domain.AnchorKind) {
	if a.seen == nil {
		a.seen = map[domain.Anchor]bool{}
	}
	for _, anchor := range token.Anchors() {
		if anchor.Kind > widest || anchor.Kind == domain.AnchorSession && anchor.Value == "" || a.seen[anchor] {
			continue
		}
		a.seen[anchor] = true
		if anchor.Kind == domain.AnchorToken {
			anchor.Value = uuidText(token.ID)
		}
		a.kinds, a.values = append(a.kinds, int16(anchor.Kind)), append(a.values, anchor.Value)
	}
}
