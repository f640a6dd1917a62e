package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"github.com/oklog/ulid/v2"
)

const getAtScale = "get of many"

// scale compares a file with one of a tenth of its tokens.
func (b *bench) scale(ctx context.Context) error {
	if b.huge == 0 {
		return nil
	}
	sizes := []int{b.huge / 10, b.huge}
	path := func(n int) string { return filepath.Join(b.dir, fmt.Sprintf("scale-%d.db", n)) }
	var opened []*contender
	defer func() { _ = closeAll(opened) }()
	for _, n := range sizes {
		c, err := b.grown(ctx, path(n), n)
		if err != nil {
			return err
		}
		opened = append(opened, c)
	}
	random := rand.New(rand.NewPCG(1, 1))
	asked := make([][]ulid.ULID, len(sizes))
	for i, n := range sizes {
		p := newPopulation(9, n)
		p.sequential = true
		for range 2 * b.rounds * b.most { // no call asks for what the one before it asked for, nor for what warmed up
			asked[i] = append(asked[i], p.row(random.IntN(n)).id)
		}
	}
	for k, measure := range []string{"warm up", getAtScale} {
		err := b.hold(ctx, opened, contest{measure: measure, callers: 1, clocked: true, operation: func(c *contender, _ int) operation {
			ids := asked[0]
			if c == opened[1] {
				ids = asked[1]
			}
			ids = ids[k*len(ids)/2:]
			return func(ctx context.Context, i int) (int, error) { return 1, c.getID(ctx, ids[i]) }
		}})
		if err != nil {
			return err
		}
	}
	if err := closeAll(opened); err != nil {
		return err
	}
	for _, n := range sizes {
		if err := b.processMemory(ctx, path(n), n); err != nil {
			return err
		}
	}
	return nil
}

// grown makes a file of many tokens, and measures how long it takes to open after a clean close and after a crash.
func (b *bench) grown(ctx context.Context, path string, n int) (*contender, error) {
	backend := openBolt(path)
	c := newOurs(backend, tokenstore.NoOutbox).contender("", "")
	p := newPopulation(9, n)
	p.sequential = true
	began := time.Now()
	const batch = 10_000
	for at := 0; at < n; at += batch {
		if err := c.fill(ctx, p.rows(at, min(at+batch, n))); err != nil {
			return nil, errors.Join(err, backend.Close())
		}
	}
	b.logf("%d tokens in %s, %d MB", n, time.Since(began).Round(time.Millisecond), used(path)>>20)
	if err := backend.Close(); err != nil {
		return nil, err
	}
	open := func(after string, before func() error) error {
		var took, held []float64
		for range 3 {
			if err := before(); err != nil {
				return err
			}
			low := heap()
			began := time.Now()
			backend, err := boltstore.Open(path, nil)
			if err != nil {
				return err
			}
			took = append(took, float64(time.Since(began)))
			held = append(held, heap()-low)
			if err := backend.Close(); err != nil {
				return err
			}
		}
		b.facts.add(fmt.Sprint("open ", after, " ", n), took...)
		b.facts.add(fmt.Sprint("heap ", after, " ", n), held...)
		b.logf("open of %d after %s: %s s, %s bytes of heap", n, after, scaled(b.facts[fmt.Sprint("open ", after, " ", n)], 1e-9), b.facts[fmt.Sprint("heap ", after, " ", n)])
		return nil
	}
	if err := open("a close", func() error { return nil }); err != nil {
		return nil, err
	}
	if err := open("a crash", func() error { return crash(ctx, path) }); err != nil {
		return nil, err
	}
	return newOurs(openBolt(path), tokenstore.NoOutbox).contender(scaleName(n), ""), nil
}

// crash has a process open the file, write to it, and end without having closed it.
func crash(ctx context.Context, path string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), childEnv+"="+killedChild, fileEnv+"="+path)
	out, err := cmd.CombinedOutput()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("it was to be killed: %w: %s", err, out)
	}
	return nil
}

// killed is what the process does that crashes.
func killed(ctx context.Context, path string) error {
	o := newOurs(openBolt(path), tokenstore.NoOutbox)
	r := newPopulation(10, 1).row(0)
	if err := o.issue(ctx, &r); err != nil {
		return err
	}
	return syscall.Kill(os.Getpid(), syscall.SIGKILL)
}
