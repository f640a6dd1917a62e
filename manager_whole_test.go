package tokenstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// TestRevoke100000: one write revokes 100,000 tokens. Every one of them is refused from then on, though every record is
// still there; then the sweep takes them all, slice by slice, and nothing else.
func TestRevoke100000(t *testing.T) {
	const n, maxSlice = 100_000, 250
	var last uint64
	slices, largest := 0, uint64(0)
	r := newRig(t, tokenstore.Options{Engine: revocation.Options{MaxSlice: maxSlice, Hold: time.Second, Events: revocation.Events{
		Swept: func(_ string, s store.Status) {
			slices, largest, last = slices+1, max(largest, s.Swept-last), s.Swept
		},
	}}})
	secrets := make([]tokenstore.Secret, n)
	var others []tokenstore.Secret
	for i := range secrets {
		r.wait(time.Millisecond)
		secrets[i] = r.issue(request("ann")).Secret
		if i%1000 == 0 {
			others = append(others, r.issue(request("bob")).Secret)
		}
	}

	writes := r.spy.count()
	receipt := r.revoke(tokenstore.Target{UserID: "ann"})
	if got := r.spy.count() - writes; got != 1 {
		t.Errorf("%d writes, want 1", got)
	}

	listed := 0
	for _, err := range r.All(t.Context(), tokenstore.ListRequest{UserID: "ann", Limit: 100}) {
		if err != nil {
			t.Fatal(err)
		}
		listed++
	}
	if s := r.state(); listed != n || s.Tokens != n+len(others) || s.Pending != 1 {
		t.Errorf("%d listed, %d tokens, %d pending; want all in place", listed, s.Tokens, s.Pending)
	}
	refused := 0
	for _, secret := range secrets {
		if _, err := r.try(secret); errors.Is(err, tokenstore.ErrRevoked) {
			refused++
		}
	}
	if refused != n {
		t.Errorf("%d of %d refused", refused, n)
	}

	status := r.run(receipt)[0]
	if status.Swept != n || !status.Retired || last != n {
		t.Errorf("swept %d, last seen %d, retired %v; want %d", status.Swept, last, status.Retired, n)
	}
	if largest > maxSlice || slices < n/maxSlice {
		t.Errorf("%d slices of up to %d tokens; want no more than %d each", slices, largest, maxSlice)
	}
	if s := r.state(); s.Tokens != len(others) || s.Pending != 0 {
		t.Errorf("%d tokens, %d pending; want the %d of the other user", s.Tokens, s.Pending, len(others))
	}
	for _, secret := range others {
		r.exchange(secret)
	}
}

