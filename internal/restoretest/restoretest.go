// Package restoretest restores backups of any backend, and holds against them what their lost time has given out and revoked. It is
// for tests only.
package restoretest

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Config says how to get at the backend under test.
type Config struct {
	// New returns a fresh and empty backend.
	New func(t testing.TB) store.Backend
	// Backup copies the backend as it is now, and returns what opens a copy of that, each time as a backend of its own.
	Backup func(t testing.TB, b store.Backend) (open func(t testing.TB) store.Backend)
	// Step says that a restoration is broken off at every so many calls only, where it takes long to open a copy. Defaults to 1.
	Step int
}

// Run restores a backup in each of the ways.
func Run(t *testing.T, c Config) {
	for name, f := range map[string]func(*testing.T, *Life){
		"Events": events, "Cutoff": cutoff, "Override": override, "Twice": twice, "Missing": missing, "BrokenOff": brokenOff, "Crowded": crowded,
		"Second": second, "Unfinished": unfinished, "OldCopy": oldCopy, "Unheard": unheard, "Foreign": foreign, "Withheld": withheld,
		"Doubled": doubled, "UpToDate": upToDate, "Forgotten": forgotten, "Long": long, "Absent": absent, "Gaps": gaps, "Repeated": repeated,
	} {
		t.Run(name, func(t *testing.T) { f(t, Live(t, c)) })
	}
}

// Request is one to restore by the events.
func (l *Life) Request() tokenstore.RestoreRequest {
	return tokenstore.RestoreRequest{Events: files(l.Events), Reason: "disk lost", Actor: "operator"}
}

// restored opens a copy of the backup, and restores it.
func (l *Life) restored(t testing.TB, r tokenstore.RestoreRequest) store.Backend {
	t.Helper()
	b := l.Open(t)
	report, err := tokenstore.Restore(t.Context(), b, r)
	if err != nil || report.Tenants != 2 || report.ID.IsZero() {
		t.Fatalf("a backup must be restored: got %+v, error %v", report, err)
	}
	return b
}

// record is the tenant's one record of a restoration.
func record(t testing.TB, b store.Backend, tenant string) store.Restored {
	t.Helper()
	s := must[store.Store](t)(b.Tenant(tenant))
	restorer, is := store.As[store.Restorer](s)
	if !is {
		t.Fatal("the backend can't be restored")
	}
	all := must[[]store.Restored](t)(restorer.Restorations(t.Context()))
	if len(all) != 1 || !all[0].Complete {
		t.Fatalf("a restoration must be recorded, once, and be complete: got %+v", all)
	}
	return all[0]
}

func wantRefused(t testing.TB, m *tokenstore.Manager, what string, secret tokenstore.Secret, cause error) {
	t.Helper()
	if _, err := exchange(t, m, secret); !errors.Is(err, cause) {
		t.Errorf("%s must be refused: got %v, want %v", what, err, cause)
	}
}

// CheckEvents holds against a backup that was restored by the events all that the lost time has revoked, and what it has given out.
func (l *Life) CheckEvents(t testing.TB, b store.Backend) {
	t.Helper()
	acme, globex := manager(t, b, Acme), manager(t, b, Globex)
	l.checkLost(t, acme, b)
	for _, user := range []string{"early", "doomed", "robbed", "erin", "evicted"} {
		wantRefused(t, acme, "what was revoked in the lost time ("+user+")", l.secrets[user], tokenstore.ErrRevoked)
	}
	wantRefused(t, globex, "what was revoked in another tenant", l.secrets["gus"], tokenstore.ErrRevoked)
	again, err := acme.Revocation(t.Context(), l.doomed.ID())
	was, is := l.doomed.Status.Tombstone, again.Tombstone
	if err != nil || is.Reason != was.Reason || is.Actor != was.Actor || is.Time.Sub(was.Time).Abs() >= time.Microsecond || is.Watermark <= was.Watermark {
		t.Errorf("a revocation must be recorded again as it was, in the new epoch: got %+v, error %v, want %+v", is, err, was)
	}
	for id, user := range map[ulid.ULID]string{l.later: "later", l.evicted[0]: "evicted"} {
		back := tokenstore.RefreshToken{ID: id, UserID: user, ClientID: "web", CreatedAt: ulid.Time(id.Time()).UTC(), SessionID: tokenstore.MustSessionID("session of " + user)}
		results, err := acme.Import(t.Context(), []tokenstore.RefreshToken{back})
		if err != nil || !errors.Is(results[0].Err, tokenstore.ErrRevoked) {
			t.Errorf("a token that the backup does not have, and that was revoked or evicted, must not come back: got %+v, error %v", results, err)
		}
	}
	evictions := 0
	for _, retired := range []bool{true, false} {
		page := must[tokenstore.RevocationPage](t)(acme.Revocations(t.Context(), tokenstore.RevocationsRequest{Retired: retired, Limit: store.MaxPage}))
		for _, r := range page.Revocations {
			if r.Tombstone.Reason == "evicted by a cap" {
				evictions++
			}
		}
	}
	if evictions != 1 {
		t.Errorf("an eviction must be revoked once, however often a restoration is repeated: got %d", evictions)
	}
	if got := record(t, b, Acme); got.Method != store.RestoreEvents || got.Reason != "disk lost" || got.Actor != "operator" {
		t.Errorf("the record must say how, why and by whom: got %+v", got)
	}
	l.checkErased(t, b, acme)
	l.checkKept(t, acme)
}

