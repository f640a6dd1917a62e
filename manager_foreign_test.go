package tokenstore_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// opaque is the text of a foreign secret.
const opaque = "v1.MRrtbZJ-qf8rgZyr"

// withSecret is a foreign token, rotating, with the digest of a secret.
func withSecret(id, user, secret string, createdAt time.Time) tokenstore.RefreshToken {
	token := foreign(id, user, createdAt)
	token.Rotating, token.ForeignDigest = true, tokenstore.DigestForeign(secret)
	return token
}

// brought imports one token that must be let in.
func (r *rig) brought(token tokenstore.RefreshToken) ulid.ULID {
	r.Helper()
	result := r.bring(token)[0]
	if result.Outcome != tokenstore.Imported {
		r.Fatalf("%+v", result)
	}
	return result.ID
}

func (r *rig) tryText(text string) (tokenstore.Exchanged, error) {
	return r.try(tokenstore.NewSecret(text))
}

// TestForeignSecretRotates: the first exchange gives a secret of ours under the same id, a retry the same one, and after its
// use the foreign one is replay.
func TestForeignSecretRotates(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	token := withSecret("f-1", "ann", opaque, r.now.Add(-time.Hour))
	id := r.brought(token)
	first, err := r.tryText(opaque)
	if err != nil || first.Token.ID != id || first.Token.Generation != 1 || first.Retried || first.Secret.Reveal() == opaque {
		t.Fatalf("%+v, %v", first, err)
	}
	r.wait(9 * time.Second)
	r.wantNoWrite(func() {
		again, err := r.tryText(opaque)
		if err != nil || again.Secret.Reveal() != first.Secret.Reveal() || !again.Retried {
			t.Errorf("a retry: %+v, %v", again, err)
		}
	})
	in, err := r.Introspect(t.Context(), tokenstore.NewSecret(opaque))
	if err != nil || in.Active || in.Cause != tokenstore.ErrReused {
		t.Errorf("introspected: %+v, %v", in, err)
	}
	if result := r.bring(token)[0]; result.Outcome != tokenstore.Unchanged || result.ID != id {
		t.Errorf("imported again: %+v", result)
	}
	second := r.exchange(first.Secret)
	_, err = r.tryText(opaque)
	wantRefusal(t, err, tokenstore.ErrReused)
	_, err = r.try(second.Secret)
	wantRefusal(t, err, tokenstore.ErrRevoked)
	page, err := r.Revocations(t.Context(), tokenstore.RevocationsRequest{})
	if err != nil || len(page.Revocations) != 1 || page.Revocations[0].Tombstone.Reason != tokenstore.ReasonReuse {
		t.Errorf("%+v, %v; want one revocation for reuse", page, err)
	}
	r.run(tokenstore.Receipt{Tenant: "default", Status: page.Revocations[0]})
	_, err = r.tryText(opaque)
	wantRefusal(t, err, tokenstore.ErrUnknownToken)
	if result := r.bring(token)[0]; !errors.Is(result.Err, tokenstore.ErrRevoked) {
		t.Errorf("a token that was replayed is back: %+v", result)
	}
}

func TestForeignSecretLateIsReplay(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	r.brought(withSecret("f-1", "ann", opaque, r.now))
	if _, err := r.tryText(opaque); err != nil {
		t.Fatal(err)
	}
	r.wait(10 * time.Second)
	_, err := r.tryText(opaque)
	wantRefusal(t, err, tokenstore.ErrReused)
}

