// Package powercut is a disk in memory whose power can be cut and whose operations can be made to fail, as a file system that
// the programs under test use through FUSE.
//
// What is written reaches the platter when it is synced, and not before. When the power is cut, some of what was not synced
// gets there all the same: any pieces of 4 KiB, in any order, and of some of them a part. Names are kept in a journal: they get
// there when the directory is synced, or in their order. This is the least that a disk and a file system promise.
package powercut

import (
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"
)

// pieceSize is what a write is split into: the page of the kernel and of bbolt.
const pieceSize = 4096

// Kind is a set of operations.
type Kind uint8

// The kinds of operations.
const (
	Reads  Kind = 1 << iota // Reads are reads of files, and looks at names.
	Writes                  // Writes are writes to files, and changes of their size.
	Syncs                   // Syncs are fsync and fdatasync, of files and of the directory.
	Names                   // Names are creations, links and removals.
	Opens                   // Opens are openings for writing.
)

// Fault makes operations fail. The zero value is none.
type Fault struct {
	Of      Kind
	After   int // After is how many operations of these kinds succeed before.
	Errno   syscall.Errno
	Lasting bool // Lasting makes all that follow fail too; otherwise it is one.
	Drops   bool // Drops makes a sync that fails forget what it should have written, as Linux does; reads still show it.
}

// Disk is a flat directory of files. It is safe for concurrent use.
type Disk struct {
	mu     sync.Mutex
	rand   *rand.Rand
	names  map[string]*file // as programs see them
	stable map[string]*file // as they are on the platter
	links  []link           // what changed since the directory was synced
	inodes uint64

	steps int // what was done, in units between which the power can be cut
	cutAt int // the step at which it is cut; 0 is never
	lies  bool
	slow  time.Duration // how long a sync takes
	off   bool
	gone  chan struct{} // closed when the power is cut

	fault  Fault
	passed int // operations of the fault's kinds

	hold        int           // the sync that is held is the one that makes this 0
	held, freed chan struct{} // closed when it has come, and when it may go on
}

// file has what programs see and what is on the platter.
type file struct {
	inode       uint64
	now, stable content
	pending     []change // since the last sync, in order
}

type content struct {
	size   int64
	pieces map[int64][]byte // by number; what is not there is zeros
}

// change is a part of a piece that was written, or a new size.
type change struct {
	at   int64
	data []byte // nil: the file is now at bytes long
}

// NewDisk is a disk that is empty. What happens at a cut follows from seed.
func NewDisk(seed uint64) *Disk {
	return &Disk{
		rand:  rand.New(rand.NewPCG(seed, 0)),
		names: map[string]*file{}, stable: map[string]*file{}, gone: make(chan struct{}),
	}
}

// CutAfter cuts the power within or after so many steps from now. A piece written is a step; a sync is two, before and after
// it takes effect.
func (d *Disk) CutAfter(steps int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAt = d.steps + max(1, steps)
}

// Cut cuts the power now.
func (d *Disk) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut()
}

// Gone is closed when the power is cut. Every operation is EIO from then on.
func (d *Disk) Gone() <-chan struct{} { return d.gone }

// Steps is how many there were.
func (d *Disk) Steps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.steps
}

// Lie makes the disk acknowledge syncs that it does not do.
func (d *Disk) Lie() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lies = true
}

// Slow makes every sync take so long, before it takes effect.
func (d *Disk) Slow(sync time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow = sync
}

// Hold has a sync, the nth from now on, wait for Free.
func (d *Disk) Hold(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hold, d.held, d.freed = n, make(chan struct{}), make(chan struct{})
}

// Held is closed when the sync has come that Hold is about.
func (d *Disk) Held() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held
}

// Free lets the sync go on that Hold is about.
func (d *Disk) Free() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.freed)
}

// Fail sets the fault, from the next operation on, and returns how many operations of its kinds the one before has met.
func (d *Disk) Fail(f Fault) (met int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	met, d.passed, d.fault = d.passed, 0, f
	return met
}

// begin is called under the lock before an operation.
func (d *Disk) begin(kind Kind) syscall.Errno {
	if d.off {
		return syscall.EIO
	}
	if d.fault.Of&kind == 0 {
		return 0
	}
	d.passed++
	if n := d.passed - 1; d.fault.Errno != 0 && (n == d.fault.After || d.fault.Lasting && n > d.fault.After) {
		return d.fault.Errno
	}
	return 0
}

// step is an instant at which the power can be cut, under the lock.
func (d *Disk) step() syscall.Errno {
	if d.steps++; d.steps == d.cutAt {
		d.cut()
	}
	if d.off {
		return syscall.EIO
	}
	return 0
}