// checkErased sees to it that the user whom the lost time has erased is erased again.
func (l *Life) checkErased(t testing.TB, b store.Backend, m *tokenstore.Manager) {
	t.Helper()
	page := must[tokenstore.RevocationPage](t)(must[store.Store](t)(b.Tenant(Acme)).Revocations(t.Context(), store.RevocationQuery{Limit: store.MaxPage}))
	for _, r := range page.Revocations {
		sweep(t, b, Acme, r.Tombstone.ID)
	}
	if text := lines(t, m, record(t, b, Acme).Epoch); strings.Contains(text, "erin") || !strings.Contains(text, `"kind":"erased"`) {
		t.Errorf("an erasure of the lost time must be done again: the feed is\n%s", text)
	}
}

// checkLost presents what the lost time has given out: secrets, as-of points, cursors.
func (l *Life) checkLost(t testing.TB, m *tokenstore.Manager, b store.Backend) {
	t.Helper()
	refusal := tokenstore.ErrBeyondMemory
	if record(t, b, Acme).Method == store.RestoreCutoff {
		refusal = tokenstore.ErrRevoked // of everything, which comes first
	}
	for _, sequence := range []uint64{l.backedUp, l.backedUp + 1, l.lost.Sequence, l.lost.Sequence + 100} {
		if _, err := issue(t.Context(), m, "new", tokenstore.AsOfSequence(sequence)); !errors.Is(err, refusal) {
			t.Errorf("a login of before the restoration must not be taken for current: got %v", err)
		}
	}
	for _, cursor := range []uint64{0, l.lost.LastEvent, l.lost.LastEvent + 100} {
		_, err := m.Feed(t.Context(), tokenstore.FeedRequest{After: cursor})
		if gone, ok := errors.AsType[*tokenstore.CursorGoneError](err); !ok || gone.Resume != record(t, b, Acme).Epoch {
			t.Errorf("a cursor of before the restoration must be gone: got %v", err)
		}
	}
	state := must[tokenstore.State](t)(m.State(t.Context()))
	if _, err := issue(t.Context(), m, "new", tokenstore.AsOfSequence(state.Sequence)); err != nil {
		t.Errorf("a login of after the restoration must issue: got %v", err)
	}
}

// checkKept sees to it that what nobody has revoked is as it was, and that a client whose secret the backup does not know yet is
// taken for no thief.
func (l *Life) checkKept(t testing.TB, m *tokenstore.Manager) {
	t.Helper()
	if _, err := exchange(t, m, l.secrets["kept"]); err != nil {
		t.Errorf("what was not revoked must be exchanged: got %v", err)
	}
	before := must[tokenstore.State](t)(m.State(t.Context()))
	wantRefused(t, m, "a secret that is newer than the backup", l.newest, tokenstore.ErrAhead)
	if after := must[tokenstore.State](t)(m.State(t.Context())); after != before {
		t.Errorf("a secret that is newer than the backup must have nothing written: got %+v, want %+v", after, before)
	}
	if _, err := exchange(t, m, l.secrets["ahead"]); err != nil {
		t.Errorf("nobody must be taken for a thief for a secret that is newer than the backup: got %v", err)
	}
}

func events(t *testing.T, l *Life) {
	b := l.restored(t, l.Request())
	defer b.Close()
	l.CheckEvents(t, b)
}

