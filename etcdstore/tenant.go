package etcdstore

import (
	"context"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// tenant is the store of one tenant: a name, and the cluster.
type tenant struct {
	backend *Backend
	name    string
}

var _ store.Store = (*tenant)(nil)

func (t *tenant) view(ctx context.Context, f func(*txn) error) error {
	return t.backend.view(ctx, t.name, f)
}

func (t *tenant) update(ctx context.Context, f func(*txn) error) (*txn, error) {
	return t.backend.update(ctx, t.name, f)
}

// record returns a token's record as the run has left it, and whether it is there. The commit fails if it changes.
func (t *txn) record(id ulid.ULID) (record, bool) {
	key := t.below(idKey(keyTokens, id))
	r, ok := t.look(id)
	t.unchanged(key)
	return r, ok
}

// look is record for what the commit does not depend on.
func (t *txn) look(id ulid.ULID) (record, bool) {
	i := t.peek(t.below(idKey(keyTokens, id)))
	if !i.there() {
		return record{}, false
	}
	return recordOf(&i), true
}

// token returns a token, if it is there. The commit does not depend on it.
func (t *txn) token(id ulid.ULID) (domain.RefreshToken, bool) {
	r, ok := t.look(id)
	return r.token, ok
}

// tokenKeys are the keys of tokens.
func (t *txn) tokenKeys(ids ...ulid.ULID) []string {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = t.below(idKey(keyTokens, id))
	}
	return keys
}

// Get reads one token, and what is pending, in one request as long as nothing has become pending since it was last asked for.
func (t *tenant) Get(ctx context.Context, id ulid.ULID) (v store.View, err error) {
	err = t.view(ctx, func(x *txn) error {
		if keys := x.tokenKeys(id); x.maySpare() {
			x.prefetch(keys)
		} else {
			x.prefetch(append(keys, x.below(keyMark)))
		}
		token, ok := x.token(id)
		if !ok {
			return store.ErrNotFound
		}
		v = x.view(token)
		return nil
	})
	return v, err
}

// indexed calls f with the ids under a key of an index, after the given one, ascending, until it returns false. It reports
// whether it came to the end.
func (t *txn) indexed(index string, after ulid.ULID, f func(ulid.ULID) bool) (ended bool) {
	s := under(t.below(index))
	if !after.IsZero() {
		s = s.after(t.below(index, string(after[:])))
	}
	return t.scan(s, func(i item) bool { return f(idAtEnd(i.key)) })
}

// List reads one page.
func (t *tenant) List(ctx context.Context, q store.Query) (page store.Page, err error) {
	if err := q.Validate(); err != nil {
		return store.Page{}, err
	}
	err = t.view(ctx, func(x *txn) error {
		page = store.Page{}
		row := func(token *domain.RefreshToken) bool {
			if !q.Matches(token) || q.Fenced && !x.revokedBy(token).IsZero() {
				return true
			}
			if len(page.Tokens) == q.Limit { // one more is there, so this page is not the last
				page.Next = page.Tokens[q.Limit-1].ID
				return false
			}
			page.Tokens = append(page.Tokens, *token)
			return true
		}
		if q.SessionID != "" || q.UserID != "" {
			index := userKey(q.UserID)
			if q.SessionID != "" {
				index = textKey(keySessions, q.SessionID)
			}
			x.listed(index, q.After, q.Limit+1, row)
			return nil
		}
		x.walk(q.After, row)
		return nil
	})
	return page, err
}

// listed calls f with the tokens under a key of an index, which it reads so many at a time.
func (t *txn) listed(index string, after ulid.ULID, some int, f func(*domain.RefreshToken) bool) {
	for ended := false; !ended; {
		var ids []ulid.ULID
		ended = t.indexed(index, after, func(id ulid.ULID) bool {
			ids = append(ids, id)
			return len(ids) < some
		})
		t.prefetch(t.tokenKeys(ids...))
		for _, id := range ids {
			after = id
			if token, ok := t.token(id); ok && !f(&token) {
				return
			}
		}
	}
}

// walk calls f with the tokens after an id, until it returns false. It reports whether it came to the end.
func (t *txn) walk(after ulid.ULID, f func(*domain.RefreshToken) bool) (ended bool) {
	s := under(t.below(keyTokens))
	if !after.IsZero() {
		s = s.after(t.below(idKey(keyTokens, after)))
	}
	return t.scan(s, func(i item) bool {
		r := recordOf(&i)
		return f(&r.token)
	})
}

// Update changes one token. What would write nothing is decided on a snapshot. What would is committed if neither the record
// has changed since, nor anything was put up that may cover it, and else decided again.
func (t *tenant) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	var last store.Decision
	_, err := t.update(ctx, func(x *txn) error {
		x.prefetch(append(x.tokenKeys(id), x.below(keyMark)))
		there, ok := x.record(id)
		if !ok {
			return store.ErrNotFound
		}
		v := x.view(there.token)
		if last = decide(v); !last.Writes() {
			return nil
		}
		if err := last.Check(&v); err != nil {
			return err
		}
		x.guard(&there.token, domain.AnchorNone)
		return x.effect(there, last)
	})
	if err != nil {
		return err
	}
	return last.Err
}

