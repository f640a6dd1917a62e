package tokenstoretest

import (
	"context"
	"errors"
	"runtime"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// gated is a backend each of whose verbs waits until the schedule lets it through.
type gated struct {
	store.Backend
	drama *drama
}

func (b gated) Tenant(name string) (store.Store, error) {
	st, err := b.Backend.Tenant(name)
	if err != nil {
		return nil, err
	}
	var s store.Store = gatedStore{st, b.drama}
	if above := b.drama.explorer.above; above != nil {
		s = above(s)
	}
	return s, nil
}

func (b gated) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	b.drama.enter(ctx, "Pending")
	return b.Backend.Pending(ctx, after, limit)
}

type actorKey struct{}

func actorOf(ctx context.Context) *actor {
	a, _ := ctx.Value(actorKey{}).(*actor)
	return a
}

// enter waits until the verb may take effect. It returns whose it is; nobody's are those of the test itself.
func (d *drama) enter(ctx context.Context, verb string) *actor {
	a := actorOf(ctx)
	if a == nil || d.free {
		return nil
	}
	if a.fresh {
		a.fresh = false
	} else {
		a.park(verb)
	}
	return a
}

// leave is where a process ends whose verb has taken effect, and whose caller never heard of it.
func (d *drama) leave(a *actor) {
	if a != nil && d.doomed == a {
		runtime.Goexit()
	}
}

// lost reports whether the answer of a verb is to be lost.
func (d *drama) lost(a *actor, err error) bool {
	if a == nil || d.deaf != a || err != nil && !errors.Is(err, tokenstore.ErrReused) {
		return false
	}
	d.deaf = nil
	if a.call != nil {
		a.call.uncertain = true
	}
	return true
}

// within is the context of one verb. A backend that asks it for its error before each of its steps is held up before all but
// the first.
type within struct {
	context.Context
	actor *actor
	asked int
}

func (w *within) Err() error {
	if w.asked++; w.asked > 1 {
		w.actor.park("commit")
	}
	return w.Context.Err()
}

func (d *drama) within(ctx context.Context, a *actor) context.Context {
	if a == nil || !d.explorer.config.Steps {
		return ctx
	}
	return &within{Context: ctx, actor: a}
}

type gatedStore struct {
	store.Store
	drama *drama
}

func (s gatedStore) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	a := s.drama.enter(ctx, "Get")
	v, err := s.Store.Get(ctx, id)
	s.drama.gotten(a, id, v, err)
	return v, err
}

func (s gatedStore) State(ctx context.Context) (store.State, error) {
	s.drama.enter(ctx, "State")
	return s.Store.State(ctx)
}

func (s gatedStore) Revocation(ctx context.Context, id ulid.ULID) (store.Status, error) {
	s.drama.enter(ctx, "Revocation")
	return s.Store.Revocation(ctx, id)
}

func (s gatedStore) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	s.drama.enter(ctx, "Revocations")
	return s.Store.Revocations(ctx, q)
}

func (s gatedStore) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	a := s.drama.enter(ctx, "Insert")
	defer s.drama.leave(a)
	inserted, err := s.Store.Insert(s.drama.within(ctx, a), rows)
	if err == nil {
		s.drama.inserted(a, rows, inserted)
	}
	if s.drama.lost(a, err) {
		return nil, store.ErrUnknownOutcome
	}
	return inserted, err
}

func (s gatedStore) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	a := s.drama.enter(ctx, "Update")
	defer s.drama.leave(a)
	var last look
	err := s.Store.Update(s.drama.within(ctx, a), id, func(v store.View) store.Decision {
		last = look{made: true, view: v, covered: s.drama.covers(v.Token.ID), decision: decide(v)}
		return last.decision
	})
	s.drama.updated(a, id, last, err)
	if s.drama.lost(a, err) {
		return store.ErrUnknownOutcome
	}
	return err
}

func (s gatedStore) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	a := s.drama.enter(ctx, "Revoke")
	defer s.drama.leave(a)
	status, err := s.Store.Revoke(s.drama.within(ctx, a), r)
	if err == nil {
		s.drama.revoked(a, r)
	}
	if s.drama.lost(a, err) {
		return store.Status{}, store.ErrUnknownOutcome
	}
	return status, err
}

// Apply looks at one token, whatever the engine would have it look at.
func (s gatedStore) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	a := s.drama.enter(ctx, "Apply")
	bounds.Visit, bounds.Remove = 1, 1
	statuses, err := s.Store.Apply(s.drama.within(ctx, a), ids, bounds)
	s.drama.applied(a)
	return statuses, err
}

func (s gatedStore) Trim(ctx context.Context, t store.Trim) (store.Trimmed, error) {
	a := s.drama.enter(ctx, "Trim")
	defer s.drama.leave(a)
	done, err := s.Store.Trim(s.drama.within(ctx, a), t)
	if err == nil {
		s.drama.trimmed(a, t)
	}
	return done, err
}