func TestForeignSecretStatic(t *testing.T) {
	clients := &policies{}
	r := newRig(t, tokenstore.Options{Client: clients.of})
	token := withSecret("f-1", "ann", opaque, r.now)
	token.Rotating = false
	id := r.brought(token)
	for range 3 {
		out, err := r.tryText(opaque)
		if err != nil || out.Secret.Reveal() != opaque || out.Token.ID != id || !out.Token.LastExchangedAt.Equal(r.now) {
			t.Fatalf("%+v, %v; want the same secret", out, err)
		}
		in, err := r.Introspect(t.Context(), tokenstore.NewSecret(opaque))
		if err != nil || !in.Active || in.Token.ID != id {
			t.Errorf("introspected: %+v, %v", in, err)
		}
		r.wait(time.Hour)
	}
	clients.set(tokenstore.ClientPolicy{Rotation: tokenstore.RotationOn})
	out, err := r.tryText(opaque)
	if err != nil || out.Secret.Reveal() == opaque || out.Token.ID != id {
		t.Fatalf("%+v, %v; want a secret of ours", out, err)
	}
	clients.set(tokenstore.ClientPolicy{Rotation: tokenstore.RotationOff})
	if again := r.exchange(out.Secret); again.Secret.Reveal() != out.Secret.Reveal() {
		t.Error("a token that rotates no more gets another secret")
	}
	_, err = r.tryText(opaque)
	wantRefusal(t, err, tokenstore.ErrReused)
}

func TestForeignSecretWeak(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	token := withSecret("f-1", "ann", "123456", r.now)
	token.ForeignWeak = true
	r.brought(token)
	first, err := r.tryText("123456")
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.tryText("123456")
	wantRefusal(t, err, tokenstore.ErrReused)
	_, err = r.try(first.Secret)
	wantRefusal(t, err, tokenstore.ErrRevoked)
}

// TestForeignExchangeOfUnknownOutcome: an exchange whose commit was not told finds it, also where the successor was drawn.
func TestForeignExchangeOfUnknownOutcome(t *testing.T) {
	for _, weak := range []bool{false, true} {
		r := newRig(t, tokenstore.Options{Leeway: -1})
		token := withSecret("f-1", "ann", opaque, r.now)
		token.ForeignWeak = weak
		r.brought(token)
		r.spy.leaveUnknown(2)
		out, err := r.tryText(opaque)
		if err != nil || out.Token.Generation != 1 {
			t.Fatalf("%+v, %v", out, err)
		}
		if next := r.exchange(out.Secret); next.Token.Generation != 2 {
			t.Errorf("%+v", next)
		}
	}
}

// TestS7ConcurrentForeignExchangesAgree: of exchanges of one foreign secret at once, all get the same successor; of a weak
// one, a single one gets any.
func TestS7ConcurrentForeignExchangesAgree(t *testing.T) {
	for _, weak := range []bool{false, true} {
		r := newRig(t, tokenstore.Options{})
		token := withSecret("f-1", "ann", opaque, r.now)
		token.ForeignWeak = weak
		r.brought(token)
		var group sync.WaitGroup
		outs, errs := make([]tokenstore.Exchanged, 8), make([]error, 8)
		for i := range outs {
			group.Go(func() { outs[i], errs[i] = r.tryText(opaque) })
		}
		group.Wait()
		secrets, n := map[string]bool{}, 0
		for i, out := range outs {
			if errs[i] == nil {
				secrets[out.Secret.Reveal()] = true
				n++
			}
		}
		if want := map[bool]int{false: len(outs), true: 1}[weak]; len(secrets) != 1 || n != want {
			t.Errorf("weak %v: %d secrets in %d answers, want one in %d", weak, len(secrets), n, want)
		}
	}
}

