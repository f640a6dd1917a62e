package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"go.etcd.io/bbolt"
)

// Each thing that is derived is damaged in turn, in a real file: it is found, and mended; afterwards the file holds and answers what it did,
// and the damaged one is kept.
func TestRepair(t *testing.T) {
	sound := wealthy(t)
	before := contents(t, sound)
	data := readFile(t, sound)
	cases := 0
	for what, c := range damages() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			path := writeFile(t, data)
			damaged := spoil(t, path, c.damage)
			findings, err := CheckFile(t.Context(), path, nil)
			if err != nil || !strings.Contains(strings.Join(findings, "\n"), c.want) {
				t.Fatalf("found %q, error %v, want %q", findings, err, c.want)
			}
			if !bytes.Equal(readFile(t, path), damaged) {
				t.Fatal("CheckFile must change nothing")
			}
			done, err := repair(t.Context(), path, nil, 20)
			if err != nil || strings.Join(done.Findings, "\n") != strings.Join(findings, "\n") {
				t.Fatalf("repaired %q, error %v, want %q", done.Findings, err, findings)
			}
			if done.Kept != path+".damaged" || !bytes.Equal(readFile(t, done.Kept), damaged) {
				t.Errorf("the damaged file must be kept: told %q", done.Kept)
			}
			if names := beside(t, path); len(names) != 1 {
				t.Errorf("beside it lie %q", names)
			}
			if info, err := os.Stat(path); err != nil || info.Size() != done.After || done.Before != int64(len(damaged)) {
				t.Errorf("told %d and %d bytes", done.Before, done.After)
			}
			if findings, err := CheckFile(t.Context(), path, nil); err != nil || len(findings) > 0 {
				t.Fatalf("after the repair: found %q, error %v", findings, err)
			}
			if after := contents(t, path); after != before {
				t.Errorf("it holds, or answers, something else:\n%s\nand before:\n%s", after, before)
			}
			mended := readFile(t, path)
			if again, err := Repair(t.Context(), path, nil); err != nil || len(again.Findings) > 0 || again.Kept != "" || !bytes.Equal(readFile(t, path), mended) {
				t.Errorf("there was nothing to be mended any more: %+v, %v", again, err)
			}
			goOn(t, path)
		})
		cases++
	}
	t.Attr("cases", strconv.Itoa(cases))
}

