package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// small is a module with every operator that is switched, and with tests of some of it.
var small = map[string]string{
	"go.mod": "module small\n\ngo 1.26.0\n",
	"sum/sum.go": `package sum

const half = 8 / 2

func Mean(of ...int) int {
	total, n := 0, 0
	for _, v := range of {
		if v >= 0 && v <= 9 && (v != 7 || n < 1) {
			total = total + v*1
			n++
		}
	}
	if n == 0 {
		return -n
	}
	return total / n % 100
}

func Half() int { return half }

func Name(s string) string { return s + "!" }

func Down(n int) (left int) {
	for left = n; left > 0; left-- {
	}
	return left - 0
}

func Twice(n int) int { return n + n }
`,
	"docs/mutation.md": "",
	"sum/sum_test.go": `package sum

import (
	"os"
	"os/exec"
	"testing"
)

func TestMean(t *testing.T) {
	for _, of := range [][]int{{3, 5, 4}, {4}, {0, 8}, {4, -5, 10, 4}} {
		if got := Mean(of...); got != 4 {
			t.Errorf("got %d", got)
		}
	}
	if got := Mean(); got != 0 {
		t.Errorf("got %d", got)
	}
}

func TestHalf(t *testing.T) {
	if got := Half(); got != 4 {
		t.Errorf("got %d", got)
	}
}

func TestDown(t *testing.T) {
	if got := Down(3); got != 0 {
		t.Errorf("got %d", got)
	}
}

func TestChild(t *testing.T) {
	if os.Getenv("CHILD") != "" {
		if got := Twice(2); got != 4 {
			t.Errorf("got %d", got)
		}
		return
	}
	if got := Down(1); got != 0 {
		t.Errorf("got %d", got)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestChild$")
	child.Env = append(os.Environ(), "CHILD=1")
	if err := child.Run(); err != nil {
		t.Error(err)
	}
}
`,
}

