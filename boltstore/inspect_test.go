package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
)

// filled is the bytes of a file with so many tokens, as it is when it is closed and when its process is killed, and pages of
// the closed one: a leaf of the tokens, and one that leads to leaves of them.
func filled(t *testing.T, tokens int) (closed, killed []byte, leaf, branch int) {
	t.Helper()
	b, s := rig(t)
	b.SettleEarly(100)
	for from := 0; from < tokens; from += 500 {
		rows := make([]store.Insertion, 500)
		for i := range rows {
			id := ulid.ULID{}
			binary.BigEndian.PutUint64(id[8:], uint64(from+i+1))
			rows[i].Token = domain.RefreshToken{ID: id, UserID: fmt.Sprint("user-", i), ClientID: "client", CreatedAt: instant}
		}
		if _, err := s.Insert(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
	read := func() []byte {
		t.Helper()
		data, err := os.ReadFile(b.db.Path())
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	killed = read()
	path := b.db.Path()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	closed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		root := tx.Bucket(bucketTenants).Bucket([]byte("acme")).Bucket(bucketTokens).Root()
		branch = int(root)
		first := closed[int(root)*os.Getpagesize():]
		leaf = int(binary.LittleEndian.Uint64(first[pageHeader+8:]))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page := func(n int) uint16 { return binary.LittleEndian.Uint16(closed[n*os.Getpagesize()+8:]) }
	if page(branch) != branchFlag || page(leaf) != leafFlag {
		t.Fatal("the tree of tokens must have two levels")
	}
	return closed, killed, leaf, branch
}

// counted counts the bytes that are read.
type counted struct {
	io.ReaderAt
	n *int
}

func (c counted) ReadAt(p []byte, off int64) (int, error) {
	*c.n += len(p)
	return c.ReaderAt.ReadAt(p, off)
}

// Of a file that was closed only what leads to its tokens is read; of one that was not, all of it.
func TestInspectReads(t *testing.T) {
	closed, killed, _, _ := filled(t, 1500)
	for _, c := range []struct {
		name        string
		data        []byte
		least, most float64
	}{{"closed", closed, 0, 0.2}, {"killed", killed, 0.5, 2}} {
		n := 0
		if err := inspect(t.Context(), counted{bytes.NewReader(c.data), &n}, int64(len(c.data)), scope{}); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		used := binary.LittleEndian.Uint64(c.data[pageHeader+40:]) * uint64(os.Getpagesize())
		part := float64(n) / float64(used)
		t.Logf("%s: read %.2f of its pages", c.name, part)
		if part < c.least || part > c.most {
			t.Errorf("%s: read %.2f of its pages, want %.2f to %.2f", c.name, part, c.least, c.most)
		}
	}
}

// Damage to a leaf of tokens is found when the file opens after a crash, and otherwise when the leaf is read, or by Check. What
// leads to the leaves is looked at in either case.
func TestInspectDamage(t *testing.T) {
	closed, killed, leaf, branch := filled(t, 1500)
	at := func(page int) int { return page * os.Getpagesize() }
	spoilt := func(data []byte, at int) string {
		t.Helper()
		data = bytes.Clone(data)
		data[at] ^= 0x40
		path := filepath.Join(t.TempDir(), "tokens.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	number := 0
	count := int(binary.LittleEndian.Uint16(closed[at(leaf)+10:]))
	value := pageHeader + elementSize*count + len(ulid.ULID{}) + 30 // in the first record
	for _, c := range []struct {
		name string
		path string
	}{
		{"killed, a leaf's number", spoilt(killed, at(leaf)+number)},
		{"closed, a branch's number", spoilt(closed, at(branch)+number)},
		{"closed, a branch's count", spoilt(closed, at(branch)+10)},
		{"closed, what a branch leads to", spoilt(closed, at(branch)+pageHeader+8)},
		{"closed, what is free", spoilt(closed, at(int(binary.LittleEndian.Uint64(newer(closed)[32:])))+pageHeader)},
	} {
		if b, err := Open(c.path, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got error %v, want ErrCorrupt", c.name, err)
			if err == nil {
				_ = b.Close()
			}
		}
	}
	for name, where := range map[string]int{"a leaf's number": at(leaf) + number, "a value in a leaf": at(leaf) + value} {
		b, err := Open(spoilt(closed, where), nil)
		if err != nil {
			t.Fatalf("%s: only what leads to a leaf is looked at: got %v", name, err)
		}
		s, err := b.Tenant("acme")
		if err != nil {
			t.Fatal(err)
		}
		met := 0
		for n := range 100 {
			id := ulid.ULID{}
			binary.BigEndian.PutUint64(id[8:], uint64(n+1))
			v, err := s.Get(t.Context(), id)
			switch {
			case errors.Is(err, ErrCorrupt):
				met++
			case err != nil || v.Token.ID != id:
				t.Errorf("%s: got token %v, error %v", name, v.Token.ID, err)
			}
		}
		if met == 0 {
			t.Errorf("%s: what lies there was not met, and must be an error", name)
		}
		if findings, err := b.Check(t.Context()); err == nil && len(findings) == 0 {
			t.Errorf("%s: Check must find it", name)
		}
		_ = b.Close()
	}
}

// Keys of a leaf that are out of order are found by whoever walks over them.
func TestWalkOverDamage(t *testing.T) {
	closed, _, leaf, _ := filled(t, 1500)
	p := pages(closed)
	first, second := p.get32(leaf, element(1)+4), p.get32(leaf, element(2)+4)
	p.put32(leaf, element(1)+4, second+elementSize)
	p.put32(leaf, element(2)+4, first-elementSize)
	path := filepath.Join(t.TempDir(), "tokens.db")
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	s, err := b.Tenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(t.Context(), store.Query{Limit: 100}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got error %v, want ErrCorrupt", err)
	}
}

// A page that the list of free ones has lost belongs to nothing, whatever the free page before it was once.
func TestInspectLostPage(t *testing.T) {
	closed, _, _, _ := filled(t, 1500)
	p := pages(closed)
	list := int(binary.LittleEndian.Uint64(newer(closed)[32:]))
	count := p.count(list)
	free := func(i int) int { return p.get64(list, pageHeader+8*i) }
	lost := 1
	for lost < count && free(lost) != free(lost-1)+1 {
		lost++
	}
	if count == 0xFFFF || lost >= count {
		t.Fatal("the file must have two free pages side by side, and a short list")
	}
	p.put16(free(lost-1), 8, leafFlag)
	p.put32(free(lost-1), 12, 1) // it had one page more
	for i := lost; i < count-1; i++ {
		p.put64(list, pageHeader+8*i, free(i+1))
	}
	p.put16(list, 10, count-1)
	if err := inspect(t.Context(), bytes.NewReader(closed), int64(len(closed)), scope{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got error %v, want ErrCorrupt", err)
	}
}

// newer is the meta page that counts.
func newer(data []byte) []byte {
	a, b := data[pageHeader:], data[os.Getpagesize()+pageHeader:]
	if binary.LittleEndian.Uint64(a[48:]) > binary.LittleEndian.Uint64(b[48:]) {
		return a
	}
	return b
}
