package tokenstore

import (
	"context"
	"errors"
	"iter"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Consistency says what a read shows of tokens that are revoked but not yet swept.
type Consistency uint8

const (
	// Eventual reads show a revoked token until the sweep has come to it.
	Eventual Consistency = iota
	// Fenced reads hide a revoked token from the moment on that its revocation is acknowledged.
	Fenced
)

// Get returns a token by its id, or [ErrNotFound].
func (m *Manager) Get(ctx context.Context, id ulid.ULID, c Consistency) (RefreshToken, error) {
	v, err := m.store.Get(ctx, id)
	if err != nil {
		return RefreshToken{}, err
	}
	if c == Fenced && v.Revoked() {
		return RefreshToken{}, store.ErrNotFound
	}
	return v.Token, nil
}

// ListRequest asks for the tokens of a session, else of a user, else of the whole tenant; ClientID narrows a session's or
// a user's.
type ListRequest struct {
	UserID      string
	ClientID    string
	SessionID   string
	After       ulid.ULID // After is the Next of the page before.
	Limit       int       // Limit is 1..100. Defaults to 50.
	Consistency Consistency
}

func (r ListRequest) query() store.Query {
	if r.Limit == 0 {
		r.Limit = 50
	}
	return store.Query{
		UserID: r.UserID, ClientID: r.ClientID, SessionID: r.SessionID, After: r.After, Limit: r.Limit,
		Fenced: r.Consistency == Fenced,
	}
}

// List returns a page of tokens by ascending id. A page that is not the last has at least one token, and is followed by
// the one after its Next. What is issued or revoked meanwhile may or may not be shown; all else is shown exactly once.
func (m *Manager) List(ctx context.Context, r ListRequest) (Page, error) {
	return m.store.List(ctx, r.query())
}

// All walks all tokens that the request asks for, page by page. It ends after the first error.
func (m *Manager) All(ctx context.Context, r ListRequest) iter.Seq2[RefreshToken, error] {
	return func(yield func(RefreshToken, error) bool) {
		q := r.query()
		for {
			page, err := m.store.List(ctx, q)
			if err != nil {
				yield(RefreshToken{}, err)
				return
			}
			for _, token := range page.Tokens {
				if !yield(token, nil) {
					return
				}
			}
			if page.Next.IsZero() {
				return
			}
			q.After = page.Next
		}
	}
}

// UpdateMetadata replaces all metadata of a token; none clears it. It returns the token as it is then, [ErrNotFound],
// [ErrRevoked] for a token that is revoked but not yet swept, or a [FieldError].
func (m *Manager) UpdateMetadata(ctx context.Context, id ulid.ULID, metadata map[string]string) (RefreshToken, error) {
	made, err := domain.NewMetadata(metadata)
	if err != nil {
		return RefreshToken{}, err
	}
	var out RefreshToken
	err = again(func() error {
		return m.store.Update(ctx, id, func(v store.View) store.Decision {
			if v.Revoked() {
				return store.Decision{Err: domain.ErrRevoked}
			}
			next := v.Token
			next.Metadata = made
			out = next
			return store.Decision{Next: &next}
		})
	})
	switch {
	case errors.Is(err, store.ErrCovered):
		return RefreshToken{}, domain.ErrRevoked
	case err != nil:
		return RefreshToken{}, err
	}
	return out, nil
}
