package tokenstore_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// TestExchangeRefusals: each cause, and that what is not the token's own secret and client writes nothing.
func TestExchangeRefusals(t *testing.T) {
	key := tokenstore.Confirmation{Kind: "jkt", Value: "thumbprint"}
	issued := request("ann")
	issued.Confirmation = key
	issued.Lifetime, issued.IdleLifetime = tokenstore.Lifetime(48*time.Hour), tokenstore.Lifetime(24*time.Hour)
	good := func(out tokenstore.Issued) tokenstore.ExchangeRequest {
		return tokenstore.ExchangeRequest{Secret: out.Secret, ClientID: "app", Confirmation: key}
	}
	for _, c := range []struct {
		cause   tokenstore.Refusal
		prepare func(r *rig, req *tokenstore.ExchangeRequest)
	}{
		{tokenstore.ErrMalformed, func(r *rig, req *tokenstore.ExchangeRequest) { req.Secret = tokenstore.NewSecret("") }},
		{tokenstore.ErrMalformed, func(r *rig, req *tokenstore.ExchangeRequest) {
			text := []byte(req.Secret.Reveal())
			text[40] ^= 1 // a mistype: the checksum tells
			req.Secret = tokenstore.NewSecret(string(text))
		}},
		{tokenstore.ErrUnknownToken, func(r *rig, req *tokenstore.ExchangeRequest) {
			req.Secret = newRig(t, tokenstore.Options{}).issue(issued).Secret
		}},
		{tokenstore.ErrWrongClient, func(r *rig, req *tokenstore.ExchangeRequest) { req.ClientID = "another" }},
		{tokenstore.ErrWrongClient, func(r *rig, req *tokenstore.ExchangeRequest) { req.ClientID = "" }},
		{tokenstore.ErrWrongClient, func(r *rig, req *tokenstore.ExchangeRequest) { // also for a replay
			next, _ := r.Exchange(t.Context(), *req)
			r.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: next.Secret, ClientID: "app", Confirmation: key})
			req.ClientID = "another"
		}},
		{tokenstore.ErrConfirmation, func(r *rig, req *tokenstore.ExchangeRequest) { req.Confirmation.Value = "another" }},
		{tokenstore.ErrConfirmation, func(r *rig, req *tokenstore.ExchangeRequest) { req.Confirmation = tokenstore.Confirmation{} }},
		{tokenstore.ErrRevoked, func(r *rig, req *tokenstore.ExchangeRequest) { r.revoke(tokenstore.Target{UserID: "ann"}) }},
		{tokenstore.ErrIdleExpired, func(r *rig, req *tokenstore.ExchangeRequest) { r.wait(24 * time.Hour) }},
		{tokenstore.ErrExpired, func(r *rig, req *tokenstore.ExchangeRequest) { r.wait(48 * time.Hour) }},
	} {
		t.Run(string(c.cause), func(t *testing.T) {
			r := newRig(t, tokenstore.Options{})
			req := good(r.issue(issued))
			c.prepare(r, &req)
			r.wantNoWrite(func() {
				_, err := r.Exchange(t.Context(), req)
				wantRefusal(t, err, c.cause)
			})
		})
	}
}

// TestForgedSecretsWriteNothing: the right id with any other part wrong. The forger knows the form, and the checksum.
func TestForgedSecretsWriteNothing(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	out := r.issue(request("ann"))
	r.exchange(out.Secret)
	for generation := range uint32(4) {
		r.wantNoWrite(func() {
			_, err := r.try(forge(t, out.Token.ID, generation))
			wantRefusal(t, err, tokenstore.ErrUnknownToken)
		})
	}
}

func TestRetriesWithinTheLeeway(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	out := r.issue(request("ann"))
	first := r.exchange(out.Secret)
	r.wait(9 * time.Second)
	r.wantNoWrite(func() {
		for range 100 {
			again := r.exchange(out.Secret)
			if again.Secret.Reveal() != first.Secret.Reveal() || !again.Retried {
				t.Fatal("a retry got another successor")
			}
		}
	})
	r.wait(time.Second)
	_, err := r.try(out.Secret)
	wantRefusal(t, err, tokenstore.ErrReused)
	_, err = r.try(first.Secret)
	wantRefusal(t, err, tokenstore.ErrRevoked)
}

func TestLeewayOff(t *testing.T) {
	r := newRig(t, tokenstore.Options{Leeway: -1})
	out := r.issue(request("ann"))
	r.exchange(out.Secret)
	_, err := r.try(out.Secret)
	wantRefusal(t, err, tokenstore.ErrReused)
}

