package management_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/management"
	"example.com/tokenstore/memstore"
)

// TestShowToken: the shape of the resource, to the letter.
func TestShowToken(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	issued, err := r.manager.Issue(t.Context(), tokenstore.IssueRequest{
		UserID: "auth0|507f1f77bcf86cd799439020", ClientID: "app", SessionID: tokenstore.MustSessionID("sid"),
		ResourceServers: []tokenstore.ResourceServer{{Audience: "https://api.example", Scopes: "read write"}},
		Metadata:        map[string]string{"device": "phone"}, Device: tokenstore.Device{InitialIP: "192.0.2.1"},
		Lifetime: tokenstore.Never,
	})
	r.must(err)
	path := "/api/v2/refresh-tokens/" + issued.Token.ID.String()
	got := r.want(http.StatusOK, "GET", path, "")
	want := `{"id":"` + issued.Token.ID.String() + `","user_id":"auth0|507f1f77bcf86cd799439020","created_at":"2026-11-23T12:00:00.000Z",` +
		`"idle_expires_at":"2026-12-23T12:00:00.000Z","expires_at":null,"last_exchanged_at":null,"device":{"initial_ip":"192.0.2.1","last_ip":"192.0.2.1"},` +
		`"client_id":"app","session_id":"sid","rotating":true,"resource_servers":[{"audience":"https://api.example","scopes":"read write"}],` +
		`"refresh_token_metadata":{"device":"phone"}}`
	if got.text != want {
		t.Errorf("the token is\n%s, want\n%s", got.text, want)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got.header.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, got.header.Get(name), value)
		}
	}
	r.wait(1500 * time.Millisecond)
	if !r.exchangeable(r.manager, issued) {
		t.Fatal("the token is refused")
	}
	if at := r.want(http.StatusOK, "GET", path, "").object(t)["last_exchanged_at"]; at != "2026-11-23T12:00:01.500Z" {
		t.Errorf("last_exchanged_at is %v", at)
	}
	for _, id := range []string{"01KASMRR00000000000000TEST", "x", strings.ToLower(issued.Token.ID.String()), issued.Token.ID.String() + "0", "..", "%FF"} {
		got := r.want(http.StatusNotFound, "GET", "/api/v2/refresh-tokens/"+id, "")
		if got.text != `{"statusCode":404,"error":"Not Found","message":"The refresh token does not exist."}` {
			t.Errorf("%q: %s", id, got.text)
		}
	}
}

