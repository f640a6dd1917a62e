package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
)

// The program of the README; a test keeps the two equal.
func Example() {
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	tokens, err := tokenstore.New(memstore.New(), nil)
	check(err)
	go tokens.Run(ctx) // sweeps what has been revoked, until ctx ends

	session := tokenstore.MustSessionID("session-1")
	issued, err := tokens.Issue(ctx, tokenstore.IssueRequest{UserID: "ada", ClientID: "web", SessionID: session})
	check(err)
	next, err := tokens.Exchange(ctx, tokenstore.ExchangeRequest{Secret: issued.Secret, ClientID: "web"})
	check(err)
	fmt.Println("generation:", next.Token.Generation)

	receipt, err := tokens.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ada"}}})
	check(err)
	_, err = tokens.Exchange(ctx, tokenstore.ExchangeRequest{Secret: next.Secret, ClientID: "web"})
	fmt.Println("refused:", errors.Is(err, tokenstore.ErrInvalidGrant))

	status, err := tokens.Wait(ctx, receipt)
	check(err)
	fmt.Println("swept:", status.Swept)
	// Output:
	// generation: 1
	// refused: true
	// swept: 1
}
