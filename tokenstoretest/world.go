package tokenstoretest

import (
	"math/rand/v2"
	"sync"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// The universe is small, so that operations collide. Both tenants know the same users, sessions and ids.
var (
	tenantNames = []string{"alpha", "beta"}
	users       = []string{"ann", "bob", "cid"}
	clients     = []string{"web", "app"}
	sessions    = []string{"s1", "s2", "s3", "s4", ""}
	audiences   = []string{"https://a.example", "https://b.example", "https://c.example"}
	foreignIDs  = []string{"ext-1", "ext-2", "ext-3"}
	fixedIDs    = []ulid.ULID{{15: 1}, {0: 1, 15: 2}, {0: 1, 15: 3}, {0: 2, 15: 4}}
	labels      = []string{"", "red", "blue"} // values of the one metadata entry; empty for no metadata

	// keys are what a sender may prove to hold; the empty one is none.
	keys = []tokenstore.Confirmation{{}, {}, {Kind: domain.ConfirmationJKT, Value: "key"}, {Kind: domain.ConfirmationX5TS, Value: "key"}}

	// start is the first reading of the clock; legacy tokens lie before cutOff.
	start  = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	cutOff = time.Unix(domain.CutOff, 0).UTC()
)

const (
	absolute    = 2 * time.Hour
	idle        = 20 * time.Minute
	skew        = time.Minute
	memoryFor   = 24 * time.Hour
	pollEvery   = time.Minute
	expireEvery = time.Minute
)

func pick[T any](t *rapid.T, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, label)
}

func chance(t *rapid.T, label string, in int) bool {
	return rapid.IntRange(0, in-1).Draw(t, label) == in-1
}

// clock is the test's. Its own steps are those that are drawn; in a bubble it goes on with virtual time as well.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
	since  time.Time // when the bubble began; zero outside of one
	latest time.Time // the latest reading before a step back
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := start.Add(c.offset)
	if !c.since.IsZero() {
		now = now.Add(time.Since(c.since))
	}
	return now
}

func (c *clock) step(d time.Duration) {
	if now := c.now(); d < 0 && now.After(c.latest) {
		c.latest = now
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// randomness is a deterministic source that is safe for concurrent use.
type randomness struct {
	mu  sync.Mutex
	src *rand.ChaCha8
}

func drawRandomness(t *rapid.T) *randomness {
	return newRandomness(byte(rapid.IntRange(0, 255).Draw(t, "seed")))
}

func newRandomness(seed byte) *randomness {
	return &randomness{src: rand.NewChaCha8([32]byte{seed})}
}

func (r *randomness) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.src.Read(p)
}

// restart has the source go on as if it were new, and drawn for the given step.
func (r *randomness) restart(seed byte, step int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.src = rand.NewChaCha8([32]byte{seed, byte(step), byte(step >> 8), 1})
}
