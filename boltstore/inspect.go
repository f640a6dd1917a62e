package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math/bits"
	"slices"
)

// The layout of bbolt's pages, so far as it takes to see that a file is whole before bbolt maps it into memory, where a
// page that is missing would be a fault and not an error.
const (
	pageHeader   = 16 // id (8), flags (2), count (2), overflow (4)
	elementSize  = 16
	metaSize     = 64
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	branchFlag   = 0x01
	leafFlag     = 0x02
	freelistFlag = 0x10
	bucketFlag   = 0x01 // of a leaf's element
	bucketHead   = 16   // root page (8), sequence (8)
	noFreelist   = ^uint64(0)
	maxHeight    = 64 // of a tree: more than fits into any file
)

// image is a database file that is looked at without mapping it.
type image struct {
	ctx      context.Context
	file     io.ReaderAt
	pageSize int64
	pages    uint64 // how many there are, used or free
	root     uint64
	seen     bitset // the pages in use that it has come to
	free     bitset // those that the file lists as free
	// skims leaves the leaves of the large buckets unread: all that leads to them is checked.
	skims   bool
	without [][]byte
}

// scope is how much of a file is inspected. The zero value is what it takes to use it.
type scope struct {
	whole   bool     // everything, also of a file that was closed
	without [][]byte // buckets of tenants that nobody is going to read, nor free pages
}

// bitset is a set of page numbers.
type bitset []uint64

func (s bitset) has(n uint64) bool { return s[n/64]>>(n%64)&1 != 0 }

func (s bitset) add(n uint64) { s[n/64] |= 1 << (n % 64) }

// large are the buckets of a tenant that grow with its tokens.
var large = [][]byte{bucketTokens, bucketRuns, bucketOutbox}

// inspect is a survey for those who want to know no more than whether the file is whole.
func inspect(ctx context.Context, file io.ReaderAt, size int64, s scope) error {
	_, err := survey(ctx, file, size, s)
	return err
}

// survey checks that the file is a bbolt database, has all its pages, and that every page in use is well formed. It
// writes nothing, and ends soon after ctx has.
//
// A file that was closed says where its free pages are; the first commit after that takes it back. Of such a file the leaves of
// the large buckets are left unread. bbolt checks each page's number and kind when it comes to it, a record and a block of
// the index have checksums, and as everything above the leaves is known to be sound, no damage to a leaf leads anywhere
// else. Of a file that was not closed bbolt will read every page itself, and end the process if one is damaged, so all of it
// is read here first.
func survey(ctx context.Context, file io.ReaderAt, size int64, s scope) (*image, error) {
	im, freelist, err := readMeta(file)
	if err != nil {
		return nil, err
	}
	if int64(im.pages) > size/im.pageSize {
		return nil, fmt.Errorf("%w: it has %d bytes of %d", ErrTruncated, size, int64(im.pages)*im.pageSize)
	}
	im.ctx = ctx
	im.without = s.without
	im.skims = freelist != noFreelist && !s.whole && s.without == nil
	im.seen = make(bitset, im.pages/64+1)
	im.free = make(bitset, im.pages/64+1)
	if err := im.walk(im.root, place{}); err != nil || freelist == noFreelist || s.without != nil {
		return im, err
	}
	if err := im.freelist(freelist); err != nil {
		return nil, err
	}
	return im, im.account()
}

// readMeta reads the newer of the two meta pages that is whole: that at the start, and the one after it, which can be one page of every
// possible size later.
func readMeta(file io.ReaderAt) (*image, uint64, error) {
	var best *image
	var bestTx, freelist uint64
	magic := false
	for at := int64(0); at <= 64<<10; at = max(1024, 2*at) {
		buf := make([]byte, pageHeader+metaSize)
		if _, err := file.ReadAt(buf, at); err != nil {
			continue
		}
		le, m := binary.LittleEndian, buf[pageHeader:]
		if le.Uint32(m) != boltMagic || at > 0 && int64(le.Uint32(m[8:])) != at {
			continue
		}
		magic = true
		sum := fnv.New64a()
		sum.Write(m[:metaSize-8])
		if le.Uint32(m[4:]) != boltVersion || le.Uint64(m[56:]) != sum.Sum64() {
			continue
		}
		if tx := le.Uint64(m[48:]); best == nil || tx > bestTx {
			bestTx, freelist = tx, le.Uint64(m[32:])
			best = &image{file: file, pageSize: int64(le.Uint32(m[8:])), root: le.Uint64(m[16:]), pages: le.Uint64(m[40:])}
		}
	}
	switch {
	case best == nil && magic:
		return nil, 0, fmt.Errorf("%w: no meta page is whole", ErrCorrupt)
	case best == nil:
		return nil, 0, ErrNotOurs
	case best.pageSize < 1024 || best.pageSize > 1<<20 || best.pages > 1<<48/uint64(best.pageSize):
		return nil, 0, fmt.Errorf("%w: impossible page size or count", ErrCorrupt)
	}
	return best, freelist, nil
}

