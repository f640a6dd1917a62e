package management

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"example.com/tokenstore"
	"golang.org/x/time/rate"
)

// The limits of a RateLimit, in requests a second.
const (
	minRate = 1e-6
	maxRate = 1e6
)

// RateLimit is how often each caller, by tenant and actor, may ask. The zero value is no limit.
type RateLimit struct {
	PerSecond float64 // PerSecond is how many requests a caller may make a second, in the long run: 0.000001..1000000.
	Burst     int     // Burst is how many it may make at once. Defaults to PerSecond, rounded up.
}

// Validate returns a [tokenstore.FieldError] for a limit that is out of range.
func (l RateLimit) Validate() error {
	if l == (RateLimit{}) || l.PerSecond >= minRate && l.PerSecond <= maxRate && l.Burst >= 0 {
		return nil
	}
	return &tokenstore.FieldError{Field: "rate_limit", Limit: "0.000001..1000000 requests a second, and a burst of at least 0", Size: l.Burst}
}

// maxCallers is how many callers are told apart in each of the two generations of limits.
const maxCallers = 2_000

// limits keeps a limiter for each caller that asked lately. It forgets the older half when it is full, so that its memory
// is bounded; who is forgotten may have a full burst again.
type limits struct {
	limit rate.Limit
	burst int

	mu              sync.Mutex
	recent, earlier map[callerKey]*rate.Limiter
}

type callerKey struct{ tenant, actor string }

// newLimits returns nil for no limit.
func newLimits(l RateLimit) *limits {
	if l.PerSecond == 0 {
		return nil
	}
	if l.Burst == 0 {
		l.Burst = int(math.Ceil(l.PerSecond))
	}
	return &limits{limit: rate.Limit(l.PerSecond), burst: l.Burst, recent: map[callerKey]*rate.Limiter{}}
}

func (l *limits) of(key callerKey) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter := l.recent[key]
	if limiter == nil {
		if limiter = l.earlier[key]; limiter == nil {
			limiter = rate.NewLimiter(l.limit, l.burst)
		}
		if len(l.recent) >= maxCallers {
			l.recent, l.earlier = map[callerKey]*rate.Limiter{}, l.recent
		}
		l.recent[key] = limiter
	}
	return limiter
}

// allow takes one request off the caller's limit, says in the headers what is left, and reports whether there was any.
// The reset is the Unix second by which the whole burst may be used again, and for a refused request the one by which it may
// be repeated.
func (l *limits) allow(h http.Header, caller Caller, now time.Time) bool {
	if l == nil {
		return true
	}
	limiter := l.of(callerKey{caller.Tenant, caller.Actor})
	allowed := limiter.AllowN(now, 1)
	left := max(limiter.TokensAt(now), 0)
	wait := (float64(l.burst) - left) / float64(l.limit)
	if !allowed {
		wait = math.Ceil((1 - left) / float64(l.limit))
		h.Set("Retry-After", strconv.FormatInt(int64(max(wait, 1)), 10))
	}
	reset := math.Ceil(float64(now.UnixNano())/1e9 + wait)
	h.Set("X-Ratelimit-Limit", strconv.Itoa(l.burst))
	h.Set("X-Ratelimit-Remaining", strconv.Itoa(int(left)))
	h.Set("X-Ratelimit-Reset", strconv.FormatInt(int64(reset), 10))
	return allowed
}
