package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"example.com/tokenstore/internal/codec"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
)

// derived are the buckets of a tenant that say nothing which its tokens, tombstones, guards and events don't.
func derived() [][]byte {
	return [][]byte{bucketFresh, bucketRuns, bucketWalkers, bucketFence, bucketAges, bucketHistory}
}

// primaries are what a repair copies as it is: all that is not derived. Of a token the instant that it is to be looked at may change, and of
// what a tenant knows of itself the counts.
func primaries() selection {
	return selection{
		leaves: func(path [][]byte) bool {
			switch len(path) {
			case 1:
				return bytes.Equal(path[0], bucketPending)
			case 3:
				return bytes.Equal(path[0], bucketTenants) && slices.ContainsFunc(derived(), func(d []byte) bool { return bytes.Equal(d, path[2]) })
			}
			return false
		},
		alike: func(path [][]byte, key, a, b []byte) bool {
			switch {
			case len(path) == 2 && bytes.Equal(path[0], bucketTenants):
				return bytes.Equal(key, keyMeta)
			case len(path) == 2: // a generation of rewritten records
			case len(path) != 3 || !bytes.Equal(path[2], bucketTokens):
				return false
			}
			x, err := decode(a, recordFields)
			y, other := decode(b, recordFields)
			x.due = y.due
			return err == nil && other == nil && bytes.Equal(encode(&x, recordFields), b)
		},
	}
}

// Repaired says what a repair has found and done.
type Repaired struct {
	Remade
	Findings []string // Findings are what was wrong, as of [CheckFile]. If there are none, nothing was done.
}

// Repair mends a file in which something is wrong that can be made again from the records themselves: indexes, fence, orders
// of age, counts, free pages. Tokens, tombstones, guards and events are taken over as they are, none is left out, and none is
// changed, but for when a token is to be looked at for expiry. Where one of them can't be read, or is known to be missing, the file stays as
// it was, and the error is [ErrBeyondRepair]. A tombstone or a guard is known to be missing where more are counted than are there, or
// where the count is wrong and fence, walkers or orders of age name one that is not there; an event is by its number. A token is not.
//
// No process may have the file open, or opens it meanwhile. The mended one is made beside it, where it needs as much room again, is checked,
// compared with it, and on the disk before it takes its name, in one step; the damaged one is kept under the name that is returned. So
// a crash at any instant leaves the damaged file in its place, or all of the mended one. Other errors are as of [Compact].
func Repair(ctx context.Context, path string, opts *Options) (done Repaired, err error) {
	return repair(ctx, path, opts, sortedAtOnce)
}

func repair(ctx context.Context, path string, opts *Options, sorted int) (done Repaired, err error) {
	f, err := lookAlone(ctx, path, opts)
	if err != nil {
		return Repaired{}, beyondRepair(err)
	}
	defer f.close()
	if done.Findings, err = f.examine(ctx); err != nil || len(done.Findings) == 0 {
		return done, err
	}
	if err := f.inspect(ctx, scope{without: derived()}); err != nil {
		return done, beyondRepair(err)
	}
	done.Remade, err = f.remake(ctx, "repair", keptDamaged, func(from *bbolt.Tx, to *copier) error {
		if err := to.copy(nil, root(from), primaries()); err != nil {
			return err
		}
		return derive(from, to, sorted, f.readable(ctx))
	}, primaries())
	return done, beyondRepair(err)
}

// readable returns what reports whether the pages of something derived can be read, in all tenants. It looks once.
func (f *offline) readable(ctx context.Context) func(bucket []byte) bool {
	known := map[string]bool{}
	return func(bucket []byte) bool {
		can, looked := known[string(bucket)]
		if !looked {
			others := slices.DeleteFunc(derived(), func(d []byte) bool { return bytes.Equal(d, bucket) })
			can = f.inspect(ctx, scope{without: others}) == nil
			check(ctx.Err()) // which tells nothing of the pages
			known[string(bucket)] = can
		}
		return can
	}
}

func beyondRepair(err error) error {
	if err == nil || !isDamage(err) {
		return err
	}
	if _, ok := errors.AsType[*DamageError](err); !ok {
		err = &DamageError{Findings: []string{err.Error()}}
	}
	return fmt.Errorf("%w: %w", ErrBeyondRepair, err)
}