func cutoff(t *testing.T, l *Life) {
	b := l.restored(t, tokenstore.RestoreRequest{Cutoff: true, Actor: "operator"})
	defer b.Close()
	acme, globex := manager(t, b, Acme), manager(t, b, Globex)
	l.checkLost(t, acme, b)
	for user, secret := range l.secrets {
		m := acme
		if user == "gus" {
			m = globex
		}
		wantRefused(t, m, "what was issued before a cut-off ("+user+")", secret, tokenstore.ErrRevoked)
	}
	wantRefused(t, acme, "a secret that is newer than the backup", l.newest, tokenstore.ErrAhead)
	if got := record(t, b, Globex); got.Method != store.RestoreCutoff || got.Actor != "operator" {
		t.Errorf("the record must say how, and by whom: got %+v", got)
	}
	issued := must[tokenstore.Issued](t)(issue(t.Context(), acme, "kept", tokenstore.AsOf{}))
	if _, err := exchange(t, acme, issued.Secret); err != nil {
		t.Errorf("what was issued after a cut-off must be exchanged: got %v", err)
	}
}

func override(t *testing.T, l *Life) {
	b := l.restored(t, tokenstore.RestoreRequest{Override: true, Reason: "a trial", Actor: "operator"})
	defer b.Close()
	m := manager(t, b, Acme)
	l.checkLost(t, m, b)
	if got := record(t, b, Acme); got.Method != store.RestoreOverride || got.Reason != "a trial" || got.Actor != "operator" {
		t.Errorf("an override must be recorded: got %+v", got)
	}
	wantRefused(t, m, "what was revoked before the backup", l.secrets["early"], tokenstore.ErrRevoked)
	if _, err := exchange(t, m, l.secrets["doomed"]); err != nil {
		t.Errorf("an override lets what was revoked since be live: got %v", err)
	}
	l.checkKept(t, m)
}

// twice restores the same backup again, after a first restoration has lived.
func twice(t *testing.T, l *Life) {
	first := l.restored(t, l.Request())
	defer first.Close()
	m := manager(t, first, Acme)
	for range 3 {
		must[tokenstore.Issued](t)(issue(t.Context(), m, "new", tokenstore.AsOf{}))
		revoke(t, m, tokenstore.Target{UserID: "new"})
	}
	l.lost = must[tokenstore.State](t)(m.State(t.Context()))
	r := l.Request()
	r.Now = func() time.Time { return time.Now().Add(time.Millisecond) }
	second := l.restored(t, r)
	defer second.Close()
	l.CheckEvents(t, second)
}