// goOn uses a file: what is pending is swept, more comes in and settles, and all is in order in the end.
func goOn(t *testing.T, path string) {
	t.Helper()
	b, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.SettleEarly(16)
	s, err := b.Tenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	for n := 200; n < 300; n += 5 {
		var rows []store.Insertion
		for i := range 5 {
			rows = append(rows, store.Insertion{Token: domain.RefreshToken{
				ID: number(n + i), UserID: fmt.Sprint("user-", n%7), ClientID: "client-1", CreatedAt: instant.Add(1000 * time.Hour), SessionID: domain.MustSessionID(fmt.Sprint("session-", n)),
			}})
		}
		if _, err := s.Insert(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
	retireAll(t, s, number(105), number(106), number(107), number(108))
	findings, err := b.Check(t.Context())
	if err != nil || len(findings) > 0 {
		t.Errorf("after it was used: found %q, error %v", findings, err)
	}
	for n := 1; n <= 40; n++ {
		v, err := s.Get(t.Context(), number(n))
		gone := n < 5 || n%8 == 1 || n%8 == 2 || n%8 == 3 || n%6 == 3 || n%3 == 1
		if gone != errors.Is(err, store.ErrNotFound) || !gone && (err != nil || v.Revoked()) {
			t.Errorf("token %d: swept must be %v: got %v, %v", n, gone, v.RevokedBy, err)
		}
	}
}

// Damage to a record, which nothing else tells of, is named, and refused.
func TestRepairRefuses(t *testing.T) {
	spoilt := func(bucket []byte, n int) change {
		return inBucket(bucket, func(b *bbolt.Bucket) error { return b.Put(nth(b, n), []byte("damaged")) })
	}
	away := func(bucket []byte) change {
		return inBucket(bucket, func(b *bbolt.Bucket) error {
			k := nth(b, 2)
			to := bytes.Clone(k)
			to[len(to)-1] += 100
			return move(b, k, to)
		})
	}
	later := inBucket(bucketTokens, func(b *bbolt.Bucket) error {
		id := number(4)
		v := bytes.Clone(b.Get(id[:]))
		v[0]++
		return b.Put(id[:], codec.Sealed(v[:len(v)-codec.SealSize]))
	})
	data := readFile(t, wealthy(t))
	cases := 0
	for what, c := range map[string]struct {
		want   string
		damage change
	}{
		"a token can't be read":       {"token " + number(4).String() + " can't be read", spoilt(bucketTokens, 1)},
		"a token is of a version":     {"token " + number(4).String() + " can't be read", later},
		"a token is elsewhere":        {"is another's record", away(bucketTokens)},
		"a pending one can't be read": {"pending revocation " + number(106).String() + " can't be read", spoilt(bucketLive, 1)},
		"a pending one is elsewhere":  {"pending revocation", away(bucketLive)},
		"a retired one can't be read": {"retired revocation " + number(101).String() + " can't be read", spoilt(bucketRetired, 0)},
		"a retired one is not": {"is another's record", inBucket(bucketRetired, func(b *bbolt.Bucket) error {
			return rewrite(b, nth(b, 0), revocationFields, func(r *revocation) { r.status.Retired = false })
		})},
		"a retired one is elsewhere":   {"is another's record", away(bucketRetired)},
		"a guard is elsewhere":         {"is another's record", away(bucketGuards)},
		"an event is elsewhere":        {"is another's record", away(bucketOutbox)},
		"a guard can't be read":        {"guard", spoilt(bucketGuards, 0)},
		"an event can't be read":       {"event 0000000000000003 can't be read", spoilt(bucketOutbox, 2)},
		"the first event is gone":      {"event 2 comes where 1 should", dropNth(bucketOutbox, 0)},
		"an event is gone":             {"event 6 comes where 5 should", dropNth(bucketOutbox, 4)},
		"the last event is gone":       {"the latest event is", dropNth(bucketOutbox, -1)},
		"meta can't be read":           {"what it knows of itself", func(_ *bbolt.Tx, acme *bbolt.Bucket) error { return acme.Put(keyMeta, []byte("damaged")) }},
		"restorations can't be read":   {"the records of its restorations can't be read", func(_ *bbolt.Tx, acme *bbolt.Bucket) error { return acme.Put(keyRestored, []byte("damaged")) }},
		"a pending one is gone":        {"pending revocation " + number(106).String() + " is gone, and named in fence", dropNth(bucketLive, 1)},
		"one is gone, and the fence":   {"it counts 4 of what is a pending revocation, and has 3", together(dropNth(bucketLive, 1), dropAll(bucketFence), dropAll(bucketWalkers))},
		"all pending are gone":         {"is gone, and named in walkers", dropAll(bucketLive)},
		"one is gone, and too few":     {"is gone, and named in fence", together(dropNth(bucketLive, 1), ofMeta(func(m *meta) { m.pending = 0 }))},
		"a retired one is gone":        {"is gone, and named in history", dropNth(bucketRetired, -1)},
		"one is gone, and its age":     {"of what is a retired revocation", together(dropNth(bucketRetired, -1), dropAll(bucketHistory))},
		"a guard is gone":              {"is gone, and named in ages", dropNth(bucketGuards, 0)},
		"a guard is gone, and its age": {"of what is a guard", together(dropNth(bucketGuards, 0), dropAll(bucketAges))},
		"too many pending":             {"it counts 5 of what is a pending revocation, and has 4", ofMeta(func(m *meta) { m.pending++ })},
		"too long a history":           {"of what is a retired revocation", ofMeta(func(m *meta) { m.history++ })},
		"too many guards":              {"of what is a guard", ofMeta(func(m *meta) { m.guards++ })},
		"much at once": {"guard", func(tx *bbolt.Tx, acme *bbolt.Bucket) error {
			return errors.Join(spoilt(bucketTokens, 1)(tx, acme), spoilt(bucketLive, 0)(tx, acme), spoilt(bucketGuards, 0)(tx, acme), acme.DeleteBucket(bucketFence))
		}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			path := writeFile(t, data)
			damaged := spoil(t, path, c.damage)
			if findings, err := CheckFile(t.Context(), path, nil); err != nil || len(findings) == 0 {
				t.Errorf("found %q, error %v", findings, err)
			}
			done, err := Repair(t.Context(), path, nil)
			if !errors.Is(err, ErrBeyondRepair) || !errors.Is(err, ErrCorrupt) || done.Kept != "" || len(done.Findings) == 0 {
				t.Fatalf("got %+v and %v, want ErrBeyondRepair", done, err)
			}
			var damage *DamageError
			if !errors.As(err, &damage) || !strings.Contains(strings.Join(damage.Findings, "\n"), c.want) {
				t.Errorf("got %v, want that it names %q", err, c.want)
			}
			if _, err := Compact(t.Context(), path, nil); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Compact must refuse it too: got %v", err)
			}
			if names := beside(t, path); !bytes.Equal(readFile(t, path), damaged) || len(names) > 0 {
				t.Errorf("the file must stay as it was, and alone: beside it lie %q", names)
			}
		})
		cases++
	}
	t.Attr("cases", strconv.Itoa(cases))
}

