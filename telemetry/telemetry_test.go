package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/observe"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"example.com/tokenstore/telemetry"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
)

const (
	operation = "tokenstore.operation"
	outcome   = "tokenstore.outcome"
)

// The figures are those of what was done.
func TestFigures(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	r.issue()
	receipt, err := r.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "another"}}})
	if err != nil {
		t.Fatal(err)
	}
	before := r.collect()
	for name, want := range map[string]float64{
		"tokenstore.revocation.recorded": 1, "tokenstore.revocation.pending": 1, "tokenstore.sweep.running": 0, "tokenstore.token.stored": 1,
		"tokenstore.commits": 2, "tokenstore.commit.calls": 2, // the issue and the revocation
	} {
		if got := before[name].value(); got != want {
			t.Errorf("at first %s is %v, want %v", name, got, want)
		}
	}
	if age := before["tokenstore.revocation.oldest_age"].value(); age < 0 || age > time.Hour.Seconds() {
		t.Errorf("the oldest is %v seconds old", age)
	}
	r.live()
	if _, err := r.Revocation(t.Context(), receipt.ID()); err != nil {
		t.Fatal(err)
	}
	after := r.collect()
	for _, c := range []struct {
		name string
		of   []string
		want float64
	}{
		{"tokenstore.exchanges", []string{outcome, "ok"}, 2},
		{"tokenstore.exchanges", []string{outcome, "retried"}, 1},
		{"tokenstore.exchanges", []string{outcome, "reused"}, 1},
		{"tokenstore.operation.duration", []string{operation, "insert", outcome, "ok"}, 2},
		{"tokenstore.operation.duration", []string{operation, "update", outcome, "ok"}, 3},
		{"tokenstore.operation.duration", []string{operation, "update", outcome, "reused"}, 1},
		{"tokenstore.operation.duration", []string{operation, "revoke", outcome, "ok"}, 2},
		{"tokenstore.revocation.recorded", nil, 3}, // that of the replay is one
		{"tokenstore.revocation.retired", nil, 3},
		{"tokenstore.revocation.pending", nil, 0},
		{"tokenstore.revocation.oldest_age", nil, 0},
		{"tokenstore.token.swept", nil, 2},
		{"tokenstore.token.stored", nil, 0},
	} {
		if got := after[c.name].value(c.of...); got != c.want {
			t.Errorf("%s of %v is %v, want %v", c.name, c.of, got, c.want)
		}
	}
	if slices := after["tokenstore.operation.duration"].value(operation, "sweep", outcome, "ok"); slices < 1 {
		t.Errorf("%v slices", slices)
	}
}

// Expired tokens and failures are counted, too.
func TestFiguresOfTheSweep(t *testing.T) {
	opts := tokenstore.Options{}
	r := newRig(t, opts)
	told, err := telemetry.New(nil) // without an SDK nothing is told, and nothing breaks
	if err != nil {
		t.Fatal(err)
	}
	told.Hook(&opts)
	opts.Engine.Events.Expired("acme", 3)
	opts.Engine.Events.Failed("acme", nil, errors.New("disk on fire"))
	opts.Exchanged(t.Context(), "acme", false, nil)
	if all := r.collect(); all["tokenstore.token.expired"].value() != 0 {
		t.Error("another one's figures are told")
	}
	r = newRig(t, tokenstore.Options{Engine: revocation.Options{Events: revocation.Events{}}})
	hooked := r.hooked()
	hooked.Engine.Events.Expired("acme", 3)
	hooked.Engine.Events.Failed("acme", nil, errors.New("disk on fire"))
	all := r.collect()
	if all["tokenstore.token.expired"].value() != 3 || all["tokenstore.sweep.failures"].value() != 1 {
		t.Errorf("expired %v, failures %v", all["tokenstore.token.expired"].value(), all["tokenstore.sweep.failures"].value())
	}
}

// A host's own hooks are called as before.
func TestHookKeepsWhatIsThere(t *testing.T) {
	called := map[string]int{}
	opts := tokenstore.Options{
		Engine:    revocation.Options{Events: events(called)},
		Exchanged: func(context.Context, string, bool, error) { called["exchanged"]++ },
	}
	newRig(t, opts).live()
	if called["exchanged"] != 4 || called["revoked"] != 2 || called["retired"] != 2 || called["swept"] < 2 {
		t.Errorf("the hooks were called %v", called)
	}
}

