package oauth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/oauth"
)

// Both endpoints, for an app and a resource server that have a secret.
func Example() {
	tokens, err := tokenstore.New(memstore.New(), nil)
	check(err)
	clients, err := oauth.NewClients(map[string]string{"web": "web-secret", "orders-api": "api-secret"})
	check(err)
	revocation, err := oauth.NewRevocation(tokens, clients, nil)
	check(err)
	introspection, err := oauth.NewIntrospection(tokens, clients, &oauth.IntrospectionOptions{
		Others: func(clientID string) bool { return clientID == "orders-api" },
	})
	check(err)
	mux := http.NewServeMux()
	mux.Handle("/oauth/revoke", revocation)
	mux.Handle("/oauth/introspect", introspection)

	session := tokenstore.MustSessionID("session-1")
	issued, err := tokens.Issue(context.Background(), tokenstore.IssueRequest{UserID: "ada", ClientID: "web", SessionID: session})
	check(err)
	fmt.Println(post(mux, "/oauth/revoke", "web", "web-secret", issued.Secret))
	fmt.Println(post(mux, "/oauth/introspect", "orders-api", "api-secret", issued.Secret))
	// Output:
	// 200
	// 200 {"active":false}
}

// A public client has no secret: its id is all there is, and only the token's own secret shows that it may revoke it.
func ExampleAuthenticatorFunc() {
	tokens, err := tokenstore.New(memstore.New(), nil)
	check(err)
	public := oauth.AuthenticatorFunc(func(r *http.Request) (string, error) {
		if id := r.PostForm.Get("client_id"); id == "android" {
			return id, nil
		}
		return "", oauth.ErrInvalidClient
	})
	revocation, err := oauth.NewRevocation(tokens, public, nil)
	check(err)
	body := strings.NewReader("client_id=android&token=unknown")
	req := httptest.NewRequest(http.MethodPost, "/oauth/revoke", body)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	revocation.ServeHTTP(w, req)
	fmt.Println(w.Code)
	// Output: 200
}

func post(h http.Handler, path, clientID, clientSecret string, s tokenstore.Secret) string {
	body := strings.NewReader(url.Values{"token": {s.Reveal()}}.Encode())
	req := httptest.NewRequest(http.MethodPost, path, body)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(clientID, clientSecret)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return strings.TrimSpace(fmt.Sprint(w.Code, " ", w.Body))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
