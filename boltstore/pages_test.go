package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
)

// pages is the bytes of a file, to be changed field by field.
type pages []byte

func (p pages) page(n int) []byte       { return p[n*os.Getpagesize():][:os.Getpagesize()] }
func (p pages) put16(n, off int, v int) { binary.LittleEndian.PutUint16(p.page(n)[off:], uint16(v)) }
func (p pages) put32(n, off int, v int) { binary.LittleEndian.PutUint32(p.page(n)[off:], uint32(v)) }
func (p pages) put64(n, off int, v int) { binary.LittleEndian.PutUint64(p.page(n)[off:], uint64(v)) }
func (p pages) get32(n, off int) int    { return int(binary.LittleEndian.Uint32(p.page(n)[off:])) }
func (p pages) get64(n, off int) int    { return int(binary.LittleEndian.Uint64(p.page(n)[off:])) }

// count is how many elements a page has, and used how many pages the file.
func (p pages) count(n int) int { return int(binary.LittleEndian.Uint16(p.page(n)[10:])) }
func (p pages) used() int       { return int(binary.LittleEndian.Uint64(newer(p)[40:])) }

// meta changes a meta page, and makes its checksum right again; metas does so with both.
func (p pages) meta(n int, change func(m []byte)) {
	m := p.page(n)[pageHeader:][:metaSize]
	change(m)
	sum := fnv.New64a()
	sum.Write(m[:metaSize-8])
	binary.LittleEndian.PutUint64(m[56:], sum.Sum64())
}

func (p pages) metas(change func(m []byte)) { p.meta(0, change); p.meta(1, change) }

// element is where an element of a page begins.
func element(i int) int { return pageHeader + i*elementSize }

