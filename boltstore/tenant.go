package boltstore

import (
	"bytes"
	"context"
	"runtime"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// tenant is the store of one tenant: a name, and the file.
type tenant struct {
	backend *Backend
	name    string
}

var _ store.Store = (*tenant)(nil)

func (t *tenant) view(ctx context.Context, f func(*records) error) error {
	return t.backend.view(ctx, func(x *txn) error { return f(x.records(t.name)) })
}

func (t *tenant) peek(ctx context.Context, f func(*records) error) (id int, err error) {
	return t.backend.peek(ctx, func(x *txn) error { return f(x.records(t.name)) })
}

func (t *tenant) update(ctx context.Context, f func(*records) error) error {
	return t.backend.update(ctx, func(x *txn) error { return f(x.records(t.name)) })
}

// Insert adds tokens.
func (t *tenant) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	if err := store.CheckInsert(rows); err != nil {
		return nil, err
	}
	rows = slices.Clone(rows) // they are read by whoever leads the commit
	var results []store.Inserted
	err := t.update(ctx, func(r *records) error {
		results = make([]store.Inserted, len(rows))
		wrote := false
		for i := range rows {
			results[i] = r.insert(rows[i])
			wrote = wrote || results[i].Err == nil
		}
		if wrote {
			r.save()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (r *records) insert(row store.Insertion) store.Inserted {
	token := row.Token
	if there, ok := r.token(token.ID); ok {
		return store.Inserted{There: &there, Err: store.ErrExists}
	}
	for candidate := range row.Candidates() {
		barred := func(named *domain.RefreshToken) bool { return r.barred(named, row.AsOf) }
		if err := domain.Admit(candidate, row.AsOf, r.meta.horizon, r.meta.erasureKey, barred); err != nil {
			return store.Inserted{Err: err}
		}
	}
	if _, taken := r.find(token.ForeignDigest); taken {
		return store.Inserted{Err: store.ErrDigestTaken}
	}
	surplus := r.surplus(&token, row.Cap)
	if len(surplus) > 0 && row.Cap.Refuse {
		return store.Inserted{Err: store.ErrCap}
	}
	evicted := r.evict(surplus, token.CreatedAt)
	for i := range evicted {
		r.emitToken(row.Emit, store.KindEvicted, token.CreatedAt, &evicted[i])
	}
	token.Sequence = r.meta.next()
	if token.CreatedAt.After(r.meta.latest) {
		r.meta.latest = token.CreatedAt
	}
	r.meta.tokens++
	fresh := record{token: token, due: uint64(token.DueSecond())}
	r.putRecord(&fresh)
	r.index(slices.Collect(fresh.entries())...)
	r.settle()
	if token.SessionID.IsNull() {
		r.meta.sessionless++
	}
	r.emitToken(row.Emit, store.KindIssued, token.CreatedAt, &token)
	return store.Inserted{Sequence: token.Sequence, Evicted: evicted}
}

func (r *records) barred(candidate *domain.RefreshToken, asOf domain.AsOf) (barred bool) {
	r.fenced(candidate, func(p *revocation) bool {
		barred = p.status.Tombstone.Bars(candidate, asOf)
		return !barred
	})
	if barred || r.meta.guards == 0 {
		return barred
	}
	for _, anchor := range candidate.Anchors() {
		r.after(bucketGuards, anchorKey(anchor), nil, func(_, v []byte) bool {
			guard := must(decode(v, codec.Guard))
			barred = guard.Bars(candidate, asOf)
			return !barred
		})
		if barred {
			return true
		}
	}
	return false
}

// Get reads one token.
func (t *tenant) Get(ctx context.Context, id ulid.ULID) (v store.View, err error) {
	commit, err := t.peek(ctx, func(r *records) error {
		token, ok := r.token(id)
		if !ok {
			return store.ErrNotFound
		}
		v = store.View{Token: token, RevokedBy: r.revokedBy(&token)}
		return nil
	})
	return v, t.backend.certainIfGone(ctx, commit, v, err)
}

// List reads one page.
func (t *tenant) List(ctx context.Context, q store.Query) (page store.Page, err error) {
	if err := q.Validate(); err != nil {
		return store.Page{}, err
	}
	err = t.view(ctx, func(r *records) error {
		row := func(token *domain.RefreshToken) bool {
			if !q.Matches(token) || q.Fenced && !r.revokedBy(token).IsZero() {
				return true
			}
			if len(page.Tokens) == q.Limit { // one more is there, so this page is not the last
				page.Next = page.Tokens[q.Limit-1].ID
				return false
			}
			page.Tokens = append(page.Tokens, *token)
			return true
		}
		found := func(id ulid.ULID) bool {
			token, ok := r.token(id)
			return !ok || row(&token)
		}
		switch {
		case q.SessionID != "":
			r.indexed(underSession(q.SessionID), q.After, found)
		case q.UserID != "":
			r.indexed(underUser(q.UserID), q.After, found)
		default:
			r.walk(q.After, func(x *record, _ []byte) bool { return row(&x.token) })
		}
		return nil
	})
	return page, err
}

// Update changes one token. What would write nothing is decided on a snapshot, and waits for no commit but one that it has seen. What
// would is decided again in the commit, unless decide would be shown the same.
func (t *tenant) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	var there record  // as it was looked at last, and shown to decide
	var stored []byte // the same as it is stored
	var by ulid.ULID  // the tombstone that covers it, or zero
	look := func(r *records) (changed bool, err error) {
		data := r.stored(id)
		if data == nil {
			stored = nil // of what was decided last nothing is left
			return true, store.ErrNotFound
		}
		same := bytes.Equal(data, stored)
		if !same {
			there = record{}
			there.read(id, data)
			stored = bytes.Clone(data)
		}
		before := by
		by = r.revokedBy(&there.token)
		return !same || by != before, nil
	}
	var last run
	commit, err := t.backend.consult(ctx, func(x *txn) error {
		_, err := look(x.records(t.name))
		return err
	}, func() {
		last.decision = decide(store.View{Token: there.token, RevokedBy: by})
		last.prepare(there.due)
	})
	if err != nil || !last.decision.Writes() {
		err = t.backend.certain(ctx, commit, err)
	} else {
		err = t.update(ctx, func(r *records) error {
			changed, err := look(r)
			if err != nil {
				last = run{}
				return err
			}
			if changed {
				last = guarded(decide, store.View{Token: there.token, RevokedBy: by})
				last.prepare(there.due)
			}
			if !last.writes() {
				return nil
			}
			return r.effect(store.View{Token: there.token, RevokedBy: by}, &last)
		})
	}
	switch {
	case last.panicked != nil:
		panic(last.panicked) // in the caller's goroutine, whichever led the commit
	case last.exited:
		runtime.Goexit()
	case err != nil:
		return err
	}
	return last.decision.Err
}

// run is what became of one run of decide.
type run struct {
	decision store.Decision
	next     record // what decision.Next becomes, if it is set
	sooner   bool   // next is to be looked at for expiry sooner than the record before it
	encoded  []byte // next as it is to be stored, unless it is due sooner
	panicked any    // what it panicked with
	exited   bool   // it ended its goroutine
}

func (r *run) writes() bool {
	return r.panicked == nil && !r.exited && r.decision.Writes()
}

// prepare makes ready what is to be stored in the place of a record that is due to be looked at, so that the commit has less to do.
func (r *run) prepare(due uint64) {
	if !r.writes() || r.decision.Next == nil {
		return
	}
	r.next = record{token: *r.decision.Next, due: due} // a copy: what is checked in the commit is what is written
	r.decision.Next = &r.next.token
	// A life that is cut short; one that is renewed is put off when it comes up.
	ends := uint64(r.next.token.DueSecond())
	if r.sooner = ends != 0 && (due == 0 || ends < due); !r.sooner {
		r.encoded = encode(&r.next, recordFields)
	}
}

// guarded runs decide in a goroutine of its own: neither a panic nor runtime.Goexit must end that of another call, which
// may be leading the commit.
func guarded(decide func(store.View) store.Decision, v store.View) (r run) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			r.panicked = recover()
			r.exited = r.exited && r.panicked == nil
		}()
		r.exited = true
		r.decision = decide(v)
		r.exited = false
	}()
	<-done
	return r
}

