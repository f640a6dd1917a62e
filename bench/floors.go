package main

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// mapFloor is what no store can do without: a map in memory, the SHA-256 of the secret, and a look at one field.
func mapFloor() *contender {
	type entry struct {
		expires int64
		_       [valueSize]byte
	}
	entries := map[[32]byte]*entry{}
	var secrets [][32]byte
	now := time.Now().Unix()
	var mu sync.Mutex
	keep := func(r *row) { entries[r.digest] = &entry{expires: now + 3600} }
	return &contender{
		name: mapName, durable: "none: memory",
		hold: func(rows []row) {
			for i := range rows {
				secrets = append(secrets, rows[i].secret)
			}
		},
		fill: func(_ context.Context, rows []row) error {
			for i := range rows {
				keep(&rows[i])
			}
			return nil
		},
		issue: func(_ context.Context, r *row) error {
			mu.Lock()
			defer mu.Unlock()
			keep(r)
			return nil
		},
		present: func(i int) { seen(secrets[i][:]) },
		verify: func(_ context.Context, i int) error {
			if e := entries[sha256.Sum256(secrets[i][:])]; e == nil || e.expires < now {
				return errLost
			}
			return nil
		},
	}
}

// indexFloor is what a store can't do without that finds tokens by id, in order of ids, by user, by session and by when they are due,
// and gives the whole token for an answer: bare maps and slices, with no rule, no lock while reading, and no removal.
func indexFloor() *contender {
	f := newBareIndex()
	var presented []row
	now := time.Now()
	issue := func(_ context.Context, r *row) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		token := r.token()
		token.SecretDigest = domain.Digest(r.digest)
		f.keep(&token)
		return nil
	}
	return &contender{
		name: indexName, durable: "none: memory",
		hold: func(rows []row) {
			for i := range rows {
				presented = append(presented, row{id: rows[i].id, secret: rows[i].secret})
			}
		},
		fill:    oneByOne(issue),
		issue:   issue,
		present: func(i int) { seen(presented[i].id[:]); seen(presented[i].secret[:]) },
		verify: func(_ context.Context, i int) error {
			token, ok := f.get(presented[i].id)
			if !ok || token.SecretDigest != domain.Digest(sha256.Sum256(presented[i].secret[:])) || !now.Before(token.ExpiresAt) {
				return errLost
			}
			return nil
		},
	}
}

// askedFloor is indexFloor asked as every store is, by an interface. Rows are handed over, each is held against all limits, copied, and has a
// result; a secret is presented as a text, and looked up under a lock.
func askedFloor() *contender {
	f := newBareIndex()
	in := newIssuer(f.asked)
	var credentials []domain.Credential
	now := time.Now()
	return &contender{
		name: askedName, durable: "none: memory",
		hold: func(rows []row) {
			for i := range rows {
				credentials = append(credentials, rows[i].credential())
			}
		},
		fill: func(_ context.Context, rows []row) error {
			for i := range rows {
				token := rows[i].token()
				(*domain.PepperRing)(nil).Seal(&token, rows[i].credential())
				f.keep(&token)
			}
			return nil
		},
		issue:   in.issue,
		present: func(i int) { seen(credentials[i].Secret().Reveal()) },
		verify: func(ctx context.Context, i int) error {
			c := &credentials[i]
			view, err := f.asked.Get(ctx, c.ID)
			if err != nil {
				return err
			}
			if !view.Token.SecretDigest.Equal(c.SecretDigest()) || view.Token.Expired(now) != "" {
				return errLost
			}
			return nil
		},
	}
}

// copiedFloor is what is left of an issue without any index: rows are handed over by an interface, each is held against all limits, has a
// result, and is copied, for the caller may use it again. A map by id finds the copies, and tells which there are already.
func copiedFloor() *contender {
	f := &bareCopies{tokens: map[ulid.ULID]*domain.RefreshToken{}}
	in := newIssuer(f)
	return &contender{
		name: copiedName, durable: "none: memory",
		fill:  oneByOne(in.issue),
		issue: in.issue,
	}
}

