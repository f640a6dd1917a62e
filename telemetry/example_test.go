package telemetry_test

import (
	"context"
	"fmt"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"example.com/tokenstore/telemetry"
)

// What a host does, as docs/observability.md shows it.
func Example() {
	fmt.Println(host(context.Background(), memstore.New()))
	// Output: <nil>
}

func host(ctx context.Context, backend store.Backend) error {
	t, err := telemetry.New(nil) // the global providers
	if err != nil {
		return err
	}
	opts := tokenstore.Options{}
	t.Hook(&opts)
	manager, err := tokenstore.New(t.Backend(backend), &opts)
	if err != nil {
		return err
	}
	gauges, err := t.Gauges(manager, backend)
	if err != nil {
		return err
	}
	defer gauges.Unregister()

	_, err = manager.Issue(ctx, tokenstore.IssueRequest{UserID: "ann", ClientID: "web", SessionID: tokenstore.MustSessionID("s")})
	return err
}
