package cluster_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/etcdstore/cluster"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// between has something happen between what a verb has read and its commit.
type between struct {
	t       *testing.T
	prefix  string
	slow    store.Store // whose commits wait
	backend store.Backend
	quick   store.Store // of another process
	happens atomic.Pointer[func()]
	shares  atomic.Int64 // how many of the slow store's requests have read for more than one call
	merged  atomic.Int64 // and how many were to insert the tokens of more than one
	alone   atomic.Int64 // and how many have read a single key
	ids     byte
}

func newBetween(t *testing.T) *between {
	t.Helper()
	b := &between{t: t}
	intercept := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		switch txn, ok := req.(*etcdserverpb.TxnRequest); {
		case ok && writes(txn):
			if puts(txn) > 2*keysOfIssue { // its record and indexes, and what may be put of the tenant
				b.merged.Add(1)
			}
			if f := b.happens.Swap(nil); f != nil {
				(*f)()
			}
		case ok && len(txn.Success) > 2: // the token of a call, and the tenant's mark
			b.shares.Add(1)
		}
		if one, ok := req.(*etcdserverpb.RangeRequest); ok && len(one.RangeEnd) == 0 {
			b.alone.Add(1)
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	client, err := cluster.ClientWith([]grpc.DialOption{grpc.WithChainUnaryInterceptor(intercept)}, shared.cluster.Nodes[0].Client)
	must(t, err)
	t.Cleanup(func() { client.Close() })
	b.prefix = prefix()
	_, err = client.Put(t.Context(), b.prefix+"f", "1") // the format, as if something had been there before: what happens meanwhile does not write it
	must(t, err)
	slow, err := etcdstore.New(client, &etcdstore.Options{Prefix: b.prefix})
	must(t, err)
	b.backend = openSpread(t, b.prefix)
	b.slow, err = slow.Tenant("tenant")
	must(t, err)
	b.quick, err = b.backend.Tenant("tenant")
	must(t, err)
	return b
}

func writes(txn *etcdserverpb.TxnRequest) bool {
	return slices.ContainsFunc(txn.Success, func(op *etcdserverpb.RequestOp) bool { return op.GetRequestRange() == nil })
}

// puts is how many keys a transaction can put.
func puts(txn *etcdserverpb.TxnRequest) (n int) {
	for _, op := range slices.Concat(txn.Success, txn.Failure) {
		if within := op.GetRequestTxn(); within != nil {
			n += puts(within)
		} else if op.GetRequestPut() != nil {
			n++
		}
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// when has f happen before the next commit of the slow store.
func (b *between) when(f func()) { b.happens.Store(&f) }

func (b *between) happened() {
	b.t.Helper()
	if b.happens.Load() != nil {
		b.t.Fatal("nothing was committed")
	}
}

func (b *between) id() (id ulid.ULID) {
	b.ids++
	id[0], id[15] = 1, b.ids
	return id
}

var base = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func (b *between) token(user string) domain.RefreshToken {
	return domain.RefreshToken{ID: b.id(), UserID: user, ClientID: "client", CreatedAt: base}
}

func rows(asOf domain.AsOf, tokens ...domain.RefreshToken) (list []store.Insertion) {
	for _, token := range tokens {
		list = append(list, store.Insertion{Token: token, AsOf: asOf})
	}
	return list
}

func (b *between) insert(st store.Store, list []store.Insertion) []store.Inserted {
	b.t.Helper()
	results, err := st.Insert(b.t.Context(), list)
	must(b.t, err)
	return results
}

func (b *between) revoke(st store.Store, targets ...domain.Target) store.Status {
	b.t.Helper()
	status, err := st.Revoke(b.t.Context(), store.Revocation{ID: b.id(), Targets: targets, Time: base.Add(time.Hour), Emit: store.KindRevoked})
	must(b.t, err)
	return status
}

func (b *between) sweep(st store.Store, id ulid.ULID) []store.Status {
	b.t.Helper()
	statuses, err := st.Apply(b.t.Context(), []ulid.ULID{id}, store.Bounds{Visit: 100, Remove: 100, Now: base.Add(2 * time.Hour)})
	must(b.t, err)
	return statuses
}

func (b *between) state() store.State {
	b.t.Helper()
	state, err := b.quick.State(b.t.Context())
	must(b.t, err)
	return state
}
