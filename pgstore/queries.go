package pgstore

import (
	"strings"

	"github.com/jackc/pgx/v5"
)

// queries are all statements of the package but those of migrations, on the tables of one schema. What takes a tenant's rows takes
// the tenant as its first argument, and finds them by an index that begins with it.
type queries struct {
	// Transactions, and tenants.
	begin, beginSnapshot, beginPortable, beginPortableRead, commit, rollback     string
	limit, lockShort, lockMerged, lockShared, lockExclusive, lockPairs, lockFeed string
	head, totals, pending, state, addTenant, saveHead, addTally, forgetLatest    string
	tenants, pendingTenants                                                      string
	// Tokens.
	get, getLocked, getAll, getForeign, find, listAll, listUser, listSession string
	add, replace, remove, ofPairs, due, putOff, nextDue                      string
	look, exchange, issue                                                    verb
	// What covers a token, and what bars one.
	fenceOf, fenceOfPairs, fenceOver, bars string
	// Revocations.
	status, sameTargets, unanchored, pendingPage, retiredPage, notify                      string
	addTombstone, addTarget, dropTargets, relabel, touch, retire, unfence, forget, mayTrim string
	// Sweeps.
	claim, anyErases, walkers, addWalk, takeWalk, saveWalk, progress string
	sweepAll, sweepUser, sweepSession, sweepToken                    string
	// Memory.
	remember, guards, dropGuards, history string
	// The feed.
	emit, emitPortable, feed, feedEnds, scrubEvent, dropEvents, dropAllEvents string
	// Restorations.
	restorations, saveRestorations string
}

// macros stand for what several statements have in common.
var macros = []string{
	"$tokens", tokenColumns, "$cover", coverColumns, "$targets", targetColumns,

	"$status", `select ts.id, watermark, at, at_ns, through, through_ns, reason, actor, erases, retired, retired_at, retired_ns, examined, swept,
		superseded_by, supersedes, target, after, walks, joined, walk_from, ends, scrub, scrub_after, scrub_at, scrub_at_ns, scrub_guard, scrub_event,
		` + targetColumns + `
		from tokenstore.tombstones ts join tokenstore.targets tt on tt.tenant = ts.tenant and tt.tombstone = ts.id where ts.tenant = $1`,
	"$byPlace", `order by ts.id, tt.place`,

	// The pending targets that may match a token: by its anchors, and by the next constraint, so that thousands which name the same user
	// or client are not all looked at.
	"$fence", `select ts.id, watermark, at, at_ns, through, through_ns, tt.token_id, tt.user_id, tt.client_id, tt.session_id, tt.audience,
		tt.issued_before, tt.issued_before_ns, tt.legacy_before, tt.legacy_before_ns, tt.offline, tt.everything
		from tokenstore.tokens t
		cross join lateral (values (0, t.id::text collate "C"), (1, t.session_id), (2, t.user_id), (3, t.client_id), (4, '')) a (kind, value)
		join tokenstore.targets tt on tt.tenant = t.tenant and tt.anchor_kind = a.kind and tt.anchor = a.value and tt.pending
			and (tt.client_id is null or tt.client_id = t.client_id) and (tt.audience is null or tt.audience = any (t.audiences))
		join tokenstore.tombstones ts on ts.tenant = tt.tenant and ts.id = tt.tombstone
		where t.tenant = $1`,

	"$pairs", `(t.user_id, t.client_id) in (select u, c from unnest($2::text[], $3::text[]) as p (u, c))`,
	"$anchors", `unnest($2::smallint[], $3::text[]) as a (kind, value)`,

	// What is added to the connection's part of the tally.
	"$tally", `insert into tokenstore.tallies as t (tenant, part, tokens, sessionless, guards, history, events, sequence, latest, latest_ns)`,
	"$counted", `on conflict (tenant, part) do update set tokens = t.tokens + excluded.tokens, sessionless = t.sessionless + excluded.sessionless,
		guards = t.guards + excluded.guards, history = t.history + excluded.history, events = t.events + excluded.events,
		sequence = greatest(t.sequence, excluded.sequence), latest = greatest(t.latest, excluded.latest),
		latest_ns = case when (excluded.latest, excluded.latest_ns) > (t.latest, t.latest_ns) then excluded.latest_ns else t.latest_ns end`,

	"$emit", `insert into tokenstore.events (tenant, number, kind, at, at_ns, sequence, revocation, reason, actor, erases, count, retired, about) select $1::uuid,`,
	"$fields", `, $2::integer, $3::timestamptz, $4::smallint, $5::numeric, $6::uuid, $7::text, $8::text, $9::boolean, $10::bigint, $11::boolean, $12::jsonb
		from tokenstore.tenants t where t.tenant = $1`,
}