// effect writes a decision on a record.
func (t *txn) effect(there record, d store.Decision) error {
	if d.Revoke != nil {
		if _, err := t.revoke(*d.Revoke, &there.token); err != nil {
			return err
		}
	}
	if d.Next != nil {
		there.token = *d.Next
		if due := uint64(d.Next.DueSecond()); due != 0 && (there.due == 0 || due < there.due) {
			t.schedule(&there) // a life that is cut short; one that is renewed is put off when it comes up
		}
		t.putRecord(&there)
	}
	if d.Emit != 0 {
		t.emitToken(d.Emit, d.Emit, d.Time, &there.token)
	}
	return nil
}

func (t *txn) putRecord(r *record) {
	t.put(t.below(idKey(keyTokens, r.token.ID)), t.encodeRecord(r))
}

// schedule notes when the token is to be looked at for expiry. The caller puts the record.
func (t *txn) schedule(r *record) {
	id := r.token.ID
	if r.due != 0 {
		t.delete(t.below(dueKey(r.due), string(id[:])))
	}
	if r.due = uint64(r.token.DueSecond()); r.due != 0 {
		t.put(t.below(dueKey(r.due), string(id[:])), nil)
	}
}

// State counts what is there.
func (t *tenant) State(ctx context.Context) (s store.State, err error) {
	err = t.view(ctx, func(x *txn) error {
		s = x.state()
		return nil
	})
	return s, err
}

func (t *txn) state() (s store.State) {
	keys := []string{t.below(keyHead), t.below(keyTip), t.below(keyFloor), t.below(keyLastEvent)}
	counts := []struct {
		kind  string
		count *int
	}{
		{keyTokens, &s.Tokens}, {sessionKey(domain.SessionID{}), &s.Sessionless}, {keyLive, &s.Pending}, {keyGuards, &s.Guards},
		{keyRetired, &s.History}, {keyOutbox, &s.Events},
	}
	var ops []clientv3.Op
	for _, key := range keys {
		ops = append(ops, clientv3.OpGet(key))
	}
	for _, c := range counts {
		ops = append(ops, clientv3.OpGet(t.below(c.kind), clientv3.WithPrefix(), clientv3.WithCountOnly()))
	}
	ops = append(ops, clientv3.OpGet(t.below(keyOldest), clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly()))
	answers := t.fetch(ops...)
	for i, key := range keys {
		t.note(key, answers[i])
	}
	for i, c := range counts {
		*c.count = int(answers[len(keys)+i].Count)
	}
	if oldest := answers[len(answers)-1].Kvs; len(oldest) > 0 {
		s.OldestPending = instantOf(string(oldest[0].Key)[len(t.below(keyOldest)):])
	}
	h := t.head()
	s.Horizon = h.horizon
	_, s.Sequence = t.tip(&h)
	s.LastEvent = t.lastEvent()
	return s
}

// Revocation reads one revocation.
func (t *tenant) Revocation(ctx context.Context, id ulid.ULID) (s store.Status, err error) {
	err = t.view(ctx, func(x *txn) error {
		p, ok := x.known(id)
		if !ok {
			return store.ErrNotFound
		}
		s = p.status
		return nil
	})
	return s, err
}

// Revocations reads one page of revocations.
func (t *tenant) Revocations(ctx context.Context, q store.RevocationQuery) (page store.RevocationPage, err error) {
	if err := q.Validate(); err != nil {
		return store.RevocationPage{}, err
	}
	kind := keyLive
	if q.Retired {
		kind = keyRetired
	}
	err = t.view(ctx, func(x *txn) error {
		page = store.RevocationPage{}
		s := under(x.below(kind))
		if !q.After.IsZero() {
			s = s.after(x.below(idKey(kind, q.After)))
		}
		x.scan(s, func(i item) bool {
			if len(page.Revocations) == q.Limit {
				page.Next = page.Revocations[q.Limit-1].Tombstone.ID
				return false
			}
			page.Revocations = append(page.Revocations, revocationOf(&i).status)
			return true
		})
		return nil
	})
	return page, err
}

// known returns a revocation, pending or retired.
func (t *txn) known(id ulid.ULID) (revocation, bool) {
	live, retired := t.below(idKey(keyLive, id)), t.below(idKey(keyRetired, id))
	t.prefetch([]string{live, retired})
	for _, key := range []string{live, retired} {
		if i := t.get(key); i.there() {
			return revocationOf(&i), true
		}
	}
	return revocation{}, false
}

// revocation returns a revocation that is pending, or retired.
func (t *txn) revocation(kind string, id ulid.ULID) (revocation, bool) {
	i := t.get(t.below(idKey(kind, id)))
	if !i.there() {
		return revocation{}, false
	}
	return revocationOf(&i), true
}

// second is when an entry of the index by deadline is due.
func second(key string) time.Time {
	return time.Unix(int64(numberOf(key[:8])), 0).UTC()
}
