package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

func TestInsertMeetsRevocation(t *testing.T) {
	for _, n := range []int{1, 10, 40} { // of which the last takes the batch's way
		for _, swept := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d rows, swept %t", n, swept), func(t *testing.T) {
				b := newBetween(t)
				b.insert(b.quick, rows(domain.AsOf{}, b.token("user")))
				asOf := domain.AsOfSequence(b.state().Sequence)
				var tokens []domain.RefreshToken
				for range n {
					tokens = append(tokens, b.token("user"))
				}
				b.when(func() {
					r := b.revoke(b.quick, domain.Target{UserID: "user"})
					if swept {
						b.sweep(b.quick, r.Tombstone.ID)
					}
				})
				for _, r := range b.insert(b.slow, rows(asOf, tokens...)) {
					if !errors.Is(r.Err, domain.ErrRevoked) {
						t.Fatalf("a revocation before the commit of an insertion must bar it: got %v", r.Err)
					}
				}
				b.happened()
			})
		}
	}
}

// An insertion that has read nothing relies on nothing having been revoked.
func TestBlindInsertMeetsRevocation(t *testing.T) {
	b := newBetween(t)
	token := func() domain.RefreshToken {
		token := b.token("user")
		token.SessionID, _ = domain.NewSessionID("session")
		return token
	}
	for range 2 { // the first has the process know the tenant
		if r := b.insert(b.slow, rows(domain.AsOf{}, token())); r[0].Err != nil {
			t.Fatal(r[0].Err)
		}
	}
	b.when(func() { b.revoke(b.quick, domain.Target{SessionID: "session"}) })
	err := b.insert(b.slow, rows(domain.AsOf{}, token()))[0].Err
	b.happened()
	if !errors.Is(err, domain.ErrRevoked) {
		t.Errorf("a session that was revoked before the commit of an insertion must bar it: got %v", err)
	}
}

// Insertions of one process that meet share a commit, and each is decided upon as if it were alone: by what had been revoked before, by who
// was first to take an id, and with the number that its token is stored with.
func TestInsertMeetsInserts(t *testing.T) {
	b := newBetween(t)
	const callers, rounds = 32, 5
	var calling sync.WaitGroup
	var numbers sync.Map
	insert := func(ctx context.Context, id ulid.ULID, session string) (store.Inserted, error) {
		token := domain.RefreshToken{ID: id, UserID: "user", ClientID: "client", CreatedAt: base}
		token.SessionID, _ = domain.NewSessionID(session)
		results, err := b.slow.Insert(ctx, rows(domain.AsOf{}, token))
		if err != nil {
			return store.Inserted{}, err
		}
		return results[0], nil
	}
	var first [rounds]atomic.Int64
	for i := range callers {
		calling.Go(func() {
			for round := range rounds {
				session, id := fmt.Sprintf("session-%d-%d", i, round), ulid.Make()
				r, err := insert(t.Context(), id, session)
				if err != nil || r.Err != nil {
					t.Errorf("a token of a session that was not revoked must be inserted: got %v, %v", err, r.Err)
				}
				if v, err := b.quick.Get(t.Context(), id); err != nil || v.Token.ID != id || v.Token.Sequence != r.Sequence {
					t.Errorf("a token must be stored as it was acknowledged: got %+v, %v", v, err)
				}
				if other, taken := numbers.LoadOrStore(r.Sequence, id); taken {
					t.Errorf("two tokens must not have one number: got %v and %v", other, id)
				}
				ctx, cancel := context.WithCancel(t.Context())
				calling.Go(func() {
					if _, err := insert(ctx, ulid.Make(), session); err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("a call that is cancelled must say so: got %v", err)
					}
				})
				_, err = b.quick.Revoke(t.Context(), store.Revocation{ID: ulid.Make(), Targets: []domain.Target{{SessionID: session}}, Time: base})
				cancel()
				if err != nil {
					t.Error(err)
				}
				if r, err := insert(t.Context(), ulid.Make(), session); err != nil || !errors.Is(r.Err, domain.ErrRevoked) {
					t.Errorf("a token of a session that was revoked before the call must be refused: got %v, %v", err, r.Err)
				}
				switch r, err := insert(t.Context(), ulid.ULID{byte(round + 1)}, "shared"); {
				case err == nil && r.Err == nil:
					first[round].Add(1)
				case err != nil || !errors.Is(r.Err, store.ErrExists) || r.There == nil:
					t.Errorf("an id that is taken must be refused, with the record that has it: got %v, %+v", err, r)
				}
			}
		})
	}
	calling.Wait()
	for round := range first {
		if n := first[round].Load(); n != 1 {
			t.Errorf("round %d: an id must be given to one token: got %d", round, n)
		}
	}
	if b.merged.Load() == 0 {
		t.Error("no calls have met")
	}
	t.Logf("%d transactions were shared", b.merged.Load())
}

