package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

// resident is how much memory a process has: of its own, and of files that it has mapped, which the kernel takes back as it likes.
type resident struct{ anonymous, file float64 }

// ownMemory is what this process has. It is an error where the kernel does not tell.
func ownMemory() (m resident, err error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return m, err
	}
	for name, to := range map[string]*float64{"RssAnon:": &m.anonymous, "RssFile:": &m.file} {
		_, after, ok := strings.Cut(string(text), "\n"+name)
		line, _, _ := strings.Cut(after, "\n")
		kilobytes, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(line, "kB")), 64)
		if !ok || err != nil {
			return m, fmt.Errorf("the kernel does not tell %s", name)
		}
		*to = kilobytes * 1024
	}
	return m, nil
}

// processMemory measures how much memory a process has that does a little of everything with a file of many tokens, after a clean close
// and after a crash.
func (b *bench) processMemory(ctx context.Context, path string, n int) error {
	if _, err := ownMemory(); err != nil {
		b.logf("memory of a process is left out: %v", err)
		return nil
	}
	return errors.Join(
		b.processMemoryAfter(ctx, "a close", func() error { return nil }, path, n),
		b.processMemoryAfter(ctx, "a crash", func() error { return crash(ctx, path) }, path, n),
	)
}

func (b *bench) processMemoryAfter(ctx context.Context, after string, prepare func() error, path string, n int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var ids []byte // as the process can't make them again: when the first was made is another time there
	p := newPopulation(9, n)
	for i := range min(processGets, n) {
		r := p.row(i * stride % n)
		ids = append(ids, r.id[:]...)
	}
	began := time.Now()
	facts := map[string][]float64{}
	for range 3 {
		if err := prepare(); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), childEnv+"="+memoryChild, fileEnv+"="+path)
		cmd.Stdin = bytes.NewReader(ids)
		out, err := cmd.Output()
		if err != nil {
			var failed *exec.ExitError
			if errors.As(err, &failed) {
				err = fmt.Errorf("%w: %s", err, failed.Stderr)
			}
			return err
		}
		var before, anonymous, file, left float64
		if _, err := fmt.Sscan(string(out), &before, &anonymous, &file, &left); err != nil {
			return fmt.Errorf("what it has is not told by %q: %w", out, err)
		}
		facts["before"] = append(facts["before"], before)
		facts["anonymous"] = append(facts["anonymous"], anonymous)
		facts["file"] = append(facts["file"], file)
		facts["left"] = append(facts["left"], left)
	}
	b.logf("processes with %d tokens after %s took %s", n, after, time.Since(began).Round(time.Millisecond))
	for what, figures := range facts {
		name := fmt.Sprint("process ", what, " ", after, " ", n)
		b.facts.add(name, figures...)
		b.logf("%s: %s bytes", name, b.facts[name])
	}
	return nil
}

// What such a process does. Tokens that it issues are gone when it ends.
const (
	processGets   = 20_000
	processPages  = 50
	processIssues = 5000
)

// remembered is what the process does whose memory is measured. It says what it had before it opened the file, and the most that it
// had after any step, of its own and of the file, and what is left of its own when the runtime has given back what nothing holds.
func remembered(ctx context.Context, path string, ids io.Reader, told io.Writer) (err error) {
	before, err := ownMemory()
	if err != nil {
		return err
	}
	o := newOurs(openBolt(path), tokenstore.NoOutbox)
	defer func() { err = errors.Join(err, o.backend.Close()) }()
	rows := newPopulation(11, 1).rows(0, processIssues)
	var most resident
	for _, step := range []func() error{
		func() error { return nil },
		func() error {
			for {
				var id ulid.ULID
				switch _, err := io.ReadFull(ids, id[:]); {
				case errors.Is(err, io.EOF):
					return nil
				case err != nil:
					return err
				}
				if err := o.getID(ctx, id); err != nil {
					return err
				}
			}
		},
		func() error { return o.pages(ctx, processPages) },
		func() error {
			issue := func(ctx context.Context, i int) (int, error) { return 1, o.issue(ctx, &rows[i]) }
			_, err := task{op: issue, callers: 16, most: len(rows), last: time.Hour}.run(ctx)
			return err
		},
		func() error { return o.sweepAtOnce(ctx, rows[0].user) },
	} {
		if err := step(); err != nil {
			return err
		}
		m, err := ownMemory()
		if err != nil {
			return err
		}
		most.anonymous, most.file = max(most.anonymous, m.anonymous), max(most.file, m.file)
	}
	debug.FreeOSMemory()
	left, err := ownMemory()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(told, before.anonymous, most.anonymous, most.file-before.file, left.anonymous)
	return err
}

// pages lists so many pages of all tokens.
func (o *ours) pages(ctx context.Context, n int) error {
	request := tokenstore.ListRequest{Limit: 100}
	for range n {
		page, err := o.manager.List(ctx, request)
		if err != nil || page.Next.IsZero() {
			return err
		}
		request.After = page.Next
	}
	return nil
}
