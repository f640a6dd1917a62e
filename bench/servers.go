package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// servers starts the peers that are programs of their own. Those that are absent are noted, and left out.
func (b *bench) servers(ctx context.Context) ([]*contender, error) {
	var started []*contender
	for _, s := range []struct {
		name  string
		start func(ctx context.Context, dir string, find finder) (*contender, error)
	}{
		{redisName, redisServer},
		{pgName, postgresServer},
	} {
		dir := filepath.Join(b.dir, strconv.Itoa(len(b.absent)+len(started)))
		err := os.Mkdir(dir, 0o700)
		if errors.Is(err, fs.ErrExist) { // of a section before
			dir, err = os.MkdirTemp(b.dir, "server-")
		}
		if err != nil {
			return nil, err
		}
		c, err := s.start(ctx, dir, b.find)
		if errors.Is(err, exec.ErrNotFound) && !b.requireAll {
			b.logf("!!! ABSENT: %s is not measured: %v", s.name, err)
			b.absent[s.name] = err
			continue
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", s.name, err), closeAll(started))
		}
		started = append(started, c)
	}
	return started, nil
}

// freePort is a port of loopback that the kernel chose.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// process is a server that was started here.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// start runs a program in a folder, as another user if one is given. Its output goes to a file there.
func start(dir string, as *syscall.Credential, name string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	// A Ctrl-C is ours to pass on; and whatever ends us ends it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true, Pdeathsig: syscall.SIGINT}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
	}()
	return p, nil
}

// ready asks until the server answers, or has ended, or too much time has passed.
func (p *process) ready(ctx context.Context, ask func(context.Context) error) error {
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
			return errors.Join(err, p.stop(syscall.SIGKILL))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the process by its id, and waits for it.
func (p *process) stop(with syscall.Signal) error {
	if err := p.cmd.Process.Signal(with); err != nil && !errors.Is(err, os.ErrProcessDone) {
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

// finder finds a program. It returns an [exec.ErrNotFound] if there is none.
type finder func(name string) (path string, err error)

// program finds a program on the path, or where Debian keeps those of PostgreSQL.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return "", err
	}
	return slices.Max(found), nil
}

// unprivileged is the user that PostgreSQL runs as, which refuses to be root's; nil for the present one. The folder becomes
// that user's.
func unprivileged(dir string) (*syscall.Credential, error) {
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