// TestInspectPages spoils every field that inspect looks at, by as little as can be told.
func TestInspectPages(t *testing.T) {
	closed, _, leaf, branch := filled(t, 1500)
	le := binary.LittleEndian
	size := os.Getpagesize()
	root := int(le.Uint64(newer(closed)[16:]))
	free := int(le.Uint64(newer(closed)[32:]))
	all := pages(closed).used()
	freeCount := pages(closed).count(free)
	if freeCount < 2 || freeCount == 0xFFFF {
		t.Fatalf("%d free pages, want some", freeCount)
	}
	// The bucket with the format's version is the first of the root, and lies within its page.
	inline := element(0) + pages(closed).get32(root, element(0)+4) + pages(closed).get32(root, element(0)+8)
	if name := string(pages(closed).page(root)[inline-len(bucketAbout) : inline]); name != string(bucketAbout) {
		t.Fatalf("the first bucket is %q", name)
	}
	last := pages(closed).count(leaf) - 1
	for _, c := range []struct {
		what, want string
		spoil      func(p pages)
	}{
		{"nothing", "", func(pages) {}},
		{"a page's number", "bears another number", func(p pages) { p.put64(leaf, 0, leaf+1) }},
		{"a leaf that is a branch too", "is of a wrong kind", func(p pages) { p.put16(leaf, 8, leafFlag|branchFlag) }},
		{"a leaf that is nothing", "is of a wrong kind", func(p pages) { p.put16(leaf, 8, 0) }},
		{"a leaf that is a list of free pages", "is of a wrong kind", func(p pages) { p.put16(leaf, 8, freelistFlag) }},
		{"a page that overflows by one too much", "overflows the file", func(p pages) { p.put32(leaf, 12, all-leaf) }},
		{"a page that overflows into another", "in use|used twice", func(p pages) { p.put32(leaf, 12, all-leaf-1) }},
		{"a leaf of too many", "wrong count", func(p pages) { p.put16(leaf, 10, (size-pageHeader)/elementSize+1) }},
		{"a branch of too many", "wrong count", func(p pages) { p.put16(branch, 10, (size-pageHeader)/elementSize+1) }},
		{"a branch of none", "wrong count", func(p pages) { p.put16(branch, 10, 0) }},
		{"a leaf's position", "wrong element", func(p pages) { p.put32(leaf, element(0)+4, size+1) }},
		{"a leaf's key", "wrong element", func(p pages) { p.put32(leaf, element(0)+8, size+1) }},
		{"a leaf's value, much too long", "wrong element", func(p pages) { p.put32(leaf, element(0)+12, -1) }},
		{"a leaf's value, too long by one", "wrong element", func(p pages) {
			end := element(last) + p.get32(leaf, element(last)+4) + p.get32(leaf, element(last)+8) + p.get32(leaf, element(last)+12)
			p.put32(leaf, element(last)+12, p.get32(leaf, element(last)+12)+size-end+1)
		}},
		{"a leaf's last value to the end of the page", "", func(p pages) {
			end := element(last) + p.get32(leaf, element(last)+4) + p.get32(leaf, element(last)+8) + p.get32(leaf, element(last)+12)
			p.put32(leaf, element(last)+12, p.get32(leaf, element(last)+12)+size-end)
		}},
		{"a leaf's key twice", "wrong element", func(p pages) {
			p.put32(leaf, element(1)+4, p.get32(leaf, element(0)+4)-elementSize)
			p.put32(leaf, element(1)+8, p.get32(leaf, element(0)+8))
		}},
		{"a leaf's keys in another order", "wrong element", func(p pages) {
			first, second := p.get32(leaf, element(1)+4), p.get32(leaf, element(2)+4)
			p.put32(leaf, element(1)+4, second+elementSize)
			p.put32(leaf, element(2)+4, first-elementSize)
		}},
		{"a branch's position", "wrong element", func(p pages) { p.put32(branch, element(0), size+1) }},
		{"a branch's key", "wrong element", func(p pages) { p.put32(branch, element(0)+4, size+1) }},
		{"a branch's key twice", "wrong element", func(p pages) {
			p.put32(branch, element(2), p.get32(branch, element(1))-elementSize)
		}},
		{"a branch's key above what lies below", "wrong element", func(p pages) {
			at := element(1) + p.get32(branch, element(1))
			p.page(branch)[at+15]++
		}},
		{"a branch's key below what lies below the one before", "wrong element", func(p pages) {
			at := element(1) + p.get32(branch, element(1))
			p.page(branch)[at+15]--
		}},
		{"a branch that leads to a meta page", "does not exist", func(p pages) { p.put64(branch, element(1)+8, 1) }},
		{"a branch that leads to nothing", "does not exist", func(p pages) { p.put64(branch, element(1)+8, all) }},
		{"a branch that leads to a page twice", "is used twice|wrong element", func(p pages) { p.put64(branch, element(1)+8, p.get64(branch, element(0)+8)) }},
		{"a bucket that is too short", "too short", func(p pages) { p.put32(root, element(0)+12, bucketHead-1) }},
		{"a bucket without a page", "without a page", func(p pages) { p.put32(root, element(0)+12, bucketHead+pageHeader-1) }},
		{"a bucket whose page is no leaf", "without a page", func(p pages) { p.put16(root, inline+bucketHead+8, branchFlag) }},
		{"a bucket that lies nowhere", "does not exist", func(p pages) { p.put64(root, inline, all) }},
		{"both metas of a smaller page", "impossible", func(p pages) { p.metas(func(m []byte) { le.PutUint32(m[8:], 512) }) }},
		{"both metas of a larger page", "impossible", func(p pages) { p.metas(func(m []byte) { le.PutUint32(m[8:], 1<<21) }) }},
		{"both metas of too many pages", "impossible", func(p pages) { p.metas(func(m []byte) { le.PutUint64(m[40:], 1<<48/uint64(size)+1) }) }},
		{"both metas of as many as there can be", "truncated", func(p pages) { p.metas(func(m []byte) { le.PutUint64(m[40:], 1<<48/uint64(size)) }) }},
		{"both metas of another version", "no meta page is whole", func(p pages) { p.metas(func(m []byte) { le.PutUint32(m[4:], boltVersion+1) }) }},
		{"both metas without a checksum", "no meta page is whole", func(p pages) { p.page(0)[pageHeader+57]++; p.page(1)[pageHeader+57]++ }},
		{"no meta of bbolt", "not a", func(p pages) { p.metas(func(m []byte) { m[0]++ }) }},
		{"the newer meta's root", "does not exist", func(p pages) { le.PutUint64(newer(p)[16:], 1); p.metas(func([]byte) {}) }},
		{"the older meta's root", "", func(p pages) {
			newest := newer(p)
			for n := range 2 {
				if m := p.page(n)[pageHeader:]; &m[0] != &newest[0] {
					p.meta(n, func(m []byte) { le.PutUint64(m[16:], 1) })
				}
			}
		}},
	} {
		data := pages(bytes.Clone(closed))
		c.spoil(data)
		wantFound(t, c.what, inspect(t.Context(), bytes.NewReader(data), int64(len(data)), scope{whole: true}), c.want)
	}
	for n := range 2 { // whichever of the meta pages is the newer counts, and the other does not
		for _, c := range []struct {
			spoilt int
			want   string
		}{{n, "does not exist"}, {1 - n, ""}} {
			data := pages(bytes.Clone(closed))
			copy(data.page(1 - n)[pageHeader:][:metaSize], bytes.Clone(newer(data)))
			copy(data.page(n)[pageHeader:][:metaSize], bytes.Clone(newer(data)))
			data.meta(n, func(m []byte) { le.PutUint64(m[48:], le.Uint64(m[48:])+1) })
			data.meta(c.spoilt, func(m []byte) { le.PutUint64(m[16:], 1) })
			wantFound(t, "one of two metas", inspect(t.Context(), bytes.NewReader(data), int64(len(data)), scope{whole: true}), c.want)
		}
	}
	list := func(p pages, i int) int { return p.get64(free, pageHeader+8*i) }
	for _, c := range []struct {
		what, want string
		spoil      func(p pages)
	}{
		{"more than there is room for", "wrong count", func(p pages) { p.put16(free, 10, (size-pageHeader)/8+1) }},
		{"one too few", "neither in use nor free", func(p pages) { p.put16(free, 10, freeCount-1) }},
		{"one that is in use", "is listed as free", func(p pages) { p.put64(free, pageHeader, leaf) }},
		{"a meta page", "is listed as free", func(p pages) { p.put64(free, pageHeader, 1) }},
		{"one twice", "is listed as free", func(p pages) { p.put64(free, pageHeader+8, list(p, 0)) }},
		{"another order", "is listed as free", func(p pages) {
			a, b := list(p, 0), list(p, 1)
			p.put64(free, pageHeader, b)
			p.put64(free, pageHeader+8, a)
		}},
		{"one beyond the file", "is listed as free", func(p pages) { p.put64(free, pageHeader+8*(freeCount-1), all) }},
		{"the count in its other place", "", func(p pages) {
			copy(p.page(free)[pageHeader+8:], bytes.Clone(p.page(free)[pageHeader:][:8*freeCount]))
			p.put16(free, 10, 0xFFFF)
			p.put64(free, pageHeader, freeCount)
		}},
		{"a page of another kind", "is of a wrong kind", func(p pages) { p.put16(free, 8, leafFlag) }},
	} {
		data := pages(bytes.Clone(closed))
		c.spoil(data)
		wantFound(t, "what is free: "+c.what, inspect(t.Context(), bytes.NewReader(data), int64(len(data)), scope{whole: true}), c.want)
	}
	for _, c := range []struct {
		size int
		want string
	}{{all * size, ""}, {all*size - 1, fmt.Sprintf("it has %d bytes of %d", all*size-1, all*size)}, {(all - 1) * size, "truncated"}} {
		wantFound(t, "a file that was cut", inspect(t.Context(), bytes.NewReader(closed[:c.size]), int64(c.size), scope{whole: true}), c.want)
	}
	// Of a file that was closed, the leaves of the tokens are left unread, and nothing else.
	for _, c := range []struct {
		what, want string
		spoil      func(p pages)
	}{
		{"a leaf of the tokens", "", func(p pages) { p.put64(leaf, 0, 0) }},
		{"the branch that leads there", "bears another number", func(p pages) { p.put64(branch, 0, 0) }},
		{"a leaf of the root", "bears another number", func(p pages) { p.put64(root, 0, 0) }},
		{"where the first leaf should be", "does not exist", func(p pages) { p.put64(branch, element(0)+8, all) }},
		{"where the second leaf should be", "does not exist", func(p pages) { p.put64(branch, element(1)+8, all) }},
		{"a branch's key twice", "wrong element", func(p pages) {
			p.put32(branch, element(2), p.get32(branch, element(1))-elementSize)
		}},
		{"two leaves that are one", "is used twice", func(p pages) { p.put64(branch, element(1)+8, p.get64(branch, element(0)+8)) }},
	} {
		data := pages(bytes.Clone(closed[:all*size]))
		c.spoil(data)
		wantFound(t, "in passing: "+c.what, inspect(t.Context(), bytes.NewReader(data), int64(len(data)), scope{}), c.want)
	}
}

