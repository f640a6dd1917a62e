package boltstore_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// childEnv names what a test binary that is run as a child process does instead of testing.
const childEnv = "BOLTSTORE_TEST_CHILD"

var children = map[string]func(args []string) error{
	"backup":  backupChild,
	"crash":   crashChild,
	"create":  createChild,
	"damaged": damagedChild,
	"hold":    holdChild,
	"import":  importChild,
	"restore": restoreChild,
	"remake":  remakeChild,
}

func TestMain(m *testing.M) {
	name := os.Getenv(childEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := children[name](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child is this test binary as a process of its own. It is killed when ctx ends.
func child(t testing.TB, ctx context.Context, name string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

// bounded is a context for what must end by itself, and long before.
func bounded(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// base is the time of all that has no reason to be at another.
var base = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func temporary(t testing.TB) string { return filepath.Join(t.TempDir(), "tokens.db") }

// open opens a file, and closes it when the test ends.
func open(t testing.TB, path string, opts *boltstore.Options) *boltstore.Backend {
	t.Helper()
	b, err := boltstore.Open(path, opts)
	if err != nil {
		t.Fatalf("a file of ours must open: got %v", err)
	}
	t.Cleanup(func() { shut(t, b) })
	return b
}

func shut(t testing.TB, b *boltstore.Backend) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Errorf("Close must succeed: got %v", err)
	}
}

func tenant(t testing.TB, b *boltstore.Backend, name string) store.Store {
	t.Helper()
	s, err := b.Tenant(name)
	if err != nil {
		t.Fatalf("a tenant needs no creation: got %v", err)
	}
	return s
}

// idOf is the id with the given number.
func idOf(n int) (id ulid.ULID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
	return id
}

// plain is the token with the given number.
func plain(n int, user, session string) domain.RefreshToken {
	token := domain.RefreshToken{ID: idOf(n), UserID: user, ClientID: "client", CreatedAt: base}
	if session != "" {
		token.SessionID = domain.MustSessionID(session)
	}
	return token
}

// insert adds tokens that nothing bars, in batches.
func insert(t testing.TB, s store.Store, tokens ...domain.RefreshToken) {
	t.Helper()
	for len(tokens) > 0 {
		batch := tokens[:min(len(tokens), store.MaxBatch)]
		tokens = tokens[len(batch):]
		rows := make([]store.Insertion, len(batch))
		for i := range batch {
			rows[i].Token = batch[i]
		}
		results, err := s.Insert(t.Context(), rows)
		if err != nil {
			t.Fatalf("Insert must succeed: got %v", err)
		}
		for _, r := range results {
			if r.Err != nil {
				t.Fatalf("a token that nothing bars must be admitted: got %v", r.Err)
			}
		}
	}
}

// fill gives a tenant n tokens, of ten to a user and five to a session.
func fill(t testing.TB, s store.Store, n int) {
	t.Helper()
	tokens := make([]domain.RefreshToken, n)
	for i := range tokens {
		tokens[i] = plain(i, fmt.Sprint("user-", i/10), fmt.Sprint("session-", i/5))
	}
	insert(t, s, tokens...)
}

func revocation(id int, targets ...domain.Target) store.Revocation {
	return store.Revocation{ID: idOf(id), Targets: targets, Time: base.Add(time.Hour), Reason: "test"}
}

func revoke(t testing.TB, s store.Store, id int, targets ...domain.Target) store.Status {
	t.Helper()
	status, err := s.Revoke(t.Context(), revocation(id, targets...))
	if err != nil {
		t.Fatalf("a valid revocation must be recorded: got %v", err)
	}
	return status
}

// sweep applies one slice after the other until nothing of the tenant is pending.
func sweep(ctx context.Context, s store.Store) error {
	for {
		page, err := s.Revocations(ctx, store.RevocationQuery{Limit: store.MaxSlice})
		if err != nil || len(page.Revocations) == 0 {
			return err
		}
		var ids []ulid.ULID
		for _, status := range page.Revocations {
			ids = append(ids, status.Tombstone.ID)
		}
		if _, err := s.Apply(ctx, ids, store.Bounds{Visit: 1000, Remove: 1000, Now: base.Add(2 * time.Hour)}); err != nil {
			return err
		}
	}
}

// mark is a decision to write a note into the token's metadata.
func mark(text string) func(store.View) store.Decision {
	metadata, err := domain.NewMetadata(map[string]string{"note": text})
	return func(v store.View) store.Decision {
		next := v.Token
		next.Metadata = metadata
		return store.Decision{Next: &next, Err: err}
	}
}

// wantClean expects the file to be in order.
func wantClean(t testing.TB, b *boltstore.Backend) {
	t.Helper()
	findings, err := b.Check(t.Context())
	if err != nil || len(findings) > 0 {
		t.Fatalf("the file must be in order: found %q, error %v", findings, err)
	}
}

// list walks all pages of a query and calls f with each token.
func list(ctx context.Context, s store.Store, q store.Query, f func(domain.RefreshToken)) error {
	q.Limit = store.MaxPage
	for {
		page, err := s.List(ctx, q)
		if err != nil {
			return err
		}
		for _, token := range page.Tokens {
			f(token)
		}
		if page.Next.IsZero() {
			return nil
		}
		q.After = page.Next
	}
}

func ids(statuses ...store.Status) (ids []ulid.ULID) {
	for _, status := range statuses {
		ids = append(ids, status.Tombstone.ID)
	}
	return ids
}
