package boltstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// frozen is a file of a format, what it holds, and what its clients hold. The file is made once for all, with -freeze; with -update only
// the listings are written anew, for fields that the library has got since.
type frozen int

func (f frozen) file() string    { return fmt.Sprintf("testdata/format%d.db", f) }
func (f frozen) listing() string { return fmt.Sprintf("testdata/format%d.json", f) }
func (f frozen) clients() string { return fmt.Sprintf("testdata/format%d-clients.json", f) }

const (
	newestFrozen frozen = 2 // the one that -freeze makes
	frozenMax           = 200 << 10
)

var (
	freeze = flag.Bool("freeze", false, "make the file of the newest format anew: only as long as that has not been released")
	update = flag.Bool("update", false, "write the listings of the files of all formats anew")
)

// held is what a client of the frozen file holds, and what becomes of it.
type held struct {
	Tenant, Client, Secret string
	Want                   string // "new": a new secret; "same": that of a retry; "revoked"; "reused"
}

var (
	frozenBegin = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	frozenEnd   = frozenBegin.Add(time.Hour)
)

// frozenManager is that of a tenant of the frozen file. All clocks stand still.
func frozenManager(b store.Backend, tenant string, now time.Time, random *rand.ChaCha8) (*tokenstore.Manager, error) {
	opts := &tokenstore.Options{Tenant: tenant, Now: func() time.Time { return now }, Outbox: tokenstore.AllKinds, Leeway: 24 * time.Hour}
	if random != nil {
		opts.Rand = random
	}
	if tenant == "peppered" {
		ring, err := tokenstore.NewPepperRing("2026", map[string][]byte{"2026": bytes.Repeat([]byte{7}, 32)})
		if err != nil {
			return nil, err
		}
		opts.Pepper = ring
	}
	return tokenstore.New(b, opts)
}

// thawed copies the frozen file to where it may be used.
func (f frozen) thawed(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(f.file())
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > frozenMax {
		t.Errorf("it has %d bytes, and should have no more than %d", len(data), frozenMax)
	}
	return write(t, data)
}

