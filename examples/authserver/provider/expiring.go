package provider

import (
	"sync"
	"time"
)

// expiring is a map in memory whose entries end by themselves. It holds no more than max of them, and is safe for concurrent
// use. Values are copied in and out.
type expiring[V any] struct {
	now     func() time.Time
	max     int
	mu      sync.Mutex
	purged  time.Time
	entries map[string]lasting[V]
}

type lasting[V any] struct {
	value V
	until time.Time
}

func newExpiring[V any](now func() time.Time, most int) *expiring[V] {
	return &expiring[V]{now: now, max: most, entries: map[string]lasting[V]{}}
}

// put reports false if there is no room.
func (e *expiring[V]) put(key string, value V, life time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if len(e.entries) >= e.max || now.Sub(e.purged) > time.Minute {
		e.purged = now
		for key, entry := range e.entries {
			if !now.Before(entry.until) {
				delete(e.entries, key)
			}
		}
	}
	if _, there := e.entries[key]; !there && len(e.entries) >= e.max {
		return false
	}
	e.entries[key] = lasting[V]{value, now.Add(life)}
	return true
}

func (e *expiring[V]) get(key string) (V, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.live(key)
}

// take is get for an entry that is good for one use.
func (e *expiring[V]) take(key string) (V, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	value, ok := e.live(key)
	delete(e.entries, key)
	return value, ok
}

// update changes every value that fn changes, and drops those that it returns false for.
func (e *expiring[V]) update(fn func(*V) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key := range e.entries {
		value, ok := e.live(key)
		if !ok || !fn(&value) {
			delete(e.entries, key)
			continue
		}
		e.entries[key] = lasting[V]{value, e.entries[key].until}
	}
}

// change changes one value, if it is there.
func (e *expiring[V]) change(key string, fn func(*V)) (V, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	value, ok := e.live(key)
	if ok {
		fn(&value)
		e.entries[key] = lasting[V]{value, e.entries[key].until}
	}
	return value, ok
}

func (e *expiring[V]) live(key string) (V, bool) {
	entry, ok := e.entries[key]
	if !ok || !e.now().Before(entry.until) {
		var none V
		return none, false
	}
	return entry.value, true
}
