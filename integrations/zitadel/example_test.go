package zitadel_test

import (
	"context"
	"net/http"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/integrations/zitadel"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/oauth"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// server is the storage of an OpenID provider. Refresh tokens are in the tokenstore, the rest is the host's.
type server struct {
	database         // clients, authentication requests, users, keys, access tokens
	*zitadel.Storage // refresh tokens
}

type database struct{ op.Storage }

func (database) CreateAccessTokenWith(ctx context.Context, request op.TokenRequest, refresh tokenstore.RefreshToken) (string, time.Time, error) {
	// Keep refresh.ID with the access token, which is good for as long as Get finds that one.
	return "an id", time.Now().Add(5 * time.Minute), nil
}

func (database) RevokeAccessToken(ctx context.Context, tokenOrTokenID, userID, clientID string) *oidc.Error {
	return nil
}

// An OpenID provider whose refresh tokens are in a tokenstore.
func Example() {
	tokens, err := tokenstore.New(memstore.New(), nil)
	if err != nil {
		panic(err)
	}
	go tokens.Run(context.Background()) // sweeps what has been revoked

	var db database
	storage := server{database: db, Storage: zitadel.New(tokens, db, &zitadel.Options{
		Issue: func(ctx context.Context, request op.TokenRequest, issue *tokenstore.IssueRequest) error {
			// The host knows the session in which the user signed in, and where from.
			session, err := tokenstore.NewSessionID("a session")
			issue.SessionID = session
			issue.Device.InitialIP = "192.0.2.1"
			return err
		},
	})}
	provider, err := op.NewProvider(&op.Config{GrantTypeRefreshToken: true, CodeMethodS256: true}, storage,
		op.StaticIssuer("https://accounts.example.com"), op.WithHttpInterceptors(zitadel.Interceptor))
	if err != nil {
		panic(err)
	}
	introspection, err := oauth.NewIntrospection(tokens, zitadel.Clients(provider), nil)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.Handle("POST /oauth/introspect/refresh-token", introspection)
	panic(http.ListenAndServe("localhost:9998", mux))
}
