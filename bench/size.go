package main

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"

	"example.com/tokenstore"
	"go.etcd.io/bbolt"
)

// sizes measures how many bytes of a file a token takes after a load.
func (b *bench) sizes(ctx context.Context) error {
	path := filepath.Join(b.dir, "size.db")
	backend := openBolt(path)
	c := newOurs(backend, tokenstore.NoOutbox).contender(boltName, "")
	err := c.load(ctx, newPopulation(6, b.tokens/10).rows(0, b.tokens))
	if err := errors.Join(err, backend.Close()); err != nil {
		return err
	}
	record, err := recordSize(path)
	if err != nil {
		return err
	}
	b.facts.add("record bytes", record)
	b.facts.add("file bytes", float64(used(path))/float64(b.tokens))
	b.logf("a record has %.0f bytes, and a token takes %.0f of the file", record, b.facts["file bytes"].median)
	return nil
}

// recordSize is the mean size of the records of a file of ours.
func recordSize(path string) (float64, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer db.Close()
	n, bytes := 0, 0
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("tenants")).Bucket([]byte(tenant)).Bucket([]byte("tokens")).ForEach(func(_, v []byte) error {
			n, bytes = n+1, bytes+len(v)
			return nil
		})
	})
	return float64(bytes) / float64(max(n, 1)), err
}

// used is how many bytes of a bbolt file have been used by now, as the newer of its two meta pages says.
func used(path string) int64 {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer file.Close()
	var newest, pages, size uint64
	page := make([]byte, 80)
	for _, at := range []int64{0, int64(os.Getpagesize())} {
		if _, err := file.ReadAt(page, at); err != nil {
			return 0
		}
		meta := page[16:] // size at 8, pages at 40, transaction at 48
		if tx := binary.LittleEndian.Uint64(meta[48:]); tx >= newest {
			newest, pages, size = tx, binary.LittleEndian.Uint64(meta[40:]), uint64(binary.LittleEndian.Uint32(meta[8:]))
		}
	}
	return int64(pages * size)
}
