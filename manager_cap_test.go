package tokenstore_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

// capRig is a rig with a cap on every client, and a list of who was evicted.
func capRig(t *testing.T, limit int) (r *rig, p *policies, evicted func() []ulid.ULID) {
	t.Helper()
	var mu sync.Mutex
	var gone []ulid.ULID
	p = &policies{policy: tokenstore.ClientPolicy{Cap: limit}}
	r = newRig(t, tokenstore.Options{Client: p.of, Evicted: func(tenant string, token tokenstore.RefreshToken) {
		mu.Lock()
		defer mu.Unlock()
		if tenant != "default" {
			t.Errorf("evicted from %q", tenant)
		}
		gone = append(gone, token.ID)
	}})
	return r, p, func() []ulid.ULID {
		mu.Lock()
		defer mu.Unlock()
		was := gone
		gone = nil
		return was
	}
}

func ids(tokens ...tokenstore.RefreshToken) []ulid.ULID {
	var all []ulid.ULID
	for _, token := range tokens {
		all = append(all, token.ID)
	}
	return all
}

// TestCapEvictsTheOldest, by time of creation and id, in the commit that issues; an exchange makes a token no younger.
func TestCapEvictsTheOldest(t *testing.T) {
	r, p, evicted := capRig(t, 3)
	var issued []tokenstore.Issued
	for _, wait := range []time.Duration{0, time.Minute, -2 * time.Minute} { // the last is the oldest
		r.wait(wait)
		issued = append(issued, r.issue(request("ann")))
	}
	bob := r.issue(request("bob"))
	req := request("ann")
	req.ClientID = "other"
	other := r.issue(req)
	if gone := evicted(); len(gone) > 0 {
		t.Fatalf("%d evicted below the cap", len(gone))
	}
	issued[2].Secret = r.exchange(issued[2].Secret).Secret
	r.wait(time.Hour)
	writes := r.spy.count()
	next := r.issue(request("ann"))
	if gone := evicted(); r.spy.count() != writes+1 || !slices.Equal(gone, ids(issued[2].Token)) {
		t.Errorf("%v evicted in %d writes, want %v in one", gone, r.spy.count()-writes, issued[2].Token.ID)
	}
	_, err := r.try(issued[2].Secret)
	wantRefusal(t, err, tokenstore.ErrUnknownToken)
	p.set(tokenstore.ClientPolicy{Cap: 1}) // a lower cap takes all that are too many, oldest first
	last := r.issue(request("ann"))
	if gone := evicted(); !slices.Equal(gone, ids(issued[0].Token, issued[1].Token, next.Token)) {
		t.Errorf("%v evicted", gone)
	}
	for _, secret := range []tokenstore.Secret{last.Secret, bob.Secret} {
		r.exchange(secret)
	}
	if _, err := r.Get(t.Context(), other.Token.ID, tokenstore.Fenced); err != nil {
		t.Errorf("the token of another client: %v", err)
	}
	p.set(tokenstore.ClientPolicy{}) // none
	r.issue(request("ann"))
	if len(evicted()) > 0 || len(r.live("ann")) != 3 {
		t.Error("evicted without a cap")
	}
}

// TestCapOrderWithinAnInstant: of tokens of one instant the lowest id goes first.
func TestCapOrderWithinAnInstant(t *testing.T) {
	r, p, evicted := capRig(t, 0)
	var all []ulid.ULID
	for range 20 {
		all = append(all, r.issue(request("ann")).Token.ID)
	}
	p.set(tokenstore.ClientPolicy{Cap: 1})
	r.issue(request("ann"))
	slices.SortFunc(all, func(a, b ulid.ULID) int { return a.Compare(b) })
	if gone := evicted(); !slices.Equal(gone, all) {
		t.Errorf("evicted %v, want %v", gone, all)
	}
}

func TestCapRefuses(t *testing.T) {
	r, p, evicted := capRig(t, 2)
	p.set(tokenstore.ClientPolicy{Cap: 2, CapRefuse: true})
	first := r.issue(request("ann"))
	r.issue(request("ann"))
	r.wantNoWrite(func() {
		for range 3 {
			_, err := r.Issue(t.Context(), request("ann"))
			if !errors.Is(err, tokenstore.ErrCap) || errors.Is(err, tokenstore.ErrInvalidGrant) {
				t.Errorf("error %v, want ErrCap", err)
			}
		}
	})
	r.revoke(tokenstore.Target{TokenID: first.Token.ID})
	r.issue(request("ann")) // there is room at once: nothing need be swept for it
	if len(evicted()) > 0 {
		t.Error("evicted, though the cap refuses")
	}
}

