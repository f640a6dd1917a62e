package tokenstore_test

import (
	"errors"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
)

func TestEraseUser(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	ann := r.issue(request("ann"))
	bob := r.issue(request("bob"))
	earlier, err := r.Revoke(t.Context(), tokenstore.RevokeRequest{
		Targets: []tokenstore.Target{{UserID: "ann", ClientID: "other"}}, Reason: "ann has lost her phone", Actor: "ann",
	})
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := r.Erase(t.Context(), tokenstore.EraseRequest{UserID: "ann", Actor: "clerk"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.try(ann.Secret); !errors.Is(err, tokenstore.ErrRevoked) {
		t.Errorf("an exchange of what is being erased: %v", err)
	}
	statuses := r.run(earlier, receipt)
	if s := statuses[1]; !s.Retired || s.Swept != 1 || s.Tombstone.Targets[0].UserID == "ann" || s.Tombstone.Actor != "clerk" {
		t.Errorf("the erasure ends as %+v", s)
	}
	got, err := r.Revocation(t.Context(), earlier.ID())
	if err != nil || got.Tombstone.Targets[0].UserID == "ann" || got.Tombstone.Actor == "ann" || got.Tombstone.Reason != "" {
		t.Errorf("what was recorded before still tells of her: %+v, %v", got, err)
	}
	if _, err := r.try(bob.Secret); err != nil {
		t.Errorf("another user: %v", err)
	}
	again := request("ann")
	again.AsOf = tokenstore.AsOfSequence(ann.Token.Sequence)
	if _, err := r.Issue(t.Context(), again); !errors.Is(err, tokenstore.ErrRevoked) {
		t.Errorf("a login from before the erasure issues: %v", err)
	}
	again.AsOf = tokenstore.AsOf{}
	if _, err := r.Issue(t.Context(), again); err != nil {
		t.Errorf("she comes back: %v", err)
	}
	repeated, err := r.Erase(t.Context(), tokenstore.EraseRequest{ID: receipt.ID(), UserID: "ann"})
	if err != nil || !repeated.Status.Retired {
		t.Errorf("a repeated erasure: %+v, %v", repeated, err)
	}
}

func TestEraseTenant(t *testing.T) {
	r := newRig(t, tokenstore.Options{Tenant: "a"})
	b, err := r.CreateTenant(t.Context(), "b", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.CreateTenant(t.Context(), "b", nil); !errors.Is(err, tokenstore.ErrExists) {
		t.Errorf("a tenant that is there is created: %v", err)
	}
	wrong := domain.DevicePolicy(9)
	_, err = r.CreateTenant(t.Context(), "c", &tokenstore.TenantOptions{Device: &wrong})
	wantField(t, err, "device")
	for name := range r.Tenants(t.Context()) {
		if name == "c" {
			t.Error("a tenant is created though its options are wrong")
		}
	}
	kept := r.issue(request("ann"))
	old, err := b.Issue(t.Context(), request("ann"))
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := b.Erase(t.Context(), tokenstore.EraseRequest{Everything: true})
	if err != nil {
		t.Fatal(err)
	}
	if status := r.run(receipt)[0]; !status.Retired {
		t.Errorf("the erasure ends as %+v", status)
	}
	state, err := b.State(t.Context())
	if err != nil || state.Tokens+state.Pending+state.Guards+state.History != 0 {
		t.Errorf("an erased tenant holds %+v, %v", state, err)
	}
	for name := range r.Tenants(t.Context()) {
		if name == "b" {
			t.Error("an erased tenant is listed")
		}
	}
	results, err := b.Import(t.Context(), []tokenstore.RefreshToken{old.Token})
	if err != nil || !errors.Is(results[0].Err, tokenstore.ErrBeyondMemory) {
		t.Errorf("what was erased is imported again: %+v, %v", results, err)
	}
	if _, err := r.try(kept.Secret); err != nil {
		t.Errorf("another tenant: %v", err)
	}
}

func TestEraseRefusesBadRequests(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	for field, request := range map[string]tokenstore.EraseRequest{
		"user_id": {},
		"target":  {UserID: "ann", Everything: true},
		"actor":   {UserID: "ann", Actor: string(make([]byte, 301))},
	} {
		_, err := r.Erase(t.Context(), request)
		wantField(t, err, field)
	}
	if state := r.state(); state.Sequence != 0 {
		t.Errorf("something was written: %+v", state)
	}
}
