package management_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/management"
)

const revokePath = "/api/v2/refresh-tokens/revoke"

// tokens are issued tokens by a name that says whose they are.
type tokens map[string]tokenstore.Issued

func (r *rig) issueAll() tokens {
	r.Helper()
	return tokens{
		"alice app api":   r.issue(r.manager, "alice", "app", "api", "other"),
		"alice app other": r.issue(r.manager, "alice", "app", "other"),
		"alice tv api":    r.issue(r.manager, "alice", "tv", "api"),
		"bob app api":     r.issue(r.manager, "bob", "app", "api"),
	}
}

func (ts tokens) id(name string) string { return ts[name].Token.ID.String() }

// refused are the names of those that can't be exchanged.
func (r *rig) refused(ts tokens) []string {
	r.Helper()
	var names []string
	for name, issued := range ts {
		if !r.exchangeable(r.manager, issued) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestWhatIsRevoked: each way to revoke reaches what it names, at once, and nothing else.
func TestWhatIsRevoked(t *testing.T) {
	const form = "Content-Type: application/x-www-form-urlencoded"
	for name, test := range map[string]struct {
		ask    func(ts tokens) (method, target, body string)
		header string
		status int
		want   []string
	}{
		"one": {func(ts tokens) (string, string, string) {
			return "DELETE", "/api/v2/refresh-tokens/" + ts.id("alice tv api"), ""
		}, "", 202, []string{"alice tv api"}},
		"a device": {func(ts tokens) (string, string, string) {
			return "DELETE", "/api/v2/device-credentials/" + ts.id("alice tv api"), ""
		}, "", 204, []string{"alice tv api"}},
		"a user": {func(tokens) (string, string, string) { return "DELETE", "/api/v2/users/alice/refresh-tokens", "" }, "", 202,
			[]string{"alice app api", "alice app other", "alice tv api"}},
		"a session": {func(tokens) (string, string, string) { return "POST", "/api/v2/sessions/session-alice/revoke", "" }, "", 202,
			[]string{"alice app api", "alice app other", "alice tv api"}},
		"ids": {func(ts tokens) (string, string, string) {
			return "POST", revokePath, fmt.Sprintf(`{"ids":[%q,%q,"01KASMRR00000000000000TEST","foreign"]}`, ts.id("bob app api"), ts.id("alice tv api"))
		}, "", 202, []string{"alice tv api", "bob app api"}},
		"user": {func(tokens) (string, string, string) { return "POST", revokePath, `{"user_id":"bob"}` }, "", 202, []string{"bob app api"}},
		"user and client": {func(tokens) (string, string, string) {
			return "POST", revokePath, `{"client_id":"app","user_id":"alice"}`
		}, "", 202, []string{"alice app api", "alice app other"}},
		"user, client and audience": {func(tokens) (string, string, string) {
			return "POST", revokePath, `{"user_id":"alice","client_id":"app","audience":"api"}`
		}, "", 202, []string{"alice app api"}},
		"ids in a form": {func(ts tokens) (string, string, string) {
			return "POST", revokePath, "ids=" + ts.id("bob app api") + "&ids=" + ts.id("alice tv api")
		}, form, 202, []string{"alice tv api", "bob app api"}},
		"user and client in a form": {func(tokens) (string, string, string) { return "POST", revokePath, "user_id=alice&client_id=tv" }, form, 202, []string{"alice tv api"}},
		"an unknown token": {func(tokens) (string, string, string) {
			return "DELETE", "/api/v2/refresh-tokens/01KASMRR00000000000000TEST", ""
		}, "", 202, nil},
		"no id at all":       {func(tokens) (string, string, string) { return "DELETE", "/api/v2/refresh-tokens/rt_old", "" }, "", 202, nil},
		"an unknown user":    {func(tokens) (string, string, string) { return "DELETE", "/api/v2/users/nobody/refresh-tokens", "" }, "", 202, nil},
		"an unknown session": {func(tokens) (string, string, string) { return "POST", "/api/v2/sessions/nothing/revoke", "" }, "", 202, nil},
		"unknown ids": {func(tokens) (string, string, string) {
			return "POST", revokePath, `{"ids":["01KASMRR00000000000000TEST","x"]}`
		}, "", 202, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, management.Options{})
			ts := r.issueAll()
			method, target, body := test.ask(ts)
			got := r.want(test.status, method, target, body, test.header)
			if want := map[int]string{202: "{}", 204: ""}[test.status]; got.text != want {
				t.Errorf("the body is %q, want %q", got.text, want)
			}
			if refused := r.refused(ts); !slices.Equal(refused, test.want) {
				t.Errorf("refused are %v, want %v", refused, test.want)
			}
			if name == "a session" { // a dead one issues nothing
				return
			}
			if later := r.issue(r.manager, "alice", "app", "api"); !r.exchangeable(r.manager, later) {
				t.Error("a token that was issued after the revocation is refused")
			}
		})
	}
}