// What stands in docs/observability.md is what is told, both ways: names, kinds, units and attributes, and the words.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `(tokenstore\\.[a-z_.]+)` \\| (\\w+) \\| `([^`]+)` \\|([^|]*)\\|")
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = fmt.Sprintf("%s in %s by %s", m[2], m[3], strings.ReplaceAll(strings.TrimSpace(m[4]), "`", ""))
	}
	r := newRig(t, tokenstore.Options{})
	r.live()
	hooked := r.hooked()
	hooked.Engine.Events.Expired("acme", 1)
	hooked.Engine.Events.Failed("acme", nil, errors.New("disk on fire"))
	told := map[string]string{}
	for name, s := range r.collect() {
		var keys []string
		for _, set := range s.attributes {
			for _, a := range set.ToSlice() {
				if !slices.Contains(keys, string(a.Key)) {
					keys = append(keys, string(a.Key))
				}
			}
		}
		slices.Sort(keys)
		told[name] = fmt.Sprintf("%s in %s by %s", s.kind, s.unit, strings.Join(keys, ", "))
	}
	for _, name := range sorted(told) {
		if documented[name] != told[name] {
			t.Errorf("%s is a %s, and documented as a %q", name, told[name], documented[name])
		}
	}
	for _, name := range sorted(documented) {
		if told[name] == "" {
			t.Errorf("%s is documented, and not told", name)
		}
	}
	if len(told) < 10 {
		t.Errorf("only %d are told", len(told))
	}
	wantWords(t, string(text), operation, observe.Operations())
	wantWords(t, string(text), outcome, observe.Outcomes())
}

// wantWords compares a table's first column with all words of an attribute.
func wantWords[T ~string](t *testing.T, text, attribute string, words []T) {
	t.Helper()
	_, table, found := strings.Cut(text, "\n| `"+attribute+"` |")
	table, _, _ = strings.Cut(table, "\n\n")
	var documented []T
	for _, line := range strings.Split(table, "\n")[1:] {
		for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(strings.Split(line, "|")[1], -1) {
			documented = append(documented, T(m[1]))
		}
	}
	slices.Sort(documented)
	words = slices.Sorted(slices.Values(words))
	if !found || !slices.Equal(documented, words) {
		t.Errorf("documented for %s is %q, and there are %q", attribute, documented, words)
	}
}

// Attributes are the few words of the documentation, and nothing that is told has a name, an id or a secret in it.
func TestNothingPrivateIsTold(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	private := r.live()
	var text strings.Builder
	for name, s := range r.collect() {
		for _, set := range s.attributes {
			fmt.Fprintln(&text, name, set.Encoded(nil))
			for _, a := range set.ToSlice() {
				known := a.Key == operation && slices.Contains(observe.Operations(), observe.Operation(a.Value.AsString())) ||
					a.Key == outcome && slices.Contains(observe.Outcomes(), observe.Outcome(a.Value.AsString()))
				if !known {
					t.Errorf("%s has the attribute %s", name, a.Key)
				}
			}
		}
	}
	spans := r.spans.Ended()
	for _, s := range spans {
		fmt.Fprintln(&text, s.Name(), s.Attributes(), s.Events(), s.Status(), s.Links())
	}
	if found := contains(text.String(), private); len(found) > 0 {
		t.Errorf("told is %q", found)
	}
	if len(spans) < 5 {
		t.Errorf("only %d spans", len(spans))
	}
}

// An operation within a span is a span below it; one without is none.
func TestSpans(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	issued := r.issue()
	if n := len(r.spans.Started()); n != 0 {
		t.Errorf("%d spans without a caller's", n)
	}
	ctx, host := r.tracing.Tracer("test").Start(t.Context(), "host")
	if _, err := r.exchange(ctx, issued.Secret); err != nil {
		t.Fatal(err)
	}
	if _, err := r.exchange(ctx, tokenstore.NewSecret("no secret of ours")); err == nil {
		t.Error("a text that is no secret is exchanged")
	}
	if err := r.backend.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.exchange(ctx, issued.Secret); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("on a closed file: %v", err)
	}
	var got []string
	for _, s := range r.spans.Ended() {
		if s.Parent().SpanID() != host.SpanContext().SpanID() {
			t.Errorf("%s is not below the caller's", s.Name())
		}
		got = append(got, describe(s))
	}
	want := []string{"tokenstore.update: ok", "tokenstore.find: not_found", "tokenstore.update: failed, an error"}
	if !slices.Equal(got, want) {
		t.Errorf("the spans are %q, want %q", got, want)
	}
}

func describe(s trace.ReadOnlySpan) string {
	text := s.Name() + ":"
	for _, a := range s.Attributes() {
		if a.Key == outcome {
			text += " " + a.Value.AsString()
		}
	}
	if s.Status().Code == codes.Error {
		text += ", an error"
	}
	return text
}

// What a backend can do beside its verbs is found behind what counts.
func TestNothingIsHidden(t *testing.T) {
	told, err := telemetry.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := told.Backend(memstore.New())
	st, err := b.Tenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := store.As[store.Outbox](st); !ok {
		t.Error("the outbox is hidden")
	}
	if _, ok := store.As[store.Mover](st); !ok {
		t.Error("the mover is hidden")
	}
	r := newRig(t, tokenstore.Options{})
	if _, ok := store.As[*boltstore.Backend](r.backend); !ok {
		t.Error("the backend is hidden")
	}
	r.live()
	if page, err := r.Feed(t.Context(), tokenstore.FeedRequest{}); err != nil || len(page.Events) == 0 {
		t.Errorf("the feed has %d events, %v", len(page.Events), err)
	}
}
