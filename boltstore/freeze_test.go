package boltstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// freezer makes the frozen file.
type freezer struct {
	*testing.T
	b       *boltstore.Backend
	random  *rand.ChaCha8
	clients []held
}

func (f *freezer) manager(tenant string) *tokenstore.Manager {
	f.Helper()
	m, err := frozenManager(f.b, tenant, frozenBegin, f.random)
	if err != nil {
		f.Fatal(err)
	}
	return m
}

func (f *freezer) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *freezer) holds(tenant, client string, secret tokenstore.Secret, want string) {
	f.clients = append(f.clients, held{tenant, client, secret.Reveal(), want})
}

// issue has a client get a token, and exchange it so many times.
func (f *freezer) issue(m *tokenstore.Manager, r tokenstore.IssueRequest, exchanges int) tokenstore.Secret {
	f.Helper()
	out, err := m.Issue(f.Context(), r)
	f.must(err)
	secret := out.Secret
	for range exchanges {
		next, err := m.Exchange(f.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: r.ClientID})
		f.must(err)
		secret = next.Secret
	}
	return secret
}

func (f *freezer) revoke(m *tokenstore.Manager, number byte, targets ...tokenstore.Target) ulid.ULID {
	f.Helper()
	id := ulid.ULID{0: 1, 15: number}
	_, err := m.Revoke(f.Context(), tokenstore.RevokeRequest{ID: id, Targets: targets, Reason: "frozen", Actor: "operator"})
	f.must(err)
	return id
}

func (f *freezer) sweep(tenantName string, ids ...ulid.ULID) {
	f.Helper()
	s := tenant(f.T, f.b, tenantName)
	for range 100 {
		statuses, err := s.Apply(f.Context(), ids, store.Bounds{Visit: 100, Remove: 100, Now: frozenBegin, Emit: store.AllKinds})
		f.must(err)
		if len(statuses) == 0 {
			return
		}
	}
	f.Fatal("the sweep does not end")
}

