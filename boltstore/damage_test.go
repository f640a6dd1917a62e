package boltstore

import (
	"bytes"
	"errors"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"go.etcd.io/bbolt"
)

// spoil has bbolt alone change a file, and returns its bytes then.
func spoil(t *testing.T, path string, change func(tx *bbolt.Tx, acme *bbolt.Bucket) error) []byte {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { return change(tx, tx.Bucket(bucketTenants).Bucket([]byte("acme"))) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return readFile(t, path)
}

type change = func(tx *bbolt.Tx, acme *bbolt.Bucket) error

func inBucket(name []byte, f func(b *bbolt.Bucket) error) change {
	return func(_ *bbolt.Tx, acme *bbolt.Bucket) error { return f(acme.Bucket(name)) }
}

// dropNth drops an entry of a bucket, the last for -1.
func dropNth(name []byte, n int) change {
	return inBucket(name, func(b *bbolt.Bucket) error {
		k := nth(b, n)
		if k == nil {
			return errors.New("there is no such entry")
		}
		return b.Delete(k)
	})
}

func nth(b *bbolt.Bucket, n int) []byte {
	c := b.Cursor()
	k, _ := c.Last()
	if n >= 0 {
		k, _ = c.First()
	}
	for ; n > 0 && k != nil; n-- {
		k, _ = c.Next()
	}
	return bytes.Clone(k)
}

func dropAll(name []byte) change {
	return func(_ *bbolt.Tx, acme *bbolt.Bucket) error { return acme.DeleteBucket(name) }
}

func stranger(name, key, value []byte) change {
	return inBucket(name, func(b *bbolt.Bucket) error { return b.Put(key, value) })
}

func ofMeta(f func(*meta)) change {
	return func(_ *bbolt.Tx, acme *bbolt.Bucket) error { return rewrite(acme, keyMeta, metaFields, f) }
}

func ofToken(n int, f func(*record)) change {
	return inBucket(bucketTokens, func(b *bbolt.Bucket) error {
		id := number(n)
		return rewrite(b, id[:], recordFields, f)
	})
}

func together(changes ...change) change {
	return func(tx *bbolt.Tx, acme *bbolt.Bucket) (err error) {
		for _, c := range changes {
			err = errors.Join(err, c(tx, acme))
		}
		return err
	}
}

// damages are of what can be made again, and what Check says of them.
func damages() map[string]struct {
	want   string
	damage change
} {
	type damaged = struct {
		want   string
		damage change
	}
	none := number(999)
	entries := underUser("nobody").entry(none)
	run := runOf(7, 0)
	block := codec.Sealed(entries[:])
	flipped := inBucket(bucketRuns, func(b *bbolt.Bucket) error {
		k := nth(b, 0)
		v := bytes.Clone(b.Get(k))
		v[3]++
		return b.Put(k, v)
	})
	return map[string]damaged{
		"a note is gone":                        {"entries of the index are fresh", dropNth(bucketFresh, 0)},
		"all notes are gone":                    {"entries of the index are fresh", dropAll(bucketFresh)},
		"a note too many":                       {"entries of the index are fresh", stranger(bucketFresh, numberKey(1_000_000), block)},
		"a note can't be read":                  {"a block of the index is damaged", stranger(bucketFresh, numberKey(1_000_000), []byte("damaged"))},
		"a block is gone":                       {"index", dropNth(bucketRuns, 0)},
		"all blocks are gone":                   {"index", dropAll(bucketRuns)},
		"a block too many":                      {"the index has", stranger(bucketRuns, append(run[:], entries[:]...), block)},
		"a block can't be read":                 {"a block of the index is damaged", flipped},
		"a run's key is no key":                 {"a run of the index is damaged", stranger(bucketRuns, []byte{1}, block)},
		"a walker is gone":                      {"is not among the walkers", dropNth(bucketWalkers, 0)},
		"all walkers are gone":                  {"there are 0 walkers for 2", dropAll(bucketWalkers)},
		"a walker too many":                     {"there are 3 walkers for 2", stranger(bucketWalkers, none[:], nil)},
		"one is not in the fence":               {"is not in the fence", dropNth(bucketFence, 1)},
		"the fence is gone":                     {"is not in the fence", dropAll(bucketFence)},
		"a stranger in the fence":               {"the fence has", stranger(bucketFence, append(anchorKey(domain.Anchor{}), none[:]...), nil)},
		"a guard's age is gone":                 {"is not in the order of age", dropNth(bucketAges, 0)},
		"all guards' ages are gone":             {"is not in the order of age", dropAll(bucketAges)},
		"an age of no guard":                    {"ages has", stranger(bucketAges, ageKey(instant, []byte("none")), nil)},
		"a history's age is gone":               {"is wrong in the order of age", dropNth(bucketHistory, -1)},
		"all ages of it are gone":               {"is wrong in the order of age", dropAll(bucketHistory)},
		"an age of no history":                  {"history has", stranger(bucketHistory, ageKey(instant, none[:]), nil)},
		"too many tokens":                       {"it counts 31 tokens, and has 30", ofMeta(func(m *meta) { m.tokens++ })},
		"too few sessionless":                   {"tokens without a session", ofMeta(func(m *meta) { m.sessionless-- })},
		"too few pending":                       {"pending revocations, and has 4", ofMeta(func(m *meta) { m.pending-- })},
		"none pending":                          {"it counts 0 pending revocations, and has 4", ofMeta(func(m *meta) { m.pending = 0 })},
		"too many open":                         {"without anchor", ofMeta(func(m *meta) { m.open++ })},
		"too few guards":                        {"it counts 0 guards", ofMeta(func(m *meta) { m.guards = 0 })},
		"too few pending, and a short stranger": {"pending revocations", together(ofMeta(func(m *meta) { m.pending-- }), stranger(bucketFence, []byte("short"), nil))},
		"too few guards, and an age of nothing": {"guards", together(ofMeta(func(m *meta) { m.guards-- }), stranger(bucketAges, ageKey(instant, nil), nil))},
		"too short a history":                   {"retired revocations", ofMeta(func(m *meta) { m.history-- })},
		"too many events":                       {"events, and has", ofMeta(func(m *meta) { m.events++ })},
		"an event to come":                      {"the latest event is", ofMeta(func(m *meta) { m.lastEvent-- })},
		"too many are fresh":                    {"entries of the index are fresh", ofMeta(func(m *meta) { m.fresh++ })},
		"its sequence is behind":                {"sequence out of range", ofMeta(func(m *meta) { m.sequence = 3 })},
		"its latest is behind":                  {"created after the latest", ofMeta(func(m *meta) { m.latest = instant })},
		"a token is never due":                  {"not looked at when it is due", ofToken(6, func(r *record) { r.due = 0 })},
		"a token is due too late":               {"not looked at when it is due", ofToken(12, func(r *record) { r.due += 3600 })},
		"it is not named pending": {"it is listed as pending: false", func(tx *bbolt.Tx, _ *bbolt.Bucket) error {
			return tx.Bucket(bucketPending).Delete([]byte("acme"))
		}},
		"nobody is named pending": {"tenant \"nobody\" is listed as pending", func(tx *bbolt.Tx, _ *bbolt.Bucket) error {
			return tx.Bucket(bucketPending).Put([]byte("nobody"), nil)
		}},
		"much at once": {"is not in the fence", func(tx *bbolt.Tx, acme *bbolt.Bucket) error {
			var err error
			for _, name := range derived() {
				err = errors.Join(err, acme.DeleteBucket(name))
			}
			return errors.Join(err, tx.Bucket(bucketPending).Delete([]byte("acme")), ofMeta(func(m *meta) { m.tokens, m.pending, m.settled = 0, 0, 0 })(tx, acme))
		}},
	}
}
