package main

import (
	"bytes"
	"os"
	"testing"
)

// The committed files are what the generator writes. After a change to it, run go generate in examples/quickstart.
func TestFilesAreGenerated(t *testing.T) {
	for _, f := range files {
		want, err := os.ReadFile("../testdata/" + f.name)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := f.write(&got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s differs from what the generator writes (%d bytes, want %d)", f.name, got.Len(), len(want))
		}
	}
}