// TestForeignSecretRefused: what is no foreign secret of the tenant, or is not presented as it must be, writes nothing, and
// a client can't tell the causes apart.
func TestForeignSecretRefused(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	token := withSecret("f-1", "ann", opaque, r.now.Add(-time.Hour))
	token.Confirmation = tokenstore.Confirmation{Kind: "jkt", Value: "thumbprint"}
	token.ExpiresAt = r.now.Add(time.Hour)
	r.brought(token)
	other, err := r.Tenant("other", nil)
	if err != nil {
		t.Fatal(err)
	}
	good := tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(opaque), ClientID: "app", Confirmation: token.Confirmation}
	for name, c := range map[string]struct {
		change func(*tokenstore.ExchangeRequest)
		cause  tokenstore.Refusal
	}{
		"another":  {func(x *tokenstore.ExchangeRequest) { x.Secret = tokenstore.NewSecret(opaque + "x") }, tokenstore.ErrUnknownToken},
		"empty":    {func(x *tokenstore.ExchangeRequest) { x.Secret = tokenstore.Secret{} }, tokenstore.ErrMalformed},
		"too long": {func(x *tokenstore.ExchangeRequest) { x.Secret = tokenstore.NewSecret(strings.Repeat("x", 2049)) }, tokenstore.ErrMalformed},
		"longest":  {func(x *tokenstore.ExchangeRequest) { x.Secret = tokenstore.NewSecret(strings.Repeat("x", 2048)) }, tokenstore.ErrUnknownToken},
		"mistyped": {func(x *tokenstore.ExchangeRequest) { x.Secret = tokenstore.NewSecret("rts_" + opaque) }, tokenstore.ErrMalformed},
		"no UTF-8": {func(x *tokenstore.ExchangeRequest) { x.Secret = tokenstore.NewSecret("\xff\x00") }, tokenstore.ErrUnknownToken},
		"client":   {func(x *tokenstore.ExchangeRequest) { x.ClientID = "another" }, tokenstore.ErrWrongClient},
		"key":      {func(x *tokenstore.ExchangeRequest) { x.Confirmation = tokenstore.Confirmation{} }, tokenstore.ErrConfirmation},
		"other":    {func(x *tokenstore.ExchangeRequest) {}, tokenstore.ErrUnknownToken},
		"our own form": {func(x *tokenstore.ExchangeRequest) {
			page, _ := r.List(t.Context(), tokenstore.ListRequest{})
			x.Secret = forge(t, page.Tokens[0].ID, 0)
		}, tokenstore.ErrUnknownToken},
	} {
		t.Run(name, func(t *testing.T) {
			x, m := good, r.Manager
			c.change(&x)
			if name == "other" {
				m = other
			}
			r.wantNoWrite(func() {
				_, err := m.Exchange(t.Context(), x)
				wantRefusal(t, err, c.cause)
				if tokenstore.ForClient(err) != tokenstore.ForClient(tokenstore.ErrUnknownToken) {
					t.Error("a client is told another thing")
				}
			})
		})
	}
	r.wait(time.Hour)
	_, err = r.Exchange(t.Context(), good)
	wantRefusal(t, err, tokenstore.ErrExpired)
	r.revoke(tokenstore.Target{UserID: "ann"})
	_, err = r.Exchange(t.Context(), good)
	wantRefusal(t, err, tokenstore.ErrRevoked)
}

// TestForeignSecretIsNoOracle: a request that is bad for another reason is refused for that, whether its secret is a good
// guess or not, so that nobody can try secrets without using them up.
func TestForeignSecretIsNoOracle(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	r.brought(withSecret("f-1", "ann", opaque, r.now))
	for _, text := range []string{opaque, opaque + "x", r.issue(request("ann")).Secret.Reveal(), "rts_"} {
		r.wantNoWrite(func() {
			x := tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(text), ClientID: "app"}
			x.Device.LastUserAgent = strings.Repeat("x", domain.MaxUserAgent+1)
			_, err := r.Exchange(t.Context(), x)
			wantField(t, err, "last_user_agent")
		})
	}
}

