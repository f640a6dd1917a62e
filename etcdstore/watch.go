package etcdstore

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// retryWatch is how long a watch that was cut off waits before it goes on.
const retryWatch = time.Second

// Watch calls heard for each revocation that any process records, until ctx ends, and returns its error. A watch that is cut off
// goes on where it was; of what has been compacted away meanwhile, it tells of the latest revocation of each tenant that has
// any pending. It is a hint, for a sweep not to wait for its next poll, and nothing depends on it:
//
//	go b.Watch(ctx, manager.Heard)
func (b *Backend) Watch(ctx context.Context, heard func(tenant string, revocation ulid.ULID)) error {
	list := under(b.opts.Prefix + allPending)
	tell := func(key, value []byte) {
		var id ulid.ULID
		copy(id[:], value)
		heard(string(key)[len(list.start):], id)
	}
	for next := int64(0); ; {
		leave, err := b.enter(ctx)
		if err != nil {
			return err
		}
		leave() // a watch is not waited for
		next = b.watch(ctx, list, next, tell)
		timer := time.NewTimer(retryWatch)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// watch goes on with a watch until it is cut off, and returns where it has come to.
func (b *Backend) watch(ctx context.Context, list span, next int64, tell func(key, value []byte)) int64 {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for r := range b.client.Watch(ctx, list.start, clientv3.WithRange(list.end), clientv3.WithRev(next), clientv3.WithFilterDelete(), clientv3.WithProgressNotify(), clientv3.WithCreatedNotify()) {
		if r.CompactRevision != 0 {
			request, cancel := b.requestContext(ctx)
			there, err := b.client.Get(request, list.start, clientv3.WithRange(list.end))
			cancel()
			if err != nil {
				return next
			}
			for _, kv := range there.Kvs {
				tell(kv.Key, kv.Value)
			}
			return there.Header.Revision + 1
		}
		if r.Err() != nil {
			return next
		}
		for _, event := range r.Events {
			tell(event.Kv.Key, event.Kv.Value)
		}
		next = max(next, r.Header.Revision+1)
	}
	return next
}
