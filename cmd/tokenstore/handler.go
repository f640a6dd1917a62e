package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/management"
	"example.com/tokenstore/oauth"
)

// newHandler returns all that is served. Paths are not cleaned, as http.ServeMux would: ids of the management API may be
// "..".
func newHandler(f *serveFlags, a access, manager *tokenstore.Manager, m *measures, logger *slog.Logger) (http.Handler, error) {
	managers := func(tenant string) (*tokenstore.Manager, error) {
		if tenant != f.tenant {
			return nil, tokenstore.ErrNotFound
		}
		return manager, nil
	}
	api, err := management.New(managers, a.management, &management.Options{Logger: logger, RateLimit: f.rate})
	if err != nil {
		return nil, err
	}
	own := map[string]http.Handler{
		"/healthz": look(healthz),
		"/readyz":  look(readyz(manager, f.maxPending)),
		"/metrics": onlyGet(m.handler(logger)),
	}
	if a.clients != nil {
		if own["/oauth/revoke"], err = oauth.NewRevocation(manager, a.clients, &oauth.RevocationOptions{Logger: logger}); err != nil {
			return nil, err
		}
		own["/oauth/introspect"], err = oauth.NewIntrospection(manager, a.clients, &oauth.IntrospectionOptions{Others: a.others, Logger: logger})
		if err != nil {
			return nil, err
		}
	}
	root := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, ok := own[r.URL.Path]; ok {
			r.Pattern = r.URL.Path
			h.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
	return identify(logged(root, m, logger)), nil
}

// onlyGet refuses all methods but GET and HEAD.
func onlyGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// look serves a page of JSON.
func look(page func(r *http.Request) (status int, body any)) http.Handler {
	return onlyGet(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body := page(r)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}))
}

// health is the body of /healthz and /readyz.
type health struct {
	Status  string   `json:"status"`
	Reasons []string `json:"reasons,omitempty"`
}

// healthz says that the process answers.
func healthz(*http.Request) (int, any) { return http.StatusOK, health{Status: "ok"} }

// readyz says whether the store can be read and the sweep keeps up. While it does not, what is revoked is refused
// nevertheless.
func readyz(manager *tokenstore.Manager, maxPending time.Duration) func(*http.Request) (int, any) {
	return func(r *http.Request) (int, any) {
		h, err := manager.Health(r.Context())
		if err != nil {
			return http.StatusServiceUnavailable, health{"degraded", []string{"the store can't be read"}}
		}
		var reasons []string
		if !h.Running {
			reasons = append(reasons, "the sweep does not run")
		}
		if h.OldestAge > maxPending {
			reasons = append(reasons, fmt.Sprintf("the oldest pending revocation is %v old, over the threshold of %v", h.OldestAge.Round(time.Second), maxPending))
		}
		if len(reasons) > 0 {
			return http.StatusServiceUnavailable, health{"degraded", reasons}
		}
		return http.StatusOK, health{Status: "ok"}
	}
}