// What a repair may change is when a token is to be looked at, and what a tenant counts.
func TestRepairChangesNothingElse(t *testing.T) {
	token := func(user string, due uint64) []byte {
		x := record{token: domain.RefreshToken{ID: number(1), UserID: user, ClientID: "client-1", CreatedAt: instant}, due: due}
		return encode(&x, recordFields)
	}
	tokens := [][]byte{bucketTenants, []byte("acme"), bucketTokens}
	for what, c := range map[string]struct {
		path       [][]byte
		key, a, b  []byte
		mayBecomeB bool
	}{
		"when a token is due":   {tokens, []byte("id"), token("ann", 1), token("ann", 2), true},
		"whose a token is":      {tokens, []byte("id"), token("ann", 1), token("bob", 1), false},
		"a token to no token":   {tokens, []byte("id"), token("ann", 1), []byte("damaged"), false},
		"no token to a token":   {tokens, []byte("id"), []byte("damaged"), token("ann", 1), false},
		"what is no token":      {[][]byte{bucketTenants, []byte("acme"), bucketGuards}, []byte("id"), token("ann", 1), token("ann", 2), false},
		"the counts":            {tokens[:2], keyMeta, []byte("a"), []byte("b"), true},
		"another of a tenant's": {tokens[:2], keyRestored, []byte("a"), []byte("b"), false},
		"the format":            {[][]byte{bucketAbout}, keyVersion, []byte("a"), []byte("b"), false},
	} {
		if got := primaries().alike(c.path, c.key, c.a, c.b); got != c.mayBecomeB {
			t.Errorf("%s may change: got %v, want %v", what, got, c.mayBecomeB)
		}
	}
}

// A file in which very much is lost is not told of for ever.
func TestRepairNamesSoMuch(t *testing.T) {
	path := crowd(t)
	spoil(t, path, func(_ *bbolt.Tx, acme *bbolt.Bucket) error {
		for _, name := range [][]byte{bucketLive, bucketRetired} {
			b := acme.Bucket(name)
			for n := range 100 {
				if err := b.Put(nth(b, n), []byte("damaged")); err != nil {
					return err
				}
			}
		}
		return nil
	})
	_, err := Repair(t.Context(), path, nil)
	var damage *DamageError
	if !errors.As(err, &damage) || len(damage.Findings) != maxFindings {
		t.Fatalf("got %v, want %d findings", err, maxFindings)
	}
}

