package storetest

import (
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

func checkAdmission(t testing.TB, e *env) {
	for _, swept := range []bool{false, true} {
		barred(t, e, swept)
	}
	barredAgain(t, e)
	property(t, e, func(t *rapid.T, w *tenant) { randomAdmission(t, w) })

	// What stems from before the horizon is refused, whatever it is.
	w := e.tenant(t)
	w.add(t, "user", "client", "session")
	r := w.revoke(t, domain.Target{UserID: "user"})
	w.sweep(t, r.Tombstone.ID)
	w.forget(t, ages, ages)
	h := w.state(t).Horizon
	if h.Sequence == 0 {
		return // R22's to find out
	}
	for _, c := range []struct {
		asOf domain.AsOf
		want error
	}{
		{domain.AsOfSequence(h.Sequence - 1), domain.ErrBeyondMemory},
		{domain.AsOfSequence(h.Sequence), nil},
		{domain.AsOfTime(h.Time, 0), domain.ErrBeyondMemory},
		{domain.AsOfTime(h.Time.Add(time.Minute), time.Minute), domain.ErrBeyondMemory},
		{domain.AsOfTime(h.Time.Add(time.Minute+1), time.Minute), nil},
		{domain.AsOf{}, nil},
	} {
		err := w.admit(t, w.token("other", "client", ""), c.asOf)
		wantErr(t, "the horizon must refuse what stems from before it, and nothing else", err, c.want)
	}
}

// barredAgain has a guard that does not bar what a later revocation, which is pending, does.
func barredAgain(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	w.add(t, "user", "client", "")
	w.sweep(t, w.revoke(t, domain.Target{UserID: "user"}).Tombstone.ID)
	between := w.add(t, "user", "client", "")
	w.revoke(t, domain.Target{UserID: "user"})
	err := w.admit(t, w.token("user", "client", ""), domain.AsOfSequence(between.Sequence))
	wantErr(t, "what is pending must bar, whatever is remembered of the same target", err, domain.ErrRevoked)
}

// barred tries candidates against revocations of a user, a session and an id, pending or swept.
func barred(t testing.TB, e *env, swept bool) {
	t.Helper()
	when := map[bool]string{false: " (pending)", true: " (swept)"}[swept]
	w := e.tenant(t)
	token := w.add(t, "user-0", "client", "")
	early := w.state(t).Sequence
	var watermark uint64
	var through time.Time
	for _, target := range []domain.Target{
		{TokenID: token.ID}, {SessionID: "dead"}, {SessionID: "half", Offline: domain.OfflineNo},
		{SessionID: "with user", UserID: "user"}, {UserID: "user"}, {ClientID: "banned"}, {Audience: "closed"},
	} {
		r := w.revoke(t, target)
		watermark, through = r.Tombstone.Watermark, r.Tombstone.Through
		if swept {
			w.sweep(t, r.Tombstone.ID)
		}
	}
	returning := token
	returning.Sequence = 0
	closed := w.token("anyone", "client", "")
	closed.ResourceServers = must(domain.NewResourceServers(domain.ResourceServer{Audience: "closed"}))
	offline := w.token("anyone", "client", "half")
	offline.Offline = true
	now, before, since := domain.AsOf{}, domain.AsOfSequence(early), domain.AsOfSequence(watermark)
	old, recent := domain.AsOfTime(through, 0), domain.AsOfTime(through.Add(1), 0)
	for _, c := range []struct {
		what  string
		token domain.RefreshToken
		asOf  domain.AsOf
		want  error
	}{
		{"an id that was revoked can't return", returning, now, domain.ErrRevoked},
		{"a dead session can't issue", w.token("anyone", "client", "dead"), now, domain.ErrRevoked},
		{"a dead session can't issue", w.token("anyone", "client", "half"), now, domain.ErrRevoked},
		{"offline access outlives the logout", offline, now, nil},
		{"a user logs in again", w.token("user", "client", ""), now, nil},
		{"a user logs in again", w.token("user", "client", "with user"), now, nil},
		{"a user's login from before", w.token("user", "client", ""), before, domain.ErrRevoked},
		{"a user's login from before", w.token("user", "client", "with user"), before, domain.ErrRevoked},
		{"a user's login from since", w.token("user", "client", ""), since, nil},
		{"an import from before", w.token("user", "client", ""), old, domain.ErrRevoked},
		{"an import within the skew", w.token("user", "client", ""), domain.AsOfTime(through.Add(time.Hour), time.Hour), domain.ErrRevoked},
		{"an import from since", w.token("user", "client", ""), recent, nil},
		{"a client's login from before", w.token("anyone", "banned", ""), before, domain.ErrRevoked},
		{"an audience's login from before", closed, before, domain.ErrRevoked},
		{"somebody else's login from before", w.token("other", "client", ""), before, nil},
	} {
		if !swept && c.token.ID == returning.ID {
			c.want = store.ErrExists // it is still there
		}
		wantErr(t, c.what+when, w.admit(t, c.token, c.asOf), c.want)
	}
	w.wantFormer(t, when)
}

// wantFormer sees to it that a session which a token is not to keep refuses it like its own.
func (w *tenant) wantFormer(t testing.TB, when string) {
	t.Helper()
	for session, want := range map[string]error{"dead": domain.ErrRevoked, "alive": nil} {
		token := w.token("anyone", "client", "")
		results, err := w.Insert(w.ctx, []store.Insertion{{Token: token, Former: must(domain.NewSessionID(session))}})
		if err != nil || len(results) != 1 {
			t.Fatalf("Insert must return a result for each row: got %d of 1, error %v", len(results), err)
		}
		wantErr(t, "a token of a session that is dead can't come in without it"+when, results[0].Err, want)
		if view, ok := w.get(t, token.ID); ok && !view.Token.SessionID.IsNull() {
			t.Fatalf("a former session must not be kept")
		}
	}
}

// randomAdmission compares with the rule in package domain, over everything that was ever acknowledged.
func randomAdmission(t *rapid.T, w *tenant) {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	hours := func(label string) time.Duration {
		return time.Duration(rapid.IntRange(0, 5).Draw(t, label)) * time.Hour
	}
	var acked []domain.Tombstone
	for range rapid.IntRange(1, 15).Draw(t, "steps") {
		if rapid.IntRange(0, 2).Draw(t, "step") == 0 {
			r := w.revocation(domain.Target{
				UserID: pick("user", "", "u1"), ClientID: pick("client", "", "c1"), SessionID: pick("session", "s1", ""),
			})
			if r.Targets[0] == (domain.Target{}) {
				r.Targets[0].Everything = true
			}
			r.Time = after(hours("revoked at"))
			status := w.record(t, r)
			acked = append(acked, status.Tombstone)
			if rapid.Bool().Draw(t, "sweep") {
				w.sweep(t, r.ID)
			}
			continue
		}
		candidate := w.token(pick("user", "u1", "u2"), pick("client", "c1", "c2"), pick("session", "s1", "s2", ""))
		candidate.CreatedAt = after(hours("created"))
		var asOf domain.AsOf
		switch rapid.IntRange(0, 2).Draw(t, "as of") {
		case 1:
			asOf = domain.AsOfSequence(uint64(rapid.IntRange(0, 20).Draw(t, "sequence")))
		case 2:
			asOf = domain.AsOfTime(after(hours("time")), hours("skew"))
		}
		var want error
		for i := range acked {
			if acked[i].Bars(&candidate, asOf) {
				want = domain.ErrRevoked
			}
		}
		wantErr(t, "Insert must refuse what a revocation bars, and nothing else", w.admit(t, candidate, asOf), want)
	}
}

// checkGuards revokes the same user twice, the second time by a clock that is behind.
func checkGuards(t testing.TB, e *env) {
	w := e.tenant(t)
	w.add(t, "user", "client", "")
	first := w.revocation(domain.Target{UserID: "user"})
	w.record(t, first)
	w.sweep(t, first.ID)
	between := w.add(t, "user", "client", "").Sequence
	second := w.revocation(domain.Target{UserID: "user"})
	second.Time = first.Time.Add(-30 * time.Minute)
	w.record(t, second)
	w.sweep(t, second.ID)
	if got := w.state(t).Guards; got != 1 {
		t.Errorf("guards of one target must be joined: got %d", got)
	}
	for what, asOf := range map[string]domain.AsOf{
		"the higher watermark must remain": domain.AsOfSequence(between),
		"the later time must remain":       domain.AsOfTime(first.Time, 0),
	} {
		wantErr(t, what, w.admit(t, w.token("user", "client", ""), asOf), domain.ErrRevoked)
	}
	// Its age is the later one too: by the time of the second alone it would be forgotten here.
	w.forget(t, first.Time, base)
	if got := w.state(t).Guards; got != 1 {
		t.Errorf("a joined guard must be kept for as long as the later one: got %d", got)
	}
	w.forget(t, first.Time.Add(1), base)
	if got := w.state(t).Guards; got != 0 {
		t.Errorf("a joined guard must go as one: got %d", got)
	}

	// The same where the later one comes later.
	third := w.revocation(domain.Target{UserID: "user"})
	w.record(t, third)
	w.sweep(t, third.ID)
	fourth := w.revocation(domain.Target{UserID: "user"})
	fourth.Time = third.Time.Add(time.Hour)
	w.record(t, fourth)
	w.sweep(t, fourth.ID)
	horizon := w.state(t).Horizon
	w.forget(t, fourth.Time, base)
	if got := w.state(t); got.Guards != 1 || got.Horizon != horizon {
		t.Errorf("a joined guard must be kept for as long as the later one: got %+v", got)
	}
	w.forget(t, fourth.Time.Add(1), base)
	if got := w.state(t).Guards; got != 0 {
		t.Errorf("a joined guard must go as one: got %d", got)
	}
}

// ages is later than anything that a test does.
var ages = after(1000 * time.Hour)

// forget trims until nothing is older than the given times.
func (w *tenant) forget(t rapid.TB, guards, history time.Time) (total store.Trimmed) {
	t.Helper()
	for range sweepLimit {
		trimmed, err := w.Trim(w.ctx, store.Trim{Guards: guards, History: history, Limit: 2})
		if err != nil || trimmed.Guards > 2 || trimmed.History > 2 {
			fail(t, "Trim must stay within its limit", "got %+v of 2, error %v", trimmed, err)
		}
		if trimmed == (store.Trimmed{}) {
			return total
		}
		total.Guards += trimmed.Guards
		total.History += trimmed.History
	}
	fail(t, "Trim must come to its end", "%d calls were not enough", sweepLimit)
	return total
}

func checkTrim(t testing.TB, e *env) {
	const delay = 10 * time.Hour // from a revocation to its retirement
	w := e.tenant(t)
	w.add(t, "user-0", "client", "session")
	kept := w.add(t, "pending", "client", "")
	asOf := domain.AsOfSequence(kept.Sequence)
	var swept []store.Status
	for i, user := range []string{"user-0", "user-1", "user-2", "user-3", "user-4", "user-5"} {
		r := w.revocation(domain.Target{UserID: user})
		r.Time = after(time.Duration(i) * time.Hour)
		w.record(t, r)
		for range sweepLimit {
			if w.apply(t, store.Bounds{Visit: 9, Remove: 9, Now: r.Time.Add(delay)}, r.ID); w.status(t, r.ID).Retired {
				break
			}
		}
		swept = append(swept, w.status(t, r.ID))
	}
	ancient := w.revocation(domain.Target{UserID: "pending"})
	ancient.Time = after(-1000 * time.Hour)
	w.record(t, ancient)

	if got := w.state(t).Horizon; got != (domain.Horizon{}) {
		t.Errorf("nothing has been forgotten yet: horizon %+v", got)
	}
	if got := w.forget(t, after(0), after(delay)); got != (store.Trimmed{}) {
		t.Errorf("Trim must forget only what is older than it is told: forgot %+v", got)
	}
	if got := w.forget(t, after(3*time.Hour), after(3*time.Hour+delay)); got != (store.Trimmed{Guards: 3, History: 3}) {
		t.Errorf("Trim must forget what is older than it is told: forgot %+v of three each", got)
	}
	for i, status := range swept {
		_, err := w.Revocation(w.ctx, status.Tombstone.ID)
		var want error
		if i < 3 {
			want = store.ErrNotFound
		}
		wantErr(t, "Trim must forget the retired revocations that are older than it is told, and no others", err, want)
	}
	state := w.state(t)
	if state.Guards != 3 || state.History != 3 || state.Pending != 1 {
		t.Errorf("Trim must leave what is younger, and what is pending: state %+v", state)
	}
	last := swept[2].Tombstone
	if state.Horizon.Sequence < last.Watermark || state.Horizon.Time.Before(last.Through) {
		t.Errorf("Trim must raise the horizon to what it forgets: got %+v, forgot up to %d, %v", state.Horizon, last.Watermark, last.Through)
	}
	err := w.admit(t, w.token("user-0", "client", ""), asOf)
	wantErr(t, "what may have been barred by a forgotten guard must be refused", err, domain.ErrBeyondMemory)

	// What was superseded leads to what goes on with its work, at whatever remove, for as long as that is there, and holds up
	// nothing else.
	var chain []ulid.ULID
	for range 3 {
		chain = append(chain, w.revoke(t, domain.Target{UserID: "user-6"}).Tombstone.ID)
	}
	beside := w.revoke(t, domain.Target{UserID: "user-7"}).Tombstone.ID
	w.sweep(t, beside)
	w.forget(t, ages, ages)
	for _, id := range chain {
		w.status(t, id)
	}
	_, err = w.Revocation(w.ctx, beside)
	wantErr(t, "Trim must forget what comes after something that has to stay", err, store.ErrNotFound)
	w.sweep(t, chain[2])
	w.forget(t, ages, ages)
	for _, id := range chain {
		_, err := w.Revocation(w.ctx, id)
		wantErr(t, "Trim must forget what was superseded when nothing is there that it leads to", err, store.ErrNotFound)
	}

	// Whatever its age, the pending one stays and goes on covering.
	w.forget(t, ages, ages)
	if _, err := w.Revocation(w.ctx, ancient.ID); err != nil || w.state(t).Pending != 1 || w.live(t, kept.ID) {
		t.Errorf("Trim must never drop what is pending: got %v, state %+v", err, w.state(t))
	}
	if got := w.state(t).Horizon; got.Sequence < state.Horizon.Sequence || got.Time.Before(state.Horizon.Time) {
		t.Errorf("the horizon must never fall: from %+v to %+v", state.Horizon, got)
	}
}
