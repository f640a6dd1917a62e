package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
)

// TestS6Tenants: the same ids, users and sessions in two tenants have nothing to do with each other.
func TestS6Tenants(t *testing.T) {
	r := newRig(t, tokenstore.Options{Tenant: "a"})
	b, err := r.Tenant("b", nil)
	if err != nil {
		t.Fatal(err)
	}
	ours := r.issue(request("ann"))
	theirs, err := b.Issue(t.Context(), request("ann"))
	if err != nil {
		t.Fatal(err)
	}
	before, err := b.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: ours.Secret, ClientID: "app"}); !errors.Is(err, tokenstore.ErrUnknownToken) {
		t.Errorf("a secret of another tenant: %v", err)
	}
	if got, err := b.Introspect(t.Context(), ours.Secret); err != nil || got.Active {
		t.Errorf("a secret of another tenant: %+v, %v", got, err)
	}
	if _, err := b.Get(t.Context(), ours.Token.ID, tokenstore.Eventual); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("an id of another tenant: %v", err)
	}
	if preview, err := b.Preview(t.Context(), []tokenstore.Target{{TokenID: ours.Token.ID}}, 10); err != nil || preview.Matched != 0 {
		t.Errorf("a preview of another tenant: %+v, %v", preview, err)
	}
	everything := r.revoke(tokenstore.Target{Everything: true})
	session := r.revoke(tokenstore.Target{SessionID: "session-ann"})
	if _, err := b.Revocation(t.Context(), everything.ID()); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("a revocation of another tenant: %v", err)
	}
	r.run(everything, session)
	if after, err := b.State(t.Context()); err != nil || after != before {
		t.Errorf("state of the other tenant %+v, %v; want %+v", after, err, before)
	}
	if _, err := b.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: theirs.Secret, ClientID: "app"}); err != nil {
		t.Error(err)
	}
	if _, err := b.Issue(t.Context(), request("ann")); err != nil {
		t.Errorf("the session is dead in the other tenant only: %v", err)
	}
	if _, err := r.Issue(t.Context(), request("ann")); !errors.Is(err, tokenstore.ErrRevoked) {
		t.Errorf("the session is dead: %v", err)
	}
	if r.state().Tokens != 0 {
		t.Errorf("%d tokens, want none", r.state().Tokens)
	}
	one, _ := domain.ForeignTokenID("a", "f", r.now)
	if other, _ := domain.ForeignTokenID("b", "f", r.now); one == other {
		t.Error("a foreign token has the same id in two tenants")
	}
}

func TestTenantsHaveTheirOwnLegacyRule(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	us3 := tokenstore.US3()
	b, err := r.Tenant("b", &tokenstore.TenantOptions{Legacy: &us3})
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.Tenant("c", nil) // as its parent
	if err != nil {
		t.Fatal(err)
	}
	token := foreign("f", "ann", time.Date(2023, 12, 1, 0, 0, 0, 0, time.UTC))
	token.SessionID = tokenstore.SessionID{}
	for want, m := range map[string]*tokenstore.Manager{"refused": r.Manager, "imported by b": b, "imported by c": c} {
		results, err := m.Import(t.Context(), []tokenstore.RefreshToken{token})
		if err != nil || (results[0].Outcome == tokenstore.Imported) != strings.HasPrefix(want, "imported") {
			t.Errorf("%s: %+v, %v", want, results, err)
		}
	}
	if b.LegacyTarget() == r.LegacyTarget() {
		t.Error("both have the same cut-off")
	}
	_, err = r.Tenant("", nil)
	wantField(t, err, "tenant")
}

// TestOneRunServesAllTenants.
func TestOneRunServesAllTenants(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	b, err := r.Tenant("b", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Issue(t.Context(), request("ann")); err != nil {
		t.Fatal(err)
	}
	receipt, err := b.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ann"}}})
	if err != nil {
		t.Fatal(err)
	}
	r.wait(time.Minute)
	h, err := r.Health(t.Context())
	if err != nil || h.Pending != 1 || h.Tenants != 1 || h.OldestAge != time.Minute || h.Running {
		t.Errorf("Health = %+v, %v", h, err)
	}
	if status := r.run(receipt)[0]; status.Swept != 1 {
		t.Errorf("swept %d, want 1", status.Swept)
	}
}

func TestTenantsHaveTheirOwnPolicies(t *testing.T) {
	capped := func(n int) func(string) tokenstore.ClientPolicy {
		return func(string) tokenstore.ClientPolicy { return tokenstore.ClientPolicy{Cap: n, CapRefuse: true} }
	}
	r := newRig(t, tokenstore.Options{Client: capped(1)})
	b, err := r.Tenant("b", &tokenstore.TenantOptions{Client: capped(2)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.Tenant("c", &tokenstore.TenantOptions{}) // as its parent
	if err != nil {
		t.Fatal(err)
	}
	for m, want := range map[*tokenstore.Manager]int{r.Manager: 1, b: 2, c: 2} {
		issued := 0
		for range 3 {
			if _, err := m.Issue(t.Context(), request("ann")); err == nil {
				issued++
			} else if !errors.Is(err, tokenstore.ErrCap) {
				t.Fatal(err)
			}
		}
		if issued != want {
			t.Errorf("%d tokens issued, want %d", issued, want)
		}
	}
}

func TestTenantsAreListed(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	var want []string
	for i := range 250 {
		name := fmt.Sprintf("tenant-%03d", i)
		m, err := r.Tenant(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Issue(t.Context(), request("ann")); err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	var got []string
	for name, err := range r.Tenants(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d tenants listed, want %d in their order", len(got), len(want))
	}
	for name := range r.Tenants(t.Context()) {
		if name != want[0] {
			t.Errorf("the walk goes on to %q after it was left", name)
		}
		break
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range r.Tenants(ended) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a walk without a context: %v", err)
		}
	}
}

func TestRevocationsAreListed(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	var receipts []tokenstore.Receipt
	for _, user := range []string{"a", "b", "c"} {
		receipt, err := r.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: user}}})
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, receipt)
	}
	list := func(request tokenstore.RevocationsRequest) (users []string) {
		for {
			page, err := r.Revocations(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			for _, status := range page.Revocations {
				users = append(users, status.Tombstone.Targets[0].UserID)
			}
			if page.Next.IsZero() {
				slices.Sort(users) // ids of one instant come in any order
				return users
			}
			request.After = page.Next
		}
	}
	for _, limit := range []int{0, 1, 2, 100} {
		if got := list(tokenstore.RevocationsRequest{Limit: limit}); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("limit %d: pending are those of %v", limit, got)
		}
	}
	r.run(receipts...)
	if got := list(tokenstore.RevocationsRequest{}); len(got) != 0 {
		t.Errorf("pending are those of %v, want none", got)
	}
	if got := list(tokenstore.RevocationsRequest{Retired: true}); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("retired are those of %v", got)
	}
	_, err := r.Revocations(t.Context(), tokenstore.RevocationsRequest{Limit: 101})
	wantField(t, err, "limit")
}
