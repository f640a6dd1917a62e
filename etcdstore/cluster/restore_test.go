package cluster_test

import (
	"os"
	"path/filepath"
	"testing"

	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/etcdstore/cluster"
	"example.com/tokenstore/internal/restoretest"
	"example.com/tokenstore/store"
	"go.etcd.io/etcd/server/v3/embed"
)

// TestRestoreCluster copies the data of a member that is alone in its cluster, while it is stopped, starts copies of it, and restores those in
// place. Their revisions are given a second time.
func TestRestoreCluster(t *testing.T) {
	var lone *member // of the life under way
	restoretest.Run(t, restoretest.Config{
		Step: 5,
		New: func(t testing.TB) store.Backend {
			lone = startLone(t, "")
			return lone.open(t)
		},
		Backup: func(t testing.TB, _ store.Backend) func(testing.TB) store.Backend {
			backup := filepath.Join(t.TempDir(), "backup")
			lone.stop()
			if err := os.CopyFS(backup, os.DirFS(lone.Dir)); err != nil {
				t.Fatal(err)
			}
			lone.start(t)
			return func(t testing.TB) store.Backend {
				t.Helper()
				return startLone(t, backup).open(t)
			}
		},
	})
}

// member is alone in its cluster.
type member struct {
	*cluster.Node
	running *embed.Etcd
}

// startLone starts a member on new data, or on a copy of a backup.
func startLone(t testing.TB, backup string) *member {
	t.Helper()
	node, err := cluster.Alone(t.TempDir())
	if err == nil && backup != "" {
		err = os.CopyFS(node.Dir, os.DirFS(backup))
	}
	if err != nil {
		t.Fatal(err)
	}
	m := &member{Node: node}
	m.start(t)
	t.Cleanup(m.stop)
	return m
}

func (m *member) start(t testing.TB) {
	t.Helper()
	running, err := m.Start()
	if err != nil {
		t.Fatal(err)
	}
	m.running = running
	<-running.Server.ReadyNotify()
}

func (m *member) stop() {
	if m.running != nil {
		m.running.Close()
		m.running = nil
	}
}

func (m *member) open(t testing.TB) store.Backend {
	t.Helper()
	client, err := cluster.Client(m.Client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	b, err := etcdstore.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
