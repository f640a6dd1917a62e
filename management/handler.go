package management

import (
	"net/http"

	"example.com/tokenstore"
)

type handler struct {
	managers func(tenant string) (*tokenstore.Manager, error)
	auth     Authorizer
	opts     Options
	limits   *limits
	page     *docPage
}

type docPage struct{}

func newDocPage() (*docPage, error) { return &docPage{}, nil }

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusNotImplemented)
}
