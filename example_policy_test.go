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

// Whatever the cause of a refusal, a client is told the same.
func ExampleForClient() {
	fmt.Printf("%+v\n", tokenstore.ForClient(tokenstore.ErrReused))
	fmt.Printf("%+v\n", tokenstore.ForClient(tokenstore.ErrMalformed))
	// Output:
	// {Code:invalid_grant Description:Unknown or invalid refresh token. Status:400}
	// {Code:invalid_grant Description:Unknown or invalid refresh token. Status:400}
}