// TestForeignDigestOfTheHost: the host's function makes the digest, a keyed one for instance, and says what can't be a secret.
func TestForeignDigestOfTheHost(t *testing.T) {
	keyed := func(secret string) (d tokenstore.Digest, ok bool) {
		signature, ok := strings.CutPrefix(secret, "ory_rt_")
		mac := hmac.New(sha256.New, []byte("the other system's key"))
		mac.Write([]byte(signature))
		mac.Sum(d[:0])
		return d, ok && signature != "zero"
	}
	r := newRig(t, tokenstore.Options{ForeignDigest: func(secret string) (tokenstore.Digest, bool) {
		if secret == "ory_rt_zero" {
			return tokenstore.Digest{}, true
		}
		return keyed(secret)
	}})
	token := foreign("f-1", "ann", r.now)
	token.ForeignDigest, _ = keyed("ory_rt_secret")
	id := r.brought(token)
	if out, err := r.tryText("ory_rt_secret"); err != nil || out.Token.ID != id {
		t.Errorf("%+v, %v", out, err)
	}
	for text, cause := range map[string]tokenstore.Refusal{
		"secret": tokenstore.ErrMalformed, "ory_rt_zero": tokenstore.ErrMalformed, "ory_rt_another": tokenstore.ErrUnknownToken,
	} {
		_, err := r.tryText(text)
		wantRefusal(t, err, cause)
		in, err := r.Introspect(t.Context(), tokenstore.NewSecret(text))
		if err != nil || in.Active || in.Cause != cause {
			t.Errorf("introspected: %+v, %v, want %v", in, err, cause)
		}
	}
}

// TestOwnSecretsAreNotLookedUp: an exchange of our own asks the store once, and the host's function never.
func TestOwnSecretsAreNotLookedUp(t *testing.T) {
	asked := 0
	r := newRig(t, tokenstore.Options{ForeignDigest: func(secret string) (tokenstore.Digest, bool) {
		asked++
		return tokenstore.DigestForeign(secret), true
	}})
	looks := &looked{Backend: r.spy}
	m, err := tokenstore.New(looks, &tokenstore.Options{Now: r.clock})
	if err != nil {
		t.Fatal(err)
	}
	secret := r.issue(request("ann")).Secret
	if _, err := m.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: "app"}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Introspect(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if looks.n != 0 || asked != 0 {
		t.Errorf("%d look-ups, the host was asked %d times", looks.n, asked)
	}
	_ = r.spy.Close()
	if _, err := m.Introspect(t.Context(), tokenstore.NewSecret(opaque)); !errors.Is(err, tokenstore.ErrClosed) || looks.n != 1 {
		t.Errorf("%v after %d look-ups, want ErrClosed after one", err, looks.n)
	}
}

// looked is a backend that counts look-ups of foreign digests.
type looked struct {
	store.Backend
	n int
}

func (l *looked) Tenant(name string) (store.Store, error) {
	st, err := l.Backend.Tenant(name)
	return &lookedStore{st, l}, err
}

type lookedStore struct {
	store.Store
	looked *looked
}

func (s *lookedStore) Find(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
	s.looked.n++
	return s.Store.Find(ctx, foreign)
}

// FuzzForeignSecret: whatever text is presented, only the secret itself is active, and all else is refused alike.
func FuzzForeignSecret(f *testing.F) {
	for _, text := range []string{opaque, opaque + "\x00", "", "rts_", strings.Repeat("x", 3000), "\xff"} {
		f.Add(text)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	m, err := tokenstore.New(memstore.New(), &tokenstore.Options{Now: func() time.Time { return now }})
	if err != nil {
		f.Fatal(err)
	}
	token := withSecret("f-1", "ann", opaque, now)
	token.Rotating = false
	if results, err := m.Import(f.Context(), []tokenstore.RefreshToken{token}); err != nil || results[0].Err != nil {
		f.Fatal(results, err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := m.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(text), ClientID: "app"})
		in, fault := m.Introspect(t.Context(), tokenstore.NewSecret(text))
		good := text == opaque
		if (err == nil) != good || good && out.Secret.Reveal() != text || fault != nil || in.Active != good || !good && !errors.Is(err, in.Cause) {
			t.Errorf("%q: exchange %v, introspection %+v, %v", text, err, in, fault)
		}
		if !good && tokenstore.ForClient(err) != tokenstore.ForClient(tokenstore.ErrUnknownToken) {
			t.Errorf("%q: a client is told %+v", text, tokenstore.ForClient(err))
		}
	})
}
