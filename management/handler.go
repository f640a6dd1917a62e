package management

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
)

// maxTarget is the longest path and query that is looked at, in bytes: all parameters fit at their limits, escaped.
const maxTarget = 16 << 10

type handler struct {
	managers func(tenant string) (*tokenstore.Manager, error)
	auth     Authorizer
	opts     Options
	limits   *limits
	places   []place
	page     docPage
}

// call is one request of a caller that was let in.
type call struct {
	*handler
	*http.Request
	manager *tokenstore.Manager
	caller  Caller
	id      string      // id is what stands for the wildcard of the path, decoded once.
	header  http.Header // header is that of the answer.
}

func (c *call) context() context.Context { return c.Request.Context() }

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", "application/json; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	path := sent(r.URL)
	if len(path)+len(r.URL.RawQuery) > maxTarget {
		h.fail(w, r, "", problem{status: http.StatusRequestURITooLong, message: "The path and the query are longer than 16384 bytes."})
		return
	}
	at, id, ok := find(h.places, path)
	if !ok {
		h.fail(w, r, "", problem{status: http.StatusNotFound, message: "There is no such route."})
		return
	}
	r.Pattern = at.path
	method := r.Method
	if method == http.MethodHead { // net/http sends no body then
		method = http.MethodGet
	}
	route, ok := at.routes[method]
	if !ok {
		header.Set("Allow", at.allow())
		h.fail(w, r, at.path, problem{status: http.StatusMethodNotAllowed, message: "The route allows " + at.allow() + "."})
		return
	}
	if route.static != nil {
		route.static(h, w)
		return
	}
	c, err := h.admit(r, header, &route)
	if err != nil {
		h.fail(w, r, at.path, err)
		return
	}
	c.id = id
	r.Body = http.MaxBytesReader(w, r.Body, h.opts.MaxBody)
	status, body, err := route.serve(c)
	if err != nil {
		h.fail(w, r, at.path, err)
		return
	}
	h.answer(w, r, status, body)
}

// admit lets a caller in: credentials, rate, scopes, tenant, in this order.
func (h *handler) admit(r *http.Request, header http.Header, route *route) (*call, error) {
	caller, err := h.auth.Authorize(r)
	if err == nil {
		err = domain.CheckActor(caller.Actor)
	}
	if err != nil {
		return nil, unauthorized(r, header, err)
	}
	if !h.limits.allow(header, caller, h.opts.Now()) {
		return nil, problem{status: http.StatusTooManyRequests, code: "too_many_requests", message: "Too many requests; try again later."}
	}
	for _, scope := range route.scopes {
		if !caller.may(scope) {
			expected := strings.Join(route.scopes, " ")
			header.Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+expected+`"`)
			return nil, problem{
				status: http.StatusForbidden, code: "insufficient_scope",
				message: "Insufficient scope, expected: " + strings.Join(route.scopes, ", "),
			}
		}
	}
	manager, err := h.managers(caller.Tenant)
	if err != nil || manager == nil {
		return nil, noTenant(err)
	}
	return &call{handler: h, Request: r, manager: manager, caller: caller, header: header}, nil
}

// answer writes a body as JSON, {} for none.
func (h *handler) answer(w http.ResponseWriter, r *http.Request, status int, body any) {
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	if body == nil {
		body = struct{}{}
	}
	text, err := json.Marshal(body)
	if err != nil {
		h.fail(w, r, "", err)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client may be gone
}
