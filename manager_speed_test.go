package tokenstore_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
)

// TestIntrospectAllocatesNothing: on the backend in memory, whatever is pending for others.
func TestIntrospectAllocatesNothing(t *testing.T) {
	ctx := context.Background()
	m, err := tokenstore.New(memstore.New(), nil)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := m.Issue(ctx, tokenstore.IssueRequest{
		UserID: "user", ClientID: "client", SessionID: domain.MustSessionID("session"),
		Device:          tokenstore.Device{InitialIP: "203.0.113.7", InitialUserAgent: "agent"},
		ResourceServers: []tokenstore.ResourceServer{{Audience: "https://api.example.com/", Scopes: "read"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	look := func() {
		if in, err := m.Introspect(ctx, issued.Secret); err != nil || !in.Active {
			t.Errorf("active is %v, cause %v, error %v", in.Active, in.Cause, err)
		}
	}
	if n := testing.AllocsPerRun(100, look); n != 0 {
		t.Errorf("%v allocations with nothing pending", n)
	}
	for i, target := range []tokenstore.Target{
		{UserID: "other"}, {SessionID: "other"}, {ClientID: "other"}, {Audience: "other"},
		{UserID: "user", ClientID: "other"}, {ClientID: "client", Audience: "other"}, {SessionID: "session", Audience: "other"},
	} {
		target.IssuedBefore = issued.Token.CreatedAt // so that none covers the token
		if _, err := m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{target}, Reason: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, look); n != 0 {
		t.Errorf("%v allocations with others pending", n)
	}
}

// BenchmarkIntrospectOverFloor measures an introspection in memory as a ratio to what no store can do without: a map under a
// lock, the SHA-256 of the secret, and a look at one field. Both are timed in short turns, one after the other, of which
// the median counts. What a client presents has just been read, so it is looked at before the clock starts.
func BenchmarkIntrospectOverFloor(b *testing.B) {
	const tokens, turn = 100_000, 256
	ctx := context.Background()
	m, err := tokenstore.New(memstore.New(), &tokenstore.Options{Outbox: tokenstore.NoOutbox})
	if err != nil {
		b.Fatal(err)
	}
	type entry struct {
		expires time.Time
		_       [200]byte // about as large as a token
	}
	var mu sync.RWMutex
	floor := make(map[[sha256.Size]byte]*entry, tokens)
	secrets := make([]tokenstore.Secret, tokens)
	for i := range secrets {
		issued, err := m.Issue(ctx, tokenstore.IssueRequest{
			UserID: fmt.Sprint("user-", i%1000), ClientID: "client", SessionID: domain.MustSessionID(fmt.Sprint("session-", i)),
		})
		if err != nil {
			b.Fatal(err)
		}
		secrets[i] = issued.Secret
		floor[sha256.Sum256([]byte(issued.Secret.Reveal()))] = &entry{expires: issued.Token.ExpiresAt}
	}
	now := time.Now()
	least := func(s tokenstore.Secret) bool {
		digest := sha256.Sum256([]byte(s.Reveal()))
		mu.RLock()
		defer mu.RUnlock()
		e := floor[digest]
		return e != nil && now.Before(e.expires)
	}
	introspect := func(s tokenstore.Secret) bool {
		in, err := m.Introspect(ctx, s)
		return err == nil && in.Active
	}
	random := rand.New(rand.NewPCG(1, 2))
	presented := make([]tokenstore.Secret, turn)
	timed := func(call func(tokenstore.Secret) bool) float64 {
		for i := range presented {
			presented[i] = secrets[random.IntN(tokens)]
			if presented[i].Reveal()[94] == 'U' { // which is no letter
				b.Fatal("not a secret")
			}
		}
		began := time.Now()
		for _, s := range presented {
			if !call(s) {
				b.Fatal("a good secret is refused")
			}
		}
		return float64(time.Since(began))
	}
	var ratios []float64
	for b.Loop() {
		ratios = append(ratios, timed(introspect)/timed(least))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "x-of-floor")
}
