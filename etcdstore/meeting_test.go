package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// firstPut is when what there is was put.
const firstPut = 7

// slowKV answers a request when the test lets it. It knows nothing but reads of keys, and transactions that put some, which are made or not
// as the test likes, and forgotten.
type slowKV struct {
	clientv3.KV
	mu       sync.Mutex
	values   map[string][]byte
	calm     bool  // nobody else writes
	marked   int64 // when the mark was put; 0 if it never was
	mark     string
	revision int64          // of the latest answer; others write before each
	sent     []*slowRequest // that have no answer yet, in the order in which they were sent
}

type slowRequest struct {
	keys   []string // read, or put
	answer chan error
}

// errChanged has a transaction find that what it relies on has changed.
var errChanged = errors.New("changed")

func (kv *slowKV) send(ctx context.Context, keys []string) ([]*etcdserverpb.RangeResponse, error) {
	r := &slowRequest{keys, make(chan error, 1)}
	kv.mu.Lock()
	kv.sent = append(kv.sent, r)
	kv.mu.Unlock()
	defer func() {
		kv.mu.Lock()
		defer kv.mu.Unlock()
		kv.sent = slices.DeleteFunc(kv.sent, func(one *slowRequest) bool { return one == r })
	}()
	select {
	case err := <-r.answer:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if !kv.calm {
		kv.revision++
	}
	var all []*etcdserverpb.RangeResponse
	for _, key := range keys {
		one := &etcdserverpb.RangeResponse{Header: &etcdserverpb.ResponseHeader{Revision: kv.revision}}
		if value, ok := kv.values[key]; ok {
			one.Kvs = []*mvccpb.KeyValue{{Key: []byte(key), Value: value, ModRevision: firstPut}}
		}
		if key == kv.mark && kv.marked > 0 {
			one.Kvs = []*mvccpb.KeyValue{{Key: []byte(key), ModRevision: kv.marked}}
		}
		all = append(all, one)
	}
	return all, nil
}

func (kv *slowKV) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	all, err := kv.send(ctx, []string{string(op.KeyBytes())})
	if err != nil {
		return clientv3.OpResponse{}, err
	}
	return (*clientv3.GetResponse)(all[0]).OpResponse(), nil
}

func (kv *slowKV) Txn(ctx context.Context) clientv3.Txn { return &slowTxn{kv: kv, ctx: ctx} }

type slowTxn struct {
	clientv3.Txn
	kv   *slowKV
	ctx  context.Context
	keys []string
}

func (x *slowTxn) If(...clientv3.Cmp) clientv3.Txn { return x }

func (x *slowTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	for _, op := range ops {
		if op.IsTxn() {
			_, then, _ := op.Txn()
			x.Then(then...)
			continue
		}
		x.keys = append(x.keys, string(op.KeyBytes()))
	}
	return x
}

func (x *slowTxn) Commit() (*clientv3.TxnResponse, error) {
	all, err := x.kv.send(x.ctx, x.keys)
	if err != nil && err != errChanged {
		return nil, err
	}
	x.kv.mu.Lock()
	r := &etcdserverpb.TxnResponse{Header: &etcdserverpb.ResponseHeader{Revision: x.kv.revision}, Succeeded: err == nil}
	x.kv.mu.Unlock()
	for _, one := range all {
		r.Responses = append(r.Responses, &etcdserverpb.ResponseOp{Response: &etcdserverpb.ResponseOp_ResponseRange{ResponseRange: one}})
	}
	return (*clientv3.TxnResponse)(r), nil
}

// meeting is calls that meet on their way to a cluster.
type meeting struct {
	*testing.T
	kv    *slowKV
	store store.Store
	mark  string
	calls []*call
}

type call struct {
	id     ulid.ULID
	key    string
	cancel context.CancelFunc
	view   store.View // of a call that reads
	number uint64     // of a token that a call inserts
	err    error
	done   chan struct{}
}

// over reports whether the call has returned.
func (c *call) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// meet runs a test in virtual time.
func meet(t *testing.T, opts *Options, f func(*meeting)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client := clientv3.NewCtxClient(t.Context())
		m := &meeting{T: t, kv: &slowKV{values: map[string][]byte{}, revision: firstPut}}
		client.KV = m.kv
		b, err := New(client, opts)
		if err != nil {
			t.Fatal(err)
		}
		b.formatted.Store(true)
		if m.store, err = b.Tenant("tenant"); err != nil {
			t.Fatal(err)
		}
		m.mark = b.begin(t.Context(), "tenant").below(keyMark)
		m.kv.mark = m.mark
		f(m)
		if err := b.Close(); err != nil {
			t.Errorf("Close must succeed: got %v", err)
		}
	})
}

