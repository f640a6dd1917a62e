// Package telemetry tells OpenTelemetry what a tokenstore does: counters, histograms and gauges, and a span for each operation that
// is called within one. docs/observability.md lists the names.
//
//	t, err := telemetry.New(nil)
//	…
//	opts := tokenstore.Options{…}
//	t.Hook(&opts)
//	manager, err := tokenstore.New(t.Backend(backend), &opts)
//	…
//	gauges, err := t.Gauges(manager, backend)
//	…
//	defer gauges.Unregister()
//
// The attributes are an operation and an outcome, each one of a few words. No name of a tenant, user, client or session, no id, no
// secret and no text of an error is told.
package telemetry

import (
	"context"
	"errors"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/observe"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name of the instruments' origin.
const scope = "example.com/tokenstore/telemetry"

// The attributes.
const (
	operationKey = attribute.Key("tokenstore.operation")
	outcomeKey   = attribute.Key("tokenstore.outcome")
	errorKey     = attribute.Key("error.type")
)

// Options say where to tell it. The zero value, and nil, take every default.
type Options struct {
	// MeterProvider takes the figures. Defaults to the global one.
	MeterProvider metric.MeterProvider
	// TracerProvider takes the spans. Defaults to the global one.
	TracerProvider trace.TracerProvider
}

// Telemetry tells OpenTelemetry of a tokenstore. It is safe for concurrent use, starts nothing, and may serve several managers and
// backends, whose counts are then added up.
type Telemetry struct {
	tracer      trace.Tracer
	meter       metric.Meter
	instruments instruments
}

// New makes the instruments.
func New(o *Options) (*Telemetry, error) {
	var d Options
	if o != nil {
		d = *o
	}
	if d.MeterProvider == nil {
		d.MeterProvider = otel.GetMeterProvider()
	}
	if d.TracerProvider == nil {
		d.TracerProvider = otel.GetTracerProvider()
	}
	t := &Telemetry{tracer: d.TracerProvider.Tracer(scope), meter: d.MeterProvider.Meter(scope)}
	var err error
	t.instruments, err = newInstruments(t.meter)
	return t, err
}

// Backend returns the backend with its operations measured, and traced where the caller's context has a span. What the backend and
// its stores can do beside their verbs is found through it by [store.As].
func (t *Telemetry) Backend(b store.Backend) store.Backend { return observe.Backend(b, t.begin) }

func (t *Telemetry) begin(ctx context.Context, op observe.Operation) (context.Context, func(observe.Outcome)) {
	caller, began := ctx, time.Now()
	operation := operationKey.String(string(op))
	var span trace.Span
	// What the sweep does in the background has no caller, and would be a trace of its own for each slice.
	if trace.SpanContextFromContext(ctx).IsValid() {
		ctx, span = t.tracer.Start(ctx, "tokenstore."+string(op), trace.WithAttributes(operation))
	}
	return ctx, func(outcome observe.Outcome) {
		came := outcomeKey.String(string(outcome))
		t.instruments.duration.Record(caller, time.Since(began).Seconds(), metric.WithAttributes(operation, came))
		if span == nil {
			return
		}
		span.SetAttributes(came)
		if outcome.Fault() {
			span.SetAttributes(errorKey.String(string(outcome)))
			span.SetStatus(codes.Error, string(outcome))
		}
		span.End()
	}
}

// Hook has a manager that is made with the options tell of its exchanges and of its sweep. Functions that the options have already are
// called too, first.
func (t *Telemetry) Hook(o *tokenstore.Options) {
	exchanged := o.Exchanged
	o.Exchanged = func(ctx context.Context, tenant string, retried bool, err error) {
		if exchanged != nil {
			exchanged(ctx, tenant, retried, err)
		}
		outcome := observe.Of(err)
		if retried {
			outcome = observe.Retried
		}
		t.instruments.exchanges.Add(ctx, 1, metric.WithAttributes(outcomeKey.String(string(outcome))))
	}
	before, ctx, i, events := o.Engine.Events, context.Background(), &t.instruments, &o.Engine.Events
	events.Revoked = func(tenant string, of domain.Tombstone) {
		if before.Revoked != nil {
			before.Revoked(tenant, of)
		}
		i.recorded.Add(ctx, 1)
	}
	events.Retired = func(tenant string, s store.Status) {
		if before.Retired != nil {
			before.Retired(tenant, s)
		}
		i.retired.Add(ctx, 1)
		i.swept.Add(ctx, int64(s.Swept))
	}
	events.Failed = func(tenant string, revocations []ulid.ULID, err error) {
		if before.Failed != nil {
			before.Failed(tenant, revocations, err)
		}
		i.failures.Add(ctx, 1)
	}
	events.Expired = func(tenant string, removed int) {
		if before.Expired != nil {
			before.Expired(tenant, removed)
		}
		i.expired.Add(ctx, int64(removed))
	}
}

// Gauges has what is looked up, whenever it is collected, of the manager, by Health and State, and of the backend, where it counts
// its commits. Call it once: Health is about all tenants of a backend. An error of either goes to OpenTelemetry's handler of errors, and leaves their figures out. Unregister ends it; do
// that before the backend is closed.
func (t *Telemetry) Gauges(m *tokenstore.Manager, b store.Backend) (metric.Registration, error) {
	i := &t.instruments
	grouper, groups := store.As[store.Grouper](b)
	return t.meter.RegisterCallback(func(ctx context.Context, to metric.Observer) error {
		if groups {
			stats := grouper.Stats()
			to.ObserveInt64(i.commits, int64(stats.Commits))
			to.ObserveInt64(i.calls, int64(stats.Calls))
		}
		health, err := m.Health(ctx)
		state, stateErr := m.State(ctx)
		if err = errors.Join(err, stateErr); err != nil {
			return errors.New("tokenstore: the figures can't be read: " + string(observe.Of(err))) // the text may hold a name
		}
		running := int64(0)
		if health.Running {
			running = 1
		}
		to.ObserveInt64(i.pending, int64(health.Pending))
		to.ObserveFloat64(i.oldest, health.OldestAge.Seconds())
		to.ObserveInt64(i.running, running)
		to.ObserveInt64(i.tokens, int64(state.Tokens))
		return nil
	}, i.commits, i.calls, i.pending, i.oldest, i.running, i.tokens)
}
