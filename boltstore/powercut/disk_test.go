package powercut

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// TestWhatIsSyncedStays: at a cut every byte is as it was synced, or as it was written since; over many cuts there are both, and
// both within one write. What was not synced has a name only if that got there.
func TestWhatIsSyncedStays(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	const size = 5 * pieceSize
	kept, lost, torn, unnamed := 0, 0, 0, 0
	for seed := range uint64(300) {
		d := NewDisk(seed)
		f, _ := d.link("file", nil)
		d.write(f, bytes.Repeat([]byte{'a'}, size), 0)
		d.sync(f)
		if seed%2 == 0 {
			d.sync(nil)
		}
		d.write(f, bytes.Repeat([]byte{'b'}, size-100), 50)
		d.Cut()
		if errno := d.write(f, []byte("c"), 0); errno == 0 {
			t.Fatal("after the cut everything must fail")
		}
		if err := d.Save("file", image); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(image)
		if os.IsNotExist(err) && seed%2 == 1 {
			unnamed++
			continue
		}
		if err != nil || len(data) != size || bytes.Count(data, []byte("a"))+bytes.Count(data, []byte("b")) != size {
			t.Fatalf("seed %d: there must be what was synced, or what was written since: %d bytes, %v", seed, len(data), err)
		}
		for piece := data[50 : size-50]; len(piece) > 0; piece = piece[min(len(piece), pieceSize):] {
			switch part := piece[:min(len(piece), pieceSize-50)]; bytes.Count(part, []byte("b")) {
			case 0:
				lost++
			case len(part):
				kept++
			default:
				torn++
			}
		}
	}
	if kept == 0 || lost == 0 || torn == 0 || unnamed == 0 {
		t.Errorf("there must be all kinds: %d kept, %d lost, %d torn, %d without a name", kept, lost, torn, unnamed)
	}
}

// TestNamesInTheirOrder: at a cut names are as they were at some time since the directory was synced; one that a file takes over
// from another is never nobody's; and a file of two names is one.
func TestNamesInTheirOrder(t *testing.T) {
	found := map[string]bool{}
	for seed := range uint64(100) {
		d := NewDisk(seed)
		for _, name := range []string{"file", "draft"} {
			f, _ := d.link(name, nil)
			d.write(f, []byte(name), 0)
			d.sync(f)
		}
		d.sync(nil)
		file, _ := d.lookup("file")
		d.link("kept", file)
		d.rename("draft", "file")
		d.unlink("kept")
		if _, names, _ := d.attributes(file); names != 0 {
			t.Fatalf("a file that has lost its names must have none: got %d", names)
		}
		d.Cut()
		folder := t.TempDir()
		if err := d.SaveAll(folder); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		left := ""
		for _, entry := range entries {
			data, err := os.ReadFile(filepath.Join(folder, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			left += entry.Name() + ":" + string(data) + " "
		}
		found[left] = true
		kept, err := os.Stat(filepath.Join(folder, "kept"))
		if file, other := os.Stat(filepath.Join(folder, "file")); err == nil && left == "draft:draft file:file kept:file " && (other != nil || !os.SameFile(file, kept)) {
			t.Fatal("a file of two names must be one")
		}
	}
	want := map[string]bool{
		"draft:draft file:file ": true, "draft:draft file:file kept:file ": true, "file:draft kept:file ": true, "file:draft ": true,
	}
	if !maps.Equal(found, want) {
		t.Errorf("the names must be as after any of the changes: got %v", found)
	}
}
