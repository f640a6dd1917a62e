package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// pebbleStore is pebble with the record and the four indexes, each change one synced batch.
func pebbleStore(dir string) *contender {
	cache := pebble.NewCache(256 << 20)
	defer cache.Unref()
	db := must(pebble.Open(filepath.Join(dir, "pebble"), &pebble.Options{Cache: cache, MemTableSize: 64 << 20, Logger: silent{}}))
	p := &peer{}
	var locks [256]sync.Mutex // pebble has no compare-and-swap
	put := func(b *pebble.Batch, r *row) error {
		err := errors.Join(b.Set(append([]byte("t"), r.id[:]...), record(r, r.digest), nil), b.Set(append([]byte("d"), r.digest[:]...), r.id[:], nil))
		for _, key := range keysOf(r) {
			err = errors.Join(err, b.Set(key, nil, nil))
		}
		return err
	}
	read := func(key []byte) (row, error) {
		data, closer, err := db.Get(key)
		if err != nil {
			return row{}, err
		}
		r := parse(bytes.Clone(data))
		return r, closer.Close()
	}
	return &contender{
		name: pebbleName, durable: "pebble.Sync on every batch",
		hold: p.hold,
		fill: func(_ context.Context, rows []row) error {
			for at := 0; at < len(rows); at += 1000 {
				b := db.NewBatch()
				for i := at; i < min(at+1000, len(rows)); i++ {
					if err := put(b, &rows[i]); err != nil {
						return err
					}
				}
				if err := b.Commit(pebble.Sync); err != nil {
					return err
				}
			}
			return nil
		},
		issue: func(_ context.Context, r *row) error {
			b := db.NewBatch()
			if err := put(b, r); err != nil {
				return err
			}
			return b.Commit(pebble.Sync)
		},
		get: func(_ context.Context, i int) error {
			r, err := read(append([]byte("t"), p.rows[i].id[:]...))
			if err == nil && len(r.value) != valueSize {
				err = errLost
			}
			return err
		},
		verify: func(_ context.Context, i int) error {
			digest := sha256.Sum256(p.secrets[i][:])
			id, closer, err := db.Get(append([]byte("d"), digest[:]...))
			if err != nil {
				return err
			}
			key := append([]byte("t"), id...)
			if err := closer.Close(); err != nil {
				return err
			}
			r, err := read(key)
			if err == nil && len(r.value) != valueSize {
				err = errLost
			}
			return err
		},
		exchange: func(_ context.Context, i int) error {
			return p.rotate(i, func(r *row, old, new [32]byte) error {
				lock := &locks[r.id[15]]
				lock.Lock()
				defer lock.Unlock()
				there, err := read(append([]byte("t"), r.id[:]...))
				if err != nil {
					return err
				}
				if there.digest != old {
					return errLost
				}
				b := db.NewBatch()
				err = errors.Join(b.Set(append([]byte("t"), r.id[:]...), record(r, new), nil),
					b.Delete(append([]byte("d"), old[:]...), nil), b.Set(append([]byte("d"), new[:]...), r.id[:], nil))
				if err != nil {
					return err
				}
				return b.Commit(pebble.Sync)
			})
		},
		revokeUser: func(_ context.Context, user string) error {
			prefix := []byte("u" + user + "\x00")
			for more := true; more; {
				it, err := db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: []byte("u" + user + "\x01")})
				if err != nil {
					return err
				}
				b, n := db.NewBatch(), 0
				for ok := it.First(); ok && n < 1000; ok = it.Next() {
					n++
					key := append([]byte("t"), it.Key()[len(prefix):]...)
					r, err := read(key)
					if err != nil {
						return errors.Join(err, it.Close())
					}
					copy(r.id[:], key[1:])
					err = errors.Join(b.Delete(key, nil), b.Delete(append([]byte("d"), r.digest[:]...), nil))
					for _, k := range keysOf(&r) {
						err = errors.Join(err, b.Delete(k, nil))
					}
					if err != nil {
						return errors.Join(err, it.Close())
					}
				}
				more = n == 1000
				if err := errors.Join(it.Close(), b.Commit(pebble.Sync)); err != nil {
					return err
				}
			}
			return nil
		},
		settle: func(context.Context) error { return db.Flush() },
		close:  db.Close,
	}
}

// silent is a logger that says nothing.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
