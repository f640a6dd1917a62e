package cluster_test

import (
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// BenchmarkBeside measures verbs beside what the same cluster does bare, in one run: a put of as many bytes as a record has, and a
// linearizable get. -cpu says how many callers there are for each.
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
	issue := func(b testing.TB) domain.RefreshToken {
		token := token()
		results, err := st.Insert(ctx, []store.Insertion{{Token: token}})
		if err != nil || results[0].Err != nil {
			b.Fatal(err, results)
		}
		return token
	}
	known := issue(b)
	bare := strings.Repeat("x", 300)
	if _, err := client.Put(ctx, prefix+"bare", bare); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		call func(testing.TB)
	}{
		{"bare put", func(b testing.TB) {
			if _, err := client.Put(ctx, prefix+"bare/"+ulid.Make().String(), bare); err != nil {
				b.Fatal(err)
			}
		}},
		{"bare put of five keys", func(b testing.TB) {
			id := ulid.Make().String()
			var ops []clientv3.Op
			for i := range 5 {
				value := ""
				if i == 0 {
					value = bare
				}
				ops = append(ops, clientv3.OpPut(prefix+"bare/"+id+string(rune('a'+i)), value))
			}
			if _, err := client.Txn(ctx).Then(ops...).Commit(); err != nil {
				b.Fatal(err)
			}
		}},
		{"issue", func(b testing.TB) { issue(b) }},
		{"exchange", func(b testing.TB) {
			err := st.Update(ctx, known.ID, func(v store.View) store.Decision {
				v.Token.Generation++
				return store.Decision{Next: &v.Token}
			})
			if err != nil {
				b.Fatal(err)
			}
		}},
		{"bare get", func(b testing.TB) {
			if _, err := client.Get(ctx, prefix+"bare"); err != nil {
				b.Fatal(err)
			}
		}},
		{"introspect", func(b testing.TB) {
			if _, err := st.Get(ctx, known.ID); err != nil {
				b.Fatal(err)
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			if c.name == "exchange" {
				for b.Loop() {
					c.call(b)
				}
				return
			}
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c.call(b)
				}
			})
		})
	}
}
