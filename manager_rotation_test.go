package tokenstore_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

var rotationOn, rotationOff = tokenstore.ClientPolicy{Rotation: tokenstore.RotationOn}, tokenstore.ClientPolicy{Rotation: tokenstore.RotationOff}

// static is a grant of a user for audiences, whose secret does not rotate.
func static(user string, audiences ...string) tokenstore.IssueRequest {
	req := request(user)
	req.Static = true
	for _, audience := range audiences {
		req.ResourceServers = append(req.ResourceServers, tokenstore.ResourceServer{Audience: audience})
	}
	return req
}

// TestRotationByPolicy: the policy says how a token is issued, whatever the request says.
func TestRotationByPolicy(t *testing.T) {
	for _, c := range []struct {
		policy       tokenstore.Rotation
		static, want bool
	}{
		{tokenstore.RotationAsIssued, false, true}, {tokenstore.RotationAsIssued, true, false},
		{tokenstore.RotationOn, true, true}, {tokenstore.RotationOff, false, false},
	} {
		p := policies{policy: tokenstore.ClientPolicy{Rotation: c.policy}}
		r := newRig(t, tokenstore.Options{Client: p.of})
		req := request("ann")
		req.Static = c.static
		if token := r.issue(req).Token; token.Rotating != c.want {
			t.Errorf("%+v: rotating %v", c, token.Rotating)
		}
	}
}

// TestRotationSwitchedOn: the token keeps its id and starts at generation 1; its old secret is the parent; and the user's
// other tokens of the client that do not rotate and share an audience go in the same commit.
func TestRotationSwitchedOn(t *testing.T) {
	var p policies
	var said []domain.Tombstone
	r := newRig(t, tokenstore.Options{Client: p.of, Engine: revocation.Options{Events: revocation.Events{
		Revoked: func(_ string, tombstone domain.Tombstone) { said = append(said, tombstone) },
	}}})
	out := r.issue(static("ann", "api", "mail"))
	siblings := []tokenstore.Issued{r.issue(static("ann", "api")), r.issue(static("ann", "files", "mail"))}
	rotating, otherClient := static("ann", "api"), static("ann", "api")
	rotating.Static, otherClient.ClientID = false, "other"
	others := []tokenstore.Issued{
		r.issue(static("ann", "files")), r.issue(static("ann")), r.issue(static("bob", "api")), r.issue(rotating), r.issue(otherClient),
	}

	p.set(rotationOn)
	writes := r.spy.count()
	first := r.exchange(out.Secret)
	if r.spy.count() != writes+1 {
		t.Errorf("%d writes, want one", r.spy.count()-writes)
	}
	if token := first.Token; token.ID != out.Token.ID || token.Generation != 1 || !token.Rotating || token.Sequence != out.Token.Sequence || first.Retried {
		t.Errorf("%+v, want generation 1 of the same token", token)
	}
	if len(said) != 1 || said[0].Reason != tokenstore.ReasonRotation || len(said[0].Targets) != 2 {
		t.Fatalf("revoked %+v, want two for the rotation", said)
	}
	for _, sibling := range siblings {
		_, err := r.try(sibling.Secret)
		wantRefusal(t, err, tokenstore.ErrRevoked)
	}
	for _, other := range others {
		if _, err := r.Get(t.Context(), other.Token.ID, tokenstore.Fenced); err != nil {
			t.Errorf("another token: %v", err)
		}
	}

	r.wait(9 * time.Second)
	if again := r.exchange(out.Secret); !again.Retried || again.Secret.Reveal() != first.Secret.Reveal() {
		t.Errorf("the parent within the leeway: %+v", again)
	}
	r.exchange(first.Secret)
	_, err := r.try(out.Secret)
	wantRefusal(t, err, tokenstore.ErrReused)
	if n := len(said); n != 2 || said[1].Reason != tokenstore.ReasonReuse {
		t.Errorf("revoked %+v, want the token at last", said)
	}
}

