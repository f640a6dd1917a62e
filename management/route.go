package management

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// route is one operation. It demands all of its scopes. A static one is open to everyone, and says nothing of any tenant.
type route struct {
	method, path string
	scopes       []string
	serve        func(*call) (status int, body any, err error)
	static       func(*handler, http.ResponseWriter)
}

// routes are all that is served. Of two paths that match, the first counts.
func routes() []route {
	read, remove := []string{ScopeReadTokens}, []string{ScopeDeleteTokens}
	return []route{
		{method: "GET", path: "/api/v2/refresh-tokens", scopes: read, serve: listTokens},
		{method: "POST", path: "/api/v2/refresh-tokens/revoke", scopes: remove, serve: revokeTokens},
		{method: "GET", path: "/api/v2/refresh-tokens/{id}", scopes: read, serve: getToken},
		{method: "PATCH", path: "/api/v2/refresh-tokens/{id}", scopes: []string{ScopeUpdateTokens}, serve: patchToken},
		{method: "DELETE", path: "/api/v2/refresh-tokens/{id}", scopes: remove, serve: deleteToken},
		{method: "GET", path: "/api/v2/users/{user_id}/refresh-tokens", scopes: read, serve: listUserTokens},
		{method: "DELETE", path: "/api/v2/users/{user_id}/refresh-tokens", scopes: remove, serve: deleteUserTokens},
		{method: "POST", path: "/api/v2/sessions/{id}/revoke", scopes: []string{ScopeDeleteSession, ScopeDeleteTokens}, serve: revokeSession},
		{method: "GET", path: "/api/v2/device-credentials", scopes: []string{ScopeReadDevices}, serve: listDevices},
		{method: "DELETE", path: "/api/v2/device-credentials/{id}", scopes: []string{ScopeDeleteDevices}, serve: deleteDevice},
		{method: "GET", path: "/api/v2/revocations", scopes: read, serve: listRevocations},
		{method: "GET", path: "/api/v2/revocations/{id}", scopes: read, serve: getRevocation},
		{method: "GET", path: "/openapi.json", static: (*handler).serveDocument},
		{method: "GET", path: "/docs", static: (*handler).servePage},
	}
}

// place is a path and its routes by method.
type place struct {
	path     string
	segments []string
	routes   map[string]route
}

func places(routes []route) []place {
	var all []place
	for _, r := range routes {
		i := slices.IndexFunc(all, func(p place) bool { return p.path == r.path })
		if i < 0 {
			i = len(all)
			all = append(all, place{path: r.path, segments: strings.Split(r.path, "/"), routes: map[string]route{}})
		}
		all[i].routes[r.method] = r
	}
	return all
}

// allow lists the methods of a place, as the header Allow does.
func (p *place) allow() string {
	methods := slices.Collect(maps.Keys(p.routes))
	if _, ok := p.routes[http.MethodGet]; ok {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// sent is the path as it was sent. [url.URL.EscapedPath] is another one where the client left out an escape that it thinks is
// needed, as in "auth0|a%2Fb": it escapes the decoded path anew, and the slash of an id becomes one of the path.
func sent(u *url.URL) string {
	if path, err := url.PathUnescape(u.RawPath); err == nil && u.RawPath != "" && path == u.Path {
		return u.RawPath
	}
	return u.EscapedPath()
}

// find returns the place of a path as it was sent, and what stands for its wildcard. It splits before it decodes, so that an
// id may hold a slash, and cleans nothing, so that one may be ".." too.
func find(places []place, escaped string) (at place, id string, ok bool) {
	segments := strings.Split(escaped, "/")
	for i := range segments {
		text, err := url.PathUnescape(segments[i])
		if err != nil {
			return place{}, "", false
		}
		segments[i] = text
	}
	for _, p := range places {
		if id, ok := p.match(segments); ok {
			return p, id, true
		}
	}
	return place{}, "", false
}

func (p *place) match(segments []string) (id string, ok bool) {
	if len(segments) != len(p.segments) {
		return "", false
	}
	for i, segment := range p.segments {
		switch {
		case !strings.HasPrefix(segment, "{"):
			if segments[i] != segment {
				return "", false
			}
		case segments[i] == "":
			return "", false
		default:
			id = segments[i]
		}
	}
	return id, true
}
