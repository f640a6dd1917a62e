package management_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"example.com/tokenstore/management"
)

// TestUserIDsInPaths: whatever a user id holds, the path that escapes it reaches that user and no other, over a real
// connection.
func TestUserIDsInPaths(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	server := httptest.NewServer(r)
	defer server.Close()
	ids := []string{
		"auth0|507f1f77bcf86cd799439020", "a/b", "a//b", "/", "//", ".", "..", "../refresh-tokens", "100%", "%2F", "a%2Fb", "a b", "a+b",
		"žluťoučký kůň", "日本", "a?b=c", "a#b", "a;b", "a:b@c", `a\b`, "a&b", `"quoted"`, strings.Repeat("ž", 300), "refresh-tokens", "revoke",
	}
	for _, id := range ids {
		r.issue(r.manager, id, "app")
	}
	send := func(method, target string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+target, nil)
		r.must(err)
		req.Header.Set("Authorization", "Bearer "+adminToken)
		answer, err := server.Client().Do(req)
		r.must(err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		r.must(err)
		return answer.StatusCode, string(text)
	}
	for _, id := range ids {
		path := "/api/v2/users/" + url.PathEscape(id) + "/refresh-tokens"
		status, text := send("GET", path)
		if status != http.StatusOK {
			t.Errorf("%q: status %d: %s", id, status, text)
			continue
		}
		if list := (answer{text: text}).list(t, "tokens"); len(list) != 1 || list[0]["user_id"] != id {
			t.Errorf("%q: the list is %v", id, list)
		}
		if status, text := send("GET", "/api/v2/refresh-tokens?user_id="+url.QueryEscape(id)); status != http.StatusOK || strings.Count(text, `"user_id"`) != 1 {
			t.Errorf("%q: as a parameter: %d, %s", id, status, text)
		}
		if status, text := send("DELETE", path); status != http.StatusAccepted || text != "{}" {
			t.Errorf("%q: deleted: %d, %s", id, status, text)
		}
		if _, text := send("GET", path+"?consistency=fenced"); text != `{"tokens":[]}` {
			t.Errorf("%q: after it was deleted the fenced list is %s", id, text)
		}
	}
}

// TestPathsAsTheyWereSent: a client may leave out escapes that it need not leave out; the others count all the same.
func TestPathsAsTheyWereSent(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	server := httptest.NewServer(r)
	defer server.Close()
	for path, id := range map[string]string{"auth0|a%2Fb": "auth0|a/b", "ž%2fb": "ž/b", `"%2F..%2f%25`: `"/../%`, "a|b": "a|b"} {
		r.issue(r.manager, id, "app")
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		r.must(err)
		_, err = fmt.Fprintf(conn, "GET /api/v2/users/%s/refresh-tokens HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n", path, adminToken)
		r.must(err)
		got, err := http.ReadResponse(bufio.NewReader(conn), nil)
		r.must(err)
		text, err := io.ReadAll(got.Body)
		r.must(err)
		conn.Close()
		if got.StatusCode != http.StatusOK || len((answer{text: string(text)}).list(t, "tokens")) != 1 {
			t.Errorf("%s: status %d: %s", path, got.StatusCode, text)
		}
	}
}

func TestBadUserIDsInPaths(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	for _, id := range []string{strings.Repeat("x", 301), "%00", "%FF", "a%C3"} {
		for _, method := range []string{"GET", "DELETE"} {
			got := r.want(http.StatusBadRequest, method, "/api/v2/users/"+id+"/refresh-tokens", "")
			if message, _ := got.object(t)["message"].(string); !strings.HasPrefix(message, "user_id must be ") {
				t.Errorf("%s of %q: the message is %q, want that it names user_id", method, id, message)
			}
		}
	}
}

func TestNoSuchRoute(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	for _, path := range []string{
		"/", "/api/v2", "/api/v2/", "/api/v2/refresh-tokens/", "//api/v2/refresh-tokens", "/api/v2//refresh-tokens", "/api/v2/Refresh-Tokens",
		"/api/v2/users//refresh-tokens", "/api/v2/users/a/b/refresh-tokens", "/api/v2/users/alice", "/api/v2/refresh-tokens/a/b",
		"/api/v2/./refresh-tokens", "/api/v2/users/../refresh-tokens/x", "/api/v1/refresh-tokens", "/docs/", "/openapi.json/",
		"/api/v2%2Frefresh-tokens",
	} {
		for _, method := range []string{"GET", "DELETE", "POST"} {
			got := r.want(http.StatusNotFound, method, path, "")
			if got.header.Get("Content-Type") != "application/json; charset=utf-8" || got.object(t)["message"] != "There is no such route." {
				t.Errorf("%s %s: %s", method, path, got.text)
			}
		}
	}
}

