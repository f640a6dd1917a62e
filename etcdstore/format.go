package etcdstore

import (
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// format is that of all keys and values below the prefix. The first commit writes it, in decimal digits; where it is missing, it is 1.
const format = 1

// checkFormat refuses a database of a format that this version does not know. A backend asks until it knows.
func (t *txn) checkFormat() {
	if t.backend.formatted.Load() {
		return
	}
	t.mayRead()
	r, err := t.backend.ask(t.ctx, gets([]string{t.formatKey()}))
	check(t.unread(err))
	if len(r.ranges[0].Kvs) == 0 {
		t.unformatted = true
		return
	}
	text := string(r.ranges[0].Kvs[0].Value)
	switch is, err := strconv.ParseUint(text, 10, 64); {
	case err != nil:
		check(fmt.Errorf("%w: the format below %q is %q", ErrCorrupt, t.backend.opts.Prefix, text))
	case is != format:
		check(fmt.Errorf("%w: what is below %q has format %d, this version knows %d", ErrFormat, t.backend.opts.Prefix, is, format))
	}
	t.backend.formatted.Store(true)
}

// writeFormat is what a commit does about the format, if it was missing. Another process may have written it meanwhile, and another one.
func (t *txn) writeFormat() ([]clientv3.Cmp, []clientv3.Op) {
	if !t.unformatted {
		return nil, nil
	}
	key := t.formatKey()
	return []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}, []clientv3.Op{clientv3.OpPut(key, strconv.Itoa(format))}
}

func (t *txn) formatKey() string { return t.backend.opts.Prefix + allFormat }
