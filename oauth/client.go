package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
)

// ErrInvalidClient says that a request comes from no client that is known: RFC 6749 §5.2's invalid_client.
var ErrInvalidClient = errors.New("oauth: invalid client")

// ErrInvalidRequest says that a request tries to authenticate in a way that is malformed, such as by two methods at once.
var ErrInvalidRequest = errors.New("oauth: invalid request")

// MaxClientSecret is the longest secret of a client, in bytes.
const MaxClientSecret = 500

// Authenticator recognises clients (RFC 6749 §2.3). It is safe for concurrent use.
type Authenticator interface {
	// Authenticate returns the id of the client that sent the request: what tokens were issued to. The body has been read;
	// its parameters are in r.PostForm, each of them once. An error that is [ErrInvalidClient] is answered by 401, one that
	// is [ErrInvalidRequest] by 400, and any other by 503, as a fault of the host. None must carry a secret: it is logged.
	Authenticate(r *http.Request) (clientID string, err error)
}

// AuthenticatorFunc is a function that is an [Authenticator].
type AuthenticatorFunc func(r *http.Request) (clientID string, err error)

// Authenticate calls f.
func (f AuthenticatorFunc) Authenticate(r *http.Request) (string, error) { return f(r) }

// Clients is a fixed set of clients that have a secret. It recognises them by client_secret_basic and by
// client_secret_post, and keeps digests of the secrets only, which it compares in constant time.
type Clients struct{ digests map[string]digest }

type digest [sha256.Size]byte

// NewClients returns the clients whose ids are the keys, with their secrets. It returns a [tokenstore.FieldError] for an id
// that is not 1..64 characters, and for a secret that is not 1..[MaxClientSecret] bytes.
func NewClients(secrets map[string]string) (*Clients, error) {
	c := &Clients{digests: make(map[string]digest, len(secrets))}
	for _, id := range slices.Sorted(maps.Keys(secrets)) { // so that of several errors it is always the same one
		secret := secrets[id]
		if err := domain.CheckClientID(id); err != nil {
			return nil, err
		}
		if n := len(secret); n < 1 || n > MaxClientSecret {
			return nil, &tokenstore.FieldError{Field: "client_secret", Limit: "1..500 bytes", Size: n}
		}
		c.digests[id] = digestOf(id, secret)
	}
	return c, nil
}

// digestOf is of both, so that equal secrets of two clients are not seen to be equal.
func digestOf(id, secret string) digest {
	return sha256.Sum256([]byte("tokenstore client secret\x00" + id + "\x00" + secret))
}

// Authenticate recognises a client by the Authorization header, or by client_id and client_secret of the form. A
// request that uses both, a second header, or a client_assertion beside them is [ErrInvalidRequest] (RFC 6749 §2.3).
func (c *Clients) Authenticate(r *http.Request) (string, error) {
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	methods := len(r.Header.Values("Authorization"))
	for _, name := range []string{"client_secret", "client_assertion"} {
		if r.PostForm.Get(name) != "" {
			methods++
		}
	}
	if methods > 1 {
		return "", ErrInvalidRequest
	}
	if r.Header.Get("Authorization") != "" {
		named := id
		var ok bool
		if id, secret, ok = basic(r); !ok {
			return "", ErrInvalidClient
		}
		if named != "" && named != id {
			return "", ErrInvalidRequest
		}
	}
	want, known := c.digests[id] // zero for an id that is not known, whose comparison takes as long
	got := digestOf(id, secret)
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 || !known {
		return "", ErrInvalidClient
	}
	return id, nil
}

// basic reads the Authorization header. Both parts are form-encoded within it (RFC 6749 §2.3.1).
func basic(r *http.Request) (id, secret string, ok bool) {
	id, secret, ok = r.BasicAuth()
	if !ok {
		return "", "", false
	}
	id, idErr := url.QueryUnescape(id)
	secret, secretErr := url.QueryUnescape(secret)
	return id, secret, idErr == nil && secretErr == nil
}