// oneByOne keeps many rows as one is kept.
func oneByOne(issue func(context.Context, *row) error) func(context.Context, []row) error {
	return func(ctx context.Context, rows []row) error {
		for i := range rows {
			if err := issue(ctx, &rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// inserter is a part of a store. A compiler that knew who is behind it would keep rows off the heap.
type inserter interface {
	Insert(context.Context, []store.Insertion) ([]store.Inserted, error)
}

// issuer hands rows to a store as a manager does: what it hands them over in it uses again.
type issuer struct {
	to   inserter
	rows sync.Pool // of *[1]store.Insertion
}

func newIssuer(to inserter) *issuer {
	return &issuer{to: to, rows: sync.Pool{New: func() any { return &[1]store.Insertion{} }}}
}

func (i *issuer) issue(ctx context.Context, r *row) error {
	rows := i.rows.Get().(*[1]store.Insertion)
	rows[0].Token = r.token()
	rows[0].Token.FamilyDigest, rows[0].Token.SecretDigest = domain.Digest(r.digest), domain.Digest(r.digest)
	results, err := i.to.Insert(ctx, rows[:])
	if err == nil {
		err = results[0].Err
	}
	*rows = [1]store.Insertion{}
	i.rows.Put(rows)
	return err
}

type bareCopies struct {
	mu     sync.Mutex
	tokens map[ulid.ULID]*domain.RefreshToken
}

// Insert keeps copies of rows.
func (f *bareCopies) Insert(_ context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	return inserted(&f.mu, rows, func(row *store.Insertion, result *store.Inserted) {
		token := row.Token
		if f.tokens[token.ID] != nil {
			result.Err = store.ErrExists
			return
		}
		f.tokens[token.ID] = &token
		result.Sequence = uint64(len(f.tokens))
	})
}

// inserted checks rows, and keeps them under a lock.
func inserted(mu sync.Locker, rows []store.Insertion, keep func(*store.Insertion, *store.Inserted)) ([]store.Inserted, error) {
	if err := store.CheckInsert(rows); err != nil {
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	results := make([]store.Inserted, len(rows))
	for i := range rows {
		keep(&rows[i], &results[i])
	}
	return results, nil
}

// bareIndex are maps and slices by all that a token is found by.
type bareIndex struct {
	mu              sync.RWMutex
	tokens          map[ulid.ULID]*domain.RefreshToken
	users, sessions map[string][]ulid.ULID
	ids             []ulid.ULID
	dues            []bareDue

	asked interface {
		inserter
		Get(context.Context, ulid.ULID) (store.View, error)
	}
}

type bareDue struct {
	at time.Time
	id ulid.ULID
}

func newBareIndex() *bareIndex {
	f := &bareIndex{tokens: map[ulid.ULID]*domain.RefreshToken{}, users: map[string][]ulid.ULID{}, sessions: map[string][]ulid.ULID{}}
	f.asked = f
	return f
}

// Insert keeps rows.
func (f *bareIndex) Insert(_ context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	return inserted(&f.mu, rows, func(row *store.Insertion, result *store.Inserted) {
		token := row.Token
		f.keep(&token)
		result.Sequence = uint64(len(f.ids))
	})
}

// Get copies a token out.
func (f *bareIndex) Get(_ context.Context, id ulid.ULID) (v store.View, err error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	token := f.tokens[id]
	if token == nil {
		return v, store.ErrNotFound
	}
	v.Token = *token
	return v, nil
}

func (f *bareIndex) keep(token *domain.RefreshToken) {
	session, _ := token.SessionID.Get()
	f.tokens[token.ID] = token
	f.ids = append(f.ids, token.ID)
	f.dues = append(f.dues, bareDue{token.Deadline(), token.ID})
	f.users[token.UserID] = append(f.users[token.UserID], token.ID)
	f.sessions[session] = append(f.sessions[session], token.ID)
}

func (f *bareIndex) get(id ulid.ULID) (domain.RefreshToken, bool) {
	if token := f.tokens[id]; token != nil {
		return *token, true
	}
	return domain.RefreshToken{}, false
}
