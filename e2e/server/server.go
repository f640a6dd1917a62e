// Package server runs the real server, tokenstore serve, as a process of its own for the end-to-end tests.
package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The bearer tokens that every server knows. Nobody is one that none does.
const (
	Admin  = "admin-token-of-the-end-to-end-tests"  // Admin has every scope.
	Reader = "reader-token-of-the-end-to-end-tests" // Reader may read refresh tokens, and nothing else.
	Nobody = "nobody-token-of-the-end-to-end-tests"
)

const (
	readerScopes = "read:refresh_tokens"
	adminScopes  = readerScopes + ",update:refresh_tokens,delete:refresh_tokens,delete:sessions," +
		"read:device_credentials,delete:device_credentials"
)

// Options of a server.
type Options struct {
	Region            Region // Region says which seeds it starts with, and which tokens are legacy.
	CertFile, KeyFile string // CertFile and KeyFile serve TLS, unless they are empty; [WriteCertificate] makes them.
	// Args are more arguments of tokenstore serve.
	Args []string
}

// Limited returns the arguments of a server of which a caller may make five requests at once, and then one in two seconds.
func Limited() []string { return []string{"--rate-limit", "0.5", "--rate-burst", "5"} }

// Server is a running server that has imported the seeds of its region.
type Server struct {
	Addr  string // Addr is HOST:PORT.
	Seeds string // Seeds is the file that was imported, one token a line.

	cmd    *exec.Cmd
	log    *bytes.Buffer
	copied chan struct{} // copied is closed when all of stdout has been read.
}

// Build builds the program into a folder, from the tree that this module stands in, and returns its path. It has the race
// detector if this program has it.
func Build(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("server: go env: %w", err)
	}
	root := filepath.Dir(filepath.Dir(strings.TrimSpace(string(out))))
	program := filepath.Join(dir, "tokenstore")
	args := []string{"build", "-o", program}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = filepath.Join(root, "cmd", "tokenstore")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("server: go build: %w\n%s", err, out)
	}
	return program, nil
}

// patience bounds how long a server may take to start or to stop. It is there for a server that hangs.
const patience = time.Minute

// Start imports the seeds into a new database in dir and serves it, until Stop or the end of ctx.
func Start(ctx context.Context, program, dir string, opts Options) (*Server, error) {
	db := filepath.Join(dir, "tokens.db")
	s := &Server{Seeds: filepath.Join(dir, "seeds.ndjson"), log: &bytes.Buffer{}, copied: make(chan struct{})}
	if err := writeNDJSON(s.Seeds, Seeds(opts.Region)); err != nil {
		return nil, err
	}
	tenant := []string{"--db", db, "--tenant", "acme"}
	args := append([]string{"import", s.Seeds}, tenant...)
	if opts.Region != "" {
		args = append(args, "--region", string(opts.Region))
	}
	imported := exec.CommandContext(ctx, program, args...)
	if out, err := imported.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("server: import: %w\n%s", err, out)
	}
	args = append([]string{
		"serve", "--listen", "127.0.0.1:0",
		"--static-token", Admin + "=" + adminScopes, "--static-token", Reader + "=" + readerScopes,
	}, tenant...)
	if opts.CertFile != "" {
		args = append(args, "--tls-cert", opts.CertFile, "--tls-key", opts.KeyFile)
	}
	s.cmd = exec.CommandContext(ctx, program, append(args, opts.Args...)...)
	s.cmd.Stderr = s.log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	first := make(chan string, 1)
	go func() {
		defer close(s.copied)
		lines := bufio.NewReader(stdout)
		line, _ := lines.ReadString('\n')
		first <- strings.TrimSuffix(line, "\n")
		_, _ = io.Copy(io.Discard, lines)
	}()
	select {
	case s.Addr = <-first:
	case <-time.After(patience):
	}
	if s.Addr == "" {
		return nil, errors.Join(errors.New("server: no address on its standard output"), s.Stop())
	}
	return s, nil
}

// Stop asks the server to end, and returns an error if it does not do so in good order, or has logged a secret. It must be
// called once.
func (s *Server) Stop() error {
	kill := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.copied
	if err = errors.Join(err, s.cmd.Wait()); err != nil {
		return fmt.Errorf("server: %w\n%s", err, s.log)
	}
	for _, secret := range []string{Admin, Reader, Nobody} {
		if strings.Contains(s.log.String(), secret) {
			return errors.New("server: its log has a bearer token")
		}
	}
	return nil
}