// TestLegacyTokensShowNull: a token from before the cut-off of its region has the key session_id, and null there.
func TestLegacyTokensShowNull(t *testing.T) {
	for region, test := range map[string]struct {
		rule    tokenstore.LegacyRule
		created string
	}{
		"everywhere": {tokenstore.LegacyRule{}, "2023-09-20T23:59:59.999Z"},
		"US-3":       {tokenstore.US3(), "2024-02-21T23:59:59.999Z"},
	} {
		t.Run(region, func(t *testing.T) {
			m, err := tokenstore.New(memstore.New(), &tokenstore.Options{Legacy: test.rule})
			if err != nil {
				t.Fatal(err)
			}
			h, err := management.New(func(string) (*tokenstore.Manager, error) { return m, nil }, staticTokens(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			r := &rig{T: t, Handler: h}
			var token tokenstore.RefreshToken
			r.must(json.Unmarshal([]byte(`{"id":"rt_old","user_id":"alice","client_id":"app","created_at":"`+test.created+`"}`), &token))
			results, err := m.Import(t.Context(), []tokenstore.RefreshToken{token})
			r.must(err)
			r.must(results[0].Err)
			for _, path := range []string{"/api/v2/refresh-tokens/" + results[0].ID.String(), "/api/v2/refresh-tokens?user_id=alice", "/api/v2/users/alice/refresh-tokens"} {
				if got := r.want(http.StatusOK, "GET", path, ""); !strings.Contains(got.text, `"session_id":null`) || !strings.Contains(got.text, test.created) {
					t.Errorf("%s has no null session id: %s", path, got.text)
				}
			}
		})
	}
}

// lists are both lists of a user's tokens.
var lists = []struct{ key, target string }{
	{"refresh_tokens", "/api/v2/refresh-tokens?user_id=alice"},
	{"tokens", "/api/v2/users/alice/refresh-tokens?include_totals=true&per_page=1&page=7&unknown=x"},
}

// walk reads all pages and returns the ids.
func (r *rig) walk(target, key string, take int) (ids []string, pages int) {
	r.Helper()
	next := ""
	for {
		pages++
		page := r.want(http.StatusOK, "GET", target+fmt.Sprintf("&take=%d", take)+next, "")
		list := page.list(r.T, key)
		for _, token := range list {
			ids = append(ids, token["id"].(string))
		}
		body := page.object(r.T)
		if _, ok := body["total"]; ok {
			r.Fatalf("a page has a total: %s", page.text)
		}
		cursor, ok := body["next"]
		if !ok {
			return ids, pages
		}
		if len(list) == 0 || cursor == "" || cursor == nil {
			r.Fatalf("a page that is not the last is empty, or its next is: %s", page.text)
		}
		next = "&from=" + url.QueryEscape(cursor.(string))
	}
}

// TestPages: by ascending id, each once, whatever the size of the page; the last page has no next, and none has a total.
func TestPages(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	var want []string
	for i := range 120 {
		want = append(want, r.issue(r.manager, "alice", "app").Token.ID.String())
		if i%10 == 0 {
			r.issue(r.manager, "bob", "app")
			r.wait(time.Millisecond)
		}
	}
	slices.Sort(want)
	for _, list := range lists {
		for take, pages := range map[int]int{1: 120, 7: 18, 60: 2, 100: 2} {
			ids, n := r.walk(list.target, list.key, take)
			if !slices.Equal(ids, want) || n != pages {
				t.Errorf("%s by %d: %d ids on %d pages, want %d on %d", list.key, take, len(ids), n, len(want), pages)
			}
		}
		if n := len(r.want(http.StatusOK, "GET", list.target, "").list(t, list.key)); n != 50 {
			t.Errorf("%s: a page has %d tokens by default, want 50", list.key, n)
		}
		// What is revoked leaves no empty page in the fenced view.
		r.want(http.StatusAccepted, "POST", "/api/v2/refresh-tokens/revoke", `{"ids":["`+strings.Join(want[:90], `","`)+`"]}`)
		if ids, _ := r.walk(list.target+"&consistency=fenced", list.key, 20); !slices.Equal(ids, want[90:]) {
			t.Errorf("%s, fenced: %d ids, want 30", list.key, len(ids))
		}
	}
	if got := r.want(http.StatusOK, "GET", "/api/v2/users/nobody/refresh-tokens", ""); got.text != `{"tokens":[]}` {
		t.Errorf("the list of nobody is %s", got.text)
	}
	if got := r.want(http.StatusOK, "GET", "/api/v2/refresh-tokens?user_id=nobody", ""); got.text != `{"refresh_tokens":[]}` {
		t.Errorf("the list of nobody is %s", got.text)
	}
}

func TestListOfClient(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	want := r.issue(r.manager, "alice", "app").Token.ID.String()
	r.issue(r.manager, "alice", "other")
	if ids, _ := r.walk("/api/v2/refresh-tokens?user_id=alice&client_id=app", "refresh_tokens", 1); !slices.Equal(ids, []string{want}) {
		t.Errorf("the list is %v, want only %s", ids, want)
	}
}

func TestBadQueries(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	const tokens, users, devices, many = "/api/v2/refresh-tokens", "/api/v2/users/alice/refresh-tokens", "/api/v2/device-credentials", "/api/v2/revocations"
	long := strings.Repeat("x", 301)
	for _, test := range []struct{ target, message string }{
		{tokens, "Missing required 'user_id' parameter."},
		{tokens + "?user_id=", "user_id must be 1..300 characters."},
		{tokens + "?user_id=" + long, "user_id must be 1..300 characters."},
		{tokens + "?user_id=%FF", "user_id must be valid UTF-8 without NUL."},
		{tokens + "?user_id=a&user_id=b", "user_id must be given once."},
		{tokens + "?user_id=a&client_id=", "client_id must be 1..64 characters."},
		{tokens + "?user_id=a&client_id=" + long[:65], "client_id must be 1..64 characters."},
		{tokens + "?user_id=a&take=0", "take must be 1..100."},
		{tokens + "?user_id=a&take=101", "take must be 1..100."},
		{tokens + "?user_id=a&take=-1", "take must be 1..100."},
		{tokens + "?user_id=a&take=ten", "take must be 1..100."},
		{tokens + "?user_id=a&take=", "take must be 1..100."},
		{tokens + "?user_id=a&take=99999999999999999999", "take must be 1..100."},
		{tokens + "?user_id=a&include_fields=maybe", "include_fields must be true or false."},
		{tokens + "?user_id=a&consistency=strong", "consistency must be eventual or fenced."},
		{tokens + "?user_id=a&from=", "from must be a cursor of this list."},
		{tokens + "?user_id=a&from=x", "from must be a cursor of this list."},
		{tokens + "?user_id=%zz", "query must be well formed."},
		{tokens + "?user_id=a;b", "query must be well formed."},
		{tokens + "/01KASMRR00000000000000TEST?consistency=strong", "consistency must be eventual or fenced."},
		{users + "?take=0", "take must be 1..100."},
		{users + "?take=101", "take must be 1..100."},
		{users + "?from=x", "from must be a cursor of this list."},
		{users + "?consistency=strong", "consistency must be eventual or fenced."},
		{devices + "?page=-1", "page must be 0..10000."},
		{devices + "?per_page=0", "per_page must be 1..100."},
		{devices + "?per_page=101", "per_page must be 1..100."},
		{devices + "?include_totals=1", "include_totals must be true or false."},
		{devices + "?type=cookie", "type must be refresh_token or rotating_refresh_token or public_key."},
		{devices + "?user_id=" + long, "user_id must be 1..300 characters."},
		{devices + "?client_id=" + long, "client_id must be 1..64 characters."},
		{many + "?state=gone", "state must be pending or retired."},
		{many + "?take=0", "take must be 1..100."},
		{many + "?from=x", "from must be a cursor of this list."},
	} {
		got := r.want(http.StatusBadRequest, "GET", test.target, "")
		body := got.object(t)
		want := map[string]any{"statusCode": 400.0, "error": "Bad Request", "message": test.message, "errorCode": "invalid_query_string"}
		if !maps.Equal(body, want) {
			t.Errorf("%s: %v, want %v", test.target, body, want)
		}
	}
}

// TestFields: the selected fields, all others, or all.
func TestFields(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	r.issue(r.manager, "alice", "app")
	keys := func(target, key string) []string {
		return slices.Sorted(maps.Keys(r.want(http.StatusOK, "GET", target, "").list(t, key)[0]))
	}
	const list = "/api/v2/refresh-tokens?user_id=alice"
	every := keys(list, "refresh_tokens")
	if !slices.Contains(every, "session_id") || len(every) < 10 {
		t.Errorf("without fields there are %v", every)
	}
	without := slices.DeleteFunc(slices.Clone(every), func(k string) bool { return k == "id" || k == "user_id" })
	for query, want := range map[string][]string{
		"&fields=id,user_id":                       {"id", "user_id"},
		"&fields=id,%20session_id,nothing":         {"id", "session_id"},
		"&fields=id,user_id&include_fields=false":  without,
		"&fields=&include_fields=false":            every,
		"&include_fields=false":                    every,
		"&fields=secret_digest,sequence,Sequence,": {},
	} {
		if got := keys(list+query, "refresh_tokens"); !slices.Equal(got, want) {
			t.Errorf("%s: fields %v, want %v", query, got, want)
		}
	}
}

// TestPatch replaces metadata.
func TestPatch(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	path := "/api/v2/refresh-tokens/" + r.issue(r.manager, "alice", "app").Token.ID.String()
	entries := func(n int) string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprintf("key-%d_Z", i)] = "v"
		}
		text, _ := json.Marshal(m)
		return string(text)
	}
	long := strings.Repeat("ž", 255)
	for _, test := range []struct {
		metadata string
		status   int
		stored   string
	}{
		{`{"a":"1","b":"2"}`, 200, `{"a":"1","b":"2"}`},
		{`{"c":"3"}`, 200, `{"c":"3"}`}, // all is replaced
		{`{}`, 200, `null`},
		{entries(25), 200, entries(25)},
		{entries(26), 400, entries(25)},
		{`null`, 200, `null`},
		{`{"` + strings.Repeat("k", 255) + `":"` + long + `"}`, 200, `{"` + strings.Repeat("k", 255) + `":"` + long + `"}`},
		{`{"` + strings.Repeat("k", 256) + `":""}`, 400, ""},
		{`{"k":"` + long + `x"}`, 400, ""},
		{`{"":"v"}`, 400, ""}, {`{"a b":"v"}`, 400, ""}, {`{"ž":"v"}`, 400, ""}, {`{"a.b":"v"}`, 400, ""},
		{`{"a":"\ud83d\ude00 \\ud800 \ufffd"}`, 200, `{"a":"😀 \\ud800 �"}`},
		{`{"a":1}`, 400, ""}, {`{"a":null}`, 400, ""}, {`{"a":{}}`, 400, ""}, {`[]`, 400, ""}, {`"a"`, 400, ""}, {`7`, 400, ""},
	} {
		got := r.want(test.status, "PATCH", path, `{"refresh_token_metadata":`+test.metadata+`}`)
		if test.status == http.StatusOK {
			var token struct {
				Metadata json.RawMessage `json:"refresh_token_metadata"`
				ID       string          `json:"id"`
			}
			r.must(json.Unmarshal([]byte(got.text), &token))
			if string(token.Metadata) != test.stored || !strings.HasSuffix(path, token.ID) {
				t.Errorf("after %s: %s", test.metadata, got.text)
			}
			if again := r.want(http.StatusOK, "GET", path, ""); again.text != got.text {
				t.Errorf("PATCH answered %s, and GET %s", got.text, again.text)
			}
		} else if body := got.object(t); body["errorCode"] != "invalid_body" || !strings.HasPrefix(body["message"].(string), "refresh_token_metadata must be ") {
			t.Errorf("%s: %s", test.metadata, got.text)
		}
	}
	before := r.want(http.StatusOK, "GET", path, "").text
	for _, body := range []string{
		`{}`, ``, `[]`, `null`, `{"refresh_token_metadata":{},"user_id":"mallory"}`, `{"Refresh_Token_Metadata":{}}`,
		`{"refresh_token_metadata":{"a":"1","a":"2"}}`, `{"refresh_token_metadata":{"a":"1","\u0061":"1"}}`, `{"refresh_token_metadata":{"a":"\ud800"}}`,
		`{"refresh_token_metadata":{}} {}`, `{"refresh_token_metadata":{},"refresh_token_metadata":{}}`, `{"refresh_token_metadata"`, "{\"\xff\":1}",
	} {
		if got := r.want(http.StatusBadRequest, "PATCH", path, body).object(t); got["errorCode"] != "invalid_body" {
			t.Errorf("%q: %v", body, got)
		}
	}
	r.want(http.StatusUnsupportedMediaType, "PATCH", path, `refresh_token_metadata=x`, "Content-Type: application/x-www-form-urlencoded")
	if after := r.want(http.StatusOK, "GET", path, "").text; after != before {
		t.Errorf("a refused request changed the token from %s to %s", before, after)
	}
	r.want(http.StatusNotFound, "PATCH", "/api/v2/refresh-tokens/01KASMRR00000000000000TEST", `{"refresh_token_metadata":{}}`)
	r.want(http.StatusNotFound, "PATCH", "/api/v2/refresh-tokens/x", `{"refresh_token_metadata":{}}`)
	r.want(http.StatusAccepted, "DELETE", path, "")
	r.want(http.StatusOK, "GET", path, "")                                        // not swept yet
	r.want(http.StatusNotFound, "PATCH", path, `{"refresh_token_metadata":null}`) // but an update sees the revocation
}

