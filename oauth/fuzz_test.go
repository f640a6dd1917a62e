package oauth_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// fuzz sends any request to an endpoint: it is answered without a fault and without a secret, and only who knows the
// client's secret gets a 200.
func fuzz(f *testing.F, endpoint func(*rig) http.Handler) {
	r := newRig(f)
	issued := r.issue(nil)
	secret := issued.Secret.Reveal()
	const form = "application/x-www-form-urlencoded"
	good := ask()
	f.Add("POST", form, good.Header.Get("Authorization"), "token=x")
	f.Add("POST", form, good.Header.Get("Authorization"), "token="+secret[:90])
	f.Add("POST", form+"; charset=utf-8", "", "token=x&client_id=app&client_secret="+url.QueryEscape(appSecret))
	f.Add("POST", form, strings.Replace(good.Header.Get("Authorization"), "Basic", "bASIC", 1), "token=x") // RFC 9110 §11.1
	f.Add("POST", form, "", "token=x&client%5fid=app&client%5Fsecret="+url.QueryEscape(appSecret))
	f.Add("POST", form, "Basic YXBwOiV6eg==", "token=a&token=b")
	f.Add("GET", "text/plain", "Bearer x", "%zz;")
	f.Fuzz(func(t *testing.T, method, contentType, authorization, body string) {
		r.TB = t
		req := httptest.NewRequest(http.MethodPost, "/oauth", strings.NewReader(body))
		req.Method = method
		req.Header.Set("Content-Type", contentType)
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		w := r.send(endpoint(r), req)
		if w.Code >= 500 {
			t.Errorf("a request makes a fault of status %d", w.Code)
		}
		if w.Code == http.StatusOK && !knowsSecret(authorization, body) {
			t.Error("a request without credentials is served")
		}
		if got := w.Body.String(); strings.Contains(got, secret) || strings.Contains(got, appSecret) {
			t.Error("an answer has a secret")
		}
		if !strings.Contains(body, secret) && !r.alive(issued.Token.ID) {
			t.Error("the token is revoked without its secret")
		}
	})
}

// knowsSecret says whether a request shows the secret of any client, by either method, in whatever way it is encoded.
func knowsSecret(authorization, body string) bool {
	form, err := url.ParseQuery(body)
	shown := form.Get("client_secret")
	if scheme, credentials, found := strings.Cut(authorization, " "); found && strings.EqualFold(scheme, "basic") {
		pair, _ := base64.StdEncoding.DecodeString(credentials)
		_, encoded, _ := strings.Cut(string(pair), ":")
		shown, err = url.QueryUnescape(encoded)
	}
	return err == nil && (shown == appSecret || shown == otherSecret || shown == apiSecret)
}

func FuzzRevocation(f *testing.F) { fuzz(f, func(r *rig) http.Handler { return r.revocation }) }

func FuzzIntrospection(f *testing.F) { fuzz(f, func(r *rig) http.Handler { return r.introspection }) }
