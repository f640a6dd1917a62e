package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
)

// TestTokensOutliveTheirSession: a logout spares what was granted offline access, and that keeps the id of its session
// through all that follows, so that the session can still be revoked as a whole.
func TestTokensOutliveTheirSession(t *testing.T) {
	onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
		req := request("ann")
		short, _ := r.hold(kind{user: "ann", client: "app", session: "session-ann"})
		guest, _ := r.hold(kind{user: "bob", client: "web", session: "session-ann"})
		other, _ := r.hold(kind{user: "ann", client: "app", session: "another"})
		req.Offline = true
		long := r.issue(req)

		logout := tokenstore.Target{SessionID: "session-ann", Offline: tokenstore.OfflineNo}
		status := r.run(r.revoke(logout))[0]
		for name, h := range map[string]*held{"of the user": short, "of another user and client": guest} {
			if got := r.see(h); got != "gone " {
				t.Errorf("a token %s is %safter the logout", name, got)
			}
		}
		if got := r.see(other); got != "live " || status.Swept != 2 {
			t.Errorf("a token of another session is %s, %d swept", got, status.Swept)
		}
		secret := long.Secret
		for range 3 {
			r.wait(time.Hour)
			out := r.exchange(secret)
			if secret = out.Secret; out.Token.SessionID != req.SessionID {
				t.Errorf("session %v after an exchange, want %v", out.Token.SessionID, req.SessionID)
			}
		}
		if token, err := r.UpdateMetadata(t.Context(), long.Token.ID, nil); err != nil || token.SessionID != req.SessionID {
			t.Errorf("session %v after an update, %v", token.SessionID, err)
		}
		page, err := r.List(t.Context(), tokenstore.ListRequest{SessionID: "session-ann", Consistency: tokenstore.Fenced})
		if err != nil || len(page.Tokens) != 1 || page.Tokens[0].ID != long.Token.ID {
			t.Errorf("%d tokens of the session, %v; want the one that was spared", len(page.Tokens), err)
		}
		_, err = r.Issue(t.Context(), request("ann"))
		wantRefusal(t, err, tokenstore.ErrRevoked)
		if _, err := r.Issue(t.Context(), req); err != nil {
			t.Errorf("a grant of offline access, which the logout spares: %v", err)
		}

		receipt := r.revoke(tokenstore.Target{SessionID: "session-ann"})
		_, err = r.try(secret)
		wantRefusal(t, err, tokenstore.ErrRevoked)
		if status := r.run(receipt)[0]; status.Swept != 2 {
			t.Errorf("swept %d, want both that were granted offline access", status.Swept)
		}
		_, err = r.Issue(t.Context(), req)
		wantRefusal(t, err, tokenstore.ErrRevoked)
	})
}

// TestLegacyTokensHaveNoSession: no target that names a session, whatever its text, matches a null session id.
func TestLegacyTokensHaveNoSession(t *testing.T) {
	onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
		legacy, _ := r.hold(kind{user: "ann", client: "app", created: "2023-09-20"})
		r.hold(kind{user: "ann", client: "app", session: "s1"})
		var receipts []tokenstore.Receipt
		for _, target := range []tokenstore.Target{
			{SessionID: "s1"}, {SessionID: "null"}, {SessionID: " "}, {SessionID: "s1", UserID: "ann"},
			{SessionID: "null", UserID: "ann", ClientID: "app"}, {SessionID: "s1", Offline: tokenstore.OfflineNo},
			{SessionID: "null", LegacyBefore: date("2023-09-21")}, {SessionID: "s1", IssuedBefore: date("2030-01-01")},
		} {
			receipts = append(receipts, r.revoke(target))
		}
		if got := r.see(legacy); got != "live " {
			t.Errorf("the legacy token is %s", got)
		}
		r.run(receipts...)
		if got := r.see(legacy); got != "live " || r.state().Tokens != 1 {
			t.Errorf("the legacy token is %safter the sweep, %d tokens", got, r.state().Tokens)
		}
		if left, err := r.Preview(t.Context(), []tokenstore.Target{r.LegacyTarget()}, 10); err != nil || left.Matched != 1 {
			t.Errorf("%d legacy tokens left, %v; want 1", left.Matched, err)
		}
		_, err := r.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{SessionID: ""}}})
		wantField(t, err, "target")
	})
}

// TestS4DeadSessionIssuesNothing: for as long as MemoryFor to the nanosecond, whatever the point that a grant claims to stem
// from. After that, what stems from before the revocation is still refused, as beyond memory.
func TestS4DeadSessionIssuesNothing(t *testing.T) {
	const memory = 24 * time.Hour
	for name, open := range backends {
		for stage, age := range map[string]time.Duration{"before the horizon": memory - 1, "at the horizon": memory, "after the horizon": memory + 1} {
			t.Run(name+", "+stage, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testDeadSession(t, open(t), memory, age) })
			})
		}
	}
}

