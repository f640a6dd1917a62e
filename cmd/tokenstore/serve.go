package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/management"
	"example.com/tokenstore/revocation"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// serveFlags are those of tokenstore serve.
type serveFlags struct {
	tenantFlags
	listen          string
	tlsCert, tlsKey string
	access          accessFlags
	maxPending      time.Duration
	pollEvery       time.Duration
	logFormat       string
	logLevel        slog.Level
	headerTimeout   time.Duration
	readTimeout     time.Duration
	writeTimeout    time.Duration
	idleTimeout     time.Duration
	drainTimeout    time.Duration
	maxHeader       int
	rate            management.RateLimit
	backups         scheduleFlags
	feedCopy        feedCopyFlags
}

func (f *serveFlags) register(flags *pflag.FlagSet) {
	f.tenantFlags.register(flags)
	f.backups.register(flags)
	f.feedCopy.register(flags)
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8080", "the `HOST:PORT` to listen on; port 0 is any free one")
	f.access.register(flags)
	flags.StringVar(&f.tlsCert, "tls-cert", "", "serve TLS with the certificate chain in `FILE`")
	flags.StringVar(&f.tlsKey, "tls-key", "", "the certificate's private key, in `FILE`")
	together(flags, "tls-cert", "tls-key")
	flags.DurationVar(&f.maxPending, "max-pending-age", 5*time.Minute, "/readyz is degraded while a revocation is pending for longer")
	flags.DurationVar(&f.pollEvery, "poll-every", 5*time.Second, "how often to look for revocations of other processes that were not heard of")
	flags.StringVar(&f.logFormat, "log-format", "json", "how to log to stderr: json or text")
	flags.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "the lowest `LEVEL` to log: debug, info, warn or error")
	flags.DurationVar(&f.headerTimeout, "header-timeout", 5*time.Second, "how long a client may take for the header of a request")
	flags.DurationVar(&f.readTimeout, "read-timeout", 15*time.Second, "how long a client may take for a whole request")
	flags.DurationVar(&f.writeTimeout, "write-timeout", 30*time.Second, "how long an answer may take")
	flags.DurationVar(&f.idleTimeout, "idle-timeout", 2*time.Minute, "how long a connection may wait for its next request")
	flags.DurationVar(&f.drainTimeout, "drain-timeout", 30*time.Second, "how long requests may go on after SIGTERM")
	flags.IntVar(&f.maxHeader, "max-header", 32<<10, "the largest header of a request, in `BYTES`")
	flags.Float64Var(&f.rate.PerSecond, "rate-limit", 0, "how many requests a second each caller of the management API may make, in the long run; 0 for any number")
	flags.IntVar(&f.rate.Burst, "rate-burst", 0, "how many of them it may make at once (default the rate, rounded up)")
	needs(flags, "rate-burst", "rate-limit")
}

func (f *serveFlags) check() error {
	if err := f.tenantFlags.check(); err != nil {
		return err
	}
	if err := f.backups.check(f.scheme()); err != nil {
		return err
	}
	if f.logFormat != "json" && f.logFormat != "text" {
		return usage("--log-format: json or text")
	}
	for _, limit := range []struct {
		flag string
		time time.Duration
	}{
		{"max-pending-age", f.maxPending}, {"poll-every", f.pollEvery}, {"header-timeout", f.headerTimeout}, {"read-timeout", f.readTimeout},
		{"write-timeout", f.writeTimeout}, {"idle-timeout", f.idleTimeout}, {"drain-timeout", f.drainTimeout},
	} {
		if limit.time <= 0 { // net/http takes 0 for no limit
			return usage("--%s must be positive", limit.flag)
		}
	}
	if f.maxHeader < 1<<10 || f.maxHeader > 1<<20 {
		return usage("--max-header must be 1024..1048576")
	}
	if f.rate.PerSecond < 0 || f.rate.Burst < 0 || f.rate.Burst > 0 && f.rate.PerSecond == 0 {
		return usage("--rate-limit and --rate-burst must be positive, and the second needs the first")
	}
	if err := f.rate.Validate(); err != nil {
		return usage("--rate-limit: %w", err)
	}
	return nil
}

func newServeCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve --db FILE|URL --static-token TOKEN=SCOPE,SCOPE",
		Short: "Serve the management API, and sweep what has been revoked",
		Long: "serve answers the management API at /api/v2/, with its description at /openapi.json and /docs, and with --oauth-client\n" +
			"RFC 7009 at /oauth/revoke and RFC 7662 at /oauth/introspect; and /healthz, /readyz and /metrics. The first line that it\n" +
			"prints is the address that it listens on. It ends on SIGTERM, when all requests have been answered.",
		Example: `  tokenstore serve --db tokens.db --static-token-file static-tokens.txt  # until it is interrupted
  tokenstore serve --db tokens.db --static-token a-token-for-trials=read:refresh_tokens,delete:refresh_tokens  # until it is interrupted`,
		Args: noArgs,
	}
	f.creates, f.writes = true, true
	f.register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return f.serve(cmd.Context(), func(address string) { fmt.Fprintln(cmd.OutOrStdout(), address) })
	}
	return cmd
}

// serve runs until ctx ends. It calls ready once requests are served.
func (f *serveFlags) serve(ctx context.Context, ready func(address string)) (err error) {
	logger := newLogger(f.logFormat, f.logLevel)
	access, err := f.access.read(ctx, f.tenant)
	if err != nil {
		return err
	}
	certificate, err := f.certificate()
	if err != nil {
		return err
	}
	measures := newMeasures()
	database, manager, err := f.manage(ctx, tokenstore.Options{
		Logger: logger, Engine: revocation.Options{Events: measures.events(), PollEvery: f.pollEvery},
	}, measures.watch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	feed, err := f.feedCopy.open(ctx, f.name(), manager)
	if err != nil {
		return err
	}
	listening, stopListening := context.WithCancel(context.WithoutCancel(ctx))
	var following sync.WaitGroup
	defer following.Wait()
	defer stopListening()
	following.Go(func() { f.follow(listening, database, manager.Heard, logger) })
	following.Go(func() { f.feedCopy.run(listening, feed, f.name(), manager, measures.feedCopies.Inc, logger) })
	following.Go(func() { f.backups.run(listening, database, measures.backups, logger) })
	measures.gauge(manager, database)
	handler, err := newHandler(f, access, manager, measures, logger)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: f.headerTimeout,
		ReadTimeout:       f.readTimeout,
		WriteTimeout:      f.writeTimeout,
		IdleTimeout:       f.idleTimeout,
		MaxHeaderBytes:    f.maxHeader,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		TLSConfig:         certificate,
	}
	return run(ctx, server, listener, manager, f.drainTimeout, logger, ready)
}

// run serves and sweeps until ctx ends or one of the two fails. Then it answers what is under way, ends the sweep, and
// returns: the database can be closed, and every answer that was given holds.
func run(ctx context.Context, server *http.Server, listener net.Listener, manager *tokenstore.Manager, drain time.Duration, logger *slog.Logger, listening func(string)) error {
	sweeping, stopSweep := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSweep()
	swept, served := make(chan error, 1), make(chan error, 1)
	secure := server.TLSConfig != nil // Serve sets it
	go func() { swept <- manager.Run(sweeping) }()
	go func() {
		if secure {
			served <- server.ServeTLS(listener, "", "")
		} else {
			served <- server.Serve(listener)
		}
	}()
	address := listener.Addr().String()
	logger.Info("listening", "address", address, "tls", secure)
	listening(address)

	var failed error
	select {
	case <-ctx.Done():
	case err := <-swept:
		failed = fmt.Errorf("the sweep ended: %w", err)
		swept <- nil
	case err := <-served:
		failed = fmt.Errorf("the server ended: %w", err)
	}
	logger.Info("stopping")
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := server.Shutdown(draining); err != nil {
		failed = errors.Join(failed, fmt.Errorf("some requests were not answered in time: %w", err), server.Close())
	}
	stopSweep()
	failed = errors.Join(failed, <-swept)
	logger.Info("stopped")
	return failed
}

// certificate is the TLS configuration, or nil to serve plain HTTP.
func (f *serveFlags) certificate() (*tls.Config, error) {
	if f.tlsCert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(f.tlsCert, f.tlsKey)
	if err != nil {
		return nil, usage("--tls-cert and --tls-key: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}
