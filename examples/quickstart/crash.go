package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"github.com/oklog/ulid/v2"
)

// firstEnv tells a process that it is the first one. Its file 3 is the pipe on which it hands over.
const firstEnv = "QUICKSTART_FIRST"

func isFirst() bool { return os.Getenv(firstEnv) != "" }

// handover is what the second process must know of the first: its own list of what must be there, and the clients with
// their secrets. It goes through a pipe, and never to a disk.
type handover struct {
	Acme, US3      *tenant
	Kiosks, Others []client
	Receipt        tokenstore.Receipt
	Total          int // how many tokens were revoked
}

// runAndKill runs the first process, and kills it when it has come to the middle of the sweep.
func runAndKill(ctx context.Context, path string, n int, out io.Writer) (*handover, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	cmd := exec.CommandContext(ctx, self, "-db", path, "-n", strconv.Itoa(n))
	cmd.Env = append(os.Environ(), firstEnv+"=1")
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out, os.Stderr, []*os.File{write}
	if _, err := cmd.StdinPipe(); err != nil { // open until the end, for the first process to wait on
		return nil, errors.Join(err, write.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	if err := write.Close(); err != nil {
		return nil, err
	}
	var h handover
	handed := json.NewDecoder(read).Decode(&h)
	killed := cmd.Process.Kill() // SIGKILL: nothing of it runs any more, no defer and no Close
	ended := cmd.Wait()
	if handed != nil {
		return nil, fmt.Errorf("the first process did not come to the middle of the sweep: %w", errors.Join(handed, ended))
	}
	return &h, killed
}

// firstProcess is the process that is killed.
func firstProcess(path string, n int) error {
	backend, err := boltstore.Open(path, nil)
	if err != nil {
		return err
	}
	defer backend.Close()
	pipe := os.NewFile(3, "handover")
	return first(context.Background(), backend, n, os.Stdout, func(h *handover) error {
		if err := json.NewEncoder(pipe).Encode(h); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, os.Stdin) // it is for the other process to end this one
		return err
	})
}

// The JSON of a tenant is its lists, that of a client its secret in the clear: for the pipe alone.

func (t *tenant) MarshalJSON() ([]byte, error) { return json.Marshal(lists{t.live, t.revoked}) }

func (t *tenant) UnmarshalJSON(data []byte) error {
	var l lists
	err := json.Unmarshal(data, &l)
	t.live, t.revoked = l.Live, l.Revoked
	return err
}

type lists struct {
	Live    map[ulid.ULID]string
	Revoked map[ulid.ULID]bool
}

func (c client) MarshalJSON() ([]byte, error) { return json.Marshal([]string{c.id, c.secret.Reveal()}) }

func (c *client) UnmarshalJSON(data []byte) error {
	var both [2]string
	err := json.Unmarshal(data, &both)
	c.id, c.secret = both[0], tokenstore.NewSecret(both[1])
	return err
}