// fill puts something of everything into the file.
func (f *freezer) fill() {
	f.Helper()
	ctx, session := f.Context(), tokenstore.MustSessionID
	m := f.manager("acme")
	for i := range 24 {
		r := tokenstore.IssueRequest{
			UserID: fmt.Sprint("auth0|user-", i%6), ClientID: fmt.Sprint("client-", i%3), SessionID: session(fmt.Sprint("session-", i/2)),
			ResourceServers: []tokenstore.ResourceServer{{Audience: "https://api.example.com/", Scopes: "read write"}},
			Metadata:        map[string]string{"number": fmt.Sprint(i)}, Device: tokenstore.Device{InitialIP: "192.0.2.1", InitialUserAgent: "a browser"},
			Offline: i%4 == 0, Static: i%5 == 0, AuthenticatedAt: frozenBegin.Add(-time.Minute),
		}
		if i%7 == 0 {
			r.Lifetime, r.IdleLifetime = tokenstore.Never, tokenstore.Never
		}
		if i == 9 {
			r.Confirmation = tokenstore.Confirmation{Kind: domain.ConfirmationJKT, Value: "thumbprint"}
		}
		if i == 9 { // bound: its client would have to show the key
			f.issue(m, r, 0)
			continue
		}
		secret := f.issue(m, r, i%3)
		want := "new"
		switch {
		case i%6 < 3: // user-0 is revoked and swept, user-1 pending, user-2 erased
			want = "revoked"
		case i%5 == 0:
			want = "static"
		}
		f.holds("acme", r.ClientID, secret, want)
	}
	first, err := m.Issue(ctx, tokenstore.IssueRequest{UserID: "retry", ClientID: "client-1", SessionID: session("retry")})
	f.must(err)
	_, err = m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: first.Secret, ClientID: "client-1"})
	f.must(err)
	f.holds("acme", "client-1", first.Secret, "retried")
	var legacy []tokenstore.RefreshToken
	for i := range 6 {
		created := time.Date(2023, 1, 1+i, 0, 0, 0, 0, time.UTC)
		id, err := domain.ForeignTokenID("acme", fmt.Sprint("foreign-", i), created)
		f.must(err)
		token := tokenstore.RefreshToken{ID: id, ForeignID: fmt.Sprint("foreign-", i), UserID: fmt.Sprint("legacy-", i%2), ClientID: "client-1", CreatedAt: created, Rotating: i < 5}
		if i > 2 {
			text := fmt.Sprint("a-secret-of-elsewhere-", i, "-0123456789abcdef")
			token.ForeignDigest, token.ForeignWeak = tokenstore.DigestForeign(text), i == 3
			f.clients = append(f.clients, held{"acme", "client-1", text, map[bool]string{true: "revoked", false: "new"}[i%2 == 1]})
		}
		legacy = append(legacy, token)
	}
	report, err := m.Import(ctx, legacy)
	f.must(err)
	for _, result := range report {
		f.must(result.Err)
	}
	done := f.revoke(m, 1, tokenstore.Target{UserID: "auth0|user-0"})
	f.sweep("acme", done, f.revoke(m, 2, tokenstore.Target{SessionID: "gone"}), f.revoke(m, 3, tokenstore.Target{ClientID: "none", Audience: "https://none.example.com/"}))
	f.revoke(m, 4, tokenstore.Target{UserID: "auth0|user-1"})
	f.revoke(m, 5, tokenstore.Target{UserID: "auth0|user-1"}) // in the place of the one before
	f.revoke(m, 6, tokenstore.Target{UserID: "legacy-1"}, tokenstore.Target{ClientID: "client-9"})
	f.revoke(m, 7, tokenstore.Target{IssuedBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)})
	erasure, err := m.Erase(ctx, tokenstore.EraseRequest{ID: ulid.ULID{0: 1, 15: 8}, UserID: "auth0|user-2", Reason: "asked for", Actor: "operator"})
	f.must(err)
	f.sweep("acme", erasure.ID())
	_, err = m.Erase(ctx, tokenstore.EraseRequest{ID: ulid.ULID{0: 1, 15: 9}, UserID: "auth0|user-7"})
	f.must(err)

	peppered := f.manager("peppered")
	f.holds("peppered", "web", f.issue(peppered, tokenstore.IssueRequest{UserID: "ann", ClientID: "web", SessionID: session("s")}, 2), "new")
	f.holds("peppered", "web", f.issue(peppered, tokenstore.IssueRequest{UserID: "bob", ClientID: "web", SessionID: session("t"), Static: true}, 1), "static")

	elsewhere, err := frozenManager(memstore.New(), "moved", frozenBegin, f.random)
	f.must(err)
	f.holds("moved", "web", f.issue(elsewhere, tokenstore.IssueRequest{UserID: "eve", ClientID: "web", SessionID: session("m")}, 1), "new")
	_, err = elsewhere.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "mallory"}}})
	f.must(err)
	var moved bytes.Buffer
	_, err = elsewhere.Export(ctx, &moved, &tokenstore.ExportOptions{Full: true})
	f.must(err)
	_, err = f.manager("moved").ImportFull(ctx, &moved, nil)
	f.must(err)

	f.must(f.b.Create(ctx, "empty"))
	restored := f.manager("restored")
	f.issue(restored, tokenstore.IssueRequest{UserID: "auth0|user-1", ClientID: "web", SessionID: session("r")}, 1)
	_, err = tenant(f.T, f.b, "restored").(store.Restorer).Restore(ctx, store.Restoration{
		ID: ulid.ULID{0: 1, 15: 11}, Time: frozenBegin, Method: store.RestoreOverride, Reason: "frozen", Actor: "operator",
		Guards: []domain.Guard{{Target: domain.Target{SessionID: "ended"}}}, Complete: true,
	})
	f.must(err)

	left := f.manager("left")
	f.issue(left, tokenstore.IssueRequest{UserID: "zoe", ClientID: "web", SessionID: session("z")}, 0)
	gone, err := left.Erase(ctx, tokenstore.EraseRequest{ID: ulid.ULID{0: 1, 15: 10}, Everything: true})
	f.must(err)
	f.sweep("left", gone.ID())
}

// freeze makes the file, with rewritten records of two generations.
func (is frozen) freeze(t *testing.T) {
	t.Helper()
	path := temporary(t)
	f := &freezer{T: t, b: open(t, path, nil), random: rand.NewChaCha8([32]byte{1})}
	f.b.SettleEarly(64)
	f.b.PlaceEarly(9)
	f.fill()
	if generations := f.b.Generations(); len(generations) != 2 || slices.Contains(generations, 0) {
		t.Fatalf("generations of %v rewritten records, want two that have some", generations)
	}
	shut(t, f.b)
	if _, err := boltstore.Compact(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(is.file(), data, 0o644)
	}
	clients, other := json.MarshalIndent(f.clients, "", " ")
	if err := errors.Join(err, other, os.WriteFile(is.clients(), append(clients, '\n'), 0o644)); err != nil {
		t.Fatal(err)
	}
}
