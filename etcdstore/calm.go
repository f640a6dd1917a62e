package etcdstore

import "sync"

// Whether more is pending than is known, a key of the tenant tells: its mark, which a verb that reads a token reads beside it. While
// nothing is written to the cluster at all, that second key can be spared: an answer of the very revision as of which the mark was read
// has the same mark. If it turns out to be of another revision, the mark takes a request of its own, so it is spared only after it was
// read in vain many times running, and only by a reader who is alone: those who share a request ask for the mark once for all of them, and
// each would have to ask again by itself.

// calmReads is how many readings of the mark have to be of one revision before the next is spared. Where something is written after that
// many each time, a lone reader makes one request in that many for nothing.
const calmReads = 64

// marks are the marks of tenants, each as of a revision. What was so as of a revision stays true, whatever is written later.
type marks struct {
	mu   sync.Mutex
	seen map[string]mark
}

type mark struct {
	put      int64 // the revision at which it was put last; 0 if it never was
	asOf     int64 // the revision that it was read of
	readings int   // how many running were of that revision
}

// isCalm reports whether the next answer is likely to be of the revision that the mark is known as of, which it is not if a later one has
// been seen.
func (m *marks) isCalm(name string, latest int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.seen[name]
	return seen.readings >= calmReads && seen.asOf >= latest
}

// of returns what the tenant's mark was as of a revision, if that is known.
func (m *marks) of(name string, revision int64) (put int64, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.seen[name]
	return seen.put, revision != 0 && seen.asOf == revision
}

// note notes what was read.
func (m *marks) note(name string, put, asOf int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen, there := m.seen[name]
	if !there && len(m.seen) >= maxCached {
		clear(m.seen)
	}
	if seen.asOf != asOf {
		seen = mark{put: put, asOf: asOf}
	}
	seen.readings++
	m.seen[name] = seen
}

// maySpare reports whether the next read is to do without the mark.
func (t *txn) maySpare() bool {
	b := t.backend
	return b.marks.isCalm(t.name, b.latest.Load()) && !b.reads.busy("")
}

// readMark returns the mark of the snapshot. It is to be asked for before the run changes what is pending.
func (t *txn) readMark() (put int64) {
	key := t.below(keyMark)
	if _, read := t.seen[key]; !read {
		if put, known := t.backend.marks.of(t.name, t.rev); known {
			return put
		}
		t.prefetch([]string{key})
	}
	put = t.seen[key].mod
	t.backend.marks.note(t.name, put, t.rev)
	return put
}
