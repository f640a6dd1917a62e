package boltstore

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/oklog/ulid/v2"
)

// Tokens are exchanged in random order, and a record that is written in its place costs a commit its leaf, and what lies above, for
// itself alone. So what a record becomes is noted behind what others have become, of all tenants, and put into its place later, with
// its neighbours ([txn.settleRewrites]). Until then that note is the record, and what is in its place is out of date.
//
// The notes are of generations, each in a bucket of its own. While those of one are put into their places the next one takes what
// comes, so there are two at most. A token has at most one note in each, and the later one is right. When all that is still right of a
// generation is in its place, its bucket goes as a whole. A token that is not in its place has no notes.
//
// That is all that the file says. Which tokens have notes is kept in memory ([rewrites]), and found out by a look at all of them when
// a file is opened.

const (
	fillRewrites   = 1   // they are written once, in the order of their keys
	placedMin      = 32  // how many have to be owed before any are put into their places, so that there are neighbours among them
	placedMax      = 256 // how many of those that are owed from before a commit makes up for
	generationMin  = 64
	generationMax  = 32 << 10
	generationPart = 1    // a generation is full with as many notes as the file has pages: that is an eighth of it
	looksMin       = 4096 // how many of them a commit looks at: after the file was opened many are in their places already
	roomPart       = 2
	restFor        = 64 // how many commits there are without notes and places after one for which there was no room
)

// tokenKey is a token of any tenant.
type tokenKey struct {
	tenant string
	id     ulid.ULID
}

func (k *tokenKey) compare(other *tokenKey) int {
	if k.tenant != other.tenant {
		return strings.Compare(k.tenant, other.tenant)
	}
	return k.id.Compare(other.id)
}

const noteHead = 8 + len(ulid.ULID{})

// note is the key of a token's note: its number, by which it comes behind the notes before, and whose it is.
func (k *tokenKey) note(number uint64) []byte {
	note := binary.BigEndian.AppendUint64(make([]byte, 0, noteHead+len(k.tenant)), number)
	return append(append(note, k.id[:]...), k.tenant...)
}

// generation is where the notes of a generation are.
type generation struct {
	name  uint64 // of its bucket: one more than that of the generation before
	notes map[tokenKey]uint64
}

// noted is where a note of a token may be: a generation's name, and the number there; or zeros for nowhere.
type noted struct{ generation, number uint64 }

// find returns where notes of a token may be, the latest first.
func find(generations []generation, key tokenKey) (places [2]noted) {
	i := 0
	for _, g := range slices.Backward(generations) {
		if number := g.notes[key]; number > 0 {
			places[i] = noted{g.name, number}
			i++
		}
	}
	return places
}

// rewrites knows in memory where notes may be. It may name a note too many and never too few, as the [fence] does: a note is named
// before the commit that makes it, and unnamed if that is known not to have been made. Whoever reads goes by the generations that there
// were when the snapshot was begun: it has no others, and what is known of those that have gone since does not change any more.
type rewrites struct {
	mu          sync.RWMutex // also of what is in the generations
	generations []generation // is not changed, but replaced

	// What only the writer uses.
	last    uint64     // the number of the latest note
	left    []tokenKey // those of the older of two generations that have not been looked at since the file was opened, in the order of their places
	owed    int        // how many have been rewritten for which none was put into its place yet
	blocked bool       // somewhere there is damage: until the file is opened anew nothing is noted, nor put into its place
	resting int        // how many commits are made without notes and places yet, for want of room
	max     int        // how many notes make a generation full; 0 for what the size of the file says
}

// latest is the generation that takes what is noted now. It is for the writer.
func (w *rewrites) latest() *generation { return &w.generations[len(w.generations)-1] }

// now returns the generations that there are. What is in them may be read by find alone.
func (w *rewrites) now() []generation {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.generations
}

// latestIs reports whether none has begun since generations were asked for.
func (w *rewrites) latestIs(of []generation) bool {
	now := w.now()
	return len(now) == 0 || len(of) > 0 && now[len(now)-1].name == of[len(of)-1].name
}

func (w *rewrites) find(generations []generation, key tokenKey) [2]noted {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return find(generations, key)
}

// name is for a writer, before its commit. It returns what was not named before.
func (w *rewrites) name(x *rewriting) (named []tokenKey) {
	w.last = x.last
	w.mu.Lock()
	defer w.mu.Unlock()
	notes := w.latest().notes
	for key, number := range x.noted {
		if notes[key] == 0 {
			notes[key] = number
			named = append(named, key)
		}
	}
	return named
}

// unname is for a commit that is known not to have been made.
func (w *rewrites) unname(named []tokenKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range named {
		delete(w.latest().notes, key)
	}
}

// learn takes what a transaction sees. It is for a file that is being opened.
func (w *rewrites) learn(t *txn) {
	w.generations = t.look()
	if len(w.generations) == 0 {
		w.generations = []generation{{name: 1, notes: map[tokenKey]uint64{}}}
	}
	for _, g := range w.generations {
		for _, number := range g.notes {
			w.last = max(w.last, number)
		}
	}
	if n := len(w.generations[0].notes); len(w.generations) == 1 && n > 0 && n >= t.generationMax() { // the commit that made it so was the last
		w.generations = append(w.generations, generation{name: w.latest().name + 1, notes: map[tokenKey]uint64{}})
	}
	if len(w.generations) > 1 {
		w.left = w.generations[0].inPlaces()
		w.owed = len(w.generations[1].notes)
	}
}

// inPlaces are the tokens of a generation, in the order of their places.
func (g *generation) inPlaces() []tokenKey {
	keys := slices.Collect(maps.Keys(g.notes))
	slices.SortFunc(keys, func(a, b tokenKey) int { return a.compare(&b) })
	return keys
}

// rewriting is what a transaction has changed of the notes. It is told to [rewrites] after the commit.
type rewriting struct {
	noted   map[tokenKey]uint64 // the numbers of its notes, in the latest generation
	added   int                 // how many of them are of tokens that had none there
	last    uint64
	left    []tokenKey
	owed    int
	placing bool // it has begun what is no call's: a failure may be due to that
	forgets bool // it deletes notes, which may meet damage beside them
	placed  bool // the older generation is gone
	full    bool // the later one is full, and another begins
}

// rewriting is what a transaction begins with.
func (w *rewrites) rewriting() rewriting {
	return rewriting{last: w.last, left: w.left, owed: w.owed}
}

// tell is for a writer that has committed.
func (w *rewrites) tell(x *rewriting) {
	w.left, w.owed = x.left, x.owed
	generations := w.generations
	if x.full {
		w.left = w.latest().inPlaces() // without the lock, which readers wait for
		generations = append(slices.Clip(generations), generation{name: w.latest().name + 1, notes: map[tokenKey]uint64{}})
	}
	if x.placed {
		generations = slices.Clone(generations[1:])
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.generations = generations
}
