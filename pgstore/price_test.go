package pgstore_test

import (
	"testing"

	"example.com/tokenstore/internal/sidebyside"
	"github.com/jackc/pgx/v5"
)

// BenchmarkPrice gives the table that is written by hand what it lacks of this backend's promises, one after the other and then all, and
// compares each with the table as it is, for one caller: what a lock that keeps issues and revocations in order takes, a look at what is
// revoked, and a count that is exact.
//
//	go test -run '^$' -bench Price -benchtime 20000x
func BenchmarkPrice(b *testing.B) {
	const (
		tables = `create table counts (tenant uuid, part smallint, tokens bigint not null, primary key (tenant, part)) with (fillfactor = 40);
			create table revoked (tenant uuid, kind smallint, anchor text collate "C", primary key (tenant, kind, anchor));`
		lock   = `select pg_advisory_xact_lock_shared($1)`
		values = ` select $1::uuid, $2::uuid, $3::text, $4::text, $5::text, $6::timestamptz, $7::timestamptz, $8::timestamptz, $8::timestamptz,
			$9::bytea, $10::bytea, $11::bytea`
		unlessRevoked = ` where not exists (select from revoked where tenant = $1 and kind = 0 and anchor = $2::text)
			and not exists (select from revoked where tenant = $1 and kind = 1 and anchor = $5)`
		counted = ` returning tenant) update counts c set tokens = c.tokens + 1 from added where c.tenant = added.tenant and c.part = 0`
	)
	for _, with := range []struct {
		name, sql string
		locks     bool
	}{
		{"nothing", insertByHand + values, false},
		{"lock", insertByHand + values, true},
		{"look", insertByHand + values + unlessRevoked, false},
		{"count", "with added as (" + insertByHand + values + counted, false},
		{"all", "with added as (" + insertByHand + values + unlessRevoked + counted, true},
	} {
		b.Run(with.name, func(b *testing.B) {
			d := newDuel(b)
			d.hold(b.N + connections)
			if _, err := d.hand.Exec(d.ctx(), tables); err != nil {
				b.Fatal(err)
			}
			if _, err := d.hand.Exec(d.ctx(), "insert into counts values ($1, 0, 0)", d.tenant); err != nil {
				b.Fatal(err)
			}
			issue := func(i int) error {
				batch := &pgx.Batch{}
				if with.locks {
					batch.Queue(lock, 1)
				}
				batch.Queue(with.sql, d.newByHand(i)...)
				return d.hand.SendBatch(d.ctx(), batch).Close()
			}
			sidebyside.Call(b, b.N, b.N+connections, connections, issue)
			sidebyside.Call(b, b.N, b.N+connections, connections, d.issueByHand)
			sidebyside.Compare(b, unit, 1, issue, d.issueByHand)
			counted := 0
			if err := d.hand.QueryRow(d.ctx(), "select tokens from counts").Scan(&counted); err != nil || (counted > 0) != (with.name == "count" || with.name == "all") {
				b.Errorf("counted %d, %v", counted, err)
			}
		})
	}
}
