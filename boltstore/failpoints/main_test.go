package failpoints_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/boltstore/internal/filetest"
	"example.com/tokenstore/internal/crashtest"
	"example.com/tokenstore/store"
	"go.etcd.io/gofail/runtime"
)

// childEnv names what a test binary that is run as a child process does instead of testing. Its arguments are a file, and of some a
// failpoint.
const childEnv = "FAILPOINTS_TEST_CHILD"

var children = map[string]func(args []string) error{
	"work": func(args []string) error {
		b, err := boltstore.Open(args[0], nil)
		if err != nil {
			return err
		}
		return crashtest.Work(context.Background(), b, crashtest.NewJob(8), os.Stdout)
	},
	"play": func(args []string) error { return play(args[0]) },
	"fail": func(args []string) error {
		report, err := fail(args[0], args[1], args[2])
		return errors.Join(err, json.NewEncoder(os.Stdout).Encode(report))
	},
}

func TestMain(m *testing.M) {
	name := os.Getenv(childEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := children[name](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child is the program as a process, with failpoints set: "name=terms", as gofail reads them. It is killed when ctx ends.
func (p program) child(ctx context.Context, name string, set []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name, "GOFAIL_FAILPOINTS="+strings.Join(set, ";"),
		"GORACE=atexit_sleep_ms=0") // or each end would take the race detector a second
	return cmd
}

// play plays the history, and says of each step that it is done.
func play(path string) error {
	h := &filetest.Host{Path: path}
	for _, s := range filetest.History() {
		if err := s.Run(context.Background(), h); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		if _, err := fmt.Println(s.Name); err != nil {
			return err
		}
	}
	return nil
}

// report is how a history went of which a call met a failure.
type report struct {
	Hits    int    // how often the failpoint was passed, until it was mended
	Failed  string // the step that failed, if any
	Err     string // what it said
	Unknown bool   // it left open whether it was done
	At      int    // how many steps had been done
	Left    string // what the store held then, if it could be read
	Reopen  bool   // it took another Open to go on
	Restart bool   // it takes another process to go on
	Done    int    // how many steps were
	Dump    string // at the end
}

// fail plays the history with a failpoint that is set, by its terms. The step that fails is repeated when the failpoint is off
// again; where the mapping of the file is lost, after another Open. A mapping that stays holds the lock, until the process ends.
func fail(path, name, terms string) (r report, err error) {
	ctx := context.Background()
	h := &filetest.Host{Path: path}
	panics := strings.HasSuffix(terms, "panic") // as at a page that is damaged, or can't be read
	if err := runtime.Enable(name, terms); err != nil {
		return r, err
	}
	for _, s := range filetest.History() {
		err := s.Run(ctx, h)
		if err == nil {
			r.Done++
			continue
		}
		if r.Failed != "" {
			return r, fmt.Errorf("%s: must succeed after the failure: got %w", s.Name, err)
		}
		r.Restart = name == "unmapError" && errors.Is(err, boltstore.ErrLocked)
		want := s.Errs
		if panics {
			want = append(want, boltstore.ErrCorrupt)
		}
		if !r.Restart && !slices.ContainsFunc(want, func(want error) bool { return errors.Is(err, want) }) {
			return r, fmt.Errorf("%s: must be one of %v: got %w", s.Name, want, err)
		}
		r.Failed, r.Err, r.At, r.Unknown = s.Name, err.Error(), r.Done, errors.Is(err, store.ErrUnknownOutcome)
		if err := readable(ctx, h, s, err); err != nil {
			return r, err
		}
		if r.Hits, err = off(name); err != nil || r.Restart {
			return r, err
		}
		if r.Left, err = contents(ctx, h, s); err != nil {
			return r, err
		}
		if r.Reopen, err = again(ctx, h, s); err != nil {
			return r, err
		}
		r.Done++
	}
	if panics {
		_ = h.Backend.Close()
		if err := filetest.Open(ctx, h); err != nil {
			return r, fmt.Errorf("the file must open after a panic: got %w", err)
		}
	}
	if r.Failed == "" {
		if r.Hits, err = off(name); err != nil {
			return r, err
		}
	}
	r.Dump, err = h.Dump(ctx)
	return r, errors.Join(err, h.Backend.Close())
}

// readable expects reads to go on after a step that failed, unless what it wrote may not be on the disk, or nothing can be read.
func readable(ctx context.Context, h *filetest.Host, s filetest.Step, failed error) error {
	if s.Name == "create" || s.Name == "open" {
		return nil
	}
	_, err := h.Store.State(ctx)
	if err == nil || errors.Is(failed, store.ErrUnknownOutcome) && errors.Is(err, boltstore.ErrUnusable) {
		return nil
	}
	return fmt.Errorf("%s: reads must go on after %w: got %w", s.Name, failed, err)
}

// contents is what the store holds after a step that failed; nothing if it can't be read.
func contents(ctx context.Context, h *filetest.Host, s filetest.Step) (string, error) {
	if s.Name == "create" || s.Name == "open" {
		return "", nil
	}
	text, err := h.Contents(ctx)
	if errors.Is(err, boltstore.ErrUnusable) {
		return "", nil
	}
	return text, err
}

// off ends a failpoint, and returns how often it was passed.
func off(name string) (hits int, err error) {
	_, hits, err = runtime.Status(name)
	return hits, errors.Join(err, runtime.Disable(name))
}

// again repeats a step that has failed. Where bbolt could not map the file anew, every call says that the file can't be used, and
// Open has to come first.
func again(ctx context.Context, h *filetest.Host, s filetest.Step) (reopen bool, err error) {
	if err = s.Run(ctx, h); err == nil {
		return false, nil
	}
	_, read := h.Store.State(ctx)
	if !errors.Is(err, store.ErrNotCommitted) || !errors.Is(err, boltstore.ErrUnusable) || !errors.Is(read, boltstore.ErrUnusable) {
		return true, fmt.Errorf("%s: a file that can't be used must be ErrUnusable: got %w, and %w of a read", s.Name, err, read)
	}
	_ = h.Backend.Close()
	if err = filetest.Open(ctx, h); err == nil {
		err = s.Run(ctx, h)
	}
	if err != nil {
		err = fmt.Errorf("%s: must succeed when the file has been opened again: got %w", s.Name, err)
	}
	return true, err
}
