package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// finder finds a program. It returns an [exec.ErrNotFound] if there is none.
type finder func(name string) (path string, err error)