// listing is every record of a file.
func listing(t *testing.T, path string) []byte {
	t.Helper()
	if findings, err := boltstore.CheckFile(t.Context(), path, nil); err != nil || len(findings) > 0 {
		t.Fatalf("found %q, error %v", findings, err)
	}
	b := open(t, path, nil)
	defer shut(t, b)
	names, err := b.Tenants(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	tenants := map[string]any{}
	for _, name := range names {
		tenants[name] = everythingOf(t, b, name)
	}
	text, err := json.MarshalIndent(tenants, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// everythingOf is every record of a tenant.
func everythingOf(t *testing.T, b *boltstore.Backend, name string) map[string]any {
	t.Helper()
	type fields domain.RefreshToken // all of them, not those of the resource
	ctx, s := t.Context(), tenant(t, b, name)
	known, err := b.Known(name)
	if err != nil {
		t.Fatal(err)
	}
	state, err := s.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var tokens []fields
	if err := list(ctx, s, store.Query{}, func(token domain.RefreshToken) { tokens = append(tokens, fields(token)) }); err != nil {
		t.Fatal(err)
	}
	pending, err := s.Revocations(ctx, store.RevocationQuery{Limit: store.MaxPage})
	if err != nil {
		t.Fatal(err)
	}
	retired, err := s.Revocations(ctx, store.RevocationQuery{Limit: store.MaxPage, Retired: true})
	if err != nil {
		t.Fatal(err)
	}
	guards, err := s.(store.Mover).Guards(ctx, store.GuardQuery{Limit: store.MaxPage})
	if err != nil {
		t.Fatal(err)
	}
	restorations, err := s.(store.Restorer).Restorations(ctx)
	if err != nil {
		t.Fatal(err)
	}
	feed, err := s.(store.Outbox).Feed(ctx, state.LastEvent-uint64(state.Events), store.MaxPage)
	if err != nil || len(feed.Events) != state.Events {
		t.Fatalf("%d events of %d, %v", len(feed.Events), state.Events, err)
	}
	due, err := s.Expire(ctx, store.Bounds{Visit: 1, Remove: 1, Now: frozenBegin})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"known": known, "state": state, "tokens": tokens, "pending": pending.Revocations, "retired": retired.Revocations,
		"guards": guards.Guards, "erasure key": guards.ErasureKey, "events": feed.Events, "due": due.Next, "restorations": restorations,
	}
}

// TestFormats opens the file of each format that was made once, for ever: every record is what it was, and it can be used, mended and
// compacted like any other.
func TestFormats(t *testing.T) {
	if *freeze {
		newestFrozen.freeze(t)
	}
	for f := frozen(1); f <= newestFrozen; f++ {
		t.Run(f.file(), func(t *testing.T) { f.opens(t) })
	}
}

func (f frozen) opens(t *testing.T) {
	path := f.thawed(t)
	got := listing(t, path)
	if *update || *freeze && f == newestFrozen {
		if err := os.WriteFile(f.listing(), got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(f.listing())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("it holds something else than %s says: %s", f.listing(), firstDifference(got, want))
	}
	f.use(t, path)

	path = f.thawed(t)
	if _, err := boltstore.Compact(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	if got := listing(t, path); !bytes.Equal(got, want) {
		t.Errorf("compacted it holds something else: %s", firstDifference(got, want))
	}
	f.use(t, path)
}

func firstDifference(got, want []byte) string {
	a, b := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(a), len(b)) {
		if !bytes.Equal(a[i], b[i]) {
			return fmt.Sprintf("line %d is %q, and was %q", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, and there were %d", len(a), len(b))
}

// use has every client of the frozen file present what it holds, sweeps what is pending, and goes on.
func (f frozen) use(t *testing.T, path string) {
	t.Helper()
	b := open(t, path, nil)
	text, err := os.ReadFile(f.clients())
	if err != nil {
		t.Fatal(err)
	}
	var clients []held
	if err := json.Unmarshal(text, &clients); err != nil || len(clients) < 20 {
		t.Fatal(len(clients), err)
	}
	seen := map[string]int{}
	for i, c := range clients {
		m, err := frozenManager(b, c.Tenant, frozenEnd, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := m.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(c.Secret), ClientID: c.Client})
		became := "new"
		switch {
		case errors.Is(err, tokenstore.ErrInvalid):
			became = fmt.Sprint(err)
		case err != nil:
			became = "revoked"
		case out.Retried:
			became = "retried"
		case out.Secret.Reveal() == c.Secret:
			became = "static"
		}
		seen[became]++
		if became != c.Want {
			t.Errorf("client %d of %s: its token is %s, %v, want %s", i, c.Tenant, became, err, c.Want)
		}
	}
	if seen["new"] == 0 || seen["revoked"] == 0 || seen["retried"] == 0 || seen["static"] == 0 {
		t.Errorf("not all of them were met: %v", seen)
	}
	names, err := b.Tenants(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := sweep(t.Context(), tenant(t, b, name)); err != nil {
			t.Fatal(err)
		}
		m, err := frozenManager(b, name, frozenEnd, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := m.Issue(t.Context(), tokenstore.IssueRequest{UserID: "auth0|user-3", ClientID: "client-1", SessionID: tokenstore.MustSessionID("after")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: out.Secret, ClientID: "client-1"}); err != nil {
			t.Errorf("%s: what it issues must be exchanged: %v", name, err)
		}
	}
	m, err := frozenManager(b, "acme", frozenEnd, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Issue(t.Context(), tokenstore.IssueRequest{UserID: "ann", ClientID: "client-1", SessionID: tokenstore.MustSessionID("gone")})
	if !errors.Is(err, tokenstore.ErrRevoked) {
		t.Errorf("a session that was revoked issues: %v", err)
	}
	wantClean(t, b)
}
