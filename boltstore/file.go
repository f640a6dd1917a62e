package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// create makes a complete, empty database and only then gives it its name, so that a crash at any instant leaves either
// no file or a whole one. A file that another process creates meanwhile is left alone.
func create(path string) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-*")
	if err != nil {
		return unusable(err)
	}
	defer os.Remove(temp.Name())
	if err := temp.Close(); err != nil {
		return unusable(err)
	}
	db, err := bbolt.Open(temp.Name(), 0o600, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return unusable(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketTenants, bucketPending} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		about, err := tx.CreateBucket(bucketAbout)
		if err != nil {
			return err
		}
		return about.Put(keyFormat, binary.BigEndian.AppendUint32(nil, formatVersion))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return unusable(err)
	}
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return unusable(err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return unusable(err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func unusable(err error) error {
	if errors.Is(err, berrors.ErrTimeout) {
		return ErrLocked
	}
	return fmt.Errorf("%w: %w", ErrUnusable, err)
}

// checkFormat reads the format version of an open database.
func checkFormat(tx *bbolt.Tx) error {
	about := tx.Bucket(bucketAbout)
	if about == nil || tx.Bucket(bucketTenants) == nil || tx.Bucket(bucketPending) == nil {
		return ErrNotOurs
	}
	version := about.Get(keyFormat)
	if len(version) != 4 {
		return ErrNotOurs
	}
	if v := binary.BigEndian.Uint32(version); v != formatVersion {
		return fmt.Errorf("%w: the file has version %d, this program knows %d", ErrFormat, v, formatVersion)
	}
	return checkShape(tx.Bucket(bucketTenants))
}

// checkShape checks that what should be a bucket is one. The pages of one that lost its mark would count as free.
func checkShape(tenants *bbolt.Bucket) error {
	known := [][]byte{bucketTokens, bucketFresh, bucketRuns, bucketLive, bucketWalkers, bucketRetired, bucketFence, bucketGuards, bucketAges, bucketHistory, bucketOutbox}
	return tenants.ForEach(func(name, _ []byte) error {
		tenant := tenants.Bucket(name)
		if tenant == nil {
			return fmt.Errorf("%w: tenant %q has no bucket", ErrCorrupt, name)
		}
		return tenant.ForEach(func(key, _ []byte) error {
			isBucket := slices.ContainsFunc(known, func(k []byte) bool { return bytes.Equal(k, key) })
			if isBucket != (tenant.Bucket(key) != nil) || !isBucket && !bytes.Equal(key, keyMeta) && !bytes.Equal(key, keyOrigin) {
				return fmt.Errorf("%w: tenant %q has a wrong bucket %q", ErrCorrupt, name, key)
			}
			return nil
		})
	})
}

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
)

// image is a database file that is looked at without mapping it.
type image struct {
	file     io.ReaderAt
	pageSize int64
	pages    uint64 // how many there are, used or free
	root     uint64
	seen     map[uint64]bool
}

// inspect checks that the file is a bbolt database, has all its pages, and that every page in use is well formed. It
// writes nothing.
func inspect(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return unusable(err)
	}
	if !info.Mode().IsRegular() {
		return ErrNotOurs
	}
	im, freelist, err := readMeta(file)
	if err != nil {
		return err
	}
	if int64(im.pages) > info.Size()/im.pageSize {
		return fmt.Errorf("%w: it has %d bytes of %d", ErrTruncated, info.Size(), int64(im.pages)*im.pageSize)
	}
	if err := im.walk(im.root, span{}); err != nil || freelist == noFreelist {
		return err
	}
	return im.freelist(freelist)
}

