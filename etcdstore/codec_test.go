package etcdstore

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// at is a run whose snapshot is of a revision, and whose own numbers begin there.
func at(revision int64) *txn {
	t := &txn{rev: revision, numbers: newNumbers()}
	t.first, t.firstEvent = t.next(), t.next()
	return t
}

// A number of the commit that wrote it is read as that of the revision that the commit turned out to have, and any other as it
// was.
func TestNumbersFollowTheCommit(t *testing.T) {
	const snapshot, commit = 41, 57
	x := at(snapshot)
	for _, c := range []struct{ written, read uint64 }{
		{7, 7},
		{40<<placeBits + 3, 40<<placeBits + 3},
		{(snapshot+1)<<placeBits + 3, commit<<placeBits + 3},
		{(snapshot+1)<<placeBits + lastPlace, commit<<placeBits + lastPlace},
	} {
		id := ulid.ULID{1}
		r := record{token: domain.RefreshToken{ID: id, UserID: "u", ClientID: "c", Sequence: c.written}}
		i := item{key: idKey("T", id), value: x.encodeRecord(&r), mod: commit}
		if got := recordOf(&i).token.Sequence; got != c.read || r.token.Sequence != c.written {
			t.Errorf("token: %d is read as %d, want %d", c.written, got, c.read)
		}
		p := revocation{status: store.Status{Tombstone: domain.Tombstone{ID: id, Targets: []domain.Target{{UserID: "u"}}, Watermark: c.written}}}
		i = item{value: x.encodeRevocation(&p), mod: commit}
		if got := revocationOf(&i).status.Tombstone.Watermark; got != c.read {
			t.Errorf("revocation: %d is read as %d, want %d", c.written, got, c.read)
		}
		g := domain.Guard{Target: domain.Target{UserID: "u"}, Watermark: c.written}
		i = item{value: x.encodeGuard(&g), mod: commit}
		if got := guardOf(&i).Watermark; got != c.read {
			t.Errorf("guard: %d is read as %d, want %d", c.written, got, c.read)
		}
		i = item{value: x.encodeEvent(store.Event{Kind: store.KindIssued, Number: c.written, Sequence: c.written}), mod: commit}
		if got := eventOf(&i); got.Number != c.read || got.Sequence != c.read {
			t.Errorf("event: %d is read as %d and %d, want %d", c.written, got.Number, got.Sequence, c.read)
		}
		final := c.written
		x.settle(snapshot, commit)
		if x.final(&final); final != c.read {
			t.Errorf("%d turns out to be %d, want %d", c.written, final, c.read)
		}
	}
}

// What is damaged, or of another version, is refused as such.
func TestDamage(t *testing.T) {
	h := head{base: 7, horizon: domain.Horizon{Sequence: 3, Time: time.Unix(1, 2).UTC()}, erasureKey: domain.ErasureKey{1}}
	data := encode(&h, headFields)
	if got, err := decode(data, headFields); err != nil || got != h {
		t.Errorf("got %+v, %v", got, err)
	}
	flipped := bytes.Clone(data)
	flipped[3] ^= 1
	if _, err := decode(flipped, headFields); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want corrupt", err)
	}
	other := bytes.Clone(data[:len(data)-codec.SealSize])
	other[0]++
	if _, err := decode(codec.Sealed(other), headFields); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v, want another format", err)
	}
}

func fuzz[T any](f *testing.F, fields func(*codec.Coder, *T), seeds ...T) {
	for i := range seeds {
		data := encode(&seeds[i], fields)
		f.Add(data[1 : len(data)-codec.SealSize])
	}
	f.Add(bytes.Repeat([]byte{0xFF}, 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		value, err := codec.DecodeFields(data, fields)
		if err != nil {
			return
		}
		again, err := decode(encode(&value, fields), fields)
		if err != nil || !reflect.DeepEqual(again, value) {
			t.Fatalf("what was read must be written and read again: %+v, %+v, error %v", value, again, err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	fuzz(f, recordFields, record{token: domain.RefreshToken{ID: ulid.ULID{1}, UserID: "u", ClientID: "c"}, due: 9})
}

func FuzzRevocation(f *testing.F) {
	fuzz(f, revocationFields, revocation{status: store.Status{Tombstone: domain.Tombstone{ID: ulid.ULID{1}, Targets: []domain.Target{{UserID: "u"}}}}, key: "k"})
}

func FuzzEvent(f *testing.F) {
	fuzz(f, eventFields, event{Event: store.Event{Number: 1, Kind: store.KindIssued, Tokens: []store.EventToken{{UserID: "u"}}}, numbered: true})
}

// No key of one tenant, or one text, is the beginning of another's.
func FuzzKeys(f *testing.F) {
	f.Add("a", "ab")
	f.Add("", "\x00")
	f.Add(strings.Repeat("a", 127), strings.Repeat("a", 128))
	f.Add(strings.Repeat("a", 255), strings.Repeat("a", 256))
	f.Fuzz(func(t *testing.T, a, b string) {
		if a == b || len(a) > 400 || len(b) > 400 {
			return
		}
		if strings.HasPrefix(tenantRoot("p/", a), tenantRoot("p/", b)) {
			t.Fatal("a tenant's keys begin like another's")
		}
		if userKey(a) == userKey(b) || userKey(a) == textKey(keySessions, a) {
			t.Fatal("two texts have one key")
		}
		for kind := domain.AnchorToken; kind <= domain.AnchorNone; kind++ {
			for other := domain.AnchorToken; other <= domain.AnchorNone; other++ {
				if strings.HasPrefix(anchorKey(domain.Anchor{Kind: kind, Value: a}), anchorKey(domain.Anchor{Kind: other, Value: b})) {
					t.Fatal("an anchor's key begins with another's")
				}
			}
		}
	})
}

// Keys of instants and numbers are in their order, and are read as they were written.
func TestKeysInOrder(t *testing.T) {
	last := ""
	for _, at := range []time.Time{{}, time.Unix(-1, 999_999_999), time.Unix(0, 0), time.Unix(0, 1), time.Unix(1<<40, 0)} {
		key := instantKey(at)
		if key <= last || len(key) != sizeOfInstant || !instantOf(key).Equal(at) {
			t.Errorf("%v has the key %x, after %x", at, key, last)
		}
		last = key
	}
	last = ""
	for _, n := range []uint64{0, 1, 255, 256, math.MaxUint64} {
		if key := numberKey(n); key < last || numberOf(key) != n {
			t.Errorf("%d has the key %x, after %x", n, key, last)
		} else {
			last = key
		}
	}
}
