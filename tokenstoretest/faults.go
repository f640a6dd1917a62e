package tokenstoretest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// runFaults lives through the same short history again and again, and has the n-th call of the store fail, for every n: once
// before it has done anything, once after it has done it. A caller who meets an error repeats its call, as docs/errors.md tells it to; at the end everything must be as
// if nothing had failed.
func runFaults(t *testing.T, c Config) {
	cases := tally(t, "cases")
	for _, how := range []breakdown{undone, unknownDone} {
		n := 0
		for fired := true; fired; {
			n++
			synctest.Test(t, func(t *testing.T) {
				faults := &failure{at: n, times: 1, breakdown: how}
				history(t, failing{Backend: c.New(t), faults: faults})
				fired = faults.count >= n
			})
			if t.Failed() {
				t.Logf("failed with a fault at call %d: %s", n, how)
				return
			}
			if fired {
				cases.Add(1)
			}
		}
		t.Logf("%d calls failed, one at a time: %s", n-1, how)
	}
}

// history is what happens: tokens of two users are issued, imported, exchanged, updated and revoked in four ways, and what
// is left is compared with what must be.
func history(t *testing.T, backend failing) {
	defer backend.Close()
	m, err := tokenstore.New(backend, &tokenstore.Options{Now: afterCutOff, RetryLimit: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	h := &past{t: t, ctx: ctx, m: m, secrets: map[ulid.ULID]tokenstore.Secret{}}
	var ann, bob []ulid.ULID
	for range 3 {
		ann = append(ann, h.issue("ann", "ann's session"))
		bob = append(bob, h.issue("bob", "bob's session"))
	}
	lone := h.issue("bob", "another session")
	imported := h.imported("bob", "")
	foreign := h.imported("cid", "opaque")
	old := h.secrets[bob[0]]
	for _, id := range append(append([]ulid.ULID{lone, foreign}, ann...), bob...) {
		h.exchange(id)
	}
	h.retry(old, h.secrets[bob[0]])
	h.try("update", func() error {
		_, err := m.UpdateMetadata(ctx, bob[1], map[string]string{"device": "phone"})
		return err
	})
	h.revoke(ulid.ULID{15: 1}, tokenstore.Target{UserID: "ann"})
	h.revoke(ulid.ULID{15: 2}, tokenstore.Target{SessionID: "another session"})
	h.revoke(ulid.ULID{15: 3}, tokenstore.Target{UserID: "bob", IssuedBefore: afterCutOff().Add(-time.Hour)})
	h.try("erase", func() error {
		_, err := m.Erase(ctx, tokenstore.EraseRequest{ID: ulid.ULID{15: 4}, UserID: "ann", Actor: "ann"})
		return err
	})
	for _, id := range append(ann, lone) {
		h.refused(id)
	}
	time.Sleep(11 * time.Second) // the leeway is over, so the outdated secret is replay
	for range 2 {
		if _, err := m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: old, ClientID: "web"}); err == nil {
			t.Fatal("S1: an outdated secret was exchanged")
		}
	}
	time.Sleep(20 * time.Second)
	synctest.Wait()

	backend.faults.disarm()
	h.refused(bob[0])
	h.left(foreign, bob[1], bob[2])
	if state, err := m.State(ctx); err != nil || state.Pending != 0 {
		t.Logf("state %+v, error %v", state, err)
		t.Error("L1: not converged after twenty seconds")
	}
	h.unnamed("ann")
	if _, err := m.Get(ctx, imported, tokenstore.Eventual); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Error("L1: the imported token was revoked, and is still stored")
	}
	if st, err := backend.Backend.Tenant(tenantNames[0]); err != nil || tells(st) {
		h.told(3, 3) // of what names the erased user, and of the erasure its beginning and its end, that is all
	}
	if token, err := m.Get(ctx, bob[1], tokenstore.Eventual); err != nil || token.Metadata.Len() != 1 {
		t.Error("an acknowledged update of metadata is lost")
	}
}

// afterCutOff is the bubble's clock, which starts in the year 2000, moved to where tokens have sessions.
func afterCutOff() time.Time { return time.Now().AddDate(26, 0, 0) }

// past is a history under way.
type past struct {
	t       *testing.T
	ctx     context.Context
	m       *tokenstore.Manager
	secrets map[ulid.ULID]tokenstore.Secret
}

