package storetest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// size reports what a token takes, which has been measured where they were inserted.
func (l *loaded) size(b *testing.B) {
	l.tokens(b)
	for b.Loop() {
		_ = l.bytes
	}
	b.ReportMetric(0, "ns/op")
	if l.bytes > 0 {
		b.ReportMetric(l.bytes, "B/token")
	}
}

func (l *loaded) get(r *turns) {
	w, held := l.tokens(r.B)
	r.each(func(caller, turn int) error {
		_, err := w.Get(w.ctx, held[r.own(caller, turn, len(held))].id)
		return err
	})
}

func (l *loaded) introspect(r *turns) {
	w, held := l.tokens(r.B)
	r.each(func(caller, turn int) error {
		h := &held[r.own(caller, turn, len(held))]
		view, err := w.Get(w.ctx, h.id)
		if err != nil {
			return err
		}
		if refusal := h.credential.Introspect(&view.Token, view.Revoked(), base, nil); refusal != "" {
			return refusal
		}
		return nil
	})
}

func (l *loaded) list(r *turns) {
	w, _ := l.tokens(r.B)
	after := make([]ulid.ULID, r.callers)
	r.each(func(caller, _ int) error {
		page, err := w.List(w.ctx, store.Query{Limit: store.MaxPage, After: after[caller]})
		after[caller] = page.Next // from the first page again after the last
		return err
	})
}

func (l *loaded) exchangeRotating(r *turns) { l.exchange(r, true) }
func (l *loaded) exchangeStatic(r *turns)   { l.exchange(r, false) }

// exchange has clients exchange what they hold, each token in turn.
func (l *loaded) exchange(r *turns, rotating bool) {
	w, held := l.tokens(r.B)
	first := 1 // of every two, see token
	if rotating {
		first = 0
	}
	var salts atomic.Uint64
	salts.Store(l.made)
	r.each(func(caller, turn int) error {
		h := &held[2*r.own(caller, turn, len(held)/2)+first]
		rule := h.exchange("client", 0)
		binary.BigEndian.PutUint64(rule.Salt[:], salts.Add(1))
		var last domain.Exchanged
		err := w.Update(w.ctx, h.id, func(view store.View) store.Decision {
			last = rule.Apply(view.Token, view.Revoked())
			if last.Refusal != "" {
				return store.Decision{Err: last.Refusal}
			}
			return store.Decision{Next: last.Next, Emit: r.emit & store.KindExchanged, Time: rule.Now}
		})
		if err != nil {
			return err
		}
		h.credential, err = domain.ParseSecret(last.Secret)
		return err
	})
	l.made = max(l.made, salts.Load()) // no salt is drawn twice
}

func (l *loaded) issue(r *turns) {
	w, _ := l.tokens(r.B)
	rows := make([]store.Insertion, r.N)
	for i := range rows {
		rows[i].Token, _ = l.token(w)
		rows[i].Emit = r.emit
	}
	r.each(func(caller, turn int) error {
		at := caller + turn*r.callers
		return admitted(w.Insert(w.ctx, rows[at:at+1]))
	})
}

// admitted returns the first error of an insertion.
func admitted(results []store.Inserted, err error) error {
	for i := 0; i < len(results) && err == nil; i++ {
		err = results[i].Err
	}
	return err
}

// insert has callers import batches.
func (l *loaded) insert(r *turns) {
	w, _ := l.tokens(r.B)
	batches := l.batches(w, r.N, func(int, *domain.RefreshToken) {})
	r.each(func(caller, turn int) error {
		list := rows(batches[caller+turn*r.callers]...)
		for i := range list {
			list[i].Emit = r.emit
		}
		return admitted(w.Insert(w.ctx, list))
	})
	r.perToken()
}

// perToken reports how many tokens a second the calls were about.
func (r *turns) perToken() {
	r.ReportMetric(float64(benchBatch*r.N)/r.Elapsed().Seconds(), "tokens/s")
}

