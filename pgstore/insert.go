package pgstore

import (
	"context"
	"slices"
	"strings"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// Insert adds tokens, in two round trips: one takes the tenant's lock, draws numbers and reads all that may refuse a row, the
// other writes and commits. Rows are decided one after the other, as if each were inserted before the next is looked at.
func (s *tenant) Insert(ctx context.Context, rows []store.Insertion) (results []store.Inserted, err error) {
	if s.backend.closed.Load() {
		return nil, store.ErrClosed
	}
	if err := store.CheckInsert(rows); err != nil {
		return nil, err
	}
	token, ok, err := s.insertFast(ctx, rows)
	switch {
	case err != nil:
		return nil, err
	case ok:
		return []store.Inserted{{Sequence: token.Sequence}}, nil
	}
	err = s.write(ctx, lockShared, func(t *tx) error {
		b := &batch{
			tx: t, there: map[ulid.ULID]*domain.RefreshToken{}, foreign: map[domain.Digest]ulid.ULID{},
			live: map[pair][]domain.RefreshToken{}, added: map[ulid.ULID]bool{},
		}
		if err := b.read(ctx, rows); err != nil {
			return err
		}
		results = make([]store.Inserted, len(rows))
		for i := range rows {
			results[i].Err = b.insert(i, &rows[i], &results[i])
		}
		return b.write(ctx)
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// pair is whose tokens a cap counts.
type pair struct{ user, client string }

func pairOf(t *domain.RefreshToken) pair { return pair{t.UserID, t.ClientID} }

// batch is an Insert under way: what is there, and what has been decided so far.
type batch struct {
	*tx
	head    *head
	there   map[ulid.ULID]*domain.RefreshToken // of the ids that are asked for, and those that were inserted
	foreign map[domain.Digest]ulid.ULID
	bars    []fenced // what may refuse a candidate
	live    map[pair][]domain.RefreshToken
	last    uint64 // the number of the last row

	added   map[ulid.ULID]bool // inserted by this batch, and not evicted by it
	inserts []*domain.RefreshToken
	evicted []ulid.ULID // that were there before
	guards  []domain.Guard
	events  []store.Event
}

// read reads all that the rows depend on.
func (b *batch) read(ctx context.Context, rows []store.Insertion) error {
	b.head = &head{}
	found := false
	var pairs []pair
	var wanted []ulid.ULID
	var digests [][]byte
	for i := range rows {
		token := &rows[i].Token
		wanted = append(wanted, token.ID)
		if token.ForeignDigest != (domain.Digest{}) {
			digests = append(digests, token.ForeignDigest[:])
		}
		if p := pairOf(token); rows[i].Cap.Max > 0 && !slices.Contains(pairs, p) {
			pairs = append(pairs, p)
		}
	}
	var there, live []domain.RefreshToken
	var fence []fenced
	if len(pairs) > 0 {
		locks, users, clients := make([]int64, len(pairs)), make([]string, len(pairs)), make([]string, len(pairs))
		for i, p := range pairs {
			locks[i], users[i], clients[i] = b.backend.lockOfPair(b.tenant, p), p.user, p.client
		}
		slices.Sort(locks)
		if !b.backend.opts.Serializable {
			b.do(step{sql: b.q.lockPairs, args: []any{locks}})
		}
		b.do(
			step{b.q.ofPairs, []any{b.tenant, users, clients}, scanTokens(&live)},
			step{b.q.fenceOfPairs, []any{b.tenant, users, clients}, scanFenced(&fence)},
		)
	}
	b.do(step{b.q.getAll, []any{b.tenant, ids(wanted)}, scanTokens(&there)})
	if len(digests) > 0 {
		b.do(step{b.q.getForeign, []any{b.tenant, digests}, scanTokens(&there)})
	}
	key := b.backend.erasureKey(b.tenant)
	b.do(b.headStep(b.head, len(rows), &found), b.barsStep(rows, key))
	if err := b.fetch(ctx); err != nil {
		return err
	}
	if !found {
		return errNoTenant
	}
	if b.head.erasureKey != key {
		b.backend.keys.Store(b.tenant, b.head.erasureKey)
		b.bars = nil
		if err := b.fetch(ctx, b.barsStep(rows, b.head.erasureKey)); err != nil {
			return err
		}
	}
	for i := range there {
		b.there[there[i].ID] = &there[i]
		if there[i].ForeignDigest != (domain.Digest{}) {
			b.foreign[there[i].ForeignDigest] = there[i].ID
		}
	}
	for i := range live {
		if revokedBy(fence, &live[i]).IsZero() {
			b.live[pairOf(&live[i])] = append(b.live[pairOf(&live[i])], live[i])
		}
	}
	return nil
}

// erasureKey is the tenant's as it was last seen, so that what bars an erased user's tokens need not be asked for separately.
func (b *Backend) erasureKey(tenant identity) domain.ErasureKey {
	key, ok := b.keys.Load(tenant)
	if !ok {
		return domain.ErasureKey{}
	}
	return key.(domain.ErasureKey)
}

// barsStep reads what may refuse the rows, under their names and under the pseudonyms of an erasure key.
func (b *batch) barsStep(rows []store.Insertion, key domain.ErasureKey) step {
	var a anchors
	var clients, audiences []string
	for i := range rows {
		widest := rows[i].AsOf.Reach()
		if b.backend.opts.Serializable { // the row's number has to be above the watermarks of all that match
			widest = domain.AnchorNone
		}
		for candidate := range rows[i].Candidates() {
			a.add(candidate, widest)
			if key != (domain.ErasureKey{}) {
				alias := key.Alias(*candidate)
				a.add(&alias, widest)
			}
		}
		if client := rows[i].Token.ClientID; !slices.Contains(clients, client) {
			clients = append(clients, client)
		}
		audiences = append(audiences, rows[i].Token.ResourceServers.Audiences()...)
	}
	slices.Sort(audiences)
	return step{b.q.bars, []any{b.tenant, a.kinds, a.values, clients, slices.Compact(audiences)}, scanFenced(&b.bars)}
}

// insert decides about a row.
func (b *batch) insert(i int, row *store.Insertion, result *store.Inserted) error {
	kept := row.Token
	token := &kept
	if there := b.there[token.ID]; there != nil {
		known := *there
		result.There = &known
		return store.ErrExists
	}
	for candidate := range row.Candidates() {
		barred := func(named *domain.RefreshToken) bool { return b.barred(named, row.AsOf) }
		if err := domain.Admit(candidate, row.AsOf, b.head.horizon, b.head.erasureKey, barred); err != nil {
			return err
		}
	}
	if token.ForeignDigest != (domain.Digest{}) {
		if _, taken := b.foreign[token.ForeignDigest]; taken {
			return store.ErrDigestTaken
		}
	}
	surplus := b.surplus(token, row.Cap)
	if len(surplus) > 0 && row.Cap.Refuse {
		return store.ErrCap
	}
	result.Evicted = surplus
	for i := range surplus {
		b.evict(&surplus[i], token.CreatedAt)
		b.tell(row.Emit, store.KindEvicted, token.CreatedAt, &surplus[i])
	}
	token.Sequence = b.head.next(i, b.above(token))
	b.last = token.Sequence
	result.Sequence = token.Sequence
	b.there[token.ID] = token
	if token.ForeignDigest != (domain.Digest{}) {
		b.foreign[token.ForeignDigest] = token.ID
	}
	if p := pairOf(token); row.Cap.Max > 0 || b.live[p] != nil {
		b.live[p] = append(b.live[p], kept)
	}
	b.added[token.ID] = true
	b.inserts = append(b.inserts, token)
	b.tell(row.Emit, store.KindIssued, token.CreatedAt, token)
	return nil
}

func (b *batch) tell(asked, kind store.Kinds, at time.Time, token *domain.RefreshToken) {
	if asked.Has(kind) {
		b.events = append(b.events, store.TokenEvent(kind, at, token))
	}
}

func (b *batch) barred(candidate *domain.RefreshToken, asOf domain.AsOf) bool {
	return slices.ContainsFunc(b.bars, func(f fenced) bool { return f.guard.Bars(candidate, asOf) })
}

// above is what the token's number must be above in the portable mode: the watermarks of all that names it, so that it is covered by
// none of them (Lamport's rule).
func (b *batch) above(token *domain.RefreshToken) uint64 {
	if !b.backend.opts.Serializable {
		return 0
	}
	above := b.last
	for i := range b.bars {
		if g := &b.bars[i].guard; g.Target.Matches(token) {
			above = max(above, g.Watermark)
		}
	}
	return above
}

// surplus returns the tokens that have to go for one more of the candidate's user and client, oldest first.
func (b *batch) surplus(candidate *domain.RefreshToken, limit store.Cap) []domain.RefreshToken {
	if limit.Max == 0 {
		return nil
	}
	var live []domain.RefreshToken
	for _, token := range b.live[pairOf(candidate)] {
		if token.Expired(candidate.CreatedAt) == "" {
			live = append(live, token)
		}
	}
	slices.SortFunc(live, func(a, b domain.RefreshToken) int { return store.Older(&a, &b) })
	return live[:limit.Over(len(live))]
}

// evict removes a token, and remembers its id, so that it can't be imported again.
func (b *batch) evict(token *domain.RefreshToken, now time.Time) {
	p := pairOf(token)
	b.live[p] = slices.DeleteFunc(b.live[p], func(t domain.RefreshToken) bool { return t.ID == token.ID })
	delete(b.there, token.ID)
	delete(b.foreign, token.ForeignDigest)
	if b.added[token.ID] {
		delete(b.added, token.ID)
	} else {
		b.evicted = append(b.evicted, token.ID)
	}
	g := domain.EvictionGuard(token, now)
	b.guards = append(b.guards, g)
	b.bars = append(b.bars, fenced{guard: g})
}

// manyRows is how many rows are copied instead of inserted one by one.
const manyRows = 50

// write writes what was decided, and commits.
func (b *batch) write(ctx context.Context) error {
	if len(b.inserts) == 0 {
		return nil
	}
	if len(b.evicted) > 0 {
		b.do(b.removeStep(b.evicted, func(ulid.ULID) {}))
	}
	if err := b.remember(ctx, b.guards...); err != nil {
		return err
	}
	var rows [][]any
	for _, token := range b.inserts {
		change := tally{sequence: token.Sequence, latest: token.CreatedAt}
		if b.added[token.ID] {
			mutable, err := mutableArgs(token)
			if err != nil {
				return err
			}
			rows = append(rows, append(append(append([]any{b.tenant}, fixedArgs(token)...), mutable...), due(token)))
			change.tokens = 1
			if token.SessionID.IsNull() {
				change.sessionless = 1
			}
		}
		b.add(change)
	}
	if len(rows) >= manyRows {
		if err := b.copy(ctx, rows); err != nil {
			return err
		}
	} else {
		for _, args := range rows {
			b.do(step{sql: b.q.add, args: args})
		}
	}
	for _, e := range b.events {
		if err := b.emit(e.Kind, e); err != nil {
			return err
		}
	}
	return b.commit(ctx)
}

// copy writes many rows at once.
func (b *batch) copy(ctx context.Context, rows [][]any) error {
	if len(b.queue) > 0 { // what has to be gone before
		if err := b.fetch(ctx); err != nil {
			return err
		}
	}
	columns := []string{"tenant"}
	for column := range strings.SplitSeq(tokenColumns, ",") {
		columns = append(columns, strings.TrimSpace(column))
	}
	table := pgx.Identifier{b.backend.opts.Schema, "tokens"}
	if _, err := b.conn.CopyFrom(ctx, table, append(columns, "due"), pgx.CopyFromRows(rows)); err != nil {
		return &failure{cause: plain(err)}
	}
	return nil
}
