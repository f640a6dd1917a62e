package tokenstore_test

import (
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
)

func TestIssueChecksLimits(t *testing.T) {
	long := func(n int) string { return strings.Repeat("é", n) }
	for _, c := range []struct {
		field string
		spoil func(*tokenstore.IssueRequest)
	}{
		{"user_id", func(r *tokenstore.IssueRequest) { r.UserID = "" }},
		{"user_id", func(r *tokenstore.IssueRequest) { r.UserID = long(301) }},
		{"user_id", func(r *tokenstore.IssueRequest) { r.UserID = "a\x00b" }},
		{"user_id", func(r *tokenstore.IssueRequest) { r.UserID = "a\xff" }},
		{"client_id", func(r *tokenstore.IssueRequest) { r.ClientID = "" }},
		{"client_id", func(r *tokenstore.IssueRequest) { r.ClientID = long(65) }},
		{"session_id", func(r *tokenstore.IssueRequest) { r.SessionID = tokenstore.SessionID{} }},
		{"resource_servers", func(r *tokenstore.IssueRequest) { r.ResourceServers = make([]tokenstore.ResourceServer, 51) }},
		{"audience", func(r *tokenstore.IssueRequest) { r.ResourceServers = make([]tokenstore.ResourceServer, 1) }},
		{"scopes", func(r *tokenstore.IssueRequest) {
			r.ResourceServers = []tokenstore.ResourceServer{{Audience: "api", Scopes: long(4001)}}
		}},
		{"refresh_token_metadata", func(r *tokenstore.IssueRequest) { r.Metadata = map[string]string{"no space": ""} }},
		{"refresh_token_metadata", func(r *tokenstore.IssueRequest) { r.Metadata = map[string]string{"k": long(256)} }},
		{"initial_ip", func(r *tokenstore.IssueRequest) { r.Device.InitialIP = long(65) }},
		{"confirmation", func(r *tokenstore.IssueRequest) { r.Confirmation.Kind = "other" }},
		{"authenticated_at", func(r *tokenstore.IssueRequest) { r.AuthenticatedAt = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"lifetime", func(r *tokenstore.IssueRequest) { r.Lifetime = tokenstore.Lifetime(-time.Second) }},
		{"idle_lifetime", func(r *tokenstore.IssueRequest) { r.IdleLifetime = tokenstore.Lifetime(-time.Second) }},
	} {
		r := newRig(t, tokenstore.Options{})
		req := request("ann")
		c.spoil(&req)
		r.wantNoWrite(func() {
			_, err := r.Issue(t.Context(), req)
			wantField(t, err, c.field)
		})
	}
	r := newRig(t, tokenstore.Options{})
	req := request("ann")
	req.UserID, req.ClientID = long(300), long(64) // characters, not bytes
	r.issue(req)
}

func TestOptionsAreChecked(t *testing.T) {
	backend := newRig(t, tokenstore.Options{}).spy
	for field, opts := range map[string]tokenstore.Options{
		"tenant":        {Tenant: strings.Repeat("x", 101)},
		"lifetime":      {Lifetime: -2},
		"idle_lifetime": {IdleLifetime: -2},
	} {
		_, err := tokenstore.New(backend, &opts)
		wantField(t, err, field)
	}
	if _, err := tokenstore.New(backend, nil); err != nil {
		t.Error(err)
	}
}

func TestIssueKeepsTheLegacyRule(t *testing.T) {
	between := time.Date(2023, 12, 1, 0, 0, 0, 0, time.UTC) // a legacy instant in the US-3 region only
	for _, c := range []struct {
		name    string
		rule    tokenstore.LegacyRule
		now     time.Time
		session bool
		ok      bool
	}{
		{"before the cut-off, null", tokenstore.LegacyRule{}, time.Unix(1695254399, 0), false, true},
		{"before the cut-off, a session", tokenstore.LegacyRule{}, time.Unix(1695254399, 0), true, false},
		{"at the cut-off, null", tokenstore.LegacyRule{}, time.Unix(1695254400, 0), false, false},
		{"at the cut-off, a session", tokenstore.LegacyRule{}, time.Unix(1695254400, 0), true, true},
		{"after it, null", tokenstore.LegacyRule{}, between, false, false},
		{"after it, null, where grants without a session exist", tokenstore.LegacyRule{AllowNoSession: true}, between, false, true},
		{"US-3: before its cut-off, null", tokenstore.US3(), between, false, true},
		{"US-3: before its cut-off, a session", tokenstore.US3(), between, true, false},
		{"US-3: at its cut-off, a session", tokenstore.US3(), time.Unix(1708560000, 0), true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, tokenstore.Options{Legacy: c.rule})
			r.now = c.now
			req := request("ann")
			if !c.session {
				req.SessionID = tokenstore.SessionID{}
			}
			_, err := r.Issue(t.Context(), req)
			if !c.ok {
				wantField(t, err, "session_id")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLifetimes(t *testing.T) {
	const hour = tokenstore.Lifetime(time.Hour)
	for _, c := range []struct {
		name           string
		opts           tokenstore.Options
		lifetime, idle tokenstore.Lifetime
		wantLife       time.Duration // 0 for never
		wantIdle       time.Duration
	}{
		{"defaults", tokenstore.Options{}, 0, 0, 31_557_600 * time.Second, 2_592_000 * time.Second},
		{"options", tokenstore.Options{Lifetime: 2 * hour, IdleLifetime: hour}, 0, 0, 2 * time.Hour, time.Hour},
		{"shorter for one token", tokenstore.Options{}, hour, hour / 2, time.Hour, time.Hour / 2},
		{"never", tokenstore.Options{Lifetime: tokenstore.Never}, 0, tokenstore.Never, 0, 0},
		{"not never for one token", tokenstore.Options{Lifetime: tokenstore.Never, IdleLifetime: tokenstore.Never}, hour, 0, time.Hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.opts)
			req := request("ann")
			req.Lifetime, req.IdleLifetime = c.lifetime, c.idle
			token := r.issue(req).Token
			for what, pair := range map[string]struct {
				got  time.Time
				want time.Duration
			}{"expires_at": {token.ExpiresAt, c.wantLife}, "idle_expires_at": {token.IdleExpiresAt, c.wantIdle}} {
				if pair.want == 0 && !pair.got.IsZero() || pair.want > 0 && !pair.got.Equal(r.now.Add(pair.want)) {
					t.Errorf("%s = %v, want %v from now", what, pair.got, pair.want)
				}
			}
		})
	}
}

func TestIssueOfUnknownOutcome(t *testing.T) {
	for unknown := range 4 {
		r := newRig(t, tokenstore.Options{})
		r.spy.leaveUnknown(unknown)
		out, err := r.Issue(t.Context(), request("ann"))
		if unknown == 3 {
			if !errors.Is(err, tokenstore.ErrUnknownOutcome) {
				t.Errorf("%d times: %v, want ErrUnknownOutcome", unknown, err)
			}
			continue
		}
		if err != nil || r.state().Tokens != 1 || out.Token.Sequence != 1 {
			t.Fatalf("%d times: %+v, %v; want the one token", unknown, out.Token, err)
		}
		r.exchange(out.Secret)
	}
}

// oneID draws the same id again and again, and what is secret at random.
type oneID struct{}

func (oneID) Read(p []byte) (int, error) {
	if len(p) == 10 { // the random part of a ULID
		clear(p)
		return len(p), nil
	}
	return rand.Read(p)
}

// TestIssueOfATakenID: the token that has the id is not taken for an earlier attempt, not even after one.
func TestIssueOfATakenID(t *testing.T) {
	for unknown := range 2 {
		r := newRig(t, tokenstore.Options{Rand: oneID{}})
		first := r.issue(request("ann"))
		r.spy.leaveUnknown(unknown)
		if out, err := r.Issue(t.Context(), request("ann")); !errors.Is(err, tokenstore.ErrExists) {
			t.Errorf("issued %v, error %v, want ErrExists", out.Token.ID, err)
		}
		if n := r.state().Tokens; n != 1 {
			t.Errorf("%d tokens, want 1", n)
		}
		r.exchange(first.Secret)
	}
}

func TestRandomnessFails(t *testing.T) {
	r := newRig(t, tokenstore.Options{Rand: brokenRand{}})
	r.wantNoWrite(func() {
		if _, err := r.Issue(t.Context(), request("ann")); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Issue = %v", err)
		}
		if _, err := r.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{Everything: true}}}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Revoke = %v", err)
		}
	})
}
