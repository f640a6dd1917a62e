package zitadel

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"example.com/tokenstore"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// AccessTokens is what a [Storage] asks of its host, which keeps the access tokens. It is safe for concurrent use.
type AccessTokens interface {
	// CreateAccessTokenWith creates the access token that is handed out together with a refresh token, which has been issued
	// or exchanged just before. It is called again with the same refresh token when a client retries. The request is as for
	// op's CreateAccessToken: an [op.AuthRequest], an [op.TokenExchangeRequest] or the like for a new refresh token, else a
	// [RefreshTokenRequest], whose scopes may be fewer than those of the token. An access token that is to die with its
	// refresh token keeps the id of that one, and is good for as long as [tokenstore.Manager.Get] finds it
	// ([tokenstore.Fenced]).
	CreateAccessTokenWith(ctx context.Context, request op.TokenRequest, refresh tokenstore.RefreshToken) (id string, expiration time.Time, err error)
	// RevokeAccessToken is [op.AuthStorage]'s RevokeToken for what is no refresh token: with a userID the id of an access
	// token, which must not be the id of a refresh token, else any text at all.
	RevokeAccessToken(ctx context.Context, tokenOrTokenID, userID, clientID string) *oidc.Error
}

// Options of a [Storage]. The zero value, and nil, take every default. The functions are safe for concurrent use, and get
// the context of the HTTP request, in which a host can hand them what op does not: the sender's address or key.
type Options struct {
	// Tenant returns the manager that a request is for, in a host that serves several issuers (op.IssuerFromContext).
	// Defaults to the manager given to [New], for all requests.
	Tenant func(ctx context.Context) (*tokenstore.Manager, error)
	// Issue completes the request for a new token: with its session, which no request of op has, its device, its metadata,
	// its key, the sequence as it was when the user authenticated. User, client, audiences, scopes, offline access and the
	// time of authentication are set before, and AsOf to that time, so that a login made before a revocation can't issue
	// after it: after the revocation of all of a user's tokens, she has to authenticate anew. An error is the answer to the
	// client if it is an [oidc.Error]. Defaults to nothing, which is enough only where the tenant's rule allows tokens without
	// a session.
	Issue func(ctx context.Context, request op.TokenRequest, issue *tokenstore.IssueRequest) error
	// Exchange completes the request of an exchange: with its device, and the key that the sender proved to hold. Secret and
	// client are set before. An error is the answer to the client if it is an [oidc.Error]. Defaults to nothing.
	Exchange func(ctx context.Context, exchange *tokenstore.ExchangeRequest) error
	// AMR returns the authentication methods of a token's grant, for the ID tokens of its refreshes: a record has no field
	// for them, and its metadata is changed by callers of the management API. Defaults to none.
	AMR func(ctx context.Context, token tokenstore.RefreshToken) ([]string, error)
	// KeepOffline says that the end of a session spares tokens with offline access (OpenID Connect Back-Channel Logout 1.0
	// §2.7). op issues tokens with offline access only, but for those of a token exchange. Defaults to false: signing out
	// ends them, as the contract of op's storage asks.
	KeepOffline bool
}

// Storage is the part of [op.Storage] that has to do with refresh tokens, on a [tokenstore.Manager]. It is to be embedded
// in a host's own storage, and is safe for concurrent use.
type Storage struct {
	access AccessTokens
	opts   Options
}

// New returns a storage on a manager, for a host that keeps the access tokens. nil options take the defaults. The
// manager is not run: whoever made it calls [tokenstore.Manager.Run].
func New(manager *tokenstore.Manager, access AccessTokens, opts *Options) *Storage {
	s := &Storage{access: access}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Tenant == nil {
		s.opts.Tenant = func(context.Context) (*tokenstore.Manager, error) { return manager, nil }
	}
	return s
}

// TokenRequestByRefreshToken returns a [RefreshTokenRequest] for the token that a secret belongs to. It writes nothing, and
// decides nothing but that there is no use in going on: see the package's comment.
func (s *Storage) TokenRequestByRefreshToken(ctx context.Context, refreshToken string) (op.RefreshTokenRequest, error) {
	m, err := s.opts.Tenant(ctx)
	if err != nil {
		return nil, clientError(ctx, err)
	}
	known, err := m.Recognise(ctx, tokenstore.NewSecret(refreshToken))
	switch {
	case err != nil:
		return nil, clientError(ctx, err)
	case !known.Active && known.Cause != tokenstore.ErrReused:
		return nil, clientError(ctx, known.Cause)
	}
	request := &RefreshTokenRequest{token: known.Token, scopes: known.Token.ResourceServers.Scopes(), pending: !known.Active}
	if s.opts.AMR != nil {
		if request.amr, err = s.opts.AMR(ctx, known.Token); err != nil {
			return nil, clientError(ctx, err)
		}
	}
	return request, nil
}

