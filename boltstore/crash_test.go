package boltstore_test

import (
	"bufio"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"github.com/oklog/ulid/v2"
)

// crashRounds is how often a child is killed: CRASH_ROUNDS, or 200.
func crashRounds(t testing.TB) int {
	t.Helper()
	text := os.Getenv("CRASH_ROUNDS")
	switch {
	case text == "" && testing.Short():
		return 20
	case text == "":
		return 200
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("CRASH_ROUNDS must be a positive number: got %q", text)
	}
	return n
}

// crashed is what is known of a file from what the child said before it was killed. It is the oracle: what has been
// acknowledged, by the order of the lines, and never what the file says of itself.
type crashed struct {
	tokens      map[ulid.ULID]*crashToken
	revocations map[ulid.ULID]*crashRevocation
	acked       int
	lines       int
}

type crashToken struct {
	token      tokenstore.RefreshToken
	line       int               // when it was acknowledged
	secret     tokenstore.Secret // the last one that was acknowledged
	exchanging bool              // an exchange was under way when the child was killed
}

type crashRevocation struct {
	target    tokenstore.Target
	line      int    // when it was asked for
	watermark uint64 // 0: not acknowledged
}

// hear takes in one line of the child's.
func (c *crashed) hear(t testing.TB, line string) {
	t.Helper()
	f := strings.Fields(line)
	id := ulid.MustParse(f[1])
	c.acked++
	c.lines++
	switch f[0] {
	case "issued":
		sequence, err := strconv.ParseUint(f[5], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		c.tokens[id] = &crashToken{line: c.lines, secret: tokenstore.NewSecret(f[6]), token: tokenstore.RefreshToken{
			ID: id, UserID: f[2], ClientID: f[3], SessionID: tokenstore.MustSessionID(f[4]), Sequence: sequence,
		}}
	case "exchange":
		c.acked--
		if token := c.tokens[id]; token != nil {
			token.exchanging = true
		}
	case "exchanged":
		c.tokens[id].secret, c.tokens[id].exchanging = tokenstore.NewSecret(f[2]), false
	case "revoke":
		c.acked--
		c.revocations[id] = &crashRevocation{target: crashTarget(f[2], f[3]), line: c.lines}
	case "revoked":
		watermark, err := strconv.ParseUint(f[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		c.revocations[id].watermark = watermark
	default:
		t.Fatalf("the child said %q", f[0])
	}
}

// TestCrash kills a process again and again while it issues, exchanges, revokes and sweeps, and holds what it had
// acknowledged against the file that it leaves behind.
func TestCrash(t *testing.T) {
	rounds := crashRounds(t)
	path := temporary(t)
	kills, acked := 0, 0
	defer func() {
		t.Attr("kills", strconv.Itoa(kills))
		t.Attr("operations", strconv.Itoa(acked))
	}()
	for round := range rounds {
		c := crashed{tokens: map[ulid.ULID]*crashToken{}, revocations: map[ulid.ULID]*crashRevocation{}}
		runAndKill(t, path, &c)
		acked += c.acked
		c.check(t, path)
		if t.Failed() {
			t.Fatalf("failed in round %d", round)
		}
		kills++
		if err := os.Remove(path); round%20 == 19 && err != nil { // so that a round takes no longer than the one before
			t.Fatal(err)
		}
	}
	t.Logf("killed %d times; %d operations had been acknowledged, and none was lost", rounds, acked)
}

// runAndKill lets a child work until it has said a random number of things, and kills it at some instant after.
func runAndKill(t *testing.T, path string, c *crashed) {
	t.Helper()
	cmd := child(t, bounded(t, time.Minute), "crash", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	killed := false
	for n, after := 0, 1+rand.IntN(250); ; n++ {
		if n == after {
			spin(n)
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what is not a whole line was never said
		}
		c.hear(t, line)
	}
	_ = cmd.Wait()
	if !killed {
		t.Fatal("the child ended by itself")
	}
}

// check opens what is left and looks for everything that was acknowledged.
func (c *crashed) check(t *testing.T, path string) {
	t.Helper()
	ctx := bounded(t, time.Minute)
	b, err := boltstore.Open(path, nil)
	if err != nil {
		t.Fatalf("S5: the file must open after a crash: got %v", err)
	}
	defer shut(t, b)
	wantClean(t, b)
	m, err := tokenstore.New(b, crashOptions())
	if err != nil {
		t.Fatal(err)
	}
	c.wantEvents(ctx, t, m)
	var live []*crashToken
	for _, token := range c.tokens {
		switch c.fate(token) {
		case "covered":
			c.wantRefused(ctx, t, m, token, "S1: a token covered by an acknowledged revocation must be refused")
		case "live":
			live = append(live, token)
			c.wantLive(ctx, t, m, token)
		}
	}
	c.converge(ctx, t, m)
	for _, token := range live {
		if _, err := m.Get(ctx, token.token.ID, tokenstore.Fenced); err != nil {
			t.Errorf("S2: a token that no revocation covers must survive the sweep: got %v", err)
		}
	}
	for _, token := range c.tokens {
		if c.fate(token) != "covered" {
			continue
		}
		if _, err := m.Get(ctx, token.token.ID, tokenstore.Eventual); !errors.Is(err, tokenstore.ErrNotFound) {
			t.Errorf("L1: a covered token must be swept: got error %v", err)
		}
	}
	wantClean(t, b)
}

// wantEvents reads the feed: of what was acknowledged there must be an event, and of a revocation one if and only if it is
// there.
func (c *crashed) wantEvents(ctx context.Context, t *testing.T, m *tokenstore.Manager) {
	t.Helper()
	issued, revoked := map[ulid.ULID]int{}, map[ulid.ULID]int{}
	for after := uint64(0); ; {
		page, err := m.Feed(ctx, tokenstore.FeedRequest{After: after, Limit: 100})
		if err != nil {
			t.Fatalf("F1: the feed must be read: got %v", err)
		}
		for _, e := range page.Events {
			switch e.Kind {
			case tokenstore.KindIssued:
				issued[e.Tokens[0].ID]++
			case tokenstore.KindRevoked:
				revoked[e.Revocation]++
			}
		}
		if after = page.Next; after == page.Last {
			break
		}
	}
	for id := range c.tokens {
		if issued[id] != 1 {
			t.Errorf("F1: there must be one event of an acknowledged issue: got %d", issued[id])
		}
	}
	for id := range c.revocations {
		_, err := m.Revocation(ctx, id)
		want := 1
		if errors.Is(err, tokenstore.ErrNotFound) {
			want = 0
		}
		if revoked[id] != want {
			t.Errorf("F1: there must be an event of a revocation if and only if it is there: got %d, and %v", revoked[id], err)
		}
		delete(revoked, id)
	}
	for id := range revoked { // of rounds before
		if _, err := m.Revocation(ctx, id); err != nil {
			t.Errorf("F1: there must be no event of a revocation that is not there: got %v", err)
		}
	}
}

// fate says what must have become of a token: "covered", "live", or "" where a revocation was under way.
func (c *crashed) fate(token *crashToken) string {
	fate := "live"
	for _, r := range c.revocations {
		// The audience is not in the lines: whatever a revocation by audience may have reached is left open.
		matches := r.target.Audience != "" || r.target.Matches(&token.token)
		switch {
		case !matches:
		case r.watermark == 0 || r.target.Audience != "":
			if fate == "live" {
				fate = ""
			}
		case token.line < r.line: // it was acknowledged before the revocation began
			return "covered"
		case token.token.Sequence <= r.watermark: // they were under way at once, and this is how they were ordered
			return "covered"
		}
	}
	return fate
}

func (c *crashed) exchange(ctx context.Context, m *tokenstore.Manager, token *crashToken) (tokenstore.Exchanged, error) {
	return m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: token.secret, ClientID: token.token.ClientID})
}

func (c *crashed) wantRefused(ctx context.Context, t *testing.T, m *tokenstore.Manager, token *crashToken, what string) {
	t.Helper()
	if _, err := c.exchange(ctx, m, token); !errors.Is(err, tokenstore.ErrInvalidGrant) {
		t.Errorf("%s: got error %v", what, err)
	}
}

// wantLive exchanges the last secret that was acknowledged, twice: an exchange that was under way may have been committed,
// and then the first answer is the one that was lost.
func (c *crashed) wantLive(ctx context.Context, t *testing.T, m *tokenstore.Manager, token *crashToken) {
	t.Helper()
	for range 2 {
		next, err := c.exchange(ctx, m, token)
		if err != nil {
			t.Errorf("S5: the latest acknowledged secret of a live token must be exchanged: got %v", err)
			return
		}
		if next.Retried && !token.exchanging {
			t.Errorf("S7: a secret that was never exchanged must not be taken for a retry")
		}
		token.secret, token.exchanging = next.Secret, false
	}
}

// converge runs the engine until all revocations that were ever acknowledged have been swept.
func (c *crashed) converge(ctx context.Context, t *testing.T, m *tokenstore.Manager) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run must end without error: got %v", err)
		}
	}()
	for id, r := range c.revocations {
		status, err := m.Revocation(ctx, id)
		if errors.Is(err, tokenstore.ErrNotFound) && (r.watermark == 0 || !r.target.TokenID.IsZero()) {
			continue // never committed, or named a token that was gone
		}
		if err == nil {
			_, err = m.Wait(ctx, tokenstore.Receipt{Tenant: "default", Status: status})
		}
		if err != nil {
			t.Errorf("S5, L1: an acknowledged revocation must be there, and be swept: got %v", err)
		}
	}
	health, err := m.Health(ctx)
	for err == nil && health.Pending > 0 { // those of rounds before, which nobody waits for
		health, err = m.Health(ctx)
	}
	if err != nil {
		t.Errorf("L1: nothing must be left pending: got %+v, error %v", health, err)
	}
}
