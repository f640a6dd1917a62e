package etcdstore

import (
	"bytes"
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
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// slowKV answers a request when the test lets it. It knows nothing but reads of keys.
type slowKV struct {
	clientv3.KV
	mu     sync.Mutex
	values map[string][]byte
	sent   []*slowRead // that have no answer yet, in the order in which they were sent
}

type slowRead struct {
	ctx    context.Context
	keys   []string
	answer chan error
}

func (kv *slowKV) read(ctx context.Context, keys []string) ([]*etcdserverpb.RangeResponse, error) {
	r := &slowRead{ctx, keys, make(chan error, 1)}
	kv.mu.Lock()
	kv.sent = append(kv.sent, r)
	kv.mu.Unlock()
	defer func() {
		kv.mu.Lock()
		defer kv.mu.Unlock()
		kv.sent = slices.DeleteFunc(kv.sent, func(one *slowRead) bool { return one == r })
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
	var all []*etcdserverpb.RangeResponse
	for _, key := range keys {
		one := &etcdserverpb.RangeResponse{Header: &etcdserverpb.ResponseHeader{Revision: 9}}
		if value, ok := kv.values[key]; ok {
			one.Kvs = []*mvccpb.KeyValue{{Key: []byte(key), Value: value, ModRevision: 7}}
		}
		all = append(all, one)
	}
	return all, nil
}

func (kv *slowKV) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	all, err := kv.read(ctx, []string{string(op.KeyBytes())})
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

func (x *slowTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	for _, op := range ops {
		x.keys = append(x.keys, string(op.KeyBytes()))
	}
	return x
}

func (x *slowTxn) Commit() (*clientv3.TxnResponse, error) {
	all, err := x.kv.read(x.ctx, x.keys)
	if err != nil {
		return nil, err
	}
	r := &etcdserverpb.TxnResponse{Header: &etcdserverpb.ResponseHeader{Revision: 9}}
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
	view   store.View
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
		m := &meeting{T: t, kv: &slowKV{values: map[string][]byte{}}}
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
		f(m)
		if err := b.Close(); err != nil {
			t.Errorf("Close must succeed: got %v", err)
		}
	})
}

