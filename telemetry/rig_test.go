package telemetry_test

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"example.com/tokenstore/telemetry"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// rig is a manager on a bbolt file that tells the SDK what it does.
type rig struct {
	*testing.T
	*tokenstore.Manager
	backend store.Backend
	reader  *sdk.ManualReader
	spans   *tracetest.SpanRecorder
	tracing *trace.TracerProvider
	told    *telemetry.Telemetry
}

// tenant, user, client and session are the names that no figure may have.
const (
	tenant, user, client, session = "acme-tenant", "ann-the-user", "web-client", "session-of-ann"
)

func newRig(t *testing.T, opts tokenstore.Options) *rig {
	t.Helper()
	r := &rig{T: t, reader: sdk.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	r.tracing = trace.NewTracerProvider(trace.WithSpanProcessor(r.spans))
	told, err := telemetry.New(&telemetry.Options{MeterProvider: sdk.NewMeterProvider(sdk.WithReader(r.reader)), TracerProvider: r.tracing})
	if err != nil {
		t.Fatal(err)
	}
	file, err := boltstore.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.told = told
	r.backend = told.Backend(file)
	opts.Tenant = tenant
	told.Hook(&opts)
	if r.Manager, err = tokenstore.New(r.backend, &opts); err != nil {
		t.Fatal(err)
	}
	gauges, err := told.Gauges(r.Manager, r.backend)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(gauges.Unregister(), r.backend.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// hooked are options that tell the rig's SDK.
func (r *rig) hooked() (o tokenstore.Options) {
	r.told.Hook(&o)
	return o
}

func (r *rig) issue() tokenstore.Issued {
	r.Helper()
	out, err := r.Issue(r.Context(), tokenstore.IssueRequest{UserID: user, ClientID: client, SessionID: tokenstore.MustSessionID(session)})
	if err != nil {
		r.Fatal(err)
	}
	return out
}

func (r *rig) exchange(ctx context.Context, secret tokenstore.Secret) (tokenstore.Exchanged, error) {
	return r.Exchange(ctx, tokenstore.ExchangeRequest{Secret: secret, ClientID: client})
}

// sweep runs the sweep until a revocation of everything of the user is retired.
func (r *rig) sweep(ctx context.Context) {
	r.Helper()
	receipt, err := r.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: user}}, Actor: "actor-of-the-revocation"})
	if err != nil {
		r.Fatal(err)
	}
	running, stop := context.WithCancel(r.Context())
	ended := make(chan error)
	go func() { ended <- r.Manager.Run(running) }()
	_, err = r.Wait(ctx, receipt)
	stop()
	if err := errors.Join(err, <-ended); err != nil {
		r.Fatal(err)
	}
}

// series is what is known of a metric: its kind and unit, and the values by attributes; of a histogram, how many there were.
type series struct {
	kind, unit string
	values     map[attribute.Distinct]float64
	attributes []attribute.Set
}

func (r *rig) collect() map[string]series {
	r.Helper()
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(r.Context(), &all); err != nil {
		r.Fatal(err)
	}
	found := map[string]series{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			s := series{unit: m.Unit, values: map[attribute.Distinct]float64{}}
			add := func(kind string, set attribute.Set, value float64) {
				s.kind = kind
				s.values[set.Equivalent()] = value
				s.attributes = append(s.attributes, set)
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add("counter", p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					add("gauge", p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					add("gauge", p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add("histogram", p.Attributes, float64(p.Count))
				}
			default:
				r.Fatalf("%s is a %T", m.Name, data)
			}
			found[m.Name] = s
		}
	}
	return found
}

// value is a figure by its attributes, given as key and value in turn.
func (s series) value(pairs ...string) float64 {
	var all []attribute.KeyValue
	for pair := range slices.Chunk(pairs, 2) {
		all = append(all, attribute.String(pair[0], pair[1]))
	}
	set := attribute.NewSet(all...)
	return s.values[set.Equivalent()]
}

// live does everything once of which there is a figure.
func (r *rig) live() (secrets []string) {
	r.Helper()
	ctx, span := r.tracing.Tracer("test").Start(r.Context(), "host")
	defer span.End()
	first := r.issue()
	next, err := r.exchange(ctx, first.Secret)
	if err != nil {
		r.Fatal(err)
	}
	if again, err := r.exchange(ctx, first.Secret); err != nil || !again.Retried {
		r.Fatalf("retried is %t, %v", again.Retried, err)
	}
	last, err := r.exchange(ctx, next.Secret)
	if err != nil {
		r.Fatal(err)
	}
	if _, err := r.exchange(ctx, first.Secret); !errors.Is(err, tokenstore.ErrReused) {
		r.Fatalf("replay is %v", err)
	}
	r.sweep(ctx)
	for _, s := range []tokenstore.Secret{first.Secret, next.Secret, last.Secret} {
		secrets = append(secrets, s.Reveal())
	}
	return append(secrets, first.Token.ID.String(), tenant, user, client, session, "actor-of-the-revocation")
}

// events are hooks of a host's own.
func events(called map[string]int) revocation.Events {
	return revocation.Events{
		Revoked: func(string, domain.Tombstone) { called["revoked"]++ },
		Retired: func(string, store.Status) { called["retired"]++ },
		Swept:   func(string, store.Status) { called["swept"]++ },
	}
}

func contains(text string, any []string) (found []string) {
	for _, s := range any {
		if strings.Contains(text, s) {
			found = append(found, s)
		}
	}
	return found
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