func write(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// nothing is a file of results that has none yet.
func nothing(t *testing.T) *results {
	t.Helper()
	log, err := openResults(filepath.Join(t.TempDir(), "results"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.close)
	return log
}

// verdicts are those that one finds by hand.
var verdicts = map[string]string{
	"`sum/sum.go` ``: `const half = 8 / 2` with `*` for `/`":                                     killed,
	"`sum/sum.go` `Mean`: `if v >= 0 && v <= 9 && (v != 7 || n < 1) {` with `>` for `>=`":        killed,
	"`sum/sum.go` `Mean`: `if v >= 0 && v <= 9 && (v != 7 || n < 1) {` with `<` for `>=`":        killed,
	"`sum/sum.go` `Mean`: `if v >= 0 && v <= 9 && (v != 7 || n < 1) {` with `<` for `<=`":        lived,
	"`sum/sum.go` `Mean`: `if v >= 0 && v <= 9 && (v != 7 || n < 1) {` with `>` for `<=`":        killed,
	"`sum/sum.go` `Mean`: `if v >= 0 && v <= 9 && (v != 7 || n < 1) {` with `==` for `!=`":       killed,
	"`sum/sum.go` `Mean`: `if v >= 0 && v <= 9 && (v != 7 || n < 1) {` with `<=` for `<`":        lived,
	"`sum/sum.go` `Mean`: `if v >= 0 && v <= 9 && (v != 7 || n < 1) {` with `>=` for `<`":        lived,
	"`sum/sum.go` `Mean`: `if v >= 0 && v <= 9 && (v != 7 || n < 1) {` with `&&` for `||`":       killed,
	"`sum/sum.go` `Mean`: `if v >= 0 && v <= 9 && (v != 7 || n < 1) {` with `||` for `&&`":       killed,
	"`sum/sum.go` `Mean`: `if v >= 0 && v <= 9 && (v != 7 || n < 1) {` with `||` for `&&` no. 2": killed,
	"`sum/sum.go` `Mean`: `total = total + v*1` with `-` for `+`":                                killed,
	"`sum/sum.go` `Mean`: `total = total + v*1` with `/` for `*`":                                lived,
	"`sum/sum.go` `Mean`: `n++` with `--` for `++`":                                              killed,
	"`sum/sum.go` `Mean`: `if n == 0 {` with `!=` for `==`":                                      killed,
	"`sum/sum.go` `Mean`: `return -n` with `+` for `-`":                                          lived,
	"`sum/sum.go` `Mean`: `return total / n % 100` with `*` for `/`":                             killed,
	"`sum/sum.go` `Mean`: `return total / n % 100` with `*` for `%`":                             killed,
	"`sum/sum.go` `Name`: `func Name(s string) string { return s + \"!\" }` with `-` for `+`":    unviable,
	"`sum/sum.go` `Down`: `for left = n; left > 0; left-- {` with `>=` for `>`":                  killed,
	"`sum/sum.go` `Down`: `for left = n; left > 0; left-- {` with `<=` for `>`":                  killed,
	"`sum/sum.go` `Down`: `for left = n; left > 0; left-- {` with `++` for `--`":                 timedOut,
	"`sum/sum.go` `Down`: `return left - 0` with `+` for `-`":                                    lived,
	"`sum/sum.go` `Twice`: `func Twice(n int) int { return n + n }` with `-` for `+`":            killed,
}

// Each mutant of the small module has its verdict, switched on as well as built on its own.
func TestVerdicts(t *testing.T) {
	root := write(t, small)
	s, mutants, err := find(t.Context(), root, "sum")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := prepare(s, mutants)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	tr.least = 3 * time.Second
	r := round{pkg: "sum"}
	tests, err := tr.control(t.Context(), r, nothing(t))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, m := range mutants {
		seen[m.name()] = true
		for _, alone := range []bool{false, true} {
			m.alone = alone || m.op.constant
			found, err := tr.try(t.Context(), m, i+1, r, tests)
			if err != nil {
				t.Fatal(err)
			}
			if want := verdicts[m.name()]; found.Verdict != want {
				t.Errorf("%s, built alone: %t, is %s by %q, want %s", m.name(), alone, found.Verdict, found.By, want)
			}
		}
	}
	if len(seen) != len(verdicts) {
		t.Errorf("%d mutants, want %d", len(seen), len(verdicts))
	}
}

// reach has the tests that come by where a mutant of the small module makes a difference.
var reach = map[string]string{
	"`sum/sum.go` `Mean`: `if v >= 0 && v <= 9 && (v != 7 || n < 1) {` with `>` for `>=`":     "TestMean",
	"`sum/sum.go` `Mean`: `if v >= 0 && v <= 9 && (v != 7 || n < 1) {` with `<` for `<=`":     "", // of no 9
	"`sum/sum.go` `Mean`: `if v >= 0 && v <= 9 && (v != 7 || n < 1) {` with `<=` for `<`":     "", // of no 7
	"`sum/sum.go` `Mean`: `return -n` with `+` for `-`":                                       "TestMean",
	"`sum/sum.go` `Down`: `for left = n; left > 0; left-- {` with `>=` for `>`":               "TestChild TestDown",
	"`sum/sum.go` `Twice`: `func Twice(n int) int { return n + n }` with `-` for `+`":         "TestChild", // in a child process
	"`sum/sum.go` `Name`: `func Name(s string) string { return s + \"!\" }` with `-` for `+`": "",
}

// A mutant is asked about in the tests that reach it, and in no other.
func TestReach(t *testing.T) {
	s, mutants, err := find(t.Context(), write(t, small), "sum")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := prepare(s, mutants)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	r := round{pkg: "sum", skip: "^TestHalf$"}
	tests, err := tr.control(t.Context(), r, nothing(t))
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for i, m := range mutants {
		want, is := reach[m.name()]
		if !is {
			continue
		}
		looked++
		var by []string
		for _, test := range tests {
			if test.Reached[m.key()] {
				by = append(by, test.Name)
			}
		}
		slices.Sort(by)
		if got := strings.Join(by, " "); got != want {
			t.Errorf("%s is reached by %q, want %q", m.name(), got, want)
		}
		found, err := tr.try(t.Context(), m, i+1, r, tests)
		if asked := min(len(by), 1); err != nil || found.Tests != asked { // each of these tests notices what it reaches, or is the only one
			t.Errorf("%s is asked about in %d tests, want %d; error %v", m.name(), found.Tests, asked, err)
		}
	}
	if looked != len(reach) {
		t.Errorf("%d mutants, want %d", looked, len(reach))
	}
}

// A mutant that a test has no time for, and does not notice when it is asked again, has survived. One that keeps the processors busy has
// timed out however long the test may take.
func TestBusyMachine(t *testing.T) {
	s, mutants, err := find(t.Context(), write(t, map[string]string{
		"go.mod":     "module small\n\ngo 1.26.0\n",
		"sum/sum.go": "package sum\n\nfunc Twice(n int) int { return n + n }\n",
		"sum/sum_test.go": `package sum

import (
	"os"
	"testing"
)

func TestTwice(t *testing.T) {
	if Twice(1) == 0 && os.Remove(os.Getenv("BUSY")) == nil {
		select {}
	}
	for Twice(1) == 0 && os.Getenv("SPINS") != "" {
	}
}
`,
	}), "sum")
	if err != nil {
		t.Fatal(err)
	}
	busy := filepath.Join(t.TempDir(), "busy")
	if err := os.WriteFile(busy, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BUSY", busy)
	tr, err := prepare(s, mutants)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	tr.least = time.Second
	r := round{pkg: "sum"}
	tests, err := tr.control(t.Context(), r, nothing(t))
	if err != nil {
		t.Fatal(err)
	}
	found, err := tr.try(t.Context(), mutants[0], 1, r, tests)
	if _, gone := os.Stat(busy); err != nil || gone == nil || found.Verdict != lived {
		t.Errorf("got %s by %q, error %v, the file is gone: %v", found.Verdict, found.By, err, gone)
	}
	t.Setenv("SPINS", "yes")
	tests[0].Took = time.Minute
	began := time.Now()
	found, err = tr.try(t.Context(), mutants[0], 1, r, tests)
	if took := time.Since(began); err != nil || found.Verdict != timedOut || took > tests[0].Took {
		t.Errorf("got %s by %q after %v, error %v", found.Verdict, found.By, took, err)
	}
}

// A run fails as long as a survivor is not explained, or an explanation is of none.
func TestExplanations(t *testing.T) {
	root := write(t, small)
	_, mutants, err := find(t.Context(), root, "sum")
	if err != nil {
		t.Fatal(err)
	}
	results := filepath.Join(t.TempDir(), "results")
	log, err := openResults(results)
	if err != nil {
		t.Fatal(err)
	}
	doc := "# Survivors\n"
	for _, m := range mutants {
		verdict := verdicts[m.name()]
		if err := log.add(result{mutant: m, Verdict: verdict}); err != nil {
			t.Fatal(err)
		}
		if verdict == lived {
			doc += "\n- " + m.name() + "\n  The tests of the small module leave it out.\n"
		}
	}
	log.close()
	surplus := "\n- `sum/sum.go` `Mean`: `n++` with `--` for `++`\n  It doesn't survive.\n"
	for _, c := range []struct {
		name, doc string
		want      error
	}{
		{"all", doc, nil},
		{"one too few", doc[:strings.LastIndex(doc, "\n- ")], errNotAsExplained},
		{"one too many", doc + surplus, errNotAsExplained},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(root, "docs", "mutation.md"), []byte(c.doc), 0o644); err != nil {
				t.Fatal(err)
			}
			var page bytes.Buffer
			if err := run(t.Context(), &page, options{root: root, results: results, files: "."}, []plan{{pkg: "sum"}}); err != c.want {
				t.Errorf("got %v, want %v\n%s", err, c.want, &page)
			}
			if want := "| `sum` | 24 | 24 | 1 | 16 | 1 | 6 | 73.9 % |"; !strings.Contains(page.String(), want) {
				t.Errorf("no line %s in\n%s", want, &page)
			}
		})
	}
}

