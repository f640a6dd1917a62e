// Package daemon starts programs that serve, for tests and benchmarks beside real servers. Each has a folder of its own, runs as
// an account without privileges where it must, ends with the process that started it, and is ended by its id.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Find finds a program where Debian keeps those of PostgreSQL, of which those on the path are wrappers, or on the path, or where
// administrators' are. It returns an [exec.ErrNotFound] if there is none.
func Find(name string) (string, error) {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		return slices.Max(found), nil
	}
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		if path, found := exec.LookPath("/usr/sbin/" + name); found == nil {
			return path, nil
		}
	}
	return path, err
}

// Account is whom to run a program as that refuses to be root's: nil, the present user, unless that is root. The folder becomes
// that account's, and what stands above it can be passed through.
func Account(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	// What stands above the folder is private to its owner too.
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o711), os.Chown(dir, uid, gid)); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// Run runs a program to its end, in a folder and as an account. What it says is in the error.
func Run(ctx context.Context, dir string, as *syscall.Credential, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, out)
	}
	return nil
}

// Process is a server that was started here.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// Start runs a program in a folder, as an account. Its output is appended to the file "log" there.
func Start(dir string, as *syscall.Credential, name string, args ...string) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	// A Ctrl-C is ours to pass on; and whatever ends us ends it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true, Pdeathsig: syscall.SIGINT}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The signal comes when the thread ends that started the process, so this one stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Ready asks until the server answers, or has ended, or too much time has passed.
func (p *Process) Ready(ctx context.Context, ask func(context.Context) error) error {
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			log, _ := os.ReadFile(filepath.Join(p.cmd.Dir, "log"))
			return fmt.Errorf("it ended: %w: %s", err, log)
		case <-ctx.Done():
			return errors.Join(err, p.Stop(syscall.SIGKILL))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the process, if it has not ended.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Stop ends the process by its id, and waits for it.
func (p *Process) Stop(with syscall.Signal) error {
	if err := p.Signal(with); err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	return nil
}

// SignalAll sends a signal to the process, and then to its children.
func (p *Process) SignalAll(sig syscall.Signal) error {
	err := p.Signal(sig)
	children, found := Children(p.cmd.Process.Pid)
	err = errors.Join(err, found)
	for _, pid := range children {
		err = errors.Join(err, ignoreGone(syscall.Kill(pid, sig)))
	}
	return err
}

// Kill ends the process and its children at once, and waits until none of them can do anything more.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil { // so that it starts no others, and frees no id
		return err
	}
	children, err := Children(p.cmd.Process.Pid)
	for _, pid := range children {
		err = errors.Join(err, ignoreGone(syscall.Kill(pid, syscall.SIGKILL)))
	}
	err = errors.Join(err, p.Stop(syscall.SIGKILL))
	for _, pid := range children {
		for Alive(pid) {
			time.Sleep(time.Millisecond)
		}
	}
	return err
}

// Children are the ids of the processes that a process has started and that have not ended.
func Children(parent int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var children []int
	for _, path := range stats {
		if state, of := stat(path); of == parent && state != "Z" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				return nil, err
			}
			children = append(children, pid)
		}
	}
	return children, nil
}

// Alive reports whether a process may still do something.
func Alive(pid int) bool {
	state, _ := stat(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return state != "" && state != "Z" && state != "X"
}

// stat reads the state and the parent of a process: "" if there is none.
func stat(path string) (state string, parent int) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // what comes before is its name
	f := strings.Fields(rest)
	if len(f) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(f[1])
	return f[0], parent
}

func ignoreGone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
