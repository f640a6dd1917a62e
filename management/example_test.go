package management_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"example.com/tokenstore"
	"example.com/tokenstore/management"
	"example.com/tokenstore/memstore"
)

// A tenant of one process, and a script that may read and delete.
func Example() {
	tokens, err := tokenstore.New(memstore.New(), nil)
	if err != nil {
		panic(err)
	}
	auth, err := management.NewStaticTokens(map[string]management.Caller{
		"a-token-for-trials": {Actor: "script", Scopes: []string{management.ScopeReadTokens, management.ScopeDeleteTokens}},
	})
	if err != nil {
		panic(err)
	}
	handler, err := management.New(func(string) (*tokenstore.Manager, error) { return tokens, nil }, auth, nil)
	if err != nil {
		panic(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()

	for _, method := range []string{"GET", "DELETE", "PATCH"} {
		request, err := http.NewRequestWithContext(context.Background(), method, server.URL+"/api/v2/users/auth0%7Calice/refresh-tokens", nil)
		if err != nil {
			panic(err)
		}
		request.Header.Set("Authorization", "Bearer a-token-for-trials")
		answer, err := server.Client().Do(request)
		if err != nil {
			panic(err)
		}
		_ = answer.Body.Close()
		fmt.Println(method, answer.Status)
	}
	// Output:
	// GET 200 OK
	// DELETE 202 Accepted
	// PATCH 405 Method Not Allowed
}

// All tenants of a backend, of whom each caller sees its own.
func ExampleNew() {
	tokens, err := tokenstore.New(memstore.New(), nil)
	if err != nil {
		panic(err)
	}
	auth, err := management.NewStaticTokens(map[string]management.Caller{
		"a-token-for-trials": {Actor: "script", Tenant: "acme", Scopes: []string{management.ScopeReadTokens}},
	})
	if err != nil {
		panic(err)
	}
	logger := slog.Default()

	h, err := management.New(
		func(tenant string) (*tokenstore.Manager, error) { return tokens.Tenant(tenant, nil) },
		auth, // says who calls: actor, tenant, scopes
		&management.Options{Logger: logger, RateLimit: management.RateLimit{PerSecond: 10, Burst: 50}},
	)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v2/", h)
}
