package storecheck

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// coveredBy sees to it that the revocation which is said to cover a token does.
func (c *checker) coveredBy(ctx context.Context, view store.View) error {
	id := view.Token.ID
	known := &view
	return c.expect(func() (finding string, err error) {
		if known == nil {
			if known, err = c.get(ctx, id); err != nil || known == nil || !known.Revoked() {
				return "", err
			}
		}
		by := known.RevokedBy
		if c.covers.Tombstone.ID != by {
			c.covers, err = c.Revocation(ctx, by)
		}
		covers := c.covers.Tombstone.Covers(&known.Token)
		known = nil
		switch {
		case errors.Is(err, store.ErrNotFound):
			return fmt.Sprintf("token %s is refused for revocation %s, which is not there", id, by), nil
		case err != nil:
			return "", err
		case !covers:
			c.covers = store.Status{}
			return fmt.Sprintf("token %s is refused for revocation %s, which does not cover it", id, by), nil
		}
		return "", nil
	})
}

// revocations looks at each revocation, and at what it covers.
func (c *checker) revocations(ctx context.Context) error {
	for _, retired := range []bool{false, true} {
		q := store.RevocationQuery{Retired: retired, Limit: store.MaxPage}
		var last ulid.ULID
		for {
			page, err := c.Revocations(ctx, q)
			if err != nil {
				return err
			}
			for i := range page.Revocations {
				status := &page.Revocations[i]
				if status.Tombstone.ID.Compare(last) <= 0 {
					return c.find("the list of revocations shows %s after %s", status.Tombstone.ID, last)
				}
				last = status.Tombstone.ID
				if err := c.revocation(ctx, status, retired); err != nil {
					return err
				}
			}
			if page.Next.Compare(q.After) <= 0 {
				break
			}
			q.After = page.Next
		}
	}
	return nil
}

func (c *checker) revocation(ctx context.Context, s *store.Status, retired bool) error {
	t := &s.Tombstone
	c.report.Revocations++
	if retired {
		c.found.History++
	} else {
		if c.found.Pending++; c.found.Pending == 1 || t.Time.Before(c.found.OldestPending) {
			c.found.OldestPending = t.Time
		}
	}
	c.found.Sequence = max(c.found.Sequence, t.Watermark)
	if t.Watermark > c.latest {
		return nil
	}
	if wrong := malformed(s, retired); wrong != "" {
		if err := c.find("revocation %s %s", t.ID, wrong); err != nil {
			return err
		}
	}
	err := c.expect(func() (string, error) {
		byID, err := c.Revocation(ctx, t.ID)
		switch {
		case errors.Is(err, store.ErrNotFound) && retired:
			return c.stillListed(ctx, t.ID)
		case errors.Is(err, store.ErrNotFound):
			return fmt.Sprintf("revocation %s is listed, and not there by its id", t.ID), nil
		case err != nil || byID.Tombstone.Watermark == t.Watermark && (byID.Tombstone.SameTargets(t.Targets) || t.Erases):
			return "", err
		}
		return fmt.Sprintf("revocation %s is another by its id than in the list", t.ID), nil
	})
	if err != nil {
		return err
	}
	return c.effective(ctx, *t)
}

// stillListed is about a retired revocation that is not there by its id: it may have been forgotten meanwhile.
func (c *checker) stillListed(ctx context.Context, id ulid.ULID) (string, error) {
	page, err := c.Revocations(ctx, store.RevocationQuery{Retired: true, After: before(id), Limit: 1})
	if err != nil || len(page.Revocations) == 0 || page.Revocations[0].Tombstone.ID != id {
		return "", err
	}
	return fmt.Sprintf("revocation %s is listed, and not there by its id", id), nil
}

// malformed says what is wrong with a revocation in itself, "" for nothing.
func malformed(s *store.Status, retired bool) string {
	t := &s.Tombstone
	asked := store.Revocation{ID: t.ID, Targets: t.Targets, Reason: t.Reason, Actor: t.Actor}
	switch err := asked.Validate(); {
	case err != nil:
		return "breaks a limit: " + err.Error()
	case t.Watermark == 0:
		return "has no watermark"
	case t.Time.IsZero() || t.Through.Before(t.Time):
		return "has no time, or reaches through none"
	case s.Retired != retired || retired == s.RetiredAt.IsZero():
		return "is retired and not retired"
	case t.Erases && domain.CheckErasure(t.Targets) != nil:
		return "erases what can't be erased"
	}
	return ""
}

