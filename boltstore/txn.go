package boltstore

import (
	"bytes"
	"fmt"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
)

// txn is a transaction on the whole file, for writing one that several calls may share.
type txn struct {
	tx          *bbolt.Tx
	dirty       bool // something has been written
	merged      bool // runs of an index have moved on
	fence       *fence
	begun       uint64       // the fence's epoch before the transaction
	rewrites    *rewrites    // nil for one that goes by what it sees itself
	generations []generation // in which it may have notes
	noting      noting
	rewriting   rewriting
	up, down    []fenceKey // what it puts into the fence, and takes out
	tenants     map[string]*records
	freshMax    uint64 // how many entries of a tenant's index are fresh before they settle
}

// records is a tenant's part of a transaction. Its buckets are made by the first write; what reads them takes a bucket
// that is not there for an empty one.
type records struct {
	txn  *txn
	name string
	root *bbolt.Bucket
	meta meta
	// unsaved says that meta has changed. It is written once, when all calls that share the transaction have run.
	unsaved bool
	known   []runKey // the runs of the index, once they have been looked for
}

// records returns a tenant's part, the same for all calls that share the transaction.
func (t *txn) records(name string) *records {
	if r := t.tenants[name]; r != nil {
		return r
	}
	r := t.unread(name)
	if r.root != nil {
		r.meta = must(decode(r.root.Get(keyMeta), metaFields))
	}
	if t.tenants != nil {
		t.tenants[name] = r
	}
	return r
}

// unread is a tenant's part of which nothing has been read, also not what it knows of itself.
func (t *txn) unread(name string) *records {
	return &records{txn: t, name: name, root: t.tx.Bucket(bucketTenants).Bucket([]byte(name))}
}

// finish writes what the calls have left to be written once.
func (t *txn) finish() {
	for _, r := range t.tenants {
		if r.unsaved {
			check(r.root.Put(keyMeta, encode(&r.meta, metaFields)))
		}
	}
}

// must ends the transaction with a fault if a record can't be read or written.
func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(fault{err})
	}
}

// bucket returns a bucket for reading, or nil.
func (r *records) bucket(name []byte) *bbolt.Bucket {
	if r.root == nil {
		return nil
	}
	return r.root.Bucket(name)
}

func (r *records) get(bucket, key []byte) []byte {
	if b := r.bucket(bucket); b != nil {
		return b.Get(key)
	}
	return nil
}

// made returns a bucket for writing.
func (r *records) made(name []byte) *bbolt.Bucket {
	r.txn.dirty = true
	if r.root == nil {
		r.root = must(r.txn.tx.Bucket(bucketTenants).CreateBucketIfNotExists([]byte(r.name)))
	}
	b := r.root.Bucket(name)
	if b == nil {
		b = must(r.root.CreateBucket(name))
	}
	return b
}

func (r *records) put(bucket, key, value []byte) { check(r.made(bucket).Put(key, value)) }

func (r *records) delete(bucket, key []byte) { check(r.made(bucket).Delete(key)) }

// save has what the tenant knows of itself written. It ends every call that wrote.
func (r *records) save() {
	r.txn.dirty, r.unsaved = true, true
	if r.root == nil {
		r.root = must(r.txn.tx.Bucket(bucketTenants).CreateBucketIfNotExists([]byte(r.name)))
	}
}

// after walks the keys of a bucket that begin with prefix, after prefix+from, until f returns false. It reports whether it
// came to the end.
func (r *records) after(bucket, prefix, from []byte, f func(k, v []byte) bool) (ended bool) {
	b := r.bucket(bucket)
	if b == nil {
		return true
	}
	c := b.Cursor()
	start := append(bytes.Clone(prefix), from...)
	k, v := c.Seek(start)
	if len(from) > 0 && bytes.Equal(k, start) {
		k, v = c.Next()
	}
	for last := []byte(nil); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if last != nil && bytes.Compare(k, last) <= 0 { // a page is damaged, and might be walked for ever
			check(fmt.Errorf("%w: the keys of %s are out of order", ErrCorrupt, bucket))
		}
		if last = k; !f(k, v) {
			return false
		}
	}
	return true
}

