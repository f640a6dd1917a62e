package cluster_test

import (
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/store"
)

// A reader that spares itself the look at what is pending, since nothing was written for long, must be told of the next revocation of
// another process.
func TestCalmReaderHearsOfRevocation(t *testing.T) {
	b := newBetween(t)
	var tokens []domain.RefreshToken
	for _, user := range []string{"a", "b", "c", "d"} {
		tokens = append(tokens, b.token(user))
	}
	b.insert(b.quick, rows(domain.AsOf{}, tokens...))
	read := func(i int, revoked bool) {
		t.Helper()
		v, err := b.slow.Get(t.Context(), tokens[i].ID)
		must(t, err)
		if v.Revoked() != revoked {
			t.Errorf("got a token that is revoked %t, want %t", v.Revoked(), revoked)
		}
	}
	read(0, false) // and the format, which is read once
	for revoked := range tokens {
		b.alone.Store(0)
		for range 100 {
			read(revoked, false)
		}
		if b.alone.Load() == 0 {
			t.Error("nothing was written for long, and no request was for the token alone")
		}
		b.revoke(b.quick, domain.Target{UserID: tokens[revoked].UserID})
		read(revoked, true)
		for range 100 {
			for i := range tokens {
				read(i, i <= revoked)
			}
		}
	}
}

// What is pending in one tenant is not taken for what is pending in another, which is read for long.
func TestCalmReaderTellsTenantsApart(t *testing.T) {
	b := newBetween(t)
	token := b.token("user")
	other, err := b.backend.Tenant("other")
	must(t, err)
	b.insert(b.quick, rows(domain.AsOf{}, token))
	b.insert(other, rows(domain.AsOf{}, token))
	b.revoke(other, domain.Target{UserID: "user"})
	backend, err := etcdstore.New(shared.client, &etcdstore.Options{Prefix: b.prefix})
	must(t, err)
	var stores [2]store.Store
	for i, name := range []string{"tenant", "other"} {
		stores[i], err = backend.Tenant(name)
		must(t, err)
	}
	for range 100 {
		v, err := stores[0].Get(t.Context(), token.ID)
		must(t, err)
		if v.Revoked() {
			t.Fatal("what was revoked in another tenant must not be revoked here")
		}
	}
	v, err := stores[1].Get(t.Context(), token.ID)
	must(t, err)
	if !v.Revoked() {
		t.Error("what was revoked must be shown so, though another tenant was read for long, in which nothing was")
	}
}
