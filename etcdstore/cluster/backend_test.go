package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/etcdstore/cluster"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// What one process records another one hears of, from the moment it watches; also what came while history was dropped.
func TestWatch(t *testing.T) {
	b := newBetween(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	heard := make(chan ulid.ULID, 1000)
	over := make(chan error, 1)
	watcher := b.backend.(*spread).backends[2]
	go func() {
		over <- watcher.Watch(ctx, func(tenant string, id ulid.ULID) {
			if tenant != "tenant" {
				t.Errorf("a revocation must be told of with its tenant: got %q", tenant)
			}
			heard <- id
		})
	}()
	await := func(id ulid.ULID) {
		t.Helper()
		for {
			select {
			case is := <-heard:
				if is == id {
					return
				}
			case <-ctx.Done():
				t.Fatal("a revocation of another process must be heard of")
			}
		}
	}
	for len(heard) == 0 && ctx.Err() == nil { // until the watch stands
		b.revoke(b.quick, domain.Target{UserID: "first"})
	}
	for i := range 5 {
		r := b.revoke(b.quick, domain.Target{UserID: fmt.Sprint("user-", i)})
		await(r.Tombstone.ID)
	}
	b.sweep(b.quick, b.revoke(b.quick, domain.Target{UserID: "swept"}).Tombstone.ID)
	await(b.revoke(b.quick, domain.Target{UserID: "last"}).Tombstone.ID)
	stop()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch must end with its context: got %v", err)
	}
}

// A part of a cluster under one prefix knows nothing of that under another, though the names of tenants are the same.
func TestPrefixesAreApart(t *testing.T) {
	first, second := newBetween(t), newBetween(t)
	token := first.token("user")
	first.insert(first.quick, rows(domain.AsOf{}, token))
	first.revoke(first.quick, domain.Target{Everything: true})
	if _, err := second.quick.Get(t.Context(), token.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
	if got := second.state(); got != (store.State{}) {
		t.Errorf("got %+v, want nothing", got)
	}
	for _, names := range []func(context.Context, string, int) ([]string, error){second.backend.Pending, second.backend.Tenants} {
		if got, err := names(t.Context(), "", 10); err != nil || len(got) > 0 {
			t.Errorf("got %q, %v, want none", got, err)
		}
	}
}

// More revocations are pending than are kept in memory: they are looked up, and reach what they reach.
func TestManyPending(t *testing.T) {
	b := newBetween(t)
	covered, other := b.token("user-299"), b.token("other")
	b.insert(b.quick, rows(domain.AsOf{}, covered, other))
	asOf := domain.AsOfSequence(b.state().Sequence)
	for i := range 300 {
		id := b.id()
		id[1], id[2] = byte(i>>8), byte(i)
		_, err := b.quick.Revoke(t.Context(), store.Revocation{ID: id, Targets: []domain.Target{{UserID: fmt.Sprint("user-", i)}}, Time: base})
		must(t, err)
	}
	for range 4 { // each process
		for _, c := range []struct {
			id      ulid.ULID
			revoked bool
		}{{covered.ID, true}, {other.ID, false}} {
			v, err := b.quick.Get(t.Context(), c.id)
			if err != nil || v.Revoked() != c.revoked {
				t.Fatalf("got %+v, %v, want revoked %t", v, err, c.revoked)
			}
			err = b.quick.Update(t.Context(), c.id, func(v store.View) store.Decision {
				v.Token.Retries++
				return store.Decision{Next: &v.Token}
			})
			if errors.Is(err, store.ErrCovered) != c.revoked || !c.revoked && err != nil {
				t.Fatalf("got %v, want revoked %t", err, c.revoked)
			}
		}
	}
	results := b.insert(b.quick, rows(asOf, b.token("user-7"), b.token("other")))
	if !errors.Is(results[0].Err, domain.ErrRevoked) || results[1].Err != nil {
		t.Errorf("got %v and %v", results[0].Err, results[1].Err)
	}
	page, err := b.quick.List(t.Context(), store.Query{Limit: 10, Fenced: true})
	if err != nil || len(page.Tokens) != 2 {
		t.Errorf("got %d tokens, %v, want those that are not covered", len(page.Tokens), err)
	}
}

// large are tokens that are as large as real ones hardly get.
func (b *between) large(n int) (tokens []domain.RefreshToken) {
	metadata := map[string]string{}
	for i := range domain.MaxMetadata {
		metadata[strings.Repeat(string(rune('a'+i)), domain.MaxMetadataText)] = strings.Repeat("x", domain.MaxMetadataText)
	}
	for i := range n {
		token := b.token("user")
		token.ID[1], token.ID[2] = byte(i>>8), byte(i)
		token.Metadata, _ = domain.NewMetadata(metadata)
		tokens = append(tokens, token)
	}
	return tokens
}

// A batch that does not fit into a request is refused by name, and nothing of it is written. In parts it is taken.
func TestBatchThatDoesNotFit(t *testing.T) {
	b := newBetween(t)
	tokens := b.large(600)
	_, err := b.quick.Insert(t.Context(), rows(domain.AsOf{}, tokens...))
	field, ok := errors.AsType[*domain.FieldError](err)
	if !ok || field.Field != "tokens" || field.Size == 0 {
		t.Fatalf("got %v, want a FieldError of tokens", err)
	}
	if got := b.state(); got != (store.State{}) {
		t.Errorf("nothing of it must be written: got %+v", got)
	}
	for part := range slices.Chunk(tokens, 80) {
		for _, r := range b.insert(b.quick, rows(domain.AsOf{}, part...)) {
			must(t, r.Err)
		}
	}
	if got := b.state().Tokens; got != len(tokens) {
		t.Errorf("got %d tokens, want %d", got, len(tokens))
	}
}

// The way out, and in: a tenant moves from the cluster to a file and back to another part of the cluster, and its secrets with it.
func TestMove(t *testing.T) {
	from := openSpread(t, prefix())
	defer from.Close()
	m := manager(t, from)
	ctx := t.Context()
	issue := func(user string) tokenstore.Issued {
		out, err := m.Issue(ctx, tokenstore.IssueRequest{UserID: user, ClientID: "client", SessionID: tokenstore.MustSessionID(user)})
		must(t, err)
		return out
	}
	kept, gone := issue("kept"), issue("gone")
	_, err := m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "gone"}}})
	must(t, err)
	for _, to := range []store.Backend{file(t), openSpread(t, prefix())} {
		defer to.Close()
		st, err := from.Tenant("default")
		must(t, err)
		page, err := st.Revocations(ctx, store.RevocationQuery{Limit: 10})
		must(t, err)
		for _, status := range page.Revocations {
			_, err := st.Apply(ctx, []ulid.ULID{status.Tombstone.ID}, store.Bounds{Visit: 100, Remove: 100, Now: time.Now()})
			must(t, err)
		}
		var text bytes.Buffer
		_, err = m.Export(ctx, &text, &tokenstore.ExportOptions{Full: true})
		must(t, err)
		m = manager(t, to)
		if _, err := m.ImportFull(ctx, &text, nil); err != nil {
			t.Fatal(err)
		}
		next, err := m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: kept.Secret, ClientID: "client"})
		must(t, err)
		kept.Secret = next.Secret
		if _, err := m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: gone.Secret, ClientID: "client"}); !errors.Is(err, tokenstore.ErrInvalidGrant) {
			t.Errorf("what was revoked must stay so: got %v", err)
		}
		from = to
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []etcdstore.Options{{MaxTxnOps: 15}, {MaxRequestBytes: 1}, {RequestTimeout: -1}} {
		if _, err := etcdstore.New(shared.client, &o); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("%+v: got %v, want a FieldError", o, err)
		}
	}
}

