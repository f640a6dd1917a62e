package store_test

import (
	"context"
	"testing"

	"example.com/tokenstore/store"
)

type (
	outbox  struct{ store.Store }
	opaque  struct{ store.Store }
	wrapper struct{ store.Store }
	above   struct{ store.Backend }
	grouper struct{ store.Backend }
)

func (outbox) Feed(context.Context, uint64, int) (store.FeedPage, error) {
	return store.FeedPage{Last: 7}, nil
}
func (w wrapper) Unwrap() store.Store { return w.Store }
func (a above) Unwrap() store.Backend { return a.Backend }
func (grouper) Stats() store.Stats    { return store.Stats{Commits: 7} }

// What a store can do beside its verbs is found behind any number of wrappers, and never made up.
func TestAs(t *testing.T) {
	for _, c := range []struct {
		name  string
		of    any
		found bool
	}{
		{"itself", outbox{}, true},
		{"wrapped", wrapper{outbox{}}, true},
		{"wrapped twice", wrapper{wrapper{outbox{}}}, true},
		{"not there", wrapper{opaque{}}, false},
		{"hidden", wrapper{opaque{outbox{}}}, false},
		{"nothing wrapped", wrapper{}, false},
		{"nothing", nil, false},
	} {
		found, ok := store.As[store.Outbox](c.of)
		if ok != c.found {
			t.Errorf("%s: found is %t", c.name, ok)
		}
		if !ok {
			continue
		}
		if page, err := found.Feed(t.Context(), 0, 1); err != nil || page.Last != 7 {
			t.Errorf("%s: it is another one's feed: %v, %v", c.name, page, err)
		}
	}
	if g, ok := store.As[store.Grouper](above{grouper{}}); !ok || g.Stats().Commits != 7 {
		t.Error("a backend is not found behind its wrapper")
	}
	if _, ok := store.As[grouper](above{grouper{}}); !ok {
		t.Error("a type is not found behind a wrapper")
	}
}
