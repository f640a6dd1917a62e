package tokenstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

// TestRevokeTargets: each kind of target on the same six tokens, told by their names, and what a preview says of it.
func TestRevokeTargets(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	cutOff := noon.Add(time.Hour) // of a tenant that got sessions late
	tokens := []struct {
		name, client, session, audience string
		offline                         bool
		at                              time.Duration
	}{
		{"ann", "app", "", "api", false, 0},
		{"ann", "web", "s1", "api other", true, 2 * time.Hour},
		{"ann", "app", "s1", "", false, 3 * time.Hour},
		{"bob", "app", "s2", "other", true, 4 * time.Hour},
		{"bob", "web", "", "", false, 30 * time.Minute},
		{"eve", "app", "s1", "api", false, 5 * time.Hour},
	}
	for _, c := range []struct {
		name    string
		targets func(ids []ulid.ULID) []tokenstore.Target
		want    string // the numbers of the tokens that go
	}{
		{"one token", one(func(ids []ulid.ULID) tokenstore.Target { return tokenstore.Target{TokenID: ids[1]} }), "1"},
		{"one token, of another user", one(func(ids []ulid.ULID) tokenstore.Target { return tokenstore.Target{TokenID: ids[1], UserID: "bob"} }), ""},
		{"user", one(func([]ulid.ULID) tokenstore.Target { return tokenstore.Target{UserID: "ann"} }), "0 1 2"},
		{"client", one(func([]ulid.ULID) tokenstore.Target { return tokenstore.Target{ClientID: "web"} }), "1 4"},
		{"session", one(func([]ulid.ULID) tokenstore.Target { return tokenstore.Target{SessionID: "s1"} }), "1 2 5"},
		{"session, sparing offline access", one(func([]ulid.ULID) tokenstore.Target {
			return tokenstore.Target{SessionID: "s1", Offline: tokenstore.OfflineNo}
		}), "2 5"},
		{"session, offline access only", one(func([]ulid.ULID) tokenstore.Target {
			return tokenstore.Target{SessionID: "s1", Offline: tokenstore.OfflineYes}
		}), "1"},
		{"audience", one(func([]ulid.ULID) tokenstore.Target { return tokenstore.Target{Audience: "api"} }), "0 1 5"},
		{"issued before", one(func([]ulid.ULID) tokenstore.Target { return tokenstore.Target{IssuedBefore: noon.Add(3 * time.Hour)} }), "0 1 4"},
		{"legacy", one(func([]ulid.ULID) tokenstore.Target { return tokenstore.Target{LegacyBefore: cutOff} }), "0 4"},
		{"user and client", one(func([]ulid.ULID) tokenstore.Target { return tokenstore.Target{UserID: "ann", ClientID: "app"} }), "0 2"},
		{"user, client and audience", one(func([]ulid.ULID) tokenstore.Target {
			return tokenstore.Target{UserID: "ann", ClientID: "app", Audience: "api"}
		}), "0"},
		{"everything", one(func([]ulid.ULID) tokenstore.Target { return tokenstore.Target{Everything: true} }), "0 1 2 3 4 5"},
		{"several, overlapping", func(ids []ulid.ULID) []tokenstore.Target {
			return []tokenstore.Target{{TokenID: ids[0]}, {TokenID: ids[3]}, {SessionID: "s1", UserID: "ann"}, {UserID: "ann"}}
		}, "0 1 2 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, tokenstore.Options{Legacy: tokenstore.LegacyRule{CutOff: cutOff}})
			var ids []ulid.ULID
			var secrets []tokenstore.Secret
			for _, spec := range tokens {
				r.now = noon.Add(spec.at)
				req := tokenstore.IssueRequest{UserID: spec.name, ClientID: spec.client, Offline: spec.offline}
				if spec.session != "" {
					req.SessionID = tokenstore.MustSessionID(spec.session)
				}
				for _, audience := range strings.Fields(spec.audience) {
					req.ResourceServers = append(req.ResourceServers, tokenstore.ResourceServer{Audience: audience})
				}
				out := r.issue(req)
				ids, secrets = append(ids, out.Token.ID), append(secrets, out.Secret)
			}
			targets := c.targets(ids)
			want := len(strings.Fields(c.want))
			preview, err := r.Preview(t.Context(), targets, 100)
			if err != nil || preview.Matched != want || !preview.Complete {
				t.Errorf("preview %+v, %v; want %d", preview, err, want)
			}
			receipt := r.revoke(targets...)
			var gone []string
			for i, secret := range secrets {
				if _, err := r.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: tokens[i].client}); err != nil {
					wantRefusal(t, err, tokenstore.ErrRevoked)
					gone = append(gone, fmt.Sprint(i))
				}
			}
			if got := strings.Join(gone, " "); got != c.want {
				t.Errorf("refused %q, want %q", got, c.want)
			}
			if status := r.run(receipt)[0]; int(status.Swept) != want || r.state().Tokens != len(tokens)-want {
				t.Errorf("swept %d, %d left; want %d swept", status.Swept, r.state().Tokens, want)
			}
			if preview, err := r.Preview(t.Context(), targets, 100); err != nil || preview.Matched != 0 {
				t.Errorf("preview after the sweep: %+v, %v", preview, err)
			}
		})
	}
}

func one(target func([]ulid.ULID) tokenstore.Target) func([]ulid.ULID) []tokenstore.Target {
	return func(ids []ulid.ULID) []tokenstore.Target { return []tokenstore.Target{target(ids)} }
}

