package management_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/tokenstore/management"
)

// TestEveryRouteIsDocumented: the document has each route that is served, with its scopes, and no other.
func TestEveryRouteIsDocumented(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Security []map[string][]string
		}
	}
	r.must(json.Unmarshal([]byte(r.want(http.StatusOK, "GET", "/openapi.json", "", "Authorization").text), &doc))
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("the document is of version %q, want 3.1.0", doc.OpenAPI)
	}
	served := map[string]bool{}
	for _, route := range management.Routes() {
		name := route.Method + " " + route.Path
		served[name] = true
		operation, ok := doc.Paths[route.Path][strings.ToLower(route.Method)]
		if !ok {
			t.Errorf("%s is served and not documented", name)
			continue
		}
		var scopes []string
		for _, s := range operation.Security {
			scopes = append(scopes, s["bearer"]...)
		}
		if !slices.Equal(scopes, route.Scopes) {
			t.Errorf("%s is documented with scopes %v, and demands %v", name, scopes, route.Scopes)
		}
	}
	for path, operations := range doc.Paths {
		for method := range operations {
			if name := strings.ToUpper(method) + " " + path; !served[name] {
				t.Errorf("%s is documented and not served", name)
			}
		}
	}
}

// TestDocsPage: the page names every route, loads nothing, and its policy allows nothing but its own style.
func TestDocsPage(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	page := r.want(http.StatusOK, "GET", "/docs", "", "Authorization")
	if got := page.header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("Content-Type is %q", got)
	}
	for _, route := range management.Routes() {
		if !strings.Contains(page.text, "<code>"+route.Method+" "+route.Path+"</code>") {
			t.Errorf("the page does not show %s %s", route.Method, route.Path)
		}
	}
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page.text)
	if style == nil {
		t.Fatal("the page has no style")
	}
	digest := sha256.Sum256([]byte(style[1]))
	policy := page.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(digest[:])+"'") {
		t.Errorf("the policy %q does not fit the page", policy)
	}
	if found := regexp.MustCompile(`(?i)<script|\bsrc=|\bstyle=|\bon\w+=|url\(|https?://`).FindString(page.text); found != "" {
		t.Errorf("the page has %q", found)
	}
	if strings.Contains(page.text, "<no value>") || strings.Contains(page.text, "ZgotmplZ") {
		t.Error("the page has a hole")
	}
}
