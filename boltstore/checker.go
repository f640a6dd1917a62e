package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"math"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"github.com/oklog/ulid/v2"
)

// findings are what there is to be said of all tenants. They end once ctx has, and none is due to that.
func (t *txn) findings(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !t.strays(yield) {
			return
		}
		tenants := t.tx.Bucket(bucketTenants).Cursor()
		for name, _ := tenants.First(); name != nil; name, _ = tenants.Next() {
			marked := t.tx.Bucket(bucketPending).Get(name) != nil
			c := checker{ctx: ctx, records: t.unread(string(name)), seed: maphash.MakeSeed()}
			c.yield = func(what string) bool { return ctx.Err() == nil && yield(fmt.Sprintf("tenant %q: %s", name, what)) }
			if !c.tenant(marked) {
				return
			}
		}
		pending := t.tx.Bucket(bucketPending).Cursor()
		for name, _ := pending.First(); name != nil; name, _ = pending.Next() {
			if t.tx.Bucket(bucketTenants).Bucket(name) == nil && !yield(fmt.Sprintf("tenant %q is listed as pending, and is not there", name)) {
				return
			}
		}
	}
}

// strays finds rewritten records of tokens that are not there. It returns false where no other record can be told from what is out
// of date, too.
func (t *txn) strays(yield func(string) bool) bool {
	// What is in the file counts, whatever is known in memory.
	if err := protect(func() error { t.lookItself(); return nil }); err != nil {
		if !isDamage(err) {
			check(err)
		}
		yield(err.Error())
		return false
	}
	for _, g := range t.generations {
		for key := range g.notes {
			if t.unread(key.tenant).get(bucketTokens, key.id[:]) == nil && !yield(fmt.Sprintf("tenant %q: token %s was rewritten, and is not there", key.tenant, key.id)) {
				return false
			}
		}
	}
	return true
}

// checker checks one tenant. Its methods return false when nobody wants to hear more.
type checker struct {
	ctx     context.Context
	records *records
	yield   func(string) bool
	found   meta   // what was counted
	old     uint64 // retired tombstones in the order of age

	seed       maphash.Seed
	want, have tallies // the entries of the index that the records have, and those that it has
}

// tally counts entries of the index, in any order.
type tally struct{ count, sum uint64 }

// tallies has a tally for each part of the entries, by their hash, so that what is wrong of few is looked for in few parts. Two that are
// equal are of the same entries, but for one chance in 2^52.
type tallies [tallied]tally

const tallied = 4096

func (t *tallies) add(seed maphash.Seed, e *entry) {
	hash := maphash.Bytes(seed, e[:])
	part := &t[hash%tallied]
	part.count++
	part.sum += hash
}

func (t *tallies) count() (n uint64) {
	for _, part := range t {
		n += part.count
	}
	return n
}

func (c *checker) say(ok bool, format string, args ...any) bool {
	return ok || c.yield(fmt.Sprintf(format, args...))
}

func (c *checker) tenant(marked bool) bool {
	var err error
	if c.records.meta, err = decode(c.records.root.Get(keyMeta), metaFields); err != nil {
		return c.say(false, "what it knows of itself: %v", err)
	}
	return c.part("restorations", func() bool { c.records.restorations(); return true }) && c.part("tokens", c.tokens) && c.part("index", c.index) && c.part("revocations", c.revocations) && c.part("events", c.events) &&
		c.counts(marked)
}

// part runs a part of the check. What ends it early is a finding too.
func (c *checker) part(what string, f func() bool) (more bool) {
	if c.ctx.Err() != nil {
		return false
	}
	switch err := protect(func() error { more = f(); return nil }); {
	case isDamage(err), errors.Is(err, ErrFormat):
		return c.say(false, "%s: %v", what, err)
	case err != nil:
		check(err)
	}
	return more
}

// each walks a bucket to its end, or until f returns false or ctx has ended, which it reports.
func (c *checker) each(bucket []byte, f func(k, v []byte) bool) bool {
	return c.records.after(bucket, nil, nil, func(k, v []byte) bool { return c.ctx.Err() == nil && f(k, v) })
}

