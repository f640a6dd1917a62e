package tokenstore_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
)

// A client goes on with the secret that another system gave it: its table had a SHA-256 of it.
func ExampleManager_Import_foreignSecret() {
	ctx := context.Background()
	manager, err := tokenstore.New(memstore.New(), nil)
	if err != nil {
		log.Fatal(err)
	}
	digest, err := tokenstore.ParseForeignDigest("663f0c98b4529149279ddddab1484582962cb1141b8542874418156750d52ae1")
	if err != nil {
		log.Fatal(err)
	}
	_, err = manager.Import(ctx, []tokenstore.RefreshToken{{
		ForeignID: "row-17", UserID: "ann", ClientID: "app", SessionID: tokenstore.MustSessionID("s1"),
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Rotating: true, ForeignDigest: digest,
	}})
	if err != nil {
		log.Fatal(err)
	}
	out, err := manager.Exchange(ctx, tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret("kX9-an-opaque-secret"), ClientID: "app"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out.Token.ForeignID, out.Token.Generation, out.Secret.Reveal()[:4])
	// Output: row-17 1 rts_
}
