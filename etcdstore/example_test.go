package etcdstore_test

import (
	"context"

	"example.com/tokenstore"
	"example.com/tokenstore/etcdstore"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Each process that serves opens the same part of the cluster, sweeps, and hears of what the others revoke.
func Example() {
	serve := func(ctx context.Context, endpoints ...string) error {
		client, err := clientv3.New(clientv3.Config{Endpoints: endpoints})
		if err != nil {
			return err
		}
		defer client.Close()
		backend, err := etcdstore.New(client, nil)
		if err != nil {
			return err
		}
		defer backend.Close()
		manager, err := tokenstore.New(backend, nil)
		if err != nil {
			return err
		}
		go backend.Watch(ctx, manager.Heard)
		return manager.Run(ctx)
	}
	_ = serve
}
