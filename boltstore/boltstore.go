// Package boltstore is the embedded durable backend: one bbolt file, no server.
//
// Every call that is acknowledged has been synced to the disk. Concurrent writers share commits; a lone one never waits
// for company. Records, indexes, tombstones and the sweep's progress are written in the same commit, so after a crash at
// any instant the file is as it was after some commit, and opening it is all the recovery there is. One process at a time
// holds the file.
//
// Tenants have buckets of their own in the file. Nothing that is handed out points into the mapped file, and no read
// holds a transaction longer than a page of a list takes.
//
// docs/adr/0006-bbolt-settings.md says how bbolt is set up, and why.
package boltstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	lockTimeout = time.Second
	// initialMmap is address space, not memory: remapping a growing file blocks until all readers have left, so it
	// should be rare.
	initialMmap = 1 << 30
	// fillTokens: ids are mostly ascending, so pages of the token bucket are split when full and rarely written again.
	fillTokens = 0.9
)

// Options of a backend. The zero value, and nil, take every default.
type Options struct {
	// LockTimeout is how long to wait for another process to let go of the file. Defaults to 1 s.
	LockTimeout time.Duration
	// MustExist has Open refuse to create the file: where it does not exist, the error matches [fs.ErrNotExist]. Defaults to false.
	MustExist bool
	// MaxSize is the size in bytes beyond which the file does not grow: a commit that would is [ErrFull]. Defaults to 0, no
	// limit.
	MaxSize int
}

// Backend is an open file. It is safe for concurrent use.
type Backend struct {
	db        *bbolt.DB
	dir       string // where the file lies
	group     group
	fence     fence
	rewrites  rewrites
	freshMax  uint64 // of its transactions
	closed    atomic.Bool
	certainty certainty
	writer    writer
	attempts  sync.Mutex // one is made at a time
	commits   atomic.Uint64
	calls     atomic.Uint64 // that shared them
	merges    atomic.Uint64 // commits that merged runs of an index
}

var (
	_ store.Backend = (*Backend)(nil)
	_ store.Grouper = (*Backend)(nil)
)

// Open opens the file, and creates it, readable by its owner alone, if it does not exist and MustExist is not set. A file that can't be opened is
// left as it was; the error is [ErrNotOurs], [ErrTruncated], [ErrCorrupt], [ErrFormat], [ErrLocked], [ErrUnusable], or [ErrFull] where
// there is no room for what it writes.
// Of a file that was closed, opening reads what leads to its records, and the latest of what has been rewritten, a small part. After a crash it reads the whole file, to look
// for free pages, and takes time in proportion to its size. Damage to what has been rewritten last, where records are yet to be put into their
// places, has the whole file refused, since it says which records are out of date. Damage to what is not read is an [ErrCorrupt] of the call that comes
// to it, and a finding of [Backend.Check].
func Open(path string, opts *Options) (*Backend, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	var err error
	if o.LockTimeout, err = opts.lockTimeout(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !o.MustExist {
		if err := create(path); err != nil {
			return nil, err
		}
	}
	db, err := open(path, o, current())
	for errors.Is(err, errReplaced) { // while it waited for the lock
		db, err = open(path, o, current())
	}
	if err != nil {
		return nil, err
	}
	b := &Backend{db: db, dir: filepath.Dir(path), freshMax: freshMax, fence: fence{anchors: map[fenceKey]int{}}}
	latest, err := b.peek(context.Background(), (*txn).fill)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	b.certainty.latest.Store(int64(latest))
	return b, nil
}

// open inspects the file under bbolt's lock, before bbolt itself looks at it, and brings one of an older format to the given one. It never
// creates one.
func open(path string, o Options, f format) (db *bbolt.DB, err error) {
	var file *os.File
	settings := bbolt.Options{
		Timeout:         o.LockTimeout,
		NoFreelistSync:  true,
		FreelistType:    bbolt.FreelistArrayType,
		InitialMmapSize: initialMmap,
		MaxSize:         o.MaxSize,
		OpenFile: func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
			file, err = os.OpenFile(name, flag&^os.O_CREATE, mode)
			return file, err
		},
	}
	if err := inspectLocked(path, o.LockTimeout); err != nil {
		return nil, err
	}
	err = protect(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &settings)
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, ErrLocked
	case errors.Is(err, ErrCorrupt):
		_ = file.Close() // bbolt panicked, and holds the lock still
		return nil, err
	case err != nil:
		return nil, unusable(err)
	}
	if err = stillThere(file, path); err == nil {
		err = f.accept(db, func() error { return errors.Join(settle(file, db.Info().PageSize), settleFolder(path)) })
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if o.MaxSize > 0 {
		// bbolt grows a file by this much at once, and refuses to where that goes beyond the limit.
		db.AllocSize = max(db.Info().PageSize, min(db.AllocSize, o.MaxSize/32))
	}
	return db, nil
}

