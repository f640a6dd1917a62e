package powercut

import (
	"context"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mount is a place in the file system that shows a disk. The disk can be replaced, as one whose machine starts anew.
type Mount struct {
	server *fuse.Server
	disk   atomic.Pointer[Disk]
	disks  atomic.Uint64
}

// NewMount mounts at a folder that exists. It takes Linux, /dev/fuse and the right to mount.
func NewMount(folder string) (*Mount, error) {
	m := &Mount{}
	m.Insert(NewDisk(0))
	server, err := fs.Mount(folder, &root{mount: m}, &fs.Options{MountOptions: fuse.MountOptions{
		DirectMountStrict: true, DisableXAttrs: true, FsName: "powercut", Name: "powercut",
	}})
	if err != nil {
		return nil, err
	}
	m.server = server
	return m, nil
}

// Insert shows another disk. Nothing may be open on the one before.
func (m *Mount) Insert(d *Disk) {
	d.number(m.disks.Add(1) << 32) // so that the kernel takes nothing of it for something of another disk
	m.disk.Store(d)
}

// Unmount ends the mount.
func (m *Mount) Unmount() error { return m.server.Unmount() }

type root struct {
	fs.Inode
	mount *Mount
}

var (
	_ fs.NodeGetattrer = (*root)(nil)
	_ fs.NodeLookuper  = (*root)(nil)
	_ fs.NodeCreater   = (*root)(nil)
	_ fs.NodeLinker    = (*root)(nil)
	_ fs.NodeUnlinker  = (*root)(nil)
	_ fs.NodeRenamer   = (*root)(nil)
	_ fs.NodeReaddirer = (*root)(nil)
	_ fs.NodeFsyncer   = (*root)(nil)
)

func (r *root) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = syscall.S_IFDIR | 0o700
	return 0
}

// describe says what a file is. Its mode and its owner don't change.
func describe(d *Disk, f *file, out *fuse.Attr) syscall.Errno {
	size, names, errno := d.attributes(f)
	out.Mode, out.Size, out.Nlink = syscall.S_IFREG|0o600, uint64(size), names
	return errno
}

// child is the node of a file.
func (r *root) child(ctx context.Context, d *Disk, f *file, out *fuse.EntryOut) *fs.Inode {
	_ = describe(d, f, &out.Attr)
	return r.NewInode(ctx, &node{disk: d, file: f}, fs.StableAttr{Mode: syscall.S_IFREG, Ino: f.inode})
}

func (r *root) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	d := r.mount.disk.Load()
	f, errno := d.lookup(name)
	if errno != 0 {
		return nil, errno
	}
	return r.child(ctx, d, f, out), 0
}

func (r *root) Create(ctx context.Context, name string, _, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	d := r.mount.disk.Load()
	f, errno := d.link(name, nil)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return r.child(ctx, d, f, out), nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (r *root) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n, ok := target.(*node)
	if !ok {
		return nil, syscall.EXDEV
	}
	if _, errno := n.disk.link(name, n.file); errno != 0 {
		return nil, errno
	}
	return r.child(ctx, n.disk, n.file, out), 0
}

func (r *root) Unlink(_ context.Context, name string) syscall.Errno {
	return r.mount.disk.Load().unlink(name)
}

func (r *root) Rename(_ context.Context, name string, _ fs.InodeEmbedder, to string, flags uint32) syscall.Errno {
	if flags != 0 { // there is one folder, and nothing but the plain call is used
		return syscall.EINVAL
	}
	return r.mount.disk.Load().rename(name, to)
}

func (r *root) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	names, errno := r.mount.disk.Load().list()
	var entries []fuse.DirEntry
	for _, name := range names {
		entries = append(entries, fuse.DirEntry{Name: name, Mode: syscall.S_IFREG})
	}
	return fs.NewListDirStream(entries), errno
}

func (r *root) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return r.mount.disk.Load().sync(nil)
}

type node struct {
	fs.Inode
	disk *Disk
	file *file
}

var (
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
)

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return describe(n.disk, n.file, &out.Attr)
}

func (n *node) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if errno := n.disk.resize(n.file, int64(size)); errno != 0 {
			return errno
		}
	}
	return n.Getattr(ctx, h, out)
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&(syscall.O_WRONLY|syscall.O_RDWR) != 0 {
		return nil, fuse.FOPEN_KEEP_CACHE, n.disk.open()
	}
	return nil, fuse.FOPEN_KEEP_CACHE, 0 // as of a disk: what was read or written is in memory
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, p []byte, at int64) (fuse.ReadResult, syscall.Errno) {
	read, errno := n.disk.read(n.file, p, at)
	return fuse.ReadResultData(p[:read]), errno
}

func (n *node) Write(_ context.Context, _ fs.FileHandle, p []byte, at int64) (uint32, syscall.Errno) {
	if errno := n.disk.write(n.file, p, at); errno != 0 {
		return 0, errno
	}
	return uint32(len(p)), 0
}

func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return n.disk.sync(n.file)
}
