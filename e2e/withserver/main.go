// Command withserver runs a command while real servers, seeded and with TLS, stand ready for it:
//
//	GOWORK=off go run ./withserver COMMAND [ARGUMENT ...]
//
// The command finds them by its environment: E2E_MAIN, E2E_US3 and E2E_LIMITED are addresses, each with _SEEDS a file of the
// tokens that the server has; E2E_ADMIN, E2E_READER and E2E_NOBODY are bearer tokens. NODE_EXTRA_CA_CERTS has the servers'
// certificate, so that a Node program needs no option to trust it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"example.com/tokenstore/e2e/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "withserver:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command []string) (failed error) {
	if len(command) == 0 {
		return errors.New("no command")
	}
	dir, err := os.MkdirTemp("", "tokenstore")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, err := server.Build(ctx, dir)
	if err != nil {
		return err
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := server.WriteCertificate(cert, key); err != nil {
		return err
	}
	env := append(os.Environ(), "NODE_EXTRA_CA_CERTS="+cert,
		"E2E_ADMIN="+server.Admin, "E2E_READER="+server.Reader, "E2E_NOBODY="+server.Nobody)
	for _, one := range []struct {
		name string
		opts server.Options
	}{
		{"E2E_MAIN", server.Options{}},
		{"E2E_US3", server.Options{Region: server.US3}},
		{"E2E_LIMITED", server.Options{Args: server.Limited()}},
	} {
		own := filepath.Join(dir, one.name)
		if err := os.Mkdir(own, 0o700); err != nil {
			return err
		}
		one.opts.CertFile, one.opts.KeyFile = cert, key
		s, err := server.Start(context.WithoutCancel(ctx), program, own, one.opts)
		if err != nil {
			return err
		}
		defer func() { failed = errors.Join(failed, s.Stop()) }()
		env = append(env, one.name+"="+s.Addr, one.name+"_SEEDS="+s.Seeds)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = env
	return cmd.Run()
}
