package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/creack/pty"
)

// terminal is the program with somebody in front of it: what it asks and what is answered go over a terminal, what it prints does not.
type terminal struct {
	*process
	keys *os.File
}

func onTerminal(t testing.TB, args ...string) terminal {
	t.Helper()
	keys, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p := &process{TB: t, cmd: exec.CommandContext(ctx, binary, args...), stderr: newOutput(), ended: make(chan struct{})}
	p.cmd.Stdin, p.cmd.Stderr = tty, tty
	writer := p.pipe()
	shown := make(chan struct{})
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		cancel()
	})
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	tty.Close()
	go func() {
		_, _ = io.Copy(p.stderr, keys) // ends by an error once the other side is closed
		close(shown)
	}()
	go func() {
		_ = p.cmd.Wait()
		p.code = p.cmd.ProcessState.ExitCode()
		<-shown
		keys.Close()
		p.stderr.close()
		close(p.ended)
	}()
	return terminal{p, keys}
}

// answer types a line once the question has been asked.
func (p terminal) answer(question, line string) {
	p.Helper()
	if err := p.stderr.await(question); err != nil {
		p.Fatalf("%v: %q", err, p.stderr)
	}
	if _, err := p.keys.WriteString(line); err != nil {
		p.Fatal(err)
	}
}