// A file may have been made with pages of any size that bbolt knows.
func TestInspectSizes(t *testing.T) {
	for _, size := range []int{1 << 10, 1 << 12, 1 << 16, 1 << 20} {
		path := filepath.Join(t.TempDir(), "tokens.db")
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: size})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		wantFound(t, "pages of a size", inspect(t.Context(), bytes.NewReader(data), int64(len(data)), scope{whole: true}), "")
		data[pageHeader]++
		want := "" // where the other meta page is looked for
		if size > 1<<16 {
			want = "not a"
		}
		wantFound(t, "the second of its metas alone", inspect(t.Context(), bytes.NewReader(data), int64(len(data)), scope{whole: true}), want)
	}
}

// grown is the bytes of a closed file that has as many free pages as one page has room to list, and more pages at its end that are
// listed too, but for one.
func grown(t *testing.T, closed []byte, more, left int) pages {
	t.Helper()
	p := pages(bytes.Clone(closed))
	all, free := p.used(), int(binary.LittleEndian.Uint64(newer(p)[32:]))
	p = append(p[:all*os.Getpagesize()], make([]byte, more*os.Getpagesize())...)
	count := p.count(free)
	for id := all; id < all+more; id++ {
		if id != left {
			p.put64(free, pageHeader+8*count, id)
			count++
		}
	}
	p.put16(free, 10, count)
	binary.LittleEndian.PutUint64(newer(p)[40:], uint64(all+more))
	p.metas(func([]byte) {})
	return p
}

