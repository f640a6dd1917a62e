package cluster_test

import (
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/internal/servetest"
)

// TestOperator: the commands of an operator work on a part of a cluster that other processes use.
func TestOperator(t *testing.T) {
	command := command(t)
	prefix := prefix()
	backend, err := etcdstore.New(shared.client, &etcdstore.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	m, err := tokenstore.New(backend, nil)
	if err != nil {
		t.Fatal(err)
	}
	servetest.Operate(t, command, "etcd://"+shared.cluster.Nodes[0].Client+"/"+prefix, m)
}
