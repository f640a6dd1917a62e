package tokenstore_test

import (
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
)

// TestS4LoginBeforeRevocation: a grant that stems from before a revocation is refused, pending or swept or forgotten. By
// sequence that is exact. By time it is refused up to the skew after the revocation, and no longer.
func TestS4LoginBeforeRevocation(t *testing.T) {
	onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
		r.issue(request("ann"))
		before := r.state().Sequence
		r.wait(time.Minute + 7)
		receipt := r.revoke(tokenstore.Target{UserID: "ann"})
		after, at := r.state().Sequence, receipt.Status.Tombstone.Time
		r.wait(time.Hour)
		points := []struct {
			name string
			asOf tokenstore.AsOf
			ok   bool
		}{
			{"long before by sequence", tokenstore.AsOfSequence(0), false},
			{"just before by sequence", tokenstore.AsOfSequence(before), false},
			{"just after by sequence", tokenstore.AsOfSequence(after), true},
			{"before by time", tokenstore.AsOfTime(at.Add(-time.Minute), 0), false},
			{"at it by time", tokenstore.AsOfTime(at, 0), false},
			{"just after by time", tokenstore.AsOfTime(at.Add(1), 0), true},
			{"within the skew", tokenstore.AsOfTime(at.Add(time.Minute-1), time.Minute), false},
			{"at the end of the skew", tokenstore.AsOfTime(at.Add(time.Minute), time.Minute), false},
			{"just after the skew", tokenstore.AsOfTime(at.Add(time.Minute+1), time.Minute), true},
			{"a skew below zero, at it", tokenstore.AsOfTime(at, -time.Minute), false},
			{"a skew below zero, just after", tokenstore.AsOfTime(at.Add(1), -time.Minute), true},
			{"now", tokenstore.AsOf{}, true},
		}
		check := func(stage string, cause tokenstore.Refusal) {
			for _, p := range points {
				req := request("ann")
				req.AsOf = p.asOf
				_, err := r.Issue(t.Context(), req)
				if p.ok != (err == nil) {
					t.Errorf("%s, %s: %v", stage, p.name, err)
				}
				if err != nil {
					wantRefusal(t, err, cause)
				}
			}
			other := request("bob")
			other.AsOf = tokenstore.AsOfSequence(before)
			if _, err := r.Issue(t.Context(), other); (err == nil) != (cause == tokenstore.ErrRevoked) {
				t.Errorf("%s, another user: %v", stage, err) // who is refused only where nobody knows any more whom it concerned
			}
		}
		check("pending", tokenstore.ErrRevoked)
		r.run(receipt)
		check("swept", tokenstore.ErrRevoked)
		st, err := r.spy.Tenant("default")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Trim(t.Context(), store.Trim{Guards: at, Limit: 100}); err != nil {
			t.Fatal(err)
		}
		check("as old as what is forgotten", tokenstore.ErrRevoked)
		if _, err := st.Trim(t.Context(), store.Trim{Guards: at.Add(1), Limit: 100}); err != nil {
			t.Fatal(err)
		}
		check("forgotten", tokenstore.ErrBeyondMemory)
	})
}
