// Package faults_test has what befalls real clusters befall one of processes.
package faults_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/etcdstore/cluster"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

func TestMain(m *testing.M) {
	cluster.BeNode()
	os.Exit(m.Run())
}

func processes(t *testing.T, quota int64) *cluster.Processes {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := cluster.StartProcesses(ctx, quota)
	must(t, err)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func leader(t *testing.T, c *cluster.Processes, unasked ...int) (member int) {
	t.Helper()
	patiently(t, func(ctx context.Context) (err error) {
		member, err = c.Leader(ctx, unasked...)
		return err
	})
	return member
}

// patiently makes a call until it succeeds, for a minute at most: members that have just elected a leader may refuse some.
func patiently(t *testing.T, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var err error
	if cluster.Await(ctx, func(ctx context.Context) bool { err = call(ctx); return err == nil }) != nil {
		t.Fatal(err)
	}
}

func TestLeaderIsKilled(t *testing.T) {
	l := newLoad(t, processes(t, 0))
	l.during(func() {
		for range 3 {
			l.awaitMore(150)
			member := leader(t, l.cluster)
			l.cluster.Kill(member)
			t.Logf("a write was acknowledged %v after the leader was killed", l.awaitNext())
			must(t, l.cluster.Start(member))
			must(t, l.cluster.Ready(t.Context()))
		}
		l.awaitMore(150)
	})
	l.audit()
}

func TestAllAreKilled(t *testing.T) {
	l := newLoad(t, processes(t, 0))
	l.during(func() {
		for range 2 {
			l.awaitMore(150)
			for i := range l.cluster.Nodes {
				l.cluster.Kill(i)
			}
			for i := range l.cluster.Nodes {
				must(t, l.cluster.Start(i))
			}
			t.Logf("a write was acknowledged %v after all were started again", l.awaitNext())
		}
	})
	l.audit()
}

// Two of three are down: nothing is acknowledged, and nothing is told that might be out of date.
func TestTwoOfThreeAreDown(t *testing.T) {
	l := newLoad(t, processes(t, 0))
	l.during(func() {
		l.awaitMore(150)
		survivor := 0
		for i := range l.cluster.Nodes {
			if i != survivor {
				l.cluster.Kill(i)
			}
		}
		l.countFromHere()
		_, st, client := l.store(l.cluster.Nodes[survivor].Client)
		defer client.Close()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := st.Get(ctx, ulid.Make()); err == nil || errors.Is(err, store.ErrNotFound) {
				t.Errorf("a member without a majority must not answer: got %v", err)
			}
			cancel()
		}
		if n := l.counted.Load(); n > 0 { // what was called before may have been replicated
			t.Errorf("a member without a majority must acknowledge nothing: got %d", n)
		}
		for i := range l.cluster.Nodes {
			if i != survivor {
				must(t, l.cluster.Start(i))
			}
		}
		t.Logf("a write was acknowledged %v after the others were started", l.awaitNext())
	})
	l.audit()
}

// A leader is cut off from the others, and believes for a while that it still leads. Whoever asks it is told nothing, or the truth; what
// the others acknowledge meanwhile holds for all.
func TestNetworkIsCut(t *testing.T) {
	c := processes(t, 0)
	l := newLoad(t, c)
	l.during(func() {
		for range 3 {
			l.awaitMore(150)
			member := leader(t, c)
			heal, err := c.Cut(t.Context(), member)
			must(t, err)
			cut := time.Now()
			leader(t, c, member)
			t.Logf("another member led %v after the leader was cut off", time.Since(cut).Round(time.Millisecond))
			l.awaitMore(100)
			heal()
			must(t, c.Ready(t.Context()))
		}
		l.awaitMore(150)
	})
	l.audit()
}

// sendings hears of each request that has been sent.
type sendings chan struct{}

func (s sendings) HandleRPC(_ context.Context, what stats.RPCStats) {
	if _, is := what.(*stats.OutPayload); is {
		s <- struct{}{}
	}
}

func (s sendings) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (s sendings) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (s sendings) HandleConn(context.Context, stats.ConnStats)                       {}

// A leader is stopped, and goes on later in the belief that it still leads. What was revoked meanwhile must not be shown live, nor
// be exchanged, by way of it.
func TestStoppedLeaderGoesOn(t *testing.T) {
	c := processes(t, 0)
	l := newLoad(t, c)
	ctx := t.Context()
	for round := range 5 {
		stopped := leader(t, c)
		var others []string
		for i, node := range c.Nodes {
			if i != stopped {
				others = append(others, node.Client)
			}
		}
		_, st, client := l.store(others...)
		defer client.Close()
		sent := make(sendings, 100)
		_, at, pinned := l.storeWith([]grpc.DialOption{grpc.WithStatsHandler(sent)}, c.Nodes[stopped].Client)
		defer pinned.Close()
		one := domain.RefreshToken{ID: ulid.Make(), UserID: "user", ClientID: "client", CreatedAt: time.Now().UTC()}
		patiently(t, func(ctx context.Context) error {
			_, err := st.Insert(ctx, []store.Insertion{{Token: one}})
			return err
		})
		patiently(t, func(ctx context.Context) error { // it knows the token, and its connection stands
			v, err := at.Get(ctx, one.ID)
			if err == nil && v.Revoked() {
				t.Fatalf("the token must be live: %+v", v)
			}
			return err
		})
		var err error
		must(t, c.Signal(stopped, syscall.SIGSTOP))
		for {
			short, cancel := context.WithTimeout(ctx, 10*time.Second)
			_, err = st.Revoke(short, store.Revocation{ID: ulid.Make(), Targets: []domain.Target{{UserID: "user"}}, Time: time.Now().UTC()})
			cancel()
			if err == nil || ctx.Err() != nil {
				break
			}
		}
		must(t, err)
		type answer struct {
			live      bool
			exchanged bool
		}
		answers := make(chan answer)
		for len(sent) > 0 { // by what was asked before
			<-sent
		}
		const askers, requests = 8, 3 // two alone, and then all that have gathered meanwhile
		for i := range askers {       // they wait in the stopped member's sockets
			go func() {
				short, cancel := context.WithTimeout(ctx, 3*time.Second)
				defer cancel()
				if i%2 == 0 {
					v, err := at.Get(short, one.ID)
					answers <- answer{live: err == nil && !v.Revoked()}
					return
				}
				err := at.Update(short, one.ID, func(v store.View) store.Decision {
					v.Token.Metadata, _ = domain.NewMetadata(map[string]string{"exchanged": "yes"})
					return store.Decision{Next: &v.Token}
				})
				answers <- answer{exchanged: err == nil}
			}()
		}
		for range requests {
			<-sent
		}
		must(t, c.Signal(stopped, syscall.SIGCONT))
		for range askers {
			a := <-answers
			if a.live {
				t.Errorf("round %d: a member that was stopped shows a revoked token live", round)
			}
			if a.exchanged {
				t.Errorf("round %d: a member that was stopped exchanges a revoked token", round)
			}
		}
		must(t, c.Ready(ctx))
	}
}

