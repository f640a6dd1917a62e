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
	last tokenstore.Event // the last one when it was opened; of a new copy, at most the number to begin after
}

// open opens the copy, or makes one, and keeps other processes from writing to it until it is closed. A line that a crash has left incomplete is cut off: its event is written again. A file that is no
// copy of this feed is left alone.
func (f *feedCopyFlags) open(ctx context.Context, database string, manager *tokenstore.Manager) (c *feedCopy, err error) {
	if f.path == "" {
		return nil, nil
	}
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--feed-copy: %w", fileError(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("--feed-copy: %s: %w", f.path, err), file.Close())
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if of, err := os.Stat(database); err == nil && os.SameFile(info, of) {
		return nil, errors.New("it is the database")
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	if err := lockCopy(file); err != nil {
		return nil, err
	}
	c = &feedCopy{File: file}
	end, err := c.find(info.Size())
	if err != nil {
		return nil, err
	}
	if err := c.goOn(ctx, manager); err != nil {
		return nil, err
	}
	// What a failed sync has left undone is brought to the disk, and the name of a new file.
	if err := errors.Join(file.Truncate(end), file.Sync(), settleName(f.path)); err != nil {
		return nil, err
	}
	_, err = file.Seek(end, io.SeekStart)
	return c, err
}

// find looks for the last whole line, and returns where it ends.
func (c *feedCopy) find(size int64) (end int64, err error) {
	from := max(0, size-maxTail)
	tail, err := io.ReadAll(io.NewSectionReader(c, from, size-from))
	if err != nil {
		return 0, err
	}
	whole := bytes.LastIndexByte(tail, '\n') + 1
	if whole == 0 && (from > 0 || !bytes.HasPrefix(tail, []byte(beginOfLine)[:min(len(tail), len(beginOfLine))])) {
		return 0, errors.New("it is no copy of a feed")
	}
	lines := bytes.Split(bytes.TrimRight(tail[:whole], "\n"), []byte("\n"))
	for event, err := range tokenstore.ReadEvents(bytes.NewReader(lines[len(lines)-1])) {
		if err != nil {
			return 0, fmt.Errorf("its last line is no event: %w", err)
		}
		c.last = event
	}
	return from + int64(whole), nil
}

// beginOfLine is what each line begins with.
const beginOfLine = `{"number":"`

// goOn checks that the feed goes on after the last line, if there is one, and is the feed of that line. A new copy begins with what there
// is.
func (c *feedCopy) goOn(ctx context.Context, manager *tokenstore.Manager) error {
	gone := &tokenstore.CursorGoneError{}
	_, err := manager.Feed(ctx, tokenstore.FeedRequest{After: c.last.Number, Limit: 1})
	switch {
	case errors.As(err, &gone) && c.last.Number == 0:
		c.last.Number = gone.Resume
		return nil
	case errors.As(err, &gone), errors.Is(err, tokenstore.ErrInvalid):
		return fmt.Errorf("the feed does not go on from its last line, so a new file is needed, and a new backup: %w", err)
	case err != nil:
		return err
	case c.last.Number == 0:
		return nil
	}
	page, err := manager.Feed(ctx, tokenstore.FeedRequest{After: c.last.Number - 1, Limit: 1})
	switch {
	case errors.As(err, &gone): // the event was dropped, as the latest of those that were
		return nil
	case err != nil:
		return err
	case len(page.Events) == 0 || page.Events[0].Number != c.last.Number || !page.Events[0].Time.Equal(c.last.Time) || page.Events[0].Revocation != c.last.Revocation:
		return errors.New("its last line is of another feed")
	}
	return nil
}

// errTaken is for a copy that another process writes to: the lines of two would mix.
var errTaken = errors.New("another process copies a feed to it: each needs a file of its own")

// settleName brings the name of a new file to the disk.
func settleName(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		return fmt.Errorf("the file is there, but a loss of power may take away its name, since the folder could not be synced: %w", fileError(err))
	}
	return nil
}

// run appends what comes until ctx ends. What fails is logged, counted, and tried again from the last whole line on.
func (f *feedCopyFlags) run(ctx context.Context, c *feedCopy, database string, manager *tokenstore.Manager, failed func(), logger *slog.Logger) {
	if f.path == "" {
		return
	}
	for {
		var err error
		if c == nil {
			c, err = f.open(ctx, database, manager)
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
	return tokenstore.WriteEvents(c, manager.Follow(ctx, c.last.Number))
}

// Write writes a line, and brings it to the disk.
func (c *feedCopy) Write(line []byte) (n int, err error) {
	if n, err = c.File.Write(line); err == nil {
		err = c.Sync()
	}
	return n, err
}