// derive makes all that is derived, in a draft that has everything else.
func derive(from *bbolt.Tx, to *copier, sorted int, readable func(bucket []byte) bool) error {
	if _, err := to.tx.CreateBucket(bucketPending); err != nil {
		return err
	}
	var lost []string
	t := &txn{tx: from}
	tenants := from.Bucket(bucketTenants).Cursor()
	for name, _ := tenants.First(); name != nil; name, _ = tenants.Next() {
		d := deriver{
			copier: to, name: string(name), sorted: sorted, readable: readable,
			from: t.unread(string(name)),
		}
		if err := protect(func() error { d.tenant(); return nil }); err != nil {
			return err
		}
		lost = append(lost, d.lost...)
	}
	if len(lost) > 0 {
		return &DamageError{Findings: lost}
	}
	return nil
}

// deriver makes what is derived of one tenant. Its methods end with a fault where the draft can't be written.
type deriver struct {
	*copier
	name string
	from *records // in the file
	to   *records // in the draft, in the transaction under way
	meta meta
	lost []string

	readable func(bucket []byte) bool // whether the file's can be walked

	sorted  int     // how many entries of the index are sorted at once
	entries []entry // those that have not been written
	indexed uint64  // how many there have been
	runs    uint64  // in which they have been written
}

func (d *deriver) lose(format string, args ...any) {
	if len(d.lost) < maxFindings {
		d.lost = append(d.lost, fmt.Sprintf("tenant %q: %s", d.name, fmt.Sprintf(format, args...)))
	}
}

// begin is for a new transaction.
func (d *deriver) begin() {
	t := &txn{tx: d.tx, fence: &fence{anchors: map[fenceKey]int{}}}
	d.to = t.unread(d.name)
}

// put notes that something was written.
func (d *deriver) put(bytes int) {
	if must(d.wrote(bytes)) {
		d.begin()
	}
}

func (d *deriver) tenant() {
	var err error
	if d.meta, err = decode(d.from.root.Get(keyMeta), metaFields); err != nil {
		d.lose("what it knows of itself can't be read: %v", err)
		return
	}
	if err := protect(func() error { d.from.restorations(); return nil }); err != nil {
		d.lose("the records of its restorations can't be read: %v", err)
	}
	d.begin()
	m, was := &d.meta, d.meta
	m.tokens, m.sessionless, m.pending, m.open, m.guards, m.history, m.events, m.fresh = 0, 0, 0, 0, 0, 0, 0, 0
	d.tokens()
	pending, retired, guards := d.pending(), d.retired(), d.guards()
	d.events()
	d.missing("pending revocation", was.pending, pending, bucketFence, bucketWalkers)
	d.missing("retired revocation", was.history, retired, bucketHistory)
	d.missing("guard", was.guards, guards, bucketAges)
	m.settled = d.settle()
	check(d.to.root.Put(keyMeta, encode(m, metaFields)))
	if m.pending > 0 {
		check(d.tx.Bucket(bucketPending).Put([]byte(d.name), nil))
	}
}

// missing looks for records that are not there. If there are as many as were counted, none is: an entry that leads to no record
// is a stray one. If not, the count or the records are wrong, and no entry that can be read may name one that is gone.
func (d *deriver) missing(what string, counted, found uint64, namedIn ...[]byte) {
	if counted == found {
		return
	}
	if counted > found {
		d.lose("it counts %d of what is a %s, and has %d", counted, what, found)
	}
	for _, bucket := range namedIn {
		if !d.readable(bucket) {
			continue
		}
		d.from.after(bucket, nil, nil, func(k, _ []byte) bool {
			if key := namedBy(bucket, k); key != nil && !d.there(key) {
				d.lose("%s %s is gone, and named in %s", what, keyText(key), bucket)
			}
			return true
		})
	}
}

// namedBy is the key of the record that an entry leads to, or nil for one that is none.
func namedBy(bucket, entry []byte) []byte {
	at := len(entry) - len(ulid.ULID{})
	if bytes.Equal(bucket, bucketAges) {
		at = ageSize
	}
	if at < 0 || at >= len(entry) {
		return nil
	}
	return entry[at:]
}

