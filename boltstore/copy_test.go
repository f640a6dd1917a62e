package boltstore

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// tree is what a bucket holds: values, and buckets of its own.
type tree map[string]any

func (n tree) plant(b *bbolt.Bucket) (err error) {
	for key, value := range n {
		switch value := value.(type) {
		case string:
			err = errors.Join(err, b.Put([]byte(key), []byte(value)))
		case tree:
			below, made := b.CreateBucket([]byte(key))
			if made != nil {
				return made
			}
			err = errors.Join(err, value.plant(below))
		}
	}
	return err
}

// planted is a file of bbolt's own that holds a tree.
func planted(t *testing.T, n tree) *bbolt.DB {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "tree.db"), 0o600, &bbolt.Options{NoSync: true, NoGrowSync: true, NoFreelistSync: true})
	if err == nil {
		err = db.Update(func(tx *bbolt.Tx) error { return n.plant(root(tx)) })
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Whatever a copy lacks, or has beside or otherwise, is noticed, wherever it is; but for what was left out, and for what may differ.
func TestCompare(t *testing.T) {
	const name = "tenants"
	whole := func() tree {
		return tree{"a": "1", name: tree{"a": "1", "derived": tree{"x": "1"}, "m": tree{"n": "1"}, "others": tree{"y": "1"}, "z": "1"}}
	}
	in := func(n tree) tree { return n[name].(tree) }
	selected := selection{
		leaves: func(path [][]byte) bool {
			last := string(path[len(path)-1])
			return len(path) == 2 && (last == "derived" || last == "others")
		},
		alike: func(path [][]byte, key, a, b []byte) bool {
			return len(path) == 1 && string(key) == "z" && string(b) == "2"
		},
	}
	a := planted(t, whole())
	for what, c := range map[string]struct {
		change  func(tree)
		differs bool
	}{
		"nothing":                   {func(tree) {}, false},
		"a value":                   {func(n tree) { n["a"] = "2" }, true},
		"no first value":            {func(n tree) { delete(n, "a") }, true},
		"one too many":              {func(n tree) { n["zz"] = "1" }, true},
		"a value below":             {func(n tree) { in(n)["a"] = "2" }, true},
		"no last value below":       {func(n tree) { delete(in(n), "z") }, true},
		"one too many below":        {func(n tree) { in(n)["zz"] = "1" }, true},
		"a value further below":     {func(n tree) { in(n)["m"] = tree{"n": "2"} }, true},
		"no bucket":                 {func(n tree) { delete(in(n), "m") }, true},
		"a value for a bucket":      {func(n tree) { in(n)["m"] = "" }, true},
		"a bucket for a value":      {func(n tree) { in(n)["a"] = tree{} }, true},
		"nothing at all":            {func(n tree) { clear(n) }, true},
		"what is left out":          {func(n tree) { in(n)["derived"], in(n)["others"] = tree{"x": "2"}, tree{} }, false},
		"without what is left out":  {func(n tree) { delete(in(n), "derived"); delete(in(n), "others") }, false},
		"a value for what is out":   {func(n tree) { in(n)["derived"] = "1" }, true},
		"what may differ":           {func(n tree) { in(n)["z"] = "2" }, false},
		"what may differ otherwise": {func(n tree) { in(n)["z"] = "3" }, true},
	} {
		changed := whole()
		c.change(changed)
		b := planted(t, changed)
		compared := func(ctx context.Context, a, b *bbolt.DB) error {
			return a.View(func(x *bbolt.Tx) error {
				return b.View(func(y *bbolt.Tx) error { return compare(ctx, nil, root(x), root(y), selected) })
			})
		}
		if err := compared(t.Context(), a, b); errors.Is(err, ErrCorrupt) != c.differs || !c.differs && err != nil {
			t.Errorf("%s: got error %v, want that it differs: %v", what, err, c.differs)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := compared(ctx, a, b); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, cancelled: got error %v", what, err)
		}
	}
}

// In a copy of a file of an older format the version may differ, and what came since may be there. In one of the newest nothing may, also not what is
// noted of a token that a repair leaves as it is.
func TestCompareOfAnOlderFormat(t *testing.T) {
	about, rewrites := string(bucketAbout), string(bucketRewrites)
	file := func(version, note string) tree {
		return tree{about: tree{string(keyVersion): version}, rewrites: tree{"generation": tree{"note": note}}}
	}
	for what, c := range map[string]struct {
		from, to tree
		same     bool
	}{
		"brought up":      {tree{about: tree{string(keyVersion): "1"}}, tree{about: tree{string(keyVersion): "2"}, rewrites: tree{}}, true},
		"alike":           {file("2", "a"), file("2", "a"), true},
		"another version": {file("2", "a"), file("3", "a"), false},
		"another note":    {file("2", "a"), file("2", "b"), false},
		"no notes":        {file("2", "a"), tree{about: tree{string(keyVersion): "2"}, rewrites: tree{}}, false},
	} {
		for _, s := range []selection{everything(), primaries()} {
			err := planted(t, c.from).View(func(from *bbolt.Tx) error {
				return planted(t, c.to).View(func(to *bbolt.Tx) error { return compare(t.Context(), nil, root(from), root(to), s.broughtUp(from)) })
			})
			if (err == nil) != c.same || err != nil && !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: got %v, want that they are the same: %v", what, err, c.same)
			}
		}
	}
}

// A copy is written in transactions of limited size, keys and values counted, and ends with its context at each of them.
func TestCopyInParts(t *testing.T) {
	const size, count = 32_000, copyAtOnce/(2*32_000+elementSize) + 2 // enough for one, and something more
	source := tree{}
	for n := range count {
		key := bytes.Repeat([]byte{byte(n >> 8), byte(n)}, size/2)
		source[string(key)] = string(key)
	}
	from := planted(t, source)
	for _, cancelled := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		if cancelled {
			cancel()
		}
		to := planted(t, tree{})
		tx, err := to.Begin(true)
		if err != nil {
			t.Fatal(err)
		}
		c := &copier{ctx: ctx, db: to, tx: tx}
		first := tx.ID()
		err = from.View(func(x *bbolt.Tx) error { return c.copy(nil, root(x), everything()) })
		parts := c.tx.ID() - first
		if err := c.tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		cancel()
		switch {
		case cancelled && !errors.Is(err, context.Canceled):
			t.Errorf("a copy that was cancelled must end: got error %v", err)
		case !cancelled && (err != nil || parts != 1):
			t.Errorf("%d bytes must be a transaction and a part of another: got %d, error %v", 2*size*count, parts, err)
		}
	}
	to := planted(t, tree{})
	tx, err := to.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	c := &copier{ctx: t.Context(), db: to, tx: tx}
	for _, want := range []bool{false, true, false, true} {
		bytes := copyAtOnce - 1
		if want {
			bytes = 1
		}
		if another, err := c.wrote(bytes); err != nil || another != want {
			t.Errorf("another transaction must begin when enough is written, and not before: got %v, error %v, want %v", another, err, want)
		}
	}
	if err := c.tx.Rollback(); err != nil {
		t.Fatal(err)
	}
}
