package crashtest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

// Heard is what is known of a file from what [Work] said before it ended. It is the oracle: what has been acknowledged, by the
// order of the lines, and never what the file says of itself.
type Heard struct {
	Silent bool // the job is silent: there are no events of what was issued

	tokens      map[ulid.ULID]*token
	revocations map[ulid.ULID]*revocation
	trimmed     time.Time // what is older may have been forgotten
	acked       int
	lines       int
}

type token struct {
	token      tokenstore.RefreshToken
	line       int               // when it was acknowledged
	secret     tokenstore.Secret // the last one that was acknowledged; an imported token has none
	exchanging bool              // an exchange was under way at the end
	imported   bool
	gone       bool // it was seen to be revoked
}

type revocation struct {
	target    tokenstore.Target
	line      int    // when it was asked for
	watermark uint64 // 0: not acknowledged
}

// NewHeard has heard nothing of this round. Before is what was heard of the same file in the rounds before, or nil.
func NewHeard(before *Heard) *Heard {
	h := &Heard{tokens: map[ulid.ULID]*token{}, revocations: map[ulid.ULID]*revocation{}}
	if before != nil {
		h.trimmed = before.trimmed
	}
	return h
}

// Acknowledged is how many operations were.
func (h *Heard) Acknowledged() int { return h.acked }

// Line takes in one line. What is not a whole line was never said.
func (h *Heard) Line(t testing.TB, line string) {
	t.Helper()
	f := strings.Fields(line)
	h.lines++
	if f[0] == "trim" {
		h.trimmed = time.Unix(0, number[int64](t, f[1]))
		return
	}
	id := ulid.MustParse(f[1])
	switch f[0] {
	case "issued", "imported":
		h.acked++
		heard := &token{line: h.lines, imported: f[0] == "imported", token: tokenstore.RefreshToken{
			ID: id, UserID: f[2], ClientID: f[3], SessionID: tokenstore.MustSessionID(f[4]), Sequence: number[uint64](t, f[5]),
		}}
		if !heard.imported {
			heard.secret = tokenstore.NewSecret(f[6])
		}
		h.tokens[id] = heard
	case "exchange":
		if token := h.tokens[id]; token != nil {
			token.exchanging = true
		}
	case "exchanged":
		h.acked++
		h.tokens[id].secret, h.tokens[id].exchanging = tokenstore.NewSecret(f[2]), false
	case "gone":
		h.tokens[id].gone = true
	case "revoke":
		h.revocations[id] = &revocation{target: target(f[2], f[3]), line: h.lines}
	case "revoked":
		h.acked++
		h.revocations[id].watermark = number[uint64](t, f[2])
	default:
		t.Fatalf("not a line of Work's: %q", f[0])
	}
}

func number[T int64 | uint64](t testing.TB, text string) T {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return T(n)
}

// fate says what must have become of a token: "covered", "live", or "" where that depends on what was under way.
func (h *Heard) fate(token *token) string {
	if token.gone {
		return "covered"
	}
	fate := "live"
	for _, r := range h.revocations {
		// The audience is not in the lines: whatever a revocation by audience may have reached is left open.
		matches := r.target.Audience != "" || r.target.Matches(&token.token)
		switch {
		case !matches:
		case r.watermark == 0 || r.target.Audience != "":
			fate = ""
		case token.line < r.line: // it was acknowledged before the revocation began
			return "covered"
		case token.token.Sequence == 0: // it may have come after the revocation, and was swept for another one
			fate = ""
		case token.token.Sequence <= r.watermark: // they were under way at once, and this is how they were ordered
			return "covered"
		}
	}
	return fate
}
