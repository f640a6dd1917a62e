package management

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"example.com/tokenstore"
)

// Options of the handler. The zero value, and nil, take every default.
type Options struct {
	// Directory says which users, clients and resource servers exist. Defaults to none: all do, and one without tokens has an
	// empty list.
	Directory Directory
	// Logger takes accepted revocations, refused callers and failures, without any secret. Defaults to none.
	Logger *slog.Logger
	// MaxBody is the longest request body, in bytes; a longer one is answered by 413. Defaults to 262,144, in which the
	// largest metadata fits, however it is escaped.
	MaxBody int64
	// RateLimit bounds how often each caller may ask. Defaults to no limit.
	RateLimit RateLimit
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

func (o *Options) withDefaults() (Options, error) {
	var d Options
	if o != nil {
		d = *o
	}
	if d.MaxBody < 0 {
		return d, &tokenstore.FieldError{Field: "max_body", Limit: "at least 0 bytes", Size: int(d.MaxBody)}
	}
	if d.MaxBody == 0 {
		d.MaxBody = 256 << 10
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	return d, d.RateLimit.Validate()
}

// New returns the handler. managers gives the manager of a tenant, at every request; it must be quick and safe for
// concurrent use. A tenant that it does not serve is [tokenstore.ErrNotFound]. auth lets callers in. Both are required: no
// route that shows or changes anything works without an authorizer. nil options take the defaults; one out of range is a
// [tokenstore.FieldError].
//
// The handler serves the absolute paths of the API, which begin with /api/v2/, and /openapi.json and /docs. It looks at the
// path as it was sent, so it should not stand behind anything that cleans paths, as [http.ServeMux] does, if ids may be "."
// or "..". It sets Pattern of the request to the path of the route, such as "/api/v2/refresh-tokens/{id}", for a middleware that
// logs or counts.
func New(managers func(tenant string) (*tokenstore.Manager, error), auth Authorizer, opts *Options) (http.Handler, error) {
	if managers == nil {
		return nil, errors.New("management: no managers")
	}
	if auth == nil {
		return nil, errors.New("management: no authorizer")
	}
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	page, err := newDocPage()
	if err != nil {
		return nil, err
	}
	return &handler{managers: managers, auth: auth, opts: o, limits: newLimits(o.RateLimit), places: places(routes()), page: page}, nil
}