// readMeta reads the newer of the two meta pages that is whole.
func readMeta(file io.ReaderAt) (*image, uint64, error) {
	var best *image
	var bestTx, freelist uint64
	magic := false
	for _, at := range metaOffsets(file) {
		buf := make([]byte, pageHeader+metaSize)
		if _, err := file.ReadAt(buf, at); err != nil {
			continue
		}
		le, m := binary.LittleEndian, buf[pageHeader:]
		if le.Uint32(m) != boltMagic {
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
			best = &image{file: file, pageSize: int64(le.Uint32(m[8:])), root: le.Uint64(m[16:]), pages: le.Uint64(m[40:]), seen: map[uint64]bool{}}
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

// metaOffsets are where the two meta pages can be: at the start, and one page later for every possible page size.
func metaOffsets(file io.ReaderAt) []int64 {
	offsets := []int64{0}
	for size := int64(1024); size <= 64<<10; size *= 2 {
		buf := make([]byte, pageHeader+12)
		if _, err := file.ReadAt(buf, size); err == nil &&
			binary.LittleEndian.Uint32(buf[pageHeader:]) == boltMagic && int64(binary.LittleEndian.Uint32(buf[pageHeader+8:])) == size {
			offsets = append(offsets, size)
		}
	}
	return offsets
}

// page reads a page with all that overflows from it.
func (im *image) page(id uint64, flags uint16) ([]byte, error) {
	broken := func(what string) ([]byte, error) { return nil, fmt.Errorf("%w: page %d %s", ErrCorrupt, id, what) }
	if id < 2 || id >= im.pages {
		return broken("does not exist")
	}
	if im.seen[id] {
		return broken("is used twice")
	}
	im.seen[id] = true
	head := make([]byte, pageHeader)
	if _, err := im.file.ReadAt(head, int64(id)*im.pageSize); err != nil {
		return nil, unusable(err)
	}
	le := binary.LittleEndian
	overflow := uint64(le.Uint32(head[12:]))
	switch {
	case le.Uint64(head) != id:
		return broken("bears another number")
	case bits.OnesCount16(le.Uint16(head[8:])) != 1 || le.Uint16(head[8:])&flags == 0:
		return broken("is of a wrong kind")
	case overflow >= im.pages-id:
		return broken("overflows the file")
	}
	for i := uint64(1); i <= overflow; i++ {
		if im.seen[id+i] {
			return broken("overflows into one in use")
		}
		im.seen[id+i] = true
	}
	page := make([]byte, int64(overflow+1)*im.pageSize)
	if _, err := im.file.ReadAt(page, int64(id)*im.pageSize); err != nil {
		return nil, unusable(err)
	}
	return page, nil
}

// span is where the keys of a page must lie: from included, to not; nil is no limit.
type span struct{ from, to []byte }

func (s span) holds(key []byte) bool {
	return bytes.Compare(key, s.from) >= 0 && (s.to == nil || bytes.Compare(key, s.to) < 0)
}

// walk checks the tree below a page: every element lies within its page, keys ascend, every page is used once.
func (im *image) walk(id uint64, within span) error {
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
		if free <= last || free >= im.pages || im.seen[free] {
			return fmt.Errorf("%w: page %d is listed as free", ErrCorrupt, free)
		}
		last = free
	}
	return nil
}

// body returns the bytes that an element of the page points at, from its own position on.
func body(page []byte, element int, pos, size uint64) ([]byte, bool) {
	from := uint64(element) + pos
	if pos > uint64(len(page)) || size > uint64(len(page)) || from+size > uint64(len(page)) {
		return nil, false
	}
	return page[from : from+size], true
}

func (im *image) branch(id uint64, page []byte, within span) error {
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
		below := span{from: key, to: within.to}
		if i+1 < count {
			below.to = keys[i+1]
		}
		if err := im.walk(le.Uint64(page[pageHeader+i*elementSize+8:]), below); err != nil {
			return err
		}
	}
	return nil
}

func (im *image) leaf(id uint64, page []byte, within span) error {
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
		if err := im.bucket(id, both[keySize:]); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks a bucket below a leaf: a tree of its own, or, while it is small, a leaf within the value.
func (im *image) bucket(id uint64, value []byte) error {
	if len(value) < bucketHead {
		return fmt.Errorf("%w: page %d has a bucket that is too short", ErrCorrupt, id)
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return im.walk(root, span{})
	}
	inline := value[bucketHead:]
	if len(inline) < pageHeader || binary.LittleEndian.Uint16(inline[8:]) != leafFlag {
		return fmt.Errorf("%w: page %d has a bucket without a page", ErrCorrupt, id)
	}
	return im.leaf(id, inline, span{})
}

// inspectLocked inspects the file while no other process can write it. bbolt's read-only mode holds the lock; it looks at
// no more than the meta pages.
func inspectLocked(path string, timeout time.Duration) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return ErrNotOurs // opening a named pipe would wait for its other end
	}
	file, err := os.Open(path)
	if err != nil {
		return unusable(err)
	}
	defer file.Close()
	var db *bbolt.DB
	err = protect(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: timeout})
		return err
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return ErrLocked
	}
	if err == nil {
		defer db.Close()
	}
	if found := inspect(file); found != nil {
		return found
	}
	if err != nil {
		return unusable(err)
	}
	return nil
}