func TestContentTypes(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	for header, status := range map[string]int{
		"Content-Type":                   202, // none
		"Content-Type: application/json": 202, "Content-Type: application/json; charset=utf-8": 202, "Content-Type: Application/JSON;charset=UTF-8": 202,
		"Content-Type: application/json; charset=latin1": 415, "Content-Type: text/plain": 415, "Content-Type: application/jsonx": 415,
		"Content-Type: multipart/form-data; boundary=x": 415, "Content-Type: ;": 415, "Content-Encoding: gzip": 415, "Content-Encoding: identity": 202,
		"Content-Type: application/x-www-form-urlencoded": 400, // which it is not
	} {
		r.want(status, "POST", "/api/v2/refresh-tokens/revoke", `{"user_id":"alice"}`, header)
	}
}

// directory knows alice, app and api.
type directory struct{ fails error }

func (d directory) UserExists(_ context.Context, tenant, id string) (bool, error) {
	return tenant == "acme" && id == "alice", d.fails
}

func (d directory) ClientExists(_ context.Context, tenant, id string) (bool, error) {
	return tenant == "acme" && id == "app", d.fails
}

func (d directory) ResourceServerExists(_ context.Context, tenant, id string) (bool, error) {
	return tenant == "acme" && id == "api", d.fails
}

