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
//	go test -run '^$' -bench Beside -benchtime 2000x

// keysOfIssue is how many keys an issue of a token with a session writes: the record, the indexes of its user, its session and when it is
// due, and the tenant's.
const keysOfIssue = 5

// keysOfIntrospect is how many keys an introspection reads: the token, and what tells whether more is pending than is known.
const keysOfIntrospect = 2

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
	for _, c := range []struct {
		name       string
		ours, bare func(int) error
	}{
		{"issue to a put", func(int) error { return insert(token()) }, put(1)},
		{"issue to a put of as many keys", func(int) error { return insert(token()) }, put(keysOfIssue)},
		{"exchange to a put", func(i int) error {
			return st.Update(ctx, known[i%len(known)].ID, func(v store.View) store.Decision {
				v.Token.Generation++
				return store.Decision{Next: &v.Token}
			})
		}, put(1)},
		{"introspect to a get", introspect, func(int) error {
			_, err := client.Get(ctx, prefix+"bare")
			return err
		}},
		{"introspect to a get of as many keys", introspect, func(int) error {
			ops := make([]clientv3.Op, keysOfIntrospect)
			for i := range ops {
				ops[i] = clientv3.OpGet(fmt.Sprint(prefix, "bare", i))
			}
			_, err := client.Txn(ctx).Then(ops...).Commit()
			return err
		}},
	} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", c.name, callers), func(b *testing.B) {
				sidebyside.Compare(b, "×bare", callers, c.ours, c.bare)
			})
		}
	}
}
