package etcdstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Options of a backend. The zero value, and nil, take every default.
type Options struct {
	// Prefix is what all keys begin with, so that a cluster can be shared: with others, by different prefixes, none of which is
	// the beginning of another. Defaults to "tokenstore/".
	Prefix string
	// MaxTxnOps is what the servers run with as --max-txn-ops: 16 at least. Defaults to 128, as theirs does.
	MaxTxnOps int
	// MaxRequestBytes is what the servers run with as --max-request-bytes. Defaults to 1.5 MiB, as theirs does.
	MaxRequestBytes int
	// RequestTimeout is how long a single request may take, however long the caller would wait. Defaults to 10 s.
	RequestTimeout time.Duration
}

// Backend is a part of a cluster. It is safe for concurrent use.
type Backend struct {
	client    *clientv3.Client
	opts      Options
	reads     gathering[*reader]
	inserts   gathering[*insertion]
	cache     cache
	marks     marks
	known     known
	latest    atomic.Int64 // the latest revision that it has seen
	formatted atomic.Bool  // what is below the prefix is known to have this version's format

	mu     sync.Mutex
	closed bool
	verbs  sync.WaitGroup // in flight
}

var _ store.Backend = (*Backend)(nil)

// New returns the backend that keeps what it holds in a cluster, by way of a client that stays the caller's to configure and to
// close: endpoints, TLS, user and password are the client's. It sends nothing.
func New(client *clientv3.Client, opts *Options) (*Backend, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Prefix == "" {
		o.Prefix = "tokenstore/"
	}
	if o.MaxTxnOps == 0 {
		o.MaxTxnOps = 128
	}
	if o.MaxRequestBytes == 0 {
		o.MaxRequestBytes = 1536 << 10
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = 10 * time.Second
	}
	switch {
	case o.MaxTxnOps < 16:
		return nil, &domain.FieldError{Field: "max_txn_ops", Limit: "at least 16", Size: o.MaxTxnOps}
	case o.MaxRequestBytes < 64<<10:
		return nil, &domain.FieldError{Field: "max_request_bytes", Limit: "at least 65536", Size: o.MaxRequestBytes}
	case o.RequestTimeout < 0:
		return nil, &domain.FieldError{Field: "request_timeout", Limit: "positive", Size: int(o.RequestTimeout)}
	}
	b := &Backend{client: client, opts: o, cache: cache{sets: map[string]*pendingSet{}}, marks: marks{seen: map[string]mark{}}, known: known{items: map[string]item{}}}
	b.reads = gathering[*reader]{board: b.boardReads, verbs: &b.verbs, groups: map[string]*group[*reader]{}}
	b.inserts = gathering[*insertion]{board: b.boardInserts, verbs: &b.verbs, groups: map[string]*group[*insertion]{}}
	return b, nil
}

// saw notes a revision.
func (b *Backend) saw(revision int64) {
	for latest := b.latest.Load(); latest < revision && !b.latest.CompareAndSwap(latest, revision); latest = b.latest.Load() {
	}
}

// enter is for a verb that begins. It returns what the verb has to call at its end.
func (b *Backend) enter(ctx context.Context) (leave func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.verbs.Add(1)
	return b.verbs.Done, nil
}

// Close waits for what is in flight. The client stays open. Further calls do nothing; every other verb is then
// [store.ErrClosed].
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.verbs.Wait()
	return nil
}

// Tenant returns the store of a tenant.
func (b *Backend) Tenant(name string) (store.Store, error) {
	if err := domain.CheckTenant(name); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, store.ErrClosed
	}
	return &tenant{backend: b, name: name}, nil
}

// Pending returns the names of tenants that have pending tombstones.
func (b *Backend) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	return b.names(ctx, allPending, after, limit, func(t *txn, _ *item) bool { return t.any(keyLive) })
}

// Tenants returns the names of tenants that were created or written to.
func (b *Backend) Tenants(ctx context.Context, after string, limit int) ([]string, error) {
	return b.names(ctx, allNames, after, limit, (*txn).named)
}

// names returns the names in a list, after the given one, of tenants of which something holds.
func (b *Backend) names(ctx context.Context, list, after string, limit int, holds func(*txn, *item) bool) (names []string, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return nil, err
	}
	prefix := b.opts.Prefix + list
	err = b.view(ctx, "", func(t *txn) error {
		names = nil
		t.scan(under(prefix).after(prefix+after), func(i item) bool {
			name := i.key[len(prefix):]
			if holds(t.of(name), &i) {
				names = append(names, name)
			}
			return len(names) < limit
		})
		return nil
	})
	return names, err
}

// of is the same snapshot for another tenant.
func (t *txn) of(name string) *txn {
	other := t.backend.begin(t.ctx, name)
	other.rev = t.rev
	return other
}

// any reports whether the tenant has any key of a kind.
func (t *txn) any(kind string) bool {
	return !t.scan(under(t.below(kind)), func(item) bool { return false })
}

// named reports whether the tenant, whose name is in the list, is to be named: if it was not erased, or was written to since,
// or if there is anything left to trim.
func (t *txn) named(name *item) bool {
	if len(name.value) == 0 || numberOf(string(name.value)) != uint64(t.peek(t.below(keyTip)).mod) {
		return true
	}
	return t.any(keyTokens) || t.any(keyLive) || t.any(keyRetired) || t.any(keyGuards)
}

// Create records a tenant that holds nothing yet.
func (b *Backend) Create(ctx context.Context, name string) error {
	if err := domain.CheckTenant(name); err != nil {
		return err
	}
	_, err := b.update(ctx, name, func(t *txn) error {
		key := b.opts.Prefix + allNames + name
		if i := t.get(key); i.there() && t.named(&i) {
			return store.ErrExists
		}
		t.put(key, nil)
		return nil
	})
	return err
}
