package main

import (
	"bytes"
	"os"
	"path/filepath"
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
`,
	"docs/mutation.md": "",
	"sum/sum_test.go": `package sum

import "testing"

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
	r := round{pkg: "sum"}
	if _, err := tr.control(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, m := range mutants {
		seen[m.name()] = true
		for _, alone := range []bool{false, true} {
			m.alone = alone || m.op.constant
			found, err := tr.try(t.Context(), m, i+1, r, 3*time.Second)
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
			if want := "| `sum` | 23 | 23 | 1 | 15 | 1 | 6 | 72.7 % |"; !strings.Contains(page.String(), want) {
				t.Errorf("no line %s in\n%s", want, &page)
			}
		})
	}
}