// What can't be loaded is named, and so is why.
func TestNoPackage(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module small\n\ngo 1.26.0\n", "broken/broken.go": "package broken\n\nvar x = missing\n", "empty/text": ""} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for pkg, says := range map[string]string{
		"empty/...": "0 packages of the name empty/...", "nothing": "package nothing can't be loaded", "broken": "undefined: missing",
	} {
		if _, err := load(t.Context(), root, pkg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", pkg, err, says)
		}
	}
}

// A run that was killed as it wrote is gone on with: the half line is passed over, and what comes next is a line of its own. What is
// no result elsewhere in the file is an error that says where.
func TestHalfALine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mutation.out")
	first, second := result{Verdict: killed, By: "TestFirst"}, result{Verdict: lived}
	first.File, second.File = "a.go", "b.go"
	reopen := func() *results {
		t.Helper()
		r, err := openResults(name)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := reopen()
	for _, found := range []result{first, second} {
		if err := r.add(found); err != nil {
			t.Fatal(err)
		}
	}
	r.close()
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	begin := bytes.IndexByte(whole, '\n') + 1
	for cut := begin; cut < len(whole); cut++ {
		if err := os.WriteFile(name, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		r := reopen()
		if len(r.known) != 1 || r.known[first.key()].By != "TestFirst" {
			t.Fatalf("cut at %d: got %+v", cut, r.known)
		}
		if err := r.add(second); err != nil {
			t.Fatal(err)
		}
		r.close()
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, whole) {
			t.Fatalf("cut at %d, and gone on with: %q, %v", cut, got, err)
		}
	}
	if err := os.WriteFile(name, append(append([]byte{}, whole...), "{\"Verdict\":\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openResults(name); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("got %v", err)
	}
}