func TestBadRevocations(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	ts := r.issueAll()
	id := ts.id("bob app api")
	list := func(n int) string { return `"` + strings.Join(slices.Repeat([]string{id}, n), `","`) + `"` }
	r.want(http.StatusAccepted, "POST", revokePath, `{"ids":[`+list(100)+`]}`)
	r.want(http.StatusAccepted, "POST", revokePath, `{"ids":["`+strings.Repeat("ž", 30)+`"]}`)
	delete(ts, "bob app api")
	for _, body := range []string{
		``, `{}`, `[]`, `null`, `7`, `"x"`, `{`, `{"user_id":"alice"`, `{"user_id":"alice"}x`, `{"user_id":"alice"}{}`,
		`{"ids":[]}`, `{"ids":null}`, `{"ids":"` + id + `"}`, `{"ids":[1]}`, `{"ids":[null]}`, `{"ids":[""]}`, `{"ids":["` + strings.Repeat("x", 31) + `"]}`,
		`{"ids":[` + list(101) + `]}`, `{"ids":{"0":"x"}}`,
		`{"client_id":"app"}`, `{"audience":"api"}`, `{"client_id":"app","audience":"api"}`, `{"user_id":"alice","audience":"api"}`,
		`{"ids":["x"],"user_id":"alice"}`, `{"ids":["x"],"client_id":"app"}`, `{"ids":["x"],"audience":"api"}`,
		`{"user_id":""}`, `{"user_id":null}`, `{"user_id":7}`, `{"user_id":["alice"]}`, `{"user_id":"alice","client_id":null}`, `{"user_id":"alice","client_id":""}`,
		`{"user_id":"` + strings.Repeat("x", 301) + `"}`, `{"user_id":"alice","client_id":"` + strings.Repeat("x", 65) + `"}`,
		`{"user_id":"alice","client_id":"app","audience":"` + strings.Repeat("x", 601) + `"}`, `{"user_id":"alice","client_id":"app","audience":""}`,
		`{"user_id":"alice","extra":1}`, `{"User_ID":"alice"}`, `{"user_id":"bob","user_id":"alice"}`, `{"user_id":"alice","everything":true}`,
		"{\"user_id\":\"\xff\"}", `{"user_id":"\u0000"}`, `{"user_id":"\ud800"}`, `{"user_id":"\udc00"}`, `{"user_id":"\ud800x"}`,
		`{"user_id":"\ud83d\u0041"}`, `{"user_id":"\ude00\ud83d"}`, `{"user_id":"\ud83d`, `{"session_id":"session-alice"}`,
	} {
		got := r.want(http.StatusBadRequest, "POST", revokePath, body)
		if got.object(t)["errorCode"] != "invalid_body" {
			t.Errorf("%s: %s", body, got.text)
		}
	}
	for _, body := range []string{"client_id=app", "user_id=a&user_id=b", "user_id=%zz", "user_id=%FF", "x=y", "ids=", "user_id=alice&everything=true", "user_id"} {
		r.want(http.StatusBadRequest, "POST", revokePath, body, "Content-Type: application/x-www-form-urlencoded")
	}
	r.want(http.StatusBadRequest, "POST", "/api/v2/sessions/"+strings.Repeat("x", 51)+"/revoke", "")
	r.want(http.StatusBadRequest, "POST", "/api/v2/sessions/%FF/revoke", "")
	if refused := r.refused(ts); len(refused) > 0 {
		t.Errorf("requests that were refused revoked %v", refused)
	}
	if n := len(r.want(http.StatusOK, "GET", "/api/v2/revocations", "").list(t, "revocations")); n != 1 {
		t.Errorf("%d revocations are pending, want 1", n)
	}
}

