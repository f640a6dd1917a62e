package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
)

// TestCauses: every cause of a refusal as a host meets it, each a typed error with the state it needs, and one answer for
// the client.
func TestCauses(t *testing.T) {
	key := tokenstore.Confirmation{Kind: "jkt", Value: "thumbprint"}
	exchange := func(r *rig, s tokenstore.Secret, client string, key tokenstore.Confirmation) error {
		_, err := r.Exchange(r.Context(), tokenstore.ExchangeRequest{Secret: s, ClientID: client, Confirmation: key})
		return err
	}
	again := func(r *rig, s tokenstore.Secret) tokenstore.Secret {
		r.Helper()
		out, err := r.Exchange(r.Context(), tokenstore.ExchangeRequest{Secret: s, ClientID: "app", Confirmation: key})
		if err != nil {
			r.Fatal(err)
		}
		return out.Secret
	}
	cases := map[tokenstore.Refusal]func(r *rig, s tokenstore.Secret) error{
		tokenstore.ErrMalformed: func(r *rig, s tokenstore.Secret) error {
			return exchange(r, tokenstore.NewSecret(s.Reveal()+"x"), "app", key)
		},
		tokenstore.ErrUnknownToken: func(r *rig, s tokenstore.Secret) error {
			return exchange(r, newRig(r.T, tokenstore.Options{}).issue(request("ann")).Secret, "app", key)
		},
		tokenstore.ErrWrongClient:  func(r *rig, s tokenstore.Secret) error { return exchange(r, s, "another", key) },
		tokenstore.ErrConfirmation: func(r *rig, s tokenstore.Secret) error { return exchange(r, s, "app", tokenstore.Confirmation{}) },
		tokenstore.ErrRevoked: func(r *rig, s tokenstore.Secret) error {
			r.revoke(tokenstore.Target{UserID: "ann"})
			return exchange(r, s, "app", key)
		},
		tokenstore.ErrExpired: func(r *rig, s tokenstore.Secret) error {
			r.wait(48 * time.Hour)
			return exchange(r, s, "app", key)
		},
		tokenstore.ErrIdleExpired: func(r *rig, s tokenstore.Secret) error {
			r.wait(24 * time.Hour)
			return exchange(r, s, "app", key)
		},
		tokenstore.ErrReused: func(r *rig, s tokenstore.Secret) error {
			again(r, again(r, s))
			return exchange(r, s, "app", key)
		},
		tokenstore.ErrRetryLimit: func(r *rig, s tokenstore.Secret) error {
			again(r, s)
			again(r, s)
			return exchange(r, s, "app", key)
		},
		tokenstore.ErrAhead: func(r *rig, s tokenstore.Secret) error {
			st, _ := r.spy.Tenant("default")
			old := r.live("ann")[0]
			next := again(r, s)
			_ = st.Update(r.Context(), old.ID, func(store.View) store.Decision { return store.Decision{Next: &old} })
			return exchange(r, next, "app", key)
		},
		tokenstore.ErrKeyMissing: func(r *rig, s tokenstore.Secret) (err error) {
			st, _ := r.spy.Tenant("default")
			next := again(r, s)
			keyed := r.live("ann")[0]
			keyed.PepperKeyID = "2026-11"
			_ = st.Update(r.Context(), keyed.ID, func(store.View) store.Decision { return store.Decision{Next: &keyed} })
			r.wantNoWrite(func() {
				_ = exchange(r, s, "app", key) // not even replay
				err = exchange(r, next, "app", key)
			})
			return err
		},
		tokenstore.ErrBeyondMemory: func(r *rig, _ tokenstore.Secret) error {
			r.run(r.revoke(tokenstore.Target{UserID: "ann"}))
			st, _ := r.spy.Tenant("default")
			r.wait(time.Hour)
			_, _ = st.Trim(r.Context(), store.Trim{Guards: r.clock(), Limit: 10})
			req := request("bob")
			req.AsOf = tokenstore.AsOfTime(r.clock().Add(-2*time.Hour), 0)
			_, err := r.Issue(r.Context(), req)
			return err
		},
	}
	for name := range exportedErrors(t) {
		if cause, ok := refusals[name]; ok && cases[cause] == nil {
			t.Errorf("%s is no case of this test", name)
		}
	}
	told := tokenstore.ForClient(tokenstore.ErrUnknownToken)
	for _, cause := range slices.Sorted(maps.Keys(cases)) {
		t.Run(string(cause), func(t *testing.T) {
			r := newRig(t, tokenstore.Options{Lifetime: 2 * day, IdleLifetime: day, RetryLimit: 1})
			req := request("ann")
			req.Confirmation = key
			err := cases[cause](r, r.issue(req).Secret)
			wantRefusal(t, err, cause)
			if refusal, ok := errors.AsType[tokenstore.Refusal](err); !ok || refusal != cause {
				t.Errorf("error %v is no Refusal of %q", err, cause)
			}
			if got := tokenstore.ForClient(err); got != told {
				t.Errorf("the client is told %+v, and of another cause %+v", got, told)
			}
		})
	}
}

