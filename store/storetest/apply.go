package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// sweeping is a random history of inserts, revocations and slices of sweeps, with a naive model beside it. The model
// numbers inserts and revocations by the order of the calls and keeps its own list of what was acknowledged; it never
// asks the store who is covered.
type sweeping struct {
	t       *rapid.T
	w       *tenant
	step    uint64
	present []domain.RefreshToken // with the model's numbers
	acked   []domain.Tombstone    // with the model's numbers
	pending []ulid.ULID
	targets int

	// applied judges one slice.
	applied func(before, after []domain.RefreshToken, statuses []store.Status)
}

func (s *sweeping) insert() {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(s.t, label) }
	var tokens []domain.RefreshToken
	for range rapid.IntRange(1, 6).Draw(s.t, "tokens") {
		token := s.w.token(pick("user", "u1", "u2"), pick("client", "c1", "c2"), pick("session", "", "s1", "s2"))
		token.ResourceServers = must(domain.NewResourceServers(domain.ResourceServer{Audience: pick("audience", "a1", "a2")}))
		token.Offline = rapid.Bool().Draw(s.t, "offline")
		token.CreatedAt = after(time.Duration(rapid.IntRange(0, 3).Draw(s.t, "created")) * time.Hour)
		tokens = append(tokens, token)
	}
	// A dead session can't issue, so some of them may be refused.
	results, err := s.w.Insert(s.w.ctx, rows(tokens...))
	if err != nil || len(results) != len(tokens) {
		fail(s.t, "Insert must return a result for each row", "got %d of %d, error %v", len(results), len(tokens), err)
	}
	for i, r := range results {
		s.step++
		if r.Err == nil {
			tokens[i].Sequence = s.step
			s.present = append(s.present, tokens[i])
		}
	}
}

func (s *sweeping) target() domain.Target {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(s.t, label) }
	switch rapid.IntRange(0, 11).Draw(s.t, "kind") {
	case 0:
		return domain.Target{Everything: true}
	case 1:
		return domain.Target{IssuedBefore: after(time.Duration(rapid.IntRange(1, 3).Draw(s.t, "issued before")) * time.Hour)}
	case 2:
		return domain.Target{LegacyBefore: after(time.Duration(rapid.IntRange(1, 3).Draw(s.t, "legacy before")) * time.Hour)}
	case 3:
		return domain.Target{Audience: pick("audience", "a1", "a2"), ClientID: pick("client", "", "c1")}
	case 4:
		return domain.Target{ClientID: pick("client", "c1", "c2"), Offline: domain.OfflineYes}
	case 5:
		return domain.Target{SessionID: pick("session", "s1", "s2"), Offline: domain.OfflineNo}
	case 6:
		if len(s.present) > 0 {
			return domain.Target{TokenID: rapid.SampledFrom(s.present).Draw(s.t, "token").ID}
		}
	case 7:
		return domain.Target{UserID: pick("user", "u1", "u2"), ClientID: pick("client", "c1", "c2")}
	case 8:
		return domain.Target{SessionID: pick("session", "s1", "s2"), UserID: pick("user", "", "u1")}
	}
	return domain.Target{UserID: pick("user", "u1", "u2"), Audience: pick("audience", "", "a1")}
}

func (s *sweeping) revoke() {
	var targets []domain.Target
	for range rapid.IntRange(1, 3).Draw(s.t, "targets") {
		targets = append(targets, s.target())
	}
	status := s.w.revoke(s.t, targets...)
	s.step++
	s.acked = append(s.acked, domain.Tombstone{ID: status.Tombstone.ID, Targets: targets, Watermark: s.step})
	if !status.Retired {
		s.pending = append(s.pending, status.Tombstone.ID)
		s.targets += len(targets)
	}
}

// apply sweeps one slice of the given revocations.
func (s *sweeping) apply(ids []ulid.ULID, bounds store.Bounds) {
	if len(ids) == 0 {
		return
	}
	statuses := s.w.apply(s.t, bounds, ids...)
	before := s.present
	s.present = slices.DeleteFunc(slices.Clone(before), func(token domain.RefreshToken) bool {
		return !s.w.has(s.t, token.ID)
	})
	s.applied(before, s.present, statuses)
	s.pending = slices.DeleteFunc(s.pending, func(id ulid.ULID) bool { return s.w.status(s.t, id).Retired })
}

func (s *sweeping) bounds() store.Bounds {
	size := rapid.SampledFrom([]int{1, 2, 3, 5, 100})
	return store.Bounds{Visit: size.Draw(s.t, "visit"), Remove: size.Draw(s.t, "remove"), Now: after(5 * time.Hour)}
}

