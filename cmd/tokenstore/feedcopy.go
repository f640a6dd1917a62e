package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"example.com/tokenstore"
	"github.com/spf13/pflag"
)

// feedCopyFlags have the feed copied to a file while it is served, since nobody else can read that of a file which the server holds.
type feedCopyFlags struct{ path string }

func (f *feedCopyFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.path, "feed-copy", "", "append the feed to `FILE`, as tokenstore restore needs it; keep it on another disk than the database")
}

// maxTail is how much of the end of a copy is looked at for its last line, which is never as long.
const maxTail = 4 << 20

// retryCopy is how long after a failure the copy goes on.
const retryCopy = 5 * time.Second

// feedCopy is the open file.
type feedCopy struct {
	*os.File
	last uint64 // the number of the last event in it
}

// open opens the copy, or makes one. A line that a crash has left incomplete is cut off: its event is written again.
func (f *feedCopyFlags) open() (c *feedCopy, err error) {
	if f.path == "" {
		return nil, nil
	}
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--feed-copy: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("--feed-copy: %s: %w", f.path, err), file.Close())
		}
	}()
	if err := settleName(f.path); err != nil {
		return nil, err
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	from := max(0, size-maxTail)
	tail, err := io.ReadAll(io.NewSectionReader(file, from, size-from))
	if err != nil {
		return nil, err
	}
	whole := bytes.LastIndexByte(tail, '\n') + 1
	if whole == 0 && from > 0 {
		return nil, errors.New("its end is no line of a feed")
	}
	c = &feedCopy{File: file}
	lines := bytes.Split(bytes.TrimRight(tail[:whole], "\n"), []byte("\n"))
	for event, err := range tokenstore.ReadEvents(bytes.NewReader(lines[len(lines)-1])) {
		if err != nil {
			return nil, fmt.Errorf("its last line is no event: %w", err)
		}
		c.last = event.Number
	}
	end := from + int64(whole)
	if err := file.Truncate(end); err != nil {
		return nil, err
	}
	_, err = file.Seek(end, io.SeekStart)
	return c, err
}

// settleName brings the name of a new file to the disk.
func settleName(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// run appends what comes until ctx ends. What fails is logged, counted, and tried again from the last whole line on.
func (f *feedCopyFlags) run(ctx context.Context, c *feedCopy, manager *tokenstore.Manager, failed func(), logger *slog.Logger) {
	if f.path == "" {
		return
	}
	for {
		var err error
		if c == nil {
			c, err = f.open()
		}
		if err == nil {
			err = errors.Join(c.follow(ctx, manager), c.Close())
			c = nil
		}
		if ctx.Err() != nil {
			return
		}
		failed()
		logger.ErrorContext(ctx, "the feed was not copied", "file", f.path, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryCopy):
		}
	}
}

// follow appends events, each of which is on the disk before the next.
func (c *feedCopy) follow(ctx context.Context, manager *tokenstore.Manager) error {
	for event, err := range manager.Follow(ctx, c.last) {
		if err != nil {
			return err
		}
		one := func(yield func(tokenstore.Event, error) bool) { yield(event, nil) }
		if err := errors.Join(tokenstore.WriteEvents(c, one), c.Sync()); err != nil {
			return err
		}
		c.last = event.Number
	}
	return ctx.Err()
}
