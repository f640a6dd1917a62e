// Command authserver is a complete small OpenID provider that keeps its refresh tokens in a tokenstore, on a bbolt file. It has
// a page where people see where they are signed in, and sign out.
//
//	authserver [-listen ADDRESS] [-issuer URL] [-operators ADDRESS] [-db FILE] [-keys FILE]
//
// It is for trials: its one account and its clients are in trial.go. The parts are in package provider.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/examples/authserver/provider"
)

type options struct{ listen, issuer, operators, db, keys string }

func main() {
	log.SetFlags(0)
	log.SetPrefix("authserver: ")
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8090", "serve people and applications at `ADDRESS`")
	flag.StringVar(&o.issuer, "issuer", "", "the `URL` that they reach it at (default: http and the address)")
	flag.StringVar(&o.operators, "operators", "127.0.0.1:8091", "serve the management API and /metrics at `ADDRESS`")
	flag.StringVar(&o.db, "db", "authserver.db", "keep the tokens in `FILE`")
	flag.StringVar(&o.keys, "keys", "authserver.key", "keep the keys in `FILE`")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	keys, err := provider.LoadKeys(o.keys)
	if err != nil {
		return err
	}
	backend, err := boltstore.Open(o.db, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.Close()) }()
	tokens, err := tokenstore.New(backend, &tokenstore.Options{
		// Replay of a stolen token ends all that was signed in to in that session.
		Replay: tokenstore.ReplaySession,
	})
	if err != nil {
		return err
	}

	public, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	defer public.Close()
	operators, err := net.Listen("tcp", o.operators)
	if err != nil {
		return err
	}
	defer operators.Close()
	if o.issuer == "" {
		o.issuer = "http://" + public.Addr().String()
	}
	config, err := trial(o.issuer)
	if err != nil {
		return err
	}
	config.Tokens, config.Keys = tokens, keys
	p, err := provider.New(config)
	if err != nil {
		return err
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 3)
	go func() { ended <- tokens.Run(ctx) }() // sweeps what has been revoked
	go func() { ended <- serve(ctx, public, p.Public()) }()
	go func() { ended <- serve(ctx, operators, p.Operators()) }()
	fmt.Fprintf(out, `your devices    %s/devices
account         %s, with the password %q
client          %s, public, with any port of %s
issuer          %[1]s
management API  http://%[6]s/docs, with the token %[7]s
metrics         http://%[6]s/metrics
`, o.issuer, trialUser, trialPassword, trialClient, trialRedirect, operators.Addr(), config.OperatorToken)
	for range cap(ended) {
		err = errors.Join(err, <-ended)
		stop() // if one ends, all do
	}
	return err
}

func serve(ctx context.Context, on net.Listener, handler http.Handler) error {
	s := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- s.Shutdown(last)
	}()
	if err := s.Serve(on); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped // by then what was being answered has been
}
