package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// forbearing gives every row that is refused with the given error a second chance, as if it stemmed from now.
func forbearing(s store.Store, refused error, forgive func(ctx context.Context, row store.Insertion) bool) *verbs {
	return &verbs{Store: s, insert: func(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
		results, err := s.Insert(ctx, rows)
		for i := range results {
			if !errors.Is(results[i].Err, refused) || !forgive(ctx, rows[i]) {
				continue
			}
			again, err := s.Insert(ctx, []store.Insertion{{Token: rows[i].Token}})
			if err != nil {
				return nil, err
			}
			results[i] = again[0]
		}
		return results, err
	}}
}

// idle reports whether nothing is pending, so that only guards bar.
func idle(ctx context.Context, s store.Store) bool {
	state, err := s.State(ctx)
	return err == nil && state.Pending == 0
}

// pendingOf returns what is pending.
func pendingOf(ctx context.Context, s store.Store) []store.Status {
	page, _ := s.Revocations(ctx, store.RevocationQuery{Limit: store.MaxPage})
	return page.Revocations
}

// tokensOf returns all tokens.
func tokensOf(ctx context.Context, s store.Store) (tokens []domain.RefreshToken) {
	q := store.Query{Limit: store.MaxPage}
	for {
		page, err := s.List(ctx, q)
		tokens = append(tokens, page.Tokens...)
		if q.After = page.Next; err != nil || q.After.IsZero() {
			return tokens
		}
	}
}

func laggingSequence(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, state: func(ctx context.Context) (store.State, error) {
		state, err := s.State(ctx)
		if state.Sequence > 0 {
			state.Sequence--
		}
		return state, err
	}}
}

func forgetsActor(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, revoke: func(ctx context.Context, r store.Revocation) (store.Status, error) {
		if r.Validate() == nil {
			r.Actor = ""
		}
		return s.Revoke(ctx, r)
	}}
}

func noConflict(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, revoke: func(ctx context.Context, r store.Revocation) (store.Status, error) {
		status, err := s.Revoke(ctx, r)
		if errors.Is(err, store.ErrConflict) {
			return s.Revocation(ctx, r.ID)
		}
		return status, err
	}}
}

func recordsNothing(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, revoke: func(ctx context.Context, r store.Revocation) (store.Status, error) {
		status, err := s.Revoke(ctx, r)
		if _, there := s.Revocation(ctx, r.ID); err != nil || there == nil {
			return status, err
		}
		r.Targets = append(slices.Clone(r.Targets), domain.Target{UserID: "\U0010FFFF"})
		return s.Revoke(ctx, r)
	}}
}

func neverSupersedes(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, revoke: func(ctx context.Context, r store.Revocation) (store.Status, error) {
		for _, status := range pendingOf(ctx, s) {
			if t := &status.Tombstone; !r.Erase && t.ID != r.ID && t.Anchored() && t.SameTargets(r.Targets) {
				r.Targets = append(slices.Clone(r.Targets), r.Targets[0]) // the same to all but the comparison
			}
		}
		return s.Revoke(ctx, r)
	}}
}

func neverBusy(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, revoke: func(ctx context.Context, r store.Revocation) (store.Status, error) {
		status, err := s.Revoke(ctx, r)
		if errors.Is(err, store.ErrBusy) {
			return store.Status{Tombstone: domain.Tombstone{ID: r.ID, Targets: slices.Clone(r.Targets)}}, nil
		}
		return status, err
	}}
}

func overRevokes(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, revoke: func(ctx context.Context, r store.Revocation) (store.Status, error) {
		r.Targets = slices.Clone(r.Targets)
		for i := range r.Targets {
			if r.Targets[i].UserID != "" && r.Validate() == nil {
				r.Targets[i].Audience = ""
			}
		}
		return s.Revoke(ctx, r)
	}}
}

