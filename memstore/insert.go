package memstore

import (
	"context"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// Insert adds tokens.
func (t *tenant) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	if err := store.CheckInsert(rows); err != nil {
		return nil, err
	}
	t.lock()
	defer t.unlock()
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	results := make([]store.Inserted, len(rows))
	for i := range rows {
		t.insert(&rows[i], &results[i])
	}
	return results, nil
}

func (t *tenant) insert(row *store.Insertion, result *store.Inserted) {
	token := &row.Token
	hash := t.tokens.ofID(&token.ID)
	there, e := t.tokens.at(hash, &token.ID)
	if there != nil {
		known := there.token()
		result.Err, result.There = store.ErrExists, &known
		return
	}
	surplus := t.surplus(token, row.Cap)
	if result.Err = t.admissible(row, len(surplus)); result.Err != nil {
		return
	}
	result.Evicted = surplus
	for i := range surplus {
		t.evict(&surplus[i], token.CreatedAt)
		t.emitToken(row.Emit, store.KindEvicted, token.CreatedAt, &surplus[i])
	}
	r := newRecord(token)
	r.sequence = t.next()
	result.Sequence = r.sequence
	if token.CreatedAt.After(t.latest) {
		t.latest = token.CreatedAt
	}
	t.tokens.add(e, hash, r)
	t.byID.add(token.ID)
	t.putForeign(token)
	t.schedule(r, token.DueSecond())
	t.byUser.add(r)
	if r.sessionID.IsNull() {
		t.sessionless++
	} else {
		t.bySession.add(r)
	}
	if row.Emit.Has(store.KindIssued) {
		issued := r.token()
		t.emitToken(row.Emit, store.KindIssued, token.CreatedAt, &issued)
	}
}

// admissible returns why the row is refused whose id is free, with so many tokens that have to go for it, or nil.
func (t *tenant) admissible(row *store.Insertion, surplus int) error {
	for candidate := range row.Candidates() {
		barred := func(named *domain.RefreshToken) bool { return t.barred(named, row.AsOf) }
		if err := domain.Admit(candidate, row.AsOf, t.horizon, t.erasureKey, barred); err != nil {
			return err
		}
	}
	if _, taken := t.byForeign[row.Token.ForeignDigest]; taken {
		return store.ErrDigestTaken
	}
	if surplus > 0 && row.Cap.Refuse {
		return store.ErrCap
	}
	return nil
}

// next is the number of what is being written.
func (t *tenant) next() uint64 {
	t.erased = false
	t.sequence++
	return t.sequence
}

func (t *tenant) barred(candidate *domain.RefreshToken, asOf domain.AsOf) bool {
	widest := asOf.Reach()
	for p := range t.fence.over(candidate, widest) {
		if p.status.Tombstone.Bars(candidate, asOf) {
			return true
		}
	}
	for _, anchor := range candidate.Anchors() {
		if anchor.Kind > widest {
			break
		}
		for _, guard := range t.guards[anchor] {
			if guard.Bars(candidate, asOf) {
				return true
			}
		}
	}
	return false
}

func (t *tenant) remove(token *domain.RefreshToken) {
	r, e := t.tokens.at(t.tokens.ofID(&token.ID), &token.ID)
	if r.due != 0 {
		t.byDue.remove(dueKey{r.due, r.id})
	}
	t.tokens.remove(e)
	t.byID.remove(r.id)
	delete(t.byForeign, token.ForeignDigest)
	t.byUser.remove(r)
	if r.sessionID.IsNull() {
		t.sessionless--
	} else {
		t.bySession.remove(r)
	}
}
