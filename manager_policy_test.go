package tokenstore_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

const day = 24 * time.Hour

// policies gives every client the policy that it points at.
func policies(p *tokenstore.ClientPolicy) func(string) tokenstore.ClientPolicy {
	return func(string) tokenstore.ClientPolicy { return *p }
}

func TestReplayReach(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		reach   tokenstore.ReplayReach
		session string
		gone    []string // of "own session", "other session", "other user"
	}{
		{"token", tokenstore.ReplayToken, "s", nil},
		{"session", tokenstore.ReplaySession, "s", []string{"own session"}},
		{"session that is null", tokenstore.ReplaySession, "", nil},
		{"user", tokenstore.ReplayUser, "s", []string{"own session", "other session"}},
	} {
		r := newRig(t, tokenstore.Options{Replay: test.reach, Legacy: tokenstore.LegacyRule{AllowNoSession: true}, Leeway: -1})
		req := request("ann")
		req.SessionID = tokenstore.SessionID{}
		if test.session != "" {
			req.SessionID = tokenstore.MustSessionID(test.session)
		}
		stolen := r.issue(req).Secret
		others := map[string]tokenstore.Secret{"own session": r.issue(req).Secret}
		req.SessionID = tokenstore.MustSessionID("other")
		others["other session"] = r.issue(req).Secret
		others["other user"] = r.issue(request("bob")).Secret
		r.exchange(stolen)
		for range 1000 {
			_, err := r.try(stolen)
			if !errors.Is(err, tokenstore.ErrInvalidGrant) {
				t.Fatalf("%s: got error %v", test.name, err)
			}
		}
		if state := r.state(); state.Pending != 1 {
			t.Errorf("%s: replay a thousand times must make one tombstone: got %d", test.name, state.Pending)
		}
		for what, secret := range others {
			in, err := r.Introspect(t.Context(), secret)
			want := true
			for _, gone := range test.gone {
				want = want && gone != what
			}
			if err != nil || in.Active != want {
				t.Errorf("%s: %s is active: %t, want %t, error %v", test.name, what, in.Active, want, err)
			}
		}
	}
}

func TestCap(t *testing.T) {
	t.Parallel()
	policy := &tokenstore.ClientPolicy{Cap: 3}
	var evicted []ulid.ULID
	r := newRig(t, tokenstore.Options{
		Client:  policies(policy),
		Evicted: func(_ string, token tokenstore.RefreshToken) { evicted = append(evicted, token.ID) },
	})
	var issued []tokenstore.Issued
	for range 5 {
		issued = append(issued, r.issue(request("ann")))
		r.wait(time.Minute)
	}
	r.issue(request("bob"))
	if fmt.Sprint(evicted) != fmt.Sprint([]ulid.ULID{issued[0].Token.ID, issued[1].Token.ID}) {
		t.Errorf("the oldest must go, in order: got %v", evicted)
	}
	_, err := r.try(issued[0].Secret)
	wantRefusal(t, err, tokenstore.ErrUnknownToken)
	r.exchange(issued[2].Secret)

	// A revoked one does not count, and an import never evicts.
	r.revoke(tokenstore.Target{TokenID: issued[4].Token.ID})
	r.issue(request("ann"))
	imported := tokenstore.RefreshToken{
		ID: ulid.ULID{15: 1}, UserID: "ann", ClientID: "app", CreatedAt: r.clock(), SessionID: tokenstore.MustSessionID("s"),
	}
	results, err := r.Import(t.Context(), []tokenstore.RefreshToken{imported})
	if err != nil || results[0].Outcome != tokenstore.Imported || len(evicted) != 2 {
		t.Errorf("neither may evict: got %d evicted, %+v, error %v", len(evicted), results, err)
	}
	again := issued[0].Token
	results, err = r.Import(t.Context(), []tokenstore.RefreshToken{again})
	if err != nil || !errors.Is(results[0].Err, tokenstore.ErrRevoked) {
		t.Errorf("an evicted token must not be imported again: got %+v, error %v", results, err)
	}

	policy.CapRefuse = true
	before := r.state()
	if _, err := r.Issue(t.Context(), request("ann")); !errors.Is(err, tokenstore.ErrCap) {
		t.Errorf("over a cap that refuses: got error %v, want ErrCap", err)
	}
	if after := r.state(); after != before {
		t.Errorf("a cap that refuses must change nothing: %+v, before %+v", after, before)
	}
}

func TestCapHoldsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, tokenstore.Options{Client: policies(&tokenstore.ClientPolicy{Cap: 4})})
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if _, err := r.Issue(t.Context(), request("ann")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := r.state().Tokens; n != 4 {
		t.Errorf("got %d tokens of a cap of 4", n)
	}
}

func TestConfirmation(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{domain.ConfirmationJKT, domain.ConfirmationX5TS} {
		r := newRig(t, tokenstore.Options{Leeway: -1})
		key := tokenstore.Confirmation{Kind: kind, Value: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}
		req := request("ann")
		req.Confirmation = key
		first := r.issue(req)
		try := func(s tokenstore.Secret, c tokenstore.Confirmation) (tokenstore.Exchanged, error) {
			return r.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: s, ClientID: "app", Confirmation: c})
		}
		next, err := try(first.Secret, key)
		if err != nil || next.Token.Confirmation != key {
			t.Fatalf("the right key must do, and stay: got %+v, error %v", next.Token.Confirmation, err)
		}
		for _, wrong := range []tokenstore.Confirmation{{}, {Kind: kind, Value: "another"}, {Kind: "other", Value: key.Value}} {
			for _, secret := range []tokenstore.Secret{next.Secret, first.Secret} { // the second one is replay
				r.wantNoWrite(func() {
					_, err := try(secret, wrong)
					wantRefusal(t, err, tokenstore.ErrConfirmation)
				})
			}
		}
		unbound := r.issue(request("bob"))
		if _, err := try(unbound.Secret, key); err != nil {
			t.Errorf("a token without a key must not mind the sender's: got %v", err)
		}
	}
}

// static issues a token that does not rotate, for audiences.
func (r *rig) static(user string, audiences ...string) tokenstore.Issued {
	r.Helper()
	req := request(user)
	req.Static = true
	for _, a := range audiences {
		req.ResourceServers = append(req.ResourceServers, tokenstore.ResourceServer{Audience: a})
	}
	return r.issue(req)
}

func TestRotationSwitchedOn(t *testing.T) {
	t.Parallel()
	policy := &tokenstore.ClientPolicy{}
	r := newRig(t, tokenstore.Options{Client: policies(policy)})
	old := r.static("ann", "api", "files")
	sibling, stranger, other := r.static("ann", "files"), r.static("ann", "mail"), r.static("bob", "api")
	req := request("ann")
	req.ResourceServers = []tokenstore.ResourceServer{{Audience: "api"}}
	rotating := r.issue(req)
	r.exchange(old.Secret)

	policy.Rotation = tokenstore.RotationOn
	x := r.exchange(old.Secret)
	if x.Token.ID != old.Token.ID || x.Token.Generation != 1 || !x.Token.Rotating || x.Secret.Reveal() == old.Secret.Reveal() {
		t.Errorf("the same record must begin to rotate: got %+v", x.Token)
	}
	if again := r.exchange(old.Secret); !again.Retried || again.Secret.Reveal() != x.Secret.Reveal() {
		t.Error("the old secret is the parent of the first rotated one")
	}
	_, err := r.try(sibling.Secret)
	wantRefusal(t, err, tokenstore.ErrRevoked)
	for name, secret := range map[string]tokenstore.Secret{"another audience": stranger.Secret, "another user": other.Secret, "one that rotates": rotating.Secret} {
		if in, err := r.Introspect(t.Context(), secret); err != nil || !in.Active {
			t.Errorf("%s must be left alone: %v, error %v", name, in.Cause, err)
		}
	}
	r.wait(time.Hour)
	_, err = r.try(old.Secret)
	wantRefusal(t, err, tokenstore.ErrReused)
}

