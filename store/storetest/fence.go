package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// reaches are revocations of every reach that cover the token.
func reaches(token domain.RefreshToken) map[string]domain.Target {
	session, _ := token.SessionID.Get()
	return map[string]domain.Target{
		"token":      {TokenID: token.ID},
		"session":    {SessionID: session},
		"user":       {UserID: token.UserID},
		"client":     {ClientID: token.ClientID},
		"conjoined":  {UserID: token.UserID, ClientID: token.ClientID},
		"unanchored": {IssuedBefore: token.CreatedAt.Add(1)},
		"everything": {Everything: true},
	}
}

func checkFence(t testing.TB, e *env) {
	for name := range reaches(domain.RefreshToken{}) {
		coveredIsRefused(t, e, name)
		revokedInside(t, e, name)
	}
	anyCovers(t, e, func(w *tenant, h holder) {
		if _, err := h.do(h.exchange("client", 1), func() {}); err == nil {
			t.Errorf("a token is revoked if any tombstone covers it: a narrower one that does not was asked instead")
		}
	})
	revokedMeanwhile(t, e)
	othersStand(t, e)
}

// othersStand sweeps one after the other of several revocations that name a user or a session: those that are left must go on to cover.
func othersStand(t testing.TB, e *env) {
	t.Helper()
	for _, named := range []domain.Target{{UserID: "user"}, {SessionID: "session"}} {
		w := e.tenant(t)
		first, second := w.token("user", "client", "session"), w.token("user", "other", "session")
		second.ResourceServers = must(domain.NewResourceServers(domain.ResourceServer{Audience: "api"}))
		w.insert(t, first, second)
		none, ofClient, ofAudience := named, named, named
		none.Offline, ofClient.ClientID, ofAudience.Audience = domain.OfflineYes, "client", "api"
		swept, next := w.revoke(t, none), w.revoke(t, ofClient)
		w.revoke(t, ofAudience)
		w.sweep(t, swept.Tombstone.ID)
		stands := !w.live(t, first.ID) && !w.live(t, second.ID)
		w.sweep(t, next.Tombstone.ID)
		if !stands || w.live(t, second.ID) {
			t.Errorf("a revocation must cover until it has been swept itself: another one of the same user or session was (%+v)", named)
		}
	}
}

// coveredIsRefused replaces the record of a covered token in disregard of what decide was shown.
func coveredIsRefused(t testing.TB, e *env, reach string) {
	t.Helper()
	w := e.tenant(t)
	token := w.add(t, "user", "client", "session")
	other := w.add(t, "user-2", "client-2", "session-2")
	w.revoke(t, domain.Target{UserID: "unrelated"}, reaches(token)[reach]) // every target counts, not only the first
	before := w.state(t)
	r := w.revocation(domain.Target{TokenID: other.ID})
	err := w.Update(w.ctx, token.ID, func(view store.View) store.Decision {
		d := write("after the end")(view)
		d.Revoke = &r
		return d
	})
	wantErr(t, "an Update of a covered record must be ErrCovered ("+reach+")", err, store.ErrCovered)
	w.wantRecord(t, "an Update that is refused must write nothing", token)
	if after := w.state(t); after != before {
		t.Errorf("an Update that is refused must write nothing: state %+v became %+v", before, after)
	}
	late := w.add(t, "user", "client", "session-3")
	if err := w.Update(w.ctx, late.ID, write("alive")); err != nil {
		t.Errorf("a token inserted after a revocation must not be fenced by it (%s): got %v", reach, err)
	}
}

// patience is how long a store is waited for that lets a revocation wait for an exchange. It is the price of the test for
// such a store, so it is short; a store that is slower is judged by the other half of the test.
const patience = 40 * time.Millisecond

// revokedInside lets a revocation come while an exchange is inside decide, between its look-up and its commit.
func revokedInside(t testing.TB, e *env, reach string) {
	t.Helper()
	w := e.tenant(t)
	h := w.issue(t, w.token("user", "client", "session"))
	view, _ := w.get(t, h.id)

	type answer struct {
		secret domain.Secret
		err    error
	}
	inside, release, exchanged := make(chan struct{}), make(chan struct{}), make(chan answer, 1)
	var once sync.Once
	go func() {
		secret, err := h.do(h.exchange("client", 1), func() {
			once.Do(func() { // a store that runs decide again must find it quick
				close(inside)
				<-release
			})
		})
		exchanged <- answer{secret, err}
	}()
	select {
	case <-inside:
	case got := <-exchanged:
		t.Fatalf("Update must call decide: got %v", got.err)
	}

	r := w.revocation(reaches(view.Token)[reach])
	revoked := make(chan error, 1)
	go func() {
		_, err := w.Revoke(w.ctx, r)
		revoked <- err
	}()
	acknowledged := false
	var err error
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err = <-revoked:
		acknowledged = true
	case <-timer.C:
	}
	close(release)
	got := <-exchanged
	if !acknowledged {
		err = <-revoked
	}
	if err != nil {
		t.Fatalf("a revocation must be recorded beside an exchange (%s): got %v", reach, err)
	}
	switch {
	case acknowledged && got.err == nil:
		t.Errorf("a revocation acknowledged before the commit of an exchange must refuse it (%s)", reach)
	case got.err != nil && !errors.Is(got.err, store.ErrCovered) && !errors.Is(got.err, domain.ErrRevoked):
		t.Errorf("an exchange that a revocation comes before must be ErrCovered or see it (%s): got %v", reach, got.err)
	}
	if w.live(t, h.id) {
		t.Errorf("a revocation must cover what was exchanged before it (%s)", reach)
	}
	if got.err == nil {
		h.credential = must(domain.ParseSecret(got.secret))
	}
	if _, err := h.do(h.exchange("client", 2), func() {}); err == nil {
		t.Errorf("a revocation must refuse every later exchange (%s)", reach)
	}
}

// revokedMeanwhile updates one token from several goroutines while it is revoked. What begins after the revocation was
// acknowledged must be refused.
func revokedMeanwhile(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	token := w.add(t, "user", "client", "session")
	var acknowledged, late atomic.Bool
	var updates atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for {
				begun := acknowledged.Load()
				err := w.Update(w.ctx, token.ID, write("alive"))
				if err == nil {
					late.Store(late.Load() || begun)
					updates.Add(1)
				}
				if begun {
					return
				}
			}
		})
	}
	for updates.Load() < 50 && w.ctx.Err() == nil {
		if err := w.Update(w.ctx, token.ID, write("alive")); err == nil {
			updates.Add(1)
		}
	}
	_, err := w.Revoke(w.ctx, w.revocation(domain.Target{UserID: "user"}))
	acknowledged.Store(true)
	group.Wait()
	if err != nil {
		t.Fatalf("a revocation must be recorded beside updates: got %v", err)
	}
	if late.Load() {
		t.Errorf("an Update that begins after a revocation was acknowledged must be refused")
	}
}