func TestRevokeIsIdempotent(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	r.issue(request("ann"))
	req := tokenstore.RevokeRequest{ID: ulid.Make(), Targets: []tokenstore.Target{{UserID: "ann"}}, Reason: "first", Actor: "root"}
	first, err := r.Revoke(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	later := r.issue(request("ann"))
	req.Reason = "second"
	again, err := r.Revoke(t.Context(), req)
	if err != nil || again.Status.Tombstone.Watermark != first.Status.Tombstone.Watermark || again.Status.Tombstone.Reason != "first" {
		t.Errorf("repeated: %+v, %v; want the first as it is", again.Status, err)
	}
	r.exchange(later.Secret)
	r.run(first, again)
	if retired, err := r.Revoke(t.Context(), req); err != nil || !retired.Status.Retired || retired.Status.Swept != 1 {
		t.Errorf("repeated after the sweep: %+v, %v", retired.Status, err)
	}
	req.Targets = []tokenstore.Target{{UserID: "bob"}}
	r.wantNoWrite(func() {
		if _, err := r.Revoke(t.Context(), req); !errors.Is(err, tokenstore.ErrConflict) {
			t.Errorf("other targets: %v, want ErrConflict", err)
		}
	})
	if status, err := r.Revocation(t.Context(), first.ID()); err != nil || !status.Retired || status.Tombstone.Actor != "root" {
		t.Errorf("Revocation = %+v, %v", status, err)
	}
	if _, err := r.Revocation(t.Context(), ulid.Make()); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("Revocation = %v, want ErrNotFound", err)
	}
}

func TestRevokeOfUnknownOutcome(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	r.issue(request("ann"))
	r.spy.leaveUnknown(2)
	receipt, err := r.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ann"}}})
	if err != nil || r.state().Pending != 1 {
		t.Fatalf("%+v, %v, %d pending; want one", receipt, err, r.state().Pending)
	}
	r.run(receipt)
}

func TestRevokeBusy(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	var receipts []tokenstore.Receipt
	for i := range 64 {
		receipts = append(receipts, r.revoke(tokenstore.Target{Audience: fmt.Sprint("api", i)}))
	}
	r.wantNoWrite(func() {
		_, err := r.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{Everything: true}}})
		if !errors.Is(err, tokenstore.ErrBusy) {
			t.Errorf("one more: %v, want ErrBusy", err)
		}
	})
	r.revoke(tokenstore.Target{UserID: "ann"}, tokenstore.Target{ClientID: "app"}) // these have an anchor
	r.revoke(tokenstore.Target{Audience: "api0"})                                  // and this one takes another's place
	r.run(receipts...)
	r.revoke(tokenstore.Target{Everything: true})
}

func TestRevokeNothingThere(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	out := r.issue(request("ann"))
	r.wantNoWrite(func() {
		receipt := r.revoke(tokenstore.Target{TokenID: ulid.Make()}, tokenstore.Target{TokenID: out.Token.ID, UserID: "bob"})
		if status, err := r.Wait(t.Context(), receipt); err != nil || !status.Retired {
			t.Errorf("Wait = %+v, %v; want retired, with no engine running", status, err)
		}
	})
	r.exchange(out.Secret)
}

func TestRevokeChecksLimits(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	everything := tokenstore.Target{Everything: true}
	for _, c := range []struct {
		field string
		req   tokenstore.RevokeRequest
	}{
		{"targets", tokenstore.RevokeRequest{}},
		{"targets", tokenstore.RevokeRequest{Targets: make([]tokenstore.Target, 101)}},
		{"target", tokenstore.RevokeRequest{Targets: make([]tokenstore.Target, 1)}},
		{"target", tokenstore.RevokeRequest{Targets: []tokenstore.Target{{Everything: true, UserID: "ann"}}}},
		{"offline", tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ann", Offline: 3}}}},
		{"audience", tokenstore.RevokeRequest{Targets: []tokenstore.Target{{Audience: strings.Repeat("x", 601)}}}},
		{"reason", tokenstore.RevokeRequest{Targets: []tokenstore.Target{everything}, Reason: strings.Repeat("x", 201)}},
		{"actor", tokenstore.RevokeRequest{Targets: []tokenstore.Target{everything}, Actor: strings.Repeat("x", 301)}},
	} {
		r.wantNoWrite(func() {
			_, err := r.Revoke(t.Context(), c.req)
			wantField(t, err, c.field)
		})
	}
}

// TestLegacyTarget: the cut-off is frozen in the target, and is the tenant's own.
func TestLegacyTarget(t *testing.T) {
	for cutOff, rule := range map[int64]tokenstore.LegacyRule{1695254400: {}, 1708560000: tokenstore.US3()} {
		r := newRig(t, tokenstore.Options{Legacy: rule})
		now := r.now
		r.now = time.Unix(cutOff-1, 0)
		legacy := r.issue(tokenstore.IssueRequest{UserID: "ann", ClientID: "app"})
		r.now = now
		modern := r.issue(request("ann"))
		if target := r.LegacyTarget(); target != (tokenstore.Target{LegacyBefore: time.Unix(cutOff, 0).UTC()}) {
			t.Errorf("LegacyTarget = %+v", target)
		}
		receipt := r.revoke(r.LegacyTarget())
		_, err := r.try(legacy.Secret)
		wantRefusal(t, err, tokenstore.ErrRevoked)
		r.exchange(modern.Secret)
		if status := r.run(receipt)[0]; status.Swept != 1 {
			t.Errorf("swept %d, want 1", status.Swept)
		}
	}
}