// A batch is one commit, and an id that is taken before it must not be taken again.
func TestInsertMeetsItsID(t *testing.T) {
	for _, n := range []int{1, 40} {
		b := newBetween(t)
		var tokens []domain.RefreshToken
		for range n {
			tokens = append(tokens, b.token("user"))
		}
		first := tokens[n-1]
		first.UserID = "first"
		b.when(func() { b.insert(b.quick, rows(domain.AsOf{}, first)) })
		results := b.insert(b.slow, rows(domain.AsOf{}, tokens...))
		b.happened()
		if r := results[n-1]; !errors.Is(r.Err, store.ErrExists) || r.There == nil || r.There.UserID != "first" {
			t.Errorf("an id that was taken before the commit must be refused, with the record that has it: got %v, %+v", r.Err, r.There)
		}
		if got := b.state().Tokens; got != n {
			t.Errorf("got %d tokens, want %d", got, n)
		}
	}
}

func TestInsertMeetsForgetting(t *testing.T) {
	b := newBetween(t)
	b.insert(b.quick, rows(domain.AsOf{}, b.token("user")))
	asOf := domain.AsOfSequence(b.state().Sequence)
	r := b.revoke(b.quick, domain.Target{UserID: "other"})
	b.sweep(b.quick, r.Tombstone.ID)
	b.when(func() {
		_, err := b.quick.Trim(t.Context(), store.Trim{Guards: base.Add(2 * time.Hour), Limit: 10})
		must(t, err)
	})
	got := b.insert(b.slow, rows(asOf, b.token("user")))[0].Err
	b.happened()
	if !errors.Is(got, domain.ErrBeyondMemory) {
		t.Errorf("what was forgotten before the commit of an insertion must be known to be: got %v", got)
	}
}

func TestRevocationMeetsInsert(t *testing.T) {
	b := newBetween(t)
	late := b.token("user")
	late.CreatedAt = base.Add(10 * time.Hour)
	for _, first := range []bool{true, false} { // whether anything has been inserted before
		if !first {
			b.insert(b.quick, rows(domain.AsOf{}, b.token("user")))
		}
		b.when(func() { b.insert(b.quick, rows(domain.AsOf{}, late)) })
		got := b.revoke(b.slow, domain.Target{UserID: "user"}).Tombstone
		b.happened()
		if got.Through.Before(late.CreatedAt) {
			t.Errorf("Through must not be before the creation of a stored token: got %v, stored %v", got.Through, late.CreatedAt)
		}
		late.ID, late.CreatedAt = b.id(), late.CreatedAt.Add(time.Hour)
	}
}

func TestRevocationMeetsItself(t *testing.T) {
	b := newBetween(t)
	b.insert(b.quick, rows(domain.AsOf{}, b.token("user")))
	var first store.Status
	b.when(func() { first = b.revoke(b.quick, domain.Target{UserID: "user"}) })
	second := b.revoke(b.slow, domain.Target{UserID: "user"})
	b.happened()
	got, err := b.quick.Revocation(t.Context(), first.Tombstone.ID)
	must(t, err)
	if got.SupersededBy != second.Tombstone.ID || b.state().Pending != 1 {
		t.Errorf("a later tombstone with the same targets must retire the earlier: got %+v", got)
	}
}

