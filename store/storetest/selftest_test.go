package storetest

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
)

// A suite is worth what it catches. These tests hold it against stores that are right, odd, and wrong.

func TestRulesAreThePromises(t *testing.T) {
	source, err := os.ReadFile("../doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var promised, tested []string
	for _, match := range regexp.MustCompile(`(?m)^//\s+- (R\d+) ([a-z ]+):`).FindAllStringSubmatch(string(source), -1) {
		promised = append(promised, match[1]+" "+match[2])
	}
	for _, r := range rules {
		tested = append(tested, r.id()+" "+r.name)
		if r.why == "" || r.check == nil {
			t.Errorf("rule without a reason or a check: %s", r.id())
		}
	}
	if !slices.Equal(promised, tested) {
		t.Errorf("the rules must be the promises of package store:\npromised %q\ntested   %q", promised, tested)
	}
}

func TestFullTokenLeavesNothingOut(t *testing.T) {
	e := &env{config: plain(nil), ctx: t.Context(), backend: memstore.New()}
	w := e.tenant(t)
	full := w.full()
	value := reflect.ValueOf(full)
	for i := range value.NumField() {
		if name := value.Type().Field(i).Name; name != "Sequence" && value.Field(i).IsZero() {
			t.Errorf("a field that the suite does not fill: %s", name)
		}
	}
	for _, token := range []struct {
		name string
		err  error
	}{{"full", full.Validate()}, {"longest", func() error { token := w.longest(); return token.Validate() }()}} {
		if token.err != nil {
			t.Errorf("a token of the suite must be valid: %s: %v", token.name, token.err)
		}
	}
	// What may change is all of it but the identity.
	touched := differences(full, changed(full))
	for i := range value.NumField() {
		name := value.Type().Field(i).Name
		identity := slices.Contains([]string{
			"ID", "ForeignID", "UserID", "ClientID", "SessionID", "CreatedAt", "ResourceServers", "Sequence",
			"ForeignDigest", "ForeignWeak",
		}, name)
		if identity == slices.Contains(touched, name) {
			t.Errorf("a field is either identity or changed by the suite: %s", name)
		}
	}
}

func TestRightStorePasses(t *testing.T) {
	t.Parallel()
	wantViolations(t, plain(nil))
}

func TestOddStorePasses(t *testing.T) {
	t.Parallel()
	wantViolations(t, plain(func(_ store.Backend, _ string, s store.Store) store.Store { return odd{s} }))
}

func TestRestartIsSkippedWithoutReopen(t *testing.T) {
	c := plain(nil)
	c.Reopen = nil
	rec := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		rules[28].run(rec, c)
	}()
	<-done
	if !rec.skipped || rec.Failed() {
		t.Errorf("R29 without Reopen must be skipped: skipped %v, failed %v", rec.skipped, rec.messages)
	}
}

func TestBrokenStoresAreCaught(t *testing.T) {
	caught := map[string]bool{}
	for _, b := range broken {
		for _, id := range b.rules {
			caught[id] = true
		}
		t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			c := plain(b.wrap)
			if b.config != nil {
				b.config(&c)
			}
			wantViolations(t, c, b.rules...)
		})
	}
	for _, r := range rules {
		if !caught[r.id()] {
			t.Errorf("no broken store is caught by %s %s", r.id(), r.name)
		}
	}
}

// wantViolations expects exactly the given rules to fail.
func wantViolations(t *testing.T, c Config, want ...string) {
	t.Helper()
	found := violations(t, c)
	got, want := slices.Sorted(maps.Keys(found)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("the suite must find exactly what is wrong: found %v, want %v", got, want)
		for id, messages := range found {
			if !slices.Contains(want, id) {
				t.Logf("%s: %q", id, messages)
			}
		}
	}
	for id, messages := range found {
		if !strings.Contains(strings.Join(messages, "\n"), id+" ") {
			t.Errorf("a failure must name its rule: %s: %q", id, messages)
		}
		if slices.ContainsFunc(messages, func(m string) bool { return strings.HasPrefix(m, "panic: ") }) {
			t.Errorf("a rule must fail, and not end the tests of all others: %s: %q", id, messages)
		}
	}
}
