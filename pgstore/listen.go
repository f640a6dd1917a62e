package pgstore

import (
	"context"
	"strings"

	"example.com/tokenstore/domain"
	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// tell has the processes that listen hear of a revocation, once it is committed: in a transaction of its own, because those that
// notify commit one after the other, for all databases of a server. Its channel is the name of the schema.
func (t *tx) tell(id ulid.ULID) {
	if !t.backend.opts.Serializable { // other servers may have no channels
		t.news = append(t.news, step{sql: t.q.notify, args: []any{t.backend.opts.Schema, id.String() + " " + t.name}})
	}
}

// Listen calls heard for each revocation that any process records, until ctx ends, or returns the error of its connection before
// that: call it again then. The address must be that of the server itself, not of a pooler. What is recorded while nobody listens is not
// heard of, so that the engine's polls are still needed. The portable mode tells nothing.
//
//	b.Listen(ctx, address, manager.Heard)
func (b *Backend) Listen(ctx context.Context, address string, heard func(tenant string, revocation ulid.ULID)) error {
	config, err := parse(address)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return plain(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{b.opts.Schema}.Sanitize()); err != nil {
		return err
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		text, tenant, _ := strings.Cut(n.Payload, " ")
		if id, ok := domain.ParseID(text); ok && domain.CheckTenant(tenant) == nil {
			heard(tenant, id)
		}
	}
}