func newQueries(schema string) *queries {
	expand := strings.NewReplacer(macros...).Replace
	qualify := strings.NewReplacer("tokenstore.", pgx.Identifier{schema}.Sanitize()+".").Replace
	in := func(sql string) string { return qualify(expand(sql)) }
	q := &queries{}
	q.tenantQueries(in)
	q.tokenQueries(in)
	q.shortQueries(in)
	q.revocationQueries(in)
	q.memoryQueries(in)
	return q
}

func (q *queries) tenantQueries(in func(string) string) {
	q.begin = `begin isolation level read committed`
	q.beginSnapshot = `begin isolation level repeatable read read only`
	q.beginPortable = `begin isolation level serializable`
	q.beginPortableRead = `begin isolation level serializable read only`
	q.commit, q.rollback = `commit`, `rollback`
	// The limits of time: that of a statement, of waiting for a lock, and of standing idle, lest a process that stops dead in the middle hold up
	// the tenant's revocations.
	const limits = `select set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, true),
		set_config('idle_in_transaction_session_timeout', $1, true)`
	q.limit = limits
	q.lockShared = limits + `, pg_advisory_xact_lock_shared($2)`
	// The limit of a statement begins with the next one; that of waiting for a lock at once.
	const short = `select set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, true)`
	q.lockShort = short + `, pg_advisory_xact_lock_shared($2)`
	// A statement about many tokens is planned once, for any number of them, and so that it stays quick as tables grow.
	q.lockMerged = short + `, set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
		set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), pg_advisory_xact_lock_shared($2)`
	q.lockExclusive = limits + `, pg_advisory_xact_lock($2)`
	q.lockPairs = `select pg_advisory_xact_lock(pair) from unnest($1::bigint[]) as pair`
	q.lockFeed = `select pg_advisory_xact_lock_shared($1)`

	q.head = in(`select created, base, erased_through, horizon_sequence, horizon, horizon_ns, erasure_key, origin, complete, events_floor,
		array(select nextval('tokenstore.numbers') from generate_series(1, $2::integer))
		from tokenstore.tenants where tenant = $1`)
	q.totals = in(`select coalesce(sum(tokens), 0)::bigint, coalesce(sum(sessionless), 0)::bigint, coalesce(sum(guards), 0)::bigint,
		coalesce(sum(history), 0)::bigint, coalesce(sum(events), 0)::bigint, coalesce(max(sequence), 0),
		coalesce((array_agg(latest order by latest desc, latest_ns desc))[1], '0001-01-01 00:00:00+00'),
		coalesce((array_agg(latest_ns order by latest desc, latest_ns desc))[1], 0::smallint)
		from tokenstore.tallies where tenant = $1`)
	q.pending = in(`select count(*) from tokenstore.tombstones where tenant = $1 and not retired`)
	q.state = in(`select s.sequence, t.horizon_sequence, t.horizon, t.horizon_ns, s.tokens, s.sessionless,
		p.count, coalesce(p.at, '0001-01-01 00:00:00+00'), coalesce(p.at_ns, 0), s.guards, s.history, s.events,
		greatest(t.events_floor, (select max(number) from tokenstore.events where tenant = $1))
		from tokenstore.tenants t
		cross join (select coalesce(max(sequence), 0) as sequence, coalesce(sum(tokens), 0)::bigint as tokens,
			coalesce(sum(sessionless), 0)::bigint as sessionless, coalesce(sum(guards), 0)::bigint as guards,
			coalesce(sum(history), 0)::bigint as history, coalesce(sum(events), 0)::bigint as events
			from tokenstore.tallies where tenant = $1) s
		cross join (select count(*) as count, (array_agg(at order by at, at_ns))[1] as at, (array_agg(at_ns order by at, at_ns))[1] as at_ns
			from tokenstore.tombstones where tenant = $1 and not retired) p
		where t.tenant = $1`)
	q.addTenant = in(`insert into tokenstore.tenants (tenant, name) values ($1, $2) on conflict do nothing`)
	q.saveHead = in(`update tokenstore.tenants set created = $2, base = $3, erased_through = $4, horizon_sequence = $5, horizon = $6, horizon_ns = $7,
		erasure_key = $8, origin = $9, complete = $10, events_floor = $11 where tenant = $1`)
	q.addTally = in(`$tally values ($1, pg_backend_pid() % 128, $2, $3, $4, $5, $6, $7, $8, $9) $counted`)
	q.forgetLatest = in(`update tokenstore.tallies set latest = '0001-01-01 00:00:00+00', latest_ns = 0 where tenant = $1`)

	q.tenants = in(`select t.name from tokenstore.tenants t
		cross join lateral (select coalesce(max(sequence), 0) as sequence, coalesce(sum(tokens + guards + history), 0) as held
			from tokenstore.tallies where tenant = t.tenant) s
		where t.name > $1 and (t.created or s.sequence > 0 and (s.held > 0 or t.erased_through is distinct from s.sequence
			or exists (select from tokenstore.tombstones p where p.tenant = t.tenant and not p.retired)))
		order by t.name limit $2`)
	q.pendingTenants = in(`select name from tokenstore.tenants
		where tenant in (select tenant from tokenstore.tombstones where not retired) and name > $1 order by name limit $2`)
}