// TestIdempotencyKey: the same key is the same revocation for a caller, in every process and on every route; a new one for
// other targets is refused, and another caller's is another one.
func TestIdempotencyKey(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	ts := r.issueAll()
	const key = "Idempotency-Key: Ok 1~"
	revocation := func(got answer) string { return got.header.Get(management.HeaderRevocation) }
	one := "/api/v2/refresh-tokens/" + ts.id("alice tv api")
	first := revocation(r.want(http.StatusAccepted, "DELETE", one, "", key))
	if _, ok := domain.ParseID(first); !ok {
		t.Fatalf("the revocation is %q, want an id", first)
	}
	second, err := management.New(r.managers, staticTokens(t), nil) // as another process has it
	r.must(err)
	for _, again := range []answer{
		r.want(http.StatusAccepted, "DELETE", one, "", key),
		(&rig{T: t, Handler: second}).want(http.StatusAccepted, "DELETE", one, "", key),
		r.want(http.StatusAccepted, "POST", revokePath, `{"ids":["`+ts.id("alice tv api")+`"]}`, key),
		r.want(http.StatusNoContent, "DELETE", "/api/v2/device-credentials/"+ts.id("alice tv api"), "", key),
	} {
		if got := revocation(again); got != first {
			t.Errorf("repeated, the revocation is %s, want %s", got, first)
		}
	}
	conflict := r.want(http.StatusConflict, "DELETE", "/api/v2/users/bob/refresh-tokens", "", key)
	if want := `{"statusCode":409,"error":"Conflict","message":"The idempotency key was used for another revocation."}`; conflict.text != want {
		t.Errorf("used for another user: %s, want %s", conflict.text, want)
	}
	if refused := r.refused(ts); !slices.Equal(refused, []string{"alice tv api"}) {
		t.Errorf("refused are %v", refused)
	}
	ids := map[string]bool{first: true}
	for _, other := range []answer{
		r.want(http.StatusAccepted, "DELETE", "/api/v2/users/bob/refresh-tokens", "", key, as(otherActor)),
		r.want(http.StatusAccepted, "DELETE", "/api/v2/users/bob/refresh-tokens", "", key, as(otherAdmin)),
		r.want(http.StatusAccepted, "DELETE", "/api/v2/users/bob/refresh-tokens", "", "Idempotency-Key: another"),
		r.want(http.StatusAccepted, "DELETE", "/api/v2/users/bob/refresh-tokens", ""), // without a key, each is a new one
		r.want(http.StatusAccepted, "DELETE", "/api/v2/users/bob/refresh-tokens", ""),
	} {
		if ids[revocation(other)] {
			t.Errorf("the revocation %s comes twice", revocation(other))
		}
		ids[revocation(other)] = true
	}
	// The order of ids does not matter, nor how often one comes.
	a, b := ts.id("alice app api"), ts.id("alice app other")
	ab := revocation(r.want(http.StatusAccepted, "POST", revokePath, fmt.Sprintf(`{"ids":[%q,%q]}`, a, b), "Idempotency-Key: two"))
	if ba := revocation(r.want(http.StatusAccepted, "POST", revokePath, fmt.Sprintf(`{"ids":[%q,%q,%q]}`, b, a, b), "Idempotency-Key: two")); ba != ab {
		t.Errorf("the same ids in another order are revocation %s, want %s", ba, ab)
	}
}

func TestBadIdempotencyKeys(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	ts := r.issueAll()
	r.want(http.StatusAccepted, "DELETE", "/api/v2/users/nobody/refresh-tokens", "", "Idempotency-Key: "+strings.Repeat("x", 255))
	for _, key := range []string{strings.Repeat("x", 256), "a\tb", "ž", "\x7f"} {
		for _, target := range []string{"/api/v2/users/alice/refresh-tokens", "/api/v2/refresh-tokens/" + ts.id("bob app api"), "/api/v2/refresh-tokens/rt_old"} {
			got := r.want(http.StatusBadRequest, "DELETE", target, "", "Idempotency-Key: "+key)
			if got.object(t)["message"] != "Idempotency-Key must be 1..255 printable ASCII characters." {
				t.Errorf("%q: %s", key, got.text)
			}
		}
	}
	if refused := r.refused(ts); len(refused) > 0 {
		t.Errorf("refused are %v", refused)
	}
}

// TestRevocationOfNothing: it is accepted, and named only if there is something to show for it.
func TestRevocationOfNothing(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	for _, target := range []string{"/api/v2/refresh-tokens/01KASMRR00000000000000TEST", "/api/v2/refresh-tokens/rt_old"} {
		if got := r.want(http.StatusAccepted, "DELETE", target, ""); got.header.Get(management.HeaderRevocation) != "" {
			t.Errorf("%s: names a revocation, and there is none", target)
		}
	}
	got := r.want(http.StatusAccepted, "DELETE", "/api/v2/users/nobody/refresh-tokens", "")
	r.want(http.StatusOK, "GET", "/api/v2/revocations/"+got.header.Get(management.HeaderRevocation), "")
}

