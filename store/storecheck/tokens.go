package storecheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// list is one in which tokens are shown: whose, and how it is asked for.
type list struct {
	of string
	store.Query
}

func everyToken() list { return list{"tenant", store.Query{}} }

// lists are those that have to show a token, beside that of all.
func lists(token *domain.RefreshToken) []list {
	all := []list{
		{"user", store.Query{UserID: token.UserID}},
		{"user and client", store.Query{UserID: token.UserID, ClientID: token.ClientID}},
	}
	if session, has := token.SessionID.Get(); has {
		all = append(all, list{"session", store.Query{SessionID: session}})
	}
	return all
}

// walk walks a list after an id, page by page. It ends after an error.
func (c *checker) walk(ctx context.Context, q store.Query, pageRead func()) iter.Seq2[*domain.RefreshToken, error] {
	return func(yield func(*domain.RefreshToken, error) bool) {
		q.Limit = store.MaxPage
		for {
			page, err := c.List(ctx, q)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range page.Tokens {
				if !yield(&page.Tokens[i], nil) {
					return
				}
			}
			pageRead()
			if page.Next.Compare(q.After) <= 0 { // zero, or a cursor that leads back
				return
			}
			q.After = page.Next
		}
	}
}

// tokens looks at each token, and its lists.
func (c *checker) tokens(ctx context.Context) error {
	var last ulid.ULID
	for token, err := range c.walk(ctx, store.Query{}, func() { c.Progress(*c.report) }) {
		if err != nil {
			return err
		}
		if token.ID.Compare(last) <= 0 {
			if err := c.find("the list of a tenant shows token %s after %s", token.ID, last); err != nil {
				return err
			}
			continue
		}
		last = token.ID
		c.report.Tokens++
		c.found.Tokens++
		if token.SessionID.IsNull() {
			c.found.Sessionless++
		}
		c.found.Sequence = max(c.found.Sequence, token.Sequence)
		if token.Sequence > c.latest {
			continue
		}
		if err := c.token(ctx, token); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) token(ctx context.Context, listed *domain.RefreshToken) error {
	view, err := c.agree(ctx, everyToken(), listed.ID, nil, listed)
	if err != nil || view == nil {
		return err
	}
	token := &view.Token
	if err := token.Validate(); err != nil {
		return c.find("token %s: %v", token.ID, err)
	}
	if token.Sequence == 0 {
		return c.find("token %s has no sequence", token.ID)
	}
	switch {
	case view.Revoked():
		c.report.Covered++
		err = c.coveredBy(ctx, *view)
	case token.Expired(c.Now()) != "":
		c.report.Expired++
	}
	if err != nil {
		return err
	}
	if err := c.foreign(ctx, token); err != nil {
		return err
	}
	for _, l := range lists(token) {
		if err := c.listed(ctx, l, view); err != nil {
			return err
		}
	}
	return nil
}

// agree sees to it that a token is the same by its id and in a list, or in neither. What has been read already of the two is taken
// for the first look. It returns the token, or nil if it is gone or there was a finding.
func (c *checker) agree(ctx context.Context, l list, id ulid.ULID, view *store.View, shown *domain.RefreshToken) (*store.View, error) {
	agreed := false
	err := c.expect(func() (finding string, err error) {
		if view == nil {
			if view, err = c.get(ctx, id); err != nil {
				return "", err
			}
		}
		if shown == nil {
			if shown, err = c.shown(ctx, l.Query, id); err != nil {
				return "", err
			}
		}
		switch {
		case view == nil && shown == nil:
			return "", nil
		case view == nil:
			finding = "is in the list of its %s, and not there by its id"
		case shown == nil:
			finding = "is not in the list of its %s"
		case !l.Matches(&view.Token):
			finding = "is in the list of another %s"
		case !same(&view.Token, shown):
			finding = "is another by its id than in the list of its %s"
		default:
			agreed = true
			return "", nil
		}
		view, shown = nil, nil
		return fmt.Sprintf("token %s "+finding, id, l.of), nil
	})
	if !agreed {
		view = nil
	}
	return view, err
}

// get reads a token by its id, or nil if there is none.
func (c *checker) get(ctx context.Context, id ulid.ULID) (*store.View, error) {
	view, err := c.Get(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &view, nil
}

// shown reads a token from a list, or nil if it is not where it has to be there.
func (c *checker) shown(ctx context.Context, q store.Query, id ulid.ULID) (*domain.RefreshToken, error) {
	q.After, q.Limit = before(id), 1
	page, err := c.List(ctx, q)
	if err != nil || len(page.Tokens) == 0 || page.Tokens[0].ID != id {
		return nil, err
	}
	return &page.Tokens[0], nil
}

// before is the id before another one.
func before(id ulid.ULID) ulid.ULID {
	for i := len(id) - 1; i >= 0; i-- {
		id[i]--
		if id[i] != 0xff {
			break
		}
	}
	return id
}

// same reports whether two records are, in every field.
func same(a, b *domain.RefreshToken) bool {
	return bytes.Equal(codec.Encode(a, codec.Token), codec.Encode(b, codec.Token))
}

// listed sees to it that a list shows a token, and, if it is the first there, that what comes after it belongs there.
func (c *checker) listed(ctx context.Context, l list, view *store.View) error {
	id := view.Token.ID
	q := l.Query
	q.Limit = 2
	page, err := c.List(ctx, q)
	if err != nil {
		return err
	}
	if len(page.Tokens) == 0 || page.Tokens[0].ID != id {
		if len(page.Tokens) > 0 && page.Tokens[0].ID.Compare(id) < 0 {
			if _, err := c.agree(ctx, l, page.Tokens[0].ID, nil, &page.Tokens[0]); err != nil {
				return err
			}
		}
		_, err := c.agree(ctx, l, id, view, nil)
		return err
	}
	if _, err := c.agree(ctx, l, id, view, &page.Tokens[0]); err != nil || len(page.Tokens) == 1 && page.Next.IsZero() {
		return err
	}
	last := ulid.ULID{}
	for next, err := range c.walk(ctx, q, func() {}) {
		if err != nil {
			return err
		}
		if next.ID.Compare(last) <= 0 {
			return c.find("the list of a %s shows token %s after %s", l.of, next.ID, last)
		}
		if last = next.ID; last == id || next.Sequence > c.latest {
			continue
		}
		if _, err := c.agree(ctx, l, last, nil, next); err != nil {
			return err
		}
	}
	return nil
}

// foreign sees to it that the secret that a token had elsewhere leads to it.
func (c *checker) foreign(ctx context.Context, token *domain.RefreshToken) error {
	if token.ForeignDigest == (domain.Digest{}) {
		return nil
	}
	return c.expect(func() (string, error) {
		id, err := c.Find(ctx, token.ForeignDigest)
		switch {
		case err == nil && id == token.ID:
			return "", nil
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return "", err
		}
		if there, err := c.get(ctx, token.ID); err != nil || there == nil {
			return "", err
		}
		return fmt.Sprintf("token %s is not found by the secret that it had elsewhere", token.ID), nil
	})
}