func (c *checker) tokens() bool {
	return c.each(bucketTokens, func(k, v []byte) bool {
		c.found.tokens++
		record, err := decode(c.records.current(k, v), recordFields)
		if err != nil {
			return c.say(false, "token %s: %v", keyText(k), err)
		}
		token := &record.token
		if token.SessionID.IsNull() {
			c.found.sessionless++
		}
		for e := range record.entries() {
			c.want.add(c.seed, &e)
		}
		invalid := token.Validate()
		return (bytes.Equal(k, token.ID[:]) || c.say(false, "token %s is stored as %s", token.ID, keyText(k))) &&
			c.say(invalid == nil, "token %s: %v", token.ID, invalid) &&
			c.say(record.scheduled(), "token %s: not looked at when it is due", token.ID) &&
			c.say(token.Sequence > 0 && token.Sequence <= c.records.meta.sequence, "token %s: sequence out of range", token.ID) &&
			c.say(!token.CreatedAt.After(c.records.meta.latest), "token %s: created after the latest", token.ID)
	})
}

// scheduled reports whether the token is looked at for expiry by its deadline.
func (x *record) scheduled() bool {
	deadline := uint64(x.token.DueSecond())
	return deadline == 0 || x.due != 0 && x.due <= deadline
}

// index checks that the index has the entries of the records, and no others; that each is there once, and in its order, is checked
// by whoever reads it.
func (c *checker) index() bool {
	more := true
	var same []entry // with the prefix of one foreign secret
	ended := c.records.between(entry{}, prefix{math.MaxUint8}.last(), func(e *entry) bool {
		if more = c.ctx.Err() == nil; !more {
			return false
		}
		c.have.add(c.seed, e)
		if e[0] != byForeign {
			return true
		}
		if len(same) > 0 && !bytes.Equal(same[0][:prefixSize], e[:prefixSize]) {
			same = same[:0]
		}
		for _, other := range same {
			if more = more && c.sayShared(other.id(), e.id()); !more {
				return false
			}
		}
		same = append(same, *e)
		return true
	})
	if !ended {
		return more
	}
	var fresh uint64
	c.records.notes(func(_, note []byte) { fresh += uint64(len(note) / entrySize) })
	return c.say(fresh == c.records.meta.fresh, "%d entries of the index are fresh, and should be %d", fresh, c.records.meta.fresh) &&
		(c.have == c.want || c.missing()) &&
		c.say(c.have.count() == c.want.count(), "the index has %d entries for %d of the records", c.have.count(), c.want.count())
}

// sayShared finds two tokens that are found by the same foreign secret. A token that is not there has none.
func (c *checker) sayShared(a, b ulid.ULID) bool {
	x, _ := c.records.token(a)
	y, _ := c.records.token(b)
	return c.say(x.ForeignDigest == (domain.Digest{}) || x.ForeignDigest != y.ForeignDigest, "tokens %s and %s have the same foreign secret", a, b)
}

// amiss reports whether an entry is of a part in which the index and the records differ.
func (c *checker) amiss(e *entry) bool {
	part := maphash.Bytes(c.seed, e[:]) % tallied
	return c.have[part] != c.want[part]
}

// missing names the entries that are not in the index, which takes a look-up for each that may be. Where there are none, the index has
// others too, and so another count.
func (c *checker) missing() bool {
	return c.each(bucketTokens, func(k, v []byte) bool {
		record, err := decode(c.records.current(k, v), recordFields)
		if err != nil {
			return true // has been told
		}
		for e := range record.entries() {
			if !c.amiss(&e) {
				continue
			}
			there := false
			c.records.between(e, e, func(*entry) bool { there = true; return false })
			if !c.say(there, "token %s is not in the index, as %x", record.token.ID, e[:prefixSize]) {
				return false
			}
		}
		return true
	})
}

// count checks how many keys there are.
func (c *checker) count(bucket []byte, want uint64) bool {
	var entries uint64
	c.each(bucket, func(_, _ []byte) bool { entries++; return true })
	return c.say(entries == want, "%s has %d entries, and should have %d", bucket, entries, want)
}

