package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"sync"

	"example.com/tokenstore/internal/codec"
	"github.com/oklog/ulid/v2"
)

// maxFindings is how many findings a [Backend.Check] reports before it gives up.
const maxFindings = 100

// Check looks at the whole file, as of one commit: bbolt's own structure, and then, tenant by tenant, whether every record
// can be read and indexes, fence and counts agree with the records. It returns what it found, at most 100 findings, and
// none if all is well. Writers wait while it looks at bbolt's structure. It holds a transaction open for as long as it
// takes, so the file grows by what is written meanwhile. After a write that was [ErrCorrupt], it may find pages that are neither in
// use nor free; where nothing else is damaged they are free again when the file has been closed and opened.
func (b *Backend) Check(ctx context.Context) (findings []string, err error) {
	// bbolt's check compares the pages in use with the list of free ones, which belongs to the writer.
	writer, err := b.beginWriting()
	if err != nil {
		return nil, err
	}
	release := sync.OnceFunc(func() { b.endWriting(writer) })
	defer release()
	// It trusts the lengths that pages claim, so they are looked at before.
	switch damage := b.inspectWhole(); {
	case errors.Is(damage, ErrCorrupt), errors.Is(damage, ErrTruncated):
		return []string{damage.Error()}, nil
	case damage != nil:
		return nil, damage
	}
	_, err = b.peek(ctx, func(t *txn) error {
		for err := range t.tx.Check() {
			if len(findings) < maxFindings {
				findings = append(findings, err.Error())
			}
		}
		release()
		if len(findings) > 0 {
			return nil
		}
		for finding := range t.findings() {
			findings = append(findings, finding)
			if len(findings) == maxFindings || ctx.Err() != nil {
				break
			}
		}
		return ctx.Err()
	})
	return findings, err
}

// inspectWhole inspects the file as it is, while nobody writes.
func (b *Backend) inspectWhole() error {
	file, err := os.Open(b.db.Path())
	if err != nil {
		return unusable(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return unusable(err)
	}
	return inspect(file, info.Size(), true)
}

func (t *txn) findings() iter.Seq[string] {
	return func(yield func(string) bool) {
		tenants := t.tx.Bucket(bucketTenants).Cursor()
		for name, _ := tenants.First(); name != nil; name, _ = tenants.Next() {
			r := t.records(string(name))
			marked := t.tx.Bucket(bucketPending).Get(name) != nil
			c := checker{records: r, yield: func(what string) bool { return yield(fmt.Sprintf("tenant %q: %s", name, what)) }}
			if !c.tokens() || !c.index() || !c.revocations() || !c.events() || !c.counts(marked) {
				return
			}
		}
	}
}

// checker checks one tenant. Its methods return false when nobody wants to hear more.
type checker struct {
	records *records
	yield   func(string) bool
	found   meta   // what was counted
	entries uint64 // that the index should have
	old     uint64 // retired tombstones in the order of age
}

func (c *checker) say(ok bool, format string, args ...any) bool {
	return ok || c.yield(fmt.Sprintf(format, args...))
}

// each walks a bucket to its end, or until f returns false, which it reports.
func (c *checker) each(bucket []byte, f func(k, v []byte) bool) bool {
	return c.records.after(bucket, nil, nil, f)
}

func (c *checker) tokens() bool {
	return c.each(bucketTokens, func(k, v []byte) bool {
		c.found.tokens++
		record, err := decode(v, recordFields)
		if err != nil {
			return c.say(false, "token %x: %v", k, err)
		}
		token := record.token
		if token.SessionID.IsNull() {
			c.found.sessionless++
		}
		for e := range record.entries() {
			c.entries++
			there := false
			c.records.between(e, e, func(*entry) bool { there = true; return false })
			if !c.say(there, "token %s is not in the index, as %x", token.ID, e[:prefixSize]) {
				return false
			}
		}
		return c.say(bytes.Equal(k, token.ID[:]), "token %s is stored as %x", token.ID, k) &&
			c.say(token.Sequence > 0 && token.Sequence <= c.records.meta.sequence, "token %s: sequence out of range", token.ID) &&
			c.say(!token.CreatedAt.After(c.records.meta.latest), "token %s: created after the latest", token.ID)
	})
}

// index checks that the index has no other entries than those of the records; that each record has its own is checked with the records,
// and that each is there once, and in its order, by whoever reads it.
func (c *checker) index() bool {
	var entries uint64
	c.records.between(entry{}, prefix{math.MaxUint8}.last(), func(*entry) bool { entries++; return true })
	var fresh uint64
	c.records.notes(func(_, note []byte) { fresh += uint64(len(note) / entrySize) })
	return c.say(fresh == c.records.meta.fresh, "%d entries of the index are fresh, and should be %d", fresh, c.records.meta.fresh) &&
		c.say(entries == c.entries, "the index has %d entries for %d of the records", entries, c.entries)
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
			return c.say(false, "revocation %x: %v", k, err)
		}
		c.found.pending++
		id := p.id()
		if p.walks {
			walks++
		}
		if !p.status.Tombstone.Anchored() {
			c.found.open++
		}
		fine := c.say(bytes.Equal(k, id[:]), "revocation %s is stored as %x", id, k)
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
			return c.say(err == nil && p.status.Retired && p.id() == ulid.ULID(k), "retired revocation %x: %v", k, err) &&
				c.say(c.aged(&p), "retired revocation %x is wrong in the order of age", k)
		}) &&
		c.each(bucketGuards, func(k, v []byte) bool {
			c.found.guards++
			g, err := decode(v, codec.Guard)
			return c.say(err == nil && bytes.Equal(k, guardKey(&g)), "guard %x: %v", k, err) &&
				c.say(c.records.get(bucketAges, guardAgeKey(&g)) != nil, "guard %x is not in the order of age", k)
		}) &&
		c.count(bucketHistory, c.old) && c.count(bucketAges, c.found.guards)
}

// aged checks that a retired tombstone is in the order of age if and only if nothing is there that superseded it.
func (c *checker) aged(p *revocation) bool {
	id, by := p.id(), p.status.SupersededBy
	led := c.records.get(bucketLive, by[:]) != nil || c.records.get(bucketRetired, by[:]) != nil
	there := c.records.get(bucketHistory, ageKey(p.status.RetiredAt, id[:])) != nil
	if there {
		c.old++
	}
	return there != led
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
