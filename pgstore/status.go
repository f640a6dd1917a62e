package pgstore

import (
	"context"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// revocation is a tombstone, and where its sweep stands.
type revocation struct {
	status     store.Status
	supersedes ulid.ULID
	walks      bool // some target has no index: it is swept by the walk over all tokens

	// Where the sweep by index stands: at the target-th target, after this id.
	target int
	after  ulid.ULID

	// Where the walk stood when this tombstone joined it. One lap later it is done.
	joined bool
	from   ulid.ULID
	ends   int // how often the walk has come to the end of the tokens since then

	scrub scrub // where the erasure stands, once the sweep is over
}

func (r *revocation) id() ulid.ULID { return r.status.Tombstone.ID }

// scanRevocations takes rows of tombstones, one for each target, those of a tombstone one after the other.
func scanRevocations(into *[]*revocation) func(pgx.Rows) error {
	return func(row pgx.Rows) error {
		r := &revocation{}
		s, target := &r.status, targetRow{}
		var at, through, retired, guard instant
		var stage int
		var digest []byte
		fields := append([]any{
			(*identity)(&s.Tombstone.ID), (*number)(&s.Tombstone.Watermark), &at.at, &at.ns, &through.at, &through.ns, &s.Tombstone.Reason, &s.Tombstone.Actor,
			&s.Tombstone.Erases, &s.Retired, &retired.at, &retired.ns, &s.Examined, &s.Swept, (*identity)(&s.SupersededBy), (*identity)(&r.supersedes),
			&r.target, (*identity)(&r.after), &r.walks, &r.joined, (*identity)(&r.from), &r.ends,
			&stage, (*identity)(&r.scrub.after), &guard.at, &guard.ns, &digest, (*number)(&r.scrub.event),
		}, target.fields()...)
		if err := row.Scan(fields...); err != nil {
			return err
		}
		s.Tombstone.Time, s.Tombstone.Through, s.RetiredAt = at.time(), through.time(), retired.time()
		r.scrub.stage, r.scrub.guard = scrubStage(stage), guardAge{guard, digest}
		if list := *into; len(list) > 0 && list[len(list)-1].id() == r.id() {
			r = list[len(list)-1]
		} else {
			*into = append(list, r)
		}
		r.status.Tombstone.Targets = append(r.status.Tombstone.Targets, target.target())
		return nil
	}
}

// Revocation reads one revocation.
func (s *tenant) Revocation(ctx context.Context, id ulid.ULID) (store.Status, error) {
	var found []*revocation
	err := s.snapshot(ctx, func(t *tx) error {
		found = nil
		return t.finish(ctx, step{t.q.status, []any{t.tenant, identity(id)}, scanRevocations(&found)})
	})
	switch {
	case err != nil:
		return store.Status{}, err
	case len(found) == 0:
		return store.Status{}, store.ErrNotFound
	}
	return found[0].status, nil
}

// Revocations reads one page of revocations.
func (s *tenant) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	if err := q.Validate(); err != nil {
		return store.RevocationPage{}, err
	}
	sql := s.backend.q.pendingPage
	if q.Retired {
		sql = s.backend.q.retiredPage
	}
	var found []*revocation
	err := s.snapshot(ctx, func(t *tx) error {
		found = nil
		return t.finish(ctx, step{sql, []any{t.tenant, [16]byte(q.After), q.Limit + 1}, scanRevocations(&found)})
	})
	var page store.RevocationPage
	for i, r := range found {
		if i == q.Limit {
			page.Next = found[i-1].id()
			break
		}
		page.Revocations = append(page.Revocations, r.status)
	}
	return page, err
}

// write writes a new tombstone.
func (t *tx) write(r *revocation) {
	tombstone := &r.status.Tombstone
	at, through := instantOf(tombstone.Time), instantOf(tombstone.Through)
	t.do(step{sql: t.q.addTombstone, args: []any{
		t.tenant, identity(tombstone.ID), digestOfAll(tombstone.Targets), number(tombstone.Watermark), at.at, at.ns, through.at, through.ns,
		tombstone.Reason, tombstone.Actor, tombstone.Erases, !tombstone.Anchored(), r.walks, identity(r.supersedes),
	}})
	t.writeTargets(tombstone, true)
}

func (t *tx) writeTargets(tombstone *domain.Tombstone, pending bool) {
	for i := range tombstone.Targets {
		t.do(step{sql: t.q.addTarget, args: append([]any{t.tenant, identity(tombstone.ID), i, pending}, targetArgs(&tombstone.Targets[i])...)})
	}
}

// relabel writes what an erasure has left of a tombstone.
func (t *tx) relabel(tombstone *domain.Tombstone, pending bool) {
	t.do(
		step{sql: t.q.relabel, args: []any{t.tenant, identity(tombstone.ID), digestOfAll(tombstone.Targets), tombstone.Reason, tombstone.Actor}},
		step{sql: t.q.dropTargets, args: []any{t.tenant, identity(tombstone.ID)}},
	)
	t.writeTargets(tombstone, pending)
}

// keep writes how far a sweep has come.
func (t *tx) keep(r *revocation) {
	t.do(step{sql: t.q.progress, args: []any{
		t.tenant, identity(r.id()), int64(r.status.Examined), int64(r.status.Swept), r.target, [16]byte(r.after), r.walks, r.joined, [16]byte(r.from), r.ends,
		int(r.scrub.stage), [16]byte(r.scrub.after), r.scrub.guard.at, r.scrub.guard.ns, r.scrub.guard.digestBytes(), number(r.scrub.event),
	}})
}
