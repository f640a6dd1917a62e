package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/etcdstore/cluster"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// load is callers of several processes that insert, exchange, introspect and revoke while something befalls the cluster, and
// remembers what they were answered and when. It judges by the order of the calls alone, never by the store's numbers.
type load struct {
	t       *testing.T
	cluster *cluster.Processes
	prefix  string
	clock   atomic.Int64 // ticks at every beginning and end of a call

	mu     sync.Mutex
	tokens []*token
	users  map[string][]*revoked

	acknowledged, refused, unknown atomic.Int64
	since, counted                 atomic.Int64  // how many calls have been acknowledged of those that began after a tick
	heard                          chan struct{} // has something after an acknowledgement
	recorded                       chan struct{} // and after that of a revocation
	again                          *time.Ticker  // when a client that was told to come again does
}

// token is one that was issued. Whether it was is open until the insertion was acknowledged.
type token struct {
	id         ulid.ULID
	user       string
	begun      int64
	acked      int64 // when the insertion was acknowledged, 0 for never
	uses       int   // how many exchanges were acknowledged
	mayBeMore  int   // and how many may have happened
	inProgress bool
}

// revoked is a revocation of a user that was called.
type revoked struct {
	id           ulid.ULID
	begun, acked int64 // 0 for no acknowledgement
}

// users is how many users tokens are issued to. The first of them is never revoked, so that whatever becomes of the others, tokens
// are left whose loss would show.
const users = 6

func newLoad(t *testing.T, c *cluster.Processes) *load {
	l := &load{t: t, cluster: c, prefix: "load/", users: map[string][]*revoked{}, heard: make(chan struct{}, 1), recorded: make(chan struct{}, 2)}
	l.again = time.NewTicker(time.Millisecond) // for all of them together
	t.Cleanup(l.again.Stop)
	return l
}

// store opens the database by way of some members, as a process of its own does.
func (l *load) store(endpoints ...string) (*etcdstore.Backend, store.Store, *clientv3.Client) {
	l.t.Helper()
	return l.storeWith(nil, endpoints...)
}

// storeWith does so by a client whose connections have options.
func (l *load) storeWith(options []grpc.DialOption, endpoints ...string) (*etcdstore.Backend, store.Store, *clientv3.Client) {
	l.t.Helper()
	client, err := cluster.ClientWith(options, endpoints...)
	if err != nil {
		l.t.Fatal(err)
	}
	b, err := etcdstore.New(client, &etcdstore.Options{Prefix: l.prefix, RequestTimeout: 3 * time.Second})
	if err != nil {
		l.t.Fatal(err)
	}
	st, err := b.Tenant("tenant")
	if err != nil {
		l.t.Fatal(err)
	}
	return b, st, client
}

// during runs the load, while and until f has run. There is a caller that knows all members for each member, and one that
// knows that one alone.
func (l *load) during(f func()) {
	l.t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(l.t.Context()))
	var group sync.WaitGroup
	for i := range l.cluster.Nodes {
		for _, endpoints := range [][]string{cluster.Endpoints(l.cluster.Nodes), {l.cluster.Nodes[i].Client}} {
			_, st, client := l.store(endpoints...)
			for range 2 {
				group.Go(func() { l.call(ctx, st) })
			}
			group.Go(func() { l.sweep(ctx, st) })
			defer client.Close()
		}
	}
	f()
	stop()
	group.Wait()
}

// call makes random calls until ctx ends.
func (l *load) call(ctx context.Context, st store.Store) {
	for ctx.Err() == nil {
		switch n := rand.IntN(20); {
		case n < 8:
			l.insert(st)
		case n < 15:
			l.exchange(st)
		case n < 19:
			l.introspect(st)
		default:
			l.revoke(st)
		}
	}
}

// outcome counts an answer to a call that began at a tick, and reports whether it was acknowledged, or may have had an effect.
func (l *load) outcome(begun int64, err error) (acknowledged, open bool) {
	switch {
	case err == nil:
		l.acknowledged.Add(1)
		if begun > l.since.Load() {
			l.counted.Add(1)
		}
		tell(l.heard)
		return true, true
	case errors.Is(err, store.ErrUnknownOutcome), errors.Is(err, context.DeadlineExceeded):
		l.unknown.Add(1)
		return false, true
	case errors.Is(err, store.ErrNotCommitted):
		l.refused.Add(1)
		<-l.again.C
		return false, false
	}
	l.t.Errorf("a call must succeed, or say whether it was committed: got %v", err)
	return false, true
}

