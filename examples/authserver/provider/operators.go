package provider

import (
	"expvar"
	"fmt"
	"net/http"
	"strconv"

	"example.com/tokenstore"
	"example.com/tokenstore/management"
)

// operatorsHandler is the management API, and the metrics.
func (p *Provider) operatorsHandler() (http.Handler, error) {
	callers, err := management.NewStaticTokens(map[string]management.Caller{
		p.config.OperatorToken: {Actor: "operator", Scopes: management.Scopes()},
	})
	if err != nil {
		return nil, err
	}
	api, err := management.New(func(string) (*tokenstore.Manager, error) { return p.config.Tokens, nil }, callers, nil)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.HandleFunc("GET /metrics", p.metrics)
	return mux, nil
}

// metrics are in the text format of Prometheus.
func (p *Provider) metrics(w http.ResponseWriter, r *http.Request) {
	health, err := p.config.Tokens.Health(r.Context())
	if err != nil {
		http.Error(w, "the tokenstore fails", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprintf(w, "authserver_pending_revocations %d\nauthserver_oldest_pending_seconds %g\n", health.Pending, health.OldestAge.Seconds())
	p.counters.all.Do(func(counter expvar.KeyValue) { fmt.Fprintf(w, "authserver_%s %s\n", counter.Key, counter.Value) })
}

// counters count what has happened.
type counters struct{ all *expvar.Map }

func newCounters() *counters { return &counters{new(expvar.Map)} }

func (c *counters) add(name, outcome string) {
	c.all.Add(fmt.Sprintf("%s_total{outcome=%q}", name, outcome), 1)
}

// count counts the answers by their status.
func (c *counters) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answered{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(a, r)
		c.add("answers", strconv.Itoa(a.status))
	})
}

// answered notes the status of an answer.
type answered struct {
	http.ResponseWriter
	status int
}

func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }
