package etcdstore

import (
	"context"
	"slices"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// fewRows is up to how many rows of an Insert are guarded each by its own anchors. Beyond that a comparison for each would take
// more room than the rows, and the batch waits for a moment in which nobody revokes.
const fewRows = 16

// Insert adds tokens.
func (t *tenant) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	if err := store.CheckInsert(rows); err != nil {
		return nil, err
	}
	results, err := t.guess(ctx, rows)
	if results != nil || err != nil {
		return results, err
	}
	x, err := t.update(ctx, func(x *txn) error {
		results = x.insertAll(rows)
		return nil
	})
	if err != nil {
		return nil, err
	}
	x.settled(results)
	return results, nil
}

// insertAll decides rows one after the other, as if each were inserted before the next is looked at.
func (t *txn) insertAll(rows []store.Insertion) []store.Inserted {
	results := make([]store.Inserted, len(rows))
	t.lookAhead(rows)
	for i := range rows {
		results[i] = t.insert(&rows[i], len(rows) <= fewRows)
	}
	return results
}

// settled replaces the numbers in results by what they turned out to be.
func (t *txn) settled(results []store.Inserted) {
	for i := range results {
		t.final(&results[i].Sequence)
		if there := results[i].There; there != nil {
			t.final(&there.Sequence)
		}
		for j := range results[i].Evicted {
			t.final(&results[i].Evicted[j].Sequence)
		}
	}
}