// TestCapCountsOnlyTheLive: neither what is expired nor what is revoked, swept or not.
func TestCapCountsOnlyTheLive(t *testing.T) {
	r, _, evicted := capRig(t, 2)
	for _, spoil := range []func(*tokenstore.IssueRequest){
		func(req *tokenstore.IssueRequest) { req.Lifetime = hour },
		func(req *tokenstore.IssueRequest) { req.IdleLifetime = hour },
	} {
		req := request("ann")
		spoil(&req)
		r.issue(req)
	}
	r.wait(time.Hour)
	covered := r.issue(request("ann"))
	receipt := r.revoke(tokenstore.Target{TokenID: covered.Token.ID})
	a, b := r.issue(request("ann")), r.issue(request("ann"))
	if gone := evicted(); len(gone) > 0 {
		t.Fatalf("%d evicted, though two of five are live", len(gone))
	}
	r.run(receipt)
	r.expire()
	r.issue(request("ann"))
	if gone := evicted(); len(gone) != 1 || gone[0] != slices.MinFunc(ids(a.Token, b.Token), func(a, b ulid.ULID) int { return a.Compare(b) }) {
		t.Errorf("%v evicted", gone)
	}
}

// TestCapLeavesImportsAlone: an import evicts nothing and is not refused. What it brought counts at the next issue, and
// what was evicted can't be imported again.
func TestCapLeavesImportsAlone(t *testing.T) {
	r, p, evicted := capRig(t, 1)
	p.set(tokenstore.ClientPolicy{Cap: 1, CapRefuse: true})
	mine := r.issue(request("ann"))
	old := foreign("old", "ann", r.now.Add(-time.Hour))
	for _, result := range r.bring(old, foreign("older", "ann", r.now.Add(-2*time.Hour))) {
		if result.Outcome != tokenstore.Imported {
			t.Errorf("%+v", result)
		}
	}
	if len(evicted()) > 0 || len(r.live("ann")) != 3 {
		t.Error("an import evicted")
	}
	p.set(tokenstore.ClientPolicy{Cap: 2})
	r.wait(time.Minute)
	r.issue(request("ann"))
	if gone := evicted(); len(gone) != 2 {
		t.Fatalf("%d evicted, want both that were imported", len(gone))
	}
	r.exchange(mine.Secret)
	wantRefusal(t, r.bring(old)[0].Err, tokenstore.ErrRevoked)
}

// TestCapHoldsAtOnce: 64 issues at once, and at no moment is there one token too many.
func TestCapHoldsAtOnce(t *testing.T) {
	const limit = 7
	for _, refuse := range []bool{false, true} {
		r, p, evicted := capRig(t, limit)
		p.set(tokenstore.ClientPolicy{Cap: limit, CapRefuse: refuse})
		var all sync.WaitGroup
		var mu sync.Mutex
		refused := 0
		for range 64 {
			all.Go(func() {
				_, err := r.Issue(t.Context(), request("ann"))
				page, listErr := r.List(t.Context(), tokenstore.ListRequest{UserID: "ann", Limit: 100, Consistency: tokenstore.Fenced})
				if len(page.Tokens) > limit || listErr != nil {
					t.Errorf("%d tokens of a cap of %d, %v", len(page.Tokens), limit, listErr)
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, tokenstore.ErrCap) && refuse:
					refused++
				case err != nil:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if over := len(evicted()) + refused; over != 64-limit || len(r.live("ann")) != limit {
			t.Errorf("refuse %v: %d over, %d left; want %d and %d", refuse, over, len(r.live("ann")), 64-limit, limit)
		}
	}
}

// TestCapOfUnknownOutcome: an issue that is tried again evicts once.
func TestCapOfUnknownOutcome(t *testing.T) {
	r, _, _ := capRig(t, 2)
	r.issue(request("ann"))
	r.wait(time.Second)
	keep := r.issue(request("ann"))
	r.wait(time.Second)
	r.spy.leaveUnknown(2)
	out := r.issue(request("ann"))
	r.exchange(keep.Secret)
	r.exchange(out.Secret)
	if n := len(r.live("ann")); n != 2 {
		t.Errorf("%d tokens, want 2", n)
	}
}
