package zitadel

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"

	"example.com/tokenstore"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Interceptor makes right what a storage alone can't. It is an [op.HttpInterceptor] (op.WithHttpInterceptors).
//
// When the store fails, the answer is 503, with temporarily_unavailable and Retry-After. op would answer invalid_grant to a
// refresh, after which a client throws its token away, and 500 to a revocation, where RFC 7009 §2.2.1 has 503.
//
// The token_type_hint of a revocation is dropped, which RFC 7009 §2.1 lets a server do. With the hint access_token op
// decrypts whatever it is given, by a cipher that fails for nothing, and one refresh token in five comes out as the id and
// the user of an access token: it would not be revoked, and the answer would be 200.
func Interceptor(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if err := r.ParseForm(); err != nil { // op would parse again, and find no error
				op.RequestError(w, r, oidc.ErrInvalidRequest().WithDescription("error parsing form").WithParent(err), nil)
				return
			}
			r.Form.Del("token_type_hint")
		}
		failed := new(atomic.Bool)
		ctx := context.WithValue(r.Context(), failedKey{}, failed)
		next.ServeHTTP(&answer{ResponseWriter: w, failed: failed}, r.WithContext(ctx))
	})
}

type failedKey struct{}

// answer replaces an error that is written after the store failed.
type answer struct {
	http.ResponseWriter
	failed   *atomic.Bool
	replaced bool
}

func (a *answer) WriteHeader(status int) {
	if status < http.StatusBadRequest || !a.failed.Load() {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.replaced = true
	told := tokenstore.ForClient(tokenstore.ErrNotCommitted)
	header := a.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Retry-After", "1")
	header.Del("Content-Length")
	a.ResponseWriter.WriteHeader(told.Status)
	_ = json.NewEncoder(a.ResponseWriter).Encode(told)
}

func (a *answer) Write(body []byte) (int, error) {
	if a.replaced {
		return len(body), nil
	}
	return a.ResponseWriter.Write(body)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// fault notes that the store failed, and returns what op is told: no more than that.
func fault(ctx context.Context, err error) *oidc.Error {
	if failed, ok := ctx.Value(failedKey{}).(*atomic.Bool); ok {
		failed.Store(true)
	}
	return oidc.ErrServerError().WithDescription("Try again later.").WithParent(err)
}

// clientError is an error as op is to answer it: an OAuth error with nothing of the cause in it. All refusals look the same.
func clientError(ctx context.Context, err error) error {
	if told, ok := errors.AsType[*oidc.Error](err); ok {
		return told
	}
	switch tokenstore.ForClient(err).Code {
	case "invalid_grant":
		return oidc.ErrInvalidGrant().WithParent(err)
	case "invalid_request":
		return oidc.ErrInvalidRequest().WithParent(err)
	}
	return fault(ctx, err)
}

var _ op.HttpInterceptor = Interceptor
