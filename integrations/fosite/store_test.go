package fosite_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"example.com/tokenstore"
	adapter "example.com/tokenstore/integrations/fosite"
	"example.com/tokenstore/memstore"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
)

// A host's halves are what fosite asks for with nothing but the embedding.
var (
	_ oauth2.TokenRevocationStorage = hostStorage{}
	_ oauth2.CoreStorage            = hostStorage{}
	_ oauth2.CoreStrategy           = hostStrategy{}
)

// TestRefresh: secrets rotate in place, a lost answer is given again, a replay ends the token and keeps its evidence.
func TestRefresh(t *testing.T) {
	onBackends(t, adapter.Options{}, func(r *rig) {
		first := r.mustIssue("grant-1", "ann")
		id := r.live()[0].ID
		other := r.mustIssue("grant-2", "ann")
		secret, parent := first, ""
		for range 20 {
			parent, secret = secret, r.mustTry(secret)
			if again := r.mustTry(parent); again != secret {
				r.Fatal("a retry within the leeway got another secret")
			}
		}
		if token, err := r.manager.Get(r.Context(), id, tokenstore.Fenced); err != nil || token.Generation != 20 || len(r.live()) != 2 {
			r.Errorf("%d tokens, this one %+v, %v", len(r.live()), token, err)
		}
		for _, gone := range []string{first, secret, first} {
			_, err := r.try(gone, "web")
			wantError(r.T, err, fosite.ErrInvalidGrant)
		}
		page, err := r.manager.Revocations(r.Context(), tokenstore.RevocationsRequest{})
		if err != nil || len(page.Revocations) != 1 || page.Revocations[0].Tombstone.Reason != tokenstore.ReasonReuse {
			r.Errorf("revocations %+v, %v", page, err)
		}
		r.mustTry(other)
	})
}

// TestRecord: the record has what the request says, and fosite reads it back.
func TestRecord(t *testing.T) {
	onBackends(t, adapter.Options{}, func(r *rig) {
		secret := r.mustIssue("grant-1", "ann")
		token := r.live()[0]
		if session, _ := token.SessionID.Get(); token.UserID != "ann" || token.ClientID != "web" || session != "grant-1" || !token.Offline || !token.AuthenticatedAt.Equal(start) {
			r.Errorf("record %+v", token)
		}
		session := openid.NewDefaultSession()
		read, err := r.store.GetRefreshTokenSession(r.Context(), r.store.RefreshTokenSignature(r.Context(), secret), session)
		if err != nil {
			r.Fatal(err)
		}
		if read.GetID() != "grant-1" || read.GetClient().GetID() != "web" || !read.GetGrantedScopes().MatchesExact("openid", "email", "offline") ||
			len(read.GetGrantedAudience()) != 0 || read.GetSession().GetSubject() != "ann" || session.Claims.Subject != "ann" ||
			!session.Claims.AuthTime.Equal(start) || !session.GetExpiresAt(fosite.RefreshToken).Equal(token.IdleExpiresAt) {
			r.Errorf("read %+v, session %+v", read, session)
		}
	})
}

