package revocation_test

import (
	"context"
	"fmt"
	"strings"

	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// overheard is the database as an applier sees it. What the applier does with it becomes a line of the story.
type overheard struct {
	store.Backend
	w     *world
	lines []string
	slice bool // a slice of the sweep was among it
}

func (o *overheard) say(format string, args ...any) {
	o.lines = append(o.lines, fmt.Sprintf(format, args...))
}

func (o *overheard) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	names, err := o.Backend.Pending(ctx, after, limit)
	o.say("asks who has something pending: %s", list(names))
	return names, err
}

func (o *overheard) Tenants(ctx context.Context, after string, limit int) ([]string, error) {
	names, err := o.Backend.Tenants(ctx, after, limit)
	o.say("asks who there is: %s", list(names))
	return names, err
}

func (o *overheard) Tenant(name string) (store.Store, error) {
	st, err := o.Backend.Tenant(name)
	return &overheardStore{st, o}, err
}

type overheardStore struct {
	store.Store
	o *overheard
}

func (s *overheardStore) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	page, err := s.Store.Revocations(ctx, q)
	var names []string
	for _, status := range page.Revocations {
		names = append(names, s.o.w.revocationName(status.Tombstone.ID))
	}
	s.o.say("asks what is pending: %s", list(names))
	return page, err
}

func (s *overheardStore) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	s.o.slice = true
	for _, id := range ids {
		if name := s.o.w.revocationName(id); s.o.w.faults[name] > 0 {
			s.o.w.faults[name]--
			s.o.say("slice fails")
			return nil, store.ErrNotCommitted
		}
	}
	if limit := s.o.w.bounds; limit.Visit > 0 {
		bounds.Visit, bounds.Remove = min(bounds.Visit, limit.Visit), min(bounds.Remove, limit.Remove)
	}
	statuses, err := s.Store.Apply(ctx, ids, bounds)
	if len(statuses) == 0 {
		s.o.say("slice finds nothing pending any more")
		return statuses, err
	}
	var said []string
	for _, status := range statuses {
		said = append(said, s.o.w.status(status))
	}
	s.o.say("slice of %s", strings.Join(said, "; "))
	return statuses, err
}

func (s *overheardStore) Expire(ctx context.Context, bounds store.Bounds) (store.Expired, error) {
	done, err := s.Store.Expire(ctx, bounds)
	if done.Removed > 0 {
		s.o.say("removes %d expired", done.Removed)
	}
	return done, err
}

func (s *overheardStore) Trim(ctx context.Context, t store.Trim) (store.Trimmed, error) {
	done, err := s.Store.Trim(ctx, t)
	if done.Guards+done.History > 0 {
		s.o.say("forgets %d guards, %d retired revocations", done.Guards, done.History)
	}
	return done, err
}
