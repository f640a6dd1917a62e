package pgstore

import (
	"context"
	"encoding/json"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

var _ store.Outbox = (*tenant)(nil)

// about is what an event lists, as JSON.
type about struct {
	Tokens  []aboutToken  `json:"tokens,omitempty"`
	Targets []aboutTarget `json:"targets,omitempty"`
}

type aboutToken struct {
	ID        ulid.ULID `json:"id"`
	UserID    string    `json:"user_id"`
	ClientID  string    `json:"client_id"`
	SessionID string    `json:"session_id,omitempty"`
}

type aboutTarget struct {
	TokenID      ulid.ULID      `json:"token_id,omitzero"`
	UserID       string         `json:"user_id,omitempty"`
	ClientID     string         `json:"client_id,omitempty"`
	SessionID    string         `json:"session_id,omitempty"`
	Audience     string         `json:"audience,omitempty"`
	IssuedBefore time.Time      `json:"issued_before,omitzero"`
	LegacyBefore time.Time      `json:"legacy_before,omitzero"`
	Offline      domain.Offline `json:"offline,omitempty"`
	Everything   bool           `json:"everything,omitempty"`
}

// eventArgs are the columns of an event after its number, but for its time.
func eventArgs(e *store.Event) ([]any, error) {
	var a about
	for _, token := range e.Tokens {
		a.Tokens = append(a.Tokens, aboutToken(token))
	}
	for _, target := range e.Targets {
		target.IssuedBefore, target.LegacyBefore = target.IssuedBefore.UTC(), target.LegacyBefore.UTC()
		a.Targets = append(a.Targets, aboutTarget(target))
	}
	var lists []byte
	if len(a.Tokens)+len(a.Targets) > 0 {
		var err error
		if lists, err = json.Marshal(a); err != nil {
			return nil, err
		}
	}
	return []any{number(e.Sequence), identity(e.Revocation), e.Reason, e.Actor, e.Erases, int64(e.Count), e.Retired, lists}, nil
}

// emit writes an event, if its kind is asked for. Its number is drawn under the lock of the feed; in the portable mode it follows
// the highest there is.
func (t *tx) emit(asked store.Kinds, e store.Event) error {
	if e.Kind == 0 || !asked.Has(e.Kind) {
		return nil
	}
	args, err := eventArgs(&e)
	if err != nil {
		return err
	}
	sql, at := t.q.emit, instantOf(e.Time)
	if t.backend.opts.Serializable {
		sql = t.q.emitPortable
	}
	t.lockFeed()
	t.do(step{sql: sql, args: append([]any{t.tenant, int32(e.Kind), at.at, at.ns}, args...)})
	t.add(tally{events: 1})
	return nil
}

// scanEvents takes rows of events.
func scanEvents(into *[]store.Event) func(pgx.Rows) error {
	return func(row pgx.Rows) error {
		var e store.Event
		var at instant
		var kind int32
		var count int64
		var lists []byte
		err := row.Scan((*number)(&e.Number), &kind, &at.at, &at.ns, (*number)(&e.Sequence), (*identity)(&e.Revocation), &e.Reason, &e.Actor, &e.Erases,
			&count, &e.Retired, &lists)
		if err != nil {
			return err
		}
		e.Kind, e.Time, e.Count = store.Kinds(kind), at.time(), uint64(count)
		var a about
		if lists != nil {
			if err := json.Unmarshal(lists, &a); err != nil {
				return damaged("an event")
			}
		}
		for _, token := range a.Tokens {
			e.Tokens = append(e.Tokens, store.EventToken(token))
		}
		for _, target := range a.Targets {
			e.Targets = append(e.Targets, domain.Target(target))
		}
		*into = append(*into, e)
		return nil
	}
}

// Gapless reports whether numbers have no gaps, as in the portable mode. In the other they are drawn for all tenants at once.
func (s *tenant) Gapless() bool { return s.backend.opts.Serializable }

// Feed reads one page of events. Numbers are drawn by writers that commit in any order, so that a page is read again while none of
// them is under way.
func (s *tenant) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	if err := store.CheckPage(limit); err != nil {
		return store.FeedPage{}, err
	}
	page, err := s.feed(ctx, lockNone, after, limit)
	if err != nil || len(page.Events) == 0 || s.backend.opts.Serializable {
		return page, err
	}
	return s.feed(ctx, lockFeed, after, limit)
}

func (s *tenant) feed(ctx context.Context, hold lock, after uint64, limit int) (page store.FeedPage, err error) {
	err = s.read(ctx, hold, func(t *tx) error {
		page = store.FeedPage{Next: after}
		floor, last := number(0), number(0)
		err := t.finish(ctx,
			t.feedEnds(&floor, &last),
			step{t.q.feed, []any{t.tenant, number(after), limit}, scanEvents(&page.Events)})
		page.Last = uint64(last)
		if err == nil {
			err = store.CheckCursor(after, uint64(floor), page.Last)
		}
		if err != nil {
			return err
		}
		if n := len(page.Events); n > 0 {
			page.Next = page.Events[n-1].Number
		}
		return nil
	})
	if err != nil {
		page = store.FeedPage{}
	}
	return page, err
}

// feedEnds reads up to which number events have been dropped, and the number of the last one.
func (t *tx) feedEnds(floor, last *number) step {
	return step{t.q.feedEnds, []any{t.tenant}, func(row pgx.Rows) error { return row.Scan(floor, last) }}
}