// cut lets some of what is not synced get to the platter.
func (d *Disk) cut() {
	if d.off {
		return
	}
	d.off = true
	for _, f := range d.files() {
		share := []float64{0, 0.1, 0.5, 0.9, 1}[d.rand.IntN(5)]
		d.rand.Shuffle(len(f.pending), func(i, j int) { f.pending[i], f.pending[j] = f.pending[j], f.pending[i] })
		for _, c := range f.pending {
			if d.rand.Float64() < share {
				f.stable.apply(d.torn(c))
			}
		}
		f.pending = nil
	}
	for _, l := range d.links[:d.rand.IntN(len(d.links)+1)] {
		d.journal(l)
	}
	close(d.gone)
}

// torn is a change of which, now and then, only a part gets there.
func (d *Disk) torn(c change) change {
	if len(c.data) < 2 || d.rand.IntN(4) > 0 {
		return c
	}
	at := 1 + d.rand.IntN(len(c.data)-1)
	if d.rand.IntN(2) == 0 {
		return change{c.at, c.data[:at]}
	}
	return change{c.at + int64(at), c.data[at:]}
}

// apply makes a change.
func (c *content) apply(ch change) {
	if ch.data == nil {
		c.resize(ch.at)
		return
	}
	n, within := ch.at/pieceSize, ch.at%pieceSize
	if c.pieces[n] == nil {
		c.pieces[n] = make([]byte, pieceSize)
	}
	copy(c.pieces[n][within:], ch.data)
	c.size = max(c.size, ch.at+int64(len(ch.data)))
}

func (c *content) resize(size int64) {
	for n, piece := range c.pieces {
		switch from := n * pieceSize; {
		case from >= size:
			delete(c.pieces, n)
		case from+pieceSize > size:
			clear(piece[size-from:])
		}
	}
	c.size = size
}

// readAt fills p as far as the content goes.
func (c *content) readAt(p []byte, at int64) int {
	p = p[:max(0, min(int64(len(p)), c.size-at))]
	for done := 0; done < len(p); {
		n, within := (at+int64(done))/pieceSize, (at+int64(done))%pieceSize
		part := p[done:min(len(p), done+int(pieceSize-within))]
		if piece := c.pieces[n]; piece != nil {
			copy(part, piece[within:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return len(p)
}

func newContent() content { return content{pieces: map[int64][]byte{}} }

// number has inodes begin after a number.
func (d *Disk) number(from uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.names {
		f.inode += from
	}
	d.inodes += from
}

func (d *Disk) newFile() *file {
	d.inodes++
	return &file{inode: d.inodes + 1, now: newContent(), stable: newContent()} // 1 is the directory's
}

func (d *Disk) write(f *file, p []byte, at int64) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.begin(Writes); errno != 0 {
		return errno
	}
	for len(p) > 0 {
		n := min(len(p), int(pieceSize-at%pieceSize))
		c := change{at, slices.Clone(p[:n])}
		f.now.apply(c)
		f.pending = append(f.pending, c)
		if errno := d.step(); errno != 0 {
			return errno
		}
		p, at = p[n:], at+int64(n)
	}
	return 0
}

func (d *Disk) resize(f *file, size int64) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.begin(Writes); errno != 0 {
		return errno
	}
	f.now.resize(size)
	f.pending = append(f.pending, change{at: size})
	return d.step()
}

func (d *Disk) read(f *file, p []byte, at int64) (int, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.begin(Reads); errno != 0 {
		return 0, errno
	}
	return f.now.readAt(p, at), 0
}

// sync syncs a file, or the directory if f is nil.
func (d *Disk) sync(f *file) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hold--; d.hold == 0 {
		close(d.held)
		freed := d.freed
		d.mu.Unlock()
		<-freed
		d.mu.Lock()
	}
	if errno := d.begin(Syncs); errno != 0 {
		if f != nil && d.fault.Drops && !d.off {
			f.pending = slices.DeleteFunc(f.pending, func(c change) bool { return c.data != nil })
		}
		return errno
	}
	if d.slow > 0 {
		d.mu.Unlock()
		time.Sleep(d.slow)
		d.mu.Lock()
	}
	if errno := d.step(); errno != 0 {
		return errno
	}
	switch {
	case d.lies:
	case f == nil:
		for _, l := range d.links {
			d.journal(l)
		}
		d.links = nil
	default:
		for _, c := range f.pending {
			f.stable.apply(c)
		}
		f.pending = nil
	}
	return d.step()
}

func (d *Disk) open() syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.begin(Opens)
}
