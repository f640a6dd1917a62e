package boltstore_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"example.com/tokenstore/tokenstoretest"
)

// Every other time that the file is opened again, its process has crashed before.
func TestPromises(t *testing.T) {
	c := config()
	c.settle = 8
	var reopened atomic.Int64
	reopen := func(t testing.TB, b store.Backend) store.Backend {
		if reopened.Add(1)%2 == 0 {
			return c.Reopen(t, b)
		}
		return c.crash(t, b)
	}
	tokenstoretest.Run(t, tokenstoretest.Config{New: c.New, Quick: c.quick(t), Reopen: reopen, Copy: c.snapshot, Steps: true, Others: []tokenstoretest.Config{
		{New: func(testing.TB) store.Backend { return memstore.New() }},
		{New: c.limited, Reopen: reopen},
	}})
}

// limited is a file that may grow so far, and grows in smaller steps.
func (c fileConfig) limited(t testing.TB) store.Backend {
	t.Helper()
	return c.openLimited(t, temporary(t))
}

func (c fileConfig) openLimited(t testing.TB, path string) store.Backend {
	t.Helper()
	b, err := boltstore.Open(path, &boltstore.Options{MaxSize: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	c.paths.Store(b, path)
	t.Cleanup(func() { c.paths.Delete(b) })
	return b
}

// quick is a limited file that is copied instead of made, and quick to copy again.
func (c fileConfig) quick(t *testing.T) func(testing.TB) store.Backend {
	t.Helper()
	path := temporary(t)
	shut(t, open(t, path, nil))
	empty, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return func(t testing.TB) store.Backend {
		t.Helper()
		path := temporary(t)
		if err := os.WriteFile(path, empty, 0o600); err != nil {
			t.Fatal(err)
		}
		return c.openLimited(t, path)
	}
}

// snapshot copies the file as a backup does.
func (c fileConfig) snapshot(t testing.TB, b store.Backend) func(testing.TB) store.Backend {
	t.Helper()
	var data bytes.Buffer
	if err := b.(*boltstore.Backend).Snapshot(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	return func(t testing.TB) store.Backend {
		t.Helper()
		path := filepath.Join(t.TempDir(), "tokens.db")
		if err := os.WriteFile(path, data.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return c.open(t, path)
	}
}

// crash opens what a process that is killed now would leave behind: the bytes of the file, without a Close.
func (c *fileConfig) crash(t testing.TB, b store.Backend) store.Backend {
	t.Helper()
	path, _ := c.paths.Load(b)
	data, err := os.ReadFile(path.(string))
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(t.TempDir(), "tokens.db")
	if err := os.WriteFile(left, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return c.open(t, left)
}
