package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

func dropsField(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, insert: func(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
		rows = slices.Clone(rows)
		for i := range rows {
			rows[i].Token.Device.LastASN = ""
		}
		return s.Insert(ctx, rows)
	}}
}

// keepsReplaced keeps the record that a rotation replaces, under an id that nobody else has.
func keepsReplaced(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, update: func(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
		var was *domain.RefreshToken
		err := s.Update(ctx, id, func(view store.View) store.Decision {
			d := decide(view)
			if was = nil; d.Next != nil && d.Next.Generation > 100 {
				was = &view.Token
			}
			return d
		})
		if err == nil && was != nil {
			was.ID = ulid.ULID{0: 0xFF, 14: byte(was.Generation >> 8), 15: byte(was.Generation)}
			_, err = s.Insert(ctx, []store.Insertion{{Token: *was}})
		}
		return err
	}}
}

func overwrites(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, insert: func(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
		results, err := s.Insert(ctx, rows)
		for i := range results {
			if !errors.Is(results[i].Err, store.ErrExists) {
				continue
			}
			overwrite := s.Update(ctx, rows[i].Token.ID, func(view store.View) store.Decision {
				view.Token.Metadata = rows[i].Token.Metadata
				return store.Decision{Next: &view.Token}
			})
			if overwrite == nil {
				results[i].Err = nil
			}
		}
		return results, err
	}}
}

// narrowest lets the tombstone of the narrowest target decide, even if it is too old to cover the token.
func narrowest(_ store.Backend, _ string, s store.Store) store.Store {
	masked := func(ctx context.Context, id ulid.ULID) bool {
		view, err := s.Get(ctx, id)
		page, _ := s.Revocations(ctx, store.RevocationQuery{Limit: store.MaxPage})
		kind, covered := domain.AnchorNone+1, false
		for _, status := range page.Revocations {
			for i := range status.Tombstone.Targets {
				target := &status.Tombstone.Targets[i]
				if !target.Matches(&view.Token) || target.Anchor().Kind > kind {
					continue
				}
				if target.Anchor().Kind < kind {
					kind, covered = target.Anchor().Kind, false
				}
				covered = covered || status.Tombstone.Covers(&view.Token)
			}
		}
		return err == nil && kind <= domain.AnchorNone && !covered
	}
	return &verbs{
		Store: s,
		get: func(ctx context.Context, id ulid.ULID) (store.View, error) {
			view, err := s.Get(ctx, id)
			if masked(ctx, id) {
				view.RevokedBy = ulid.ULID{}
			}
			return view, err
		},
		update: func(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
			mask := masked(ctx, id)
			err := s.Update(ctx, id, func(view store.View) store.Decision {
				if mask {
					view.RevokedBy = ulid.ULID{}
				}
				return decide(view)
			})
			if mask && errors.Is(err, store.ErrCovered) {
				return nil
			}
			return err
		},
	}
}

func unordered(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, list: func(ctx context.Context, q store.Query) (store.Page, error) {
		page, err := s.List(ctx, q)
		slices.Reverse(page.Tokens)
		return page, err
	}}
}

func repeatsRow(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, list: func(ctx context.Context, q store.Query) (store.Page, error) {
		for i := len(q.After) - 1; i >= 0 && !q.After.IsZero(); i-- { // the cursor's own row comes first
			if q.After[i]--; q.After[i] != 0xff {
				break
			}
		}
		return s.List(ctx, q)
	}}
}

func skipsRow(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, list: func(ctx context.Context, q store.Query) (store.Page, error) {
		page, err := s.List(ctx, q)
		if !page.Next.IsZero() {
			q.After, q.Limit = page.Next, 1
			if next, err := s.List(ctx, q); err == nil && len(next.Tokens) > 0 {
				page.Next = next.Tokens[0].ID
			}
		}
		return page, err
	}}
}

func unfencedList(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, list: func(ctx context.Context, q store.Query) (store.Page, error) {
		q.Fenced = false
		return s.List(ctx, q)
	}}
}

// deciding replaces decide.
func deciding(s store.Store, with func(view store.View, decide func(store.View) store.Decision) store.Decision) *verbs {
	return &verbs{Store: s, update: func(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
		return s.Update(ctx, id, func(view store.View) store.Decision { return with(view, decide) })
	}}
}

func forgetsReplay(_ store.Backend, _ string, s store.Store) store.Store {
	return deciding(s, func(view store.View, decide func(store.View) store.Decision) store.Decision {
		d := decide(view)
		if d.Err != nil {
			d.Revoke = nil
		}
		return d
	})
}

func firstRun(_ store.Backend, _ string, s store.Store) store.Store {
	return deciding(s, func(view store.View, decide func(store.View) store.Decision) store.Decision {
		first := decide(view)
		decide(view)
		return first
	})
}

