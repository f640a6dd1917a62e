package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
)

// The program of docs/getting-started.md. It ends in order: first what is served, then the sweep, then the file.
func host(ctx context.Context, file string, serve func(context.Context, *tokenstore.Manager) error) error {
	backend, err := boltstore.Open(file, nil)
	if err != nil {
		return err
	}
	tokens, err := tokenstore.New(backend, nil)
	if err != nil {
		return errors.Join(err, backend.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	swept := make(chan error, 1)
	go func() { swept <- tokens.Run(ctx) }()

	err = serve(ctx, tokens) // until ctx ends, or it fails
	stop()
	return errors.Join(err, <-swept, backend.Close())
}

// A token that was issued before a restart is exchanged after it.
func ExampleManager_Run() {
	dir, err := os.MkdirTemp("", "tokenstore-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "tokens.db")

	var told string // what the client was told
	err = host(context.Background(), file, func(ctx context.Context, tokens *tokenstore.Manager) error {
		session := tokenstore.MustSessionID("session-1") // of the login; SessionID{} is for legacy tokens only
		issued, err := tokens.Issue(ctx, tokenstore.IssueRequest{UserID: "ada", ClientID: "web", SessionID: session})
		if err != nil {
			return err
		}
		told = issued.Secret.Reveal() // fmt and log would show [secret]
		return nil
	})
	fmt.Println("first:", err)
	err = host(context.Background(), file, func(ctx context.Context, tokens *tokenstore.Manager) error {
		next, err := tokens.Exchange(ctx, tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(told), ClientID: "web"})
		if err != nil {
			return err // errors.Is(err, tokenstore.ErrInvalidGrant) if it is refused
		}
		fmt.Println("generation:", next.Token.Generation)
		return nil
	})
	fmt.Println("second:", err)
	// Output:
	// first: <nil>
	// generation: 1
	// second: <nil>
}
