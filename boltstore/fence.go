package boltstore

import (
	"sync"

	"example.com/tokenstore/domain"
)

// fence knows, in memory, under which anchors tombstones may be pending, so that a look at a token that has none costs no
// look into the file, however many are pending for others. It may name too many anchors and never too few: an anchor is
// named before the commit that puts a tombstone there, and unnamed after the commit that takes the last one away.
type fence struct {
	mu      sync.RWMutex
	anchors map[fenceKey]int
	// epoch rises whenever an anchor is unnamed. A snapshot from before may still hold the tombstone, so whoever reads one
	// compares.
	epoch uint64
}

type fenceKey struct {
	tenant string
	anchor domain.Anchor
}

func (f *fence) now() uint64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.epoch
}

// clear reports whether nothing is pending under an anchor, in a snapshot that was begun after the epoch was read.
func (f *fence) clear(key fenceKey, epoch uint64) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.epoch == epoch && f.anchors[key] == 0
}

// name is for a writer, before its commit.
func (f *fence) name(key fenceKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.anchors[key]++
}

// unname is for a writer whose commit took tombstones away, or one that has put some up and did not commit.
func (f *fence) unname(keys []fenceKey, committed bool) {
	if len(keys) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if committed {
		f.epoch++
	}
	for _, key := range keys {
		if f.anchors[key]--; f.anchors[key] < 1 {
			delete(f.anchors, key)
		}
	}
}

// fill learns what has to be known in memory of a file that was just opened.
func (t *txn) fill() error {
	t.rewrites.learn(t)
	c := t.tx.Bucket(bucketPending).Cursor()
	for name, _ := c.First(); name != nil; name, _ = c.Next() {
		r := t.records(string(name))
		r.after(bucketLive, nil, nil, func(_, v []byte) bool {
			p := must(decode(v, revocationFields))
			for _, anchor := range p.status.Tombstone.Anchors() {
				t.fence.name(fenceKey{r.name, anchor})
			}
			return true
		})
	}
	return nil
}

// mayBePending reports whether a tombstone may be pending under an anchor.
func (r *records) mayBePending(anchor domain.Anchor) bool {
	t := r.txn
	return !t.fence.clear(fenceKey{r.name, anchor}, t.epoch())
}

// epoch is what the fence's must be for it to speak of this transaction. A writer sees the fence as it is: no one else takes
// anything away while it writes.
func (t *txn) epoch() uint64 {
	if t.tx.Writable() {
		return t.fence.now()
	}
	return t.begun
}

// putUp puts a tombstone into the fence, and takeDown takes it out.
func (r *records) putUp(p *revocation) {
	id := p.id()
	for _, anchor := range p.status.Tombstone.Anchors() {
		key := fenceKey{r.name, anchor}
		r.txn.fence.name(key)
		r.txn.up = append(r.txn.up, key)
		r.put(bucketFence, append(anchorKey(anchor), id[:]...), nil)
	}
}

func (r *records) takeDown(p *revocation) {
	id := p.id()
	for _, anchor := range p.status.Tombstone.Anchors() {
		r.txn.down = append(r.txn.down, fenceKey{r.name, anchor})
		r.delete(bucketFence, append(anchorKey(anchor), id[:]...))
	}
}
