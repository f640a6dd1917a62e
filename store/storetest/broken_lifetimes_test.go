package storetest

import (
	"context"
	"slices"
	"sync"
	"time"

	"example.com/tokenstore/store"
)

// Stores that make a mistake with lifetimes and caps.

func expiresEarly(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, expire: func(ctx context.Context, b store.Bounds) (store.Expired, error) {
		b.Now = b.Now.Add(time.Minute)
		return s.Expire(ctx, b)
	}}
}

func neverExpires(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, expire: func(_ context.Context, b store.Bounds) (store.Expired, error) {
		return store.Expired{}, b.Validate()
	}}
}

// forgetsIdle takes the idle lifetime for renewed for ever.
func forgetsIdle(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, expire: func(ctx context.Context, b store.Bounds) (store.Expired, error) {
		for _, token := range tokensOf(ctx, s) {
			_ = s.Update(ctx, token.ID, func(v store.View) store.Decision {
				v.Token.IdleExpiresAt = time.Time{}
				return store.Decision{Next: &v.Token}
			})
		}
		return s.Expire(ctx, b)
	}}
}

// countsFirst counts the live tokens before the commit that inserts another one.
func countsFirst(_ store.Backend, _ string, s store.Store) store.Store {
	var mu sync.Mutex
	met, all := 0, make(chan struct{})
	return &verbs{Store: s, insert: func(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
		rows = slices.Clone(rows)
		for i := range rows {
			live, err := s.List(ctx, store.Query{UserID: rows[i].Token.UserID, Limit: store.MaxPage, Fenced: true})
			if rows[i].Token.Validate() != nil || err != nil || rows[i].Cap.Max < 0 {
				continue
			}
			n := 0
			for _, token := range live.Tokens {
				if token.ClientID == rows[i].Token.ClientID && token.Expired(rows[i].Token.CreatedAt) == "" {
					n++
				}
			}
			if n < rows[i].Cap.Max {
				rows[i].Cap = store.Cap{} // there is room, so it seems
				mu.Lock()
				if met++; met == capCallers {
					close(all)
				}
				mu.Unlock()
				select { // there is to all others as well, if they come
				case <-all:
				case <-time.After(300 * time.Millisecond):
				}
			}
		}
		return s.Insert(ctx, rows)
	}}
}

func evictsUnremembered(_ store.Backend, _ string, s store.Store) store.Store {
	var gone sync.Map
	return &verbs{Store: s, insert: func(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
		rows = slices.Clone(rows)
		for i := range rows {
			if _, ok := gone.Load(rows[i].Token.ID); ok {
				rows[i].Token.ID[15]++ // as if nobody had ever heard of it
			}
		}
		results, err := s.Insert(ctx, rows)
		for _, in := range results {
			for _, token := range in.Evicted {
				gone.Store(token.ID, true)
			}
		}
		return results, err
	}}
}

// namesNone names only tenants that have something pending.
type namesNone struct{ store.Backend }

func (b namesNone) Tenants(ctx context.Context, after string, limit int) ([]string, error) {
	return b.Pending(ctx, after, limit)
}