// TestRevocations: what the page of a revocation shows, and the lists of them.
func TestRevocations(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	r.issue(r.manager, "bob", "app")
	receipt, err := r.manager.Revoke(t.Context(), tokenstore.RevokeRequest{
		Targets: []tokenstore.Target{
			{UserID: "alice", ClientID: "app", SessionID: "s", Audience: "api", IssuedBefore: r.clock(), Offline: tokenstore.OfflineNo},
			r.manager.LegacyTarget(), {ClientID: "old", Offline: tokenstore.OfflineYes},
		},
		Reason: "leak", Actor: "someone",
	})
	r.must(err)
	got := r.want(http.StatusOK, "GET", "/api/v2/revocations/"+receipt.ID().String(), "")
	want := `{"id":"` + receipt.ID().String() + `","state":"pending","targets":[` +
		`{"user_id":"alice","client_id":"app","session_id":"s","audience":"api","issued_before":"2026-11-23T12:00:00.000Z","offline":false},` +
		`{"legacy_before":"2023-09-21T00:00:00.000Z"},{"client_id":"old","offline":true}],` +
		`"reason":"leak","actor":"someone","created_at":"2026-11-23T12:00:00.000Z","retired_at":null,"examined":0,"swept":0,"superseded_by":null}`
	if got.text != want {
		t.Errorf("the page is\n%s, want\n%s", got.text, want)
	}
	for _, id := range []string{"01KASMRR00000000000000TEST", "x", "..", strings.ToLower(receipt.ID().String())} {
		if got := r.want(http.StatusNotFound, "GET", "/api/v2/revocations/"+id, ""); got.object(t)["message"] != "The revocation does not exist." {
			t.Errorf("%q: %s", id, got.text)
		}
	}
	// One that is superseded is retired, and says by whom.
	first := r.want(http.StatusAccepted, "DELETE", "/api/v2/users/bob/refresh-tokens", "").header.Get(management.HeaderRevocation)
	second := r.want(http.StatusAccepted, "DELETE", "/api/v2/users/bob/refresh-tokens", "").header.Get(management.HeaderRevocation)
	page := r.want(http.StatusOK, "GET", "/api/v2/revocations/"+first, "").object(t)
	if page["state"] != "retired" || page["superseded_by"] != second || page["retired_at"] != "2026-11-23T12:00:00.000Z" {
		t.Errorf("the page of a superseded one is %v", page)
	}
	ids := func(state string) []string {
		ids, _ := r.walk("/api/v2/revocations?"+state, "revocations", 1)
		return ids
	}
	pending := []string{receipt.ID().String(), second}
	slices.Sort(pending)
	if got := ids("state=pending"); !slices.Equal(got, pending) || !slices.Equal(got, ids("")) {
		t.Errorf("pending are %v, want %v", got, pending)
	}
	if got := ids("state=retired"); !slices.Equal(got, []string{first}) {
		t.Errorf("retired are %v, want %s", got, first)
	}
	if got := r.want(http.StatusOK, "GET", "/api/v2/revocations", "", as(otherAdmin)); got.text != `{"revocations":[]}` {
		t.Errorf("another tenant sees %s", got.text)
	}
}

// TestErrorsHaveTheirForm: statusCode, error and message, and JSON, whatever the status.
func TestErrorsHaveTheirForm(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	for _, got := range []answer{
		r.want(400, "GET", "/api/v2/refresh-tokens", ""), r.want(401, "GET", "/api/v2/refresh-tokens", "", "Authorization"),
		r.want(403, "GET", "/api/v2/refresh-tokens", "", as(onlyToken(management.ScopeReadDevices))), r.want(404, "GET", "/", ""),
		r.want(405, "PUT", "/docs", ""), r.want(415, "POST", revokePath, "x", "Content-Type: text/plain"),
	} {
		body := got.object(t)
		if body["statusCode"] != float64(got.status) || body["error"] != http.StatusText(got.status) || body["message"] == "" ||
			got.header.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("%d: %v", got.status, body)
		}
		if extra := slices.DeleteFunc(slices.Collect(maps.Keys(body)), func(k string) bool {
			return slices.Contains([]string{"statusCode", "error", "message", "errorCode"}, k)
		}); len(extra) > 0 {
			t.Errorf("%d: has %v", got.status, extra)
		}
	}
}
