package tokenstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
)

// pepper is a ring with the given keys, of which the first is current; an empty id is no key.
func pepper(t *testing.T, ids ...string) *tokenstore.PepperRing {
	t.Helper()
	keys := map[string][]byte{}
	for _, id := range ids {
		if id != "" {
			keys[id] = bytes.Repeat([]byte(id[:1]), 32)
		}
	}
	r, err := tokenstore.NewPepperRing(ids[0], keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// withPepper is a manager on the rig's backend as it is after a restart with another ring.
func (r *rig) withPepper(ring *tokenstore.PepperRing) *rig {
	r.Helper()
	m, err := tokenstore.New(r.spy, &tokenstore.Options{Now: r.clock, Pepper: ring})
	if err != nil {
		r.Fatal(err)
	}
	return &rig{T: r.T, Manager: m, spy: r.spy, now: r.clock()}
}

// TestPepperRotates: keys come and go, and every secret is exchanged all the way; what was exchanged is under the current
// key.
func TestPepperRotates(t *testing.T) {
	for _, static := range []bool{false, true} {
		first := newRig(t, tokenstore.Options{})
		req := request("ann")
		req.Static = static
		secret := first.issue(req).Secret
		for _, ring := range []*tokenstore.PepperRing{
			pepper(t, "a"), pepper(t, "b", "a"), pepper(t, "b"), pepper(t, "c", "b", "a"), pepper(t, "", "c"), nil, pepper(t, "a"),
		} {
			r := first.withPepper(ring)
			out := r.exchange(secret)
			if got := out.Token.PepperKeyID; got != ring.Current() {
				t.Errorf("static %v: the key is %q, want %q", static, got, ring.Current())
			}
			secret = out.Secret
			in, err := r.Introspect(t.Context(), secret)
			if err != nil || !in.Active {
				t.Errorf("introspected: %+v, %v", in, err)
			}
		}
	}
}

// TestPepperMissing: without the key nothing can be said of a secret, nothing is written, and with the key all is well again.
func TestPepperMissing(t *testing.T) {
	r := newRig(t, tokenstore.Options{Pepper: pepper(t, "a")})
	out := r.issue(request("ann"))
	next := r.exchange(out.Secret)
	r.brought(withSecret("f-1", "bob", opaque, r.now))
	if _, err := r.tryText(opaque); err != nil {
		t.Fatal(err)
	}
	r.wait(time.Hour) // the outdated secrets are replay
	for _, ring := range []*tokenstore.PepperRing{nil, pepper(t, "b")} {
		without := r.withPepper(ring)
		without.wantNoWrite(func() {
			for _, text := range []string{out.Secret.Reveal(), next.Secret.Reveal(), opaque} {
				_, err := without.tryText(text)
				wantRefusal(t, err, tokenstore.ErrKeyMissing)
				in, err := without.Introspect(t.Context(), tokenstore.NewSecret(text))
				if err != nil || in.Active || in.Cause != tokenstore.ErrKeyMissing {
					t.Errorf("introspected: %+v, %v", in, err)
				}
				in, err = without.Recognise(t.Context(), tokenstore.NewSecret(text))
				if err != nil || in.Cause != tokenstore.ErrKeyMissing || !in.Token.ID.IsZero() {
					t.Errorf("recognised: %+v, %v", in, err)
				}
			}
		})
	}
	r.exchange(next.Secret)
	_, err := r.try(out.Secret)
	wantRefusal(t, err, tokenstore.ErrReused)
}

// TestPepperRetryAcrossRotation: a retry gets the same successor though the current key has changed in between, and an
// exchange that can't tell its outcome finds its commit.
func TestPepperRetryAcrossRotation(t *testing.T) {
	r := newRig(t, tokenstore.Options{Pepper: pepper(t, "a")})
	out := r.issue(request("ann"))
	r.brought(withSecret("f-1", "bob", opaque, r.now))
	for _, text := range []string{out.Secret.Reveal(), opaque} {
		r.spy.leaveUnknown(2)
		next, err := r.tryText(text)
		if err != nil {
			t.Fatal(err)
		}
		rotated := r.withPepper(pepper(t, "b", "a"))
		again, err := rotated.tryText(text)
		if err != nil || again.Secret.Reveal() != next.Secret.Reveal() || !again.Retried || again.Token.PepperKeyID != "a" {
			t.Errorf("%+v, %v; want the same secret, under the same key", again, err)
		}
		if last := rotated.exchange(next.Secret); last.Token.PepperKeyID != "b" {
			t.Errorf("the key is %q, want that which is current", last.Token.PepperKeyID)
		}
	}
}

// TestPepperLastUsed: a token that does not rotate gets new digests though its use need not be noted.
func TestPepperLastUsed(t *testing.T) {
	r := newRig(t, tokenstore.Options{LastUsedEvery: time.Hour})
	req := request("ann")
	req.Static = true
	secret := r.exchange(r.issue(req).Secret).Secret
	m, err := tokenstore.New(r.spy, &tokenstore.Options{Now: r.clock, LastUsedEvery: time.Hour, Pepper: pepper(t, "a")})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		out, err := m.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: "app"})
		if err != nil || out.Token.PepperKeyID != "a" {
			t.Errorf("%+v, %v", out, err)
		}
	}
}

func TestPepperUse(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	secrets := []tokenstore.Secret{r.issue(request("ann")).Secret, r.issue(request("ann")).Secret}
	a, b := r.withPepper(pepper(t, "a")), r.withPepper(pepper(t, "b", "a"))
	for range 150 {
		a.issue(request("bob"))
	}
	b.exchange(secrets[0])
	b.issue(request("cid"))
	use := func(r *rig) []tokenstore.PepperUse {
		t.Helper()
		uses, err := r.PepperUse(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return uses
	}
	for _, c := range []struct {
		rig  *rig
		want []tokenstore.PepperUse
	}{
		{b, []tokenstore.PepperUse{{Tokens: 1}, {KeyID: "a", Tokens: 150}, {KeyID: "b", Tokens: 2, Current: true}}},
		{r, []tokenstore.PepperUse{{Tokens: 1, Current: true}, {KeyID: "a", Tokens: 150, Missing: true}, {KeyID: "b", Tokens: 2, Missing: true}}},
		{r.withPepper(pepper(t, "c", "a", "b")), []tokenstore.PepperUse{{Tokens: 1}, {KeyID: "a", Tokens: 150}, {KeyID: "b", Tokens: 2}, {KeyID: "c", Current: true}}},
	} {
		if got := use(c.rig); !slices.Equal(got, c.want) {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
	_ = r.spy.Close()
	if _, err := b.PepperUse(t.Context()); !errors.Is(err, tokenstore.ErrClosed) {
		t.Error(err)
	}
}

func TestPepperShowsNothing(t *testing.T) {
	o := tokenstore.Options{Pepper: pepper(t, "z")}
	if shown := fmt.Sprintf("%v %+v %#v", o, &o, newRig(t, o).Manager); strings.Contains(shown, "zzzz") || strings.Contains(shown, "122 122") || strings.Contains(shown, "0x7a, 0x7a") {
		t.Error("options or a manager show a key")
	}
	_, err := tokenstore.NewPepperRing("z", map[string][]byte{"z": []byte("short-key")})
	wantField(t, err, "pepper_key")
	if strings.Contains(err.Error(), "short-key") {
		t.Error("an error shows a key")
	}
}