// Pages that are damaged are mended where only what can be made again lies in them.
func TestRepairPages(t *testing.T) {
	closed, killed, leaf, _ := filled(t, 1500)
	before := writeFile(t, closed)
	want := contents(t, before)
	for name, data := range map[string][]byte{"closed": closed, "killed": killed} {
		for what, c := range map[string]struct {
			bucket []byte // where it is
			at     int    // in one of its leaves
			mended bool
		}{
			"a leaf's number in the index":  {bucketRuns, 0, true},
			"a leaf's kind in the index":    {bucketRuns, 8, true},
			"an element's place":            {bucketRuns, pageHeader + 4, true},
			"a leaf's number in the tokens": {bucketTokens, 0, false},
			"a leaf's count in the tokens":  {bucketTokens, 11, false},
		} {
			spoilt := bytes.Clone(data)
			page := leafOf(t, spoilt, c.bucket)
			spoilt[page*os.Getpagesize()+c.at] ^= 0x40
			path := writeFile(t, spoilt)
			findings, err := CheckFile(t.Context(), path, nil)
			if err != nil || len(findings) == 0 {
				t.Errorf("%s, %s: found %q, error %v", name, what, findings, err)
			}
			done, err := Repair(t.Context(), path, nil)
			if c.mended != (err == nil) || !c.mended && !errors.Is(err, ErrBeyondRepair) {
				t.Fatalf("%s, %s: got error %v", name, what, err)
			}
			if !c.mended {
				if !strings.Contains(err.Error(), `"acme": "tokens"`) {
					t.Errorf("%s, %s: it must name where: %v", name, what, err)
				}
				if !bytes.Equal(readFile(t, path), spoilt) {
					t.Errorf("%s, %s: the file must stay as it was", name, what)
				}
				continue
			}
			if !bytes.Equal(readFile(t, done.Kept), spoilt) {
				t.Errorf("%s, %s: the damaged file must be kept", name, what)
			}
			if got := contents(t, path); got != want {
				t.Errorf("%s, %s: it holds something else", name, what)
			}
		}
	}
	_ = leaf
}

