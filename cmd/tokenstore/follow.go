package main

import (
	"context"
	"log/slog"
	"time"

	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// listenAgain is how long to wait where the connection that listens has failed. The sweep polls meanwhile.
const listenAgain = time.Second

// follow has the sweep hear at once of what other processes revoke, until ctx ends. A pooler passes nothing on, and the portable mode
// tells nothing; then the sweep polls.
func (f *databaseFlags) follow(ctx context.Context, database store.Backend, heard func(tenant string, revocation ulid.ULID), logger *slog.Logger) {
	var listen func() error
	switch d := database.(type) {
	case *pgstore.Backend:
		if f.postgres.Pooled || f.postgres.Serializable {
			return
		}
		listen = func() error { return d.Listen(ctx, f.name(), heard) }
	case etcdDatabase:
		listen = func() error { return d.Watch(ctx, heard) }
	default:
		return
	}
	for {
		err := listen()
		if ctx.Err() != nil {
			return
		}
		logger.WarnContext(ctx, "not listening for revocations of other processes; polling", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenAgain):
		}
	}
}