// TestPattern: what is around the handler is told the route, and of no route nothing.
func TestPattern(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	for target, want := range map[string]string{
		"/api/v2/users/a%2Fb/refresh-tokens": "/api/v2/users/{user_id}/refresh-tokens", "/docs": "/docs", "/api/v2/users/a": "",
	} {
		for _, method := range []string{"GET", "PUT"} {
			req := httptest.NewRequest(method, target, nil)
			r.ServeHTTP(httptest.NewRecorder(), req)
			if req.Pattern != want {
				t.Errorf("%s %s: the pattern is %q, want %q", method, target, req.Pattern, want)
			}
		}
	}
}

func TestMethodNotAllowed(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	for path, allow := range map[string]string{
		"/api/v2/refresh-tokens":             "GET, HEAD",
		"/api/v2/refresh-tokens/revoke":      "POST",
		"/api/v2/refresh-tokens/x":           "DELETE, GET, HEAD, PATCH",
		"/api/v2/users/alice/refresh-tokens": "DELETE, GET, HEAD",
		"/api/v2/sessions/s/revoke":          "POST",
		"/api/v2/device-credentials":         "GET, HEAD",
		"/api/v2/device-credentials/x":       "DELETE",
		"/api/v2/revocations":                "GET, HEAD",
		"/api/v2/revocations/x":              "GET, HEAD",
		"/openapi.json":                      "GET, HEAD",
		"/docs":                              "GET, HEAD",
	} {
		for _, method := range []string{"PUT", "OPTIONS", "TRACE", "get", "X"} {
			got := r.want(http.StatusMethodNotAllowed, method, path, "")
			if got.header.Get("Allow") != allow || got.object(t)["error"] != "Method Not Allowed" {
				t.Errorf("%s %s: Allow is %q, want %q: %s", method, path, got.header.Get("Allow"), allow, got.text)
			}
		}
	}
}

func TestHead(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	server := httptest.NewServer(r)
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), "HEAD", server.URL+"/api/v2/refresh-tokens?user_id=alice", nil)
	r.must(err)
	req.Header.Set("Authorization", "Bearer "+adminToken)
	got, err := server.Client().Do(req)
	r.must(err)
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK || got.ContentLength <= 0 {
		t.Errorf("HEAD is answered by %d and a length of %d", got.StatusCode, got.ContentLength)
	}
}

// TestLongRequests: paths, queries, credentials and bodies have an end.
func TestLongRequests(t *testing.T) {
	r := newRig(t, nil, management.Options{MaxBody: 1000})
	long := strings.Repeat("x", 20<<10)
	r.want(http.StatusRequestURITooLong, "GET", "/api/v2/refresh-tokens?user_id="+long, "")
	r.want(http.StatusRequestURITooLong, "GET", "/api/v2/users/"+long+"/refresh-tokens", "")
	r.want(http.StatusRequestURITooLong, "GET", "/"+long, "", "Authorization")
	r.want(http.StatusUnauthorized, "GET", "/api/v2/revocations", "", as(long))
	r.want(http.StatusRequestEntityTooLarge, "POST", "/api/v2/refresh-tokens/revoke", `{"user_id":"`+long+`"}`)
	r.want(http.StatusRequestEntityTooLarge, "PATCH", "/api/v2/refresh-tokens/x", `{"user_id":"`+long+`"}`)
	fits := `{"user_id":"alice"}`
	r.want(http.StatusAccepted, "POST", "/api/v2/refresh-tokens/revoke", fits+strings.Repeat(" ", 1000-len(fits)))
	r.want(http.StatusRequestEntityTooLarge, "POST", "/api/v2/refresh-tokens/revoke", fits+strings.Repeat(" ", 1001-len(fits)))
	r.want(http.StatusAccepted, "DELETE", "/api/v2/refresh-tokens/x", long) // nobody reads it
}