// TestRotationListsNothingInVain: who presents a forged secret, or has no right to the token, makes nobody list tokens.
func TestRotationListsNothingInVain(t *testing.T) {
	p := policies{policy: rotationOn}
	r := newRig(t, tokenstore.Options{Client: p.of})
	rotating := r.issue(request("ann"))
	p.set(tokenstore.ClientPolicy{})
	out := r.issue(static("ann", "api"))
	p.set(rotationOn)
	lists := r.spy.lists
	for _, req := range []tokenstore.ExchangeRequest{
		{Secret: forge(t, out.Token.ID, 0), ClientID: "app"},
		{Secret: forge(t, ulid.ULID{1: 1}, 0), ClientID: "app"},
		{Secret: out.Secret, ClientID: "another"},
	} {
		if _, err := r.Exchange(t.Context(), req); err == nil {
			t.Error("went through")
		}
	}
	r.exchange(rotating.Secret)
	if r.spy.lists != lists {
		t.Errorf("%d pages were listed", r.spy.lists-lists)
	}
}

// TestRotationSwitchedOnForMany: one exchange revokes up to a hundred siblings; those beyond it go with the next of them
// that is exchanged.
func TestRotationSwitchedOnForMany(t *testing.T) {
	var p policies
	r := newRig(t, tokenstore.Options{Client: p.of})
	var all []tokenstore.Issued
	for range 104 {
		r.wait(time.Millisecond) // so that ids ascend
		all = append(all, r.issue(static("ann", "api")))
	}
	p.set(rotationOn)
	r.exchange(all[0].Secret)
	if left := r.live("ann"); !slices.Equal(ids(left...), ids(all[0].Token, all[101].Token, all[102].Token, all[103].Token)) {
		t.Fatalf("%d left", len(left))
	}
	r.exchange(all[102].Secret)
	if left := r.live("ann"); !slices.Equal(ids(left...), ids(all[0].Token, all[102].Token)) {
		t.Errorf("%d left", len(left))
	}
}

// TestRotationSwitchedOff: the current secret stays, and older ones remain replay; uses are noted as before.
func TestRotationSwitchedOff(t *testing.T) {
	for _, outdated := range []int{0, 1, 2} { // 2: none is presented
		var p policies
		r := newRig(t, tokenstore.Options{Client: p.of, IdleLifetime: hour})
		out := r.issue(request("ann"))
		parent := r.exchange(out.Secret)
		current := r.exchange(parent.Secret)
		p.set(rotationOff)
		for i := range 3 {
			r.wait(50 * time.Minute)
			ip := string(rune('a' + i))
			answer, err := r.Exchange(t.Context(), tokenstore.ExchangeRequest{
				Secret: current.Secret, ClientID: "app", Device: tokenstore.Device{LastIP: ip},
			})
			token := answer.Token
			if err != nil || answer.Secret.Reveal() != current.Secret.Reveal() || token.Generation != 2 || token.Rotating {
				t.Fatalf("%+v, %v; want the current secret again", token, err)
			}
			if token.Device.LastIP != ip || !token.LastExchangedAt.Equal(r.now) || !token.IdleExpiresAt.Equal(r.now.Add(time.Hour)) {
				t.Errorf("%+v: the use is not noted", token)
			}
		}
		if outdated < 2 {
			_, err := r.try([]tokenstore.Secret{out.Secret, parent.Secret}[outdated])
			wantRefusal(t, err, tokenstore.ErrReused)
			_, err = r.try(current.Secret)
			wantRefusal(t, err, tokenstore.ErrRevoked)
			continue
		}
		p.set(rotationOn) // and on again
		next := r.exchange(current.Secret)
		if next.Token.Generation != 3 || next.Token.ID != out.Token.ID {
			t.Errorf("%+v, want generation 3", next.Token)
		}
	}
}