// expire has each call remove a batch of tokens whose time has come, in a tenant of the caller's own.
func (l *loaded) expire(r *turns) {
	end := func(turn int) time.Time { return after(time.Duration(turn+1) * time.Minute) }
	tenants := make([]*tenant, r.callers)
	for caller := range tenants {
		tenants[caller] = l.tenant(r.B)
		calls := (r.N - caller + r.callers - 1) / r.callers
		for _, batch := range l.batches(tenants[caller], max(calls, 0), func(turn int, token *domain.RefreshToken) { token.ExpiresAt = end(turn) }) {
			tenants[caller].insert(r.B, batch...)
		}
	}
	r.each(func(caller, turn int) error {
		w, removed := tenants[caller], 0
		for removed < benchBatch {
			done, err := w.Expire(w.ctx, store.Bounds{Visit: benchSlice, Remove: benchSlice, Now: end(turn), Emit: r.emit})
			if err != nil {
				return err
			}
			if done.Removed == 0 {
				return fmt.Errorf("%d of %d expired tokens were removed", removed, benchBatch)
			}
			removed += done.Removed
		}
		return nil
	})
	r.perToken()
}

// sweep has each call revoke a user and remove her batch of tokens, a slice a commit.
func (l *loaded) sweep(r *turns) {
	w, _ := l.tokens(r.B)
	first := l.made // so the users are new ones
	user := func(call int) string { return fmt.Sprintf("swept-%d-%d", first, call) }
	for _, batch := range l.batches(w, r.N, func(call int, token *domain.RefreshToken) { token.UserID = user(call) }) {
		w.insert(r.B, batch...)
	}
	asked := revocations(w, r.N, r.emit, func(call int) domain.Target { return domain.Target{UserID: user(call)} })
	r.each(func(caller, turn int) error {
		revocation := asked[caller+turn*r.callers]
		if _, err := w.Revoke(w.ctx, revocation); err != nil {
			return err
		}
		bounds := store.Bounds{Visit: benchSlice, Remove: benchSlice, Now: after(time.Hour), Emit: r.emit}
		for {
			statuses, err := w.Apply(w.ctx, []ulid.ULID{revocation.ID}, bounds)
			if err != nil || len(statuses) == 0 || statuses[0].Retired {
				return err
			}
		}
	})
	r.perToken()
}

func (l *loaded) revokeToken(r *turns) {
	_, held := l.tokens(r.B)
	l.revoke(r, func(call int) domain.Target { return domain.Target{TokenID: held[call%len(held)].id} })
}

func (l *loaded) revokeUser(r *turns) {
	l.revoke(r, func(call int) domain.Target { return domain.Target{UserID: fmt.Sprint("user-", call%benchUsers)} })
}

func (l *loaded) revoke(r *turns, target func(call int) domain.Target) {
	w, _ := l.tokens(r.B)
	asked := revocations(w, r.N, r.emit, target)
	r.each(func(caller, turn int) error {
		_, err := w.Revoke(w.ctx, asked[caller+turn*r.callers])
		return err
	})
}

// revocations makes one for each of n calls.
func revocations(w *tenant, n int, emit store.Kinds, target func(call int) domain.Target) []store.Revocation {
	asked := make([]store.Revocation, n)
	for call := range asked {
		asked[call] = w.revocation(target(call))
		asked[call].Emit = emit & store.KindRevoked
	}
	return asked
}

const benchHot = 10_000 // benchHot is how many revocations are pending where many are.

// introspectPending measures what many pending revocations, none of which covers the tokens that are looked at, cost: as a
// ratio to a tenant that has none, the median of turns of a hundred each.
func (l *loaded) introspectPending(b *testing.B) {
	var tenants [2]*tenant
	var held [2][]holder
	for i := range tenants {
		tenants[i] = l.tenant(b)
		held[i] = l.fill(b, tenants[i], nil, 10*benchBatch)
	}
	calm, hot := 0, 1
	asked := revocations(tenants[hot], benchHot, 0, func(call int) domain.Target {
		if call%2 == 0 {
			return domain.Target{SessionID: fmt.Sprint("other-", call)}
		}
		return domain.Target{UserID: fmt.Sprint("other-", call)}
	})
	err := concurrently(64, benchHot, func(caller, turn int) error {
		_, err := tenants[hot].Revoke(l.ctx, asked[caller+64*turn])
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	turn := func(of, from int) time.Duration {
		began := time.Now()
		for i := range 100 {
			if _, err := tenants[of].Get(l.ctx, held[of][(from+i)%len(held[of])].id); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(began)
	}
	var ratios []float64
	for i := 0; b.Loop(); i++ {
		with, without := turn(hot, 100*i), turn(calm, 100*i)
		ratios = append(ratios, float64(with)/float64(without))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "x-of-none")
}