var refusals = map[string]tokenstore.Refusal{
	"ErrMalformed": tokenstore.ErrMalformed, "ErrUnknownToken": tokenstore.ErrUnknownToken,
	"ErrWrongClient": tokenstore.ErrWrongClient, "ErrConfirmation": tokenstore.ErrConfirmation,
	"ErrRevoked": tokenstore.ErrRevoked, "ErrExpired": tokenstore.ErrExpired, "ErrIdleExpired": tokenstore.ErrIdleExpired,
	"ErrReused": tokenstore.ErrReused, "ErrRetryLimit": tokenstore.ErrRetryLimit, "ErrAhead": tokenstore.ErrAhead,
	"ErrBeyondMemory": tokenstore.ErrBeyondMemory, "ErrKeyMissing": tokenstore.ErrKeyMissing,
}

// TestForClient: what a client may be told of every error that the package exports, as it is and wrapped.
func TestForClient(t *testing.T) {
	grant := tokenstore.ClientError{Code: "invalid_grant", Description: "Unknown or invalid refresh token.", Status: http.StatusBadRequest}
	later := tokenstore.ClientError{Code: "temporarily_unavailable", Description: "Try again later.", Status: http.StatusServiceUnavailable}
	malformed := tokenstore.ClientError{Code: "invalid_request", Description: "The request is malformed.", Status: http.StatusBadRequest}
	type told struct {
		err  error
		want tokenstore.ClientError
	}
	cases := map[string]told{
		"ErrInvalidGrant":    {tokenstore.ErrInvalidGrant, grant},
		"ErrCap":             {tokenstore.ErrCap, grant},
		"ErrInvalid":         {tokenstore.ErrInvalid, malformed},
		"ErrNotFound":        {tokenstore.ErrNotFound, later},
		"ErrExists":          {tokenstore.ErrExists, later},
		"ErrDigestTaken":     {tokenstore.ErrDigestTaken, later},
		"ErrConflict":        {tokenstore.ErrConflict, later},
		"ErrBusy":            {tokenstore.ErrBusy, later},
		"ErrCursorGone":      {tokenstore.ErrCursorGone, later},
		"ErrClosed":          {tokenstore.ErrClosed, later},
		"ErrOccupied":        {tokenstore.ErrOccupied, later},
		"ErrChanged":         {tokenstore.ErrChanged, later},
		"ErrEventsMissing":   {tokenstore.ErrEventsMissing, later},
		"ErrOtherEvents":     {tokenstore.ErrOtherEvents, later},
		"ErrUnfinished":      {tokenstore.ErrUnfinished, later},
		"ErrNamelessErasure": {tokenstore.ErrNamelessErasure, later},
		"ErrNotCommitted":    {tokenstore.ErrNotCommitted, later},
		"ErrUnknownOutcome":  {tokenstore.ErrUnknownOutcome, later},
		"ErrRunning":         {tokenstore.ErrRunning, later},
	}
	for name, cause := range refusals {
		cases[name] = told{cause, grant}
	}
	for name := range exportedErrors(t) {
		c, ok := cases[name]
		if !ok {
			t.Errorf("%s is no case of this test", name)
		}
		for _, err := range []error{c.err, fmt.Errorf("wrapped: %w", c.err), errors.Join(io.EOF, c.err)} {
			if got := tokenstore.ForClient(err); got != c.want {
				t.Errorf("%s: the client is told %+v, want %+v", name, got, c.want)
			}
		}
	}
	for _, err := range []error{io.ErrUnexpectedEOF, context.Canceled, context.DeadlineExceeded} {
		if got := tokenstore.ForClient(err); got != later {
			t.Errorf("%v: the client is told %+v, want %+v", err, got, later)
		}
	}
	broken := &tokenstore.FieldError{Field: "last_ip", Limit: "0..64 characters", Size: 65}
	if got := tokenstore.ForClient(broken); got != malformed {
		t.Errorf("the client is told %+v, want %+v", got, malformed)
	}
}

