package fosite

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"

	"example.com/tokenstore"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
)

var (
	_ oauth2.RefreshTokenStrategy = (*Store)(nil)
	_ oauth2.RefreshTokenStorage  = (*Store)(nil)
)

// Options of a [Store]. The zero value, and nil, take every default. The functions are safe for concurrent use. They get the
// context that the host gave to fosite, in which it can hand them what fosite does not: the sender's address or key.
type Options struct {
	// Issue completes the request for a new token: with its device, its metadata, its key. User, client, audiences, scopes and
	// offline access are set before, and the session, which must stay. AuthenticatedAt, and AsOf, are those of the ID token's
	// claims if the session has them, so that a login made before a revocation can't issue after it. A host that keeps more of
	// a request than the record has stores it here, by the request's id. Defaults to nothing.
	Issue func(ctx context.Context, request fosite.Requester, issue *tokenstore.IssueRequest) error
	// Exchange completes the request of an exchange: with its device, and the key that the sender proved to hold. It may be
	// called twice for one. Secret and client are set before. Defaults to nothing.
	Exchange func(ctx context.Context, request fosite.Requester, exchange *tokenstore.ExchangeRequest) error
	// Session completes the session of a token that fosite reads, which is of the type that the host gave to fosite. The
	// subject, the expiry and the claims of ID tokens that the record knows are set before, where the type has a place for
	// them. Defaults to nothing.
	Session func(ctx context.Context, token tokenstore.RefreshToken, session fosite.Session) error
	// Replayed is called after the replay of an outdated secret has revoked the token of a request, to revoke its access
	// tokens too: it is the RevokeAccessToken of the host's storage. Defaults to nothing, and they live as long as they would.
	Replayed func(ctx context.Context, requestID string) error
}

// Clients finds a client by its id: fosite's own ClientManager, or a part of it.
type Clients interface {
	GetClient(ctx context.Context, id string) (fosite.Client, error)
}

// Store is the strategy and the storage of refresh tokens, on a [tokenstore.Manager]. It is to be embedded in a host's own,
// both of them, and is safe for concurrent use.
type Store struct {
	manager *tokenstore.Manager
	clients Clients
	opts    Options
	seal    cipher.AEAD
}

// New returns a store on a manager, for a host that keeps the clients. nil options take the defaults. The manager is not
// run: whoever made it calls [tokenstore.Manager.Run].
func New(manager *tokenstore.Manager, clients Clients, opts *Options) (*Store, error) {
	s := &Store{manager: manager, clients: clients}
	if opts != nil {
		s.opts = *opts
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	s.seal, err = cipher.NewGCMWithRandomNonce(block)
	return s, err
}

// RefreshTokenSignature returns the text by which this store, and no other, finds the token of a secret: the secret itself,
// sealed under a key that is nowhere but in this store. It is another one at each call, and worth nothing outside of the
// process.
func (s *Store) RefreshTokenSignature(_ context.Context, token string) string {
	return base64.RawURLEncoding.EncodeToString(s.seal.Seal(nil, nil, []byte(token), nil))
}

// open returns the secret of a signature. What is none has the empty secret, which is nobody's.
func (s *Store) open(signature string) tokenstore.Secret {
	sealed, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		return tokenstore.Secret{}
	}
	text, err := s.seal.Open(nil, nil, sealed, nil)
	if err != nil {
		return tokenstore.Secret{}
	}
	return tokenstore.NewSecret(string(text))
}
