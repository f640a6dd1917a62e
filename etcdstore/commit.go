package etcdstore

import (
	"errors"

	"example.com/tokenstore/domain"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// commit writes what the run has written, if nothing that it relies on has changed, and reports whether it did.
func (t *txn) commit() (committed bool, err error) {
	cmps, ops := t.writeFormat()
	cmps = append(cmps, t.others...)
	for key, mod := range t.same {
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(key), "=", mod))
	}
	for s := range t.still {
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(s.start).WithRange(s.end), "<", t.rev+1))
	}
	ops = append(ops, t.special...)
	ops = append(ops, t.tipOps()...)
	for key, w := range t.writes {
		if w.gone {
			ops = append(ops, clientv3.OpDelete(key))
		} else {
			ops = append(ops, clientv3.OpPut(key, string(w.value)))
		}
	}
	tree := treeFor(t.backend.opts.MaxTxnOps)
	if err := t.fits(tree.holds(len(cmps), len(ops))); err != nil {
		return false, err
	}
	cmps, ops = tree.pack(cmps, ops, t.root+keyMark)
	ctx, cancel := t.backend.requestContext(t.ctx)
	defer cancel()
	r, err := t.backend.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrFutureRev):
		return false, nil
	case err != nil:
		return false, uncommitted(t.ctx, err)
	case !r.Succeeded:
		return false, nil
	}
	t.settle(t.rev, r.Header.Revision)
	t.backend.saw(r.Header.Revision)
	return true, nil
}

// fits refuses what the cluster would.
func (t *txn) fits(holds bool) error {
	if size := t.size(); size > t.backend.opts.MaxRequestBytes || !holds {
		return &domain.FieldError{Field: "tokens", Limit: "no more than fit into one request of the cluster", Size: size}
	}
	return nil
}

// size estimates how much a commit takes.
func (t *txn) size() (bytes int) {
	for key, w := range t.writes {
		bytes += len(key) + len(w.value) + 16
	}
	for key := range t.same {
		bytes += len(key) + 24
	}
	for s := range t.still {
		bytes += len(s.start) + len(s.end) + 24
	}
	return bytes
}