// TestRotationSwitchedOffBeforeARetry: an answer that was lost is given again, though the policy has changed meanwhile.
func TestRotationSwitchedOffBeforeARetry(t *testing.T) {
	var p policies
	r := newRig(t, tokenstore.Options{Client: p.of})
	out := r.issue(request("ann"))
	next := r.exchange(out.Secret)
	p.set(rotationOff)
	again := r.exchange(out.Secret)
	if !again.Retried || again.Secret.Reveal() != next.Secret.Reveal() {
		t.Errorf("%+v", again)
	}
	r.exchange(next.Secret)
	_, err := r.try(out.Secret)
	wantRefusal(t, err, tokenstore.ErrReused)
}

// TestRotationFlaps: whatever the policy says from one exchange to the next, the current secret works, and the first one
// is replay at the end.
func TestRotationFlaps(t *testing.T) {
	var p policies
	r := newRig(t, tokenstore.Options{Client: p.of, LastUsedEvery: time.Hour})
	out := r.issue(static("ann", "api"))
	secret, generation := out.Secret, uint32(0)
	for i := range 30 {
		p.set([]tokenstore.ClientPolicy{rotationOn, rotationOff, {}}[i*i%7%3])
		answer := r.exchange(secret)
		if answer.Token.Rotating {
			generation++
		}
		if answer.Token.Generation != generation || (answer.Secret.Reveal() != secret.Reveal()) != answer.Token.Rotating {
			t.Fatalf("exchange %d: %+v, want generation %d", i, answer.Token, generation)
		}
		secret = answer.Secret
		if i%3 == 0 {
			r.wait(time.Second)
		}
	}
	if s := r.state(); generation < 5 || s.Tokens != 1 || s.Pending != 0 {
		t.Errorf("generation %d, %+v", generation, s)
	}
	_, err := r.try(out.Secret)
	wantRefusal(t, err, tokenstore.ErrReused)
}

// TestRotationSwitchedOnAtOnce: of two tokens that do not rotate, exchanged at once, one switches, and the other goes.
func TestRotationSwitchedOnAtOnce(t *testing.T) {
	for range 200 {
		var p policies
		r := newRig(t, tokenstore.Options{Client: p.of})
		two := []tokenstore.Issued{r.issue(static("ann", "api")), r.issue(static("ann", "api"))}
		p.set(rotationOn)
		errs := make([]error, len(two))
		var all sync.WaitGroup
		for i := range two {
			all.Go(func() { _, errs[i] = r.try(two[i].Secret) })
		}
		all.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		if errs[winner] != nil {
			t.Fatalf("neither wins: %v", errs)
		}
		wantRefusal(t, errs[1-winner], tokenstore.ErrRevoked)
		left := r.live("ann")
		if len(left) != 1 || !left[0].Rotating || left[0].ID != two[winner].Token.ID {
			t.Fatalf("%d live, want the winner alone", len(left))
		}
	}
}

// TestRotationOfUnknownOutcome: the call finds its own commit, and the engine hears of the siblings all the same.
func TestRotationOfUnknownOutcome(t *testing.T) {
	for unknown := range 3 {
		var p policies
		said := 0
		r := newRig(t, tokenstore.Options{Leeway: -1, Client: p.of, Engine: revocation.Options{Events: revocation.Events{
			Revoked: func(_ string, tombstone domain.Tombstone) {
				if said++; tombstone.Reason != tokenstore.ReasonRotation || len(tombstone.Targets) != 1 {
					t.Errorf("%+v", tombstone)
				}
			},
		}}})
		out, sibling := r.issue(static("ann", "api")), r.issue(static("ann", "api"))
		p.set(rotationOn)
		r.spy.leaveUnknown(unknown)
		answer := r.exchange(out.Secret)
		if answer.Retried || answer.Token.Generation != 1 || !answer.Token.Rotating || said != 1 {
			t.Fatalf("%d times: %+v, %d revocations told", unknown, answer, said)
		}
		st, _ := r.spy.Tenant("default")
		page, err := st.Revocations(t.Context(), store.RevocationQuery{Limit: 2})
		if err != nil || len(page.Revocations) != 1 {
			t.Fatalf("%d revocations, %v", len(page.Revocations), err)
		}
		_, err = r.try(sibling.Secret)
		wantRefusal(t, err, tokenstore.ErrRevoked)
		r.exchange(answer.Secret)
	}
}
