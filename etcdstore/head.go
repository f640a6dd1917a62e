package etcdstore

import (
	"time"

	"example.com/tokenstore/domain"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// head returns what the tenant knows of itself. The commit fails if that changes.
func (t *txn) head() head {
	h := t.headNow()
	t.unchanged(t.below(keyHead))
	return h
}

// headNow is head for what the commit does not depend on.
func (t *txn) headNow() head {
	i := t.peek(t.below(keyHead))
	if !i.there() {
		return head{}
	}
	return must(decode(i.value, headFields))
}

func (t *txn) putHead(h *head) { t.put(t.below(keyHead), encode(h, headFields)) }

// tipOps put the tip, whose revision is that of the latest insert or revocation, and whose value is the latest creation time
// of any token inserted so far. Nobody has to know the value to raise it, so that issues need not wait for each other.
func (t *txn) tipOps() []clientv3.Op {
	if !t.advanced {
		return nil
	}
	tip := t.below(keyTip)
	latest := instantKey(t.latest)
	raise := clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(tip), "=", 0)},
		[]clientv3.Op{clientv3.OpPut(tip, latest)},
		[]clientv3.Op{clientv3.OpPut(tip, "", clientv3.WithIgnoreValue())},
	)
	if !t.latest.IsZero() {
		raise = clientv3.OpTxn(
			[]clientv3.Cmp{clientv3.Compare(clientv3.Value(tip), "<", latest)},
			[]clientv3.Op{clientv3.OpPut(tip, latest)},
			[]clientv3.Op{raise},
		)
	}
	return []clientv3.Op{raise, t.nameOp()}
}

// nameOp names the tenant among the others, if it is not.
func (t *txn) nameOp() clientv3.Op {
	name := t.backend.opts.Prefix + allNames + t.name
	return clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(name), "=", 0)},
		[]clientv3.Op{clientv3.OpPut(name, "")}, nil,
	)
}

// tip returns the latest creation time of any token inserted so far, and the number of the latest insert or revocation.
func (t *txn) tip(h *head) (latest time.Time, sequence uint64) {
	i := t.peek(t.below(keyTip))
	if !i.there() {
		return time.Time{}, h.raised
	}
	if sequence = i.revision() + lastPlace; uint64(i.mod) > h.since {
		sequence += h.base
	}
	return instantOf(string(i.value)), max(sequence, h.raised)
}

// notLater has the commit fail if the latest creation time has risen above the given one.
func (t *txn) notLater(than time.Time) {
	key := t.below(keyTip)
	if i := t.peek(key); !i.there() {
		t.unchanged(key)
		return
	}
	t.others = append(t.others, clientv3.Compare(clientv3.Value(key), "<", instantKey(than.Add(1))))
}

// forgetGuards raises the horizon to guards that are dropped.
func (t *txn) forgetGuards(guards ...domain.Guard) {
	h := t.head()
	before := h.horizon
	for _, g := range guards {
		h.horizon = h.horizon.Forget(g)
	}
	if h.horizon != before {
		t.putHead(&h)
	}
}
