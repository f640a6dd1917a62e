package cluster_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/internal/servetest"
	"github.com/oklog/ulid/v2"
)

// TestThreeServers has three processes of tokenstore serve one tenant, each by way of a member of its own. What one has answered that it
// is revoked is refused by the others at once, and what another process revokes is swept by theirs, though they hardly poll. How soon
// others hear of it is logged.
func TestThreeServers(t *testing.T) {
	command := command(t)
	prefix := prefix()
	var servers []*servetest.Server
	for _, node := range shared.cluster.Nodes {
		servers = append(servers, servetest.Start(t, command, nil, "--db", "etcd://"+node.Client+"/"+prefix, "--poll-every=1h"))
	}
	backend, err := etcdstore.New(shared.client, &etcdstore.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	m, err := tokenstore.New(backend, nil)
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan ulid.ULID, 100)
	go func() { _ = backend.Watch(t.Context(), func(_ string, id ulid.ULID) { heard <- id }) }()

	const users, tokensOfUser = 100, 2
	var asked atomic.Int64
	defer func() { t.Attr("operations", strconv.FormatInt(asked.Load(), 10)) }()
	var waited []time.Duration
	for u := range users {
		user := fmt.Sprint("user-", u)
		var issued []tokenstore.Issued
		for range tokensOfUser {
			one, err := m.Issue(t.Context(), tokenstore.IssueRequest{UserID: user, ClientID: "web", SessionID: domain.MustSessionID("session")})
			if err != nil {
				t.Fatal(err)
			}
			issued = append(issued, one)
		}
		for _, server := range servers {
			if asked.Add(1); !server.Active(issued[0].Secret) {
				t.Fatal("S2: a token that nobody has revoked must be active")
			}
		}
		began := time.Now()
		if answer := servers[u%len(servers)].Request("DELETE", "/api/v2/users/"+user+"/refresh-tokens", servetest.Bearer, nil); answer.Status != http.StatusAccepted {
			t.Fatalf("a revocation must be accepted: got %d %s", answer.Status, answer.Body)
		}
		var asking sync.WaitGroup
		for _, server := range servers {
			asking.Go(func() {
				for _, one := range issued {
					if asked.Add(1); server.Active(one.Secret) {
						t.Error("S1: what one process has revoked must be refused by all others at once")
					}
				}
			})
		}
		asking.Wait()
		<-heard
		waited = append(waited, time.Since(began))
	}
	slices.Sort(waited)
	t.Logf("another process heard of a revocation within %v (p50), %v (p99) of the request", waited[len(waited)/2], waited[len(waited)*99/100-1])

	receipt, err := m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{Everything: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Wait(t.Context(), receipt); err != nil { // for ever, if none of the servers hears of it
		t.Error(err)
	}
	for _, server := range servers {
		server.End()
	}
}
