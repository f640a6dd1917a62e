package management_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/management"
)

func (r *rig) issueStatic(user, client string) string {
	r.Helper()
	issued, err := r.manager.Issue(r.Context(), tokenstore.IssueRequest{
		UserID: user, ClientID: client, Static: true, Device: tokenstore.Device{InitialUserAgent: "browser of " + user},
	})
	r.must(err)
	return issued.Token.ID.String()
}

// TestDeviceCredentials: the list is an array, or an envelope with totals; rotating tokens are a type of their own.
func TestDeviceCredentials(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	fixed := r.issueStatic("alice", "app")
	rotating := r.issue(r.manager, "alice", "app").Token.ID.String()
	bobs := r.issueStatic("bob", "tv")
	one := func(id, kind, user, client string) string {
		return fmt.Sprintf(`{"id":%q,"device_name":"browser of %s","type":%q,"user_id":%q,"client_id":%q}`, id, user, kind, user, client)
	}
	alices, bob := one(fixed, "refresh_token", "alice", "app"), one(bobs, "refresh_token", "bob", "tv")
	if fixed > bobs {
		alices, bob = bob, alices
	}
	const path = "/api/v2/device-credentials"
	for query, want := range map[string]string{
		"":                         "[" + alices + "," + bob + "]",
		"?type=refresh_token":      "[" + alices + "," + bob + "]",
		"?user_id=bob":             "[" + one(bobs, "refresh_token", "bob", "tv") + "]",
		"?client_id=tv&unknown=x":  "[" + one(bobs, "refresh_token", "bob", "tv") + "]",
		"?user_id=bob&client_id=x": "[]",
		"?type=rotating_refresh_token": "[" + one(rotating, "rotating_refresh_token", "alice", "app") +
			"]",
		"?type=public_key":                                    "[]",
		"?type=public_key&include_totals=true":                `{"start":0,"limit":50,"total":0,"device_credentials":[]}`,
		"?per_page=1":                                         "[" + alices + "]",
		"?per_page=1&page=1":                                  "[" + bob + "]",
		"?per_page=1&page=2":                                  "[]",
		"?per_page=1&page=1&include_totals=true":              `{"start":1,"limit":1,"total":2,"device_credentials":[` + bob + `]}`,
		"?page=10000&include_totals=true":                     `{"start":500000,"limit":50,"total":2,"device_credentials":[]}`,
		"?user_id=bob&fields=id,type":                         `[{"id":"` + bobs + `","type":"refresh_token"}]`,
		"?user_id=bob&fields=id&include_fields=false":         `[{"client_id":"tv","device_name":"browser of bob","type":"refresh_token","user_id":"bob"}]`,
		"?user_id=nobody&include_totals=true&include_fields=": "",
	} {
		if want == "" {
			r.want(http.StatusBadRequest, "GET", path+query, "")
			continue
		}
		if got := r.want(http.StatusOK, "GET", path+query, ""); got.text != want {
			t.Errorf("%s:\n%s, want\n%s", query, got.text, want)
		}
	}
	r.want(http.StatusNoContent, "DELETE", path+"/"+bobs, "")
	if got := r.want(http.StatusOK, "GET", path+"?user_id=bob&consistency=fenced", ""); got.text != "[]" {
		t.Errorf("the fenced list of what was deleted is %s", got.text)
	}
	r.want(http.StatusNoContent, "DELETE", path+"/"+bobs, "")
	r.want(http.StatusNoContent, "DELETE", path+"/unknown", "")
}

// TestLongDeviceLists: a list that would have to look at too many tokens is refused, never cut; a page that is found before
// is not.
func TestLongDeviceLists(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	old := r.clock().AddDate(-5, 0, 0)
	batch := make([]tokenstore.RefreshToken, management.MaxWalk+1)
	for i := range batch {
		batch[i] = tokenstore.RefreshToken{ForeignID: fmt.Sprint(i), UserID: "alice", ClientID: "app", CreatedAt: old}
	}
	_, err := r.manager.Import(t.Context(), batch[1:])
	r.must(err)
	const path = "/api/v2/device-credentials"
	got := r.want(http.StatusOK, "GET", path+"?include_totals=true&per_page=1", "")
	if want := fmt.Sprintf(`"total":%d`, management.MaxWalk); !strings.Contains(got.text, want) {
		t.Errorf("%s, want %s", got.text, want)
	}
	_, err = r.manager.Import(t.Context(), batch[:1])
	r.must(err)
	r.want(http.StatusOK, "GET", path+"?per_page=1&page=9", "")
	for _, query := range []string{"?include_totals=true", "?client_id=nobody", "?page=9999", "?user_id=alice&include_totals=true"} {
		if got := r.want(http.StatusBadRequest, "GET", path+query, ""); !strings.Contains(got.text, "too long") {
			t.Errorf("%s: %s", query, got.text)
		}
	}
}