// Tenant returns the store of a tenant.
func (b *Backend) Tenant(name string) (store.Store, error) {
	if err := domain.CheckTenant(name); err != nil {
		return nil, err
	}
	if b.closed.Load() {
		return nil, store.ErrClosed
	}
	return &tenant{backend: b, name: name}, nil
}

// Pending returns the names of tenants that have pending tombstones.
func (b *Backend) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	return b.names(ctx, bucketPending, after, limit, func(*txn, []byte) bool { return true })
}

// Tenants returns the names of tenants that were created or written to.
func (b *Backend) Tenants(ctx context.Context, after string, limit int) ([]string, error) {
	return b.names(ctx, bucketTenants, after, limit, func(t *txn, name []byte) bool {
		return t.records(string(name)).meta.written()
	})
}

// names returns keys of a bucket after the given one.
func (b *Backend) names(ctx context.Context, bucket []byte, after string, limit int, holds func(*txn, []byte) bool) ([]string, error) {
	if err := store.CheckLimit(limit); err != nil {
		return nil, err
	}
	var names []string
	err := b.view(ctx, func(t *txn) error {
		c := t.tx.Bucket(bucket).Cursor()
		k, _ := c.Seek([]byte(after))
		if k != nil && string(k) == after {
			k, _ = c.Next()
		}
		for ; k != nil && len(names) < limit; k, _ = c.Next() {
			if holds(t, k) {
				names = append(names, string(k))
			}
		}
		return nil
	})
	return names, err
}

// Create records a tenant that holds nothing yet.
func (b *Backend) Create(ctx context.Context, name string) error {
	if err := domain.CheckTenant(name); err != nil {
		return err
	}
	return b.update(ctx, func(t *txn) error {
		r := t.records(name)
		if r.meta.written() {
			return store.ErrExists
		}
		r.meta.created = true
		r.save()
		return nil
	})
}

// Close waits for what is in flight and releases the file. Further calls do nothing; every other verb is then
// [store.ErrClosed]. If the file can't be closed, which takes nothing from what was acknowledged, the error is [ErrUnusable].
func (b *Backend) Close() error {
	b.closed.Store(true)
	certain := b.ascertain() == nil
	// A clean close leaves the list of free pages in the file, so that only a crash pays for finding them again. One that lacks pages
	// would have the file taken for damaged.
	tx, err := b.beginWriting()
	if errors.Is(err, store.ErrClosed) {
		return nil
	}
	if err == nil {
		if certain && !b.writer.leaky {
			b.db.NoFreelistSync = false
			_ = protect(tx.Commit)
		}
		b.endWriting(tx)
	}
	if b.writer.isStuck() {
		return unusable(errStuck)
	}
	if err := b.db.Close(); err != nil {
		return unusable(err)
	}
	return nil
}

// Snapshot writes a consistent copy of the whole file, as of one commit, while readers and writers go on. The copy opens
// like any other file. It is made beside the file first, where it needs as much room again, so that a slow w neither makes
// the file grow nor holds up anybody.
func (b *Backend) Snapshot(ctx context.Context, w io.Writer) (err error) {
	if b.closed.Load() {
		return store.ErrClosed
	}
	temp, err := os.CreateTemp(b.dir, ".tokenstore-snapshot-*")
	if err != nil {
		return notWritten(err)
	}
	defer func() {
		if removed := errors.Join(temp.Close(), os.Remove(temp.Name())); removed != nil {
			err = errors.Join(err, unusable(removed))
		}
	}()
	var failed error // bbolt keeps the text of some errors only
	err = b.view(ctx, func(t *txn) error {
		_, err := t.tx.WriteTo(writerFunc(func(p []byte) (n int, err error) {
			n, failed = stoppable{ctx, temp}.Write(p)
			return n, failed
		}))
		return err
	})
	switch {
	case failed != nil && ctx.Err() != nil:
		return ctx.Err()
	case failed != nil:
		return notWritten(failed)
	case err != nil:
		return err
	}
	if _, err := temp.Seek(0, io.SeekStart); err != nil {
		return unusable(err)
	}
	_, err = io.Copy(stoppable{ctx, w}, temp)
	return err
}

// stoppable is a writer that fails once the context has ended.
type stoppable struct {
	ctx context.Context
	io.Writer
}

func (s stoppable) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.Writer.Write(p)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Stats is what the backend has done since it was opened.
type Stats = store.Stats

// Stats returns the counts so far.
func (b *Backend) Stats() Stats {
	return Stats{Commits: b.commits.Load(), Calls: b.calls.Load(), Merges: b.merges.Load()}
}