func (q *queries) tokenQueries(in func(string) string) {
	q.get = in(`select $tokens from tokenstore.tokens where tenant = $1 and id = $2`)
	q.getLocked = in(`select $tokens from tokenstore.tokens where tenant = $1 and id = $2 for update`)
	q.getAll = in(`select $tokens from tokenstore.tokens where tenant = $1 and id = any ($2)`)
	q.getForeign = in(`select $tokens from tokenstore.tokens where tenant = $1 and foreign_digest = any ($2)`)
	q.find = in(`select id from tokenstore.tokens where tenant = $1 and foreign_digest = $2`)
	q.listAll = in(`select $tokens from tokenstore.tokens where tenant = $1 and id > $2 order by id limit $3`)
	q.listUser = in(`select $tokens from tokenstore.tokens where tenant = $1 and id > $2 and user_id = $4 and ($5 = '' or client_id = $5) order by id limit $3`)
	q.listSession = in(`select $tokens from tokenstore.tokens where tenant = $1 and id > $2 and session_id = $4 and ($5 = '' or client_id = $5)
		and ($6 = '' or user_id = $6) order by id limit $3`)

	q.add = in(`insert into tokenstore.tokens (tenant, $tokens, due) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
		$18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37)`)
	q.replace = in(`update tokenstore.tokens set authenticated_at = $3, expires_at = $4, idle_expires_at = $5, last_exchanged_at = $6, rotated_at = $7,
		nanoseconds = $8, idle_lifetime = $9, rotating = $10, offline = $11, generation = $12, retries = $13, salt = $14, family_digest = $15,
		secret_digest = $16, pepper_key_id = $17, confirmation_kind = $18, confirmation = $19, metadata = $20,
		initial_ip = $21, initial_asn = $22, initial_user_agent = $23, last_ip = $24, last_asn = $25, last_user_agent = $26,
		due = least(due, $27) where tenant = $1 and id = $2`)
	q.remove = in(`delete from tokenstore.tokens where tenant = $1 and id = any ($2) returning id, session_id is null`)
	q.ofPairs = in(`select $tokens from tokenstore.tokens t where tenant = $1 and $pairs order by id for update`)
	q.due = in(`select id, expires_at, idle_expires_at, nanoseconds from tokenstore.tokens where tenant = $1 and due <= $2
		order by due, id limit $3 for update skip locked`)
	q.putOff = in(`update tokenstore.tokens set due = $3 where tenant = $1 and id = $2`)
	q.nextDue = in(`select due from tokenstore.tokens where tenant = $1 and due is not null order by due limit 1`)

	q.fenceOf = in(`$fence and t.id = $2`)
	q.fenceOfPairs = in(`$fence and $pairs`)
	q.fenceOver = in(`select ts.id, watermark, at, at_ns, through, through_ns, $targets
		from $anchors join tokenstore.targets tt on tt.tenant = $1 and tt.anchor_kind = a.kind and tt.anchor = a.value and tt.pending
		join tokenstore.tombstones ts on ts.tenant = tt.tenant and ts.id = tt.tombstone`)
	q.bars = in(`select ts.id, watermark, at, at_ns, through, through_ns, $targets
		from $anchors join tokenstore.targets tt on tt.tenant = $1 and tt.anchor_kind = a.kind and tt.anchor = a.value and tt.pending
			and (tt.client_id is null or tt.client_id = any ($4)) and (tt.audience is null or tt.audience = any ($5))
		join tokenstore.tombstones ts on ts.tenant = tt.tenant and ts.id = tt.tombstone
		union all select null, watermark, at, at_ns, through, through_ns, $targets
		from $anchors join tokenstore.guards g on g.tenant = $1 and g.anchor_kind = a.kind and g.anchor = a.value
			and (g.client_id is null or g.client_id = any ($4)) and (g.audience is null or g.audience = any ($5))`)
}