func TestRetryLimit(t *testing.T) {
	r := newRig(t, tokenstore.Options{RetryLimit: 2})
	out := r.issue(request("ann"))
	next := r.exchange(out.Secret)
	r.exchange(out.Secret)
	r.exchange(out.Secret)
	r.wantNoWrite(func() {
		_, err := r.try(out.Secret)
		wantRefusal(t, err, tokenstore.ErrRetryLimit)
	})
	r.exchange(next.Secret) // nothing was revoked
}

// TestRetryOfUnknownOutcome: a retry counts once, however often the store does not tell what became of it.
func TestRetryOfUnknownOutcome(t *testing.T) {
	for unknown := range 3 {
		r := newRig(t, tokenstore.Options{RetryLimit: 2})
		out := r.issue(request("ann"))
		next := r.exchange(out.Secret)
		for range 2 {
			r.spy.leaveUnknown(unknown)
			if again := r.exchange(out.Secret); !again.Retried || again.Secret.Reveal() != next.Secret.Reveal() {
				t.Errorf("%d times: %+v", unknown, again)
			}
		}
		r.wantNoWrite(func() {
			_, err := r.try(out.Secret)
			wantRefusal(t, err, tokenstore.ErrRetryLimit)
		})
		r.exchange(next.Secret)
	}
}

// TestReplayRevokesOnce: however often an outdated secret is replayed, by however many, one revocation is recorded.
func TestReplayRevokesOnce(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	out := r.issue(request("ann"))
	sibling := r.issue(request("ann"))
	next := r.exchange(out.Secret)
	r.exchange(next.Secret)
	var reused, revoked, other atomic.Int32
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range 100 {
				switch _, err := r.try(out.Secret); err {
				case tokenstore.ErrReused:
					reused.Add(1)
				case tokenstore.ErrRevoked:
					revoked.Add(1)
				default:
					other.Add(1)
				}
			}
		})
	}
	all.Wait()
	if reused.Load() != 1 || revoked.Load() != 999 {
		t.Errorf("%d reused, %d revoked, %d other; want 1 and 999", reused.Load(), revoked.Load(), other.Load())
	}
	if s := r.state(); s.Pending != 1 || s.History != 0 {
		t.Fatalf("%d revocations pending, want 1", s.Pending)
	}
	st, _ := r.spy.Tenant("default")
	page, err := st.Revocations(t.Context(), store.RevocationQuery{Limit: 2})
	if err != nil || len(page.Revocations) != 1 {
		t.Fatal(page, err)
	}
	tombstone := page.Revocations[0].Tombstone
	if tombstone.Reason != tokenstore.ReasonReuse || len(tombstone.Targets) != 1 || tombstone.Targets[0] != (tokenstore.Target{TokenID: out.Token.ID}) {
		t.Errorf("tombstone %+v, want one of the token, for reuse", tombstone)
	}
	r.exchange(sibling.Secret)
	r.run(tokenstore.Receipt{Tenant: "default", Status: page.Revocations[0]})
	_, err = r.try(out.Secret)
	wantRefusal(t, err, tokenstore.ErrUnknownToken) // nothing is left to know it by
	if s := r.state(); s.Tokens != 1 || s.Pending != 0 {
		t.Errorf("state %+v, want one token", s)
	}
}

// TestStoreRolledBack: a secret that is newer than the record says that the record is old. It is refused, not revoked.
func TestStoreRolledBack(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	out := r.issue(request("ann"))
	st, _ := r.spy.Tenant("default")
	old, err := st.Get(t.Context(), out.Token.ID)
	if err != nil {
		t.Fatal(err)
	}
	next := r.exchange(out.Secret)
	err = st.Update(t.Context(), out.Token.ID, func(store.View) store.Decision { return store.Decision{Next: &old.Token} })
	if err != nil {
		t.Fatal(err)
	}
	r.wantNoWrite(func() {
		_, err := r.try(next.Secret)
		wantRefusal(t, err, tokenstore.ErrAhead)
	})
	r.exchange(out.Secret)
}

func TestS7ConcurrentExchangesAgree(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	out := r.issue(request("ann"))
	secrets := make([]tokenstore.Secret, 64)
	var all sync.WaitGroup
	for i := range secrets {
		all.Go(func() {
			answer, err := r.try(out.Secret)
			if err != nil {
				t.Error(err)
			}
			secrets[i] = answer.Secret
		})
	}
	all.Wait()
	for _, s := range secrets {
		if s.Reveal() != secrets[0].Reveal() {
			t.Fatal("two exchanges of one secret got different successors")
		}
	}
	r.exchange(secrets[0])
}

