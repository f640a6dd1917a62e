package restoretest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// The tenants.
const (
	Acme   = "acme"
	Globex = "globex"
)

// Life is what happened to a database before and after its backup.
type Life struct {
	Open   func(t testing.TB) store.Backend // Open opens a copy of the backup.
	Events map[string]string                // Events are the lines of the tenants' feeds, as who follows them has written them.
	Late   map[string]string                // Late are the lines as they are read at the end.
	step   int

	secrets  map[string]tokenstore.Secret // by user, as issued
	newest   tokenstore.Secret            // of the user ahead
	early    ulid.ULID                    // revoked before the backup
	doomed   tokenstore.Receipt
	later    ulid.ULID    // issued, and revoked by its id, after the backup
	evicted  [2]ulid.ULID // issued after the backup, of which the first was evicted
	backedUp uint64       // the sequence of the backup
	lost     tokenstore.State
}

func manager(t testing.TB, b store.Backend, tenant string) *tokenstore.Manager {
	t.Helper()
	m, err := tokenstore.New(b, &tokenstore.Options{Tenant: tenant, Leeway: -1})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// must ends the test where the life can't be lived.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func exchange(t testing.TB, m *tokenstore.Manager, secret tokenstore.Secret) (tokenstore.Exchanged, error) {
	return m.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: "web"})
}

// issue issues a token to a user, in a session of her own.
func issue(ctx context.Context, m *tokenstore.Manager, user string, asOf tokenstore.AsOf) (tokenstore.Issued, error) {
	return m.Issue(ctx, tokenstore.IssueRequest{UserID: user, ClientID: "web", SessionID: tokenstore.MustSessionID("session of " + user), AsOf: asOf})
}

func revoke(t testing.TB, m *tokenstore.Manager, target tokenstore.Target) tokenstore.Receipt {
	t.Helper()
	return must[tokenstore.Receipt](t)(m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{target}, Reason: "stolen", Actor: "ops"}))
}

// Live makes a backend, backs it up, and lets it live on.
func Live(t testing.TB, c Config) *Life {
	t.Helper()
	b := c.New(t)
	defer b.Close()
	acme, globex := manager(t, b, Acme), manager(t, b, Globex)
	l := &Life{step: max(c.Step, 1), secrets: map[string]tokenstore.Secret{}, Events: map[string]string{}, Late: map[string]string{}}
	capped := must[*tokenstore.Manager](t)(tokenstore.New(b, &tokenstore.Options{
		Tenant: Acme, Outbox: tokenstore.DefaultOutbox | tokenstore.KindEvicted,
		Client: func(string) tokenstore.ClientPolicy { return tokenstore.ClientPolicy{Cap: 1} },
	}))
	l.secrets["evicted"] = must[tokenstore.Issued](t)(issue(t.Context(), capped, "evicted", tokenstore.AsOf{})).Secret
	for _, user := range []string{"kept", "doomed", "ahead", "robbed", "erin", "early"} {
		l.secrets[user] = must[tokenstore.Issued](t)(issue(t.Context(), acme, user, tokenstore.AsOf{})).Secret
	}
	l.secrets["gus"] = must[tokenstore.Issued](t)(issue(t.Context(), globex, "gus", tokenstore.AsOf{})).Secret
	l.early = revoke(t, acme, tokenstore.Target{UserID: "early"}).ID()
	l.backedUp = must[tokenstore.State](t)(acme.State(t.Context())).Sequence
	l.Open = c.Backup(t, b)

	for i := range l.evicted { // the first evicts what the backup has, and each of the others the one before it
		l.evicted[i] = must[tokenstore.Issued](t)(issue(t.Context(), capped, "evicted", tokenstore.AsOf{})).Token.ID
	}
	l.doomed = revoke(t, acme, tokenstore.Target{UserID: "doomed"})
	l.newest = must[tokenstore.Exchanged](t)(exchange(t, acme, l.secrets["ahead"])).Secret
	must[tokenstore.Exchanged](t)(exchange(t, acme, l.secrets["robbed"]))
	if _, err := exchange(t, acme, l.secrets["robbed"]); !errors.Is(err, tokenstore.ErrReused) {
		t.Fatalf("an outdated secret must be replay: got %v", err)
	}
	l.later = must[tokenstore.Issued](t)(issue(t.Context(), acme, "later", tokenstore.AsOf{})).Token.ID
	revoke(t, acme, tokenstore.Target{TokenID: l.later})
	erased := must[tokenstore.Receipt](t)(acme.Erase(t.Context(), tokenstore.EraseRequest{UserID: "erin"}))
	revoke(t, globex, tokenstore.Target{UserID: "gus"})
	after := l.follow(t, acme, Acme, 0)
	l.follow(t, globex, Globex, 0)
	sweep(t, b, Acme, erased.ID())
	l.follow(t, acme, Acme, after)
	l.Late[Acme], l.Late[Globex] = lines(t, acme, 0), l.Events[Globex]
	l.lost = must[tokenstore.State](t)(acme.State(t.Context()))
	return l
}

func lines(t testing.TB, m *tokenstore.Manager, after uint64) string {
	t.Helper()
	var text bytes.Buffer
	if err := tokenstore.WriteEvents(&text, m.Events(t.Context(), after)); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// follow keeps what is new in a feed, and returns the cursor.
func (l *Life) follow(t testing.TB, m *tokenstore.Manager, tenant string, after uint64) uint64 {
	t.Helper()
	l.Events[tenant] += lines(t, m, after)
	return must[tokenstore.State](t)(m.State(t.Context())).LastEvent
}

// sweep applies a revocation until it is retired.
func sweep(t testing.TB, b store.Backend, tenant string, id ulid.ULID) {
	t.Helper()
	s := must[store.Store](t)(b.Tenant(tenant))
	for range 1000 {
		bounds := store.Bounds{Visit: 1000, Remove: 1000, Now: time.Now(), Emit: store.KindErased}
		must[[]store.Status](t)(s.Apply(t.Context(), []ulid.ULID{id}, bounds))
		if must[store.Status](t)(s.Revocation(t.Context(), id)).Retired {
			return
		}
	}
	t.Fatal("a sweep must come to its end")
}

// files are events as a request has them.
func files(events map[string]string) map[string]io.ReadSeeker {
	all := map[string]io.ReadSeeker{}
	for tenant, text := range events {
		all[tenant] = strings.NewReader(text)
	}
	return all
}
