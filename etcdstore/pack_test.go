package etcdstore

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// fits is what a server checks of a transaction: so many operations, and as many as are left over in those within it.
func fits(cmps []clientv3.Cmp, ops, elses []clientv3.Op, most int) bool {
	n := max(len(cmps), len(ops), len(elses))
	if n > most {
		return false
	}
	for _, op := range append(ops[:len(ops):len(ops)], elses...) {
		if op.IsTxn() {
			if c, then, otherwise := op.Txn(); !fits(c, then, otherwise, most-n) {
				return false
			}
		}
	}
	return true
}

// leaves counts comparisons, and writes, of a transaction.
func leaves(cmps []clientv3.Cmp, ops []clientv3.Op) (compares, writes int) {
	compares = len(cmps)
	for _, op := range ops {
		if !op.IsTxn() {
			writes++
			continue
		}
		c, then, _ := op.Txn()
		more, deeper := leaves(c, then)
		compares, writes = compares+more, writes+deeper
	}
	return compares, writes
}

func TestPack(t *testing.T) {
	manyCmps, manyOps := make([]clientv3.Cmp, 5000), make([]clientv3.Op, 125_000)
	for i := range manyCmps {
		manyCmps[i] = clientv3.Compare(clientv3.ModRevision(fmt.Sprint(i)), "=", 0)
	}
	for i := range manyOps {
		manyOps[i] = clientv3.OpPut(fmt.Sprint(i), "")
	}
	for _, most := range []int{16, 128, 1000} {
		packs := 0
		tree := treeFor(most)
		for _, n := range []int{0, 1, tree.branches, tree.branches + 1, most, most + 1, tree.leaf * tree.branches, 20_000, 60_000} {
			for _, m := range []int{0, 1, tree.branches, tree.branches + 1, most, len(manyCmps)} {
				if !tree.holds(m, n) {
					continue
				}
				packs++
				packed, then := tree.pack(manyCmps[:m:m], manyOps[:n:n], "poison")
				if !fits(packed, then, nil, most) {
					t.Errorf("%d comparisons and %d operations do not fit into %d", m, n, most)
				}
				if compares, writes := leaves(packed, then); compares != m || writes != n {
					t.Errorf("%d comparisons and %d operations have become %d and %d", m, n, compares, writes)
				}
			}
		}
		if packs < 20 || !treeFor(128).holds(5000, 10_000) {
			t.Errorf("%d: only %d cases fit", most, packs)
		}
	}
}
