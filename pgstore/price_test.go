package pgstore_test

import (
	"errors"
	"strings"
	"testing"

	"example.com/tokenstore/internal/sidebyside"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
)

// price is what a table that is written by hand is given of what this backend has.
type price struct {
	name   string
	locks  bool // a lock that keeps what is written and revocations in order
	looks  bool // a look at what is revoked: for an issue under two anchors, for an exchange under five
	counts bool // a count of the tenant's tokens that is exact, for an issue
	guards bool // a look at what is remembered of revocations under two anchors, for an issue
	wide   bool // the columns of this backend, of which an exchange reads all and writes twelve
	checks bool // and their CHECKs
	within bool // an issue is a function of the server, which does all of it in as few steps as can be
}

// BenchmarkPrice gives the table that is written by hand what this backend has and it lacks, one after the other, and compares each
// time with the table as it is, for one caller. What is left between the last and [BenchmarkIssue] or [BenchmarkExchange] is the backend's own.
//
//	go test -run '^$' -bench Price -benchtime 20000x
func BenchmarkPrice(b *testing.B) {
	for _, p := range []price{
		{name: "nothing"},
		{name: "lock", locks: true},
		{name: "lock,look", locks: true, looks: true},
		{name: "lock,look,count", locks: true, looks: true, counts: true},
		{name: "lock,look,count,guards", locks: true, looks: true, counts: true, guards: true},
		{name: "lock,look,count,guards,function", looks: true, counts: true, guards: true, within: true},
		{name: "lock,look,count,guards,columns", locks: true, looks: true, counts: true, guards: true, wide: true},
		{name: "lock,look,count,guards,columns,checks", locks: true, looks: true, counts: true, guards: true, wide: true, checks: true},
	} {
		b.Run("issue/"+p.name, func(b *testing.B) {
			priced, plain := p.tables(b)
			sidebyside.Call(b, b.N, b.N+connections, connections, priced.issue)
			sidebyside.Call(b, b.N, b.N+connections, connections, plain.issue)
			sidebyside.Compare(b, unit, 1, priced.issue, plain.issue)
			p.verify(b, priced, priced.issue)
		})
	}
	for _, p := range []price{
		{name: "nothing"},
		{name: "lock", locks: true},
		{name: "lock,look", locks: true, looks: true},
		{name: "lock,look,columns", locks: true, looks: true, wide: true},
		{name: "lock,look,columns,checks", locks: true, looks: true, wide: true, checks: true},
	} {
		b.Run("exchange/"+p.name, func(b *testing.B) {
			priced, plain := p.tables(b)
			for _, h := range []*hand{priced, plain} {
				sidebyside.Call(b, 0, b.N, connections, h.issue)
				sidebyside.Call(b, 0, min(b.N, connections), connections, h.exchange)
			}
			sidebyside.Compare(b, unit, 1, priced.exchange, plain.exchange)
			p.verify(b, priced, priced.exchange)
		})
	}
}

// tables are the one with what the price says, and the one without.
func (p *price) tables(b *testing.B) (priced, plain *hand) {
	s := pgtest.Start(b, "max_wal_size=4GB")
	plain, priced = newHand(b, s.DSN(s.Database(b))), newHand(b, s.DSN(migrated(b, s, pgstore.Options{})))
	for _, h := range []*hand{plain, priced} {
		h.tokens = make([]handToken, b.N+connections)
		h.exec(byHand)
	}
	priced.exec(`create table counts (tenant uuid, part smallint, tokens bigint not null, primary key (tenant, part)) with (fillfactor = 40)`)
	for _, name := range []string{"revoked", "remembered"} {
		priced.exec(`create table ` + name + ` (tenant uuid, anchor text collate "C", primary key (tenant, anchor))`)
	}
	priced.exec("insert into counts values ($1, 0, 0)", priced.tenant)
	if p.locks {
		priced.first = "select pg_advisory_xact_lock_shared(1)"
	}
	if p.wide {
		including := "defaults including indexes including storage"
		if p.checks {
			including += " including constraints"
		}
		priced.exec("drop table tokens")
		priced.exec("create table tokens (like tokenstore.tokens including " + including + ", revoked boolean not null default false) with (fillfactor = 85)")
	}
	priced.insert, priced.inserted = p.insert()
	if p.within {
		priced.exec(issueWithin)
		priced.insert = "select issue(" + parametersByHand + ")"
	}
	priced.read, priced.replace, priced.replaced = p.exchange()
	priced.looks = p.looks
	return priced, plain
}

// nothingFound is a condition: nothing stands under some anchors. No cheaper one was found.
func nothingFound(table string, anchors ...string) string {
	return " and not exists (select from " + table + " r where r.tenant = $1 and r.anchor = any (array[" + strings.Join(anchors, ", ") + "]) offset 0)"
}

