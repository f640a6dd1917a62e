package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

func checkBadInput(t testing.TB, e *env) {
	w := e.tenant(t)
	token := w.add(t, "user", "client", "session")
	before := w.state(t)
	bad := func(what string, err error) {
		t.Helper()
		if field := (*domain.FieldError)(nil); !errors.As(err, &field) {
			t.Errorf("%s must be a FieldError: got %v", what, err)
		}
		if after := w.state(t); after != before {
			t.Fatalf("%s must write nothing: state %+v became %+v", what, before, after)
		}
	}
	badTokens(t, w, bad)

	for what, next := range map[string]func(*domain.RefreshToken){
		"a too long user agent":   func(t *domain.RefreshToken) { t.Device.LastUserAgent = strings.Repeat("x", domain.MaxUserAgent+1) },
		"a NUL in the user agent": func(t *domain.RefreshToken) { t.Device.LastUserAgent = "a\x00b" },
		"a year beyond 9999":      func(t *domain.RefreshToken) { t.ExpiresAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"an unknown confirmation": func(t *domain.RefreshToken) { t.Confirmation.Kind = "unknown" },
	} {
		r := w.revocation(domain.Target{TokenID: token.ID})
		bad("an Update to "+what, w.Update(w.ctx, token.ID, func(view store.View) store.Decision {
			fresh := view.Token
			next(&fresh)
			return store.Decision{Next: &fresh, Revoke: &r}
		}))
	}
	for what, change := range map[string]func(*store.Revocation){
		"without an id":               func(r *store.Revocation) { r.ID = ulid.ULID{} },
		"without targets":             func(r *store.Revocation) { r.Targets = nil },
		"of too many targets":         func(r *store.Revocation) { r.Targets = make([]domain.Target, domain.MaxTargets+1) },
		"of an empty target":          func(r *store.Revocation) { r.Targets = append(r.Targets, domain.Target{}) },
		"of more than everything":     func(r *store.Revocation) { r.Targets[0].Everything = true },
		"of a user with NUL":          func(r *store.Revocation) { r.Targets[0].UserID = "a\x00" },
		"of a too long session":       func(r *store.Revocation) { r.Targets[0].SessionID = strings.Repeat("x", domain.MaxSessionID+1) },
		"for a too long reason":       func(r *store.Revocation) { r.Reason = strings.Repeat("x", domain.MaxReason+1) },
		"by an actor of broken UTF-8": func(r *store.Revocation) { r.Actor = "\xff" },
		"that erases a session":       func(r *store.Revocation) { *r = w.erasure(domain.Target{SessionID: "session"}) },
		"that erases without a key":   func(r *store.Revocation) { r.Erase = true },
		"that erases by a bad actor":  func(r *store.Revocation) { *r = w.erasure(r.Targets[0]); r.Actor = "\xff" },
	} {
		r := w.revocation(domain.Target{UserID: "user"})
		change(&r)
		_, err := w.Revoke(w.ctx, r)
		bad("a Revoke "+what, err)
		bad("an Update with a revocation "+what, w.Update(w.ctx, token.ID, func(view store.View) store.Decision {
			d := write("half")(view)
			d.Revoke = &r
			return d
		}))
	}
	badQueries(t, e, w, bad)
	w.wantRecord(t, "what is refused must write nothing", token)
}

// badTokens puts one bad row between good ones: none of them may be kept.
func badTokens(t testing.TB, w *tenant, bad func(string, error)) {
	t.Helper()
	for what, change := range map[string]func(*domain.RefreshToken){
		"without an id":         func(t *domain.RefreshToken) { t.ID = ulid.ULID{} },
		"without a user":        func(t *domain.RefreshToken) { t.UserID = "" },
		"of a too long user":    func(t *domain.RefreshToken) { t.UserID = strings.Repeat("é", domain.MaxUserID+1) },
		"of a user with NUL":    func(t *domain.RefreshToken) { t.UserID = "a\x00b" },
		"without a client":      func(t *domain.RefreshToken) { t.ClientID = "" },
		"of a broken client":    func(t *domain.RefreshToken) { t.ClientID = "\xff" },
		"of two secrets":        func(t *domain.RefreshToken) { t.ForeignDigest, t.SecretDigest = domain.Digest{1}, domain.Digest{1} },
		"of a weak secret":      func(t *domain.RefreshToken) { t.ForeignWeak = true },
		"of no time":            func(t *domain.RefreshToken) { t.CreatedAt = time.Time{} },
		"of a year beyond 9999": func(t *domain.RefreshToken) { t.CreatedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		batch := []domain.RefreshToken{w.token("good", "client", ""), w.token("bad", "client", ""), w.token("good", "client", "")}
		change(&batch[1])
		_, err := w.Insert(w.ctx, rows(batch...))
		bad("an Insert of a token "+what, err)
	}
	_, err := w.Insert(w.ctx, nil)
	bad("an Insert of nothing", err)
	many := make([]domain.RefreshToken, store.MaxBatch+1)
	for i := range many {
		many[i] = w.token("many", "client", "")
	}
	_, err = w.Insert(w.ctx, rows(many...))
	bad("an Insert of too many", err)
}

func badQueries(t testing.TB, e *env, w *tenant, bad func(string, error)) {
	t.Helper()
	for what, q := range map[string]store.Query{
		"without a limit":       {},
		"of a negative limit":   {Limit: -1},
		"of too large a page":   {Limit: store.MaxPage + 1},
		"of a client alone":     {ClientID: "client", Limit: 1},
		"of a too long user":    {UserID: strings.Repeat("x", domain.MaxUserID+1), Limit: 1},
		"of a session with NUL": {SessionID: "a\x00", Limit: 1},
	} {
		_, err := w.List(w.ctx, q)
		bad("a List "+what, err)
	}
	for _, limit := range []int{-1, 0, store.MaxPage + 1} {
		_, err := w.Revocations(w.ctx, store.RevocationQuery{Limit: limit})
		bad("Revocations of a limit out of range", err)
	}
	id := []ulid.ULID{w.id()}
	for _, c := range []struct {
		what   string
		ids    []ulid.ULID
		bounds store.Bounds
	}{
		{"of nothing", nil, store.Bounds{Visit: 1, Remove: 1}},
		{"of too many", make([]ulid.ULID, store.MaxSlice+1), store.Bounds{Visit: 1, Remove: 1}},
		{"that may visit nothing", id, store.Bounds{Remove: 1}},
		{"that may remove nothing", id, store.Bounds{Visit: 1}},
	} {
		_, err := w.Apply(w.ctx, c.ids, c.bounds)
		bad("an Apply "+c.what, err)
	}
	_, err := w.Trim(w.ctx, store.Trim{})
	bad("a Trim of no limit", err)
	_, err = e.backend.Pending(w.ctx, "", 0)
	bad("Pending of no limit", err)
	for what, name := range map[string]string{
		"an empty name": "", "a too long name": strings.Repeat("é", domain.MaxTenant+1), "a name with NUL": "a\x00", "a broken name": "\xff",
	} {
		_, err := e.backend.Tenant(name)
		bad("a tenant of "+what, err)
	}
}