func (c *checker) revocations() bool {
	var anchors, fence, walkers, walks uint64
	ok := c.each(bucketLive, func(k, v []byte) bool {
		p, err := decode(v, revocationFields)
		if err != nil {
			return c.say(false, "revocation %s: %v", keyText(k), err)
		}
		c.found.pending++
		id := p.id()
		if !p.status.Tombstone.Anchored() {
			c.found.open++
		}
		fine := c.say(bytes.Equal(k, id[:]), "revocation %s is stored as %s", id, keyText(k))
		if p.walks {
			walks++
			fine = fine && c.say(c.records.get(bucketWalkers, id[:]) != nil, "revocation %s is not among the walkers", id)
		}
		for _, anchor := range p.status.Tombstone.Anchors() {
			anchors++
			fine = fine && c.say(c.records.get(bucketFence, append(anchorKey(anchor), id[:]...)) != nil, "revocation %s is not in the fence", id)
		}
		return fine
	})
	c.each(bucketFence, func(_, _ []byte) bool { fence++; return true })
	c.each(bucketWalkers, func(_, _ []byte) bool { walkers++; return true })
	return ok && c.say(fence == anchors, "the fence has %d entries for %d anchors", fence, anchors) &&
		c.say(walkers == walks, "there are %d walkers for %d revocations without an index", walkers, walks) &&
		c.each(bucketRetired, func(k, v []byte) bool {
			c.found.history++
			p, err := decode(v, revocationFields)
			id := p.id()
			return c.say(err == nil, "retired revocation %s: %v", keyText(k), err) &&
				c.say(err != nil || bytes.Equal(k, id[:]), "retired revocation %s is another's record", keyText(k)) &&
				c.say(err != nil || p.status.Retired, "retired revocation %s is not retired", keyText(k)) &&
				c.say(c.aged(&p), "retired revocation %s is wrong in the order of age", keyText(k))
		}) &&
		c.each(bucketGuards, func(k, v []byte) bool {
			c.found.guards++
			g, err := decode(v, codec.Guard)
			return c.say(err == nil, "guard %x: %v", k, err) &&
				c.say(err != nil || bytes.Equal(k, guardKey(&g)), "guard %x is another's record", k) &&
				c.say(c.records.get(bucketAges, guardAgeKey(&g)) != nil, "guard %x is not in the order of age", k)
		}) &&
		c.count(bucketHistory, c.old) && c.count(bucketAges, c.found.guards)
}

// aged checks that a retired tombstone is in the order of age if and only if nothing is there that superseded it.
func (c *checker) aged(p *revocation) bool {
	id := p.id()
	there := c.records.get(bucketHistory, ageKey(p.status.RetiredAt, id[:])) != nil
	if there {
		c.old++
	}
	return there != c.records.superseded(p)
}

// superseded reports whether what superseded a retired tombstone is there still.
func (r *records) superseded(p *revocation) bool {
	by := p.status.SupersededBy
	return r.get(bucketLive, by[:]) != nil || r.get(bucketRetired, by[:]) != nil
}

func (c *checker) counts(marked bool) bool {
	m := c.records.meta
	return c.say(m.tokens == c.found.tokens, "it counts %d tokens, and has %d", m.tokens, c.found.tokens) &&
		c.say(m.sessionless == c.found.sessionless, "it counts %d tokens without a session, and has %d", m.sessionless, c.found.sessionless) &&
		c.say(m.pending == c.found.pending, "it counts %d pending revocations, and has %d", m.pending, c.found.pending) &&
		c.say(m.open == c.found.open, "it counts %d pending revocations without anchor, and has %d", m.open, c.found.open) &&
		c.say(m.guards == c.found.guards, "it counts %d guards, and has %d", m.guards, c.found.guards) &&
		c.say(m.history == c.found.history, "it counts %d retired revocations, and has %d", m.history, c.found.history) &&
		c.say(marked == (m.pending > 0), "it is listed as pending: %v, with %d pending", marked, m.pending)
}