// effect writes what was decided on a token, or refuses it before it has written anything.
func (r *records) effect(v store.View, run *run) error {
	d := &run.decision
	if err := d.Check(&v); err != nil {
		return err
	}
	if d.Revoke != nil {
		if _, err := r.revoke(*d.Revoke, &v.Token); err != nil {
			return err
		}
	}
	if d.Next != nil {
		if run.sooner {
			next := run.next // which stays as it is, for the commit may be tried again
			r.schedule(&next)
			r.rewrite(next.token.ID, encode(&next, recordFields))
		} else {
			r.rewrite(d.Next.ID, run.encoded)
		}
		r.settle()
		v.Token = *d.Next
	}
	if d.Emit != 0 {
		r.emitToken(d.Emit, d.Emit, d.Time, &v.Token)
		r.save()
	}
	return nil
}

// State counts what is there.
func (t *tenant) State(ctx context.Context) (s store.State, err error) {
	err = t.view(ctx, func(r *records) error {
		m := r.meta
		s = store.State{
			Sequence: m.sequence, Horizon: m.horizon, Tokens: int(m.tokens), Sessionless: int(m.sessionless),
			Pending: int(m.pending), Guards: int(m.guards), History: int(m.history), Events: int(m.events), LastEvent: m.lastEvent,
		}
		r.after(bucketLive, nil, nil, func(_, v []byte) bool {
			p := must(decode(v, revocationFields))
			if at := p.status.Tombstone.Time; s.OldestPending.IsZero() || at.Before(s.OldestPending) {
				s.OldestPending = at
			}
			return true
		})
		return nil
	})
	return s, err
}

// Revocation reads one revocation.
func (t *tenant) Revocation(ctx context.Context, id ulid.ULID) (s store.Status, err error) {
	err = t.view(ctx, func(r *records) error {
		var ok bool
		if s, ok = r.status(id); !ok {
			return store.ErrNotFound
		}
		return nil
	})
	return s, err
}

// Revocations reads one page of revocations.
func (t *tenant) Revocations(ctx context.Context, q store.RevocationQuery) (page store.RevocationPage, err error) {
	if err := q.Validate(); err != nil {
		return store.RevocationPage{}, err
	}
	bucket := bucketLive
	if q.Retired {
		bucket = bucketRetired
	}
	var from []byte
	if !q.After.IsZero() {
		from = q.After[:]
	}
	err = t.view(ctx, func(r *records) error {
		r.after(bucket, nil, from, func(_, v []byte) bool {
			if len(page.Revocations) == q.Limit {
				page.Next = page.Revocations[q.Limit-1].Tombstone.ID
				return false
			}
			p := must(decode(v, revocationFields))
			page.Revocations = append(page.Revocations, p.status)
			return true
		})
		return nil
	})
	return page, err
}
