// Package etcdstore is the distributed backend: a part of a cluster of etcd, which any number of processes share. Every promise of
// package store holds for all of them together: what one has revoked is refused by all others from the moment of the
// acknowledgement on, whichever member of the cluster they ask. It takes servers of version 3.6 or later.
//
//	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"}})
//	…
//	backend, err := etcdstore.New(client, nil)
//	manager, err := tokenstore.New(backend, nil)
//	go backend.Watch(ctx, manager.Heard) // optional: hear at once of what other processes revoke
//
// # How it works
//
// A verb reads a snapshot, of which the first read is linearizable and says the revision, and commits in one transaction of the
// cluster, on the condition that nothing that it relies on has changed. Else it runs again. A member that was cut off from the
// majority, or was stopped and goes on, can neither commit nor answer.
//
// There is no counter. A number of the sequence is the revision of the commit that inserted the token or recorded the
// revocation, shifted, with the place within the commit behind it. So numbers are far apart, and rise in the order of the commits.
//
// The fence is a comparison: that nothing has been put, since the snapshot, where a tombstone that can reach the token has to
// stand. Revocations of others are in nobody's way. What is pending is kept in memory, up to 256 revocations of a tenant, and is
// held against the revision of a key in the same read as the token, or, where nothing has been written for a while, against the
// revision of the answer, and that key in a second request if something was written after all; so an introspection is one request,
// hardly ever two, an exchange is two, and an issue is one, where nothing of its session has been revoked. Calls of one process that
// wait at the same time share the requests by which they read, and issues the transaction by which they commit. Revisions are those of one history of the cluster: stop all processes before a snapshot of it
// is put back, or a new cluster is forced from one member.
//
// # Limits
//
// An issue writes five keys, an exchange one. The cluster commits one transaction after the other, and every member holds
// everything: more members don't make it faster. Servers keep 2 GiB by default (--quota-backend-bytes) and are not meant for
// more than 8 GiB. A token takes about 1 KiB of that with its indexes, and each exchange as much as its record until history
// is compacted: have the servers do so (--auto-compaction-mode=periodic --auto-compaction-retention=5m), and keep it to a few
// million tokens. What outgrows a cluster moves to another backend by a full export and import.
//
// A full database takes no writes, so nothing can be revoked: watch [Backend.Health], which says how full each member is. Errors
// are [ErrFull], [ErrRefused] and [ErrUnavailable], each with [store.ErrNotCommitted] or [store.ErrUnknownOutcome] where a verb
// writes.
//
// An Insert is one commit, of up to 1,000 rows, whatever --max-txn-ops is ([Options].MaxTxnOps), but it has to fit into one request
// (--max-request-bytes). A batch that does not is a [domain.FieldError], and nothing of it is written: use smaller ones.
//
// The first commit below a prefix writes the format of the keys there. One that this version does not know is [ErrFormat].
//
// docs/adr/0016-etcd.md says why it is built so.
package etcdstore