func TestHealth(t *testing.T) {
	b, err := etcdstore.New(shared.client, nil)
	must(t, err)
	h, err := b.Health(t.Context())
	if err != nil || !h.Leader || h.NoSpace || h.Corrupt || len(h.Members) != cluster.Size {
		t.Fatalf("got %+v, %v", h, err)
	}
	leads := 0
	for _, m := range h.Members {
		if m.Err != nil || m.Version == "" || m.Size == 0 || m.InUse == 0 || m.Quota == 0 {
			t.Errorf("got %+v", m)
		}
		if m.Leads {
			leads++
		}
	}
	if leads != 1 {
		t.Errorf("%d members lead", leads)
	}
	must(t, b.Close())
	if _, err := b.Health(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("got %v, want closed", err)
	}
}

// What the first commit writes is the format. A database of another one is refused, by a process that comes and by one that was about to be
// the first to write; and so is one whose format can't be read.
func TestFormat(t *testing.T) {
	b := newBetween(t)
	ctx, prefix := t.Context(), b.backend.(*spread).prefix
	key := prefix + "f"
	must(t, second(shared.client.Delete(ctx, key)))
	fresh := func() store.Store {
		backend, err := etcdstore.New(shared.client, &etcdstore.Options{Prefix: prefix})
		must(t, err)
		st, err := backend.Tenant("tenant")
		must(t, err)
		return st
	}
	is := func(want string) {
		t.Helper()
		r, err := shared.client.Get(ctx, key)
		must(t, err)
		if got := fmt.Sprintf("%q", r.Kvs); len(r.Kvs) > 1 || (want == "") != (len(r.Kvs) == 0) || want != "" && string(r.Kvs[0].Value) != want {
			t.Errorf("got format %s, want %q", got, want)
		}
	}
	refused := func(st store.Store, want error) {
		t.Helper()
		keys, bytes := size(t, b.backend)
		id := b.id()
		_, gets := st.Get(ctx, id)
		updates := st.Update(ctx, id, func(store.View) store.Decision { return store.Decision{} })
		_, inserts := st.Insert(ctx, rows(domain.AsOf{}, b.token("user")))
		_, revokes := st.Revoke(ctx, store.Revocation{ID: id, Targets: []domain.Target{{UserID: "user"}}, Time: base})
		for _, err := range []error{gets, updates, inserts, revokes} {
			if !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		if k, n := size(t, b.backend); k != keys || n != bytes {
			t.Errorf("what is refused must write nothing")
		}
	}
	if _, err := fresh().Get(ctx, b.id()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
	is("")
	b.when(func() { must(t, second(shared.client.Put(ctx, key, "2"))) })
	if _, err := b.slow.Insert(ctx, rows(domain.AsOf{}, b.token("user"))); !errors.Is(err, etcdstore.ErrFormat) {
		t.Errorf("what was of another format before the first commit must be refused: got %v", err)
	}
	b.happened()
	refused(fresh(), etcdstore.ErrFormat)
	must(t, second(shared.client.Put(ctx, key, "one")))
	refused(fresh(), etcdstore.ErrCorrupt)
	must(t, second(shared.client.Delete(ctx, key)))
	for range 2 { // the second finds it
		b.insert(fresh(), rows(domain.AsOf{}, b.token("user")))
		is("1")
	}
}

// A cluster that nobody reaches is an error that says so, and whether anything may have been written.
func TestUnreachable(t *testing.T) {
	nodes, err := cluster.Nodes(t.TempDir())
	must(t, err)
	client, err := cluster.Client(nodes[0].Client)
	must(t, err)
	defer client.Close()
	b, err := etcdstore.New(client, &etcdstore.Options{RequestTimeout: 500 * time.Millisecond})
	must(t, err)
	st, err := b.Tenant("tenant")
	must(t, err)
	_, err = st.Get(t.Context(), ulid.Make())
	if !errors.Is(err, etcdstore.ErrUnavailable) || errors.Is(err, store.ErrNotCommitted) {
		t.Errorf("Get: got %v", err)
	}
	err = st.Update(t.Context(), ulid.Make(), func(store.View) store.Decision { return store.Decision{} })
	if !errors.Is(err, etcdstore.ErrUnavailable) || !errors.Is(err, store.ErrNotCommitted) {
		t.Errorf("Update: got %v", err)
	}
	if _, err := b.Health(t.Context()); !errors.Is(err, etcdstore.ErrUnavailable) {
		t.Errorf("Health: got %v", err)
	}
}

// A user of the cluster needs no permission but to read and write what is below the prefix.
func TestPermissions(t *testing.T) {
	lone := startGuarded(t)
	ctx := t.Context()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{lone.Client}, Username: guest, Password: guestPassword, Logger: zap.NewNop()})
	must(t, err)
	defer client.Close()
	within, err := etcdstore.New(client, nil)
	must(t, err)
	b := &between{t: t, backend: within}
	b.quick, err = within.Tenant("tenant")
	must(t, err)
	var many []domain.RefreshToken
	for range 100 {
		many = append(many, b.token("user"))
	}
	b.insert(b.quick, rows(domain.AsOf{}, many...))
	r := b.revoke(b.quick, domain.Target{UserID: "user"}, domain.Target{ClientID: "client"})
	b.sweep(b.quick, r.Tombstone.ID)
	if got := b.state(); got.Tokens != 0 {
		t.Errorf("got %+v", got)
	}
	names, err := within.Tenants(ctx, "", 10)
	if err != nil || len(names) != 1 {
		t.Errorf("got %q, %v", names, err)
	}
	outside, err := etcdstore.New(client, &etcdstore.Options{Prefix: "others/"})
	must(t, err)
	st, err := outside.Tenant("tenant")
	must(t, err)
	_, err = st.Insert(ctx, rows(domain.AsOf{}, b.token("user")))
	if !errors.Is(err, etcdstore.ErrRefused) || !errors.Is(err, store.ErrNotCommitted) {
		t.Errorf("what is not permitted must be refused: got %v", err)
	}
}

func manager(t *testing.T, b store.Backend) *tokenstore.Manager {
	t.Helper()
	m, err := tokenstore.New(b, &tokenstore.Options{Tenant: "default"})
	must(t, err)
	return m
}
