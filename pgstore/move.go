package pgstore

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

var _ store.Mover = (*tenant)(nil)

// Guards reads one page of guards, oldest first: one that is joined with a later one moves on, and is never missed.
func (s *tenant) Guards(ctx context.Context, q store.GuardQuery) (page store.GuardPage, err error) {
	if err := q.Validate(); err != nil {
		return store.GuardPage{}, err
	}
	after, err := parseAge(q.After)
	if err != nil {
		return store.GuardPage{}, err
	}
	err = s.snapshot(ctx, func(t *tx) error {
		var guards []agedGuard
		h, found := &head{}, false
		page = store.GuardPage{}
		if err := t.finish(ctx, t.headStep(h, 0, &found), t.guardStep(after, q.Limit+1, &guards)); err != nil {
			return err
		}
		page.ErasureKey = h.erasureKey
		for i := range guards {
			if i == q.Limit {
				page.Next = guards[i-1].age.String()
				break
			}
			page.Guards = append(page.Guards, guards[i].Guard)
		}
		return nil
	})
	return page, err
}

// String is the age as a cursor.
func (a guardAge) String() string {
	return a.time().Format(time.RFC3339Nano) + " " + hex.EncodeToString(a.digest)
}

// parseAge reads a cursor.
func parseAge(cursor string) (guardAge, error) {
	if cursor == "" {
		return guardAge{}, nil
	}
	text, key, _ := strings.Cut(cursor, " ")
	at, err := time.Parse(time.RFC3339Nano, text)
	digest, err2 := hex.DecodeString(key)
	if err != nil || err2 != nil {
		return guardAge{}, &domain.FieldError{Field: "after", Limit: "the cursor of a page", Size: len(cursor)}
	}
	return guardAge{instantOf(at), digest}, nil
}

// Remember takes over what another store remembers.
func (s *tenant) Remember(ctx context.Context, m store.Memory) error {
	if s.backend.closed.Load() {
		return store.ErrClosed
	}
	if err := m.Validate(); err != nil {
		return err
	}
	return s.write(ctx, lockExclusive, func(t *tx) error {
		last, floor := number(0), number(0)
		t.lockFeed()
		h, err := t.head(ctx, 0, t.feedEnds(&floor, &last))
		if err != nil {
			return err
		}
		none := domain.ErasureKey{}
		switch {
		case h.complete && h.origin == m.Origin:
			return nil
		case h.origin != m.Origin && (!h.origin.IsZero() || h.sequence > 0),
			m.ErasureKey != none && h.erasureKey != none && h.erasureKey != m.ErasureKey:
			return store.ErrOccupied
		}
		h.origin, h.complete = m.Origin, m.Complete
		if m.ErasureKey != none {
			h.erasureKey = m.ErasureKey
		}
		h.base = max(h.base, number(m.Sequence))
		t.add(tally{sequence: m.Sequence})
		h.horizon = h.horizon.Join(m.Horizon)
		if h.events == 0 && number(m.LastEvent) > last {
			h.floor, h.base = number(m.LastEvent), max(h.base, number(m.LastEvent))
		}
		t.save(h)
		if err := t.remember(ctx, append([]domain.Guard(nil), m.Guards...)...); err != nil {
			return err
		}
		return t.commit(ctx)
	})
}
