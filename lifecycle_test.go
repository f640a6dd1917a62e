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
	secrets []tokenstore.Secret // all that the token had, the current one last
	token   tokenstore.RefreshToken
	receipt tokenstore.Receipt
}

// newLife is a life to which the given things have happened.
func newLife(t *testing.T, past ...func(*life) bool) *life {
	t.Helper()
	l := &life{policy: &tokenstore.ClientPolicy{}}
	l.rig = newRig(t, tokenstore.Options{Client: func(string) tokenstore.ClientPolicy { return *l.policy }})
	for _, happen := range past {
		if !happen(l) {
			t.Fatal("what has happened before must succeed")
		}
	}
	return l
}

// ofToken is the state of the token as callers can tell it.
func (l *life) ofToken() string {
	l.Helper()
	if l.token.ID.IsZero() {
		return "[*]"
	}
	_, err := l.Get(l.Context(), l.token.ID, tokenstore.Eventual)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return "Gone"
	}
	_, fenced := l.Get(l.Context(), l.token.ID, tokenstore.Fenced)
	in, introspected := l.Introspect(l.Context(), l.secrets[len(l.secrets)-1])
	switch {
	case err != nil || introspected != nil:
		l.Fatal(err, introspected)
	case errors.Is(fenced, tokenstore.ErrNotFound):
		return "Covered"
	case in.Cause == tokenstore.ErrExpired || in.Cause == tokenstore.ErrIdleExpired:
		return "Expired"
	case !in.Active:
		l.Fatalf("no state: inactive for %q", in.Cause)
	}
	return "Live"
}

