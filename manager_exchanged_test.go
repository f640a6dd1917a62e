package tokenstore_test

import (
	"context"
	"errors"
	"testing"

	"example.com/tokenstore"
)

// The host hears of every exchange: of retries, of replays, and of texts that are no secret at all; and of which tenant.
func TestExchangedIsTold(t *testing.T) {
	t.Parallel()
	type told struct {
		tenant  string
		retried bool
		err     error
	}
	var all []told
	r := newRig(t, tokenstore.Options{Exchanged: func(ctx context.Context, tenant string, retried bool, err error) {
		if ctx != t.Context() {
			t.Error("the context is another one")
		}
		all = append(all, told{tenant, retried, err})
	}})
	issued := r.issue(request("ann"))
	next := r.exchange(issued.Secret) // as it should be
	r.exchange(issued.Secret)         // within the leeway
	r.exchange(next.Secret)
	for _, secret := range []tokenstore.Secret{issued.Secret, tokenstore.NewSecret("rts_"), issued.Secret} { // replay, no secret, revoked
		if _, err := r.try(secret); err == nil {
			t.Error("a secret that is none is exchanged")
		}
	}
	other, err := r.Tenant("other", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: next.Secret, ClientID: "app"}); err == nil {
		t.Error("another tenant's secret is exchanged")
	}
	name := all[0].tenant
	for i, want := range []told{
		{name, false, nil}, {name, true, nil}, {name, false, nil}, {name, false, tokenstore.ErrReused}, {name, false, tokenstore.ErrMalformed},
		{name, false, tokenstore.ErrRevoked}, {"other", false, tokenstore.ErrUnknownToken},
	} {
		if i >= len(all) || all[i].tenant != want.tenant || all[i].retried != want.retried || !errors.Is(all[i].err, want.err) {
			t.Errorf("of exchange %d is told %v, want %v", i, all[min(i, len(all)-1)], want)
		}
	}
	if len(all) != 7 {
		t.Errorf("told of %d exchanges, want 7", len(all))
	}
}