// shortQueries are the statements of the short way. The server plans each once, perhaps while its tables are all but empty and it has no statistics
// of them, and goes by that plan until it has. So it must not have a choice then: what is looked for in a subquery with an offset or a limit is
// looked for once for each row outside, by the one index that has all of it; by what is reckoned out there, for to cast a value makes that
// index look dearer than others.
func (q *queries) shortQueries(in func(string) string) {
	both := func(rank int, columns []column, one, many, sql string) verb {
		rowsOne, rowsMany := rowsOf(columns)
		return verb{rank, in(strings.NewReplacer("$rows", rowsOne, "$differs", one).Replace(sql)), in(strings.NewReplacer("$rows", rowsMany, "$differs", many).Replace(sql))}
	}
	sought := func(columns, id string) string {
		return "select " + columns + " from tokenstore.tokens where tenant = $1 and id = " + id
	}
	q.look = verb{0, in(sought("$tokens, xmin", "$2")), in("select t.* from unnest((select $2::uuid[])) as r (id) cross join lateral (" +
		sought("$tokens, xmin", "r.id") + " offset 0) t")}
	q.exchange = both(1, exchanges, `where t.tenant = $1 and t.id = r.id`,
		"cross join lateral ("+sought("ctid as place", "r.id")+" offset 0) y where t.ctid = y.place",
		`update tokenstore.tokens t set idle_expires_at = r.idle_expires_at, last_exchanged_at = r.last_exchanged_at, rotated_at = r.rotated_at,
			nanoseconds = r.nanoseconds, generation = r.generation, retries = r.retries, salt = r.salt, secret_digest = r.secret_digest,
			last_ip = r.last_ip, last_asn = r.last_asn, last_user_agent = r.last_user_agent, due = least(t.due, r.due)
		from $rows $differs and t.xmin = r.version and current_setting('transaction_isolation') = 'read committed'
			and not exists (select from (values (0, t.id::text collate "C"), (1, t.session_id), (2, t.user_id), (3, t.client_id), (4, '')) a (kind, value)
				cross join lateral (select from tokenstore.targets tt where tt.tenant = $1 and tt.anchor_kind = a.kind and tt.anchor = a.value and tt.pending limit 1) f offset 0)
		returning t.id`)
	// What stems from now is refused by what names the token or its session, and by nothing else.
	named := func(kind, value string) string {
		return strings.NewReplacer("$kind", kind, "$value", value+` collate "C"`).Replace(`
				and not exists (select from tokenstore.targets tt where tt.tenant = $1 and tt.anchor_kind = $kind and tt.anchor = $value and tt.pending offset 0)
				and not exists (select from tokenstore.guards g where g.tenant = $1 and g.anchor_kind = $kind and g.anchor = $value offset 0)`)
	}
	q.issue = both(2, append(issued[:len(issued):len(issued)], column{"anchor", "text"}), `(select 1 as tokens, sessionless::integer as sessionless, sequence, created_at, ns from added) n`,
		`(select count(*) as tokens, count(*) filter (where sessionless) as sessionless, max(sequence) as sequence from added) c
				cross join lateral (select c.*, created_at, ns from added order by created_at desc, ns desc limit 1) n`,
		`with added as (
			insert into tokenstore.tokens (tenant, sequence, `+names(issued)+`) select $1, t.base + nextval('tokenstore.numbers'), `+values(issued)+`
			from tokenstore.tenants t cross join $rows
			where t.tenant = $1 and current_setting('transaction_isolation') = 'read committed'`+named("0", "r.anchor")+named("1", "r.session_id")+`
			on conflict do nothing returning id, sequence, session_id is null as sessionless, created_at, nanoseconds & 1023 as ns
		), tallied as (
			$tally select $1, pg_backend_pid() % 128, n.tokens, n.sessionless, 0, 0, 0, n.sequence, n.created_at, n.ns from $differs $counted
		)
		select id, sequence from added`)
}

