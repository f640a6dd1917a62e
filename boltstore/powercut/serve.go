package powercut

import (
	"io"
	"net/rpc"
	"time"
)

// Serve shows a disk at a folder and does what a [Remote] at the other end of conn asks for, until that is closed. It belongs
// in a process of its own: one that waits for its own file system, in a page fault, can't answer it.
func Serve(folder string, conn io.ReadWriteCloser) error {
	mount, err := NewMount(folder)
	if err != nil {
		return err
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Disk", &control{mount}); err != nil {
		return err
	}
	server.ServeConn(conn)
	return mount.Unmount()
}

// Setup is a disk to begin with.
type Setup struct {
	Seed  uint64        // Seed decides what happens at the cut.
	Name  string        // Name is the file's.
	Image string        // Image is the path of what the file holds, outside of the mount; where there is no such image, there is no file.
	Cut   int           // Cut is the step at which the power is cut. Defaults to never.
	Lies  bool          // Lies makes syncs do nothing.
	Slow  time.Duration // Slow is how long a sync takes. Defaults to no time.
}

// control has the methods that a Remote calls.
type control struct{ mount *Mount }

func (c *control) disk() *Disk { return c.mount.disk.Load() }

func (c *control) Insert(s Setup, _ *bool) error {
	d := NewDisk(s.Seed)
	if err := d.Load(s.Name, s.Image); err != nil {
		return err
	}
	if s.Cut > 0 {
		d.CutAfter(s.Cut)
	}
	if s.Lies {
		d.Lie()
	}
	d.Slow(s.Slow)
	c.mount.Insert(d)
	return nil
}

func (c *control) Await(bool, *bool) error {
	<-c.disk().Gone()
	return nil
}

func (c *control) On(_ bool, on *bool) error {
	select {
	case <-c.disk().Gone():
	default:
		*on = true
	}
	return nil
}

func (c *control) Cut(bool, *bool) error {
	c.disk().Cut()
	return nil
}

func (c *control) Steps(_ bool, steps *int) error {
	*steps = c.disk().Steps()
	return nil
}

func (c *control) Fail(f Fault, met *int) error {
	*met = c.disk().Fail(f)
	return nil
}

func (c *control) Hold(n int, _ *bool) error {
	c.disk().Hold(n)
	return nil
}

func (c *control) Held(bool, *bool) error {
	<-c.disk().Held()
	return nil
}

func (c *control) Free(bool, *bool) error {
	c.disk().Free()
	return nil
}

func (c *control) Save(to Setup, _ *bool) error { return c.disk().Save(to.Name, to.Image) }

func (c *control) SaveAll(to Setup, _ *bool) error { return c.disk().SaveAll(to.Image) }

// Remote controls a disk that another process shows by [Serve].
type Remote struct{ client *rpc.Client }

// NewRemote talks to the Serve at the other end of conn. It waits until the disk can be used.
func NewRemote(conn io.ReadWriteCloser) (*Remote, error) {
	r := &Remote{rpc.NewClient(conn)}
	_, err := r.Steps()
	return r, err
}

// Insert begins with another disk.
func (r *Remote) Insert(s Setup) error { return r.client.Call("Disk.Insert", s, new(bool)) }

// Await returns when the power has been cut.
func (r *Remote) Await() error { return r.client.Call("Disk.Await", true, new(bool)) }

// On reports whether the power has not been cut.
func (r *Remote) On() (on bool, err error) {
	err = r.client.Call("Disk.On", true, &on)
	return on, err
}

// Cut cuts the power, if it is on.
func (r *Remote) Cut() error { return r.client.Call("Disk.Cut", true, new(bool)) }

// Steps is how many there were; see [Disk.CutAfter].
func (r *Remote) Steps() (steps int, err error) {
	err = r.client.Call("Disk.Steps", true, &steps)
	return steps, err
}

// Fail sets the fault, and returns how many operations of its kinds the one before has met.
func (r *Remote) Fail(f Fault) (met int, err error) {
	err = r.client.Call("Disk.Fail", f, &met)
	return met, err
}

// Hold has a sync, the nth from now on, wait for Free.
func (r *Remote) Hold(n int) error { return r.client.Call("Disk.Hold", n, new(bool)) }

// Held returns when the sync has come that Hold is about.
func (r *Remote) Held() error { return r.client.Call("Disk.Held", true, new(bool)) }

// Free lets the sync go on that is held.
func (r *Remote) Free() error { return r.client.Call("Disk.Free", true, new(bool)) }

// Save copies what is on the platter under a name to an image file, or removes that if nothing is.
func (r *Remote) Save(name, image string) error {
	return r.client.Call("Disk.Save", Setup{Name: name, Image: image}, new(bool))
}

// SaveAll copies all that is on the platter to a folder, under the names that it has there. A file of two names has both.
func (r *Remote) SaveAll(folder string) error {
	return r.client.Call("Disk.SaveAll", Setup{Image: folder}, new(bool))
}

// Close ends the mount.
func (r *Remote) Close() error { return r.client.Close() }
