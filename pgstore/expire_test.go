package pgstore_test

import (
	"fmt"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// What is expired and somebody else holds is his to remove: whoever calls Expire again while Next is not after his instant comes to an
// end meanwhile, with all else removed. If it is let go and still there, it is found again.
func TestExpirePassesByWhatIsHeld(t *testing.T) {
	const expired, live = 4, 1 // further tokens than the held one
	for _, mode := range modes {
		for _, slice := range []int{1, 100} {
			t.Run(fmt.Sprintf("%s in slices of %d", mode.name, slice), func(t *testing.T) {
				s := newStage(t, mode.opts, "")
				now := base.Add(time.Hour)
				var rows []store.Insertion
				for n := range byte(1 + expired + live) {
					token := domain.RefreshToken{
						ID: ulid.ULID{15: 10 + n}, UserID: "user", ClientID: "client", CreatedAt: base, ExpiresAt: base.Add(time.Duration(n+1) * time.Minute),
					}
					if n > expired {
						token.ExpiresAt = now.Add(time.Hour)
					}
					rows = append(rows, store.Insertion{Token: token})
				}
				if _, err := s.store.Insert(t.Context(), rows); err != nil {
					t.Fatal(err)
				}
				// expire calls Expire as the engine does, and returns how much it removed, and when it is told to come again.
				expire := func() (removed int, next time.Time) {
					for range 2*expired + 2 {
						done, err := s.store.Expire(t.Context(), store.Bounds{Visit: slice, Remove: slice, Now: now})
						if err != nil {
							t.Fatal(err)
						}
						removed += done.Removed
						if done.Next.IsZero() || done.Next.After(now) {
							return removed, done.Next
						}
					}
					t.Fatal("Expire is called over and over for what somebody else holds")
					return
				}
				letGo := s.hold(`select from tokenstore.tokens where id = $1 for update`, [16]byte(rows[0].Token.ID)) // the first that is due
				for _, want := range []int{expired, 0} {
					if removed, next := expire(); removed != want || !next.After(now) || next.After(now.Add(time.Second)) {
						t.Errorf("%d removed, and to be called again %v later: want %d, and soon", removed, next.Sub(now), want)
					}
				}
				letGo()
				if removed, next := expire(); removed != 1 || !next.Equal(now.Add(time.Hour)) {
					t.Errorf("%d removed, and to be called again %v later: want what was let go, and when the live one ends", removed, next.Sub(now))
				}
			})
		}
	}
}
