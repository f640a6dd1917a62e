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
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/oklog/ulid/v2"
)

// The benchmarks compare this backend with a table as a host would write it by hand, with the same indexes, through a pool of as many
// connections, on the same server. The two take turns; what counts is the ratio, which is how many times as quick as the table the
// backend is.
//
//	go test -run '^$' -bench . -benchtime 20000x
//	PG_BENCH_ROWS=1000000 go test -run '^$' -bench RevokeAll -benchtime 3x -timeout 1h

// byHand is a table of tokens, with the columns that a token of this backend has in the benchmarks. A revocation is an UPDATE.
const byHand = `create table tokens (
	tenant uuid not null, id uuid not null, user_id text collate "C" not null, client_id text collate "C" not null, session_id text collate "C",
	created_at timestamptz not null, expires_at timestamptz, idle_expires_at timestamptz, last_exchanged_at timestamptz, due timestamptz,
	generation bigint not null default 0, salt bytea, family_digest bytea, secret_digest bytea, foreign_digest bytea,
	revoked boolean not null default false, primary key (tenant, id)
) with (fillfactor = 85);
create index on tokens (tenant, user_id, id);
create index on tokens (tenant, session_id, id) where session_id is not null;
create unique index on tokens (tenant, foreign_digest) where foreign_digest is not null;
create index on tokens (tenant, due, id) where due is not null;`

const (
	connections = 16         // of each pool
	unit        = "×by-hand" // how many times as quick as the table
)

// duel is the two, and what each token of them is known by.
type duel struct {
	b       *testing.B
	manager *tokenstore.Manager
	hand    *pgxpool.Pool
	tenant  [16]byte
	ours    []tokenstore.Secret
	theirs  []handToken
}

type handToken struct {
	id     ulid.ULID
	secret [32]byte
}

func newDuel(b *testing.B) *duel {
	b.Helper()
	s := pgtest.Start(b, "max_wal_size=4GB")
	pool := fmt.Sprintf("&pool_max_conns=%d", connections)
	m, err := tokenstore.New(open(b, s.DSN(migrated(b, s, pgstore.Options{}))+pool, pgstore.Options{}), &tokenstore.Options{Outbox: tokenstore.NoOutbox})
	if err != nil {
		b.Fatal(err)
	}
	hand, err := pgxpool.New(b.Context(), s.DSN(s.Database(b))+pool)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(hand.Close)
	d := &duel{b: b, manager: m, hand: hand}
	if _, err := hand.Exec(b.Context(), byHand); err != nil {
		b.Fatal(err)
	}
	return d
}

func (d *duel) ctx() context.Context { return d.b.Context() }

func (d *duel) issue(i int) error {
	issued, err := d.manager.Issue(d.ctx(), tokenstore.IssueRequest{
		UserID: fmt.Sprint("user", i/10), ClientID: "web", SessionID: tokenstore.MustSessionID(fmt.Sprint("session", i/2)),
	})
	if err == nil {
		d.ours[i] = issued.Secret
	}
	return err
}

// digest stands for that of a secret; to make it is part of both.
func digest(id ulid.ULID, generation int) (sum [32]byte) {
	copy(sum[:], id[:])
	sum[31] = byte(generation)
	return sum
}

const insertByHand = `insert into tokens (tenant, id, user_id, client_id, session_id, created_at, expires_at, idle_expires_at, due, salt, family_digest, secret_digest)`

// newByHand is a token of the table, and its columns in the order of insertByHand, of which due is the same as idle_expires_at.
func (d *duel) newByHand(i int) []any {
	now := time.Now()
	t := handToken{id: ulid.Make()}
	t.secret = digest(t.id, 0)
	d.theirs[i] = t
	return []any{d.tenant, [16]byte(t.id), fmt.Sprint("user", i/10), "web", fmt.Sprint("session", i/2), now, now.Add(8760 * time.Hour), now.Add(720 * time.Hour),
		t.id[:], t.secret[:], t.secret[:]}
}

