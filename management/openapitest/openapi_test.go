package openapitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.com/tokenstore/management"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// request is one request and the answer that it has to get.
type request struct {
	at     *server
	method string
	path   string // path is the one of the document, with its wildcard.
	id     string // id takes the place of the wildcard.
	query  string
	body   string
	kind   string // kind is the media type of the body; JSON if it is not named.
	token  string // token is the bearer token; that of the admin if it is not named, "-" for none.
	key    string // key is an idempotency key.
	status int
}

// TestAnswersAreAsDocumented: every operation gives every answer that the document has for it, each as the document has it,
// and no other.
func TestAnswersAreAsDocumented(t *testing.T) {
	doc := load(t)
	seen := map[string]bool{}
	for _, r := range append(everywhere(t, doc), ofOperations(t)...) {
		name := r.method + " " + r.path + " " + strconv.Itoa(r.status)
		seen[name] = true
		t.Run(name, func(t *testing.T) { check(t, doc, r) })
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				if name := method + " " + path + " " + status; !seen[name] {
					t.Errorf("no request of this test is answered by %s", name)
				}
			}
		}
	}
}

// load reads the document that the handler serves.
func load(t *testing.T) *openapi3.T {
	t.Helper()
	status, _, text := newServer(t, nil, nil).send(t, request{method: "GET", path: "/openapi.json", token: "-"})
	if status != http.StatusOK {
		t.Fatalf("the document is answered by %d", status)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Fatalf("the document is of version %s", doc.OpenAPI)
	}
	return doc
}

// check sends a request, and holds the answer against the document; the request too, if it was accepted.
func check(t *testing.T, doc *openapi3.T, r request) {
	t.Helper()
	operation := doc.Paths.Find(r.path).GetOperation(r.method)
	if operation == nil {
		t.Fatal("not documented")
	}
	status, header, text := r.at.send(t, r)
	if status != r.status {
		t.Fatalf("answered by %d: %s", status, text)
	}
	input := &openapi3filter.RequestValidationInput{
		Request: r.new(t, ""), PathParams: map[string]string{"id": r.id, "user_id": r.id},
		Route: &routers.Route{Spec: doc, Path: r.path, PathItem: doc.Paths.Find(r.path), Method: r.method, Operation: operation},
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
			ExcludeResponseBody: r.path == "/docs" && status == http.StatusOK, // which is no JSON
		},
	}
	if status < 300 {
		if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil {
			t.Errorf("the request was accepted, but: %v", err)
		}
	}
	answer := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: status, Header: header, Options: input.Options}
	answer.SetBodyBytes(text)
	if err := openapi3filter.ValidateResponse(t.Context(), answer); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestMethodsAreDocumented: a documented path takes the methods of the document and no others, and says so.
func TestMethodsAreDocumented(t *testing.T) {
	doc := load(t)
	plain := newServer(t, nil, nil)
	for path, item := range doc.Paths.Map() {
		var want []string
		for method := range item.Operations() {
			want = append(want, method)
			if method == http.MethodGet {
				want = append(want, http.MethodHead)
			}
		}
		slices.Sort(want)
		status, header, text := plain.send(t, request{method: "PUT", path: path, id: "1"})
		if got := header.Get("Allow"); status != http.StatusMethodNotAllowed || got != strings.Join(want, ", ") {
			t.Errorf("%s: PUT is answered by %d, and %q is allowed, want %v", path, status, got, want)
		}
		isError(t, doc, text)
	}
	_, _, text := plain.send(t, request{method: "GET", path: "/api/v2/elsewhere"})
	isError(t, doc, text)
}