// awaitNext waits for the first, and returns how long that took.
func (l *load) awaitNext() time.Duration {
	l.t.Helper()
	began := time.Now()
	l.awaitMore(1)
	return time.Since(began).Round(time.Millisecond)
}

func tell(of chan struct{}) {
	select {
	case of <- struct{}{}:
	default: // it has been told
	}
}

// countFromHere counts the acknowledgements of calls that begin from now on.
func (l *load) countFromHere() {
	l.since.Store(l.clock.Add(1))
	l.counted.Store(0)
}

// awaitMore waits until so many calls that begin from now on have been acknowledged.
func (l *load) awaitMore(calls int64) {
	l.t.Helper()
	l.countFromHere()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	for l.counted.Load() < calls {
		select {
		case <-l.heard:
		case <-ctx.Done():
			l.t.Fatal("the cluster must take writes")
		}
	}
}

// callTimeout is how long a caller waits.
func callTimeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 5*time.Second)
}

func (l *load) insert(st store.Store) {
	ctx, cancel := callTimeout()
	defer cancel()
	one := &token{id: ulid.Make(), user: fmt.Sprint("user-", rand.IntN(users)), begun: l.clock.Add(1)}
	row := store.Insertion{Token: domain.RefreshToken{ID: one.id, UserID: one.user, ClientID: "client", CreatedAt: time.Now().UTC()}}
	results, err := st.Insert(ctx, []store.Insertion{row})
	acknowledged, open := l.outcome(one.begun, err)
	if acknowledged && results[0].Err != nil {
		l.t.Errorf("a token that nothing bars must be admitted: got %v", results[0].Err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if acknowledged {
		one.acked = l.clock.Add(1)
	}
	if open {
		l.tokens = append(l.tokens, one)
	}
}

// pick returns a token that nobody else has picked, or nil.
func (l *load) pick() *token {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range 10 {
		if len(l.tokens) == 0 {
			break
		}
		from := max(0, len(l.tokens)-200) // older ones are mostly revoked
		if one := l.tokens[from+rand.IntN(len(l.tokens)-from)]; !one.inProgress {
			one.inProgress = true
			return one
		}
	}
	return nil
}

// dead reports whether a revocation that covers the token was acknowledged before an instant. The insertion must have been
// acknowledged before the revocation began, or nobody can tell.
func (l *load) dead(one *token, at int64) bool {
	if one.acked == 0 {
		return false
	}
	for _, r := range l.users[one.user] {
		if r.acked != 0 && r.acked < at && one.acked < r.begun {
			return true
		}
	}
	return false
}

func (l *load) exchange(st store.Store) {
	one := l.pick()
	if one == nil {
		return
	}
	ctx, cancel := callTimeout()
	defer cancel()
	begun := l.clock.Add(1)
	err := st.Update(ctx, one.id, func(v store.View) store.Decision {
		if v.Revoked() {
			return store.Decision{Err: domain.ErrRevoked}
		}
		n, _ := v.Token.Metadata.Get("uses")
		uses, _ := strconv.Atoi(n)
		v.Token.Metadata, _ = domain.NewMetadata(map[string]string{"uses": strconv.Itoa(uses + 1)})
		return store.Decision{Next: &v.Token}
	})
	acknowledged, open := false, false
	if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, domain.ErrRevoked) {
		acknowledged, open = l.outcome(begun, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	one.inProgress = false
	switch {
	case acknowledged:
		one.uses++
		if l.dead(one, begun) {
			l.t.Errorf("a covered token was exchanged after its revocation had been acknowledged")
		}
	case open:
		one.mayBeMore++
	}
}

func (l *load) introspect(st store.Store) {
	one := l.pick()
	if one == nil {
		return
	}
	ctx, cancel := callTimeout()
	defer cancel()
	begun := l.clock.Add(1)
	v, err := st.Get(ctx, one.id)
	l.mu.Lock()
	defer l.mu.Unlock()
	one.inProgress = false
	if err == nil && !v.Revoked() && l.dead(one, begun) {
		l.t.Errorf("a covered token was shown live after its revocation had been acknowledged")
	}
}

func (l *load) revoke(st store.Store) {
	ctx, cancel := callTimeout()
	defer cancel()
	user := fmt.Sprint("user-", 1+rand.IntN(users-1))
	l.mu.Lock()
	r := &revoked{id: ulid.Make(), begun: l.clock.Add(1)}
	l.users[user] = append(l.users[user], r)
	l.mu.Unlock()
	_, err := st.Revoke(ctx, store.Revocation{ID: r.id, Targets: []domain.Target{{UserID: user}}, Time: time.Now().UTC()})
	acknowledged, _ := l.outcome(r.begun, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	if acknowledged {
		r.acked = l.clock.Add(1)
		tell(l.recorded)
		tell(l.recorded) // so that two sweepers meet
	}
}

// sweep applies what is pending, whenever something is, until ctx ends.
func (l *load) sweep(ctx context.Context, st store.Store) {
	for {
		select {
		case <-l.recorded:
		case <-ctx.Done():
			return
		}
		for pending := 1; pending > 0 && ctx.Err() == nil; {
			var err error
			if pending, err = l.slice(ctx, st); err != nil {
				pending = 0 // until the next is recorded
			}
		}
	}
}

func (l *load) slice(ctx context.Context, st store.Store) (pending int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	page, err := st.Revocations(ctx, store.RevocationQuery{Limit: store.MaxPage})
	if err != nil || len(page.Revocations) == 0 {
		return 0, err
	}
	var ids []ulid.ULID
	for _, status := range page.Revocations {
		ids = append(ids, status.Tombstone.ID)
	}
	_, err = st.Apply(ctx, ids, store.Bounds{Visit: 50, Remove: 50, Now: time.Now().UTC()})
	return len(ids), err
}

// audit waits until nothing is pending, and asks each member for everything that was acknowledged.
func (l *load) audit() {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	_, all, client := l.store(cluster.Endpoints(l.cluster.Nodes)...)
	defer client.Close()
	for pending := 1; pending > 0 && ctx.Err() == nil; {
		var err error
		if pending, err = l.slice(ctx, all); err != nil {
			pending = 1
		}
	}
	if ctx.Err() != nil {
		l.t.Fatal("the sweep must come to its end")
	}
	issued, live := 0, 0
	for i, node := range l.cluster.Nodes {
		_, st, client := l.store(node.Client)
		defer client.Close()
		seen, counts := l.shown(st), map[int]int{}
		for _, one := range l.tokens {
			there, ok := seen[one.id]
			delete(seen, one.id)
			uses := 0
			if ok {
				n, _ := there.Metadata.Get("uses")
				uses, _ = strconv.Atoi(n)
			}
			maybe := false // a revocation was called that may cover it
			for _, r := range l.users[one.user] {
				maybe = maybe || r.acked == 0 || r.acked > one.begun
			}
			switch {
			case ok && l.dead(one, l.clock.Load()):
				l.t.Errorf("member %d: a covered token is still there", i)
			case !ok && one.acked != 0 && !maybe:
				l.t.Errorf("member %d: a token that was acknowledged is lost", i)
			case ok && (uses < one.uses || uses > one.uses+one.mayBeMore):
				l.t.Errorf("member %d: of %d exchanges that were acknowledged, and %d that may have been, %d are there", i, one.uses, one.mayBeMore, uses)
			}
			counts[uses]++
			if i == 0 && one.acked != 0 {
				issued++
				if ok {
					live++
				}
			}
		}
		if len(seen) > 0 {
			l.t.Errorf("member %d: %d tokens are there that nobody inserted", i, len(seen))
		}
		for _, user := range l.users {
			for _, r := range user {
				if r.acked != 0 {
					if _, err := st.Revocation(ctx, r.id); err != nil {
						l.t.Errorf("member %d: a revocation that was acknowledged is lost: %v", i, err)
					}
				}
			}
		}
	}
	if issued == 0 || live == 0 || live == issued {
		l.t.Errorf("the load must issue, revoke and leave something: %d issued, %d left", issued, live)
	}
	l.t.Logf("%d calls acknowledged, %d refused, %d of unknown outcome; %d tokens issued, %d left", l.acknowledged.Load(), l.refused.Load(), l.unknown.Load(), issued, live)
	l.t.Attr("operations", strconv.FormatInt(l.acknowledged.Load()+l.unknown.Load(), 10))
}

// shown lists all tokens.
func (l *load) shown(st store.Store) map[ulid.ULID]domain.RefreshToken {
	l.t.Helper()
	all := map[ulid.ULID]domain.RefreshToken{}
	q := store.Query{Limit: store.MaxPage}
	for {
		page, err := st.List(l.t.Context(), q)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, one := range page.Tokens {
			all[one.ID] = one
		}
		if q.After = page.Next; q.After.IsZero() {
			return all
		}
	}
}