func brokenPage(id uint64, what string) error {
	return fmt.Errorf("%w: page %d %s", ErrCorrupt, id, what)
}

// use notes that a page is in use.
func (im *image) use(id uint64) error {
	if err := im.ctx.Err(); err != nil {
		return err
	}
	switch {
	case id < 2 || id >= im.pages:
		return brokenPage(id, "does not exist")
	case im.seen.has(id):
		return brokenPage(id, "is used twice")
	}
	im.seen.add(id)
	return nil
}

// page reads a page with all that overflows from it.
func (im *image) page(id uint64, flags uint16) ([]byte, error) {
	broken := func(what string) ([]byte, error) { return nil, brokenPage(id, what) }
	if err := im.use(id); err != nil {
		return nil, err
	}
	page := make([]byte, im.pageSize)
	if _, err := im.file.ReadAt(page, int64(id)*im.pageSize); err != nil {
		return nil, unusable(err)
	}
	le := binary.LittleEndian
	overflow := uint64(le.Uint32(page[12:]))
	switch {
	case le.Uint64(page) != id:
		return broken("bears another number")
	case bits.OnesCount16(le.Uint16(page[8:])) != 1 || le.Uint16(page[8:])&flags == 0:
		return broken("is of a wrong kind")
	case overflow >= im.pages-id:
		return broken("overflows the file")
	}
	for i := uint64(1); i <= overflow; i++ {
		if im.seen.has(id + i) {
			return broken("overflows into one in use")
		}
		im.seen.add(id + i)
	}
	if overflow == 0 {
		return page, nil
	}
	page = make([]byte, int64(overflow+1)*im.pageSize)
	if _, err := im.file.ReadAt(page, int64(id)*im.pageSize); err != nil {
		return nil, unusable(err)
	}
	return page, nil
}

// place is where in the database a page is: how many buckets its own lies in, and where its keys must be, from included, to
// not; nil is no limit.
type place struct {
	nested   int
	from, to []byte
	height   int // how many levels there are below it, if those that are leaves are not to be read
}

func (s place) holds(key []byte) bool {
	return bytes.Compare(key, s.from) >= 0 && (s.to == nil || bytes.Compare(key, s.to) < 0)
}

// walk checks the tree below a page: every element lies within its page, keys ascend, every page is used once.
func (im *image) walk(id uint64, within place) error {
	if within.height == 1 {
		return im.use(id) // a leaf
	}
	page, err := im.page(id, branchFlag|leafFlag)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint16(page[8:])&branchFlag != 0 {
		return im.branch(id, page, within)
	}
	return im.leaf(id, page, within)
}

// freelist checks the list of free pages, which are written over: none must be in use.
func (im *image) freelist(id uint64) error {
	page, err := im.page(id, freelistFlag)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	count, list := uint64(le.Uint16(page[10:])), page[pageHeader:]
	if count == 0xFFFF { // too many for the header
		count, list = le.Uint64(list), list[8:]
	}
	if count > uint64(len(list))/8 {
		return fmt.Errorf("%w: page %d has a wrong count", ErrCorrupt, id)
	}
	last := uint64(1)
	for i := range count {
		free := le.Uint64(list[8*i:])
		if free <= last || free >= im.pages || im.seen.has(free) {
			return fmt.Errorf("%w: page %d is listed as free", ErrCorrupt, free)
		}
		last = free
	}
	for i := range count {
		im.free.add(le.Uint64(list[8*i:]))
	}
	return nil
}

// account checks that every page is in use or free. What is neither has to be what a leaf that was not read overflows into:
// else a part of a tree is lost.
func (im *image) account() error {
	for id := uint64(2); id < im.pages; id++ {
		if im.seen.has(id) || im.free.has(id) {
			continue
		}
		head := make([]byte, pageHeader)
		if _, err := im.file.ReadAt(head, int64(id-1)*im.pageSize); err != nil {
			return unusable(err)
		}
		flags, overflow := binary.LittleEndian.Uint16(head[8:]), uint64(binary.LittleEndian.Uint32(head[12:]))
		if !im.skims || im.free.has(id-1) || flags != leafFlag || overflow == 0 || overflow >= im.pages-(id-1) {
			return brokenPage(id, "is neither in use nor free")
		}
		for range overflow {
			if im.seen.has(id) || im.free.has(id) {
				return brokenPage(id, "is used twice")
			}
			im.seen.add(id)
			id++
		}
		id--
	}
	return nil
}

