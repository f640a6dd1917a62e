package tokenstore_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
)

// A policy by client: the mobile app's tokens live longer, and a user has at most two of them.
func ExampleClientPolicy() {
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	tokens, err := tokenstore.New(memstore.New(), &tokenstore.Options{
		Client: func(clientID string) tokenstore.ClientPolicy {
			if clientID == "mobile" {
				return tokenstore.ClientPolicy{Lifetime: tokenstore.Lifetime(2 * 365 * 24 * time.Hour), Cap: 2}
			}
			return tokenstore.ClientPolicy{}
		},
		Evicted: func(_ string, token tokenstore.RefreshToken) {
			fmt.Println("signed out of", token.Device.InitialUserAgent)
		},
	})
	check(err)
	for _, phone := range []string{"the first phone", "the second phone", "the third phone"} {
		_, err := tokens.Issue(context.Background(), tokenstore.IssueRequest{
			UserID: "ada", ClientID: "mobile", SessionID: tokenstore.MustSessionID(phone),
			Device: tokenstore.Device{InitialUserAgent: phone},
		})
		check(err)
	}
	// Output:
	// signed out of the first phone
}

// A token that is bound to a key is of no use to who has only its secret (RFC 9449 §5). The host verifies the sender's proof,
// and says whose it was.
func ExampleConfirmation() {
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	ctx := context.Background()
	tokens, err := tokenstore.New(memstore.New(), nil)
	check(err)
	key := tokenstore.Confirmation{Kind: "jkt", Value: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}
	issued, err := tokens.Issue(ctx, tokenstore.IssueRequest{
		UserID: "ada", ClientID: "web", SessionID: tokenstore.MustSessionID("session-1"), Confirmation: key,
	})
	check(err)
	_, err = tokens.Exchange(ctx, tokenstore.ExchangeRequest{Secret: issued.Secret, ClientID: "web"})
	fmt.Println(err)
	next, err := tokens.Exchange(ctx, tokenstore.ExchangeRequest{Secret: issued.Secret, ClientID: "web", Confirmation: key})
	check(err)
	fmt.Println("generation", next.Token.Generation, "is bound to the same key:", next.Token.Confirmation == key)
	// Output:
	// tokenstore: refused: confirmation
	// generation 1 is bound to the same key: true
}

// Rotation is switched on for a client whose tokens were issued without: each keeps its id, and begins to rotate when it is
// next exchanged.
func ExampleRotation() {
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	ctx := context.Background()
	var policy tokenstore.ClientPolicy
	tokens, err := tokenstore.New(memstore.New(), &tokenstore.Options{
		Client: func(string) tokenstore.ClientPolicy { return policy },
	})
	check(err)
	issued, err := tokens.Issue(ctx, tokenstore.IssueRequest{
		UserID: "ada", ClientID: "web", SessionID: tokenstore.MustSessionID("session-1"), Static: true,
	})
	check(err)
	policy.Rotation = tokenstore.RotationOn
	next, err := tokens.Exchange(ctx, tokenstore.ExchangeRequest{Secret: issued.Secret, ClientID: "web"})
	check(err)
	fmt.Println("generation", next.Token.Generation, "of the same token:", next.Token.ID == issued.Token.ID)
	// Output:
	// generation 1 of the same token: true
}

// Whatever the cause of a refusal, a client is told the same.
func ExampleForClient() {
	fmt.Printf("%+v\n", tokenstore.ForClient(tokenstore.ErrReused))
	fmt.Printf("%+v\n", tokenstore.ForClient(tokenstore.ErrMalformed))
	// Output:
	// {Code:invalid_grant Description:Unknown or invalid refresh token. Status:400}
	// {Code:invalid_grant Description:Unknown or invalid refresh token. Status:400}
}