// lookAhead reads what most rows need in as few requests as it takes: for one row, in one.
func (t *txn) lookAhead(rows []store.Insertion) {
	keys := []string{t.below(keyHead), t.below(keyMark)}
	if len(rows) > fewRows {
		keys = append(keys, t.below(keyGuardMark))
	}
	var spans []span
	known := map[span]bool{}
	for i := range rows {
		token := &rows[i].Token
		keys = append(keys, t.below(idKey(keyTokens, token.ID)))
		if token.ForeignDigest != (domain.Digest{}) {
			keys = append(keys, t.below(foreignKey(token.ForeignDigest)))
		}
		for _, anchor := range anchors(token, rows[i].AsOf.Reach()) {
			if s := t.guards(anchor); !known[s] {
				known[s] = true
				spans = append(spans, s)
			}
		}
		if rows[i].Emit != 0 {
			keys = append(keys, t.below(keyEvents))
		}
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if t.blind {
		t.assume(keys, spans)
		return
	}
	t.prefetch(keys, spans...)
	for _, key := range []string{t.below(keyHead), t.below(keyEvents)} {
		if i, ok := t.seen[key]; ok {
			t.backend.known.put(i)
		}
	}
}

func (t *txn) insert(row *store.Insertion, few bool) store.Inserted {
	token := row.Token
	if there, ok := t.record(token.ID); ok {
		return store.Inserted{There: &there.token, Err: store.ErrExists}
	}
	for candidate := range row.Candidates() {
		h := t.head()
		barred := func(named *domain.RefreshToken) bool { return t.barred(named, row.AsOf, few) }
		if err := domain.Admit(candidate, row.AsOf, h.horizon, h.erasureKey, barred); err != nil {
			return store.Inserted{Err: err}
		}
	}
	if token.ForeignDigest != (domain.Digest{}) {
		if i := t.get(t.below(foreignKey(token.ForeignDigest))); i.there() {
			return store.Inserted{Err: store.ErrDigestTaken}
		}
	}
	surplus := t.surplus(&token, row.Cap)
	if len(surplus) > 0 && row.Cap.Refuse {
		return store.Inserted{Err: store.ErrCap}
	}
	evicted := t.evict(surplus, token.CreatedAt)
	for i := range evicted {
		t.emitToken(row.Emit, store.KindEvicted, token.CreatedAt, &evicted[i])
	}
	token.Sequence = t.number(false)
	t.created(token.CreatedAt)
	r := record{token: token, due: uint64(token.DueSecond())}
	t.putRecord(&r)
	for _, key := range t.entries(&r) {
		t.put(key, nil)
	}
	if token.ForeignDigest != (domain.Digest{}) {
		t.put(t.below(foreignKey(token.ForeignDigest)), token.ID[:])
	}
	t.emitToken(row.Emit, store.KindIssued, token.CreatedAt, &token)
	return store.Inserted{Sequence: token.Sequence, Evicted: evicted}
}

// entries are the keys of a token in the indexes, but for that by foreign digest.
func (t *txn) entries(r *record) []string {
	id := string(r.token.ID[:])
	keys := []string{t.below(userKey(r.token.UserID), id), t.below(sessionKey(r.token.SessionID), id)}
	if r.due != 0 {
		keys = append(keys, t.below(dueKey(r.due), id))
	}
	return keys
}

// remove deletes a token.
func (t *txn) remove(r *record) {
	t.delete(t.below(idKey(keyTokens, r.token.ID)))
	for _, key := range t.entries(r) {
		t.delete(key)
	}
	if r.token.ForeignDigest != (domain.Digest{}) {
		t.delete(t.below(foreignKey(r.token.ForeignDigest)))
	}
}

func (t *txn) barred(candidate *domain.RefreshToken, asOf domain.AsOf, few bool) (barred bool) {
	widest := asOf.Reach()
	if few {
		t.guard(candidate, widest)
	} else {
		t.get(t.below(keyMark))
		t.get(t.below(keyGuardMark))
	}
	t.fencedBy(candidate, widest, func(tombstone *domain.Tombstone) bool {
		barred = tombstone.Bars(candidate, asOf)
		return !barred
	})
	for _, anchor := range anchors(candidate, widest) {
		if barred {
			break
		}
		if few {
			t.quiet(t.guards(anchor))
		}
		t.scan(t.guards(anchor), func(i item) bool {
			guard := guardOf(&i)
			barred = guard.Bars(candidate, asOf)
			return !barred
		})
	}
	return barred
}

func (t *txn) guards(anchor domain.Anchor) span { return under(t.below(keyGuards, anchorKey(anchor))) }

// Find returns the id of the token that has the foreign digest.
func (t *tenant) Find(ctx context.Context, foreign domain.Digest) (id ulid.ULID, err error) {
	err = t.view(ctx, func(x *txn) error {
		i := x.peek(x.below(foreignKey(foreign)))
		if !i.there() {
			return store.ErrNotFound
		}
		copy(id[:], i.value)
		return nil
	})
	return id, err
}

// surplus returns the tokens that have to go for one more of the candidate's user and client, oldest first. The commit fails
// if the user's tokens change, or what is pending.
func (t *txn) surplus(candidate *domain.RefreshToken, limit store.Cap) []record {
	if limit.Max == 0 {
		return nil
	}
	index := userKey(candidate.UserID)
	t.quiet(under(t.below(index)))
	t.get(t.below(keyMark))
	var ids []ulid.ULID
	t.indexed(index, ulid.ULID{}, func(id ulid.ULID) bool {
		ids = append(ids, id)
		return true
	})
	t.prefetch(t.tokenKeys(ids...))
	var live []record
	for _, id := range ids {
		r, ok := t.look(id)
		token := &r.token
		if !ok || token.UserID != candidate.UserID || token.ClientID != candidate.ClientID {
			continue
		}
		t.record(id)
		if token.Expired(candidate.CreatedAt) == "" && t.revokedBy(token).IsZero() {
			live = append(live, r)
		}
	}
	slices.SortFunc(live, func(a, b record) int { return store.Older(&a.token, &b.token) })
	return live[:limit.Over(len(live))]
}

// evict removes tokens, and remembers their ids, so that they can't be imported again.
func (t *txn) evict(surplus []record, now time.Time) (evicted []domain.RefreshToken) {
	for i := range surplus {
		token := surplus[i].token
		t.remove(&surplus[i])
		t.remember(domain.EvictionGuard(&token, now))
		evicted = append(evicted, token)
	}
	return evicted
}
