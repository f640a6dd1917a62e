package management_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/management"
)

// TestTenantsNeverMeet: what belongs to one tenant is not there for a caller of another one, whatever it asks for, and nothing
// that it does reaches it.
func TestTenantsNeverMeet(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	ours := r.issue(r.manager, "alice", "app", "api")
	theirs := r.issue(r.other, "alice", "app", "api")
	id := ours.Token.ID.String()
	pending := r.want(http.StatusAccepted, "DELETE", "/api/v2/users/nobody/refresh-tokens", "").header.Get(management.HeaderRevocation)

	r.want(http.StatusNotFound, "GET", "/api/v2/refresh-tokens/"+id, "", as(otherAdmin))
	r.want(http.StatusNotFound, "PATCH", "/api/v2/refresh-tokens/"+id, `{"refresh_token_metadata":{"a":"b"}}`, as(otherAdmin))
	r.want(http.StatusNotFound, "GET", "/api/v2/revocations/"+pending, "", as(otherAdmin))
	for _, target := range []string{
		"/api/v2/refresh-tokens?user_id=alice", "/api/v2/refresh-tokens?user_id=alice&tenant=acme", "/api/v2/users/alice/refresh-tokens",
		"/api/v2/device-credentials?type=rotating_refresh_token", "/api/v2/revocations", "/api/v2/revocations?state=retired",
	} {
		got := r.want(http.StatusOK, "GET", target, "", as(otherAdmin), "X-Tenant: acme")
		if strings.Contains(got.text, id) || strings.Contains(got.text, pending) {
			t.Errorf("%s shows another tenant's: %s", target, got.text)
		}
		if strings.Contains(target, "alice") && !strings.Contains(got.text, theirs.Token.ID.String()) {
			t.Errorf("%s does not show the tenant's own: %s", target, got.text)
		}
	}
	for _, session := range []string{"session-alice"} {
		r.want(http.StatusAccepted, "POST", "/api/v2/sessions/"+session+"/revoke", "", as(otherAdmin))
	}
	r.want(http.StatusAccepted, "DELETE", "/api/v2/refresh-tokens/"+id, "", as(otherAdmin))
	r.want(http.StatusNoContent, "DELETE", "/api/v2/device-credentials/"+id, "", as(otherAdmin))
	r.want(http.StatusAccepted, "DELETE", "/api/v2/users/alice/refresh-tokens", "", as(otherAdmin))
	for _, body := range []string{fmt.Sprintf(`{"ids":[%q]}`, id), `{"user_id":"alice"}`, `{"user_id":"alice","client_id":"app","audience":"api"}`} {
		r.want(http.StatusAccepted, "POST", revokePath, body, as(otherAdmin))
	}
	if !r.exchangeable(r.manager, ours) {
		t.Error("a caller of another tenant revoked the token")
	}
	if r.exchangeable(r.other, theirs) {
		t.Error("the tenant's own token was not revoked")
	}
	token, err := r.manager.Get(t.Context(), ours.Token.ID, tokenstore.Fenced)
	r.must(err)
	if token.Metadata.Len() != 0 {
		t.Error("a caller of another tenant changed the token")
	}
}