func TestRotationSwitchedOff(t *testing.T) {
	t.Parallel()
	policy := &tokenstore.ClientPolicy{}
	r := newRig(t, tokenstore.Options{Client: policies(policy)})
	issued := r.issue(request("ann"))
	current := r.exchange(issued.Secret).Secret
	policy.Rotation = tokenstore.RotationOff
	r.wait(time.Second)
	for range 3 {
		x := r.exchange(current)
		if x.Token.ID != issued.Token.ID || x.Token.Rotating || x.Secret.Reveal() != current.Reveal() || !x.Token.LastExchangedAt.Equal(r.clock()) {
			t.Errorf("the current secret must stay: got %+v", x.Token)
		}
		r.wait(time.Second)
	}
	_, err := r.try(issued.Secret) // within the leeway of its rotation, but its successor has been used
	wantRefusal(t, err, tokenstore.ErrReused)
	_, err = r.try(current)
	wantRefusal(t, err, tokenstore.ErrRevoked)
}

// Two tokens that don't rotate yet are exchanged at once when rotation is switched on: at most one is left alive.
func TestRotationSwitchedOnAtOnce(t *testing.T) {
	t.Parallel()
	for range 50 {
		policy := &tokenstore.ClientPolicy{}
		r := newRig(t, tokenstore.Options{Client: policies(policy)})
		tokens := []tokenstore.Issued{r.static("ann", "api"), r.static("ann", "api")}
		policy.Rotation = tokenstore.RotationOn
		var wg sync.WaitGroup
		for _, token := range tokens {
			wg.Go(func() {
				if _, err := r.try(token.Secret); err != nil && !errors.Is(err, tokenstore.ErrRevoked) {
					t.Errorf("got error %v", err)
				}
			})
		}
		wg.Wait()
		live := 0
		for token, err := range r.All(t.Context(), tokenstore.ListRequest{Consistency: tokenstore.Fenced}) {
			if err != nil || !token.Rotating {
				t.Fatalf("what is left must rotate: got %+v, error %v", token, err)
			}
			live++
		}
		if live != 1 {
			t.Fatalf("%d tokens are left, want 1", live)
		}
	}
}

func TestForClient(t *testing.T) {
	t.Parallel()
	grant := tokenstore.ForClient(tokenstore.ErrUnknownToken)
	if grant.Code != "invalid_grant" || grant.Status != 400 {
		t.Errorf("got %+v", grant)
	}
	for _, cause := range []error{
		tokenstore.ErrMalformed, tokenstore.ErrWrongClient, tokenstore.ErrConfirmation, tokenstore.ErrRevoked, tokenstore.ErrExpired,
		tokenstore.ErrIdleExpired, tokenstore.ErrReused, tokenstore.ErrRetryLimit, tokenstore.ErrAhead, tokenstore.ErrBeyondMemory,
		tokenstore.ErrCap, fmt.Errorf("wrapped: %w", tokenstore.ErrRevoked),
	} {
		if got := tokenstore.ForClient(cause); got != grant {
			t.Errorf("%v: a client must be told the same of every refusal: got %+v", cause, got)
		}
	}
	if got := tokenstore.ForClient(&tokenstore.FieldError{Field: "user_id"}); got.Code != "invalid_request" || got.Status != 400 {
		t.Errorf("a bad request: got %+v", got)
	}
	for _, ours := range []error{tokenstore.ErrClosed, tokenstore.ErrNotCommitted, tokenstore.ErrUnknownOutcome, tokenstore.ErrBusy, errors.New("disk")} {
		if got := tokenstore.ForClient(ours); got.Code != "temporarily_unavailable" || got.Status != 503 {
			t.Errorf("%v: got %+v", ours, got)
		}
	}
}
