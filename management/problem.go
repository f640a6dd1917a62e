package management

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"example.com/tokenstore"
)

// problem is an answer that is not a success, as it is told.
type problem struct {
	status  int
	code    string
	message string
}

func (p problem) Error() string { return "management: " + p.message }

// problemBody is the JSON of a problem.
type problemBody struct {
	StatusCode int    `json:"statusCode"`
	Error      string `json:"error"`
	Message    string `json:"message"`
	ErrorCode  string `json:"errorCode,omitempty"`
}

const (
	codeBody  = "invalid_body"
	codeQuery = "invalid_query_string"
)

// problems say how the errors of the library are told. What has no row is an internal error, of which nothing is told.
func problems() []struct {
	is error
	problem
} {
	return []struct {
		is error
		problem
	}{
		{tokenstore.ErrNotFound, problem{status: http.StatusNotFound, message: "The refresh token does not exist."}},
		{tokenstore.ErrRevoked, problem{status: http.StatusNotFound, message: "The refresh token does not exist."}},
		{tokenstore.ErrConflict, problem{status: http.StatusConflict, message: "The idempotency key was used for another revocation."}},
		{tokenstore.ErrBusy, problem{status: http.StatusServiceUnavailable, message: "Too many revocations are pending; try again later."}},
		{tokenstore.ErrNotCommitted, problem{status: http.StatusServiceUnavailable, message: "Nothing was changed; try again."}},
		{tokenstore.ErrUnknownOutcome, problem{status: http.StatusServiceUnavailable, message: "It is not known whether the change was made; try again."}},
		{tokenstore.ErrClosed, problem{status: http.StatusServiceUnavailable, message: "The service is shutting down."}},
		{context.Canceled, problem{status: http.StatusServiceUnavailable, message: "The request was given up; try again."}},
		{context.DeadlineExceeded, problem{status: http.StatusServiceUnavailable, message: "The request took too long; try again."}},
	}
}

// told returns what a client is told of an error.
func told(err error) problem {
	if p, ok := errors.AsType[problem](err); ok {
		return p
	}
	if field, ok := errors.AsType[*tokenstore.FieldError](err); ok && field.Field != "now" { // the clock is not the caller's
		return problem{status: http.StatusBadRequest, message: field.Field + " must be " + field.Limit + "."}
	}
	for _, row := range problems() {
		if errors.Is(err, row.is) {
			return row.problem
		}
	}
	return problem{status: http.StatusInternalServerError, message: "An internal error occurred."}
}

// coded gives a client's error the code of where it was made.
func coded(code string, err error) error {
	p := told(err)
	if p.status == http.StatusBadRequest && p.code == "" {
		p.code = code
		return p
	}
	return err
}

// unauthorized refuses credentials, or their absence (RFC 6750 §3).
func unauthorized(r *http.Request, header http.Header, err error) error {
	if r.Header.Get("Authorization") == "" || errors.Is(err, ErrNoCredentials) {
		header.Set("WWW-Authenticate", "Bearer")
		return refusal{problem{status: http.StatusUnauthorized, message: "Missing authentication"}, err}
	}
	header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	return refusal{problem{status: http.StatusUnauthorized, code: "invalid_token", message: "Invalid token"}, err}
}

// noTenant refuses a caller whose tenant is not served.
func noTenant(err error) error {
	if err == nil || errors.Is(err, tokenstore.ErrNotFound) || errors.Is(err, tokenstore.ErrInvalid) {
		return refusal{problem{status: http.StatusForbidden, message: "The tenant is not served here."}, err}
	}
	return err
}

// refusal is a problem with a cause that only the log is told.
type refusal struct {
	problem
	cause error
}

func (e refusal) Unwrap() error { return e.problem }

// fail answers by what may be told of the error, and logs the rest.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, path string, err error) {
	p := told(err)
	attrs := []any{slog.String("method", r.Method), slog.String("route", path), slog.Int("status", p.status), requestID(w.Header(), r)}
	cause := err
	if e, ok := errors.AsType[refusal](err); ok {
		cause = e.cause
	}
	switch {
	case p.status >= http.StatusInternalServerError && r.Context().Err() == nil:
		h.opts.Logger.ErrorContext(r.Context(), "management: request failed", append(attrs, slog.Any("error", cause))...)
	case p.status == http.StatusUnauthorized, p.status == http.StatusForbidden:
		h.opts.Logger.WarnContext(r.Context(), "management: caller refused", append(attrs, slog.Any("error", cause))...)
	}
	if p.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	h.answer(w, r, p.status, problemBody{p.status, http.StatusText(p.status), p.message, p.code})
}

// requestID is the id that a middleware gave the request, in the header X-Request-Id of the answer or of the request.
func requestID(answer http.Header, r *http.Request) slog.Attr {
	id := answer.Get("X-Request-Id")
	if id == "" {
		id = r.Header.Get("X-Request-Id")
	}
	if len(id) > 128 {
		id = id[:128]
	}
	return slog.String("request_id", id)
}