func (q *queries) revocationQueries(in func(string) string) {
	q.status = in(`$status and ts.id = $2 $byPlace`)
	q.sameTargets = in(`$status and ts.targets_digest = $2 and ts.erases = $3 and not ts.retired $byPlace`)
	q.pendingPage = in(`$status and ts.id in (select id from tokenstore.tombstones where tenant = $1 and not retired and id > $2 order by id limit $3) $byPlace`)
	q.retiredPage = in(`$status and ts.id in (select id from tokenstore.tombstones where tenant = $1 and retired and id > $2 order by id limit $3) $byPlace`)
	q.unanchored = in(`select count(*) from tokenstore.tombstones where tenant = $1 and not retired and unanchored`)
	q.addTombstone = in(`insert into tokenstore.tombstones (tenant, id, targets_digest, watermark, at, at_ns, through, through_ns, reason, actor, erases,
		unanchored, walks, supersedes) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`)
	q.addTarget = in(`insert into tokenstore.targets (tenant, tombstone, place, pending, $targets)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`)
	q.dropTargets = in(`delete from tokenstore.targets where tenant = $1 and tombstone = $2`)
	q.relabel = in(`update tokenstore.tombstones set targets_digest = $3, reason = $4, actor = $5 where tenant = $1 and id = $2`)
	q.touch = in(`update tokenstore.tombstones set swept = swept where tenant = $1 and id = $2`)
	q.retire = in(`update tokenstore.tombstones set retired = true, retired_at = $3, retired_ns = $4, superseded_by = $5, trimmable = $6
		where tenant = $1 and id = $2`)
	q.unfence = in(`update tokenstore.targets set pending = false where tenant = $1 and tombstone = $2`)
	q.forget = in(`delete from tokenstore.tombstones where tenant = $1 and id = any ($2)`)
	q.mayTrim = in(`update tokenstore.tombstones set trimmable = true where tenant = $1 and id = any ($2) and retired`)
	q.notify = `select pg_notify($1, $2)`

	q.claim = in(`$status and ts.id = any ($2) and not ts.retired $byPlace for update of ts skip locked`)
	q.anyErases = in(`select from tokenstore.tombstones where tenant = $1 and not retired and erases
		and (id = any ($2) or walks and exists (select from tokenstore.tombstones w where w.tenant = $1 and not w.retired and w.walks and w.id = any ($2))) limit 1`)
	q.walkers = in(`$status and not ts.retired and ts.walks $byPlace for update of ts`)
	q.addWalk = in(`insert into tokenstore.walks (tenant) values ($1) on conflict do nothing`)
	q.takeWalk = in(`select position from tokenstore.walks where tenant = $1 for update skip locked`)
	q.saveWalk = in(`update tokenstore.walks set position = $2 where tenant = $1`)
	q.progress = in(`update tokenstore.tombstones set examined = $3, swept = $4, target = $5, after = $6, walks = $7, joined = $8, walk_from = $9, ends = $10,
		scrub = $11, scrub_after = $12, scrub_at = $13, scrub_at_ns = $14, scrub_guard = $15, scrub_event = $16 where tenant = $1 and id = $2`)
	q.sweepAll = in(`select $cover from tokenstore.tokens where tenant = $1 and id > $2 order by id limit $3`)
	q.sweepToken = in(`select $cover from tokenstore.tokens where tenant = $1 and id > $2 and id = $4 limit $3`)
	q.sweepUser = in(`select $cover from tokenstore.tokens where tenant = $1 and id > $2 and user_id = $4 order by id limit $3`)
	q.sweepSession = in(`select $cover from tokenstore.tokens where tenant = $1 and id > $2 and session_id = $4 order by id limit $3`)
}