func (d *duel) issueByHand(i int) error {
	_, err := d.hand.Exec(d.ctx(), insertByHand+" values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10, $11)", d.newByHand(i)...)
	return err
}

func (d *duel) exchange(i int) error {
	next, err := d.manager.Exchange(d.ctx(), tokenstore.ExchangeRequest{Secret: d.ours[i], ClientID: "web"})
	d.ours[i] = next.Secret
	return err
}

// exchangeByHand reads the token, as a host does to compare the client, and replaces its digest if it has not changed.
func (d *duel) exchangeByHand(i int) error {
	t := &d.theirs[i]
	now := time.Now()
	var client string
	var secret, family []byte
	var revoked bool
	var generation int
	var expires, idle time.Time
	err := d.hand.QueryRow(d.ctx(), `select client_id, secret_digest, family_digest, revoked, generation, expires_at, idle_expires_at from tokens
		where tenant = $1 and id = $2`, d.tenant, [16]byte(t.id)).Scan(&client, &secret, &family, &revoked, &generation, &expires, &idle)
	if err != nil {
		return err
	}
	if client != "web" || [32]byte(secret) != t.secret || revoked || now.After(expires) || now.After(idle) {
		return fmt.Errorf("the token is not as it was left")
	}
	next := digest(t.id, generation+1)
	done, err := d.hand.Exec(d.ctx(), `update tokens set secret_digest = $4, salt = $5, generation = generation + 1, last_exchanged_at = $6, idle_expires_at = $7
		where tenant = $1 and id = $2 and secret_digest = $3 and not revoked`, d.tenant, [16]byte(t.id), t.secret[:], next[:], t.id[:], now, now.Add(720*time.Hour))
	if err == nil && done.RowsAffected() != 1 {
		err = pgx.ErrNoRows
	}
	t.secret = next
	return err
}

// hold makes room for n tokens.
func (d *duel) hold(n int) { d.ours, d.theirs = make([]tokenstore.Secret, n), make([]handToken, n) }

func BenchmarkIssue(b *testing.B) {
	for _, callers := range []int{1, connections} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			d := newDuel(b)
			d.hold(b.N + connections)
			sidebyside.Call(b, b.N, b.N+connections, connections, d.issue) // connections and statements are there before anything is measured
			sidebyside.Call(b, b.N, b.N+connections, connections, d.issueByHand)
			sidebyside.Compare(b, unit, callers, d.issue, d.issueByHand)
		})
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, callers := range []int{1, connections} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			d := newDuel(b)
			d.hold(b.N)
			sidebyside.Call(b, 0, b.N, connections, d.issue)
			sidebyside.Call(b, 0, b.N, connections, d.issueByHand)
			warm := min(b.N, connections)
			sidebyside.Call(b, 0, warm, connections, d.exchange)
			sidebyside.Call(b, 0, warm, connections, d.exchangeByHand)
			sidebyside.Compare(b, unit, callers, d.exchange, d.exchangeByHand)
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
	_, err := d.hand.Exec(b.Context(), `insert into tokens (tenant, id, user_id, client_id, session_id, created_at, due, secret_digest)
		select $1, gen_random_uuid(), 'ann', 'web', 'session' || i, now(), now(), sha256(i::text::bytea) from generate_series(1, $2::integer) i`, d.tenant, n)
	if err != nil {
		b.Fatal(err)
	}
	var took [2]time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := d.manager.Revoke(d.ctx(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{Everything: true}}}); err != nil {
			b.Fatal(err)
		}
		took[0] += time.Since(began)
		began = time.Now()
		if _, err := d.hand.Exec(d.ctx(), "update tokens set revoked = true where tenant = $1 and not revoked", d.tenant); err != nil {
			b.Fatal(err)
		}
		took[1] += time.Since(began)
		b.StopTimer()
		if _, err := d.hand.Exec(d.ctx(), "update tokens set revoked = false"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(took[1])/float64(took[0]), unit)
	b.ReportMetric(0, "ns/op")
}
