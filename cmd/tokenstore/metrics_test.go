package main

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The metrics that are served are those of docs/serve.md, both ways, with their labels; and the alerts are about metrics that there are.
func TestMetricsAreDocumented(t *testing.T) {
	db, issued := fileWith(t, 2)
	p := serve(t, db)
	p.do("DELETE", "/api/v2/refresh-tokens/"+issued[0].Token.ID.String())
	p.until("GET", "/metrics", func(a answer) bool { return strings.Contains(a.body, "\ntokenstore_revocations_retired_total 1\n") })
	served := servedMetrics(p.do("GET", "/metrics").body)
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(tokenstore_\\w+)` \\|([^|]*)\\|").FindAllStringSubmatch(textOf(t, "../../docs/serve.md"), -1) {
		documented[m[1]] = strings.ReplaceAll(strings.TrimSpace(m[2]), "`", "")
	}
	for _, name := range slices.Sorted(maps.Keys(served)) {
		if labels, ok := documented[name]; !ok || labels != served[name] {
			t.Errorf("%s is served with labels %q, and documented (%t) with %q", name, served[name], ok, labels)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(documented)) {
		if _, ok := served[name]; !ok {
			t.Errorf("%s is documented, and not served", name)
		}
	}
	if len(served) < 15 {
		t.Errorf("only %d are served", len(served))
	}
	_, rules, _ := strings.Cut(textOf(t, "../../docs/alerts.yml"), "name: tokenstore-serve\n")
	rules, _, _ = strings.Cut(rules, "\n  - name:")
	names := regexp.MustCompile(`tokenstore_\w+`).FindAllString(rules, -1)
	for _, name := range names {
		if _, ok := served[name]; !ok {
			t.Errorf("an alert is about %s, which is not served", name)
		}
	}
	if len(names) < 5 {
		t.Errorf("the alerts are about %q only", names)
	}
}

// servedMetrics are the names of our metrics, and the labels of each.
func servedMetrics(text string) map[string]string {
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (tokenstore_\w+) (\w+)\n(?:\w+\{(.*)\} )?`).FindAllStringSubmatch(text, -1) {
		var labels []string
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[3], -1) {
			if label[1] != "le" { // of a histogram's buckets
				labels = append(labels, label[1])
			}
		}
		found[m[1]] = strings.Join(labels, ", ")
	}
	return found
}

func textOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
