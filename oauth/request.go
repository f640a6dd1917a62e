package oauth

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"

	"example.com/tokenstore"
)

// MaxBody is the largest body of a request, in bytes.
const MaxBody = 32 << 10

// endpoint is what both handlers have in common: from a request to the client and the secret that it shows.
type endpoint struct {
	manager *tokenstore.Manager
	clients Authenticator
	log     *slog.Logger
}

func newEndpoint(name string, m *tokenstore.Manager, clients Authenticator, log *slog.Logger) (endpoint, error) {
	if m == nil {
		return endpoint{}, &tokenstore.FieldError{Field: "manager", Limit: "set"}
	}
	if clients == nil {
		return endpoint{}, &tokenstore.FieldError{Field: "clients", Limit: "set: no request is served without authentication"}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return endpoint{m, clients, log.With("endpoint", name)}, nil
}

// read returns the client that sent the request, and the token's secret. If it returns false, it has answered.
func (e *endpoint) read(w http.ResponseWriter, r *http.Request) (clientID string, secret tokenstore.Secret, ok bool) {
	w.Header().Set("Cache-Control", "no-store")
	if fault := parse(w, r); fault != nil {
		fault.write(w)
		return "", secret, false
	}
	clientID, err := e.clients.Authenticate(r)
	switch {
	case errors.Is(err, ErrInvalidClient):
		e.log.InfoContext(r.Context(), "client not recognised")
		invalidClient.write(w)
		return "", secret, false
	case errors.Is(err, ErrInvalidRequest):
		malformed("Use one method of client authentication.").write(w)
		return "", secret, false
	case err != nil:
		e.fault(w, r, fmt.Errorf("oauth: client authentication: %w", err))
		return "", secret, false
	case clientID == "":
		e.fault(w, r, errors.New("oauth: client authentication: no client named"))
		return "", secret, false
	}
	text := r.PostForm.Get("token")
	if text == "" {
		malformed("The parameter token is missing.").write(w)
		return "", secret, false
	}
	return clientID, tokenstore.NewSecret(text), true
}

// fault answers what is not the client's fault.
func (e *endpoint) fault(w http.ResponseWriter, r *http.Request, err error) {
	e.log.ErrorContext(r.Context(), "request failed", "error", err)
	unavailable.write(w)
}

// parse reads the form into r.PostForm. Parameters of the URL are not looked at: a secret has no business there.
func parse(w http.ResponseWriter, r *http.Request) *fault {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return &fault{http.StatusMethodNotAllowed, "invalid_request", "The method must be POST."}
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || len(r.Header.Values("Content-Type")) > 1 {
		return &fault{http.StatusUnsupportedMediaType, "invalid_request", "The body must be application/x-www-form-urlencoded."}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return &fault{http.StatusRequestEntityTooLarge, "invalid_request", "The body is too large."}
	}
	if err != nil {
		return malformed("The body could not be read.")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return malformed("The body is no form.")
	}
	for _, values := range form {
		if len(values) > 1 { // RFC 6749 §3.2
			return malformed("A parameter is given more than once.")
		}
	}
	r.PostForm, r.Form = form, form
	return nil
}
