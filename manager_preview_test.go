package tokenstore_test

import (
	"errors"
	"testing"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

func TestPreviewLimit(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	for range 10 {
		r.issue(request("ann"))
	}
	out := r.issue(request("bob"))
	ann, bob := tokenstore.Target{UserID: "ann"}, tokenstore.Target{TokenID: out.Token.ID}
	for _, c := range []struct {
		targets []tokenstore.Target
		limit   int
		want    tokenstore.Preview
	}{
		{[]tokenstore.Target{ann}, 4, tokenstore.Preview{Matched: 4, Examined: 4}},
		{[]tokenstore.Target{ann}, 10, tokenstore.Preview{Matched: 10, Examined: 10, Complete: true}},
		{[]tokenstore.Target{ann, bob}, 10, tokenstore.Preview{Matched: 10, Examined: 10}},
		{[]tokenstore.Target{ann, bob}, 11, tokenstore.Preview{Matched: 11, Examined: 11, Complete: true}},
		{[]tokenstore.Target{{ClientID: "no"}}, 20, tokenstore.Preview{Examined: 11, Complete: true}},
		{[]tokenstore.Target{{TokenID: ulid.Make()}}, 1, tokenstore.Preview{Complete: true}},
	} {
		if got, err := r.Preview(t.Context(), c.targets, c.limit); err != nil || got != c.want {
			t.Errorf("Preview(%+v, %d) = %+v, %v; want %+v", c.targets, c.limit, got, err, c.want)
		}
	}
	_, err := r.Preview(t.Context(), []tokenstore.Target{ann}, 0)
	wantField(t, err, "limit")
	_, err = r.Preview(t.Context(), nil, 1)
	wantField(t, err, "targets")
	_ = r.spy.Close()
	for _, target := range []tokenstore.Target{ann, bob} {
		if got, err := r.Preview(t.Context(), []tokenstore.Target{target}, 10); !errors.Is(err, tokenstore.ErrClosed) {
			t.Errorf("Preview = %+v, %v; want ErrClosed", got, err)
		}
	}
}

// TestPreviewOverlap: a token that several targets name is looked at once, as far as the limit is concerned.
func TestPreviewOverlap(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	var targets []tokenstore.Target
	for range 5 {
		targets = append(targets, tokenstore.Target{TokenID: r.issue(request("ann")).Token.ID})
	}
	targets = append(targets, tokenstore.Target{SessionID: "session-ann"}, tokenstore.Target{UserID: "ann"},
		tokenstore.Target{UserID: "ann", ClientID: "app"}, tokenstore.Target{UserID: "ann", Offline: tokenstore.OfflineNo})
	for limit, want := range map[int]tokenstore.Preview{
		4: {Matched: 4, Examined: 4},
		5: {Matched: 5, Examined: 5, Complete: true},
		6: {Matched: 5, Examined: 5, Complete: true},
	} {
		if got, err := r.Preview(t.Context(), targets, limit); err != nil || got != want {
			t.Errorf("limit %d: %+v, %v; want %+v", limit, got, err, want)
		}
	}
	everything := append(targets, tokenstore.Target{Everything: true})
	if got, err := r.Preview(t.Context(), everything, 5); err != nil || got != (tokenstore.Preview{Matched: 5, Examined: 5, Complete: true}) {
		t.Errorf("everything beside: %+v, %v", got, err)
	}
}

// TestPreviewIsBounded: what is revoked but not yet swept is not reached once more, and looking at it has its limit too.
func TestPreviewIsBounded(t *testing.T) {
	onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
		const revoked = 250
		tokens := make([]tokenstore.RefreshToken, revoked)
		for i := range tokens {
			tokens[i] = foreign(ulid.ULID{0: 1, 15: byte(i + 1)}.String(), "ann", r.now)
		}
		r.bring(tokens...)
		r.revoke(tokenstore.Target{UserID: "ann"})
		r.issue(request("ann"))
		for _, target := range []tokenstore.Target{{UserID: "ann"}, {ClientID: "app"}, {Everything: true}} {
			for _, c := range []struct{ limit, pages int }{{1, 2}, {10, 2}, {100, 2}, {200, 3}} {
				lists := r.spy.lists
				got, err := r.Preview(t.Context(), []tokenstore.Target{target}, c.limit)
				if err != nil || got.Examined != c.limit || got.Complete || got.Matched > 1 {
					t.Errorf("%+v, limit %d: %+v, %v; want as many examined", target, c.limit, got, err)
				}
				if pages := r.spy.lists - lists; pages > c.pages {
					t.Errorf("%+v, limit %d: %d pages read, want at most %d", target, c.limit, pages, c.pages)
				}
			}
			got, err := r.Preview(t.Context(), []tokenstore.Target{target}, revoked+1)
			if want := (tokenstore.Preview{Matched: 1, Examined: revoked + 1, Complete: true}); err != nil || got != want {
				t.Errorf("%+v: %+v, %v; want %+v", target, got, err, want)
			}
		}
	})
}
