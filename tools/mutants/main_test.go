package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func mustSub(t *testing.T) fs.FS {
	t.Helper()
	texts, err := fs.Sub(catalogue, "catalogue")
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// small is a module with a bug-free function, and tests of it.
var small = map[string]string{
	"go.mod": "module small\n\ngo 1.26.0\n",
	"sum.go": `package small

func Sum(of ...int) (sum int) {
	for _, n := range of {
		sum += n
	}
	return sum
}
`,
	"sum_test.go": `package small

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if Sum(7) != 7 {
		code = 1
	}
	os.Exit(code)
}

func TestSum(t *testing.T) {
	t.Run("of two", func(t *testing.T) {
		if got := Sum(1, 2); got != 3 {
			t.Errorf("got %d", got)
		}
	})
	t.Run("of none", func(t *testing.T) {
		if got := Sum(); got != 0 {
			t.Errorf("got %d", got)
		}
	})
}

func TestNothing(t *testing.T) {}

func TestParentFails(t *testing.T) {
	t.Run("child", func(t *testing.T) {})
	if Sum(1, 2) != 3 {
		t.Error("the parent's own")
	}
}

func TestFails(t *testing.T) { t.Error("as it always does") }

func TestSkipped(t *testing.T) { t.Skip("as it always is") }
`,
}

// write makes a module of the files.
func write(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// seeded is a mutant of the small module that has a line in the place of the sum's.
func seeded(name, line, test string) string {
	return "mutant " + name + "\nbreaks adding up\ntest . " + test + "\nfile sum.go\n- sum += n\n+ " + line + "\n"
}

func catalogueOf(mutants ...string) fstest.MapFS {
	return fstest.MapFS{"a.txt": {Data: []byte(strings.Join(mutants, "\n"))}}
}

// TestRun: what is caught is told from all that is not.
func TestRun(t *testing.T) {
	root := write(t, small)
	for _, c := range []struct{ name, mutant, what string }{
		{"caught", seeded("m", "sum -= n", "TestSum"), caught},
		{"caught by the subtest", seeded("m", "sum -= n", "TestSum/of_two"), caught},
		{"survivor", seeded("m", "sum += n + 0", "TestSum"), survived},
		{"another subtest would see it", seeded("m", "sum -= n", "TestSum/of_none"), elsewhere}, // TestMain does
		{"the parent fails", seeded("m", "sum -= n", "TestParentFails/child"), elsewhere},
		{"does not compile", seeded("m", "sum += m", "TestSum"), uncompiled},
		{"panics", seeded("m", "sum += of[len(of)+n]", "TestSum"), panicked},
		{"fails after all tests", seeded("m", "if n != 7 { sum += n }", "TestSum"), elsewhere},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			err := run(t.Context(), &out, catalogueOf(c.mutant), root, selection{})
			text := out.String()
			if !strings.Contains(text, "\n"+c.what+" ") {
				t.Errorf("got %q, want %s", text, c.what)
			}
			last := "mutants: 0 caught of 1\n"
			if c.what == caught {
				last = "mutants: 1 caught of 1\n"
			}
			if !strings.HasSuffix(text, last) || (err == nil) != (c.what == caught) || err != nil && !errors.Is(err, errNotCaught) {
				t.Errorf("it ends in %q, error %v; want %q", text[max(0, len(text)-40):], err, last)
			}
		})
	}
}

// TestControl: a test that does not pass on the code as it is, or does not run at all, catches nothing.
func TestControl(t *testing.T) {
	root := write(t, small)
	for name, what := range map[string]string{"TestFails": caught, "TestSkipped": notRun, "TestNone": notRun, "TestSum/of_three": notRun} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			err := run(t.Context(), &out, catalogueOf(seeded("a", "sum -= n", name), seeded("b", "sum -= n", "TestSum")), root, selection{})
			if !errors.Is(err, errNotCaught) || strings.Contains(out.String(), "caught of") {
				t.Errorf("got %v and %q, want the run to end before any mutant", err, out.String())
			}
			if text := out.String(); !strings.Contains(text, "without a mutant: . "+name) || !strings.Contains(text, what) {
				t.Errorf("got %q, want it to name the test", text)
			}
		})
	}
}

// TestAnchors: an anchor that does not occur exactly once ends the run before anything is tested, in a short run and where
// other mutants are asked for as well.
func TestAnchors(t *testing.T) {
	root := write(t, small)
	missing := strings.Replace(seeded("missing", "sum -= n", "TestSum"), "- sum += n", "- sum += m", 1)
	twice := strings.Replace(seeded("twice", "{", "TestSum"), "- sum += n", "- }", 1)
	for _, c := range []struct{ name, mutant, want string }{
		{"missing", missing, "occurs 0 times in sum.go"},
		{"twice", twice, "occurs 2 times in sum.go"},
		{"no such file", strings.Replace(missing, "file sum.go", "file none.go", 1), "none.go"},
	} {
		var out strings.Builder
		good := strings.Replace(seeded("good", "sum -= n", "TestSum"), "\nfile", "\nshort\nfile", 1)
		err := run(t.Context(), &out, catalogueOf(good, c.mutant), root, selection{short: true, parts: []string{"good"}})
		if err == nil || !strings.Contains(err.Error(), c.want) || out.Len() > 0 {
			t.Errorf("%s: got %v and %q, want it to say %q", c.name, err, out.String(), c.want)
		}
	}
}

func TestSelection(t *testing.T) {
	m := &mutant{name: "memstore-no-fence", short: true}
	n := &mutant{name: "no-poll"}
	for _, c := range []struct {
		which      selection
		hasM, hasN bool
	}{
		{selection{}, true, true},
		{selection{short: true}, true, false},
		{selection{parts: []string{"fence", "other"}}, true, false},
		{selection{parts: []string{"no-"}}, true, true},
		{selection{short: true, parts: []string{"poll"}}, false, false},
	} {
		if c.which.has(m) != c.hasM || c.which.has(n) != c.hasN {
			t.Errorf("%+v: got %v and %v", c.which, c.which.has(m), c.which.has(n))
		}
	}
	var out strings.Builder
	if err := run(t.Context(), &out, catalogueOf(seeded("m", "sum -= n", "TestSum")), write(t, small), selection{parts: []string{"none"}}); err == nil {
		t.Error("a run of no mutant must fail")
	}
}

// TestTimeIsUp: a run that is ended is not one that has caught anything.
func TestTimeIsUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	var out strings.Builder
	if err := run(ctx, &out, catalogueOf(seeded("m", "sum -= n", "TestSum")), write(t, small), selection{}); !errors.Is(err, errNotCaught) {
		t.Errorf("got %v", err)
	}
}

// TestJudgeTimeout: a binary that was ended because of its time limit is no catch, though a test was under way.
func TestJudgeTimeout(t *testing.T) {
	events := `{"Action":"run","Test":"TestA"}
{"Action":"output","Test":"TestA","Output":"panic: test timed out after 1s\n"}
{"Action":"fail","Test":"TestA"}
{"Action":"fail"}
`
	if v := judge([]byte(events), "TestA"); v.what != hung {
		t.Errorf("got %s, want %s", v.what, hung)
	}
}