// CreateAccessAndRefreshTokens issues a token if there is no current one, and else exchanges it, in one atomic step. Then it
// has the host create the access token.
func (s *Storage) CreateAccessAndRefreshTokens(ctx context.Context, request op.TokenRequest, currentRefreshToken string) (accessTokenID, newRefreshToken string, expiration time.Time, err error) {
	m, err := s.opts.Tenant(ctx)
	if err != nil {
		return "", "", time.Time{}, clientError(ctx, err)
	}
	next := s.exchange
	if currentRefreshToken == "" {
		next = s.issue
	}
	token, secret, err := next(ctx, m, request, currentRefreshToken)
	if err != nil {
		return "", "", time.Time{}, clientError(ctx, err)
	}
	accessTokenID, expiration, err = s.access.CreateAccessTokenWith(ctx, request, token)
	if err != nil {
		if currentRefreshToken == "" { // nobody will ever hold its secret
			_, revoking := m.Revoke(context.WithoutCancel(ctx), tokenstore.RevokeRequest{
				Targets: []tokenstore.Target{{TokenID: token.ID}}, Reason: "never handed out",
			})
			err = errors.Join(err, revoking)
		}
		return "", "", time.Time{}, clientError(ctx, err)
	}
	return accessTokenID, secret.Reveal(), expiration, nil
}

// grant is what all requests that can have a refresh token tell beside what [op.TokenRequest] does.
type grant interface {
	op.TokenRequest
	GetClientID() string
	GetAuthTime() time.Time
}

var errNoClient = errors.New("zitadel: a request for a refresh token that names no client")

func (s *Storage) issue(ctx context.Context, m *tokenstore.Manager, request op.TokenRequest, _ string) (tokenstore.RefreshToken, tokenstore.Secret, error) {
	g, ok := request.(grant)
	if !ok {
		return tokenstore.RefreshToken{}, tokenstore.Secret{}, errNoClient
	}
	issue := tokenstore.IssueRequest{
		UserID: g.GetSubject(), ClientID: g.GetClientID(), ResourceServers: resourceServers(g),
		Offline:         slices.Contains(g.GetScopes(), oidc.ScopeOfflineAccess),
		AuthenticatedAt: g.GetAuthTime(),
	}
	if !issue.AuthenticatedAt.IsZero() {
		issue.AsOf = tokenstore.AsOfTime(issue.AuthenticatedAt, 0)
	}
	if s.opts.Issue != nil {
		if err := s.opts.Issue(ctx, request, &issue); err != nil {
			return tokenstore.RefreshToken{}, tokenstore.Secret{}, err
		}
	}
	issued, err := m.Issue(ctx, issue)
	return issued.Token, issued.Secret, err
}

func (s *Storage) exchange(ctx context.Context, m *tokenstore.Manager, request op.TokenRequest, current string) (tokenstore.RefreshToken, tokenstore.Secret, error) {
	g, ok := request.(grant)
	if !ok {
		return tokenstore.RefreshToken{}, tokenstore.Secret{}, errNoClient
	}
	// op has compared this client with the one that authenticated.
	exchange := tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(current), ClientID: g.GetClientID()}
	if s.opts.Exchange != nil {
		if err := s.opts.Exchange(ctx, &exchange); err != nil {
			return tokenstore.RefreshToken{}, tokenstore.Secret{}, err
		}
	}
	out, err := m.Exchange(ctx, exchange)
	if err != nil {
		return tokenstore.RefreshToken{}, tokenstore.Secret{}, err
	}
	if r, ok := request.(interface {
		exchanged(tokenstore.RefreshToken)
	}); ok { // ours, or what a host embeds it in
		r.exchanged(out.Token)
	}
	return out.Token, out.Secret, nil
}

// resourceServers are those of a grant: op has one list of scopes for all audiences. Without an audience it is the client,
// as in op's own tokens.
func resourceServers(g grant) []tokenstore.ResourceServer {
	audiences := g.GetAudience()
	if len(audiences) == 0 {
		audiences = []string{g.GetClientID()}
	}
	var servers []tokenstore.ResourceServer
	for _, audience := range audiences {
		servers = append(servers, tokenstore.ResourceServer{Audience: audience, Scopes: strings.Join(g.GetScopes(), " ")})
	}
	return servers
}