func testDeadSession(t *testing.T, backend store.Backend, memory, age time.Duration) {
	m, err := tokenstore.New(backend, &tokenstore.Options{
		Legacy: tokenstore.LegacyRule{CutOff: date("1999-01-01")}, // virtual time begins in 2000
		Engine: revocation.Options{MemoryFor: memory, ExpireEvery: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	revoke := func(target tokenstore.Target) (sequence uint64) {
		t.Helper()
		receipt, err := m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{target}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Wait(ctx, receipt); err != nil {
			t.Fatal(err)
		}
		return receipt.Status.Tombstone.Watermark
	}
	if _, err := m.Issue(ctx, request("ann")); err != nil {
		t.Fatal(err)
	}
	const trims = 25 * time.Hour // the engine trims every hour from its start on: at this one the session is as old as asked for
	time.Sleep(trims - age)
	died, watermark := time.Now(), revoke(tokenstore.Target{SessionID: "session-ann"})
	time.Sleep(age)
	synctest.Wait()
	present := revoke(tokenstore.Target{UserID: "nobody"})

	forgotten := age > memory
	for _, c := range []struct {
		name string
		asOf tokenstore.AsOf
		then error // once the revocation is forgotten
	}{
		{"now", tokenstore.AsOf{}, nil},
		{"the present sequence", tokenstore.AsOfSequence(present), nil},
		{"the present time", tokenstore.AsOfTime(time.Now(), 0), nil},
		{"just after it by sequence", tokenstore.AsOfSequence(watermark), nil},
		{"just after it by time", tokenstore.AsOfTime(died.Add(1), 0), nil},
		{"just before it by sequence", tokenstore.AsOfSequence(watermark - 1), tokenstore.ErrBeyondMemory},
		{"just at it by time", tokenstore.AsOfTime(died, 0), tokenstore.ErrBeyondMemory},
	} {
		want := c.then
		if !forgotten {
			want = tokenstore.ErrRevoked
		}
		req := request("ann")
		req.AsOf = c.asOf
		if _, err := m.Issue(ctx, req); !errors.Is(err, want) {
			t.Errorf("as of %s: %v, want %v", c.name, err, want)
		}
		req.SessionID = tokenstore.MustSessionID("another")
		if _, err := m.Issue(ctx, req); !forgotten && err != nil || forgotten && !errors.Is(err, want) {
			t.Errorf("another session, as of %s: %v", c.name, err)
		}
	}
}

// TestS1IssueMeetsRevocationOfItsSession: a token that is issued at the same time as its session is revoked is covered, or
// it is not issued. There is no third way.
func TestS1IssueMeetsRevocationOfItsSession(t *testing.T) {
	const rounds, issuers = 30, 8
	onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
		var receipts []tokenstore.Receipt
		for round := range rounds {
			req := request("ann")
			req.SessionID = tokenstore.MustSessionID(fmt.Sprint("session ", round))
			var mu sync.Mutex
			var issued []tokenstore.Secret
			begun, revoked := make(chan bool, issuers), make(chan bool)
			var all sync.WaitGroup
			for range issuers {
				all.Go(func() {
					for {
						late := false
						select {
						case <-revoked:
							late = true
						default:
						}
						out, err := r.Issue(t.Context(), req)
						switch {
						case err != nil:
							wantRefusal(t, err, tokenstore.ErrRevoked)
							return
						case late:
							t.Error("a token is issued after the revocation of its session has returned")
							return
						}
						mu.Lock()
						issued = append(issued, out.Secret)
						mu.Unlock()
						select {
						case begun <- true:
						default:
						}
					}
				})
			}
			<-begun
			receipts = append(receipts, r.revoke(tokenstore.Target{SessionID: req.SessionID.String()}))
			close(revoked)
			all.Wait()
			for _, secret := range issued {
				if seen, err := r.Introspect(t.Context(), secret); err != nil || seen.Cause != tokenstore.ErrRevoked {
					t.Errorf("of %d tokens, one that was neither refused nor covered: %+v, %v", len(issued), seen, err)
				}
				_, err := r.try(secret)
				wantRefusal(t, err, tokenstore.ErrRevoked)
			}
			if t.Failed() {
				return
			}
		}
		r.run(receipts...)
		if n := r.state().Tokens; n != 0 {
			t.Errorf("%d tokens left of sessions that are dead", n)
		}
	})
}
