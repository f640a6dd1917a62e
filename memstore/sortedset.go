package memstore

import (
	"iter"
	"slices"

	"github.com/oklog/ulid/v2"
)

// ordered is what can be kept in a sorted set.
type ordered[K any] interface{ Compare(K) int }

// sortedSet is an ordered set of keys: a sorted list of sorted chunks, so that inserting and removing move few of them
// however large the set is. The zero value is an empty set.
type sortedSet[K ordered[K]] struct{ chunks [][]K }

// idSet is an ordered set of ids.
type idSet = sortedSet[ulid.ULID]

const chunkSize = 512

// find returns the chunk in which the key is or would be, its position there, and whether it is there.
func (s *sortedSet[K]) find(key K) (chunk, at int, found bool) {
	chunk, found = slices.BinarySearchFunc(s.chunks, key, func(c []K, key K) int { return c[0].Compare(key) })
	if found {
		return chunk, 0, true
	}
	chunk = max(chunk-1, 0)
	if len(s.chunks) == 0 {
		return 0, 0, false
	}
	at, found = slices.BinarySearchFunc(s.chunks[chunk], key, K.Compare)
	return chunk, at, found
}

func (s *sortedSet[K]) add(key K) {
	last := len(s.chunks) - 1
	if last < 0 {
		s.chunks = [][]K{{key}}
		return
	}
	if end := s.chunks[last]; end[len(end)-1].Compare(key) < 0 { // as most keys come, which leaves chunks full
		if len(end) < chunkSize {
			s.chunks[last] = append(end, key)
		} else {
			s.chunks = append(s.chunks, []K{key})
		}
		return
	}
	i, at, found := s.find(key)
	if found {
		return
	}
	full := s.chunks[i]
	if len(full) < chunkSize {
		s.chunks[i] = slices.Insert(full, at, key)
		return
	}
	s.chunks = slices.Insert(s.chunks, i+1, slices.Clone(full[chunkSize/2:]))
	s.chunks[i] = full[:chunkSize/2]
	s.add(key)
}

func (s *sortedSet[K]) remove(key K) {
	i, at, found := s.find(key)
	if !found {
		return
	}
	s.chunks[i] = slices.Delete(s.chunks[i], at, at+1)
	if len(s.chunks[i]) == 0 {
		s.chunks = slices.Delete(s.chunks, i, i+1)
	}
}

func (s *sortedSet[K]) empty() bool { return len(s.chunks) == 0 }

func (s *sortedSet[K]) len() int {
	n := 0
	for _, chunk := range s.chunks {
		n += len(chunk)
	}
	return n
}

// first returns the lowest key, and whether there is one.
func (s *sortedSet[K]) first() (key K, ok bool) {
	if len(s.chunks) == 0 {
		return key, false
	}
	return s.chunks[0][0], true
}

// all walks all keys, ascending. The set may be changed only after the walk has ended.
func (s *sortedSet[K]) all() iter.Seq[K] {
	return func(yield func(K) bool) {
		for _, chunk := range s.chunks {
			for _, key := range chunk {
				if !yield(key) {
					return
				}
			}
		}
	}
}

// after walks the keys above the given one, ascending. The set may be changed only after the walk has ended.
func (s *sortedSet[K]) after(key K) iter.Seq[K] {
	return func(yield func(K) bool) {
		if len(s.chunks) == 0 {
			return
		}
		i, at, found := s.find(key)
		if found {
			at++
		}
		for ; i < len(s.chunks); i, at = i+1, 0 {
			for _, next := range s.chunks[i][at:] {
				if !yield(next) {
					return
				}
			}
		}
	}
}
