package main

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

const good = `
# A comment.
mutant no-fence
breaks S1: a revoked token is exchanged.
test ./lib TestLib/a_part
short
file lib/a.go
- if a {
-   b()
+ if c {
- }
file lib/b.go
- d()
`

func texts(text string) fstest.MapFS { return fstest.MapFS{"a.txt": {Data: []byte(text)}} }

func TestParse(t *testing.T) {
	all, err := parse(texts(good))
	if err != nil || len(all) != 1 {
		t.Fatalf("got %d mutants, error %v", len(all), err)
	}
	m := all[0]
	if m.name != "no-fence" || m.breaks != "S1: a revoked token is exchanged." || !m.short || m.test != (test{"./lib", "TestLib/a_part"}) {
		t.Errorf("got %+v", m)
	}
	var edits []string
	for _, e := range m.edits {
		edits = append(edits, e.file+": "+strings.Join(e.old, "|")+" > "+strings.Join(e.new, "|"))
	}
	want := "lib/a.go: if a {|b() > if c {; lib/a.go: } > ; lib/b.go: d() > "
	if got := strings.Join(edits, "; "); got != want {
		t.Errorf("got edits %q, want %q", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "# empty\n", "empty"},
		{"no name first", "breaks S1\n", "a.txt:1: a mutant begins with its name"},
		{"bad name", strings.Replace(good, "no-fence", "No fence", 1), "name is of"},
		{"two of a name", good + good, "two of the name no-fence"},
		{"unknown word", good + "timeout 3s\n", "a line begins with"},
		{"test without package", strings.Replace(good, "./lib TestLib/a_part", "TestLib", 1), "a package and a name"},
		{"no test", strings.Replace(good, "test ./lib TestLib/a_part", "", 1), "which test"},
		{"no promise", strings.Replace(good, "breaks S1: a revoked token is exchanged.", "", 1), "what does it break"},
		{"lines of no file", "mutant a\n- b\n", "lines belong to a file"},
		{"no edit", "mutant a\nbreaks b\ntest ./c TestD\n", "changes nothing"},
		{"no anchor", good + "file lib/c.go\n+ e()\n", "replaces lines"},
		{"no change", good + "file lib/c.go\n- e()\n+ e()\n", "replaces lines"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := parse(texts(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
}

func TestApply(t *testing.T) {
	file := strings.Split("a {\n\tb()\n}\nc {\n\tb()\n}\n", "\n")
	for _, c := range []struct {
		name, old, new string
		times          int
		want           string
	}{
		{"once", "b()|}|c {", "d()", 1, "a {|d()|\tb()|}|"},
		{"taken away", "c {|b()|}", "", 1, "a {|\tb()|}|"},
		{"twice", "b()|}", "d()", 2, ""},
		{"missing", "b()|c {", "d()", 0, ""},
		{"longer than the file", "a {|b()|}|c {|b()|}||e", "d()", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := edit{old: strings.Split(c.old, "|")}
			if c.new != "" {
				e.new = strings.Split(c.new, "|")
			}
			changed, times := e.apply(file)
			if times != c.times || times == 1 && strings.Join(changed, "|") != c.want {
				t.Errorf("got %q, %d times; want %q, %d times", changed, times, c.want, c.times)
			}
		})
	}
	if got := strings.Join(file, "|"); got != "a {|\tb()|}|c {|\tb()|}|" {
		t.Errorf("the file itself was changed: %q", got)
	}
}

// TestCatalogue: what is in the catalogue is in form, and has its place in the code as it is. That is seen by every run too, but those
// are rarer than tests.
func TestCatalogue(t *testing.T) {
	all, err := parse(mustSub(t))
	if err != nil {
		t.Fatal(err)
	}
	short, scratch := 0, t.TempDir()
	for _, m := range all {
		if err := m.seed(filepath.Join("..", ".."), filepath.Join(scratch, m.name)); err != nil {
			t.Error(err)
		}
		if m.short {
			short++
		}
	}
	if len(all) < 25 || short < 5 || short > 10 {
		t.Errorf("%d mutants, and %d of them short; want at least 25, and 5 to 10", len(all), short)
	}
}