// Who follows the feed must see an event that was begun in an epoch and committed after its end.
func TestEventMeetsEndOfEpoch(t *testing.T) {
	b := newBetween(t)
	feed := func(after uint64) store.FeedPage {
		page, err := b.quick.(store.Outbox).Feed(t.Context(), after, store.MaxPage)
		must(t, err)
		return page
	}
	b.insert(b.slow, []store.Insertion{{Token: b.token("user"), Emit: store.AllKinds}}) // knows the epoch from then on
	for round := range 4 {
		var read uint64
		b.when(func() {
			var list []store.Insertion
			for i := range 70 {
				token := b.token("user")
				token.ID[1], token.ID[2] = byte(i), byte(round+1)
				list = append(list, store.Insertion{Token: token, Emit: store.AllKinds})
			}
			b.insert(b.quick, list)
			b.insert(b.quick, []store.Insertion{{Token: b.token("user"), Emit: store.AllKinds}})
			read = feed(b.state().LastEvent).Last
		})
		sequence := uint64(0)
		if round%2 == 0 {
			sequence = b.insert(b.slow, []store.Insertion{{Token: b.token("user"), Emit: store.AllKinds}})[0].Sequence
		} else {
			sequence = b.revoke(b.slow, domain.Target{UserID: fmt.Sprint("user-", round)}).Tombstone.Watermark
		}
		b.happened()
		page := feed(read)
		if len(page.Events) != 1 || page.Events[0].Sequence != sequence || page.Next != page.Last {
			t.Fatalf("a reader must miss no event: got %d events after %d, the last is %d", len(page.Events), read, page.Last)
		}
	}
}

func TestSweepMeetsSweep(t *testing.T) {
	b := newBetween(t)
	b.insert(b.quick, rows(domain.AsOf{}, b.token("user"), b.token("user"), b.token("other")))
	r := b.revoke(b.quick, domain.Target{UserID: "user"})
	wide := b.revoke(b.quick, domain.Target{ClientID: "client"})
	b.when(func() { b.sweep(b.quick, r.Tombstone.ID) })
	b.sweep(b.slow, wide.Tombstone.ID)
	b.happened()
	swept := uint64(0)
	for _, id := range []ulid.ULID{r.Tombstone.ID, wide.Tombstone.ID} {
		status, err := b.quick.Revocation(t.Context(), id)
		must(t, err)
		swept += status.Swept
	}
	if swept != 3 {
		t.Errorf("each token must be counted once: got %d of 3", swept)
	}
}

func TestLastRetirementMeetsRevocation(t *testing.T) {
	b := newBetween(t)
	r := b.revoke(b.quick, domain.Target{UserID: "user"})
	b.when(func() { b.revoke(b.quick, domain.Target{UserID: "other"}) })
	b.sweep(b.slow, r.Tombstone.ID)
	b.happened()
	names, err := b.backend.Pending(t.Context(), "", 10)
	must(t, err)
	if !slices.Equal(names, []string{"tenant"}) {
		t.Errorf("a tenant with a pending revocation must be named: got %q", names)
	}
}