// run makes the history, and then lets two appliers that know nothing of each other sweep until nothing is pending. It
// reports whether they came to the end.
func (s *sweeping) run() bool {
	for range rapid.IntRange(1, 12).Draw(s.t, "steps") {
		switch rapid.IntRange(0, 3).Draw(s.t, "step") {
		case 0, 1:
			s.insert()
		case 2:
			s.revoke()
		case 3:
			if ids := s.pending; len(ids) > 0 {
				ids = rapid.Permutation(ids).Draw(s.t, "order")
				s.apply(ids[:rapid.IntRange(1, len(ids)).Draw(s.t, "ids")], s.bounds())
			}
		}
	}
	// Each call must visit one row at least, and no row is of interest more than twice to any target: a walk that a
	// tombstone joins halfway comes round once more.
	limit := 16 + 4*(s.targets+1)*(len(s.present)+2)
	for range limit {
		if len(s.pending) == 0 {
			return true
		}
		ids := slices.Clone(s.pending)
		if rapid.Bool().Draw(s.t, "applier") {
			slices.Reverse(ids)
		}
		s.apply(ids, s.bounds())
	}
	return len(s.pending) == 0
}

// history makes a sweeping whose slices are judged by nobody yet.
func history(t *rapid.T, w *tenant) *sweeping {
	return &sweeping{t: t, w: w, applied: func(_, _ []domain.RefreshToken, _ []store.Status) {}}
}

func checkExact(t testing.TB, e *env) {
	property(t, e, func(t *rapid.T, w *tenant) {
		s := history(t, w)
		s.applied = func(before, after []domain.RefreshToken, _ []store.Status) {
			kept := map[ulid.ULID]bool{}
			for _, token := range after {
				kept[token.ID] = true
			}
			for _, token := range before {
				if !kept[token.ID] && !domain.Covers(s.acked, &token) {
					fail(t, "Apply must remove only what a revocation covers", "removed %v", token.ID)
				}
			}
		}
		s.run()
	})
	nearMisses(t, e)
}

// nearMisses sweeps a conjunction of everything that a target can ask for. Tokens that lack one of it must stay.
func nearMisses(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	servers := must(domain.NewResourceServers(
		domain.ResourceServer{Audience: "another"}, domain.ResourceServer{Audience: "audience"},
	))
	hit := func() domain.RefreshToken {
		token := w.token("user", "client", "session")
		token.ResourceServers, token.Offline = servers, true
		return token
	}
	target := domain.Target{
		UserID: "user", ClientID: "client", SessionID: "session", Audience: "audience", IssuedBefore: after(1), Offline: domain.OfflineYes,
	}
	var near []domain.RefreshToken
	for _, miss := range []func(*domain.RefreshToken){
		func(t *domain.RefreshToken) { t.UserID = "user-2" },
		func(t *domain.RefreshToken) { t.ClientID = "client-2" },
		func(t *domain.RefreshToken) { t.SessionID = must(domain.NewSessionID("session-2")) },
		func(t *domain.RefreshToken) { t.SessionID = domain.SessionID{} },
		func(t *domain.RefreshToken) { t.ResourceServers = domain.ResourceServers{} },
		func(t *domain.RefreshToken) { t.CreatedAt = after(1) },
		func(t *domain.RefreshToken) { t.Offline = false },
	} {
		token := hit()
		miss(&token)
		near = append(near, token)
	}
	hits := []domain.RefreshToken{hit(), hit()}
	near, hits = w.insert(t, near...), w.insert(t, hits...)
	// Dropping any one constraint gives other revocations, whose misses are fewer.
	for _, drop := range []func(*domain.Target){
		func(*domain.Target) {},
		func(t *domain.Target) { t.SessionID = "" },
		func(t *domain.Target) { t.SessionID, t.ClientID = "", "" },
		func(t *domain.Target) { t.SessionID, t.ClientID, t.UserID = "", "", "" },
	} {
		drop(&target)
		r := w.revoke(t, target)
		late := w.insert(t, hit())[0]
		w.sweep(t, r.Tombstone.ID)
		tombstone := domain.Tombstone{Targets: []domain.Target{target}, Watermark: late.Sequence - 1}
		for _, token := range append(near, late) {
			if !tombstone.Covers(&token) && !w.has(t, token.ID) {
				t.Fatalf("Apply must remove only what a revocation covers: removed %+v by %+v", token, target)
			}
		}
		near = slices.DeleteFunc(append(near, late), func(token domain.RefreshToken) bool { return tombstone.Covers(&token) })
	}
	if w.has(t, hits[0].ID) || w.has(t, hits[1].ID) {
		t.Errorf("Apply must remove what a revocation covers")
	}
}

func checkBounds(t testing.TB, e *env) {
	for reach := range reaches(domain.RefreshToken{}) {
		for _, bounds := range []store.Bounds{{Visit: 1, Remove: 1}, {Visit: 1000, Remove: 2}, {Visit: 3, Remove: 1000}, {Visit: 4, Remove: 2}} {
			w := e.tenant(t)
			bounds.Now = after(time.Hour)
			for range 4 { // rows that no revocation covers are visited too
				w.add(t, "user", "client-2", "session")
				w.add(t, "user", "client", "session")
				w.add(t, "user-2", "client", "session")
			}
			status := w.revoke(t, reaches(w.add(t, "user", "client", "session"))[reach])
			id := status.Tombstone.ID
			for calls := 0; !status.Retired; calls++ {
				if calls > 1000 {
					t.Fatalf("Apply must get on if it may visit one row (%s)", reach)
				}
				before := w.state(t).Tokens
				w.apply(t, bounds, id)
				removed := before - w.state(t).Tokens
				next := w.status(t, id)
				if removed > bounds.Remove {
					t.Fatalf("Apply must not remove more than it may (%s): %d of %d", reach, removed, bounds.Remove)
				}
				if n := next.Examined - status.Examined; n > uint64(bounds.Visit) {
					t.Fatalf("Apply must not visit more than it may (%s): %d of %d", reach, n, bounds.Visit)
				}
				if removed > bounds.Visit {
					t.Fatalf("what is removed has been visited (%s): removed %d, might visit %d", reach, removed, bounds.Visit)
				}
				status = next
			}
		}
	}
}