func TestExchangeOfUnknownOutcome(t *testing.T) {
	for unknown := range 3 {
		r := newRig(t, tokenstore.Options{Leeway: -1}) // so that a retry would be replay, but for its own commit
		out := r.issue(request("ann"))
		r.spy.leaveUnknown(unknown)
		answer, err := r.try(out.Secret)
		if err != nil || answer.Retried || answer.Token.Generation != 1 {
			t.Fatalf("%d times: %+v, %v", unknown, answer, err)
		}
		r.exchange(answer.Secret)
	}
}

// TestReplayOfUnknownOutcome: the call that revoked says so, and the engine hears of it.
func TestReplayOfUnknownOutcome(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	out := r.issue(request("ann"))
	r.exchange(r.exchange(out.Secret).Secret)
	r.spy.leaveUnknown(1)
	_, err := r.try(out.Secret)
	wantRefusal(t, err, tokenstore.ErrReused)
}

func TestIdleRenewal(t *testing.T) {
	r := newRig(t, tokenstore.Options{IdleLifetime: tokenstore.Lifetime(time.Hour), Lifetime: tokenstore.Lifetime(3 * time.Hour)})
	secret := r.issue(request("ann")).Secret
	for range 3 {
		r.wait(59 * time.Minute)
		out := r.exchange(secret)
		if !out.Token.IdleExpiresAt.Equal(r.now.Add(time.Hour)) || !out.Token.LastExchangedAt.Equal(r.now) {
			t.Errorf("idle until %v, exchanged at %v", out.Token.IdleExpiresAt, out.Token.LastExchangedAt)
		}
		secret = out.Secret
	}
	r.wait(3 * time.Minute)
	_, err := r.try(secret)
	wantRefusal(t, err, tokenstore.ErrExpired) // the absolute lifetime is not renewed
}

func TestRotationLeavesOneRecord(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	out := r.issue(request("ann"))
	size := func(token tokenstore.RefreshToken) int {
		text, err := json.Marshal(token)
		if err != nil {
			t.Fatal(err)
		}
		return len(text)
	}
	before := r.state()
	first := r.exchange(out.Secret)
	secret := first.Secret
	for range 9_999 {
		secret = r.exchange(secret).Secret
	}
	if r.state() != before {
		t.Errorf("state %+v, want %+v as before", r.state(), before)
	}
	token, err := r.Get(t.Context(), out.Token.ID, tokenstore.Fenced)
	if err != nil || token.Generation != 10_000 || token.ID != out.Token.ID {
		t.Errorf("%+v, %v", token, err)
	}
	if size(token) != size(first.Token) || len(secret.Reveal()) != len(first.Secret.Reveal()) {
		t.Errorf("%d bytes, and %d of the secret; want %d and %d as at first", size(token), len(secret.Reveal()), size(first.Token), len(first.Secret.Reveal()))
	}
}

func TestStaticTokensKeepTheirSecret(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	req := request("ann")
	req.Static = true
	out := r.issue(req)
	for range 3 {
		r.wait(time.Hour)
		answer := r.exchange(out.Secret)
		if answer.Secret.Reveal() != out.Secret.Reveal() || answer.Token.Generation != 0 || !answer.Token.LastExchangedAt.Equal(r.now) {
			t.Errorf("%+v", answer.Token)
		}
	}
}

func TestDeviceFollowsTheExchange(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	req := request("ann")
	req.Device = tokenstore.Device{InitialIP: "192.0.2.1", InitialUserAgent: "one"}
	out := r.issue(req)
	answer, err := r.Exchange(t.Context(), tokenstore.ExchangeRequest{
		Secret: out.Secret, ClientID: "app", Device: tokenstore.Device{InitialIP: "ignored", LastIP: "192.0.2.2"},
	})
	want := tokenstore.Device{InitialIP: "192.0.2.1", InitialUserAgent: "one", LastIP: "192.0.2.2", LastUserAgent: "one"}
	if err != nil || answer.Token.Device != want {
		t.Errorf("%+v, %v; want %+v", answer.Token.Device, err, want)
	}
	_, err = r.Exchange(t.Context(), tokenstore.ExchangeRequest{
		Secret: answer.Secret, ClientID: "app", Device: tokenstore.Device{LastASN: string(make([]byte, 33))},
	})
	wantField(t, err, "last_asn")
}

func TestExchangeOnClosedBackend(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	out := r.issue(request("ann"))
	_ = r.spy.Close()
	if _, err := r.try(out.Secret); !errors.Is(err, tokenstore.ErrClosed) || errors.Is(err, tokenstore.ErrInvalidGrant) {
		t.Errorf("Exchange = %v, want ErrClosed, and that it is not the client's fault", err)
	}
}

// forge makes a well-formed secret of a token and a generation, of somebody who knows nothing else.
func forge(t *testing.T, id ulid.ULID, generation uint32) tokenstore.Secret {
	t.Helper()
	c, err := domain.NewCredential(id, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.Generation = generation
	return c.Secret()
}
