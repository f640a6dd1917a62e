package tokenstore_test

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// edge is an arrow of docs/lifecycle.md.
type edge struct{ from, to, by string }

// drawings reads the arrows of the two drawings.
func drawings(t *testing.T) [2][]edge {
	t.Helper()
	blocks := regexp.MustCompile("(?s)```mermaid\nstateDiagram-v2\n(.*?)```").FindAllStringSubmatch(readText(t, "docs/lifecycle.md"), -1)
	if len(blocks) != 2 {
		t.Fatalf("docs/lifecycle.md has %d drawings, want 2", len(blocks))
	}
	var both [2][]edge
	arrow := regexp.MustCompile(`^(\S+) --> (\S+?)(?:: (.*))?$`)
	for i, block := range blocks {
		for line := range strings.Lines(block[1]) {
			m := arrow.FindStringSubmatch(strings.TrimSpace(line))
			if m == nil {
				t.Fatalf("not an arrow: %q", line)
			}
			if m[2] != "[*]" { // the end is nothing that can be seen
				both[i] = append(both[i], edge{m[1], m[2], m[3]})
			}
		}
	}
	return both
}

// life is one token or tombstone under way, with what it takes to see its state.
type life struct {
	*rig
	policy  *tokenstore.ClientPolicy
	first   tokenstore.Secret
	secret  tokenstore.Secret
	id      ulid.ULID
	receipt tokenstore.Receipt
	seen    map[edge]bool
}

func newLife(t *testing.T, seen map[edge]bool) *life {
	l := &life{policy: &tokenstore.ClientPolicy{}, seen: seen}
	l.rig = newRig(t, tokenstore.Options{Client: func(string) tokenstore.ClientPolicy { return *l.policy }})
	return l
}

// token is the state of the token as callers can tell it.
func (l *life) token() string {
	l.Helper()
	if l.id.IsZero() {
		return "[*]"
	}
	_, err := l.Get(l.Context(), l.id, tokenstore.Eventual)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return "Gone"
	}
	_, fenced := l.Get(l.Context(), l.id, tokenstore.Fenced)
	in, introspected := l.Introspect(l.Context(), l.secret)
	switch {
	case err != nil || introspected != nil:
		l.Fatal(err, introspected)
	case errors.Is(fenced, tokenstore.ErrNotFound):
		return "Covered"
	case in.Cause == tokenstore.ErrExpired || in.Cause == tokenstore.ErrIdleExpired:
		return "Expired"
	}
	return "Live"
}

// tombstone is the state of the revocation as callers can tell it.
func (l *life) tombstone() string {
	l.Helper()
	if l.receipt.ID().IsZero() {
		return "[*]"
	}
	status, err := l.Revocation(l.Context(), l.receipt.ID())
	switch {
	case errors.Is(err, tokenstore.ErrNotFound) && l.receipt.Status.Retired:
		return "Nothing"
	case errors.Is(err, tokenstore.ErrNotFound):
		return "Forgotten"
	case err != nil:
		l.Fatal(err)
	case status.Retired:
		return "Retired"
	}
	return "Pending"
}

// step does one thing, and notes where it led.
func (l *life) step(state func() string, by string, do func()) {
	l.Helper()
	from := state()
	do()
	l.seen[edge{from, state(), by}] = true
}

func (l *life) tenant() store.Store {
	l.Helper()
	st, err := l.spy.Backend.Tenant("default")
	if err != nil {
		l.Fatal(err)
	}
	return st
}

func (l *life) apply(n int) {
	l.Helper()
	_, err := l.tenant().Apply(l.Context(), []ulid.ULID{l.receipt.ID()}, store.Bounds{Visit: n, Remove: n, Now: l.clock()})
	if err != nil {
		l.Fatal(err)
	}
}

// The things that happen to a token, by the name of their arrow.
func (l *life) issued() {
	out := l.issue(request("ann"))
	l.id, l.first, l.secret = out.Token.ID, out.Secret, out.Secret
}

func (l *life) exchanged() { l.secret = l.exchange(l.secret).Secret }