func (q *queries) memoryQueries(in func(string) string) {
	q.remember = in(`insert into tokenstore.guards as g (tenant, digest, watermark, at, at_ns, through, through_ns, $targets)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
		on conflict (tenant, digest) do update set joined = g.joined + 1, watermark = greatest(g.watermark, excluded.watermark),
			at = greatest(g.at, excluded.at), through = greatest(g.through, excluded.through),
			at_ns = case when (excluded.at, excluded.at_ns) > (g.at, g.at_ns) then excluded.at_ns else g.at_ns end,
			through_ns = case when (excluded.through, excluded.through_ns) > (g.through, g.through_ns) then excluded.through_ns else g.through_ns end
		returning joined`)
	q.guards = in(`select watermark, at, at_ns, through, through_ns, digest, $targets from tokenstore.guards
		where tenant = $1 and (at, at_ns, digest) > ($2, $3, $4) order by at, at_ns, digest limit $5`)
	q.dropGuards = in(`delete from tokenstore.guards where tenant = $1 and digest = any ($2)`)
	q.history = in(`select id, supersedes, retired_at, retired_ns from tokenstore.tombstones where tenant = $1 and trimmable
		order by retired_at, retired_ns, id limit $2`)

	q.emit = in(`$emit t.base + nextval('tokenstore.numbers') $fields`)
	q.emitPortable = in(`$emit 1 + greatest(t.events_floor, (select max(number) from tokenstore.events where tenant = $1)) $fields`)
	q.feed = in(`select number, kind, at, at_ns, sequence, revocation, reason, actor, erases, count, retired, about from tokenstore.events
		where tenant = $1 and number > $2 order by number limit $3`)
	q.feedEnds = in(`select events_floor, greatest(events_floor, (select max(number) from tokenstore.events where tenant = $1))
		from tokenstore.tenants where tenant = $1`)
	q.scrubEvent = in(`update tokenstore.events set kind = $3, sequence = $4, revocation = $5, reason = $6, actor = $7, erases = $8, count = $9, retired = $10,
		about = $11 where tenant = $1 and number = $2`)
	q.dropEvents = in(`delete from tokenstore.events where tenant = $1 and number = any ($2)`)
	q.dropAllEvents = in(`delete from tokenstore.events where tenant = $1`)

	q.restorations = in(`select restorations from tokenstore.tenants where tenant = $1`)
	q.saveRestorations = in(`update tokenstore.tenants set restorations = $2 where tenant = $1`)
}
