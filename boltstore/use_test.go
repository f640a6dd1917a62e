package boltstore_test

import (
	"context"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// useStore tries every verb on a file that may be damaged, and returns the errors that have no type.
func useStore(b *boltstore.Backend) []error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	note := func(err error) { errs = append(errs, typed(err)) }
	s, err := b.Tenant("acme")
	if err != nil {
		return []error{err}
	}
	_, err = b.Check(ctx)
	note(err)
	note(list(ctx, s, store.Query{}, func(domain.RefreshToken) {}))
	note(list(ctx, s, store.Query{UserID: "user-3", Fenced: true}, func(domain.RefreshToken) {}))
	note(list(ctx, s, store.Query{SessionID: "session-9"}, func(domain.RefreshToken) {}))
	_, err = s.Find(ctx, domain.Digest{1})
	note(err)
	for _, n := range []int{0, 25, 500, 999} {
		_, err = s.Get(ctx, idOf(n))
		note(err)
		note(s.Update(ctx, idOf(n), mark("used")))
	}
	_, err = s.Insert(ctx, []store.Insertion{{Token: plain(5_000_000, "user-3", "session-9")}})
	note(err)
	_, err = s.Revoke(ctx, revocation(1_000_003, domain.Target{UserID: "user-3"}))
	note(err)
	_, err = s.State(ctx)
	note(err)
	_, err = s.Revocations(ctx, store.RevocationQuery{Limit: 10, Retired: true})
	note(err)
	for range 3 {
		if err := sweepSome(ctx, s); err != nil {
			note(err)
			break
		}
	}
	_, err = s.Trim(ctx, store.Trim{Limit: 10, Guards: base.Add(48 * time.Hour), History: base.Add(48 * time.Hour)})
	note(err)
	return errs
}

// sweepSome applies one slice, which a damaged file may never come to the end of.
func sweepSome(ctx context.Context, s store.Store) error {
	page, err := s.Revocations(ctx, store.RevocationQuery{Limit: store.MaxPage})
	if err != nil || len(page.Revocations) == 0 {
		return err
	}
	for _, status := range page.Revocations {
		_, err := s.Apply(ctx, ids(status), store.Bounds{Visit: 500, Remove: 500, Now: base})
		if err != nil {
			return err
		}
	}
	return nil
}