// missing withholds some of the events.
func missing(t *testing.T, l *Life) {
	all := strings.SplitAfter(strings.TrimSuffix(l.Events[Acme], "\n"), "\n")
	b := l.Open(t)
	defer b.Close()
	acme := manager(t, b, Acme)
	before := must[tokenstore.State](t)(acme.State(t.Context()))
	numbered := gapless(must[store.Store](t)(b.Tenant(Acme)))
	cut := func(from, to int) string {
		return strings.Join(append(append([]string{}, all[:from]...), all[to:]...), "")
	}
	latest := before.LastEvent
	for name, c := range map[string]struct {
		text    string
		gap     tokenstore.EventGapError // what must be said to be missing; its Tenant is empty where the error is another
		is      error
		gapless bool // only such numbers show it
	}{
		"none":                       {gap: tokenstore.EventGapError{Tenant: Acme, Latest: latest}},
		"the last of the backup":     {text: cut(0, 2), gap: tokenstore.EventGapError{Tenant: Acme, Latest: latest, After: latest}},
		"all up to one of them":      {text: cut(0, 3), gap: tokenstore.EventGapError{Tenant: Acme, Latest: latest, After: latest}},
		"one of them":                {text: cut(2, 3), gap: tokenstore.EventGapError{Tenant: Acme, Latest: latest}, gapless: true},
		"who was erased":             {text: l.Late[Acme], is: tokenstore.ErrNamelessErasure},
		"the end of a line":          {text: l.Events[Acme][:len(l.Events[Acme])-3], is: tokenstore.ErrInvalid},
		"events of no kind of these": {text: strings.Replace(l.Events[Acme], `"kind":"reused"`, `"kind":"refused"`, 1), is: tokenstore.ErrInvalid},
	} {
		if c.gapless && !numbered {
			continue
		}
		r := l.Request()
		r.Events[Acme] = strings.NewReader(c.text)
		_, err := tokenstore.Restore(t.Context(), b, r)
		gap, is := errors.AsType[*tokenstore.EventGapError](err)
		switch {
		case c.gap.Tenant == "" && !errors.Is(err, c.is):
			t.Errorf("%s: got %v, want %v", name, err, c.is)
		case c.gap.Tenant != "" && (!is || gap.Tenant != c.gap.Tenant || gap.Latest != c.gap.Latest || c.gap.After != 0 && gap.After != c.gap.After):
			t.Errorf("%s: got %v, want %v", name, err, &c.gap)
		}
	}
	r := l.Request()
	delete(r.Events, Globex)
	if _, err := tokenstore.Restore(t.Context(), b, r); !isGap(err, Globex) {
		t.Errorf("a tenant without events must be missed: got %v", err)
	}
	for name, r := range map[string]tokenstore.RestoreRequest{
		"no method": {}, "two methods": {Cutoff: true, Override: true}, "a long reason": {Override: true, Reason: strings.Repeat("x", 201)},
	} {
		if _, err := tokenstore.Restore(t.Context(), b, r); !errors.Is(err, tokenstore.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if after := must[tokenstore.State](t)(acme.State(t.Context())); after != before {
		t.Errorf("where events are missing nothing must be written: got %+v, want %+v", after, before)
	}
}

func isGap(err error, tenant string) bool {
	gap, is := errors.AsType[*tokenstore.EventGapError](err)
	return is && gap.Tenant == tenant
}

// brokenOff has a restoration end at each of its calls, and repeats it.
func brokenOff(t *testing.T, l *Life) {
	cuts := 0
	for calls := 0; ; calls += l.step {
		b := l.Open(t)
		_, err := tokenstore.Restore(t.Context(), &failing{Backend: b, left: calls, late: cuts%2 == 0}, l.Request())
		if err == nil {
			_ = b.Close()
			break
		}
		if !errors.Is(err, errBroken) {
			t.Fatalf("got %v", err)
		}
		_, err = tokenstore.Restore(t.Context(), b, l.Request())
		if gap, is := errors.AsType[*tokenstore.EventGapError](err); is && !gap.Restored.IsZero() { // what failed was to say that it is done
			err = tokenstore.Unfinished(t.Context(), b)
		}
		if err != nil {
			t.Fatalf("a restoration that was broken off must be repeated: got %v", err)
		}
		l.CheckEvents(t, b)
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if cuts++; t.Failed() {
			t.Fatalf("broken off after %d calls", calls)
		}
	}
	if cuts*l.step < 10 {
		t.Errorf("a restoration takes more calls than %d", cuts*l.step)
	}
}

// repeated asks for a restoration that is done.
func repeated(t *testing.T, l *Life) {
	b := l.Open(t)
	defer b.Close()
	r := l.Request()
	report := must[tokenstore.RestoreReport](t)(tokenstore.Restore(t.Context(), b, r))
	_, err := tokenstore.Restore(t.Context(), b, r)
	gap, is := errors.AsType[*tokenstore.EventGapError](err)
	if !is || gap.Restored != report.ID {
		t.Errorf("one that is done must be named where it may be meant: got %v, want %s", err, report.ID)
	}
	r.ID = report.ID
	if _, err := tokenstore.Restore(t.Context(), b, r); err != nil {
		t.Errorf("one that is done may be repeated by its id: got %v", err)
	}
	l.CheckEvents(t, b)
}

// crowded restores more revocations without an anchor than may be pending at once.
func crowded(t *testing.T, l *Life) {
	if testing.Short() {
		t.Skip("it takes many commits")
	}
	r := l.Request()
	b := l.restored(t, r)
	defer b.Close()
	m := manager(t, b, Globex)
	for i := range store.MaxUnanchored {
		revoke(t, m, tokenstore.Target{IssuedBefore: time.Unix(int64(i), 0)})
	}
	more := tokenstore.RestoreRequest{Cutoff: true}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := tokenstore.Restore(ctx, &failing{Backend: b, left: math.MaxInt, slices: true}, more); !errors.Is(err, errBroken) {
		t.Errorf("where no room can be made that must be said: got %v", err)
	}
	if report, err := tokenstore.Restore(t.Context(), b, more); err != nil || report.Revoked != 2 {
		t.Errorf("room must be made for what is to be revoked: got %+v, error %v", report, err)
	}
}
