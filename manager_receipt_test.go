package tokenstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

// TestReceipt: who asked for a revocation, when and why, how far it has come and what it came to, while it is pending and
// afterwards, wherever it is asked for.
func TestReceipt(t *testing.T) {
	onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
		const tokens, reached = 25, 20
		for i := range tokens {
			req := request("ann")
			if i >= reached {
				req.ClientID = "web"
			}
			r.issue(req)
			r.wait(time.Millisecond) // so that ids ascend in the order of issue
		}
		asked := r.now
		receipt, err := r.Revoke(t.Context(), tokenstore.RevokeRequest{
			ID: ulid.Make(), Targets: []tokenstore.Target{{UserID: "ann", ClientID: "app"}}, Reason: "lost phone", Actor: "help desk",
		})
		if err != nil {
			t.Fatal(err)
		}
		// check compares what is told of the revocation, of which there is no other.
		check := func(stage string, got tokenstore.Status, swept, examined int, retiredAt time.Time) {
			t.Helper()
			tombstone := got.Tombstone
			same := tombstone.ID == receipt.ID() && tombstone.SameTargets(receipt.Status.Tombstone.Targets) &&
				tombstone.Reason == "lost phone" && tombstone.Actor == "help desk" && tombstone.Time.Equal(asked) && tombstone.Watermark == tokens+1
			if !same || int(got.Swept) != swept || int(got.Examined) != examined || got.Retired == retiredAt.IsZero() || !got.RetiredAt.Equal(retiredAt) {
				t.Errorf("%s: %+v; want %d swept of %d, retired at %v", stage, got, swept, examined, retiredAt)
			}
		}
		everywhere := func(stage string, swept, examined int, retiredAt time.Time) {
			t.Helper()
			status, err := r.Revocation(t.Context(), receipt.ID())
			if err != nil {
				t.Fatal(err)
			}
			check(stage+", looked up", status, swept, examined, retiredAt)
			for _, retired := range []bool{false, true} {
				page, err := r.Revocations(t.Context(), tokenstore.RevocationsRequest{Retired: retired})
				switch here := retired != retiredAt.IsZero(); {
				case err != nil || here != (len(page.Revocations) == 1):
					t.Errorf("%s: %d listed, retired %t, %v", stage, len(page.Revocations), retired, err)
				case here:
					check(stage+", listed", page.Revocations[0], swept, examined, retiredAt)
				}
			}
		}
		check("receipt", receipt.Status, 0, 0, time.Time{})
		everywhere("pending", 0, 0, time.Time{})
		r.wait(time.Minute)
		r.slice(receipt, 7)
		everywhere("after a slice", 7, 7, time.Time{})
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Wait(ended, receipt); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait: %v, want that the context has ended", err)
		}
		r.wait(time.Minute)
		check("waited for", r.run(receipt)[0], reached, tokens, r.now)
		everywhere("retired", reached, tokens, r.now)
		if again, err := r.Wait(t.Context(), receipt); err != nil || again.Swept != reached {
			t.Errorf("waited for once more, with no engine: %+v, %v", again, err)
		}
	})
}