// unnamed sees to it that no revocation names a user who was erased.
func (h *past) unnamed(user string) {
	h.t.Helper()
	page, err := h.m.Revocations(h.ctx, tokenstore.RevocationsRequest{Retired: true})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, status := range page.Revocations {
		if status.Tombstone.Actor == user || status.Tombstone.Targets[0].UserID == user {
			h.t.Logf("%+v", status.Tombstone)
			h.t.Error("an erased user is named")
		}
	}
}

// try makes a call, and once again if it failed.
func (h *past) try(what string, call func() error) {
	h.t.Helper()
	err := call()
	if errors.Is(err, store.ErrNotCommitted) || errors.Is(err, store.ErrUnknownOutcome) {
		err = call()
	}
	if err != nil {
		h.t.Logf("%s: %v", what, err)
		h.t.Fatal("a call that was repeated after a fault failed again")
	}
}

func (h *past) issue(user, session string) (id ulid.ULID) {
	h.try("issue", func() error {
		issued, err := h.m.Issue(h.ctx, tokenstore.IssueRequest{
			UserID: user, ClientID: "web", SessionID: tokenstore.MustSessionID(session),
		})
		if err == nil {
			id = issued.Token.ID
			h.secrets[id] = issued.Secret
		}
		return err
	})
	return id
}

// imported brings in a token, with a foreign secret if that is not empty.
func (h *past) imported(user, secret string) ulid.ULID {
	token := tokenstore.RefreshToken{
		ID: ulid.ULID{14: byte(len(secret)), 15: 9}, UserID: user, ClientID: "web", SessionID: tokenstore.MustSessionID("bob's session"),
		CreatedAt: afterCutOff().Add(-2 * time.Hour),
	}
	if secret != "" {
		token.Rotating, token.ForeignDigest = true, tokenstore.DigestForeign(secret)
		h.secrets[token.ID] = tokenstore.NewSecret(secret)
	}
	h.try("import", func() error {
		results, err := h.m.Import(h.ctx, []tokenstore.RefreshToken{token})
		if err == nil {
			err = results[0].Err
		}
		return err
	})
	return token.ID
}

func (h *past) exchange(id ulid.ULID) {
	h.try("exchange", func() error {
		x, err := h.m.Exchange(h.ctx, tokenstore.ExchangeRequest{Secret: h.secrets[id], ClientID: "web"})
		if err == nil {
			h.secrets[id] = x.Secret
		}
		return err
	})
}

// retry presents a secret once more whose successor is known, which counts against the limit once.
func (h *past) retry(s, successor tokenstore.Secret) {
	h.try("retry", func() error {
		x, err := h.m.Exchange(h.ctx, tokenstore.ExchangeRequest{Secret: s, ClientID: "web"})
		if err == nil && x.Secret.Reveal() != successor.Reveal() {
			h.t.Fatal("S7 single use: a retry must receive the same successor")
		}
		return err
	})
}

func (h *past) revoke(id ulid.ULID, target tokenstore.Target) {
	h.try("revoke", func() error {
		_, err := h.m.Revoke(h.ctx, tokenstore.RevokeRequest{ID: id, Targets: []tokenstore.Target{target}})
		return err
	})
}

func (h *past) refused(id ulid.ULID) {
	h.t.Helper()
	if _, err := h.m.Exchange(h.ctx, tokenstore.ExchangeRequest{Secret: h.secrets[id], ClientID: "web"}); err == nil {
		h.t.Fatal("S1: a revoked token was exchanged")
	}
}

// left checks that the given tokens, and no others, are stored, and can be exchanged.
func (h *past) left(ids ...ulid.ULID) {
	var names []string
	for token, err := range h.m.All(h.ctx, tokenstore.ListRequest{}) {
		if err != nil {
			h.t.Fatal(err)
		}
		names = append(names, token.UserID+" "+token.ID.String())
	}
	if len(names) != len(ids) {
		h.t.Logf("stored: %q", names)
		h.t.Error("S2, L1: what is stored is not what was issued and not revoked")
	}
	for _, id := range ids {
		h.exchange(id)
	}
}

// told checks that the feed has one event for each of so many revocations, and so many of which an erasure is left.
func (h *past) told(revocations, erased int) {
	page, err := h.m.Feed(h.ctx, tokenstore.FeedRequest{})
	told := map[ulid.ULID]bool{}
	for _, e := range page.Events {
		if e.Kind == tokenstore.KindErased {
			erased--
		} else {
			told[e.Revocation] = true
			revocations--
		}
	}
	if err != nil || revocations != 0 || erased != 0 || len(told) != 3 {
		h.t.Logf("%+v, %v", page, err)
		h.t.Error("F1: the feed does not have one event for each revocation")
	}
}