// Calls of one process that meet share a request, and each is told what had been acknowledged before it was called, whatever becomes of
// the others.
func TestReadMeetsReads(t *testing.T) {
	b := newBetween(t)
	const callers, rounds = 32, 5
	var calling sync.WaitGroup
	for i := range callers {
		calling.Go(func() {
			user := fmt.Sprint("user-", i)
			for round := range rounds {
				token := domain.RefreshToken{ID: ulid.Make(), UserID: user, ClientID: "client", CreatedAt: base}
				if _, err := b.quick.Insert(t.Context(), rows(domain.AsOf{}, token)); err != nil {
					t.Error(err)
				}
				if v, err := b.slow.Get(t.Context(), token.ID); err != nil || v.Token.ID != token.ID || v.Revoked() {
					t.Errorf("a token that was inserted, and not revoked, must be shown as such: got %+v, %v", v, err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				calling.Go(func() {
					if _, err := b.slow.Get(ctx, token.ID); err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("a call that is cancelled must say so: got %v", err)
					}
				})
				_, err := b.quick.Revoke(t.Context(), store.Revocation{ID: ulid.Make(), Targets: []domain.Target{{UserID: user}}, Time: base})
				cancel()
				if err != nil {
					t.Error(err)
				}
				if v, err := b.slow.Get(t.Context(), token.ID); err != nil || !v.Revoked() {
					t.Errorf("round %d: what was revoked before a call must be shown as revoked: got %+v, %v", round, v, err)
				}
				err = b.slow.Update(t.Context(), token.ID, func(v store.View) store.Decision {
					if !v.Revoked() {
						t.Error("what was revoked before an exchange must be decided upon as revoked")
					}
					return store.Decision{Err: domain.ErrRevoked}
				})
				if !errors.Is(err, domain.ErrRevoked) {
					t.Errorf("got %v, want revoked", err)
				}
			}
		})
	}
	calling.Wait()
	if b.shares.Load() == 0 {
		t.Error("no calls have met")
	}
	t.Logf("%d requests were shared", b.shares.Load())
}

func TestErasureMeetsInsert(t *testing.T) {
	b := newBetween(t)
	b.insert(b.quick, rows(domain.AsOf{}, b.token("user")))
	id := b.id()
	_, err := b.quick.Revoke(t.Context(), store.Revocation{ID: id, Targets: []domain.Target{{Everything: true}}, Time: base, Erase: true, Key: domain.ErasureKey{1}})
	must(t, err)
	b.when(func() { b.insert(b.quick, rows(domain.AsOf{}, b.token("user"))) })
	b.sweep(b.slow, id)
	b.happened()
	_, err = b.quick.Trim(t.Context(), store.Trim{History: base.Add(1000 * time.Hour), Guards: base.Add(1000 * time.Hour), Limit: 100})
	must(t, err)
	names, err := b.backend.Tenants(t.Context(), "", 10)
	must(t, err)
	if !slices.Equal(names, []string{"tenant"}) {
		t.Errorf("a tenant that was written to during its erasure must be named: got %q", names)
	}
}

// An erasure of the tenant takes the erasure key along, unless another erasure has come that needs it.
func TestErasureMeetsErasure(t *testing.T) {
	b := newBetween(t)
	erase := func(target domain.Target) ulid.ULID {
		id := b.id()
		_, err := b.quick.Revoke(t.Context(), store.Revocation{ID: id, Targets: []domain.Target{target}, Time: base, Erase: true, Key: domain.ErasureKey{1}})
		must(t, err)
		return id
	}
	everything := erase(domain.Target{Everything: true})
	b.when(func() { erase(domain.Target{UserID: "user"}) })
	b.sweep(b.slow, everything)
	b.happened()
	page, err := b.quick.(store.Mover).Guards(t.Context(), store.GuardQuery{Limit: 1})
	must(t, err)
	if page.ErasureKey == (domain.ErasureKey{}) {
		t.Errorf("the erasure key must stay as long as an erasure is pending")
	}
}

func TestTakingOverMeetsInsert(t *testing.T) {
	b := newBetween(t)
	b.when(func() { b.insert(b.quick, rows(domain.AsOf{}, b.token("user"))) })
	err := b.slow.(store.Mover).Remember(t.Context(), store.Memory{Origin: b.id(), Sequence: store.MaxSequence})
	b.happened()
	if !errors.Is(err, store.ErrOccupied) {
		t.Errorf("a tenant that has begun to live must not take over anything: got %v", err)
	}
}
