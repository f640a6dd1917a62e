package memstore

import (
	"fmt"
	"slices"
	"testing"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// TestFenceLooksAtFew: what is pending for others under a token's own user, session or client is not looked at for it, and
// nothing that names the token is missed.
func TestFenceLooksAtFew(t *testing.T) {
	servers, err := domain.NewResourceServers(domain.ResourceServer{Audience: "a"}, domain.ResourceServer{Audience: "b"})
	if err != nil {
		t.Fatal(err)
	}
	token := domain.RefreshToken{
		ID: ulid.ULID{1}, UserID: "user", ClientID: "client", SessionID: domain.MustSessionID("session"), ResourceServers: servers, Sequence: 1,
	}
	own := []domain.Target{
		{TokenID: token.ID}, {TokenID: token.ID, Audience: "a"}, {SessionID: "session"}, {SessionID: "session", ClientID: "client"},
		{SessionID: "session", Audience: "b"}, {UserID: "user"}, {UserID: "user", ClientID: "client"}, {UserID: "user", Audience: "a"},
		{UserID: "user", ClientID: "client", Audience: "b"}, {ClientID: "client"}, {ClientID: "client", Audience: "b"},
		{Audience: "a"}, {Offline: domain.OfflineNo}, {Everything: true},
	}
	var f fence
	var pending []*pendingTombstone
	stand := func(targets ...domain.Target) {
		p := &pendingTombstone{}
		p.status.Tombstone = domain.Tombstone{Targets: targets, Watermark: 1}
		f.putUp(p)
		pending = append(pending, p)
	}
	for _, target := range own {
		stand(target)
	}
	stand(own...)
	for i := range 1000 {
		other := fmt.Sprint("other-", i)
		stand(domain.Target{UserID: "user", ClientID: other}, domain.Target{UserID: "user", Audience: other})
		stand(domain.Target{SessionID: "session", ClientID: other})
		stand(domain.Target{SessionID: "session", Audience: other})
		stand(domain.Target{ClientID: "client", Audience: other})
		stand(domain.Target{TokenID: token.ID, Audience: other})
	}
	looked := 0
	found := map[*pendingTombstone]bool{}
	for p := range f.over(&token, domain.AnchorNone) {
		looked++
		found[p] = true
	}
	for i, p := range pending[:len(own)+1] {
		if !found[p] {
			t.Errorf("tombstone %d names the token, and is not found", i)
		}
	}
	if most := 2 * len(own); looked > most {
		t.Errorf("%d tombstones are looked at, want at most %d", looked, most)
	}
	for _, p := range slices.Concat(pending[1:], pending[:1]) {
		f.takeDown(p)
		for q := range f.over(&token, domain.AnchorNone) {
			if q == p {
				t.Fatal("a tombstone that was taken down is found")
			}
		}
	}
	for kind := range f {
		if len(f[kind]) > 0 {
			t.Errorf("%d stands of kind %d are left of nothing", len(f[kind]), kind)
		}
	}
}