// TestAudiences: those of a grant are kept.
func TestAudiences(t *testing.T) {
	r := newRig(t, memstore.New(), adapter.Options{}, tokenstore.Options{})
	request := fosite.NewAccessRequest(&fosite.DefaultSession{Subject: "ann"})
	request.Client = r.client("web")
	request.GrantAudience("https://api.test")
	request.GrantAudience("https://api.test/two")
	_, signature, err := r.store.GenerateRefreshToken(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	read, err := r.store.GetRefreshTokenSession(t.Context(), signature, nil)
	if err != nil || !read.GetGrantedAudience().MatchesExact("https://api.test", "https://api.test/two") {
		t.Errorf("read %+v, %v", read, err)
	}
}

// TestRefused: every cause is the same to a client, and nothing is written.
func TestRefused(t *testing.T) {
	want := ""
	for _, c := range []struct {
		name, client string
		secret       func(r *rig, first string) string
	}{
		{"unknown", "web", func(*rig, string) string { return "not-one-of-ours" }},
		{"malformed", "web", func(*rig, string) string { return "rts_" }},
		{"empty", "web", func(*rig, string) string { return "" }},
		{"of another store", "web", func(r *rig, _ string) string {
			return newRig(r.T, memstore.New(), adapter.Options{}, tokenstore.Options{}).mustIssue("grant-1", "ann")
		}},
		{"revoked", "web", func(r *rig, first string) string { r.revokeUser("ann"); return first }},
		{"idle", "web", func(r *rig, first string) string { r.wait(30 * 24 * time.Hour); return first }},
		{"wrong client", "app", func(_ *rig, first string) string { return first }},
		{"wrong client, retry", "app", func(r *rig, first string) string { r.mustTry(first); return first }},
		{"wrong client, replay", "app", func(r *rig, first string) string { r.mustTry(r.mustTry(first)); return first }},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBackends(t, adapter.Options{}, func(r *rig) {
				secret := c.secret(r, r.mustIssue("grant-1", "ann"))
				r.wantUnchanged(func() {
					_, err := r.try(secret, c.client)
					wantError(r.T, err, fosite.ErrInvalidGrant)
					got := fosite.ErrorToRFC6749Error(err).GetDescription()
					if want == "" {
						want = got
					}
					if got != want {
						r.Errorf("answered %q, and %q before", got, want)
					}
				})
			})
		})
	}
}

// TestReplayed: a replay ends the access tokens of the grant too, and nothing else does.
func TestReplayed(t *testing.T) {
	var replayed []string
	var failure error
	r := newRig(t, memstore.New(), adapter.Options{Replayed: func(_ context.Context, id string) error {
		replayed = append(replayed, id)
		return failure
	}}, tokenstore.Options{})
	first := r.mustIssue("grant-1", "ann")
	r.mustTry(first)
	r.mustTry(first) // a retry
	current := r.mustTry(r.mustTry(first))
	_, err := r.try(first, "app")
	wantError(t, err, fosite.ErrInvalidGrant)
	if len(replayed) > 0 {
		t.Errorf("replayed before: %v", replayed)
	}
	_, err = r.try(first, "web")
	wantError(t, err, fosite.ErrInvalidGrant)
	_, err = r.try(current, "web")
	wantError(t, err, fosite.ErrInvalidGrant)
	if len(replayed) != 1 || replayed[0] != "grant-1" {
		t.Errorf("replayed %v, want grant-1 once", replayed)
	}

	failure = errors.New("the host's database")
	second := r.mustIssue("grant-2", "ann")
	r.mustTry(r.mustTry(second))
	_, err = r.try(second, "web")
	wantError(t, err, fosite.ErrServerError)
	_, err = r.try(second, "web")
	wantError(t, err, fosite.ErrInvalidGrant)
}

// TestWithoutLeeway: of two refreshes with one secret the second is replay, also if both had been validated.
func TestWithoutLeeway(t *testing.T) {
	r := newRig(t, memstore.New(), adapter.Options{}, tokenstore.Options{Leeway: -1})
	secret := r.mustIssue("grant-1", "ann")
	first, err := r.validate(secret, "web")
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.validate(secret, "web")
	if err != nil {
		t.Fatal(err)
	}
	next, err := r.answer(first)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.answer(second)
	wantError(t, err, fosite.ErrInvalidRequest) // as fosite tells its own races
	if len(r.live()) != 0 {
		t.Error("the token is live after a replay")
	}
	_, err = r.try(next, "web")
	wantError(t, err, fosite.ErrInvalidGrant)
}

// TestRetryLimit: a retry too many, of which only the exchange hears, hands out nothing.
func TestRetryLimit(t *testing.T) {
	r := newRig(t, memstore.New(), adapter.Options{}, tokenstore.Options{RetryLimit: 1})
	secret := r.mustIssue("grant-1", "ann")
	r.mustTry(secret)
	a, err := r.validate(secret, "web") // the one retry
	if err != nil {
		t.Fatal(err)
	}
	if token, err := r.answer(a); !errors.Is(err, fosite.ErrInvalidRequest) || token != "" {
		t.Errorf("answered, error %v", err)
	}
}

