package cluster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/internal/sidebyside"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// The benchmarks compare verbs with what the same cluster does bare, through the same client: a put of as many bytes as a record has,
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
	st, err := backend.Tenant("tenant")
	if err != nil {
		b.Fatal(err)
	}
	session, err := domain.NewSessionID("session")
	if err != nil {
		b.Fatal(err)
	}
	token := func() domain.RefreshToken {
		now := time.Now().UTC()
		return domain.RefreshToken{
			ID: ulid.Make(), UserID: "auth0|" + ulid.Make().String(), ClientID: "client", SessionID: session, CreatedAt: now,
			ExpiresAt: now.Add(time.Hour), FamilyDigest: domain.Digest{1}, SecretDigest: domain.Digest{2}, Rotating: true,
		}
	}
	insert := func(token domain.RefreshToken) error {
		results, err := st.Insert(ctx, []store.Insertion{{Token: token}})
		if err == nil {
			err = results[0].Err
		}
		return err
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
	var known []domain.RefreshToken // more than there are callers, each of which exchanges another one
	for range 256 {
		known = append(known, token())
		if err := insert(known[len(known)-1]); err != nil {
			b.Fatal(err)
		}
	}
	for _, key := range []string{"bare", "bare0", "bare1"} {
		if _, err := client.Put(ctx, prefix+key, record); err != nil {
			b.Fatal(err)
		}
	}
	introspect := func(i int) error {
		_, err := st.Get(ctx, known[i%len(known)].ID)
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
		{"issue to a put", func(int) error { return insert(token()) }, put(1), false},
		{"issue to a put of as many keys", func(int) error { return insert(token()) }, put(keysOfIssue), false},
		{"exchange to a put", func(i int) error {
			return st.Update(ctx, known[i%len(known)].ID, func(v store.View) store.Decision {
				v.Token.Generation++
				return store.Decision{Next: &v.Token}
			})
		}, put(1), false},
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
