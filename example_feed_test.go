package tokenstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/caep"
	"example.com/tokenstore/memstore"
)

// The reader of docs/feed.md; a test keeps the two equal.
//
// transmit follows the feed from the cursor on, and hands over the claims of a security event token for each session that has
// been revoked. Each cursor is kept once its event has been dealt with.
func transmit(ctx context.Context, tokens *tokenstore.Manager, cursor uint64, send func(caep.Claims) error, keep func(cursor uint64) error) error {
	for event, err := range tokens.Follow(ctx, cursor) {
		if errors.Is(err, tokenstore.ErrCursorGone) { // a CursorGoneError, which has where to resume
			return fmt.Errorf("take stock anew: %w", err)
		}
		if err != nil {
			return err // that of ctx, too
		}
		claims, err := caep.FromEvent(event, caep.Envelope{Issuer: "https://login.example.com/"})
		if err != nil {
			return err
		}
		for _, c := range claims {
			if err := send(c); err != nil { // it is sent again after the next start
				return err
			}
		}
		if err := keep(event.Number); err != nil {
			return err
		}
	}
	return nil
}

// Every revocation becomes a security event token, and the cursor goes on only when it has been sent.
func ExampleManager_Follow() {
	tokens, err := tokenstore.New(memstore.New(), &tokenstore.Options{
		Now: func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	_, err = tokens.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ada"}}, Reason: "lost phone"})
	if err != nil {
		log.Fatal(err)
	}
	err = transmit(ctx, tokens, 0, func(c caep.Claims) error {
		subject, err := json.Marshal(c.Subject)
		fmt.Println(string(subject))
		return err
	}, func(cursor uint64) error {
		fmt.Println("cursor:", cursor)
		stop() // or it would wait for more
		return nil
	})
	fmt.Println(err)
	// Output:
	// {"format":"iss_sub","iss":"https://login.example.com/","sub":"ada"}
	// cursor: 1
	// context canceled
}