// TestRevocation: RFC 7009 by any secret of the client's own token, and by none of another's.
func TestRevocation(t *testing.T) {
	onBackends(t, adapter.Options{}, func(r *rig) {
		other := r.mustIssue("grant-0", "ann")
		first := r.mustIssue("grant-1", "ann")
		current := r.mustTry(r.mustTry(first))
		r.wantUnchanged(func() {
			wantError(r.T, r.revokeToken(first, "app"), fosite.ErrUnauthorizedClient)
			wantError(r.T, r.revokeToken("not-one-of-ours", "web"), nil)
		})
		for range 2 {
			wantError(r.T, r.revokeToken(first, "web"), nil) // outdated, and then revoked before
		}
		_, err := r.try(current, "web")
		wantError(r.T, err, fosite.ErrInvalidGrant)
		if _, err := r.issue("grant-1", "ann"); !errors.Is(err, tokenstore.ErrRevoked) {
			r.Errorf("the grant issues again: %v", err)
		}
		r.mustTry(other)
	})
}

// TestRevocationWithoutKey: where it is not known whose a secret is, because the ring lacks the key, nobody is told that it
// was revoked.
func TestRevocationWithoutKey(t *testing.T) {
	ring := func(current string) tokenstore.Options {
		pepper, err := tokenstore.NewPepperRing(current, map[string][]byte{current: []byte("a key of more than sixteen bytes")})
		if err != nil {
			t.Fatal(err)
		}
		return tokenstore.Options{Pepper: pepper}
	}
	backend := memstore.New()
	with := newRig(t, backend, adapter.Options{}, ring("old"))
	without := newRig(t, backend, adapter.Options{}, ring("new"))
	secret := with.mustIssue("grant-1", "ann")
	wantError(t, without.revokeToken(secret, "web"), fosite.ErrTemporarilyUnavailable)
	signature := without.store.RefreshTokenSignature(t.Context(), secret)
	wantError(t, without.store.DeleteRefreshTokenSession(t.Context(), signature), tokenstore.ErrKeyMissing)
	with.mustTry(secret)
}

// TestDelete: it revokes, and keeps what a replay is known by.
func TestDelete(t *testing.T) {
	r := newRig(t, memstore.New(), adapter.Options{}, tokenstore.Options{})
	secret := r.mustIssue("grant-1", "ann")
	id := r.live()[0].ID
	for _, text := range []string{"not-one-of-ours", secret, secret} {
		if err := r.store.DeleteRefreshTokenSession(t.Context(), r.store.RefreshTokenSignature(t.Context(), text)); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.live()) != 0 {
		t.Error("the token is live")
	}
	if _, err := r.manager.Get(t.Context(), id, tokenstore.Eventual); err != nil {
		t.Errorf("the record is gone before the sweep: %v", err)
	}
}

// TestIntrospection: fosite's own validator knows the current secret, and no outdated one.
func TestIntrospection(t *testing.T) {
	r := newRig(t, memstore.New(), adapter.Options{}, tokenstore.Options{})
	validator := &oauth2.CoreValidator{CoreStrategy: r.strategy, CoreStorage: r.tokens, Config: newConfig()}
	introspect := func(secret string, session fosite.Session) error {
		_, err := validator.IntrospectToken(t.Context(), secret, fosite.RefreshToken, fosite.NewAccessRequest(session), nil)
		return err
	}
	first := r.mustIssue("grant-1", "ann")
	current := r.mustTry(first)
	r.wantUnchanged(func() {
		for _, session := range []fosite.Session{openid.NewDefaultSession(), nil} {
			if err := introspect(current, session); err != nil {
				t.Error(err)
			}
			if err := introspect(first, session); err == nil {
				t.Error("an outdated secret is active")
			}
		}
		_, err := r.store.GetRefreshTokenSession(t.Context(), r.store.RefreshTokenSignature(t.Context(), first), openid.NewDefaultSession())
		wantError(t, err, fosite.ErrNotFound)
	})
	r.revokeUser("ann")
	if err := introspect(current, openid.NewDefaultSession()); err == nil {
		t.Error("a revoked token is active")
	}
}

