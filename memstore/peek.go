package memstore

import (
	"context"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// lock is taken by every verb that may write.
func (t *tenant) lock() {
	t.mu.Lock()
	if t.version.Load()%2 == 0 {
		t.version.Add(1)
	}
}

func (t *tenant) unlock() {
	if !t.closed && len(t.pending) == 0 {
		t.version.Add(1)
	}
	t.mu.Unlock()
}

// peek reads a token without the lock, which readers would pass from processor to processor. It may do so while the tenant is calm: while
// nobody writes, no tombstone is pending, and it is open. It reports whether the token is there, and whether the tenant was calm until the
// end; if not, or if the context has ended, what was read says nothing.
func (t *tenant) peek(ctx context.Context, id ulid.ULID, token *domain.RefreshToken) (there, calm bool) {
	version := t.version.Load()
	if version%2 != 0 || ctx.Err() != nil { // of an ended context and a closed store, the lock tells which comes first
		return false, false
	}
	r := t.tokens.get(id)
	if r != nil {
		r.read(token)
	}
	return r != nil, t.version.Load() == version
}
