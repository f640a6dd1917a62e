package powercut

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	return f.stable.save(image)
}

// SaveAll copies all that is on the platter to a folder, under the names that it has there. A file of two names has both.
func (d *Disk) SaveAll(folder string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	saved := map[*file]string{}
	for name, f := range d.stable {
		image := filepath.Join(folder, name)
		if first := saved[f]; first != "" {
			if err := os.Link(first, image); err != nil {
				return err
			}
			continue
		}
		if err := f.stable.save(image); err != nil {
			return err
		}
		saved[f] = image
	}
	return nil
}

// save writes it to an image file.
func (c *content) save(image string) error {
	out, err := os.OpenFile(image, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = out.Truncate(c.size)
	for n, piece := range c.pieces {
		at := n * pieceSize
		_, written := io.Copy(io.NewOffsetWriter(out, at), bytes.NewReader(piece[:min(pieceSize, c.size-at)]))
		err = errors.Join(err, written)
	}
	return errors.Join(err, out.Close())
}
