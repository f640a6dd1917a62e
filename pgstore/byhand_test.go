package pgstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/oklog/ulid/v2"
)

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

// The columns that an issue by hand writes, with the parameters of [hand.issue]; due is the same as idle_expires_at.
const (
	issuedByHand     = `tenant, id, user_id, client_id, session_id, created_at, expires_at, idle_expires_at, due, salt, family_digest, secret_digest`
	parametersByHand = `$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11`
	valuesByHand     = `$1::uuid, $2::uuid, $3::text, $4::text, $5::text, $6::timestamptz, $7::timestamptz, $8::timestamptz, $8::timestamptz, $9::bytea, $10::bytea, $11::bytea`
)

// What an exchange by hand reads first, and what it writes and where, with the parameters of [hand.exchange].
const (
	readByHand     = `client_id, secret_digest, family_digest, revoked, generation, expires_at, idle_expires_at`
	exchangeByHand = `secret_digest = $4, salt = $5, generation = generation + 1, last_exchanged_at = $6, idle_expires_at = $7`
	unchanged      = `tenant = $1 and id = $2 and secret_digest = $3 and not revoked`
)

// hand is a table as a host would write it by hand: its statements, and what each of its tokens is known by.
type hand struct {
	b      *testing.B
	pool   *pgxpool.Pool
	tenant [16]byte
	tokens []handToken

	insert, read, replace string
	first                 string // what is executed before each statement that writes, in a round trip and a transaction with it; or nothing
	inserted, replaced    []any  // parameters beside those of all tables
	looks                 bool   // an exchange is told the anchors of its token, too
}

type handToken struct {
	id     ulid.ULID
	secret [32]byte
}

func newHand(b *testing.B, dsn string) *hand {
	b.Helper()
	pool, err := pgxpool.New(b.Context(), dsn+pooled()+"&search_path=public") // and not the tables of ours
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	return &hand{
		b: b, pool: pool,
		insert: "insert into tokens (" + issuedByHand + ") values (" + valuesByHand + ")", read: "select " + readByHand + " from tokens where tenant = $1 and id = $2",
		replace: "update tokens set " + exchangeByHand + " where " + unchanged,
	}
}

func (h *hand) exec(sql string, args ...any) {
	h.b.Helper()
	if _, err := h.pool.Exec(h.b.Context(), sql, args...); err != nil {
		h.b.Fatal(err)
	}
}

// write executes what is executed first, and a statement.
func (h *hand) write(sql string, args []any) (done pgconn.CommandTag, err error) {
	if h.first == "" {
		return h.pool.Exec(h.b.Context(), sql, args...)
	}
	batch := &pgx.Batch{}
	batch.Queue(h.first)
	batch.Queue(sql, args...).Exec(func(tag pgconn.CommandTag) error { done = tag; return nil })
	return done, h.pool.SendBatch(h.b.Context(), batch).Close()
}

// digest stands for that of a secret; to make it is part of both.
func digest(id ulid.ULID, generation int) (sum [32]byte) {
	copy(sum[:], id[:])
	sum[31] = byte(generation)
	return sum
}

// anchors are the user, the client and the session of the i-th token.
func anchors(i int) []any { return []any{fmt.Sprint("user", i/10), "web", fmt.Sprint("session", i/2)} }

func (h *hand) issue(i int) error {
	now := time.Now()
	t := handToken{id: ulid.Make()}
	t.secret = digest(t.id, 0)
	h.tokens[i] = t
	args := append([]any{h.tenant, [16]byte(t.id)}, anchors(i)...)
	args = append(args, now, now.Add(8760*time.Hour), now.Add(720*time.Hour), t.id[:], t.secret[:], t.secret[:])
	done, err := h.write(h.insert, append(args, h.inserted...))
	if err == nil && done.RowsAffected() != 1 {
		err = pgx.ErrNoRows
	}
	return err
}

// exchange reads the token, as a host does to compare the client, and replaces its digest if it has not changed.
func (h *hand) exchange(i int) error {
	t := &h.tokens[i]
	now := time.Now()
	rows, err := h.pool.Query(h.b.Context(), h.read, h.tenant, [16]byte(t.id))
	if err != nil {
		return err
	}
	var client string
	var secret, family []byte
	var revoked bool
	var generation int
	var expires, idle time.Time
	found := []any{&client, &secret, &family, &revoked, &generation, &expires, &idle}
	more := make([]any, max(0, len(rows.FieldDescriptions())-len(found))) // is sent, and passed over
	if _, err := pgx.ForEachRow(rows, append(found, more...), func() error { return nil }); err != nil {
		return err
	}
	if client != "web" || [32]byte(secret) != t.secret || revoked || now.After(expires) || now.After(idle) {
		return fmt.Errorf("the token is not as it was left")
	}
	next := digest(t.id, generation+1)
	args := append([]any{h.tenant, [16]byte(t.id), t.secret[:], next[:], t.id[:], now, now.Add(720 * time.Hour)}, h.replaced...)
	if h.looks {
		args = append(args, anchors(i)...)
	}
	done, err := h.write(h.replace, args)
	if err == nil && done.RowsAffected() != 1 {
		err = pgx.ErrNoRows
	}
	if err == nil {
		t.secret = next
	}
	return err
}