// ignoresWatermark sweeps whatever a target names, and counts it too. What is too late for the revocation goes by another
// one, which nobody has asked for.
func ignoresWatermark(_ store.Backend, _ string, s store.Store) store.Store {
	var mu sync.Mutex
	extra := map[ulid.ULID]uint64{}
	counted := func(status store.Status, err error) (store.Status, error) {
		mu.Lock()
		defer mu.Unlock()
		status.Swept += extra[status.Tombstone.ID]
		return status, err
	}
	sweepLater := func(ctx context.Context, status store.Status) {
		r := store.Revocation{ID: status.Tombstone.ID, Time: status.Tombstone.Time}
		for _, token := range tokensOf(ctx, s) {
			named := slices.ContainsFunc(status.Tombstone.Targets, func(t domain.Target) bool { return t.Matches(&token) })
			if named && token.Sequence > status.Tombstone.Watermark {
				r.Targets = append(r.Targets, domain.Target{TokenID: token.ID})
			}
		}
		if len(r.Targets) == 0 {
			return
		}
		for r.ID[9]++; ; r.ID[9]++ {
			if _, err := s.Revoke(ctx, r); err == nil {
				break // or else that id has been used
			}
		}
		mu.Lock()
		extra[status.Tombstone.ID] += uint64(len(r.Targets))
		mu.Unlock()
		_, _ = s.Apply(ctx, []ulid.ULID{r.ID}, store.Bounds{Visit: store.MaxBatch, Remove: store.MaxBatch})
	}
	return &verbs{
		Store:  s,
		revoke: func(ctx context.Context, r store.Revocation) (store.Status, error) { return counted(s.Revoke(ctx, r)) },
		revocation: func(ctx context.Context, id ulid.ULID) (store.Status, error) {
			return counted(s.Revocation(ctx, id))
		},
		apply: func(ctx context.Context, ids []ulid.ULID, b store.Bounds) ([]store.Status, error) {
			for _, id := range ids {
				if status, err := s.Revocation(ctx, id); err == nil && !status.Retired && b.Validate() == nil {
					sweepLater(ctx, status)
				}
			}
			statuses, err := s.Apply(ctx, ids, b)
			for i := range statuses {
				statuses[i], _ = counted(statuses[i], nil)
			}
			return statuses, err
		},
	}
}

func exceedsBounds(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, apply: func(ctx context.Context, ids []ulid.ULID, b store.Bounds) ([]store.Status, error) {
		b.Visit *= 3
		b.Remove *= 3
		return s.Apply(ctx, ids, b)
	}}
}

func reportsNothing(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, apply: func(ctx context.Context, ids []ulid.ULID, b store.Bounds) ([]store.Status, error) {
		_, err := s.Apply(ctx, ids, b)
		return nil, err
	}}
}

// losesTail commits the progress of a slice before its effects, and of three or more removals it loses the last.
func losesTail(_ store.Backend, _ string, s store.Store) store.Store {
	var mu sync.Mutex
	left := map[ulid.ULID]store.View{}
	return &verbs{
		Store: s,
		get: func(ctx context.Context, id ulid.ULID) (store.View, error) {
			mu.Lock()
			defer mu.Unlock()
			if view, ok := left[id]; ok {
				return view, nil
			}
			return s.Get(ctx, id)
		},
		apply: func(ctx context.Context, ids []ulid.ULID, b store.Bounds) ([]store.Status, error) {
			before := tokensOf(ctx, s)
			statuses, err := s.Apply(ctx, ids, b)
			after := tokensOf(ctx, s)
			gone := slices.DeleteFunc(before, func(token domain.RefreshToken) bool {
				return slices.ContainsFunc(after, func(t domain.RefreshToken) bool { return t.ID == token.ID })
			})
			mu.Lock()
			defer mu.Unlock()
			if n := len(gone); n >= 3 {
				left[gone[n-1].ID] = store.View{Token: gone[n-1]}
			}
			return statuses, err
		},
	}
}

