package fosite_test

import (
	"context"
	"fmt"

	"example.com/tokenstore"
	adapter "example.com/tokenstore/integrations/fosite"
	"example.com/tokenstore/memstore"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"
)

// An authorization server whose refresh tokens are in a tokenstore, and all else in fosite's own store.
func Example() {
	tokens, err := tokenstore.New(memstore.New(), nil)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go tokens.Run(ctx) // sweeps what has been revoked

	database := storage.NewMemoryStore()
	refresh, err := adapter.New(tokens, database, &adapter.Options{
		Issue: func(ctx context.Context, request fosite.Requester, issue *tokenstore.IssueRequest) error {
			issue.Device.InitialIP = "192.0.2.1" // out of the context
			return nil
		},
		Replayed: database.RevokeAccessToken,
	})
	if err != nil {
		panic(err)
	}
	config := &fosite.Config{GlobalSecret: []byte("a secret of thirty-two bytes....")}
	// Both halves, or none. MemoryStore and CommonStrategy have refresh tokens of their own, which those of the adapter must
	// hide: they stand one level deeper, in types of their own (memory and common in this file's package).
	provider := compose.Compose(config,
		hostStorage{memory{database}, refresh},
		hostStrategy{common{&compose.CommonStrategy{CoreStrategy: compose.NewOAuth2HMACStrategy(config)}}, refresh},
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory, compose.OAuth2RefreshTokenGrantFactory,
		compose.OAuth2TokenRevocationFactory, compose.OAuth2TokenIntrospectionFactory)
	fmt.Println(provider != nil)
	// Output: true
}