// crowd makes a file with so many revocations, half of them retired, that each thing that is derived of them has pages of its own.
func crowd(t *testing.T) (path string) {
	t.Helper()
	b, s := rig(t)
	path = b.db.Path()
	insertOne(t, s, 1, "ann")
	const each = 100
	for n := range each {
		for _, r := range []store.Revocation{
			{ID: number(1000 + n), Targets: []domain.Target{{UserID: fmt.Sprint("user-", n)}}, Time: instant},
			{ID: number(2000 + n), Targets: []domain.Target{{ClientID: fmt.Sprint("client-", n)}}, Time: instant},
		} {
			if _, err := s.Revoke(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		retireAll(t, s, number(1000+n))
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// A count that is wrong is mended also where what would tell whether a record is missing can't be read; where some of that can be, it is
// listened to.
func TestRepairUnreadable(t *testing.T) {
	sound := crowd(t)
	want, data := contents(t, sound), readFile(t, sound)
	fewer := func(m *meta) { m.pending, m.history, m.guards = m.pending-1, m.history-1, m.guards-1 }
	for _, c := range []struct {
		unreadable []byte
		change     change
		want       string // what can't be mended
	}{
		{bucketFence, ofMeta(fewer), ""},
		{bucketWalkers, ofMeta(fewer), ""},
		{bucketHistory, ofMeta(fewer), ""},
		{bucketAges, ofMeta(fewer), ""},
		{bucketFence, together(dropNth(bucketLive, 1), ofMeta(func(m *meta) { m.pending -= 2 })), "is gone, and named in walkers"},
		{bucketWalkers, together(dropNth(bucketLive, 1), ofMeta(func(m *meta) { m.pending -= 2 })), "is gone, and named in fence"},
	} {
		path := writeFile(t, data)
		spoilt := spoil(t, path, c.change)
		spoilt[leafOf(t, spoilt, c.unreadable)*os.Getpagesize()+8] ^= 0x40 // its kind
		path = writeFile(t, spoilt)
		_, err := Repair(t.Context(), path, nil)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: it can be made again: got error %v", c.unreadable, err)
		case c.want == "":
			if got := contents(t, path); got != want {
				t.Errorf("%s: it holds something else:\n%s\nand before:\n%s", c.unreadable, got, want)
			}
		default:
			var damage *DamageError
			if !errors.Is(err, ErrBeyondRepair) || !errors.As(err, &damage) || !strings.Contains(strings.Join(damage.Findings, "\n"), c.want) {
				t.Errorf("%s: got %v, want that it names %q", c.unreadable, err, c.want)
			}
			if !bytes.Equal(readFile(t, path), spoilt) {
				t.Errorf("%s: the file must stay as it was", c.unreadable)
			}
		}
	}
}

func writeFile(t *testing.T, data []byte) string {
	t.Helper()
	path := t.TempDir() + "/tokens.db"
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// leafOf is a leaf of a bucket of the tenant acme.
func leafOf(t *testing.T, data, bucket []byte) (page int) {
	t.Helper()
	db, err := bbolt.Open(writeFile(t, data), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		page = int(tx.Bucket(bucketTenants).Bucket([]byte("acme")).Bucket(bucket).Root())
		return nil
	})
	if err != nil || page == 0 {
		t.Fatal(page, err)
	}
	for binary.LittleEndian.Uint16(data[page*os.Getpagesize()+8:])&branchFlag != 0 {
		page = int(binary.LittleEndian.Uint64(data[page*os.Getpagesize()+pageHeader+8:]))
	}
	return page
}

// Many entries, of which few are sorted at once, come to be one run, in which each is found.
func TestRepairManyRuns(t *testing.T) {
	closed, _, _, _ := filled(t, 1500)
	for sorted, level := range map[int]byte{10: 4, 700: 1, 1 << 20: 1} { // that of as many runs, or of as many entries
		path := writeFile(t, closed)
		before := contents(t, path)
		spoil(t, path, dropAll(bucketRuns))
		if _, err := repair(t.Context(), path, nil, sorted); err != nil {
			t.Fatal(err)
		}
		if after := contents(t, path); after != before {
			t.Errorf("%d sorted at once: it holds something else", sorted)
		}
		b, err := Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.peek(t.Context(), func(x *txn) error {
			r := x.records("acme")
			runs := r.runs()
			if len(runs) != 1 || runs[0].level() != level || runs[0].number() != 0 || r.meta.settled != 1<<(levelBits*runs[0].level()) || r.meta.fresh != 0 {
				t.Errorf("%d sorted at once: runs %v, settled %d", sorted, runs, r.meta.settled)
			}
			return nil
		})
		b.SettleEarly(50)
		s, other := b.Tenant("acme")
		if err := errors.Join(err, other); err != nil {
			t.Fatal(err)
		}
		for n := 10_000; n < 11_000; n += 50 {
			var rows []store.Insertion
			for i := range 50 {
				rows = append(rows, store.Insertion{Token: domain.RefreshToken{ID: number(n + i), UserID: fmt.Sprint("user-", i), ClientID: "client", CreatedAt: instant}})
			}
			if _, err := s.Insert(t.Context(), rows); err != nil {
				t.Fatal(err)
			}
		}
		findings, err := b.Check(t.Context())
		if err := errors.Join(err, b.Close()); err != nil || len(findings) > 0 {
			t.Errorf("%d sorted at once: after it was used: found %q, error %v", sorted, findings, err)
		}
	}
}
