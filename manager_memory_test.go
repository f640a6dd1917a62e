package tokenstore_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/revocation"
)

// TestMemoryIsBounded: what is remembered of revocations grows with the number of what was revoked in MemoryFor and
// HistoryFor, and not with the years.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := memstore.New()
		defer backend.Close()
		m, err := tokenstore.New(backend, &tokenstore.Options{
			Legacy: tokenstore.LegacyRule{CutOff: date("1999-01-01")}, // virtual time begins in 2000
			Engine: revocation.Options{MemoryFor: 48 * time.Hour, HistoryFor: 24 * time.Hour, PollEvery: time.Hour, ExpireEvery: -1},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		for hour := range 100 * 24 {
			for _, user := range []string{"always", fmt.Sprint("user-", hour)} {
				if _, err := m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: user}}}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			state, err := m.State(ctx)
			if err != nil || state.Guards > 51 || state.History > 52 || state.Pending > 0 {
				t.Fatalf("after %d hours there are %+v, %v", hour, state, err)
			}
		}
	})
}
