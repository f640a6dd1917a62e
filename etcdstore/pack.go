package etcdstore

import (
	"math"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A server takes so many operations in one transaction (--max-txn-ops, 128 by default), and as many comparisons. But an
// operation may be a transaction itself, with as many of its own as the levels above it leave over. So a large commit is a
// tree: some transactions of some transactions of some operations, applied as one, with one revision.
//
// Comparisons of a transaction within another decide over that one alone. Where all have to hold, the inner one asks for
// what the server must refuse if they don't, and with it refuses the whole tree before anything of it is applied: a read of
// a revision that is yet to come.

// tree says how wide the levels of a large transaction are.
type tree struct{ branches, leaf int }

func treeFor(maxOps int) tree { return tree{branches: max(1, maxOps/4), leaf: max(1, maxOps/2)} }

// holds reports whether so many comparisons and operations fit.
func (t tree) holds(cmps, ops int) bool {
	return (cmps+t.leaf-1)/t.leaf+(ops+t.leaf-1)/t.leaf <= t.branches*t.branches
}

// pack returns the arguments of one transaction.
func (t tree) pack(cmps []clientv3.Cmp, ops []clientv3.Op, poison string) ([]clientv3.Cmp, []clientv3.Op) {
	if len(cmps) <= t.branches && len(ops) <= t.branches {
		return cmps, ops
	}
	var leaves []clientv3.Op
	if len(cmps) > t.branches {
		refuse := []clientv3.Op{clientv3.OpGet(poison, clientv3.WithRev(math.MaxInt64))}
		for some := range slices.Chunk(cmps, t.leaf) {
			leaves = append(leaves, clientv3.OpTxn(some, nil, refuse))
		}
		cmps = nil
	}
	for some := range slices.Chunk(ops, t.leaf) {
		leaves = append(leaves, clientv3.OpTxn(nil, some, nil))
	}
	if len(leaves) <= t.branches {
		return cmps, leaves
	}
	var top []clientv3.Op
	for some := range slices.Chunk(leaves, t.branches) {
		top = append(top, clientv3.OpTxn(nil, some, nil))
	}
	return cmps, top
}
