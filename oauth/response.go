package oauth

import (
	"encoding/json"
	"net/http"
)

// fault is an error response (RFC 6749 §5.2). Its texts are fixed: nothing of a request comes back in them.
type fault struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

var (
	invalidClient = &fault{http.StatusUnauthorized, "invalid_client", "Client authentication failed."}
	// RFC 7009 §2.2.1: the client must assume that the token is still good.
	unavailable = &fault{http.StatusServiceUnavailable, "temporarily_unavailable", "Try again later."}
)

func malformed(description string) *fault {
	return &fault{http.StatusBadRequest, "invalid_request", description}
}

func (f *fault) write(w http.ResponseWriter) {
	switch f.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="oauth", charset="UTF-8"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, f.status, f)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // of strings and numbers alone
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
