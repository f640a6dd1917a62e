package management_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/management"
)

// TestCursors: a cursor is a position in one list of one tenant, for 24 hours, in every process.
func TestCursors(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	for range 4 {
		r.issue(r.manager, "alice", "app")
		r.issue(r.manager, "bob", "app")
		r.issue(r.other, "alice", "app")
	}
	const list = "/api/v2/refresh-tokens?take=1&user_id="
	next := func(target string, headers ...string) string {
		cursor, ok := r.want(http.StatusOK, "GET", target, "", headers...).object(t)["next"].(string)
		if !ok {
			t.Fatalf("%s has no next", target)
		}
		return "&from=" + url.QueryEscape(cursor)
	}
	cursor := next(list + "alice")
	first := r.want(http.StatusOK, "GET", list+"alice"+cursor, "").list(t, "refresh_tokens")[0]["id"]

	second, err := management.New(r.managers, staticTokens(t), &management.Options{Now: r.clock}) // as another process has it
	r.must(err)
	elsewhere := (&rig{T: t, Handler: second}).want(http.StatusOK, "GET", list+"alice"+cursor, "")
	if elsewhere.list(t, "refresh_tokens")[0]["id"] != first {
		t.Error("another handler goes on elsewhere")
	}

	refused := func(why, target string, headers ...string) {
		t.Helper()
		got := r.want(http.StatusBadRequest, "GET", target, "", headers...)
		if message := got.object(t)["message"].(string); !strings.HasPrefix(message, "from must be a cursor of ") {
			t.Errorf("%s: %q", why, message)
		}
	}
	refused("another user", list+"bob"+cursor)
	refused("another client", list+"alice&client_id=app"+cursor)
	refused("another list", "/api/v2/users/alice/refresh-tokens?take=1"+cursor)
	refused("another tenant", list+"alice"+cursor, as(otherAdmin))
	refused("a list of something else", "/api/v2/revocations?take=1"+cursor)
	refused("cut", list+"alice"+cursor[:len(cursor)-1])
	refused("longer", list+"alice"+cursor+"A")
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(cursor, "&from="))
	r.must(err)
	for i := range raw {
		changed := append([]byte(nil), raw...)
		changed[i] ^= 1
		refused("changed", list+"alice&from="+base64.RawURLEncoding.EncodeToString(changed))
	}

	r.want(http.StatusOK, "GET", list+"alice&consistency=fenced&fields=id"+cursor, "") // the position is the same
	r.wait(24 * time.Hour)
	r.want(http.StatusOK, "GET", list+"alice"+cursor, "")
	r.wait(time.Second)
	refused("a day old", list+"alice"+cursor)
	// The cursor of each page is new.
	cursor = next(list + "alice")
	r.wait(20 * time.Hour)
	cursor = next(list + "alice" + cursor)
	r.wait(20 * time.Hour)
	r.want(http.StatusOK, "GET", list+"alice"+cursor, "")
	r.wait(-48 * time.Hour)
	refused("from the future", list+"alice"+cursor)
}