// A page that is neither in use nor free is found wherever it lies, and a list of free pages may fill its page.
func TestInspectAccounts(t *testing.T) {
	closed, _, _, _ := filled(t, 1500)
	all, free := pages(closed).used(), int(binary.LittleEndian.Uint64(newer(closed)[32:]))
	room := (os.Getpagesize()-pageHeader)/8 - pages(closed).count(free)
	full := grown(t, closed, room, 0)
	wantFound(t, "a full list", inspect(t.Context(), bytes.NewReader(full), int64(len(full)), scope{whole: true}), "")
	for left := all; left < all+2*64; left++ {
		p := grown(t, closed, 3*64, left)
		wantFound(t, "one that is left out", inspect(t.Context(), bytes.NewReader(p), int64(len(p)), scope{whole: true}), "neither in use nor free")
		if left > all { // the page before it is free, whatever it says
			p.put16(left-1, 8, leafFlag)
			p.put32(left-1, 12, 1)
			wantFound(t, "one that is left out, behind a leaf that is free", inspect(t.Context(), bytes.NewReader(p), int64(len(p)), scope{whole: true}), "neither in use nor free")
		}
	}
}

// What is larger than a page lies on several, all of which are in use.
func TestInspectOverflow(t *testing.T) {
	b, s := rig(t)
	entries := map[string]string{}
	for i := range domain.MaxMetadata {
		entries[string(rune('a'+i))] = strings.Repeat("x", domain.MaxMetadataText)
	}
	metadata, err := domain.NewMetadata(entries)
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]store.Insertion, 20)
	for i := range rows {
		rows[i].Token = domain.RefreshToken{ID: ulid.ULID{15: byte(i) + 1}, UserID: "ann", ClientID: "client", CreatedAt: instant, Metadata: metadata}
	}
	if _, err := s.Insert(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	path := b.db.Path()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := -1 // the page that overflows farthest
	for n, p := 2, pages(data); n < p.used(); n++ {
		if p.get64(n, 0) == n && binary.LittleEndian.Uint16(p.page(n)[8:]) == leafFlag && p.get32(n, 12) > 0 && (at < 0 || p.get32(n, 12) > p.get32(at, 12)) {
			at = n
		}
	}
	if at < 0 {
		t.Fatal("no page overflows")
	}
	p := pages(bytes.Clone(data))
	p.put32(at, element(0)+12, -1)
	wantFound(t, "a large token's length", inspect(t.Context(), bytes.NewReader(p), int64(len(p)), scope{whole: true}), "wrong element")
	p = pages(bytes.Clone(data)) // of which nobody reads the page itself
	p.put32(at, 12, p.used()-at)
	wantFound(t, "more pages than there are", inspect(t.Context(), bytes.NewReader(p), int64(len(p)), scope{}), "neither in use nor free")
	p.put32(at, 12, p.used()-at-1)
	wantFound(t, "all pages that there are", inspect(t.Context(), bytes.NewReader(p), int64(len(p)), scope{}), "used twice")
	for _, whole := range []bool{true, false} {
		wantFound(t, "large tokens", inspect(t.Context(), bytes.NewReader(data), int64(len(data)), scope{whole: whole}), "")
		for _, c := range []struct {
			what, want string
			by         int
		}{{"one page less", "neither in use nor free|wrong", -1}, {"one page more", "in use|used twice|overflows the file|listed as free", 1}} {
			p := pages(bytes.Clone(data))
			p.put32(at, 12, p.get32(at, 12)+c.by)
			wantFound(t, c.what, inspect(t.Context(), bytes.NewReader(p), int64(len(p)), scope{whole: whole}), c.want)
		}
	}
}

// wantFound fails unless the error has one of the texts, or is none if there is no text.
func wantFound(t *testing.T, what string, err error, texts string) {
	t.Helper()
	if texts == "" {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	for text := range strings.SplitSeq(texts, "|") {
		if err != nil && strings.Contains(err.Error(), text) && (errors.Is(err, ErrCorrupt) || errors.Is(err, ErrTruncated) || errors.Is(err, ErrNotOurs)) {
			return
		}
	}
	t.Errorf("%s: got %v, want %q", what, err, texts)
}
