package pgstore_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/internal/sidebyside"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
)

// The benchmarks compare this backend with a table as a host would write it by hand, with the same indexes, through a pool of as many
// connections, on the same server. The two take turns; what counts is the ratio, which is how many times as quick as the table the
// backend is.
//
//	go test -run '^$' -bench . -benchtime 20000x
//	PG_BENCH_ROWS=1000000 go test -run '^$' -bench RevokeAll -benchtime 3x -timeout 1h

const (
	connections = 16         // of each pool
	unit        = "×by-hand" // how many times as quick as the table
)

// pooled has an address say how many connections a pool has.
func pooled() string { return fmt.Sprintf("&pool_max_conns=%d", connections) }

// duel is the two, and what each token of ours is known by.
type duel struct {
	b       *testing.B
	manager *tokenstore.Manager
	ours    [][95]byte // no pointers: what clients hold is not to be looked through by the collection of garbage, which a server pays for
	hand    *hand
}

func newDuel(b *testing.B) *duel {
	b.Helper()
	s := pgtest.Start(b, "max_wal_size=4GB")
	m, err := tokenstore.New(open(b, s.DSN(migrated(b, s, pgstore.Options{}))+pooled(), pgstore.Options{}), &tokenstore.Options{Outbox: tokenstore.NoOutbox})
	if err != nil {
		b.Fatal(err)
	}
	d := &duel{b: b, manager: m, hand: newHand(b, s.DSN(s.Database(b)))}
	d.hand.exec(byHand)
	return d
}

func (d *duel) ctx() context.Context { return d.b.Context() }

func (d *duel) issue(i int) error {
	issued, err := d.manager.Issue(d.ctx(), tokenstore.IssueRequest{
		UserID: fmt.Sprint("user", i/10), ClientID: "web", SessionID: tokenstore.MustSessionID(fmt.Sprint("session", i/2)),
	})
	if err == nil {
		copy(d.ours[i][:], issued.Secret.Reveal())
	}
	return err
}

func (d *duel) exchange(i int) error {
	next, err := d.manager.Exchange(d.ctx(), tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(string(d.ours[i][:])), ClientID: "web"})
	if err == nil {
		copy(d.ours[i][:], next.Secret.Reveal())
	}
	return err
}

// hold makes room for n tokens.
func (d *duel) hold(n int) {
	d.ours, d.hand.tokens = make([][95]byte, n), make([]handToken, n)
}

func BenchmarkIssue(b *testing.B) {
	for _, callers := range []int{1, connections / 4, connections, 4 * connections} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			d := newDuel(b)
			d.hold(b.N + connections)
			sidebyside.Call(b, b.N, b.N+connections, connections, d.issue) // connections and statements are there before anything is measured
			sidebyside.Call(b, b.N, b.N+connections, connections, d.hand.issue)
			sidebyside.Compare(b, unit, callers, d.issue, d.hand.issue)
		})
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, callers := range []int{1, connections / 4, connections, 4 * connections} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			d := newDuel(b)
			d.hold(b.N)
			sidebyside.Call(b, 0, b.N, connections, d.issue)
			sidebyside.Call(b, 0, b.N, connections, d.hand.issue)
			warm := min(b.N, connections)
			sidebyside.Call(b, 0, warm, connections, d.exchange)
			sidebyside.Call(b, 0, warm, connections, d.hand.exchange)
			sidebyside.Compare(b, unit, callers, d.exchange, d.hand.exchange)
		})
	}
}

// BenchmarkRevokeAll revokes all of a tenant: PG_BENCH_ROWS tokens, or 20,000. What is measured is the acknowledgement, from which
// moment on all are refused.
func BenchmarkRevokeAll(b *testing.B) {
	n := 20_000
	if text := os.Getenv("PG_BENCH_ROWS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	d := newDuel(b)
	fill(b, d.manager, "ann", n)
	d.hand.exec(`insert into tokens (tenant, id, user_id, client_id, session_id, created_at, due, secret_digest)
		select $1, gen_random_uuid(), 'ann', 'web', 'session' || i, now(), now(), sha256(i::text::bytea) from generate_series(1, $2::integer) i`, d.hand.tenant, n)
	var took [2]time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := d.manager.Revoke(d.ctx(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{Everything: true}}}); err != nil {
			b.Fatal(err)
		}
		took[0] += time.Since(began)
		began = time.Now()
		d.hand.exec("update tokens set revoked = true where tenant = $1 and not revoked", d.hand.tenant)
		took[1] += time.Since(began)
		b.StopTimer()
		d.hand.exec("update tokens set revoked = false")
		b.StartTimer()
	}
	b.ReportMetric(float64(took[1])/float64(took[0]), unit)
	b.ReportMetric(0, "ns/op")
}