// issueWithin is a function that takes the lock, looks, inserts and counts, each with the columns of the table by hand alone.
var issueWithin = `create function issue(uuid, uuid, text, text, text, timestamptz, timestamptz, timestamptz, bytea, bytea, bytea) returns void language plpgsql as $$
	declare
		held text := pg_advisory_xact_lock_shared(1);
	begin
		if not (true` + nothingFound("revoked", "$2::text", "$5") + nothingFound("remembered", "$2::text", "$5") + `) then
			raise 'revoked';
		end if;
		insert into tokens (` + issuedByHand + `) values (` + valuesByHand + `);
		update counts set tokens = tokens + 1 where tenant = $1 and part = 0;
	end
$$`

// insert is the statement of an issue, and its parameters beside those of all tables.
func (p *price) insert() (sql string, more []any) {
	columns, values := issuedByHand, valuesByHand
	if p.wide {
		columns += `, sequence, audiences, scopes, nanoseconds, idle_lifetime, rotating, offline, authenticated_at, pepper_key_id, confirmation_kind, confirmation,
			metadata, initial_ip, initial_asn, initial_user_agent, last_ip, last_asn, last_user_agent`
		values += `, 1 + nextval('tokenstore.numbers'), $12::text[], $13::text[], $14::bigint, $15::bigint, $16::boolean, $17::boolean, $18::timestamptz, $19::text, $20::text,
			$21::text, $22::jsonb, $23::text, $24::text, $25::text, $26::text, $27::text, $28::text`
		more = append([]any{[]string{}, []string{}, int64(1), int64(0), true, false}, make([]any, 11)...)
	}
	sql = "insert into tokens (" + columns + ") select " + values + " where true"
	if p.looks {
		sql += nothingFound("revoked", "$2::text", "$5")
	}
	if p.guards {
		sql += nothingFound("remembered", "$2::text", "$5")
	}
	if p.counts {
		sql = "with added as (" + sql + ` returning tenant), counted as (update counts c set tokens = c.tokens + 1 from added where c.tenant = added.tenant and c.part = 0)
			select from added`
	}
	return sql, more
}

// exchange are the statements of an exchange, and the parameters of the second beside those of all tables.
func (p *price) exchange() (read, replace string, more []any) {
	read, replace = "select "+readByHand, "update tokens set "+exchangeByHand
	anchors := []string{"$8::text", "$9::text", "$10::text"}
	if p.wide {
		read += ", *, xmin"
		replace += ", rotated_at = $6, nanoseconds = $8, retries = $9, last_ip = $10, last_asn = $11, last_user_agent = $12, due = least(due, $7)"
		more = append([]any{int64(1), int64(0)}, make([]any, 3)...)
		anchors = []string{"$13::text", "$14::text", "$15::text"}
	}
	replace += " where " + unchanged
	if p.looks {
		replace += nothingFound("revoked", "$2::text", anchors[0], anchors[1], anchors[2], "''")
	}
	return read + " from tokens where tenant = $1 and id = $2", replace, more
}

// verify fails if a call does not do what the price says.
func (p *price) verify(b *testing.B, h *hand, call func(i int) error) {
	b.Helper()
	if err := call(0); err != nil {
		b.Errorf("a call that nothing bars: %v", err)
	}
	for table, looked := range map[string]bool{"revoked": p.looks, "remembered": p.guards} {
		h.exec("insert into "+table+" values ($1, $2)", h.tenant, anchors(0)[2])
		if err := call(0); (err != nil) != looked {
			b.Errorf("%s: a call about a session that stands there: %v, where a look must be %v", table, err, looked)
		}
		h.exec("delete from " + table)
	}
	var counted, tokens int
	if err := h.pool.QueryRow(b.Context(), "select (select tokens from counts), count(*) from tokens").Scan(&counted, &tokens); err != nil {
		b.Fatal(err)
	}
	if p.counts != (counted == tokens) {
		b.Errorf("counted %d of %d", counted, tokens)
	}
	if locked := p.locks || p.within; waits(b, h, call) != locked {
		b.Errorf("a call while a revocation holds the lock: it waits: %v, where that must be %v", !locked, locked)
	}
}

// waits reports whether a call waits for whoever holds the lock alone.
func waits(b *testing.B, h *hand, call func(i int) error) (waiting bool) {
	b.Helper()
	holder, err := h.pool.Begin(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := holder.Exec(b.Context(), "select pg_advisory_xact_lock(1)"); err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- call(0) }()
	for ended := false; !ended && !waiting; ended = len(done) > 0 {
		if err := holder.QueryRow(b.Context(), "select exists (select from pg_locks where locktype = 'advisory' and not granted)").Scan(&waiting); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(holder.Rollback(b.Context()), <-done); err != nil {
		b.Error(err)
	}
	return waiting
}
