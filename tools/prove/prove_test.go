package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/guarantees.md anew")

const guarantees = "../../docs/guarantees.md"

func read(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(guarantees)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestGuaranteesHaveTheTable: the table of the document is that of the program.
func TestGuaranteesHaveTheTable(t *testing.T) {
	const begin, end = "<!-- checks -->\n", "<!-- end of checks -->\n"
	text := read(t)
	before, rest, ok := strings.Cut(text, begin)
	table, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table", guarantees)
	}
	if table == markdown(checks) {
		return
	}
	if !*update {
		t.Fatalf("the table of %s is not that of checks.go; go test ./prove -update writes it anew", guarantees)
	}
	if err := os.WriteFile(guarantees, []byte(before+begin+markdown(checks)+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestEveryPromiseIsTested: the rows of the document and the checks belong together.
func TestEveryPromiseIsTested(t *testing.T) {
	declared, err := declaredTests(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := allRows(parsePromises(read(t)), checks, declared)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) < 60 {
		t.Errorf("only %d rows", len(rows))
	}
	for _, size := range []string{"short", "", "long"} {
		if len(efforts[size].rows(rows)) < 40 {
			t.Errorf("PROVE=%s has only %d rows", size, len(efforts[size].rows(rows)))
		}
	}
}

func TestParsePromises(t *testing.T) {
	got := parsePromises("| Promise | Means | Tests |\n|---|---|---|\n| **S1** fence | no `TestNotThis` | `TestA`, `FuzzB`, `TestA` |\n| plain | x | `TestC` |\n\n" +
		"| Other | Tests |\n|---|---|\n| **S9** none | `TestD` |\n")
	if len(got) != 2 || got[0].id != "S1" || got[0].title != "S1 fence" || strings.Join(got[0].tests, " ") != "TestA FuzzB" ||
		got[1].id != "" || got[1].title != "plain" {
		t.Errorf("got %+v", got)
	}
}

// TestWhatIsNotTestedIsAnError: the table can't be printed as if all were well.
func TestWhatIsNotTestedIsAnError(t *testing.T) {
	declared := map[string][]test{"TestA": {{"p", "TestA"}}}
	promises := []promise{{id: "S1", title: "S1 fence", tests: []string{"TestA"}}}
	for _, c := range []struct {
		name     string
		promises []promise
		checks   []check
		want     string
	}{
		{"a promise without a test", []promise{{id: "S1", title: "S1 fence"}}, nil, "names no test"},
		{"a test that is nowhere", []promise{{title: "plain", tests: []string{"TestGone"}}}, nil, "TestGone"},
		{"a check of no promise", promises, []check{{method: "m", promises: []string{"S9"}}}, "S9"},
	} {
		_, err := allRows(c.promises, c.checks, declared)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	if _, err := allRows(promises, []check{{method: "m", promises: []string{"S1"}}}, declared); err != nil {
		t.Errorf("what is in order: got %v", err)
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name, output string
		unit         string
		done         int
		want         string
	}{
		{"enough", attr("cases", "12") + ended("pass", "TestA"), cases, 12, ""},
		{"too few", attr("cases", "9") + ended("pass", "TestA"), cases, 9, "only 9, the floor is 10"},
		{"too few of one", attr("cases", "1") + ended("pass", "TestA"), cases, 1, "TestA only 1, its floor is 2"},
		{"said by rapid", said("[rapid] OK, passed 11 tests (1s)") + ended("pass", "TestA"), cases, 11, ""},
		{"nothing said", ended("pass", "TestA"), cases, 0, "says nothing of cases"},
		{"another unit", attr("kills", "12") + ended("pass", "TestA"), cases, 0, "says nothing of cases"},
		{"failed", attr("cases", "12") + ended("fail", "TestA"), cases, 12, "TestA: fail"},
		{"skipped", attr("cases", "12") + ended("skip", "TestA"), cases, 12, "TestA: skip"},
		{"not ended", attr("cases", "12"), cases, 12, "did not run to its end"},
		{"did not run", "", cases, 0, "did not run to its end"},
		{"subtests", strings.Repeat(ended("pass", "TestA/x"), 1) + ended("pass", "TestA/y") + ended("pass", "TestAB") + ended("pass", "TestA"), passed, 3, "only 3, the floor is 10"},
	} {
		seen := results{}
		for line := range strings.Lines(c.output) {
			if err := seen.take("p", []byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		w := row{check: check{unit: c.unit, tests: []test{{"p", "TestA"}}}}
		seen.judge(&w, 10, 2)
		if w.done != c.done || (c.want == "") != (w.verdict == "") || !strings.Contains(w.verdict, c.want) {
			t.Errorf("%s: got %d and %q", c.name, w.done, w.verdict)
		}
	}
}

func attr(key, value string) string {
	return `{"Action":"attr","Test":"TestA","Key":"` + key + `","Value":"` + value + `"}` + "\n"
}

func said(text string) string {
	return `{"Action":"output","Test":"TestA","Output":"` + text + `"}` + "\n"
}

func ended(how, name string) string {
	return `{"Action":"` + how + `","Test":"` + name + `"}` + "\n"
}
