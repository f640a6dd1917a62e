package provider

import (
	"context"
	"net"
	"net/http"
	"strings"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
)

// caller is where a request comes from. Behind a proxy the address is the proxy's: take it then from the header that
// your proxy sets, and from no other.
func caller(r *http.Request) (ip, agent string) {
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || len(ip) > domain.MaxIP {
		ip = ""
	}
	agent = strings.ReplaceAll(strings.ToValidUTF8(r.UserAgent(), ""), "\x00", "")
	if len(agent) > domain.MaxUserAgent {
		agent = strings.ToValidUTF8(agent[:domain.MaxUserAgent], "")
	}
	return ip, agent
}

type callerKey struct{}

// withCaller hands on where a request comes from to the storage, which sees only its context.
func withCaller(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ip, agent := caller(r)
		last := tokenstore.Device{LastIP: ip, LastUserAgent: agent}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, last)))
	})
}

// deviceName is what a person calls a device, as far as its user agent tells.
func deviceName(agent string) string {
	// The order matters: many claim to be others too.
	what := first(agent, "an app", "Edg/:Edge", "OPR/:Opera", "Firefox/:Firefox", "FxiOS/:Firefox", "Chromium:Chromium",
		"HeadlessChrome/:Chrome", "CriOS/:Chrome", "Chrome/:Chrome", "Safari/:Safari", "curl/:curl", "Go-http-client:a Go program")
	where := first(agent, "", "iPhone:iPhone", "iPad:iPad", "Android:Android", "Windows:Windows", "Mac OS X:macOS", "CrOS:ChromeOS", "Linux:Linux")
	if where == "" {
		return strings.ToUpper(what[:1]) + what[1:]
	}
	return strings.ToUpper(what[:1]) + what[1:] + " on " + where
}

func first(agent, otherwise string, known ...string) string {
	for _, k := range known {
		if sign, name, _ := strings.Cut(k, ":"); strings.Contains(agent, sign) {
			return name
		}
	}
	return otherwise
}
