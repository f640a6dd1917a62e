package memstore

import (
	"context"
	"strings"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

var _ store.Mover = (*tenant)(nil)

// Guards reads one page of guards, oldest first: one that is joined with a later one moves on, and is never missed.
func (t *tenant) Guards(ctx context.Context, q store.GuardQuery) (store.GuardPage, error) {
	if err := q.Validate(); err != nil {
		return store.GuardPage{}, err
	}
	after, err := parseAge(q.After)
	if err != nil {
		return store.GuardPage{}, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err := t.usable(ctx); err != nil {
		return store.GuardPage{}, err
	}
	page := store.GuardPage{ErasureKey: t.erasureKey}
	var last guardAge
	for a := range t.ages.after(after) {
		if len(page.Guards) == q.Limit {
			page.Next = last.time.UTC().Format(time.RFC3339Nano) + " " + last.key
			break
		}
		page.Guards, last = append(page.Guards, t.guard(a)), a
	}
	return page, nil
}

// parseAge reads a cursor.
func parseAge(cursor string) (guardAge, error) {
	if cursor == "" {
		return guardAge{}, nil
	}
	text, key, _ := strings.Cut(cursor, " ")
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return guardAge{}, &domain.FieldError{Field: "after", Limit: "the cursor of a page", Size: len(cursor)}
	}
	return guardAge{time: at, key: key}, nil
}

// Remember takes over what another store remembers.
func (t *tenant) Remember(ctx context.Context, m store.Memory) error {
	if err := m.Validate(); err != nil {
		return err
	}
	t.lock()
	defer t.unlock()
	if err := t.usable(ctx); err != nil {
		return err
	}
	none := domain.ErasureKey{}
	switch {
	case t.complete && t.origin == m.Origin:
		return nil
	case t.origin != m.Origin && (!t.origin.IsZero() || t.sequence > 0),
		m.ErasureKey != none && t.erasureKey != none && t.erasureKey != m.ErasureKey:
		return store.ErrOccupied
	}
	t.origin, t.complete = m.Origin, m.Complete
	if m.ErasureKey != none {
		t.erasureKey = m.ErasureKey
	}
	if m.Sequence > t.sequence {
		t.sequence = m.Sequence
		t.erased = false
	}
	t.horizon = t.horizon.Join(m.Horizon)
	if len(t.events) == 0 && m.LastEvent > t.lastEvent {
		t.lastEvent, t.floor = m.LastEvent, m.LastEvent
	}
	for _, guard := range m.Guards {
		t.remember(guard)
	}
	return nil
}
