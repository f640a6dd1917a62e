package cluster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/internal/sidebyside"
	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// The benchmarks compare a manager's verbs with what the same cluster does bare, through the same client: a put of as many bytes as a record has,
// a put of as many keys as an issue writes, and a linearizable get. The two take turns; what counts is the ratio, which is how many
// times as quick as the bare call the verb is.
//
//	go test -run '^$' -bench Beside -benchtime 8000x

// keysOfIssue is how many keys an issue of a token with a session writes: the record, the indexes of its user, its session and when it is
// due, and the tenant's.
const keysOfIssue = 5

// keysOfIntrospect is how many keys an introspection reads: the token, and what tells whether more is pending than is known, which is
// spared while nothing is written.
const keysOfIntrospect = 2

// writesApart is how far apart the writes of others are that keep introspections from sparing it.
const writesApart = 5 * time.Millisecond

func BenchmarkBeside(b *testing.B) {
	client, ctx := shared.client, b.Context()
	prefix := prefix()
	backend, err := etcdstore.New(client, &etcdstore.Options{Prefix: prefix})
	if err != nil {
		b.Fatal(err)
	}
	manager, err := tokenstore.New(backend, nil)
	if err != nil {
		b.Fatal(err)
	}
	issue := func() (tokenstore.Secret, error) {
		issued, err := manager.Issue(ctx, tokenstore.IssueRequest{
			UserID: "auth0|" + ulid.Make().String(), ClientID: "client", SessionID: tokenstore.MustSessionID("session"),
		})
		return issued.Secret, err
	}
	record := strings.Repeat("x", 300)
	put := func(keys int) func(int) error {
		return func(int) error {
			id := prefix + "bare/" + ulid.Make().String()
			ops := []clientv3.Op{clientv3.OpPut(id, record)}
			for i := 1; i < keys; i++ {
				ops = append(ops, clientv3.OpPut(fmt.Sprint(id, i), ""))
			}
			_, err := client.Txn(ctx).Then(ops...).Commit()
			return err
		}
	}
	known := make([]tokenstore.Secret, 256) // more than there are callers, each of which exchanges another one
	for i := range known {
		if known[i], err = issue(); err != nil {
			b.Fatal(err)
		}
	}
	for _, key := range []string{"bare", "bare0", "bare1"} {
		if _, err := client.Put(ctx, prefix+key, record); err != nil {
			b.Fatal(err)
		}
	}
	issueOne := func(int) error {
		_, err := issue()
		return err
	}
	exchange := func(i int) error {
		secret := &known[i%len(known)]
		next, err := manager.Exchange(ctx, tokenstore.ExchangeRequest{Secret: *secret, ClientID: "client"})
		*secret = next.Secret
		return err
	}
	introspect := func(i int) error {
		in, err := manager.Introspect(ctx, known[i%len(known)])
		if err == nil && !in.Active {
			err = in.Cause
		}
		return err
	}
	get := func(int) error {
		_, err := client.Get(ctx, prefix+"bare")
		return err
	}
	for _, c := range []struct {
		name       string
		ours, bare func(int) error
		disturbed  bool // others write meanwhile
	}{
		{"issue to a put", issueOne, put(1), false},
		{"issue to a put of as many keys", issueOne, put(keysOfIssue), false},
		{"exchange to a put", exchange, put(1), false},
		{"introspect to a get", introspect, get, false},
		{"introspect to a get beside writes", introspect, get, true},
		{"introspect to a get of two keys beside writes", introspect, func(int) error {
			ops := make([]clientv3.Op, keysOfIntrospect)
			for i := range ops {
				ops[i] = clientv3.OpGet(fmt.Sprint(prefix, "bare", i))
			}
			_, err := client.Txn(ctx).Then(ops...).Commit()
			return err
		}, true},
	} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", c.name, callers), func(b *testing.B) {
				if c.disturbed {
					defer disturb(b, put(1))()
				}
				sidebyside.Compare(b, "×bare", callers, c.ours, c.bare)
			})
		}
	}
}

// disturb has others write until what it returns is called.
func disturb(b *testing.B, put func(int) error) (end func()) {
	ended, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(writesApart)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ended:
				return
			}
			if err := put(0); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-over
	}
}
