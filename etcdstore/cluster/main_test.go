package cluster_test

import (
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"

	"example.com/tokenstore/etcdstore/cluster"
	"example.com/tokenstore/internal/servetest"
	"example.com/tokenstore/store"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// shared is the one cluster of the test binary, and its clients: one for each member, and one for all; and the command, once it is built.
var shared struct {
	cluster *cluster.Cluster
	members []*clientv3.Client
	client  *clientv3.Client
	dir     string
	build   sync.Once
	command string
}

func TestMain(m *testing.M) {
	flag.Parse()
	if err := fewChecks(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(run(m))
}

// fewChecks has each property tried a few times only, unless more are asked for: each step is a commit of three members, whose
// disks are slow.
func fewChecks() error {
	asked := os.Getenv("RAPID_CHECKS") != ""
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if asked {
		return nil
	}
	return flag.Set("rapid.checks", "8")
}

func run(m *testing.M) int {
	measures := flag.Lookup("test.bench").Value.String() != "" // what waits for a disk
	c, err := cluster.New(!measures)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the cluster does not start:", err)
		return 1
	}
	defer c.Close()
	shared.cluster = c
	for i := range c.Nodes {
		client, err := cluster.Client(c.Nodes[i].Client)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer client.Close()
		shared.members = append(shared.members, client)
	}
	if shared.client, err = cluster.Client(cluster.Endpoints(c.Nodes)...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.client.Close()
	if shared.dir, err = os.MkdirTemp("", "etcdstore-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(shared.dir)
	return m.Run()
}

// command builds tokenstore, once.
func command(t *testing.T) string {
	t.Helper()
	shared.build.Do(func() { shared.command = servetest.BuildInto(t, "../../cmd/tokenstore", shared.dir) })
	if shared.command == "" {
		t.Fatal("the command was not built")
	}
	return shared.command
}

// prefix is one that no other test has.
func prefix() string { return "test/" + rand.Text() + "/" }

// size counts the keys of a backend, and the bytes of all keys and values.
func size(t testing.TB, b store.Backend) (keys, bytes int) {
	t.Helper()
	r, err := shared.client.Get(t.Context(), b.(*spread).prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range r.Kvs {
		keys, bytes = keys+1, bytes+len(kv.Key)+len(kv.Value)
	}
	return keys, bytes
}

// reopen closes a backend and opens the same part of the cluster again.
func reopen(t testing.TB, b store.Backend) store.Backend {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return openSpread(t, b.(*spread).prefix)
}