// The database is full: writes are refused as such, reads go on, nothing that was acknowledged is lost, and all goes on once
// there is room.
func TestQuotaIsFull(t *testing.T) {
	c := processes(t, 8<<20)
	l := newLoad(t, c)
	ctx := t.Context()
	b, st, client := l.store(cluster.Endpoints(c.Nodes)...)
	defer client.Close()
	var known []ulid.ULID
	var batch []store.Insertion
	for range 40 {
		one := domain.RefreshToken{ID: ulid.Make(), UserID: "user", ClientID: "client", CreatedAt: time.Now().UTC()}
		known, batch = append(known, one.ID), append(batch, store.Insertion{Token: one})
	}
	_, err := st.Insert(ctx, batch)
	must(t, err)
	notes := map[ulid.ULID]string{}
	var full error
	var last struct { // the update that met the quota, of which nothing is known
		id   ulid.ULID
		text string
	}
	for n := 0; full == nil; n++ { // what is replaced stays in the history, and fills the database
		id, text := known[n%len(known)], strings.Repeat(string(rune('a'+n%26)), domain.MaxMetadataText)
		entries := map[string]string{}
		for i := range domain.MaxMetadata {
			entries[string(rune('a'+i))] = text
		}
		full = st.Update(ctx, id, func(v store.View) store.Decision {
			v.Token.Metadata, _ = domain.NewMetadata(entries)
			return store.Decision{Next: &v.Token}
		})
		if last.id, last.text = id, text; full == nil {
			notes[id] = text
		}
	}
	if !errors.Is(full, etcdstore.ErrFull) || !errors.Is(full, store.ErrUnknownOutcome) {
		t.Fatalf("a full database must be ErrFull, and of unknown outcome, since it may have taken the write: got %v", full)
	}
	_, err = st.Revoke(ctx, store.Revocation{ID: ulid.Make(), Targets: []domain.Target{{UserID: "user"}}, Time: time.Now().UTC()})
	if !errors.Is(err, etcdstore.ErrFull) {
		t.Errorf("a revocation that a full database can't take must say so: got %v", err)
	}
	there := l.shown(st)
	for _, id := range known {
		if text, _ := there[id].Metadata.Get("a"); text != notes[id] && (id != last.id || text != last.text) {
			t.Errorf("a full database must lose nothing: the latest exchange of a token is gone")
		}
	}
	health, err := b.Health(ctx)
	if err != nil || !health.NoSpace || !health.Leader || len(health.Members) != cluster.Size || health.Members[0].Quota != 8<<20 || health.Members[0].Size == 0 {
		t.Errorf("health must tell of a full database: %+v, %v", health, err)
	}

	// Room is made as etcd's manual says: compact, defragment, disarm.
	compact(t, client)
	for _, node := range c.Nodes {
		_, err := client.Defragment(ctx, node.Client)
		must(t, err)
	}
	_, err = client.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	must(t, err)
	r, err := st.Revoke(ctx, store.Revocation{ID: ulid.Make(), Targets: []domain.Target{{UserID: "user"}}, Time: time.Now().UTC()})
	must(t, err)
	for range 1000 {
		if pending, err := l.slice(ctx, st); err == nil && pending == 0 {
			break
		}
	}
	if status, err := st.Revocation(ctx, r.Tombstone.ID); err != nil || !status.Retired || int(status.Swept) != len(known) {
		t.Errorf("the sweep must go on where there is room again: %+v, %v", status, err)
	}
	if _, err := st.Insert(ctx, []store.Insertion{{Token: domain.RefreshToken{ID: ulid.Make(), UserID: "user", ClientID: "client", CreatedAt: time.Now().UTC()}}}); err != nil {
		t.Errorf("an issue must go on where there is room again: %v", err)
	}
	if health, err := b.Health(ctx); err != nil || health.NoSpace {
		t.Errorf("health must tell that there is room again: %+v, %v", health, err)
	}
}

// compact drops all history.
func compact(t *testing.T, client *clientv3.Client) {
	t.Helper()
	r, err := client.Get(t.Context(), "ready")
	must(t, err)
	_, err = client.Compact(t.Context(), r.Header.Revision, clientv3.WithCompactPhysical())
	must(t, err)
}
