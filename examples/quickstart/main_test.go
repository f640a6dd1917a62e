package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

// The test binary is the first process, too.
func TestMain(m *testing.M) {
	if isFirst() {
		main()
	}
	goleak.VerifyTestMain(m)
}

// run has both halves in this process, with nobody killed in between.
func run(ctx context.Context, backend store.Backend, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var h *handover
	err := first(ctx, backend, 0, out, func(half *handover) error {
		h = half
		return nil
	})
	if err != nil {
		return err
	}
	return second(ctx, backend, h, out)
}

// The whole program, with its first process killed.
func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	var out bytes.Buffer
	if err := twoProcesses(path, 3000, &out); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"\nkilled the process in the middle of the sweep\n", "\nthe second run has finished the sweep", "\nconverged\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("the report lacks %q:\n%s", line, out.String())
		}
	}
	if err := twoProcesses(path, 0, &out); err == nil {
		t.Error("a file that is there must not be written to")
	}
	b, err := boltstore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if findings, err := b.Check(t.Context()); err != nil || len(findings) > 0 {
		t.Errorf("the file must be in order: %q, %v", findings, err)
	}
}

// A first process that ends too early is noticed.
func TestFirstProcessFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "tokens.db")
	var out bytes.Buffer
	if err := twoProcesses(path, 0, &out); err == nil || strings.Contains(out.String(), "converged") {
		t.Errorf("got error %v, and the report\n%s", err, out.String())
	}
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), memstore.New(), &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), "\nconverged\n") {
		t.Errorf("the last line is not \"converged\":\n%s", out.String())
	}
	if strings.Contains(out.String(), "[secret]") {
		t.Errorf("something tried to print a secret:\n%s", out.String())
	}
}

// The fixture lies on both sides of both cut-offs, and on the cut-offs themselves.
func TestFixture(t *testing.T) {
	for name, rule := range map[string]domain.LegacyRule{"tokens.ndjson": {}, "tokens-us-3.ndjson": domain.US3()} {
		tokens, err := read(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "tokens.ndjson" && len(tokens) < 1000 {
			t.Errorf("%s has %d tokens, want 1000 or more", name, len(tokens))
		}
		var last, first bool
		for _, token := range tokens {
			if err := rule.Check(token.CreatedAt, token.SessionID); err != nil {
				t.Errorf("%s: %v: %v", name, token.CreatedAt, err)
			}
			last = last || token.CreatedAt.Equal(rule.At().Add(-time.Millisecond))
			first = first || token.CreatedAt.Equal(rule.At())
		}
		if !last || !first {
			t.Errorf("%s: the last legacy token is there: %t; the first other one: %t", name, last, first)
		}
	}
}

// Whatever a backend does wrong, run says so and does not end in "converged".
func TestRunNotices(t *testing.T) {
	tests := map[string]func(store.Store) store.Store{
		"a sweep that removes nothing": func(s store.Store) store.Store { return idleSweep{s} },
		"a sweep that goes too far":    func(s store.Store) store.Store { return greedySweep{s} },
		"a sweep that forgets one":     func(s store.Store) store.Store { return &ghost{Store: s} },
		"no fence at the exchange":     func(s store.Store) store.Store { return noFence{s} },
		"no fence at the list":         func(s store.Store) store.Store { return unfencedList{s} },
		"another secret at a retry":    func(s store.Store) store.Store { return otherSalt{s} },
		"an import that resurrects":    func(s store.Store) store.Store { return forgetful{s} },
	}
	for name, wrap := range tests {
		t.Run(name, func(t *testing.T) {
			backend := memstore.New()
			mustFail(t, broken{Backend: backend, tenant: func(name string) (store.Store, error) {
				s, err := backend.Tenant(name)
				return wrap(s), err
			}})
		})
	}
	t.Run("tenants that are one", func(t *testing.T) {
		backend := memstore.New()
		mustFail(t, broken{Backend: backend, tenant: func(string) (store.Store, error) { return backend.Tenant("one") }})
	})
}

func mustFail(t *testing.T, backend store.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	err := run(ctx, backend, &out)
	if err == nil || strings.Contains(out.String(), "converged") {
		t.Fatalf("run noticed nothing:\n%s", out.String())
	}
	if ctx.Err() != nil {
		t.Errorf("run noticed by its time-out only: %v", err)
	}
	t.Log(err)
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, memstore.New(), io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

type broken struct {
	store.Backend
	tenant func(string) (store.Store, error)
}

func (b broken) Tenant(name string) (store.Store, error) { return b.tenant(name) }

type idleSweep struct{ store.Store }

func (s idleSweep) Apply(_ context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	return []store.Status{{Tombstone: domain.Tombstone{ID: ids[0]}, Swept: uint64(bounds.Remove)}}, nil
}

type greedySweep struct{ store.Store }

func (s greedySweep) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	id := ulid.ULID{1}
	_, err := s.Revoke(ctx, store.Revocation{ID: id, Targets: []domain.Target{{UserID: "auth0|user-02"}}, Time: bounds.Now})
	if err != nil {
		return nil, err
	}
	if _, err := s.Store.Apply(ctx, []ulid.ULID{id}, bounds); err != nil {
		return nil, err
	}
	return s.Store.Apply(ctx, ids, bounds)
}

// ghost shows a token for ever at the head of the list of all.
type ghost struct {
	store.Store
	token *domain.RefreshToken
}

func (g *ghost) List(ctx context.Context, q store.Query) (store.Page, error) {
	page, err := g.Store.List(ctx, q)
	switch {
	case err != nil:
	case q.UserID == kiosk && g.token == nil && len(page.Tokens) > 0:
		g.token = &page.Tokens[0]
	case q.UserID == "" && q.After.IsZero() && g.token != nil:
		page.Tokens = append([]domain.RefreshToken{*g.token}, page.Tokens...)
	}
	return page, err
}

type noFence struct{ store.Store }

func (s noFence) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	err := s.Store.Update(ctx, id, func(v store.View) store.Decision {
		v.RevokedBy = ulid.ULID{}
		return decide(v)
	})
	if errors.Is(err, store.ErrCovered) {
		return nil
	}
	return err
}

type unfencedList struct{ store.Store }

func (s unfencedList) List(ctx context.Context, q store.Query) (store.Page, error) {
	q.Fenced = false
	return s.Store.List(ctx, q)
}

type otherSalt struct{ store.Store }

func (s otherSalt) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	return s.Store.Update(ctx, id, func(v store.View) store.Decision {
		v.Token.Salt[0]++
		return decide(v)
	})
}

type forgetful struct{ store.Store }

func (s forgetful) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	for i := range rows {
		rows[i].AsOf = domain.AsOf{}
	}
	return s.Store.Insert(ctx, rows)
}
