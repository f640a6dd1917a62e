package fosite

import (
	"context"
	"errors"
	"slices"
	"strings"

	"example.com/tokenstore"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
)

// GenerateRefreshToken exchanges the secret that the client presented, in one atomic step, if the request is a refresh; for any
// other it issues a token. The signature is for [Store.CreateRefreshTokenSession].
//
// An exchange that is refused returns no token and no error: fosite would make a server_error of it. [Store.RotateRefreshToken],
// which it calls next, refuses.
func (s *Store) GenerateRefreshToken(ctx context.Context, requester fosite.Requester) (token, signature string, err error) {
	if access, ok := requester.(fosite.AccessRequester); ok && isRefresh(access) {
		out, err := s.exchange(ctx, access, access.GetID())
		if _, refused := errors.AsType[tokenstore.Refusal](err); refused {
			return "", "", nil
		}
		if err != nil {
			return "", "", err
		}
		return out.Secret.Reveal(), s.RefreshTokenSignature(ctx, out.Secret.Reveal()), nil
	}
	issued, err := s.issue(ctx, requester)
	if err != nil {
		return "", "", err
	}
	return issued.Secret.Reveal(), s.RefreshTokenSignature(ctx, issued.Secret.Reveal()), nil
}

// ValidateRefreshToken returns an error for a secret that is not one of the token that the requester was read for, and for
// one that could not be used: an outdated one only by a refresh, where the exchange says more.
func (s *Store) ValidateRefreshToken(ctx context.Context, requester fosite.Requester, token string) error {
	secret := tokenstore.NewSecret(token)
	known, err := s.manager.Recognise(ctx, secret)
	if err != nil {
		return err
	}
	usable := known.Active || known.Cause == tokenstore.ErrReused && refreshing(ctx, secret) != nil
	if !usable || requestID(known.Token) != requester.GetID() {
		return fosite.ErrTokenSignatureMismatch
	}
	return nil
}

func isRefresh(access fosite.AccessRequester) bool {
	return access.GetGrantTypes().ExactOne(string(fosite.GrantTypeRefreshToken))
}

// refreshing returns the request of the client that is refreshing with a secret, as NewAccessRequest leaves it in the
// context, or nil for any other use of the secret.
func refreshing(ctx context.Context, secret tokenstore.Secret) fosite.AccessRequester {
	access, ok := ctx.Value(fosite.AccessRequestContextKey).(fosite.AccessRequester)
	if !ok || !isRefresh(access) || access.GetRequestForm().Get("refresh_token") != secret.Reveal() {
		return nil
	}
	return access
}

func (s *Store) exchange(ctx context.Context, access fosite.AccessRequester, id string) (tokenstore.Exchanged, error) {
	exchange := tokenstore.ExchangeRequest{
		Secret:   tokenstore.NewSecret(access.GetRequestForm().Get("refresh_token")),
		ClientID: access.GetClient().GetID(),
	}
	if s.opts.Exchange != nil {
		if err := s.opts.Exchange(ctx, access, &exchange); err != nil {
			return tokenstore.Exchanged{}, err
		}
	}
	out, err := s.manager.Exchange(ctx, exchange)
	if errors.Is(err, tokenstore.ErrReused) && s.opts.Replayed != nil {
		if failed := s.opts.Replayed(ctx, id); failed != nil {
			return tokenstore.Exchanged{}, failed
		}
	}
	return out, err
}

func (s *Store) issue(ctx context.Context, requester fosite.Requester) (tokenstore.Issued, error) {
	session, err := tokenstore.NewSessionID(requester.GetID())
	if err != nil {
		return tokenstore.Issued{}, err
	}
	scopes := requester.GetGrantedScopes()
	issue := tokenstore.IssueRequest{
		UserID: requester.GetSession().GetSubject(), ClientID: requester.GetClient().GetID(), SessionID: session,
		ResourceServers: resourceServers(requester), Offline: scopes.HasOneOf("offline", "offline_access"),
	}
	if s, ok := requester.GetSession().(openid.Session); ok && !s.IDTokenClaims().AuthTime.IsZero() {
		issue.AuthenticatedAt = s.IDTokenClaims().AuthTime
		issue.AsOf = tokenstore.AsOfTime(issue.AuthenticatedAt, 0)
	}
	if s.opts.Issue != nil {
		if err := s.opts.Issue(ctx, requester, &issue); err != nil {
			return tokenstore.Issued{}, err
		}
	}
	return s.manager.Issue(ctx, issue)
}

// resourceServers are those of a grant: fosite has one list of scopes for all audiences. A grant for no audience is for the
// client itself, and read so by audiences.
func resourceServers(requester fosite.Requester) []tokenstore.ResourceServer {
	audiences := requester.GetGrantedAudience()
	if len(audiences) == 0 {
		audiences = fosite.Arguments{requester.GetClient().GetID()}
	}
	var servers []tokenstore.ResourceServer
	for _, audience := range audiences {
		servers = append(servers, tokenstore.ResourceServer{Audience: audience, Scopes: strings.Join(requester.GetGrantedScopes(), " ")})
	}
	return servers
}

// audiences are those of a token, but for its client.
func audiences(token *tokenstore.RefreshToken) fosite.Arguments {
	return slices.DeleteFunc(token.ResourceServers.Audiences(), func(audience string) bool { return audience == token.ClientID })
}