// TestTheCheckBites: answers that are not as documented are found.
func TestTheCheckBites(t *testing.T) {
	doc := load(t)
	schema := doc.Components.Schemas["RefreshToken"].Value
	_, _, text := withToken(t, nil).show(t)
	var good map[string]any
	if err := json.Unmarshal(text, &good); err != nil {
		t.Fatal(err)
	}
	if err := schema.VisitJSON(good, openapi3.EnableJSONSchema2020()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(map[string]any){
		"no session_id":       func(m map[string]any) { delete(m, "session_id") },
		"an empty session_id": func(m map[string]any) { m["session_id"] = "" },
		"a time in seconds":   func(m map[string]any) { m["created_at"] = 1.0 },
		"a time with no zone": func(m map[string]any) { m["created_at"] = "2026-11-23T12:00:00.000" },
		"scopes in an array": func(m map[string]any) {
			m["resource_servers"] = []any{map[string]any{"audience": "a", "scopes": []any{}}}
		},
		"an undocumented name": func(m map[string]any) { m["digest"] = "" },
	} {
		bad := map[string]any{}
		for key, value := range good {
			bad[key] = value
		}
		spoil(bad)
		if schema.VisitJSON(bad, openapi3.EnableJSONSchema2020()) == nil {
			t.Errorf("a token with %s is taken for good", name)
		}
	}
}

func isError(t *testing.T, doc *openapi3.T, text []byte) {
	t.Helper()
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Errorf("%v: %s", err, text)
	}
	if err := doc.Components.Schemas["Error"].Value.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
		t.Error(err)
	}
}

// everywhere are the requests that every documented operation answers alike.
func everywhere(t *testing.T, doc *openapi3.T) []request {
	t.Helper()
	plain := newServer(t, nil, nil)
	limited := newServer(t, nil, &management.Options{RateLimit: management.RateLimit{PerSecond: 0.001, Burst: 1}})
	limited.send(t, request{method: "GET", path: "/api/v2/revocations"})
	broken := newServer(t, errors.New("disk on fire"), nil)
	closed := newServer(t, errClosed, nil)
	long := strings.Repeat("x", 20<<10)
	var all []request
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			r := request{method: method, path: path, id: aToken, body: bodies()[method+" "+path]}
			if path == "/api/v2/refresh-tokens" {
				r.query = "user_id=alice"
			}
			add := func(at *server, status int, token, query string) {
				one := r
				one.at, one.status, one.token = at, status, token
				if query != "" {
					one.query = query
				}
				all = append(all, one)
			}
			add(plain, http.StatusRequestURITooLong, "", long)
			if len(*operation.Security) == 0 {
				add(plain, http.StatusOK, "-", "")
				continue
			}
			add(plain, http.StatusUnauthorized, "-", "")
			add(plain, http.StatusUnauthorized, "wrong-token-of-nobody", "")
			add(plain, http.StatusForbidden, powerless, "")
			add(limited, http.StatusTooManyRequests, "", "")
			add(broken, http.StatusInternalServerError, "", "")
			add(closed, http.StatusServiceUnavailable, "", "")
		}
	}
	return all
}

// bodies are good ones, by operation.
func bodies() map[string]string {
	return map[string]string{
		"POST /api/v2/refresh-tokens/revoke": `{"user_id":"alice"}`,
		"PATCH /api/v2/refresh-tokens/{id}":  `{"refresh_token_metadata":{"device":"phone"}}`,
	}
}

// server is a handler behind a real server.
type server struct{ *httptest.Server }

func (r request) new(t *testing.T, base string) *http.Request {
	t.Helper()
	target := base + strings.NewReplacer("{id}", r.id, "{user_id}", r.id).Replace(r.path)
	if r.query != "" {
		target += "?" + r.query
	}
	req, err := http.NewRequestWithContext(context.Background(), r.method, target, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if r.body == "" {
		req.Body = http.NoBody
	} else {
		req.Header.Set("Content-Type", r.kind)
		if r.kind == "" {
			req.Header.Set("Content-Type", "application/json")
		}
	}
	switch r.token {
	case "-":
	case "":
		req.Header.Set("Authorization", "Bearer "+admin)
	default:
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.key != "" {
		req.Header.Set(management.HeaderIdempotency, r.key)
	}
	return req
}

func (s *server) send(t *testing.T, r request) (status int, header http.Header, text []byte) {
	t.Helper()
	answer, err := s.Client().Do(r.new(t, s.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var out bytes.Buffer
	if _, err := io.Copy(&out, answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, out.Bytes()
}