// calling begins n calls, one after the other, each for another token, and returns when all of them wait.
func (m *meeting) calling(n int) []*call {
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
			c.view, c.err = m.store.Get(ctx, c.id)
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

// wantSent checks which requests are under way: for the tokens of whom, and each with the one mark.
func (m *meeting) wantSent(want ...[]*call) {
	m.Helper()
	var got, keys [][]string
	for _, r := range m.kv.sent {
		got = append(got, slices.Sorted(slices.Values(r.keys)))
	}
	for _, calls := range want {
		of := []string{m.mark}
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

// Calls that wait at the same time share the next request. One that comes after it was sent has no part in it: it might be told what was
// so before it was called.
func TestReadsShareRequests(t *testing.T) {
	meet(t, nil, func(m *meeting) {
		first, second := m.calling(1), m.calling(1)
		m.wantSent(first, second)
		shared := m.calling(10)
		m.wantSent(first, second)
		m.answer(0, nil)
		m.wantGood(first...)
		m.wantSent(second, shared)
		late := m.calling(3)
		m.wantSent(second, shared)
		m.answer(1, nil)
		m.wantGood(shared...)
		m.wantWaiting(append(second, late...)...)
		m.wantSent(second, late)
		m.answer(0, nil)
		m.answer(0, nil)
		m.wantGood(m.calls...)
		alone := m.calling(1)
		m.wantSent(alone)
		m.answer(0, nil)
		m.wantGood(alone...)
	})
}

// A call that is cancelled returns at once, and those that it has met go on.
func TestCancelledReadDisturbsNobody(t *testing.T) {
	meet(t, nil, func(m *meeting) {
		first, second := m.calling(1), m.calling(1)
		shared := m.calling(4)
		shared[0].cancel() // before there is a request
		synctest.Wait()
		m.wantErrors(context.Canceled, shared[0])
		m.answer(0, nil)
		m.wantSent(second, shared[1:])
		shared[1].cancel()
		synctest.Wait()
		m.wantErrors(context.Canceled, shared[1])
		m.wantSent(second, shared[1:])
		m.wantWaiting(shared[2:]...)
		m.answer(1, nil)
		m.wantGood(shared[2:]...)

		third := m.calling(1)
		given := m.calling(2)
		second[0].cancel() // a lone one, with which its request ends; so those who wait are next
		synctest.Wait()
		m.wantErrors(context.Canceled, second...)
		m.wantSent(third, given)
		for _, c := range given {
			c.cancel()
		}
		synctest.Wait()
		m.wantErrors(context.Canceled, given...)
		m.wantSent(third) // a request that nobody waits for is given up
		m.answer(0, nil)
		m.wantGood(append(first, third...)...)
	})
}

// Each call has the error of the request that it has shared. What the cluster refuses is asked for by each alone, since one may have been to
// blame for all; and a record that can't be read concerns nobody but who has asked for it.
func TestFailureOfSharedRead(t *testing.T) {
	unavailable := errors.New("no leader")
	meet(t, nil, func(m *meeting) {
		m.calling(2)
		shared := m.calling(3)
		m.answer(0, nil)
		m.answer(1, unavailable)
		m.wantErrors(ErrUnavailable, shared...)
		m.wantErrors(unavailable, shared...)
		m.answer(0, nil)

		m.calling(2)
		refused := m.calling(3)
		m.answer(0, nil)
		m.answer(1, rpctypes.ErrPermissionDenied)
		m.wantWaiting(refused...)
		m.answer(0, nil) // the second of those before
		if len(m.kv.sent) != 3 {
			m.Fatalf("each must ask by itself: got %d requests", len(m.kv.sent))
		}
		guilty := slices.IndexFunc(m.kv.sent, func(r *slowRead) bool { return slices.Contains(r.keys, refused[1].key) })
		m.answer(guilty, rpctypes.ErrPermissionDenied)
		m.answer(0, nil)
		m.answer(0, nil)
		m.wantErrors(ErrRefused, refused[1])
		m.wantGood(refused[0], refused[2])

		m.calling(2)
		broken := m.calling(3)
		m.kv.values[broken[1].key] = bytes.Repeat([]byte("x"), 20)
		m.answer(0, nil)
		m.answer(1, nil)
		m.answer(0, nil)
		m.wantErrors(ErrCorrupt, broken[1])
		m.wantGood(broken[0], broken[2])
	})
}

// A member that does not answer holds up whom it was asked by, and nobody who has gathered.
func TestSlowReadHoldsUpNobody(t *testing.T) {
	meet(t, nil, func(m *meeting) {
		stuck := m.calling(maxFlights)
		gathered := m.calling(3)
		time.Sleep(slowFlight)
		synctest.Wait()
		m.wantSent(stuck[:1], stuck[1:], gathered)
		m.answer(2, nil)
		m.wantGood(gathered...)
		m.wantWaiting(stuck...)
		time.Sleep(m.store.(*tenant).backend.opts.RequestTimeout)
		synctest.Wait()
		m.wantErrors(ErrUnavailable, stuck...)
	})
}

// A request holds no more than the servers take.
func TestSharedReadsFit(t *testing.T) {
	for name, c := range map[string]struct {
		opts Options
		most int
	}{
		"default":        {Options{}, maxReads},
		"few operations": {Options{MaxTxnOps: 16}, 16},
		"long keys":      {Options{MaxRequestBytes: 64 << 10, Prefix: strings.Repeat("p", 4<<10)}, 16},
	} {
		t.Run(name, func(t *testing.T) {
			meet(t, &c.opts, func(m *meeting) {
				m.calling(300)
				requests := 0
				for len(m.kv.sent) > 0 {
					requests++
					if n := len(m.kv.sent[0].keys); n > c.most {
						m.Fatalf("got a request for %d keys, want no more than %d", n, c.most)
					}
					m.answer(0, nil)
				}
				m.wantGood(m.calls...)
				if requests > 300/(c.most/2-1)+maxFlights+1 {
					m.Errorf("got %d requests for 300 calls, want fuller ones", requests)
				}
			})
		})
	}
}
