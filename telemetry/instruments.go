package telemetry

import (
	"errors"

	"go.opentelemetry.io/otel/metric"
)

// instruments have the names of docs/observability.md.
type instruments struct {
	duration  metric.Float64Histogram
	exchanges metric.Int64Counter
	recorded  metric.Int64Counter
	retired   metric.Int64Counter
	swept     metric.Int64Counter
	expired   metric.Int64Counter
	failures  metric.Int64Counter

	pending metric.Int64ObservableGauge
	oldest  metric.Float64ObservableGauge
	running metric.Int64ObservableGauge
	tokens  metric.Int64ObservableGauge
	commits metric.Int64ObservableCounter
	calls   metric.Int64ObservableCounter
}

// buckets of durations, in seconds: from what memory takes to what a server far away does.
var buckets = []float64{0.00001, 0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

func newInstruments(m metric.Meter) (i instruments, err error) {
	counter := func(name, unit, description string) metric.Int64Counter {
		c, failed := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		err = errors.Join(err, failed)
		return c
	}
	gauge := func(name, unit, description string) metric.Int64ObservableGauge {
		g, failed := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		err = errors.Join(err, failed)
		return g
	}
	total := func(name, unit, description string) metric.Int64ObservableCounter {
		c, failed := m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		err = errors.Join(err, failed)
		return c
	}
	var failed error
	i.duration, failed = m.Float64Histogram("tokenstore.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("How long operations of the backend took."), metric.WithExplicitBucketBoundaries(buckets...))
	err = errors.Join(err, failed)
	i.oldest, failed = m.Float64ObservableGauge("tokenstore.revocation.oldest_age", metric.WithUnit("s"),
		metric.WithDescription("How long ago the oldest pending revocation was asked for; 0 for none."))
	err = errors.Join(err, failed)

	i.exchanges = counter("tokenstore.exchanges", "{exchange}", "Exchanges that were asked for.")
	i.recorded = counter("tokenstore.revocation.recorded", "{revocation}", "Revocations that were asked for, repeated ones included.")
	i.retired = counter("tokenstore.revocation.retired", "{revocation}", "Revocations of which nothing is left to sweep.")
	i.swept = counter("tokenstore.token.swept", "{token}", "Tokens removed by revocations that have been retired.")
	i.expired = counter("tokenstore.token.expired", "{token}", "Expired tokens removed.")
	i.failures = counter("tokenstore.sweep.failures", "{slice}", "Slices of the sweep that failed, and are tried again.")
	i.pending = gauge("tokenstore.revocation.pending", "{revocation}", "Revocations that are being swept.")
	i.running = gauge("tokenstore.sweep.running", "{sweep}", "1 while the sweep runs.")
	i.tokens = gauge("tokenstore.token.stored", "{token}", "Tokens of the manager's tenant, revoked but not yet swept ones included.")
	i.commits = total("tokenstore.commits", "{commit}", "Transactions that the backend has written.")
	i.calls = total("tokenstore.commit.calls", "{call}", "Calls that shared them.")
	return i, err
}
