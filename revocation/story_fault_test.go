package revocation_test

import (
	"context"
	"os"
	"slices"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// TestFoundStoryShowsItsFault plays the story that was found by a backend which retires a revocation before its last page. On it the
// story goes on otherwise; on the others TestStories plays it.
func TestFoundStoryShowsItsFault(t *testing.T) {
	text, err := os.ReadFile("testdata/17-last-page.txt")
	if err != nil {
		t.Fatal(err)
	}
	written, err := parseScript(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, backend := range []string{"memstore", "boltstore"} {
		seen, err := playAlone(t, written, backend, func(b store.Backend) store.Backend { return retiresEarly{b} })
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(seen, func(b block) bool { return slices.Contains(b.told, "t2: active") }) {
			t.Errorf("%s: the fault does not show:\n%s", backend, seen)
		}
	}
}

// retiresEarly leaves the token there that it removes together with the retirement, if that is not the first one.
type retiresEarly struct{ store.Backend }

func (b retiresEarly) Tenant(name string) (store.Store, error) {
	st, err := b.Backend.Tenant(name)
	return earlyStore{st}, err
}

type earlyStore struct{ store.Store }

func (s earlyStore) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	before, err := s.List(ctx, store.Query{Limit: store.MaxPage})
	if err != nil {
		return nil, err
	}
	statuses, err := s.Store.Apply(ctx, ids, bounds)
	for _, status := range statuses {
		i := slices.IndexFunc(before.Tokens, func(token domain.RefreshToken) bool { return status.Tombstone.Covers(&token) })
		if status.Retired && status.Swept > 1 && i >= 0 {
			_, _ = s.Insert(ctx, []store.Insertion{{Token: before.Tokens[i]}})
		}
	}
	return statuses, err
}
