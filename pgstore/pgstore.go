package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options of a backend. The zero value, and nil, take every default.
type Options struct {
	// Schema is where the tables are. Defaults to [DefaultSchema].
	Schema string
	// Serializable takes the portable mode, which needs nothing but transactions that are SERIALIZABLE. All processes that share a
	// database must take the same mode, and Open refuses the other one. Defaults to the mode of PostgreSQL's advisory locks.
	Serializable bool
	// Pooled says that the server is reached through a pooler in transaction mode, such as pgbouncer: no statement is prepared for
	// longer than a transaction. Defaults to false: statements are prepared once for each connection.
	Pooled bool
	// StatementTimeout bounds each statement of a write, waiting for locks included, on the server, and how long the server waits for
	// the next one: so long, a process that stops dead in a write may hold up others. What a connection prepares for the first time waits for
	// whoever changes its table, as long as the context lasts. Defaults to 10 s.
	StatementTimeout time.Duration
	// CommitTimeout is how long a commit that is on its way is waited for, whatever its context says, since its outcome is
	// unknown otherwise. The read that an exchange begins with has no longer either, alone or with others. Defaults to 10 s.
	CommitTimeout time.Duration
}

// DefaultSchema is where the tables are, unless Options say otherwise.
const DefaultSchema = "tokenstore"

func (o *Options) withDefaults() (Options, error) {
	var d Options
	if o != nil {
		d = *o
	}
	if d.Schema == "" {
		d.Schema = DefaultSchema
	}
	if len(d.Schema) > 63 || strings.ContainsRune(d.Schema, 0) {
		return d, &domain.FieldError{Field: "schema", Limit: "1..63 bytes without NUL", Size: len(d.Schema)}
	}
	if d.StatementTimeout == 0 {
		d.StatementTimeout = 10 * time.Second
	}
	if d.CommitTimeout == 0 {
		d.CommitTimeout = 10 * time.Second
	}
	for name, value := range map[string]time.Duration{"statement_timeout": d.StatementTimeout, "commit_timeout": d.CommitTimeout} {
		if value < time.Millisecond {
			return d, &domain.FieldError{Field: name, Limit: "at least 1 ms", Size: int(value)}
		}
	}
	return d, nil
}

// Backend is a pool of connections to one database. It is safe for concurrent use.
type Backend struct {
	pool     *pgxpool.Pool
	q        *queries
	opts     Options
	closed   atomic.Bool
	deciding sync.RWMutex // held, shared, by updates: they have no connection while they decide

	mu     sync.Mutex
	groups map[crowd]*group // of tenants that have short calls under way
	keys   sync.Map         // the erasure keys of tenants that have one, by identity, as they were last seen
}

var _ store.Backend = (*Backend)(nil)

// parse reads an address. Of several servers it is the one that takes writes, unless the address says which: a standby would show what has been
// revoked as live, can't be migrated, and tells nothing.
func parse(address string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, ErrAddress
	}
	if config.ConnConfig.ValidateConnect == nil { // no target_session_attrs
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	return config, nil
}

// Open connects to the database that [Migrate] has made. The address is a connection string as libpq and pgx read it, with
// pgx's pool_max_conns and the like. It returns [ErrAddress], [ErrServer] or [ErrSchema] if the promises of package store would
// not hold there, and else the error of the connection. It starts no work of its own but that of the pool.
func Open(ctx context.Context, address string, opts *Options) (*Backend, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	config, err := parse(address)
	if err != nil {
		return nil, err
	}
	if o.Pooled {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	config.ConnConfig.OnNotice = noticed
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, plain(err)
	}
	b := &Backend{pool: pool, q: newQueries(o.Schema), opts: o, groups: map[crowd]*group{}}
	if err := b.assert(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return b, nil
}

// doubts is where a connection notes that the server has stopped to wait for its standby.
func doubts(c *pgconn.PgConn) *bool {
	const key = "pgstore.doubtful"
	doubtful, ok := c.CustomData()[key].(*bool)
	if !ok {
		doubtful = new(bool)
		c.CustomData()[key] = doubtful
	}
	return doubtful
}

// noticed takes the server's notices. A wait for a synchronous standby that is cancelled, by a timeout perhaps, ends in a commit
// that looks like any other, but for a warning, whose text depends on the server's language.
func noticed(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" && n.Code == "01000" {
		*doubts(c) = true
	}
}

// Tenant returns the store of a tenant.
func (b *Backend) Tenant(name string) (store.Store, error) {
	if err := domain.CheckTenant(name); err != nil {
		return nil, err
	}
	if b.closed.Load() {
		return nil, store.ErrClosed
	}
	return &tenant{backend: b, name: name, id: keyOf(name)}, nil
}

// Pending returns the names of tenants that have pending tombstones.
func (b *Backend) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	return b.names(ctx, b.q.pendingTenants, after, limit)
}

// Tenants returns the names of tenants that were created or written to.
func (b *Backend) Tenants(ctx context.Context, after string, limit int) ([]string, error) {
	return b.names(ctx, b.q.tenants, after, limit)
}

func (b *Backend) names(ctx context.Context, sql, after string, limit int) (names []string, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return nil, err
	}
	err = b.read(ctx, &tenant{}, lockNone, func(t *tx) error {
		names = nil
		return t.finish(ctx, step{sql, []any{after, limit}, func(row pgx.Rows) error {
			var name string
			err := row.Scan(&name)
			names = append(names, name)
			return err
		}})
	})
	if err != nil {
		return nil, err
	}
	return names, nil
}

// Create records a tenant that holds nothing yet.
func (b *Backend) Create(ctx context.Context, name string) error {
	st, err := b.Tenant(name)
	if err != nil {
		return err
	}
	return st.(*tenant).write(ctx, lockExclusive, func(t *tx) error {
		h, err := t.head(ctx, 0)
		if err != nil {
			return err
		}
		if h.written() {
			return store.ErrExists
		}
		h.created = true
		t.save(h)
		return t.commit(ctx)
	})
}

// Close waits for what is in flight and closes the connections. Further calls do nothing.
func (b *Backend) Close() error {
	b.deciding.Lock()
	b.closed.Store(true)
	b.deciding.Unlock()
	b.pool.Close()
	return nil
}

// lockOf is the number of a tenant's advisory lock. Locks whose numbers are the same by chance wait for each other, and nothing
// else.
func (b *Backend) lockOf(tenant identity) int64 { return b.lockOn("tenant", tenant) }

// lockOfFeed is the number of the lock of a tenant's feed.
func (b *Backend) lockOfFeed(tenant identity) int64 { return b.lockOn("feed", tenant) }

// lockOfPair is the number of the lock of a user and client, whose tokens are counted.
func (b *Backend) lockOfPair(tenant identity, p pair) int64 {
	return b.lockOn("pair", tenant, p.user, p.client)
}

// lockOn is 64 bits of a hash of schema, tenant, and what is locked there.
func (b *Backend) lockOn(kind string, tenant identity, names ...string) int64 {
	h := sha256.New()
	for _, part := range append([]string{"tokenstore", b.opts.Schema, kind, string(tenant[:])}, names...) {
		h.Write([]byte(part + "\x00"))
	}
	return int64(binary.BigEndian.Uint64(h.Sum(nil)))
}