func checkProgress(t testing.TB, e *env) {
	property(t, e, func(t *rapid.T, w *tenant) {
		s := history(t, w)
		swept := map[ulid.ULID]uint64{}
		s.applied = func(before, after []domain.RefreshToken, statuses []store.Status) {
			removed := uint64(len(before) - len(after))
			for _, status := range statuses {
				if kept := w.status(t, status.Tombstone.ID); !sameStatus(status, kept) {
					fail(t, "Apply must report what it has committed", "got %+v, kept %+v", status, kept)
				}
			}
			sum := uint64(0)
			for _, tombstone := range s.acked {
				status, err := w.Revocation(w.ctx, tombstone.ID)
				if errors.Is(err, store.ErrNotFound) {
					continue // there was nothing to do, so nothing was recorded
				}
				n := status.Swept - swept[tombstone.ID]
				if n > removed {
					fail(t, "Apply must report what it has removed", "%d for one revocation, removed %d", n, removed)
				}
				sum += n
				swept[tombstone.ID] = status.Swept
			}
			if sum < removed {
				fail(t, "Apply must report what it has removed", "%d in all, removed %d", sum, removed)
			}
		}
		if !s.run() {
			fail(t, "calling Apply again and again must retire every revocation", "%d are left", len(s.pending))
		}
	})

	w := e.tenant(t)
	w.add(t, "user", "client", "")
	done := w.revoke(t, domain.Target{UserID: "user"}).Tombstone.ID
	w.sweep(t, done)
	next := w.revoke(t, domain.Target{UserID: "other"}).Tombstone.ID
	statuses := w.apply(t, store.Bounds{Visit: 10, Remove: 10, Now: base}, w.id(), done, next)
	if len(statuses) != 1 || statuses[0].Tombstone.ID != next {
		t.Errorf("Apply must pass over what is not pending, and return the status of the rest: got %d", len(statuses))
	}
}

func checkRetire(t testing.TB, e *env) {
	property(t, e, func(t *rapid.T, w *tenant) {
		s := history(t, w)
		s.applied = func(_, after []domain.RefreshToken, _ []store.Status) {
			for _, tombstone := range s.acked {
				status, err := w.Revocation(w.ctx, tombstone.ID)
				if err != nil || !status.Retired || !status.SupersededBy.IsZero() {
					continue
				}
				for _, token := range after {
					if tombstone.Covers(&token) {
						fail(t, "what is retired must have left nothing that it covers", "left %v", token.ID)
					}
				}
			}
		}
		s.run()
	})

	w := e.tenant(t)
	now := after(3 * time.Hour)
	before := w.add(t, "user", "client", "session")
	r := w.revoke(t, domain.Target{UserID: "user"})
	for range sweepLimit {
		if w.apply(t, store.Bounds{Visit: 1, Remove: 1, Now: now}, r.Tombstone.ID); w.status(t, r.Tombstone.ID).Retired {
			break
		}
	}
	if got := w.status(t, r.Tombstone.ID); !got.Retired || !got.RetiredAt.Equal(now) {
		t.Errorf("RetiredAt must be the sweeper's time: got %+v", got)
	}
	if got := w.state(t).Guards; got != 1 {
		t.Errorf("a guard of each target must be remembered with the retirement: got %d", got)
	}
	err := w.admit(t, w.token("user", "client", "session"), domain.AsOfSequence(before.Sequence))
	wantErr(t, "what was retired must still bar what stems from before it", err, domain.ErrRevoked)
	everyTarget(t, e)
	nothingAppears(t, e)
}

// everyTarget sweeps a revocation with several targets, each of which reaches a token of its own.
func everyTarget(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	first, byID := w.add(t, "ann", "client", "session"), w.add(t, "bob", "client", "")
	w.add(t, "carl", "client", "session-2")
	last := w.add(t, "dora", "client", "")
	r := w.revoke(t, domain.Target{UserID: first.UserID}, domain.Target{TokenID: byID.ID}, domain.Target{SessionID: "session-2"}, domain.Target{UserID: last.UserID})
	w.sweep(t, r.Tombstone.ID)
	if status, left := w.status(t, r.Tombstone.ID), w.state(t).Tokens; !status.Retired || status.Swept != 4 || left != 0 {
		t.Errorf("each target of a revocation must be swept: %d tokens are left, status %+v", left, status)
	}
}
