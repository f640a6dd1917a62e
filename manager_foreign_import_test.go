package tokenstore_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
)

// TestImportedIdleLifetimeIsRenewed: of the idle lifetime an import brings the end alone. The options say how long it is from then on.
func TestImportedIdleLifetimeIsRenewed(t *testing.T) {
	r := newRig(t, tokenstore.Options{IdleLifetime: tokenstore.Lifetime(20 * time.Minute)})
	token := withSecret("f-1", "ann", opaque, r.now.Add(-time.Hour))
	token.IdleExpiresAt = r.now.Add(5 * time.Minute)
	r.brought(token)
	r.wait(4 * time.Minute)
	got, err := r.tryText(opaque)
	if want := r.now.Add(20 * time.Minute); err != nil || !got.Token.IdleExpiresAt.Equal(want) {
		t.Errorf("the idle lifetime ends at %v, %v; want %v", got.Token.IdleExpiresAt, err, want)
	}
}

func TestImportForeignDigests(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	token := withSecret("f-1", "ann", opaque, r.now.Add(-time.Hour))
	bare, otherSecret, otherToken := token, token, withSecret("f-2", "bob", opaque, r.now)
	bare.ForeignDigest = tokenstore.Digest{}
	otherSecret.ForeignDigest = tokenstore.DigestForeign("another")
	own := withSecret("f-3", "bob", "3", r.now)
	own.SecretDigest = tokenstore.Digest{1}
	weak, weakened := foreign("f-4", "bob", r.now), token
	weak.ForeignWeak, weakened.ForeignWeak = true, true
	for i, result := range r.bring(token, token, bare, otherSecret, otherToken, own, weak, withSecret("f-5", "bob", "5", r.now), weakened) {
		want := []error{nil, nil, nil, tokenstore.ErrExists, tokenstore.ErrDigestTaken, tokenstore.ErrInvalid, tokenstore.ErrInvalid, nil, tokenstore.ErrExists}[i]
		outcome := []tokenstore.ImportOutcome{0, 1, 1, 2, 2, 2, 2, 0, 2}[i]
		if !errors.Is(result.Err, want) || result.Outcome != outcome {
			t.Errorf("%d: %+v, want outcome %d, %v", i, result, outcome, want)
		}
	}
	other, err := r.Tenant("other", nil)
	if err != nil {
		t.Fatal(err)
	}
	if results, err := other.Import(t.Context(), []tokenstore.RefreshToken{otherToken}); err != nil || results[0].Outcome != tokenstore.Imported {
		t.Errorf("a secret of another tenant: %+v, %v", results, err)
	}
}

// TestImportLinesWithForeignDigests: a line may say what is known of the secret that the token had elsewhere.
func TestImportLinesWithForeignDigests(t *testing.T) {
	const line = `{"id":"f-%d","user_id":"ann","client_id":"app","session_id":"s","created_at":"2026-11-01T00:00:00Z","rotating":true,%s}` + "\n"
	hexed := hex.EncodeToString(sha256Of(opaque))
	for name, c := range map[string]struct {
		rest  string
		field string // what it is refused for, or none
		weak  bool
	}{
		"a strong secret":     {`"foreign_digest":"` + hexed + `"`, "", false},
		"said to be strong":   {`"foreign_digest":"` + hexed + `","foreign_entropy":128`, "", false},
		"a weak secret":       {`"foreign_digest":"` + hexed + `","foreign_entropy":127`, "", true},
		"a salted digest":     {`"foreign_digest":"$2b$10$abcdefghijklmnopqrstuv"`, "foreign_digest", false},
		"no text":             {`"foreign_digest":7`, "foreign_digest", false},
		"entropy of nothing":  {`"foreign_entropy":128`, "foreign_entropy", false},
		"an empty digest":     {`"foreign_digest":""`, "foreign_digest", false},
		"null is not to give": {`"foreign_digest":null`, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tokenstore.Options{})
			report, refused := r.ndjson(fmt.Sprintf(line, 1, c.rest), tokenstore.ImportOptions{})
			if c.field != "" {
				if len(refused) != 1 || report.Imported != 0 {
					t.Fatalf("%+v, refused %+v", report, refused)
				}
				wantField(t, refused[0].Err, c.field)
				return
			}
			live := r.live("ann")
			if len(live) != 1 || live[0].ForeignWeak != c.weak {
				t.Fatalf("%+v, refused %+v", live, refused)
			}
			_, err := r.tryText(opaque)
			if known := strings.Contains(c.rest, hexed); (err == nil) != known {
				t.Errorf("the secret: %v", err)
			}
		})
	}
}

func sha256Of(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}