// TestSecretsStaySecret plays a life with everything that can go wrong, and looks for any secret in what came out of it.
func TestSecretsStaySecret(t *testing.T) {
	var mu sync.Mutex
	var said bytes.Buffer
	say := func(args ...any) {
		mu.Lock()
		defer mu.Unlock()
		for _, arg := range args {
			fmt.Fprintf(&said, "%v %+v %#v\n", arg, arg, arg)
		}
	}
	logger := slog.New(slog.NewJSONHandler(&lockedWriter{&mu, &said}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := newRig(t, tokenstore.Options{Logger: logger, Engine: revocation.Options{RetryFrom: time.Millisecond, Events: revocation.Events{
		Revoked: func(tenant string, tombstone domain.Tombstone) { say(tenant, tombstone) },
		Swept:   func(tenant string, s store.Status) { say(tenant, s) },
		Retired: func(tenant string, s store.Status) { say(tenant, s) },
		Failed:  func(tenant string, ids []ulid.ULID, err error) { say(tenant, ids, err) },
	}}})
	ctx := t.Context()
	var secrets []tokenstore.Secret
	use := func(s tokenstore.Secret, client string) tokenstore.Secret {
		req := tokenstore.ExchangeRequest{Secret: s, ClientID: client}
		out, err := r.Exchange(ctx, req)
		say(req, out, err)
		logger.Info("exchange", "request", req, "answer", out, "error", err)
		seen, err := r.Introspect(ctx, s)
		say(seen, err)
		secrets = append(secrets, s)
		if out.Secret.Reveal() != "" {
			secrets = append(secrets, out.Secret)
		}
		return out.Secret
	}
	out := r.issue(request("ann"))
	say(out)
	logger.Info("issued", "token", out)
	next := use(out.Secret, "app")
	use(next, "another")
	use(tokenstore.NewSecret(next.Reveal()+"x"), "app")
	use(forge(t, out.Token.ID, 1), "app")
	use(next, "app")
	use(out.Secret, "app") // replay
	use(next, "app")
	r.spy.leaveUnknown(10)
	_, err := r.Issue(ctx, request("ann"))
	say(err)
	r.spy.leaveUnknown(0)
	bob := r.issue(request("bob"))
	r.wait(400 * 24 * time.Hour)
	use(bob.Secret, "app") // expired
	r.run(r.revoke(tokenstore.Target{Everything: true}))
	use(bob.Secret, "app")
	_ = r.spy.Close()
	use(bob.Secret, "app")
	say(r.Manager.Run(ctx))

	if len(secrets) < 12 || said.Len() < 5000 || !strings.Contains(said.String(), "[secret]") {
		t.Fatalf("only %d secrets and %d bytes", len(secrets), said.Len())
	}
	for _, secret := range secrets {
		text := secret.Reveal()
		for _, part := range []string{text, text[31:], text[38:64], text[64:]} { // all, the payload, its halves
			if strings.Contains(said.String(), part) {
				t.Errorf("a secret, or a part of %d characters, came out", len(part))
			}
		}
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	to *bytes.Buffer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

// TestClockStandsStill: what is issued and revoked in one instant is told apart by sequence.
func TestClockStandsStill(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	before := r.issue(request("ann"))
	receipt := r.revoke(tokenstore.Target{UserID: "ann"})
	after := r.issue(request("ann"))
	_, err := r.try(before.Secret)
	wantRefusal(t, err, tokenstore.ErrRevoked)
	next := r.exchange(after.Secret)
	r.run(receipt)
	r.exchange(next.Secret)
	if r.state().Tokens != 1 {
		t.Errorf("%d tokens, want 1", r.state().Tokens)
	}
}

// TestClockStepsBack: between issue and revoke, and between revoke and issue.
func TestClockStepsBack(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	before := r.issue(request("ann"))
	r.wait(-24 * time.Hour)
	receipt := r.revoke(tokenstore.Target{UserID: "ann"}) // asked for a day before the token was issued, says the clock
	_, err := r.try(before.Secret)
	wantRefusal(t, err, tokenstore.ErrRevoked)
	r.wait(-24 * time.Hour)
	after := r.issue(request("ann"))
	secret := r.exchange(after.Secret).Secret
	if status := r.run(receipt)[0]; status.Swept != 1 {
		t.Errorf("swept %d, want 1", status.Swept)
	}
	r.exchange(secret)
	// The token that has been swept was created after the revocation by the clock, and still can't be imported again.
	r.wait(72 * time.Hour)
	before.Token.Sequence = 0
	result := r.bring(before.Token)[0]
	wantRefusal(t, result.Err, tokenstore.ErrRevoked)
}

// TestClockOutOfRange: an instant that no record can hold is an error, not a record.
func TestClockOutOfRange(t *testing.T) {
	for _, year := range []int{-1, 1969, 10_000, 12_000, 300_000} {
		r := newRig(t, tokenstore.Options{})
		out := r.issue(request("ann"))
		r.now = time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)
		r.wantNoWrite(func() {
			_, err := r.Issue(t.Context(), request("ann"))
			wantField(t, err, "now")
			_, err = r.try(out.Secret)
			wantField(t, err, "now")
			for _, id := range []ulid.ULID{{}, {15: 1}} {
				_, err = r.Revoke(t.Context(), tokenstore.RevokeRequest{ID: id, Targets: []tokenstore.Target{{UserID: "ann"}}})
				wantField(t, err, "now")
			}
			late := foreign("f", "ann", r.now)
			if result := r.bring(late)[0]; !errors.Is(result.Err, tokenstore.ErrInvalid) {
				t.Errorf("year %d: import: %+v", year, result)
			}
		})
		r.now = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
		r.issue(request("ann")) // the last instant is in range
	}
}

// TestContextEnded: every call gives up, and writes nothing.
func TestContextEnded(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	out := r.issue(request("ann"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.wantNoWrite(func() {
		_, issue := r.Issue(ctx, request("ann"))
		_, exchange := r.Exchange(ctx, tokenstore.ExchangeRequest{Secret: out.Secret, ClientID: "app"})
		_, introspect := r.Introspect(ctx, out.Secret)
		_, revoke := r.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ann"}}})
		_, imported := r.Import(ctx, []tokenstore.RefreshToken{foreign("f", "ann", r.now)})
		_, metadata := r.UpdateMetadata(ctx, out.Token.ID, nil)
		_, list := r.List(ctx, tokenstore.ListRequest{})
		for i, err := range []error{issue, exchange, introspect, revoke, imported, metadata, list} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("call %d: %v, want context.Canceled", i, err)
			}
		}
	})
}