// calling begins n calls that read, one after the other, each another token, and returns when all of them wait.
func (m *meeting) calling(n int) []*call {
	m.Helper()
	return m.begin(n, func(ctx context.Context, c *call) {
		c.view, c.err = m.store.Get(ctx, c.id)
	})
}

// inserting begins n calls that insert.
func (m *meeting) inserting(n int) []*call {
	m.Helper()
	return m.begin(n, func(ctx context.Context, c *call) {
		token := domain.RefreshToken{ID: c.id, UserID: "user", ClientID: "client", CreatedAt: time.Unix(1, 0).UTC()}
		var results []store.Inserted
		if results, c.err = m.store.Insert(ctx, []store.Insertion{{Token: token}}); c.err == nil {
			c.number, c.err = results[0].Sequence, results[0].Err
		}
	})
}

func (m *meeting) begin(n int, verb func(context.Context, *call)) []*call {
	m.Helper()
	from := len(m.calls)
	for range n {
		c := &call{id: ulid.ULID{1, byte(len(m.calls) >> 8), byte(len(m.calls))}, done: make(chan struct{})}
		r := record{token: domain.RefreshToken{ID: c.id, UserID: fmt.Sprint("user-", len(m.calls)), ClientID: "client"}}
		x := m.store.(*tenant).backend.begin(m.Context(), "tenant")
		c.key = x.below(idKey(keyTokens, c.id))
		m.kv.mu.Lock()
		m.kv.values[c.key] = x.encodeRecord(&r)
		m.kv.mu.Unlock()
		m.calls = append(m.calls, c)
		var ctx context.Context
		ctx, c.cancel = context.WithCancel(m.Context())
		go func() {
			defer c.cancel()
			defer close(c.done)
			verb(ctx, c)
		}()
		synctest.Wait()
	}
	return m.calls[from:]
}

// answer has the request of so many places answered, and whoever waited for it go on.
func (m *meeting) answer(place int, with error) {
	m.Helper()
	if place >= len(m.kv.sent) {
		m.Fatal("no such request is under way")
	}
	m.kv.sent[place].answer <- with
	synctest.Wait()
}

// wantSent checks which requests are under way: for the tokens of whom, beside what is the tenant's.
func (m *meeting) wantSent(want ...[]*call) {
	m.Helper()
	var got, keys [][]string
	for _, r := range m.kv.sent {
		got = append(got, m.tokens(r))
	}
	for _, calls := range want {
		var of []string
		for _, c := range calls {
			of = append(of, c.key)
		}
		slices.Sort(of)
		keys = append(keys, of)
	}
	if !slices.EqualFunc(got, keys, slices.Equal) {
		m.Fatalf("got requests for %q, want %q", got, keys)
	}
}

// tokens are the keys of tokens in a request. All of those that read hold the mark, once.
func (m *meeting) tokens(r *slowRequest) (tokens []string) {
	m.Helper()
	under := m.store.(*tenant).backend.begin(m.Context(), "tenant").below(keyTokens)
	marks := 0
	for _, key := range r.keys {
		if strings.HasPrefix(key, under) {
			tokens = append(tokens, key)
		}
		if key == m.mark {
			marks++
		}
	}
	if len(tokens)+marks == len(r.keys) && marks != 1 {
		m.Fatalf("got %d marks in a request that reads, want 1", marks)
	}
	slices.Sort(tokens)
	return tokens
}

// wantGood checks that calls have been answered, each with its own token.
func (m *meeting) wantGood(calls ...*call) {
	m.Helper()
	for _, c := range calls {
		if !c.over() {
			m.Fatal("a call must be answered")
		}
		if c.err != nil || c.view.Token.ID != c.id {
			m.Errorf("a call must be told its own token: got %+v, error %v", c.view.Token, c.err)
		}
	}
}

// wantInserted checks that calls have been acknowledged, each with a number of its own.
func (m *meeting) wantInserted(calls ...*call) {
	m.Helper()
	numbers := map[uint64]bool{}
	for _, c := range calls {
		if !c.over() {
			m.Fatal("a call must be answered")
		}
		if c.err != nil || c.number == 0 || numbers[c.number] {
			m.Errorf("a call that inserts must have a number: got %d, error %v", c.number, c.err)
		}
		numbers[c.number] = true
	}
}

func (m *meeting) wantWaiting(calls ...*call) {
	m.Helper()
	for _, c := range calls {
		if c.over() {
			m.Errorf("a call must wait: got %v", c.err)
		}
	}
}

func (m *meeting) wantErrors(want error, calls ...*call) {
	m.Helper()
	for _, c := range calls {
		if !c.over() {
			m.Fatal("a call must return")
		}
		if !errors.Is(c.err, want) {
			m.Errorf("got error %v, want %v", c.err, want)
		}
	}
}