// TestReplayReach: what a replay revokes beside the token, and that a thousand replays of one secret record it once.
func TestReplayReach(t *testing.T) {
	for _, c := range []struct {
		name  string
		reach tokenstore.ReplayReach
		null  bool // the token has no session
		want  []tokenstore.Target
		live  string // what is left of the tokens below
	}{
		{"token", tokenstore.ReplayToken, false, []tokenstore.Target{{}}, "same session, other session, no session, other user"},
		{"session", tokenstore.ReplaySession, false, []tokenstore.Target{{}, {SessionID: "s1"}}, "other session, no session, other user"},
		{"session, of a token without one", tokenstore.ReplaySession, true, []tokenstore.Target{{}}, "same session, other session, no session, other user"},
		{"user", tokenstore.ReplayUser, false, []tokenstore.Target{{UserID: "ann"}}, "other user"},
		{"user, of a token without a session", tokenstore.ReplayUser, true, []tokenstore.Target{{UserID: "ann"}}, "other user"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, tokenstore.Options{Replay: c.reach, Legacy: tokenstore.LegacyRule{AllowNoSession: true}})
			grant := func(user, session string) tokenstore.Issued {
				req := tokenstore.IssueRequest{UserID: user, ClientID: "app"}
				if session != "" {
					req.SessionID = tokenstore.MustSessionID(session)
				}
				return r.issue(req)
			}
			session := "s1"
			if c.null {
				session = ""
			}
			out := grant("ann", session)
			others := map[string]tokenstore.Issued{
				"same session": grant("ann", "s1"), "other session": grant("ann", "s2"),
				"no session": grant("ann", ""), "other user": grant("bob", "s3"),
			}
			r.exchange(r.exchange(out.Secret).Secret)
			writes := r.spy.count()
			for i := range 1000 {
				want := tokenstore.ErrRevoked
				if i == 0 {
					want = tokenstore.ErrReused
				}
				if _, err := r.try(out.Secret); err != want {
					t.Fatalf("replay %d: %v, want %v", i, err, want)
				}
			}
			st, _ := r.spy.Tenant("default")
			page, err := st.Revocations(t.Context(), store.RevocationQuery{Limit: 2})
			if err != nil || len(page.Revocations) != 1 || r.spy.count() != writes+1 {
				t.Fatalf("%d revocations by %d writes, %v; want one", len(page.Revocations), r.spy.count()-writes, err)
			}
			got := page.Revocations[0].Tombstone
			want := slices.Clone(c.want)
			if want[0] == (tokenstore.Target{}) {
				want[0].TokenID = out.Token.ID
			}
			if !slices.Equal(got.Targets, want) || got.Reason != tokenstore.ReasonReuse {
				t.Errorf("revoked %+v for %q, want %+v", got.Targets, got.Reason, want)
			}
			left := ""
			for _, name := range []string{"same session", "other session", "no session", "other user"} {
				if _, err := r.try(others[name].Secret); err == nil {
					left += ", " + name
				}
			}
			if left != ", "+c.live {
				t.Errorf("left %q, want %q", left, c.live)
			}
			r.run(tokenstore.Receipt{Tenant: "default", Status: page.Revocations[0]})
			_, err = r.try(out.Secret)
			wantRefusal(t, err, tokenstore.ErrUnknownToken) // swept: nothing is left to know it by
			if s := r.state(); s.Pending != 0 || s.History != 1 {
				t.Errorf("state %+v, want that one revocation, retired", s)
			}
		})
	}
}

// TestReplayReachIsChecked: there are three.
func TestReplayReachIsChecked(t *testing.T) {
	_, err := tokenstore.New(newRig(t, tokenstore.Options{}).spy, &tokenstore.Options{Replay: 3})
	wantField(t, err, "replay")
}