func (l *life) revoked() { l.receipt = l.revoke(tokenstore.Target{UserID: "ann"}) }

func (l *life) expired() {
	if _, err := l.tenant().Expire(l.Context(), store.Bounds{Visit: 10, Remove: 10, Now: l.clock()}); err != nil {
		l.Fatal(err)
	}
}

func wantEdges(t *testing.T, drawn []edge, seen map[edge]bool) {
	t.Helper()
	for _, e := range drawn {
		if !seen[e] {
			t.Errorf("the drawing has an arrow that was not gone along: %+v", e)
		}
	}
	for e := range maps.Keys(seen) {
		if !slices.Contains(drawn, e) {
			t.Errorf("there is a way that the drawing has no arrow for: %+v", e)
		}
	}
}

func TestLifecycle(t *testing.T) {
	drawn := drawings(t)
	t.Run("token", func(t *testing.T) {
		seen := map[edge]bool{}
		l := newLife(t, seen)
		l.step(l.token, "issue", l.issued)
		l.step(l.token, "exchange", l.exchanged)
		l.step(l.token, "retry", func() { l.secret = l.exchange(l.first).Secret })
		l.step(l.token, "update", func() {
			if _, err := l.UpdateMetadata(t.Context(), l.id, map[string]string{"k": "v"}); err != nil {
				t.Error(err)
			}
		})
		l.step(l.token, "revoke", l.revoked)
		if _, err := l.try(l.secret); err == nil {
			t.Error("a covered token was exchanged")
		}
		l.step(l.token, "sweep", func() { l.apply(10) })

		l = newLife(t, seen)
		source := newLife(t, map[edge]bool{})
		source.issued()
		token, err := source.Get(t.Context(), source.id, tokenstore.Eventual)
		if err != nil {
			t.Fatal(err)
		}
		l.step(l.token, "import", func() {
			results, err := l.Import(t.Context(), []tokenstore.RefreshToken{token})
			if err != nil || results[0].Err != nil {
				t.Fatal(results, err)
			}
			l.id, l.first, l.secret = source.id, source.first, source.secret
		})
		l.exchanged()
		l.wait(time.Hour)
		l.step(l.token, "replay", func() {
			if _, err := l.try(l.first); !errors.Is(err, tokenstore.ErrReused) {
				t.Errorf("got error %v", err)
			}
		})

		l = newLife(t, seen)
		l.issued()
		l.step(l.token, "time passes", func() { l.wait(365 * 24 * time.Hour) })
		l.step(l.token, "expire", l.expired)

		l = newLife(t, seen)
		l.issued()
		l.wait(365 * 24 * time.Hour)
		l.step(l.token, "revoke", l.revoked)

		l = newLife(t, seen)
		l.issued()
		l.policy.Cap = 1
		l.wait(time.Second)
		l.step(l.token, "evict", func() { l.issue(request("ann")) })
		wantEdges(t, drawn[0], seen)
	})
	t.Run("tombstone", func(t *testing.T) {
		seen := map[edge]bool{}
		l := newLife(t, seen)
		l.issued()
		l.issued()
		l.step(l.tombstone, "record", l.revoked)
		l.step(l.tombstone, "sweep a slice", func() { l.apply(1) })
		l.step(l.tombstone, "sweep the last", func() { l.apply(10) })
		l.wait(1000 * 24 * time.Hour)
		l.step(l.tombstone, "trim", func() {
			if _, err := l.tenant().Trim(t.Context(), store.Trim{Guards: l.clock(), History: l.clock(), Limit: 10}); err != nil {
				t.Error(err)
			}
		})

		l = newLife(t, seen)
		l.issued()
		l.revoked()
		l.step(l.tombstone, "supersede", func() { l.revoke(tokenstore.Target{UserID: "ann"}) })

		l = newLife(t, seen)
		l.step(l.tombstone, "nothing to do", func() { l.receipt = l.revoke(tokenstore.Target{TokenID: ulid.ULID{15: 1}}) })
		wantEdges(t, drawn[1], seen)
	})
}
