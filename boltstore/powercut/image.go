package powercut

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
)

// Load puts a copy of an image file on the disk, synced, under a name. There may be no such image.
func (d *Disk) Load(name, image string) error {
	data, err := os.ReadFile(image)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.newFile()
	f.now.size, f.stable.size = int64(len(data)), int64(len(data))
	zeros := make([]byte, pieceSize)
	for at := 0; at < len(data); at += pieceSize {
		piece := data[at:min(len(data), at+pieceSize)]
		if !bytes.Equal(piece, zeros[:len(piece)]) {
			f.now.apply(change{int64(at), piece})
			f.stable.apply(change{int64(at), piece})
		}
	}
	d.names[name], d.stable[name] = f, f
	return nil
}

// Save copies what is on the platter under a name to an image file, or removes that if nothing is.
func (d *Disk) Save(name, image string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.stable[name]
	if f == nil {
		if err := os.Remove(image); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	out, err := os.OpenFile(image, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = out.Truncate(f.stable.size)
	for n, piece := range f.stable.pieces {
		at := n * pieceSize
		_, written := io.Copy(io.NewOffsetWriter(out, at), bytes.NewReader(piece[:min(pieceSize, f.stable.size-at)]))
		err = errors.Join(err, written)
	}
	return errors.Join(err, out.Close())
}