func swallowsPanic(_ store.Backend, _ string, s store.Store) store.Store {
	return deciding(s, func(view store.View, decide func(store.View) store.Decision) (d store.Decision) {
		defer func() {
			if recover() != nil {
				d = store.Decision{Err: store.ErrNotCommitted}
			}
		}()
		return decide(view)
	})
}

func ignoresIdentity(_ store.Backend, _ string, s store.Store) store.Store {
	return deciding(s, func(view store.View, decide func(store.View) store.Decision) store.Decision {
		d := decide(view)
		if d.Next != nil && !d.Next.SameIdentity(&view.Token) {
			next := view.Token
			next.Metadata = d.Next.Metadata
			d.Next = &next
		}
		return d
	})
}

func noFence(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, update: func(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
		err := s.Update(ctx, id, func(view store.View) store.Decision {
			view.RevokedBy = ulid.ULID{}
			return decide(view)
		})
		if errors.Is(err, store.ErrCovered) {
			return nil
		}
		return err
	}}
}

// staleFence looks whether the token is covered before it commits, but not in the same step.
func staleFence(_ store.Backend, _ string, s store.Store) store.Store {
	var mu sync.Mutex // updates come one by one; only revocations get in between
	return &verbs{Store: s, update: func(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
		mu.Lock()
		defer mu.Unlock()
		view, err := s.Get(ctx, id)
		if err != nil {
			return err
		}
		d := decide(view)
		if d.Next != nil && view.Revoked() {
			return store.ErrCovered
		}
		if err = s.Update(ctx, id, func(store.View) store.Decision { return d }); errors.Is(err, store.ErrCovered) {
			return nil
		}
		return err
	}}
}

func lostUpdate(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, update: func(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
		view, err := s.Get(ctx, id)
		if err != nil {
			return err
		}
		d := decide(view)
		return s.Update(ctx, id, func(store.View) store.Decision { return d })
	}}
}

// twoWinners compares before it writes, but not all that an exchange changes.
func twoWinners(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, update: func(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
		for {
			view, err := s.Get(ctx, id)
			if err != nil {
				return err
			}
			d := decide(view)
			again := false
			err = s.Update(ctx, id, func(now store.View) store.Decision {
				if again = noteOf(view.Token) != noteOf(now.Token); again {
					return store.Decision{}
				}
				return d
			})
			if !again {
				return err
			}
		}
	}}
}

func keepsTargets(_ store.Backend, _ string, s store.Store) store.Store {
	var mu sync.Mutex
	kept := map[ulid.ULID][]domain.Target{}
	return &verbs{
		Store: s,
		revoke: func(ctx context.Context, r store.Revocation) (store.Status, error) {
			status, err := s.Revoke(ctx, r)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				kept[r.ID] = r.Targets
			}
			return status, err
		},
		revocation: func(ctx context.Context, id ulid.ULID) (store.Status, error) {
			status, err := s.Revocation(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			if targets := kept[id]; targets != nil {
				status.Tombstone.Targets = targets
			}
			return status, err
		},
	}
}

// keepsRows returns whose a token is as it stands by now in the row that it came in, alone or with others.
func keepsRows(least int) wrapping {
	return func(_ store.Backend, _ string, s store.Store) store.Store {
		var mu sync.Mutex
		kept := map[ulid.ULID]*domain.RefreshToken{}
		return &verbs{Store: s, insert: func(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
			mu.Lock()
			defer mu.Unlock()
			for i := range rows {
				if token := &rows[i].Token; kept[token.ID] == nil && min(len(rows), 2) == least {
					kept[token.ID] = token
				}
			}
			return s.Insert(ctx, rows)
		}, get: func(ctx context.Context, id ulid.ULID) (store.View, error) {
			view, err := s.Get(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			if row := kept[id]; row != nil && err == nil {
				view.Token.UserID = row.UserID
			}
			return view, err
		}}
	}
}

func sharesPage(_ store.Backend, _ string, s store.Store) store.Store {
	buffer := make([]domain.RefreshToken, store.MaxPage)
	var mu sync.Mutex
	return &verbs{Store: s, list: func(ctx context.Context, q store.Query) (store.Page, error) {
		page, err := s.List(ctx, q)
		mu.Lock()
		defer mu.Unlock()
		page.Tokens = buffer[:copy(buffer, page.Tokens)]
		return page, err
	}}
}

func halfBatch(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, insert: func(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
		for i := range rows {
			if err := rows[i].Token.Validate(); err != nil && i > 0 {
				if _, err := s.Insert(ctx, rows[:i]); err != nil {
					return nil, err
				}
				return nil, err
			}
		}
		return s.Insert(ctx, rows)
	}}
}