// ofTombstone is the state of the revocation as callers can tell it.
func (l *life) ofTombstone() string {
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

func (l *life) tenant() store.Store {
	l.Helper()
	st, err := l.spy.Backend.Tenant("default")
	if err != nil {
		l.Fatal(err)
	}
	return st
}

// What can happen, each of which says whether it did.

func (l *life) issued() bool {
	out := l.issue(request("ann"))
	l.token, l.secrets = out.Token, []tokenstore.Secret{out.Secret}
	return true
}

func (l *life) imported() bool {
	if l.token.ID.IsZero() {
		source := newLife(l.T, (*life).issued)
		l.token, l.secrets = source.token, source.secrets
	}
	results, err := l.Import(l.Context(), []tokenstore.RefreshToken{l.token})
	return err == nil && results[0].Outcome == tokenstore.Imported
}

func (l *life) present(s tokenstore.Secret) bool {
	out, err := l.try(s)
	if err == nil && !out.Retried {
		l.token, l.secrets = out.Token, append(l.secrets, out.Secret)
	}
	return err == nil
}

func (l *life) exchanged() bool { return l.present(l.secrets[len(l.secrets)-1]) }
func (l *life) retried() bool   { return l.present(l.secrets[len(l.secrets)-2]) }
func (l *life) replayed() bool  { return l.present(l.secrets[0]) }

func (l *life) updated() bool {
	_, err := l.UpdateMetadata(l.Context(), l.token.ID, map[string]string{"k": "v"})
	return err == nil
}

func (l *life) waited() bool { l.wait(365 * 24 * time.Hour); return true }

func (l *life) evicted() bool {
	l.policy.Cap = 1
	l.wait(time.Second)
	l.issue(request("ann"))
	return true
}

func (l *life) expired() bool { return l.expire() > 0 }

func (l *life) revoked() bool { l.receipt = l.revoke(tokenstore.Target{UserID: "ann"}); return true }

// superseded has another revocation of the same targets.
func (l *life) superseded() bool { l.revoke(tokenstore.Target{UserID: "ann"}); return true }

func (l *life) revokedInVain() bool {
	l.receipt = l.revoke(tokenstore.Target{TokenID: ulid.ULID{15: 1}})
	return true
}

func (l *life) sweptSlice() bool { return l.apply(1) }
func (l *life) swept() bool      { return l.apply(10) }

func (l *life) apply(n int) bool {
	l.Helper()
	ids := []ulid.ULID{l.receipt.ID()}
	statuses, err := l.tenant().Apply(l.Context(), ids, store.Bounds{Visit: n, Remove: n, Now: l.clock()})
	if err != nil {
		l.Fatal(err)
	}
	return len(statuses) > 0
}

// erased erases the tenant, to the end.
func (l *life) erased() bool {
	l.Helper()
	receipt, err := l.Erase(l.Context(), tokenstore.EraseRequest{Everything: true})
	if err != nil {
		l.Fatal(err)
	}
	for range 100 {
		statuses, err := l.tenant().Apply(l.Context(), []ulid.ULID{receipt.ID()}, store.Bounds{Visit: 10, Remove: 10, Now: l.clock()})
		if err != nil {
			l.Fatal(err)
		}
		if len(statuses) == 0 {
			return true
		}
	}
	return false
}

func (l *life) trimmed() bool {
	done, err := l.tenant().Trim(l.Context(), store.Trim{Guards: l.clock(), History: l.clock(), Limit: 10})
	if err != nil {
		l.Fatal(err)
	}
	return done.History > 0
}

type (
	happening = func(*life) bool
	events    = map[string]happening // by the name of their arrow
)

// ways has everything happen after every past, and returns the ways that led from one state to another, and those on which
// something happened that did not. What is silent has no arrow where it leads nowhere.
func ways(t *testing.T, state func(*life) string, pasts [][]happening, all events, silent ...string) map[edge]bool {
	seen := map[edge]bool{}
	for _, past := range pasts {
		for by, happen := range all {
			l := newLife(t, past...)
			from := state(l)
			happened := happen(l)
			if to := state(l); to != from || happened && !slices.Contains(silent, by) {
				seen[edge{from, to, by}] = true
			}
		}
	}
	return seen
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

// TestLifecycle has everything happen in every state, and compares where it leads with the drawings.
func TestLifecycle(t *testing.T) {
	drawn := drawings(t)
	issued, exchanged, revoked, swept, waited, expired := (*life).issued, (*life).exchanged, (*life).revoked, (*life).swept, (*life).waited, (*life).expired
	after := func(first []happening, more ...happening) []happening { return slices.Concat(first, more) }
	none := [][]happening{{}}
	t.Run("token", func(t *testing.T) {
		live := []happening{issued, exchanged, exchanged}
		seen := ways(t, (*life).ofToken, none, events{"issue": issued, "import": (*life).imported})
		maps.Copy(seen, ways(t, (*life).ofToken, [][]happening{
			live, after(live, revoked), after(live, waited), after(live, waited, revoked), after(live, revoked, waited),
			after(live, revoked, swept), after(live, waited, expired), after(live, (*life).evicted),
		}, events{
			"import": (*life).imported, "exchange": exchanged, "retry": (*life).retried, "replay": (*life).replayed,
			"update": (*life).updated, "revoke": revoked, "sweep": swept, "evict": (*life).evicted, "time passes": waited, "expire": expired,
		}, "revoke", "sweep", "evict", "time passes"))
		wantEdges(t, drawn[0], seen)
	})
	t.Run("tombstone", func(t *testing.T) {
		two := []happening{issued, issued, revoked}
		seen := ways(t, (*life).ofTombstone, [][]happening{{issued}}, events{"record": revoked, "nothing to do": (*life).revokedInVain})
		maps.Copy(seen, ways(t, (*life).ofTombstone, [][]happening{
			two, after(two, waited), after(two, swept), after(two, swept, waited), after(two, swept, waited, (*life).trimmed),
			{issued, (*life).revokedInVain},
		}, events{
			"sweep a slice": (*life).sweptSlice, "sweep the last": swept, "supersede": (*life).superseded, "trim": (*life).trimmed, "erase the tenant": (*life).erased,
		}, "supersede", "erase the tenant"))
		wantEdges(t, drawn[1], seen)
	})
}