// TestSignature: it tells nothing of the secret, and is nothing to another store.
func TestSignature(t *testing.T) {
	r := newRig(t, memstore.New(), adapter.Options{}, tokenstore.Options{})
	other, err := adapter.New(r.manager, newMemory(), nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := r.mustIssue("grant-1", "ann")
	a, b := r.store.RefreshTokenSignature(t.Context(), secret), r.store.RefreshTokenSignature(t.Context(), secret)
	if a == b {
		t.Error("two signatures are alike")
	}
	for _, signature := range []string{"", "!", secret, other.RefreshTokenSignature(t.Context(), secret), a[:len(a)-2]} {
		if _, err := r.store.GetRefreshTokenSession(t.Context(), signature, nil); !errors.Is(err, fosite.ErrNotFound) {
			t.Errorf("a foreign signature was read: %v", err)
		}
	}
	if _, err := r.store.GetRefreshTokenSession(t.Context(), b, nil); err != nil {
		t.Error(err)
	}
}

// TestLoginBeforeRevocation: a login of before the revocation of all of a user's tokens issues none after it.
func TestLoginBeforeRevocation(t *testing.T) {
	r := newRig(t, memstore.New(), adapter.Options{}, tokenstore.Options{})
	r.wait(time.Minute)
	r.revokeUser("ann") // who authenticated at the start
	if _, err := r.issue("grant-1", "ann"); !errors.Is(err, tokenstore.ErrRevoked) {
		t.Errorf("error %v, want ErrRevoked", err)
	}
	if _, err := r.issue("grant-2", "bob"); err != nil {
		t.Error(err)
	}
}

// TestHooks: what a host adds is in the records and in the sessions, and its errors stop what they are about.
func TestHooks(t *testing.T) {
	failing := errors.New("the host's database")
	var fail bool
	broken := func() error {
		if fail {
			return failing
		}
		return nil
	}
	r := newRig(t, memstore.New(), adapter.Options{
		Issue: func(_ context.Context, request fosite.Requester, issue *tokenstore.IssueRequest) error {
			issue.Device.InitialIP = "192.0.2.1"
			return broken()
		},
		Exchange: func(_ context.Context, request fosite.Requester, exchange *tokenstore.ExchangeRequest) error {
			exchange.Device.LastIP = "192.0.2.2"
			return broken()
		},
		Session: func(_ context.Context, token tokenstore.RefreshToken, session fosite.Session) error {
			session.(*openid.DefaultSession).Username = token.UserID + "@example.test"
			return nil
		},
	}, tokenstore.Options{})
	secret := r.mustIssue("grant-1", "ann")
	a, err := r.validate(secret, "web")
	if err != nil {
		t.Fatal(err)
	}
	if got := a.request.Session.GetUsername(); got != "ann@example.test" {
		t.Errorf("username %q", got)
	}
	if _, err := r.answer(a); err != nil {
		t.Fatal(err)
	}
	if got := r.live()[0].Device; got.InitialIP != "192.0.2.1" || got.LastIP != "192.0.2.2" {
		t.Errorf("device %+v", got)
	}
	fail = true
	r.wantUnchanged(func() {
		_, err := r.issue("grant-2", "ann")
		wantError(t, err, failing)
		_, err = r.try(secret, "web")
		wantError(t, err, fosite.ErrServerError)
	})
}

// TestFaults: a fault of the store is no refusal, to a client.
func TestFaults(t *testing.T) {
	r := newRig(t, memstore.New(), adapter.Options{}, tokenstore.Options{})
	secret := r.mustIssue("grant-1", "ann")
	a, err := r.validate(secret, "web")
	if err != nil {
		t.Fatal(err)
	}
	_ = r.backend.Close()
	_, err = r.try(secret, "web")
	wantError(t, err, fosite.ErrServerError)
	_, err = r.answer(a)
	wantError(t, err, fosite.ErrServerError)
	wantError(t, r.revokeToken(secret, "web"), fosite.ErrTemporarilyUnavailable)
	_, err = r.issue("grant-2", "ann")
	wantError(t, err, tokenstore.ErrClosed)
}
