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
// way waits for its end; and where that leaves it open, for another commit, which makes it certain: all but its last page had been
// synced, and the other commit stands on it.
type certainty struct {
	mu     sync.Mutex
	ended  chan struct{} // closed at the end of the commit under way; nil for none
	latest atomic.Int64  // the latest commit that is on the disk
	doubt  atomic.Bool   // a later one may be
}

// begin is for a commit, before it is written, and end for afterwards.
func (c *certainty) begin() (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ended := make(chan struct{})
	c.ended = ended
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		close(ended)
		c.ended = nil // there is one writer at a time
	}
}

// has reports whether a commit is on the disk, once none is under way.
func (c *certainty) has(ctx context.Context, id int) (bool, error) {
	if int64(id) <= c.latest.Load() {
		return true, nil
	}
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	if ended != nil {
		select {
		case <-ended:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return int64(id) <= c.latest.Load(), nil
}

// ascertain makes a commit certain of which the disk may lack the last page, if there is one: by another that changes nothing and
// stands on it. That comes before anything else is written, for pages that are free now may be those of the commit before, to
// which a power cut leads back.
func (b *Backend) ascertain() error {
	if !b.certainty.doubt.Load() {
		return nil
	}
	_, err := b.attempt(nil)
	if errors.Is(err, store.ErrUnknownOutcome) { // of what nobody asked for
		return fmt.Errorf("%w: the commit before may not be on the disk: %v", store.ErrNotCommitted, err)
	}
	return err
}

// certain returns err when what was read, as of a commit, can't be taken back by a power cut any more.
func (b *Backend) certain(ctx context.Context, id int, err error) error {
	switch has, ended := b.certainty.has(ctx, id); {
	case ended != nil:
		return ended
	case has:
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