// TestDirectory: with a directory, what it does not know is told; without one, it has no tokens.
func TestDirectory(t *testing.T) {
	without, with := newRig(t, nil, management.Options{}), newRig(t, nil, management.Options{Directory: directory{}})
	const revoke = "/api/v2/refresh-tokens/revoke"
	for _, test := range []struct {
		method, target, body string
		without, with        int
		code                 string
	}{
		{"GET", "/api/v2/refresh-tokens?user_id=alice", "", 200, 200, ""},
		{"GET", "/api/v2/refresh-tokens?user_id=mallory", "", 200, 404, "inexistent_user"},
		{"GET", "/api/v2/refresh-tokens?user_id=alice&client_id=app", "", 200, 200, ""},
		{"GET", "/api/v2/refresh-tokens?user_id=alice&client_id=other", "", 200, 404, "inexistent_client"},
		{"GET", "/api/v2/users/alice/refresh-tokens", "", 200, 200, ""},
		{"GET", "/api/v2/users/mallory/refresh-tokens", "", 200, 404, "inexistent_user"},
		{"DELETE", "/api/v2/users/alice/refresh-tokens", "", 202, 202, ""},
		{"DELETE", "/api/v2/users/mallory/refresh-tokens", "", 202, 404, "inexistent_user"},
		{"POST", revoke, `{"user_id":"alice"}`, 202, 202, ""},
		{"POST", revoke, `{"user_id":"mallory"}`, 202, 400, "inexistent_user"},
		{"POST", revoke, `{"user_id":"alice","client_id":"other"}`, 202, 400, "inexistent_client"},
		{"POST", revoke, `{"user_id":"alice","client_id":"app","audience":"other"}`, 202, 400, "inexistent_resource_server"},
		{"POST", revoke, `{"user_id":"alice","client_id":"app","audience":"api"}`, 202, 202, ""},
		{"POST", revoke, `{"ids":["01KASMRR00000000000000TEST"]}`, 202, 202, ""},
		{"DELETE", "/api/v2/refresh-tokens/01KASMRR00000000000000TEST", "", 202, 202, ""},
		{"GET", "/api/v2/device-credentials?user_id=mallory", "", 200, 200, ""},
	} {
		without.want(test.without, test.method, test.target, test.body)
		got := with.want(test.with, test.method, test.target, test.body)
		if test.code != "" && got.object(t)["errorCode"] != test.code {
			t.Errorf("%s %s %s: %s, want %s", test.method, test.target, test.body, got.text, test.code)
		}
	}
}
