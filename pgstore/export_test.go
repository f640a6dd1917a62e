package pgstore

import (
	"context"
	"strings"
)

// MigrateTo brings the schema to an earlier version than [Migrate] does.
func MigrateTo(ctx context.Context, address string, version int) error {
	list, err := migrations()
	if err != nil {
		return err
	}
	return migrateBy(ctx, address, nil, list[:version])
}

// Naive has the backend do without some of what keeps its writers in order, to show what that is for.
func (b *Backend) Naive(how string) {
	q := *b.q
	b.q = &q
	without := func(sql *string) { *sql, _, _ = strings.Cut(*sql, ", pg_advisory_xact_lock") }
	switch how {
	case "":
	case "no locks":
		for _, sql := range []*string{&q.lockShared, &q.lockShort, &q.lockMerged, &q.lockExclusive} {
			without(sql)
			*sql += ", $2::bigint"
		}
	case "the number before the lock":
		sequence := q.head[strings.Index(q.head, "nextval(") : strings.Index(q.head, ") from generate_series")+1]
		q.lockShared = strings.Replace(q.lockShared, ", pg_advisory", ", set_config('naive.drawn', "+sequence+"::text, true), pg_advisory", 1)
		q.lockExclusive = strings.Replace(q.lockExclusive, ", pg_advisory", ", set_config('naive.drawn', '', true), pg_advisory", 1)
		q.head = strings.Replace(q.head, sequence, "coalesce(nullif(current_setting('naive.drawn', true), '')::bigint, "+sequence+")", 1)
	case "no lock of the feed":
		q.lockFeed = "select $1::bigint"
	case "snapshots":
		q.beginPortable = "begin isolation level repeatable read"
	default:
		panic(how)
	}
}

// LockOf is the number of a tenant's lock.
func (b *Backend) LockOf(tenant string) int64 { return b.lockOf(keyOf(tenant)) }

// Gathered is how many short calls of a tenant, those that read or those that write, wait to share the next transaction.
func (b *Backend) Gathered(tenant string, reads bool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g := b.groups[crowd{keyOf(tenant), reads}]; g != nil {
		return len(g.queue)
	}
	return 0
}
