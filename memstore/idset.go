package memstore

import (
	"iter"
	"slices"

	"github.com/oklog/ulid/v2"
)

// idSet is an ordered set of ids: a sorted list of sorted chunks, so that inserting and removing move few of them however
// large the set is. The zero value is an empty set.
type idSet struct{ chunks [][]ulid.ULID }

const chunkSize = 512

// find returns the chunk in which the id is or would be, its position there, and whether it is there.
func (s *idSet) find(id ulid.ULID) (chunk, at int, found bool) {
	chunk, found = slices.BinarySearchFunc(s.chunks, id, func(c []ulid.ULID, id ulid.ULID) int { return c[0].Compare(id) })
	if found {
		return chunk, 0, true
	}
	chunk = max(chunk-1, 0)
	if len(s.chunks) == 0 {
		return 0, 0, false
	}
	at, found = slices.BinarySearchFunc(s.chunks[chunk], id, ulid.ULID.Compare)
	return chunk, at, found
}

func (s *idSet) add(id ulid.ULID) {
	if len(s.chunks) == 0 {
		s.chunks = [][]ulid.ULID{{id}}
		return
	}
	i, at, found := s.find(id)
	if found {
		return
	}
	full := s.chunks[i]
	if len(full) < chunkSize {
		s.chunks[i] = slices.Insert(full, at, id)
		return
	}
	if i == len(s.chunks)-1 && at == len(full) { // ids mostly come in ascending order: leave the chunk full
		s.chunks = append(s.chunks, []ulid.ULID{id})
		return
	}
	s.chunks = slices.Insert(s.chunks, i+1, slices.Clone(full[chunkSize/2:]))
	s.chunks[i] = full[:chunkSize/2]
	s.add(id)
}

func (s *idSet) remove(id ulid.ULID) {
	i, at, found := s.find(id)
	if !found {
		return
	}
	s.chunks[i] = slices.Delete(s.chunks[i], at, at+1)
	if len(s.chunks[i]) == 0 {
		s.chunks = slices.Delete(s.chunks, i, i+1)
	}
}

func (s *idSet) empty() bool { return len(s.chunks) == 0 }

// after walks the ids above the given one, ascending. The set may be changed only after the walk has ended.
func (s *idSet) after(id ulid.ULID) iter.Seq[ulid.ULID] {
	return func(yield func(ulid.ULID) bool) {
		if s == nil || len(s.chunks) == 0 {
			return
		}
		i, at, found := s.find(id)
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
