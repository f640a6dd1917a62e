// Package alerts looks at docs/alerts.yml, the rules for Prometheus.
package alerts

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const docs = "../../docs/"

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(docs + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// metrics are the names that Prometheus knows, and the labels of each.
type metrics map[string][]string

// rows reads a table of names, of which the first group is the name and the others are of the metric's kind.
func rows(t *testing.T, file, pattern string, name func(m []string) (of []string, labels string)) metrics {
	t.Helper()
	found := metrics{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(readText(t, file), -1) {
		names, labels := name(m)
		for _, name := range names {
			found[name] = regexp.MustCompile(`[\w.]+`).FindAllString(strings.ReplaceAll(labels, ".", "_"), -1)
		}
	}
	if len(found) < 10 {
		t.Fatalf("%s has %d metrics", file, len(found))
	}
	return found
}

// served are the metrics of docs/serve.md, of which a test of the command sees that they are served.
func served(t *testing.T) metrics {
	return rows(t, "serve.md", "(?m)^\\| `(tokenstore_\\w+)` \\|([^|]*)\\|", func(m []string) ([]string, string) {
		if strings.HasSuffix(m[1], "_seconds") && !strings.Contains(m[1], "age") {
			return series(m[1]), m[2]
		}
		return []string{m[1]}, m[2]
	})
}

// told are the metrics of docs/observability.md, as OpenTelemetry's exporter for Prometheus names them.
func told(t *testing.T) metrics {
	return rows(t, "observability.md", "(?m)^\\| `(tokenstore\\.[a-z_.]+)` \\| (\\w+) \\| `([^`]+)` \\|([^|]*)\\|", func(m []string) ([]string, string) {
		name := strings.ReplaceAll(m[1], ".", "_")
		if m[3] == "s" {
			name += "_seconds"
		}
		switch m[2] {
		case "counter":
			name += "_total"
		case "histogram":
			return series(name), m[4]
		}
		return []string{name}, m[4]
	})
}

// series are those of a histogram.
func series(name string) []string { return []string{name + "_bucket", name + "_sum", name + "_count"} }

// wrong says what is wrong with the rules of a file: all that Prometheus would refuse, and metrics and labels that there are not.
func wrong(text string, groups map[string]metrics) []string {
	parsed, errs := rulefmt.Parse([]byte(text), false)
	var found []string
	for _, err := range errs {
		found = append(found, err.Error())
	}
	if parsed == nil {
		return found
	}
	seen := map[string]bool{}
	for _, group := range parsed.Groups {
		known, ok := groups[group.Name]
		if !ok {
			found = append(found, "a group of unknown metrics: "+group.Name)
			continue
		}
		for _, rule := range group.Rules {
			if seen[rule.Alert] {
				found = append(found, "twice: "+rule.Alert)
			}
			seen[rule.Alert] = true
			expr, err := parser.ParseExpr(rule.Expr)
			if err != nil {
				continue // Parse has said so
			}
			for _, selector := range parser.ExtractSelectors(expr) {
				found = append(found, unknown(rule.Alert, selector, known)...)
			}
		}
	}
	return found
}

// unknown says what of a selector is not known.
func unknown(alert string, selector []*labels.Matcher, known metrics) (found []string) {
	var name string
	for _, m := range selector {
		if m.Name == labels.MetricName {
			name = m.Value
		}
	}
	has, ok := known[name]
	if !ok {
		return []string{alert + " is about " + name + ", which nothing exports"}
	}
	for _, m := range selector {
		if m.Name != labels.MetricName && !slices.Contains(has, m.Name) {
			found = append(found, alert+" asks "+name+" for the label "+m.Name+", which it has not")
		}
	}
	return found
}

func groups(t *testing.T) map[string]metrics {
	return map[string]metrics{"tokenstore-serve": served(t), "tokenstore-embedded": told(t)}
}

// Prometheus takes the rules, and there is every metric that they name.
func TestAlerts(t *testing.T) {
	for _, w := range wrong(readText(t, "alerts.yml"), groups(t)) {
		t.Error(w)
	}
}

// What is wrong is found.
func TestWrongAlerts(t *testing.T) {
	text := readText(t, "alerts.yml")
	for says, change := range map[string][2]string{
		"tokenstore_oldest, which nothing exports":      {"tokenstore_oldest_pending_age_seconds", "tokenstore_oldest"},
		"for the label result, which it has not":        {`outcome="busy"`, `result="busy"`},
		"tokenstore_exchanges, which nothing exports":   {"tokenstore_exchanges_total{", "tokenstore_exchanges{"},
		"a group of unknown metrics":                    {"name: tokenstore-serve", "name: another"},
		"parse error":                                   {"> 300", "> > 300"},
		"not a valid duration":                          {"for: 5m", "for: soon"},
		"field lables not found":                        {"labels:", "lables:"},
		"twice: TokenstoreBusy":                         {"TokenstoreEmbeddedBusy", "TokenstoreBusy"},
		"function \"humanise\" not defined":             {"humanizeDuration", "humanise"},
		"tokenstore_sweep_running_ratio, which nothing": {"max(tokenstore_sweep_running)", "max(tokenstore_sweep_running_ratio)"},
	} {
		broken := strings.Replace(text, change[0], change[1], 1)
		if got := strings.Join(wrong(broken, groups(t)), "\n"); broken == text || !strings.Contains(got, says) {
			t.Errorf("of %q becoming %q is said %q", change[0], change[1], got)
		}
	}
}

// What docs/operations.md says to watch has a rule, or is said to have none.
func TestWatched(t *testing.T) {
	operations := readText(t, "operations.md")
	rules := readText(t, "alerts.yml")
	rows := regexp.MustCompile(`(?m)^\| [^|]+ \| [^|]+ \| [^|]+ \| ([^|]+) \|$`).FindAllStringSubmatch(operations, -1)
	named := map[string]bool{}
	for _, row := range rows {
		for _, name := range regexp.MustCompile("`(Tokenstore\\w+)`").FindAllStringSubmatch(row[1], -1) {
			named[name[1]] = true
		}
	}
	var alerts []string
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(rules, -1) {
		alerts = append(alerts, m[1])
	}
	slices.Sort(alerts)
	if got := slices.Sorted(maps.Keys(named)); len(got) < 7 || !slices.Equal(got, alerts) {
		t.Errorf("docs/operations.md names %q, and there are %q", got, alerts)
	}
}
