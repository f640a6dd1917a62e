package tokenstore_test

import (
	"fmt"
	"testing"

	"example.com/tokenstore"
)

// cutOffs has a user get a token of each of two clients, again and again, and in between revokes one set of targets after
// the other. It wants the tokens of a client that were issued before so many revocations to be refused, and all younger ones
// to live: while the revocations are pending, when some of them have been swept, and when all have.
func cutOffs(t *testing.T, r *rig, steps [][]tokenstore.Target, want map[string]int) {
	t.Helper()
	issued := map[string][]*held{}
	var receipts []tokenstore.Receipt
	var asOf []uint64
	for i := range len(steps) + 1 {
		for client := range want {
			h, _ := r.hold(kind{user: "ann", client: client, session: fmt.Sprint(client, i)})
			issued[client] = append(issued[client], h)
		}
		asOf = append(asOf, r.state().Sequence)
		if i < len(steps) {
			receipts = append(receipts, r.revoke(steps[i]...))
		}
	}
	for swept := range len(receipts) + 1 {
		if swept > 0 {
			r.sweep(receipts[swept-1])
		}
		for client, n := range want {
			for i, h := range issued[client] {
				if got := r.see(h); (got != "live ") != (i < n) {
					t.Errorf("%d swept, token %d of %s is %swant %d refused", swept, i, client, got, n)
				}
				// What admission makes of the same cut-offs: a login is as old as the token that was issued with it.
				req := request("ann")
				req.ClientID, req.AsOf = client, tokenstore.AsOfSequence(asOf[i])
				if _, err := r.Issue(t.Context(), req); (err != nil) != (i < n) {
					t.Errorf("%d swept, an issue to %s as of token %d: %v, want %d refused", swept, client, i, err, n)
				}
			}
		}
	}
}

// sweep sweeps one revocation to its end, and no other.
func (r *rig) sweep(receipt tokenstore.Receipt) {
	r.Helper()
	for range 1000 {
		if r.slice(receipt, 2).Retired { // others may end with it: one walk serves all that have no index
			return
		}
	}
	r.Fatalf("%v does not come to an end", receipt.ID())
}

var (
	realm     = []tokenstore.Target{{Everything: true}}
	byClient  = []tokenstore.Target{{ClientID: "app"}}
	byUser    = []tokenstore.Target{{UserID: "ann"}}
	byBoth    = []tokenstore.Target{{UserID: "ann", ClientID: "app"}}
	byNothing = []tokenstore.Target{{ClientID: "another"}}
)

// TestCVE202608922RealmNotMaskedByClient: in CVE-2026-8922, Keycloak's introspection did not honour the cut-off of a realm
// once the client had one of its own.
func TestCVE202608922RealmNotMaskedByClient(t *testing.T) {
	for name, narrow := range map[string][]tokenstore.Target{"client": byClient, "user": byUser, "user and client": byBoth} {
		t.Run(name, func(t *testing.T) {
			onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
				cutOffs(t, r, [][]tokenstore.Target{narrow, byNothing, realm}, map[string]int{"app": 3, "web": 3})
			})
		})
	}
}

// TestCVE202618218ClientNotMaskedByRealm: CVE-2026-18218 was the reverse. Keycloak ignored the cut-off of a client as long
// as its realm had an older one.
func TestCVE202618218ClientNotMaskedByRealm(t *testing.T) {
	for _, c := range []struct {
		name   string
		narrow []tokenstore.Target
		web    int
	}{{"client", byClient, 1}, {"user", byUser, 3}, {"user and client", byBoth, 1}} {
		t.Run(c.name, func(t *testing.T) {
			onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
				cutOffs(t, r, [][]tokenstore.Target{realm, byNothing, c.narrow}, map[string]int{"app": 3, "web": c.web})
			})
		})
	}
}
