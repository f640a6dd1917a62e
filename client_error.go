package tokenstore

import (
	"errors"
	"net/http"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// ClientError is what a client may be told of an error: an error response of RFC 6749 §5.2, and its HTTP status.
type ClientError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
	Status      int    `json:"-"`
}

// ForClient returns what a client may be told of an error of [Manager.Issue] or [Manager.Exchange]. All refusals look the
// same, whatever their cause: who tries secrets learns nothing from the answers. An error that is not the client's fault says
// no more than that.
func ForClient(err error) ClientError {
	switch {
	case errors.Is(err, domain.ErrInvalidGrant), errors.Is(err, store.ErrCap):
		return ClientError{"invalid_grant", "Unknown or invalid refresh token.", http.StatusBadRequest}
	case errors.Is(err, domain.ErrInvalid):
		return ClientError{"invalid_request", "The request is malformed.", http.StatusBadRequest}
	}
	return ClientError{"temporarily_unavailable", "Try again later.", http.StatusServiceUnavailable}
}
