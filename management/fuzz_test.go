package management_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/management"
	"example.com/tokenstore/memstore"
)

// fuzzRig is a handler over a tenant with one token, and what no answer may hold.
type fuzzRig struct {
	http.Handler
	token   string
	secrets []string
}

func newFuzzRig(f *testing.F) *fuzzRig {
	f.Helper()
	m, err := tokenstore.New(memstore.New(), &tokenstore.Options{Legacy: tokenstore.LegacyRule{AllowNoSession: true}})
	if err != nil {
		f.Fatal(err)
	}
	issued, err := m.Issue(f.Context(), tokenstore.IssueRequest{UserID: "alice", ClientID: "app"})
	if err != nil {
		f.Fatal(err)
	}
	auth, err := management.NewStaticTokens(map[string]management.Caller{adminToken: {Actor: "admin", Scopes: management.Scopes()}})
	if err != nil {
		f.Fatal(err)
	}
	h, err := management.New(func(string) (*tokenstore.Manager, error) { return m, nil }, auth, nil)
	if err != nil {
		f.Fatal(err)
	}
	return &fuzzRig{h, issued.Token.ID.String(), []string{adminToken, issued.Secret.Reveal(), "tokenstore:", "goroutine"}}
}

// check sends a request. Whatever it is, the answer is none of a failing server, is JSON, and tells no secret.
func (r *fuzzRig) check(t *testing.T, req *http.Request) answer {
	t.Helper()
	req.Header.Set("Authorization", "Bearer "+adminToken)
	recorder := httptest.NewRecorder()
	r.ServeHTTP(recorder, req)
	text := recorder.Body.String()
	switch {
	case recorder.Code >= 500:
		t.Errorf("answered by %d: %s", recorder.Code, text)
	case recorder.Code == http.StatusNoContent || strings.HasPrefix(recorder.Header().Get("Content-Type"), "text/html"):
	case !json.Valid(recorder.Body.Bytes()):
		t.Errorf("the answer is no JSON: %s", text)
	}
	for _, secret := range r.secrets {
		if strings.Contains(text, secret) {
			t.Errorf("the answer has %q", secret)
		}
	}
	return answer{recorder.Code, recorder.Header(), text}
}

func FuzzQuery(f *testing.F) {
	r := newFuzzRig(f)
	for _, seed := range []string{
		"", "user_id=alice", "user_id=alice&client_id=app&take=1&fields=id,session_id&include_fields=false&consistency=fenced",
		"user_id=%FF", "user_id=alice&take=-1", "from=AAAAAGkj9oABm0QNMYDU0A0rYp2Q8gkAAAAAAAAAAAAAAAAA", "user_id=a;b", "%zz", "take=1e2",
		"page=1&per_page=1&include_totals=true&type=rotating_refresh_token", "state=retired&take=100", "user_id=" + strings.Repeat("x", 301), "&&==&",
	} {
		f.Add(seed)
	}
	paths := []string{
		"/api/v2/refresh-tokens", "/api/v2/users/alice/refresh-tokens", "/api/v2/refresh-tokens/" + r.token, "/api/v2/device-credentials", "/api/v2/revocations",
	}
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range paths {
			req := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
			req.URL.RawQuery = query
			got := r.check(t, req)
			if got.status == http.StatusOK && strings.Contains(got.text, `"next"`) && !strings.Contains(query, "take") {
				t.Error("a short list has a next page")
			}
		}
	})
}

func FuzzBody(f *testing.F) {
	r := newFuzzRig(f)
	for _, seed := range []string{
		``, `{}`, `{"ids":["` + r.token + `"]}`, `{"user_id":"alice"}`, `{"user_id":"alice","client_id":"app","audience":"a"}`, `{"ids":[]}`, `{"ids":[null,1,{}]}`,
		`{"refresh_token_metadata":{"a":"b"}}`, `{"refresh_token_metadata":null}`, `{"refresh_token_metadata":[[[[[[[[]]]]]]]]}`, "{\"user_id\":\"\xff\"}",
		`{"user_id":"\ud800"}`, `{"user_id":"a","user_id":"b"}`, strings.Repeat("[", 20_000), `user_id=alice&client_id=app`, `ids=a&ids=b`, `%zz=%FF`, "{\"a\":\"\x00\"}",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	requests := [][2]string{{"POST", revokePath}, {"PATCH", "/api/v2/refresh-tokens/" + r.token}, {"POST", "/api/v2/sessions/s/revoke"}}
	f.Fuzz(func(t *testing.T, body string, form bool) {
		for _, request := range requests {
			req := httptest.NewRequestWithContext(t.Context(), request[0], request[1], strings.NewReader(body))
			if form {
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			got := r.check(t, req)
			if got.status < 300 && request[0] == "PATCH" && !strings.Contains(body, "refresh_token_metadata") {
				t.Error("a body without the property was accepted")
			}
			if got.status < 300 && request[1] == revokePath && !form && !utf8.ValidString(body) {
				t.Error("a body that is not valid UTF-8 was accepted")
			}
		}
	})
}

func FuzzPath(f *testing.F) {
	r := newFuzzRig(f)
	for _, seed := range []string{
		"/", "/docs", "/openapi.json", "/api/v2/refresh-tokens/" + r.token, "/api/v2/users/auth0%7C507f1f77bcf86cd799439020/refresh-tokens",
		"/api/v2/users/a%2Fb/refresh-tokens", "/api/v2/users/%/refresh-tokens", "/api/v2/users/%FF/refresh-tokens", "/api/v2/users/../refresh-tokens",
		"//api/v2/refresh-tokens", "/api/v2/sessions/%00/revoke", "/api/v2/users/žluťoučký/refresh-tokens", "/api/v2/revocations/" + r.token, "/api/v2/device-credentials/x",
	} {
		f.Add("GET", seed, "")
		f.Add("DELETE", seed, "key")
		f.Add("POST", seed, "\xff")
	}
	f.Fuzz(func(t *testing.T, method, path, key string) {
		parsed, err := url.ParseRequestURI(path)
		if err != nil || parsed.Host != "" { // no server gets that far
			return
		}
		req := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		req.Method, req.URL = method, parsed
		if key != "" {
			req.Header[management.HeaderIdempotency] = []string{key}
		}
		r.check(t, req)
	})
}

// FuzzUserID: the path that escapes a user id reaches that user.
func FuzzUserID(f *testing.F) {
	r := newFuzzRig(f)
	for _, seed := range []string{"alice", "auth0|507f1f77bcf86cd799439020", "a/b", "..", ".", "%2F", "a b", "žluťoučký", "\xff", "\x00", strings.Repeat("ž", 300)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if id == "" {
			return
		}
		got := r.check(t, httptest.NewRequestWithContext(t.Context(), "DELETE", "/api/v2/users/"+url.PathEscape(id)+"/refresh-tokens", nil))
		if good := domain.CheckUserID(id) == nil; good != (got.status == http.StatusAccepted) {
			t.Fatalf("answered by %d", got.status)
		} else if !good {
			return
		}
		page := r.check(t, httptest.NewRequestWithContext(t.Context(), "GET", "/api/v2/revocations/"+got.header.Get(management.HeaderRevocation), nil))
		var body struct {
			Targets []struct {
				UserID string `json:"user_id"`
			}
		}
		if err := json.Unmarshal([]byte(page.text), &body); err != nil || len(body.Targets) != 1 || body.Targets[0].UserID != id {
			t.Error("the revocation names another user")
		}
	})
}
