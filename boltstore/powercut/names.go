package powercut

import (
	"maps"
	"slices"
	"syscall"
)

// link is a change of names: a file has one from now on, or, where there is none, nobody has it any more.
type link struct {
	name string
	file *file
	from string // a name that the file loses in the same step; "" for none
}

// journal brings the change of a name to the platter.
func (d *Disk) journal(l link) {
	if l.file == nil {
		delete(d.stable, l.name)
		return
	}
	d.stable[l.name] = l.file
	delete(d.stable, l.from)
}

// files are all that have a name, have one on the platter, or may have one there after a cut.
func (d *Disk) files() []*file {
	found := map[*file]bool{}
	for _, names := range []map[string]*file{d.names, d.stable} {
		for _, f := range names {
			found[f] = true
		}
	}
	for _, l := range d.links {
		if l.file != nil {
			found[l.file] = true
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b *file) int { return int(a.inode) - int(b.inode) })
}

func (d *Disk) lookup(name string) (*file, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.begin(Reads); errno != 0 {
		return nil, errno
	}
	f := d.names[name]
	if f == nil {
		return nil, syscall.ENOENT
	}
	return f, 0
}

// link names a file, or a new one if f is nil.
func (d *Disk) link(name string, f *file) (*file, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.begin(Names); errno != 0 {
		return nil, errno
	}
	if d.names[name] != nil {
		return nil, syscall.EEXIST
	}
	if f == nil {
		f = d.newFile()
	}
	d.names[name] = f
	d.links = append(d.links, link{name: name, file: f})
	return f, d.step()
}

func (d *Disk) unlink(name string) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.begin(Names); errno != 0 {
		return errno
	}
	if d.names[name] == nil {
		return syscall.ENOENT
	}
	delete(d.names, name)
	d.links = append(d.links, link{name: name})
	return d.step()
}

// rename gives a file another name, in the place of the file that has it, if any. It is one step, also on the platter.
func (d *Disk) rename(from, to string) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.begin(Names); errno != 0 {
		return errno
	}
	switch f := d.names[from]; f {
	case nil:
		return syscall.ENOENT
	case d.names[to]: // two names of one file stay
		return 0
	default:
		delete(d.names, from)
		d.names[to] = f
		d.links = append(d.links, link{name: to, file: f, from: from})
		return d.step()
	}
}

func (d *Disk) list() ([]string, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.begin(Reads); errno != 0 {
		return nil, errno
	}
	return slices.Sorted(maps.Keys(d.names)), 0
}

// attributes are the size of a file, and how many names it has.
func (d *Disk) attributes(f *file) (size int64, names uint32, errno syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return 0, 0, syscall.EIO
	}
	for _, named := range d.names {
		if named == f {
			names++
		}
	}
	return f.now.size, names, 0
}