// walk calls f with the tokens after an id, and how they are stored, until it returns false. It reports whether it came to the end.
func (r *records) walk(after ulid.ULID, f func(x *record, stored []byte) bool) (ended bool) {
	var from []byte
	if !after.IsZero() {
		from = bytes.Clone(after[:])
	}
	return r.after(bucketTokens, nil, from, func(k, v []byte) bool {
		stored := r.current(k, v)
		x := recordOf(idAtEnd(k), stored)
		return f(&x, stored)
	})
}

func (r *records) record(id ulid.ULID) (record, bool) {
	data := r.stored(id)
	if data == nil {
		return record{}, false
	}
	return recordOf(id, data), true
}

// recordOf reads a record that is stored under an id.
func recordOf(id ulid.ULID, data []byte) (x record) {
	x.read(id, data)
	return x
}

// read reads a record that is stored under an id into x, which must be zero.
func (x *record) read(id ulid.ULID, data []byte) {
	check(decodeInto(x, data, recordFields))
	if x.token.ID != id {
		check(fmt.Errorf("%w: a record is stored under another's id", ErrCorrupt))
	}
}

func (r *records) token(id ulid.ULID) (domain.RefreshToken, bool) {
	record, ok := r.record(id)
	return record.token, ok
}

func (r *records) putRecord(record *record) {
	r.putEncoded(record.token.ID, encode(record, recordFields))
}

// putEncoded is putRecord of one that has been encoded.
func (r *records) putEncoded(id ulid.ULID, record []byte) {
	b := r.made(bucketTokens)
	b.FillPercent = fillTokens
	check(b.Put(id[:], record))
}

// schedule notes when the token is to be looked at for expiry. The caller puts the record.
func (r *records) schedule(record *record) {
	if record.due != 0 {
		r.unindex(underSecond(record.due).entry(record.token.ID))
	}
	if record.due = uint64(record.token.DueSecond()); record.due != 0 {
		r.index(underSecond(record.due).entry(record.token.ID))
	}
}

// remove deletes tokens, none of them twice, and their index entries.
func (r *records) remove(gone []record) {
	var entries []entry
	for i := range gone {
		token := &gone[i].token
		r.delete(bucketTokens, token.ID[:])
		r.forgetRewrites(token.ID)
		entries = slices.AppendSeq(entries, gone[i].entries())
		if token.SessionID.IsNull() {
			r.meta.sessionless--
		}
		r.meta.tokens--
	}
	r.unindex(entries...)
	r.settle()
}

// fenced calls f with the pending tombstones that stand under the token's anchors, until it returns false.
func (r *records) fenced(token *domain.RefreshToken, f func(*revocation) bool) {
	if r.meta.pending == 0 {
		return
	}
	for _, anchor := range token.Anchors() {
		if !r.mayBePending(anchor) {
			continue
		}
		ended := r.after(bucketFence, anchorKey(anchor), nil, func(k, _ []byte) bool {
			p, ok := r.live(idAtEnd(k))
			return !ok || f(&p)
		})
		if !ended {
			return
		}
	}
}

// revokedBy is a pending tombstone that covers the token, or zero.
func (r *records) revokedBy(token *domain.RefreshToken) (by ulid.ULID) {
	r.fenced(token, func(p *revocation) bool {
		if !p.status.Tombstone.Covers(token) {
			return true
		}
		by = p.id()
		return false
	})
	return by
}

func (r *records) revocation(bucket []byte, id ulid.ULID) (revocation, bool) {
	data := r.get(bucket, id[:])
	if data == nil {
		return revocation{}, false
	}
	return must(decode(data, revocationFields)), true
}

// live returns a pending revocation.
func (r *records) live(id ulid.ULID) (revocation, bool) { return r.revocation(bucketLive, id) }

// status returns a revocation, pending or retired.
func (r *records) status(id ulid.ULID) (store.Status, bool) {
	p, ok := r.live(id)
	if !ok {
		p, ok = r.revocation(bucketRetired, id)
	}
	return p.status, ok
}
