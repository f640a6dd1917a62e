package boltstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"example.com/tokenstore/store"
)

// certainty knows which commits are on the disk. bbolt shows a commit to readers before its last sync, and goes on showing it when
// that sync fails; the disk may then have it or not, and a second sync that succeeds proves nothing, since the kernel may have
// dropped what the first was to write. What is answered must survive a power cut. So whoever has read of a commit that is under
// way waits for its end; and where that leaves it open, for another commit, which makes it certain: all but its last page had
// been synced, and the other commit stands on it.
type certainty struct {
	mu     sync.Mutex   // held while a commit is written
	latest atomic.Int64 // the latest commit that is on the disk
	doubt  atomic.Bool  // a later one may be
}

// has reports whether a commit is on the disk, once none is under way.
func (c *certainty) has(id int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(id) <= c.latest.Load()
}

// certain returns err when what was read, as of a commit, can't be taken back by a power cut any more.
func (b *Backend) certain(ctx context.Context, id int, err error) error {
	if int64(id) <= b.certainty.latest.Load() || b.certainty.has(id) {
		return err
	}
	switch failed := b.update(ctx, func(*txn) error { return nil }); {
	case failed == nil:
		return err
	case ctx.Err() != nil, errors.Is(failed, store.ErrClosed):
		return failed
	default:
		return fmt.Errorf("%w: the latest commit is not known to be on the disk: %w", ErrUnusable, failed)
	}
}

// certainIfGone is certain where a token was not found or is covered: nobody may see it live after that. What shows a token live
// waits for no commit, unless one has failed.
func (b *Backend) certainIfGone(ctx context.Context, id int, v store.View, err error) error {
	if err == nil && !v.Revoked() && !b.certainty.doubt.Load() {
		return nil
	}
	return b.certain(ctx, id, err)
}
