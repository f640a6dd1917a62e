package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/observe"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// measures are the figures of /metrics; docs/serve.md lists them.
type measures struct {
	registry   *prometheus.Registry
	requests   *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	operations *prometheus.CounterVec
	took       *prometheus.HistogramVec
	recorded   prometheus.Counter
	retired    prometheus.Counter
	swept      prometheus.Counter
	expired    prometheus.Counter
	failures   prometheus.Counter
	backups    *prometheus.CounterVec
	feedCopies prometheus.Counter
}

func newMeasures() *measures {
	m := &measures{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokenstore_http_requests_total", Help: "Requests answered.",
		}, []string{"route", "method", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tokenstore_http_request_duration_seconds", Help: "How long requests took.", Buckets: prometheus.DefBuckets,
		}, []string{"route"}),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokenstore_operations_total", Help: "Operations of the store.",
		}, []string{"operation", "outcome"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tokenstore_operation_duration_seconds", Help: "How long operations of the store took.",
			Buckets: []float64{0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"operation"}),
		recorded: newCounter("tokenstore_revocations_recorded_total", "Revocations asked for, repeated ones included."),
		retired:  newCounter("tokenstore_revocations_retired_total", "Revocations of which nothing is left to sweep."),
		swept:    newCounter("tokenstore_tokens_swept_total", "Tokens removed by revocations that have been retired."),
		expired:  newCounter("tokenstore_tokens_expired_total", "Expired tokens removed."),
		backups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokenstore_backups_total", Help: "Backups of the file, made or failed.",
		}, []string{"outcome"}),
		feedCopies: newCounter("tokenstore_feed_copy_failures_total", "How often the copy of the feed had to be begun again."),
		failures:   newCounter("tokenstore_sweep_failures_total", "Slices of the sweep that failed, and are tried again."),
	}
	for _, outcome := range []string{"made", "failed"} {
		m.backups.WithLabelValues(outcome) // so that it is there before the first
	}
	m.registry.MustRegister(m.requests, m.durations, m.operations, m.took, m.recorded, m.retired, m.swept, m.expired, m.failures, m.backups, m.feedCopies,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func newCounter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func (m *measures) events() revocation.Events {
	return revocation.Events{
		Revoked: func(string, domain.Tombstone) { m.recorded.Inc() },
		Retired: func(_ string, s store.Status) { m.retired.Inc(); m.swept.Add(float64(s.Swept)) },
		Failed:  func(string, []ulid.ULID, error) { m.failures.Inc() },
		Expired: func(_ string, removed int) { m.expired.Add(float64(removed)) },
	}
}

// watch counts and times what is asked of a backend.
func (m *measures) watch(b store.Backend) store.Backend {
	return observe.Backend(b, func(ctx context.Context, op observe.Operation) (context.Context, func(observe.Outcome)) {
		began := time.Now()
		return ctx, func(outcome observe.Outcome) {
			m.operations.WithLabelValues(string(op), string(outcome)).Inc()
			m.took.WithLabelValues(string(op)).Observe(time.Since(began).Seconds())
		}
	})
}

func (m *measures) request(route, verb string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, method(verb), strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(route).Observe(took.Seconds())
}

// method is the method of a request, for logs and metrics: a client can make up any number of them.
func method(verb string) string {
	known := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	if slices.Contains(known, verb) {
		return verb
	}
	return "other"
}

func (m *measures) handler(logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
	})
}

// gauge adds the figures that are looked up whenever they are asked for, and those of commits where the database counts them.
func (m *measures) gauge(manager *tokenstore.Manager, database store.Backend) {
	if grouper, ok := store.As[store.Grouper](database); ok {
		m.registry.MustRegister(
			prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "tokenstore_commits_total", Help: "Transactions written.",
			}, func() float64 { return float64(grouper.Stats().Commits) }),
			prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "tokenstore_commit_calls_total", Help: "Calls that shared them.",
			}, func() float64 { return float64(grouper.Stats().Calls) }))
	}
	m.registry.MustRegister(&gauges{
		manager: manager,
		pending: newDesc("tokenstore_revocations_pending", "Revocations that are being swept."),
		age:     newDesc("tokenstore_oldest_pending_age_seconds", "How long ago the oldest pending revocation was asked for; 0 for none."),
		running: newDesc("tokenstore_sweep_running", "1 while the sweep runs."),
		tenants: newDesc("tokenstore_tenants", "Tenants in the database."),
		tokens:  newDesc("tokenstore_tokens", "Tokens of the served tenant, revoked but not yet swept ones included."),
	})
}

func newDesc(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }

// gauges is a collector.
type gauges struct {
	manager                                *tokenstore.Manager
	pending, age, running, tenants, tokens *prometheus.Desc
}

func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{g.pending, g.age, g.running, g.tenants, g.tokens} {
		to <- desc
	}
}

func (g *gauges) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	health, err := g.manager.Health(ctx)
	state, stateErr := g.manager.State(ctx)
	tenants := 0
	for _, tenantsErr := range g.manager.Tenants(ctx) {
		err = errors.Join(err, tenantsErr)
		tenants++
	}
	if err = errors.Join(err, stateErr); err != nil {
		to <- prometheus.NewInvalidMetric(g.pending, err)
		return
	}
	running := 0
	if health.Running {
		running = 1
	}
	for _, figure := range []struct {
		desc  *prometheus.Desc
		value float64
	}{
		{g.pending, float64(health.Pending)}, {g.age, health.OldestAge.Seconds()}, {g.running, float64(running)},
		{g.tenants, float64(tenants)}, {g.tokens, float64(state.Tokens)},
	} {
		to <- prometheus.MustNewConstMetric(figure.desc, prometheus.GaugeValue, figure.value)
	}
}