// body returns the bytes that an element of the page points at, from its own position on.
func body(page []byte, element int, pos, size uint64) ([]byte, bool) {
	from := uint64(element) + pos
	if from+size > uint64(len(page)) { // the sum of numbers of 32 bits
		return nil, false
	}
	return page[from : from+size], true
}

func (im *image) branch(id uint64, page []byte, within place) error {
	le := binary.LittleEndian
	count := int(le.Uint16(page[10:]))
	if count == 0 || pageHeader+count*elementSize > len(page) {
		return fmt.Errorf("%w: page %d has a wrong count", ErrCorrupt, id)
	}
	keys := make([][]byte, count)
	for i := range keys {
		at := pageHeader + i*elementSize // pos (4), key size (4), page (8)
		key, ok := body(page, at, uint64(le.Uint32(page[at:])), uint64(le.Uint32(page[at+4:])))
		if !ok || !within.holds(key) || i > 0 && bytes.Compare(key, keys[i-1]) <= 0 {
			return fmt.Errorf("%w: page %d has a wrong element", ErrCorrupt, id)
		}
		keys[i] = key
	}
	for i, key := range keys {
		below := place{nested: within.nested, from: key, to: within.to, height: max(0, within.height-1)}
		if i+1 < count {
			below.to = keys[i+1]
		}
		if err := im.walk(le.Uint64(page[pageHeader+i*elementSize+8:]), below); err != nil {
			return err
		}
	}
	return nil
}

func (im *image) leaf(id uint64, page []byte, within place) error {
	le := binary.LittleEndian
	count := int(le.Uint16(page[10:]))
	if pageHeader+count*elementSize > len(page) {
		return fmt.Errorf("%w: page %d has a wrong count", ErrCorrupt, id)
	}
	var last []byte
	for i := range count {
		at := pageHeader + i*elementSize // flags (4), pos (4), key size (4), value size (4)
		keySize, valueSize := uint64(le.Uint32(page[at+8:])), uint64(le.Uint32(page[at+12:]))
		both, ok := body(page, at, uint64(le.Uint32(page[at+4:])), keySize+valueSize)
		if !ok || !within.holds(both[:keySize]) || i > 0 && bytes.Compare(both[:keySize], last) <= 0 {
			return fmt.Errorf("%w: page %d has a wrong element", ErrCorrupt, id)
		}
		last = both[:keySize]
		if le.Uint32(page[at:])&bucketFlag == 0 {
			continue
		}
		if err := im.bucket(id, both[:keySize], both[keySize:], within.nested+1); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks a bucket below a leaf: a tree of its own, or, while it is small, a leaf within the value.
func (im *image) bucket(id uint64, name, value []byte, nested int) (err error) {
	if len(value) < bucketHead {
		return fmt.Errorf("%w: page %d has a bucket that is too short", ErrCorrupt, id)
	}
	// Those of a tenant are nested in its own and in that of all tenants.
	is := func(some [][]byte) bool {
		return nested == 3 && slices.ContainsFunc(some, func(one []byte) bool { return bytes.Equal(one, name) })
	}
	if is(im.without) {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%q: %w", name, err)
		}
	}()
	within := place{nested: nested}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		if im.skims && is(large) {
			if within.height, err = im.height(root); err != nil {
				return err
			}
		}
		return im.walk(root, within)
	}
	inline := value[bucketHead:]
	if len(inline) < pageHeader || binary.LittleEndian.Uint16(inline[8:]) != leafFlag {
		return fmt.Errorf("%w: page %d has a bucket without a page", ErrCorrupt, id)
	}
	return im.leaf(id, inline, within)
}

// height returns how many levels a tree has. All its leaves lie at the lowest.
func (im *image) height(id uint64) (int, error) {
	for n := 1; ; n++ {
		head := make([]byte, pageHeader+elementSize)
		switch {
		case id < 2 || id >= im.pages:
			return 0, brokenPage(id, "does not exist")
		case n > maxHeight:
			return 0, brokenPage(id, "is too deep")
		}
		if _, err := im.file.ReadAt(head, int64(id)*im.pageSize); err != nil {
			return 0, unusable(err)
		}
		if binary.LittleEndian.Uint16(head[8:])&branchFlag == 0 {
			return n, nil
		}
		id = binary.LittleEndian.Uint64(head[pageHeader+8:])
	}
}