func retiresEarly(_ store.Backend, _ string, s store.Store) store.Store {
	var mu sync.Mutex
	early := map[ulid.ULID]time.Time{}
	touch := func(status *store.Status) {
		if at, ok := early[status.Tombstone.ID]; ok && !status.Retired {
			status.Retired, status.RetiredAt = true, at
		}
	}
	return &verbs{
		Store: s,
		apply: func(ctx context.Context, ids []ulid.ULID, b store.Bounds) ([]store.Status, error) {
			statuses, err := s.Apply(ctx, ids, b)
			mu.Lock()
			defer mu.Unlock()
			for i := range statuses {
				early[statuses[i].Tombstone.ID] = b.Now
				touch(&statuses[i])
			}
			return statuses, err
		},
		revocation: func(ctx context.Context, id ulid.ULID) (store.Status, error) {
			status, err := s.Revocation(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			touch(&status)
			return status, err
		},
	}
}

func forgetsGuards(_ store.Backend, _ string, s store.Store) store.Store {
	return forbearing(s, domain.ErrRevoked, func(ctx context.Context, _ store.Insertion) bool { return idle(ctx, s) })
}

// lastGuardWins replaces a guard where it should join two. It does so for one user, lest a random test comes upon it now
// and then.
func lastGuardWins(_ store.Backend, _ string, s store.Store) store.Store {
	var mu sync.Mutex
	guards := map[string]domain.Guard{}
	v := forbearing(s, domain.ErrRevoked, func(ctx context.Context, row store.Insertion) bool {
		mu.Lock()
		defer mu.Unlock()
		for _, guard := range guards {
			if guard.Bars(&row.Token, row.AsOf) {
				return false
			}
		}
		return row.Token.UserID == "user" && idle(ctx, s)
	})
	v.revoke = func(ctx context.Context, r store.Revocation) (store.Status, error) {
		status, err := s.Revoke(ctx, r)
		mu.Lock()
		defer mu.Unlock()
		for _, guard := range status.Tombstone.Guards() {
			guards[guard.Target.Key()] = guard
		}
		return status, err
	}
	return v
}

func ignoresHorizon(_ store.Backend, _ string, s store.Store) store.Store {
	return forbearing(s, domain.ErrBeyondMemory, func(context.Context, store.Insertion) bool { return true })
}

func keepsHorizon(_ store.Backend, _ string, s store.Store) store.Store {
	v := forbearing(s, domain.ErrBeyondMemory, func(context.Context, store.Insertion) bool { return true })
	v.state = func(ctx context.Context) (store.State, error) {
		state, err := s.State(ctx)
		state.Horizon = domain.Horizon{}
		return state, err
	}
	return v
}

func trimsPending(_ store.Backend, _ string, s store.Store) store.Store {
	var mu sync.Mutex
	dropped := map[ulid.ULID]bool{}
	return &verbs{
		Store: s,
		trim: func(ctx context.Context, t store.Trim) (store.Trimmed, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, status := range pendingOf(ctx, s) {
				dropped[status.Tombstone.ID] = status.Tombstone.Time.Before(t.History)
			}
			return s.Trim(ctx, t)
		},
		revocation: func(ctx context.Context, id ulid.ULID) (store.Status, error) {
			mu.Lock()
			defer mu.Unlock()
			if dropped[id] {
				return store.Status{}, store.ErrNotFound
			}
			return s.Revocation(ctx, id)
		},
	}
}

// leaks finds a token in whatever tenant has it.
func leaks() wrapping {
	var mu sync.Mutex
	names := map[store.Backend][]string{}
	return func(b store.Backend, name string, s store.Store) store.Store {
		mu.Lock()
		defer mu.Unlock()
		names[b] = append(names[b], name)
		return &verbs{Store: s, get: func(ctx context.Context, id ulid.ULID) (store.View, error) {
			view, err := s.Get(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			for _, other := range names[b] {
				if !errors.Is(err, store.ErrNotFound) {
					break
				}
				if s, openErr := b.Tenant(other); openErr == nil {
					view, err = s.Get(ctx, id)
				}
			}
			return view, err
		}}
	}
}

func newestPending(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, state: func(ctx context.Context) (store.State, error) {
		state, err := s.State(ctx)
		for _, status := range pendingOf(ctx, s) {
			if at := status.Tombstone.Time; at.After(state.OldestPending) {
				state.OldestPending = at
			}
		}
		return state, err
	}}
}

// namesAll names every tenant that was ever asked for.
type namesAll struct {
	store.Backend
	mu    sync.Mutex
	names []string
}

func (b *namesAll) Tenant(name string) (store.Store, error) {
	s, err := b.Backend.Tenant(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil && !slices.Contains(b.names, name) {
		b.names = append(b.names, name)
		slices.Sort(b.names)
	}
	return s, err
}

func (b *namesAll) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	if _, err := b.Backend.Pending(ctx, after, limit); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i, found := slices.BinarySearch(b.names, after)
	if found {
		i++
	}
	rest := b.names[i:]
	return slices.Clone(rest[:min(limit, len(rest))]), nil
}

// neverCloses says that it is closed, and goes on.
type neverCloses struct{ store.Backend }

func (neverCloses) Close() error { return nil }