// there reports whether there is a tombstone or a guard, pending or retired: what is left of the one state leads to the other.
func (d *deriver) there(key []byte) bool {
	return slices.ContainsFunc([][]byte{bucketLive, bucketRetired, bucketGuards}, func(b []byte) bool { return d.from.get(b, key) != nil })
}

// each walks the records of a bucket, and counts them. read returns false for one that is not what its key says, or the error of reading it.
func (d *deriver) each(bucket []byte, what string, read func(k, v []byte) (bool, error)) (found uint64) {
	d.from.after(bucket, nil, nil, func(k, v []byte) bool {
		found++
		switch is, err := read(k, v); {
		case err != nil:
			d.lose("%s %s can't be read: %v", what, keyText(k), err)
		case !is:
			d.lose("%s %s is another's record", what, keyText(k))
		}
		return true
	})
	return found
}

// keyText is a key as people know it.
func keyText(k []byte) string {
	if len(k) == len(ulid.ULID{}) {
		return ulid.ULID(k).String()
	}
	return fmt.Sprintf("%x", k)
}

// reaches has the sequence be no less than what has been numbered.
func (d *deriver) reaches(sequence uint64) { d.meta.sequence = max(d.meta.sequence, sequence) }

func (d *deriver) tokens() {
	d.each(bucketTokens, "token", func(k, v []byte) (bool, error) {
		x, err := decode(d.from.current(k, v), recordFields)
		if err != nil || !bytes.Equal(k, x.token.ID[:]) {
			return false, err
		}
		token := &x.token
		d.meta.tokens++
		if token.SessionID.IsNull() {
			d.meta.sessionless++
		}
		if token.CreatedAt.After(d.meta.latest) {
			d.meta.latest = token.CreatedAt
		}
		d.reaches(token.Sequence)
		if !x.scheduled() {
			x.due = uint64(token.DueSecond())
			d.to.replace(token.ID, encode(&x, recordFields))
			d.put(len(v))
		}
		d.add(slices.Collect(x.entries()))
		return true, nil
	})
}

func (d *deriver) pending() uint64 {
	return d.each(bucketLive, "pending revocation", func(k, v []byte) (bool, error) {
		p, err := decode(v, revocationFields)
		id := p.id()
		if err != nil || !bytes.Equal(k, id[:]) {
			return false, err
		}
		tombstone := &p.status.Tombstone
		d.meta.pending++
		if !tombstone.Anchored() {
			d.meta.open++
		}
		d.reaches(tombstone.Watermark)
		d.to.putUp(&p)
		if p.walks {
			d.to.put(bucketWalkers, id[:], nil)
		}
		d.put(len(v))
		return true, nil
	})
}

func (d *deriver) retired() uint64 {
	return d.each(bucketRetired, "retired revocation", func(k, v []byte) (bool, error) {
		p, err := decode(v, revocationFields)
		id := p.id()
		if err != nil || !bytes.Equal(k, id[:]) || !p.status.Retired {
			return false, err
		}
		d.meta.history++
		d.reaches(p.status.Tombstone.Watermark)
		if !d.from.superseded(&p) {
			d.to.age(&p)
			d.put(ageSize + len(k))
		}
		return true, nil
	})
}

func (d *deriver) guards() uint64 {
	return d.each(bucketGuards, "guard", func(k, v []byte) (bool, error) {
		g, err := decode(v, codec.Guard)
		if err != nil || !bytes.Equal(k, guardKey(&g)) {
			return false, err
		}
		d.meta.guards++
		d.reaches(g.Watermark)
		d.to.put(bucketAges, guardAgeKey(&g), nil)
		d.put(ageSize + len(k))
		return true, nil
	})
}

// events counts the events. Their numbers have no gap, so one that is missing is known to be.
func (d *deriver) events() {
	m := &d.meta
	next := m.floor
	d.each(bucketOutbox, "event", func(k, v []byte) (bool, error) {
		next++
		e, err := decode(v, codec.Event)
		if err != nil || !bytes.Equal(k, numberKey(e.Number)) {
			return false, err
		}
		if e.Number != next {
			d.lose("event %d comes where %d should", e.Number, next)
			next = e.Number
		}
		m.events++
		d.reaches(e.Sequence)
		return true, nil
	})
	if next < m.lastEvent {
		d.lose("the latest event is %d, and should be %d", next, m.lastEvent)
	}
	m.lastEvent = max(next, m.lastEvent)
}
