package cluster_test

import (
	"testing"

	"example.com/tokenstore/domain"
)

// A reader that spares itself the look at what is pending, since nothing was written for long, must be told of the next revocation of
// another process.
func TestCalmReaderHearsOfRevocation(t *testing.T) {
	b := newBetween(t)
	var tokens []domain.RefreshToken
	for _, user := range []string{"a", "b", "c", "d"} {
		tokens = append(tokens, b.token(user))
	}
	b.insert(b.quick, rows(domain.AsOf{}, tokens...))
	read := func(i int, revoked bool) {
		t.Helper()
		v, err := b.slow.Get(t.Context(), tokens[i].ID)
		must(t, err)
		if v.Revoked() != revoked {
			t.Errorf("got a token that is revoked %t, want %t", v.Revoked(), revoked)
		}
	}
	for revoked := range tokens {
		b.alone.Store(0)
		for range 100 {
			read(revoked, false)
		}
		if b.alone.Load() == 0 {
			t.Error("nothing was written for long, and no request was for the token alone")
		}
		b.revoke(b.quick, domain.Target{UserID: tokens[revoked].UserID})
		read(revoked, true)
		for range 100 {
			for i := range tokens {
				read(i, i <= revoked)
			}
		}
	}
}
