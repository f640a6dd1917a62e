package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// peer is what the clients of a peer hold: the loaded rows, which all contenders share, and the secrets that they have now. There are
// no pointers in those: what clients hold is not to be looked through by the collection of garbage, which a server pays for.
type peer struct {
	rows    []row
	secrets [][32]byte
}

func (p *peer) hold(rows []row) {
	if p.rows == nil {
		p.rows = rows[:len(rows):len(rows)]
	} else {
		p.rows = append(p.rows, rows...)
	}
	for i := range rows {
		p.secrets = append(p.secrets, rows[i].secret)
	}
}

// next is the secret that follows one, and its digest. A real issuer would draw it.
func next(secret [32]byte) (after, digest [32]byte) {
	after = sha256.Sum256(secret[:])
	return after, sha256.Sum256(after[:])
}

// rotate runs a compare-and-swap of a row's digest, and notes the new secret.
func (p *peer) rotate(i int, swap func(r *row, old, new [32]byte) error) error {
	old := sha256.Sum256(p.secrets[i][:]) // as a server does with what it is presented
	secret, digest := next(p.secrets[i])
	if err := swap(&p.rows[i], old, digest); err != nil {
		return err
	}
	p.secrets[i] = secret
	return nil
}

// record is what the peers that keep bytes keep of a token: digest, user, session and client for the indexes, and the value.
func record(r *row, digest [32]byte) []byte {
	b := append(make([]byte, 0, 512), digest[:]...)
	for _, text := range []string{r.user, r.session, r.client} {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	return append(b, r.value...)
}

// keysOf are the keys that a record is found by beside its id.
func keysOf(r *row) [3][]byte {
	return [3][]byte{
		append([]byte("u"+r.user+"\x00"), r.id[:]...),
		append([]byte("s"+r.session+"\x00"), r.id[:]...),
		append([]byte("c"+r.client+"\x00"), r.id[:]...),
	}
}

// The buckets of raw bbolt: records, digest to id, and the three indexes.
var boltBuckets = [][]byte{[]byte("t"), []byte("d"), []byte("u"), []byte("s"), []byte("c")}

func openRaw(path string, buckets [][]byte) *bbolt.DB {
	db := must(bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistArrayType, InitialMmapSize: 1 << 30}))
	check(db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	}))
	return db
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// boltBatch is raw bbolt as its documentation suggests for many writers: db.Batch, a record and four indexes.
func boltBatch(dir string) *contender {
	db := openRaw(filepath.Join(dir, "batch.db"), boltBuckets)
	p := &peer{}
	put := func(tx *bbolt.Tx, r *row) error {
		if err := tx.Bucket(boltBuckets[0]).Put(r.id[:], record(r, r.digest)); err != nil {
			return err
		}
		if err := tx.Bucket(boltBuckets[1]).Put(r.digest[:], r.id[:]); err != nil {
			return err
		}
		for i, key := range keysOf(r) {
			if err := tx.Bucket(boltBuckets[2+i]).Put(key, nil); err != nil {
				return err
			}
		}
		return nil
	}
	remove := func(tx *bbolt.Tx, id, data []byte) error {
		r := parse(data)
		copy(r.id[:], id)
		for i, key := range keysOf(&r) {
			if err := tx.Bucket(boltBuckets[2+i]).Delete(key); err != nil {
				return err
			}
		}
		return errors.Join(tx.Bucket(boltBuckets[1]).Delete(r.digest[:]), tx.Bucket(boltBuckets[0]).Delete(id))
	}
	return &contender{
		name: batchName, durable: "synced in every commit (NoSync is off)",
		hold: p.hold,
		fill: func(_ context.Context, rows []row) error {
			for at := 0; at < len(rows); at += 1000 {
				err := db.Update(func(tx *bbolt.Tx) error {
					for i := at; i < min(at+1000, len(rows)); i++ {
						if err := put(tx, &rows[i]); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		},
		issue: func(_ context.Context, r *row) error { return db.Batch(func(tx *bbolt.Tx) error { return put(tx, r) }) },
		get: func(_ context.Context, i int) error {
			return db.View(func(tx *bbolt.Tx) error {
				if r := parse(tx.Bucket(boltBuckets[0]).Get(p.rows[i].id[:])); len(r.value) != valueSize {
					return errLost
				}
				return nil
			})
		},
		verify: func(_ context.Context, i int) error {
			digest := sha256.Sum256(p.secrets[i][:])
			return db.View(func(tx *bbolt.Tx) error {
				id := tx.Bucket(boltBuckets[1]).Get(digest[:])
				if r := parse(tx.Bucket(boltBuckets[0]).Get(id)); len(r.value) != valueSize {
					return errLost
				}
				return nil
			})
		},
		exchange: func(_ context.Context, i int) error {
			return p.rotate(i, func(r *row, old, new [32]byte) error {
				return db.Batch(func(tx *bbolt.Tx) error {
					tokens, digests := tx.Bucket(boltBuckets[0]), tx.Bucket(boltBuckets[1])
					data := tokens.Get(r.id[:])
					if data == nil || !bytes.Equal(data[:32], old[:]) {
						return errLost
					}
					return errors.Join(tokens.Put(r.id[:], record(r, new)), digests.Delete(old[:]), digests.Put(new[:], r.id[:]))
				})
			})
		},
		revokeUser: func(_ context.Context, user string) error {
			prefix := []byte("u" + user + "\x00")
			for more := true; more; {
				err := db.Update(func(tx *bbolt.Tx) error {
					var ids [][]byte
					c := tx.Bucket(boltBuckets[2]).Cursor()
					for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && len(ids) < 1000; k, _ = c.Next() {
						ids = append(ids, bytes.Clone(k[len(prefix):]))
					}
					more = len(ids) == 1000
					for _, id := range ids {
						if err := remove(tx, id, bytes.Clone(tx.Bucket(boltBuckets[0]).Get(id))); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		},
		close: db.Close,
	}
}

// parse takes a record apart.
func parse(data []byte) (r row) {
	if len(data) < 32 {
		return r
	}
	copy(r.digest[:], data)
	data = data[32:]
	for _, text := range []*string{&r.user, &r.session, &r.client} {
		n, size := binary.Uvarint(data)
		*text = string(data[size : size+int(n)])
		data = data[size+int(n):]
	}
	r.value = data
	return r
}

// boltBare is the floor of what bbolt can do: one bucket of records under ascending keys, and no index. A call writes as
// many rows as it is told, in one commit.
func boltBare(dir string) *contender {
	bucket := boltBuckets[:1]
	db := openRaw(filepath.Join(dir, "bare.db"), bucket)
	var ids []ulid.ULID
	var last atomic.Uint64
	group := 1
	put := func(tx *bbolt.Tx, id ulid.ULID, value []byte) error {
		b := tx.Bucket(bucket[0])
		b.FillPercent = 0.9
		return b.Put(id[:], value)
	}
	c := &contender{name: bareName, durable: "synced in every commit (NoSync is off)", floor: true, group: &group}
	c.fill = func(_ context.Context, rows []row) error {
		for at := 0; at < len(rows); at += 1000 {
			err := db.Update(func(tx *bbolt.Tx) (err error) {
				for i := at; i < min(at+1000, len(rows)); i++ {
					ids = append(ids, rows[i].id)
					err = errors.Join(err, put(tx, rows[i].id, record(&rows[i], rows[i].digest)))
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		last.Store(ids[len(ids)-1].Time())
		return nil
	}
	c.issue = func(_ context.Context, r *row) error {
		value := record(r, r.digest)
		return db.Update(func(tx *bbolt.Tx) (err error) {
			for range group {
				id := r.id
				_ = id.SetTime(last.Add(1))
				err = errors.Join(err, put(tx, id, value))
			}
			return err
		})
	}
	c.exchange = func(_ context.Context, i int) error {
		i *= group
		return db.Update(func(tx *bbolt.Tx) (err error) {
			for k := range group {
				id := ids[(i+k)*stride%len(ids)] // far apart, as what clients present is
				there := tx.Bucket(bucket[0]).Get(id[:])
				if there == nil {
					return errLost
				}
				err = errors.Join(err, put(tx, id, bytes.Clone(there)))
			}
			return err
		})
	}
	c.close = db.Close
	return c
}

// syncFloor is one fdatasync of a page of a file that does not grow.
func syncFloor(dir string) *contender {
	const pages = 16 << 10
	file := must(os.Create(filepath.Join(dir, "floor")))
	page := make([]byte, 4096)
	for i := range pages {
		page[0] = byte(i)
		must(file.Write(page))
	}
	check(file.Sync())
	var at atomic.Int64
	return &contender{
		name: syncName, floor: true, durable: "one fdatasync a call, preallocated file",
		issue: func(_ context.Context, r *row) error {
			buf := [4096]byte{}
			copy(buf[:], r.id[:])
			if _, err := file.WriteAt(buf[:], at.Add(1)%pages*4096); err != nil {
				return err
			}
			return unix.Fdatasync(int(file.Fd()))
		},
		close: file.Close,
	}
}
