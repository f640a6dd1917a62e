package powercut_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/boltstore/powercut"
	"example.com/tokenstore/internal/crashtest"
)

// childEnv names what a test binary that is run as a child process does instead of testing.
const childEnv = "POWERCUT_TEST_CHILD"

var children = map[string]func(args []string) error{
	"disk": func(args []string) error { return powercut.Serve(args[0], stdio{os.Stdin, os.Stdout}) },
	"work": func(args []string) error {
		b, err := boltstore.Open(args[0], nil)
		if err != nil {
			return err
		}
		return crashtest.Work(context.Background(), b, crashtest.NewJob(8), os.Stdout)
	},
	"remake": remakeChild,
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

// child is this test binary as a process of its own. It is killed when ctx ends.
func child(ctx context.Context, t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	return cmd
}

// stdio is a connection over two pipes.
type stdio struct {
	io.ReadCloser
	io.WriteCloser
}

func (s stdio) Close() error { return errors.Join(s.WriteCloser.Close(), s.ReadCloser.Close()) }

// mount shows a disk at a folder until the test ends.
func mount(t *testing.T) (folder string, disk *powercut.Remote) {
	t.Helper()
	folder = t.TempDir()
	cmd := child(context.Background(), t, "disk", folder)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	disk, err = powercut.NewRemote(stdio{out, in})
	if err != nil {
		_ = in.Close()
		_ = cmd.Wait()
		if os.Getenv("CI") != "" {
			t.Fatalf("a disk can't be mounted, and CI must not go without this test: %v", err)
		}
		t.Skip("NOT RUN: no disk can be mounted here whose power can be cut; it takes Linux, /dev/fuse and root")
	}
	t.Cleanup(func() {
		if err := errors.Join(disk.Close(), cmd.Wait()); err != nil {
			t.Errorf("the disk must be unmounted: got %v", err)
		}
	})
	return folder, disk
}