// effective sees to it that nothing is live that a revocation, or what is remembered of one, covers.
func (c *checker) effective(ctx context.Context, t domain.Tombstone) error {
	for _, target := range t.Targets {
		one := t
		one.Targets = []domain.Target{target}
		var q store.Query
		switch anchor := target.Anchor(); anchor.Kind {
		case domain.AnchorToken:
			view, err := c.get(ctx, target.TokenID)
			if err != nil {
				return err
			}
			if view != nil {
				if err := c.refused(ctx, &one, &view.Token); err != nil {
					return err
				}
			}
			continue
		case domain.AnchorSession:
			q = store.Query{SessionID: target.SessionID}
		case domain.AnchorUser:
			q = store.Query{UserID: target.UserID}
		default:
			if c.wide = append(c.wide, one); len(c.wide) == maxWide {
				if err := c.walkWide(ctx); err != nil {
					return err
				}
			}
			continue
		}
		for token, err := range c.walk(ctx, q, func() {}) {
			if err == nil {
				err = c.refused(ctx, &one, token)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// maxWide is how many targets without a list of their own are kept for one walk of all tokens.
const maxWide = 1000

// walkWide looks at all tokens for those that have no list of their own.
func (c *checker) walkWide(ctx context.Context) error {
	if len(c.wide) == 0 {
		return nil
	}
	for token, err := range c.walk(ctx, store.Query{}, func() {}) {
		for i := 0; err == nil && i < len(c.wide); i++ {
			err = c.refused(ctx, &c.wide[i], token)
		}
		if err != nil {
			return err
		}
	}
	c.wide = c.wide[:0]
	return nil
}

// refused sees to it that a token is not live if a revocation covers it.
func (c *checker) refused(ctx context.Context, t *domain.Tombstone, token *domain.RefreshToken) error {
	if !t.Covers(token) {
		return nil
	}
	return c.expect(func() (string, error) {
		view, err := c.get(ctx, token.ID)
		if err != nil || view == nil || view.Revoked() {
			return "", err
		}
		if t.ID.IsZero() {
			return fmt.Sprintf("token %s is live, and was revoked: a guard remembers it, with watermark %d", token.ID, t.Watermark), nil
		}
		return fmt.Sprintf("token %s is live, and was revoked by %s", token.ID, t.ID), nil
	})
}

// guards looks at what is remembered of revocations.
func (c *checker) guards(ctx context.Context) error {
	mover, is := store.As[store.Mover](c.Store)
	if !is {
		state, err := c.State(ctx)
		c.found.Guards = state.Guards
		return err
	}
	q := store.GuardQuery{Limit: store.MaxPage}
	for {
		page, err := mover.Guards(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Guards {
			if err := c.guard(ctx, &page.Guards[i]); err != nil {
				return err
			}
		}
		if page.Next == "" || len(page.Guards) == 0 {
			return nil
		}
		q.After = page.Next
	}
}

func (c *checker) guard(ctx context.Context, g *domain.Guard) error {
	c.report.Guards++
	c.found.Guards++
	c.found.Sequence = max(c.found.Sequence, g.Watermark)
	if err := g.Target.Validate(); err != nil {
		return c.find("a guard with watermark %d breaks a limit: %v", g.Watermark, err)
	}
	if g.Watermark == 0 || g.Time.IsZero() || g.Through.Before(g.Time) {
		return c.find("a guard with watermark %d has no watermark, no time, or reaches through none", g.Watermark)
	}
	return c.effective(ctx, domain.Tombstone{Targets: []domain.Target{g.Target}, Watermark: g.Watermark})
}

// events looks at the feed.
func (c *checker) events(ctx context.Context) error {
	state, err := c.State(ctx)
	if err != nil {
		return err
	}
	outbox, is := store.As[store.Outbox](c.Store)
	if !is {
		c.found.Events = state.Events
		return nil
	}
	gapless := false
	if g, is := store.As[store.Gapless](c.Store); is {
		gapless = g.Gapless()
	}
	for last := uint64(0); ; {
		page, err := outbox.Feed(ctx, last, store.MaxPage)
		if gone, is := errors.AsType[*store.CursorGoneError](err); is && gone.Resume > last {
			last = gone.Resume
			continue
		}
		if err != nil {
			return err
		}
		for i := range page.Events {
			e := &page.Events[i]
			switch {
			case e.Number <= last || gapless && e.Number != last+1:
				return c.find("after event %d comes %d", last, e.Number)
			case bits.OnesCount16(uint16(e.Kind)) != 1 || e.Kind > store.AllKinds || e.Time.IsZero():
				if err := c.find("event %d has no kind, or no time", e.Number); err != nil {
					return err
				}
			}
			last = e.Number
			c.report.Events++
			c.found.Events++
		}
		switch {
		case last >= state.LastEvent:
			c.found.LastEvent = last
			return nil
		case len(page.Events) == 0:
			return c.find("its latest event is %d, and should be %d", last, state.LastEvent)
		}
	}
}
