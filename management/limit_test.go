package management_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"testing"
	"time"

	"example.com/tokenstore/management"
)

// TestRateLimit: a burst, then 429 with when to come back; each caller has its own; the headers count down.
func TestRateLimit(t *testing.T) {
	r := newRig(t, nil, management.Options{RateLimit: management.RateLimit{PerSecond: 0.5, Burst: 3}})
	ask := func(status, remaining int, reset time.Duration, headers ...string) answer {
		t.Helper()
		got := r.want(status, "GET", "/api/v2/revocations", "", headers...)
		want := []string{"3", strconv.Itoa(remaining), strconv.FormatInt(r.clock().Add(reset).Unix(), 10)}
		for i, name := range []string{"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} {
			if got.header.Get(name) != want[i] {
				t.Errorf("%s is %q, want %q", name, got.header.Get(name), want[i])
			}
		}
		return got
	}
	ask(200, 2, 2*time.Second)
	ask(200, 1, 4*time.Second)
	ask(200, 0, 6*time.Second)
	refused := ask(429, 0, 2*time.Second)
	if refused.header.Get("Retry-After") != "2" || refused.object(t)["error"] != "Too Many Requests" {
		t.Errorf("Retry-After is %q: %s", refused.header.Get("Retry-After"), refused.text)
	}
	ask(200, 2, 2*time.Second, as(otherActor))
	ask(200, 2, 2*time.Second, as(otherAdmin)) // the same actor of another tenant
	r.wait(time.Second)
	ask(429, 0, time.Second)
	r.wait(time.Second)
	ask(200, 0, 6*time.Second)
	r.wait(time.Hour)
	ask(200, 2, 2*time.Second)
	for range 3 {
		r.want(http.StatusUnauthorized, "GET", "/api/v2/revocations", "", as("not-a-token-of-anybody"))
		r.want(http.StatusOK, "GET", "/docs", "")
	}
	ask(200, 1, 4*time.Second) // those did not count
	r.want(http.StatusForbidden, "GET", "/api/v2/revocations", "", as(onlyToken(management.ScopeReadDevices)))
	unlimited := newRig(t, nil, management.Options{})
	if got := unlimited.want(http.StatusOK, "GET", "/api/v2/revocations", ""); got.header.Get("X-Ratelimit-Limit") != "" {
		t.Error("without a limit, there is a header of it")
	}
}

// TestRateLimitDefaultBurst: the burst is a second's worth of requests.
func TestRateLimitDefaultBurst(t *testing.T) {
	r := newRig(t, nil, management.Options{RateLimit: management.RateLimit{PerSecond: 1.5}})
	for range 2 {
		r.want(http.StatusOK, "GET", "/api/v2/revocations", "")
	}
	r.want(http.StatusTooManyRequests, "GET", "/api/v2/revocations", "")
}

// TestRateLimitForgets: however many callers there are, the memory of them is bounded, and one that keeps asking is not
// forgotten.
func TestRateLimitForgets(t *testing.T) {
	n := 0
	everyone := management.AuthorizerFunc(func(r *http.Request) (management.Caller, error) {
		actor := "busy"
		if r.Header.Get("X-Other") != "" {
			n++
			actor = fmt.Sprint(n)
		}
		return management.Caller{Tenant: "acme", Actor: actor, Scopes: management.Scopes()}, nil
	})
	r := newRig(t, nil, management.Options{})
	h, err := management.New(r.managers, everyone, &management.Options{
		Now: r.clock, RateLimit: management.RateLimit{PerSecond: 0.001, Burst: 1},
	})
	r.must(err)
	r.Handler = h
	const path = "/api/v2/revocations/x"
	r.want(http.StatusNotFound, "GET", path, "")
	var before, after runtime.MemStats
	for i := range 4 * management.MaxCallers {
		if i == 2*management.MaxCallers {
			runtime.GC()
			runtime.ReadMemStats(&before)
		}
		r.want(http.StatusNotFound, "GET", path, "", "X-Other: yes")
		if i%1000 == 0 {
			r.want(http.StatusTooManyRequests, "GET", path, "")
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > management.MaxCallers*200 {
		t.Errorf("the heap grew by %d bytes while callers came and went", grown)
	}
	runtime.KeepAlive(h)
}
