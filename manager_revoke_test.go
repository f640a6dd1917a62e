package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

func TestRevokeIsIdempotent(t *testing.T) {
	onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
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
	})
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
	var heard atomic.Int32
	said := revocation.Events{Revoked: func(string, domain.Tombstone) { heard.Add(1) }}
	onBackends(t, tokenstore.Options{Engine: revocation.Options{Events: said}}, func(t *testing.T, r *rig) {
		out := r.issue(request("ann"))
		r.wantNoWrite(func() {
			receipt := r.revoke(tokenstore.Target{TokenID: ulid.Make()}, tokenstore.Target{TokenID: out.Token.ID, UserID: "bob"})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // nobody would retire it
			defer cancel()
			if status, err := r.Wait(ctx, receipt); err != nil || !status.Retired {
				t.Errorf("Wait = %+v, %v; want retired, with no engine running", status, err)
			}
		})
		if heard.Load() != 0 {
			t.Error("the host is told of a revocation that was not recorded")
		}
		r.exchange(out.Secret)
	})
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

// TestNotCommittedAfterUnknownOutcome: what is not committed says nothing of an attempt before it, which was.
func TestNotCommittedAfterUnknownOutcome(t *testing.T) {
	backend := &thenNotCommitted{Backend: memstore.New()}
	m, err := tokenstore.New(backend, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.Issue(t.Context(), request("ann"))
	if err != nil {
		t.Fatal(err)
	}
	backend.answers = []error{store.ErrUnknownOutcome, store.ErrNotCommitted, store.ErrNotCommitted}
	_, err = m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ann"}}})
	if !errors.Is(err, store.ErrUnknownOutcome) || errors.Is(err, store.ErrNotCommitted) {
		t.Errorf("error %v, want that the outcome is unknown, and not that nothing was committed", err)
	}
	if seen, err := m.Introspect(t.Context(), out.Secret); err != nil || seen.Active {
		t.Errorf("%+v, %v: the first attempt did not commit, so the test shows nothing", seen, err)
	}
}

// thenNotCommitted commits the first of some revocations, and answers as it is told.
type thenNotCommitted struct {
	store.Backend
	answers []error
}

func (b *thenNotCommitted) Tenant(name string) (store.Store, error) {
	st, err := b.Backend.Tenant(name)
	return thenNotCommittedStore{st, b}, err
}

type thenNotCommittedStore struct {
	store.Store
	backend *thenNotCommitted
}

func (s thenNotCommittedStore) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	answer := s.backend.answers[0]
	s.backend.answers = s.backend.answers[1:]
	if errors.Is(answer, store.ErrNotCommitted) {
		return store.Status{}, answer
	}
	_, err := s.Store.Revoke(ctx, r)
	return store.Status{}, errors.Join(err, answer)
}
