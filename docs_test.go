package tokenstore_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func match(t *testing.T, file, pattern string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(readText(t, file), -1) {
		found[m[1]] = true
	}
	return found
}

// TestGuarantees: every promise has its row, every test that a row names is there, and every rule of the contract that it
// refers to.
func TestGuarantees(t *testing.T) {
	const file = "docs/guarantees.md"
	want := []string{"L1", "L2", "L3", "S1", "S2", "S3", "S4", "S5", "S6", "S7"}
	if got := slices.Sorted(maps.Keys(match(t, file, `(?m)^\| \*\*([SL]\d+)\*\* `))); !slices.Equal(got, want) {
		t.Errorf("rows of %v, want %v", got, want)
	}
	tests := testNames(t)
	for name := range match(t, file, "`(Test\\w+|Fuzz\\w+)`") {
		if !tests[name] {
			t.Errorf("%s names %s, which is no test of this module", file, name)
		}
	}
	rules := match(t, "store/doc.go", `(?m)^//   - (R\d+) `)
	for rule := range match(t, file, `\b(R\d+)\b`) {
		if !rules[rule] {
			t.Errorf("%s names %s, which is no rule of store/doc.go", file, rule)
		}
	}
	if len(rules) < 20 {
		t.Errorf("found %d rules: the patterns of this test are out of date", len(rules))
	}
	for name := range tests {
		if promise := regexp.MustCompile(`^Test([SL]\d)[A-Z]`).FindStringSubmatch(name); promise != nil && !strings.Contains(readText(t, file), "`"+name+"`") {
			t.Errorf("%s is about %s, and %s does not name it", name, promise[1], file)
		}
	}
}

// testNames are the names of all tests and fuzz tests of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	eachFile(t, ".", "_test.go", func(path string) {
		maps.Copy(names, match(t, path, `(?m)^func ((?:Test|Fuzz)\w+)\(`))
	})
	return names
}

// TestErrorsAreDocumented: every error that the package exports has a row in docs/errors.md, and every row is of one.
func TestErrorsAreDocumented(t *testing.T) {
	exported := exportedErrors(t)
	rows := match(t, "docs/errors.md", "(?m)^\\| `(Err\\w+)` \\|")
	for name := range exported {
		if !rows[name] {
			t.Errorf("docs/errors.md has no row of %s", name)
		}
	}
	for name := range rows {
		if !exported[name] {
			t.Errorf("docs/errors.md has a row of %s, which is not exported", name)
		}
	}
	if len(exported) < 20 {
		t.Errorf("found only %d errors", len(exported))
	}
}

// exportedErrors are the names of the errors that the package exports.
func exportedErrors(t *testing.T) map[string]bool {
	t.Helper()
	exported := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST && group.Tok != token.VAR {
				continue
			}
			for _, spec := range group.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(name.Name, "Err") {
						exported[name.Name] = true
					}
				}
			}
		}
	}
	return exported
}

// TestDocPrograms: all Go that the documents show stands in a file that is compiled. That of the README is run by tests of its own.
func TestDocPrograms(t *testing.T) {
	var code strings.Builder
	eachFile(t, ".", ".go", func(path string) { code.WriteString(flat(readText(t, path))) })
	shown := 0
	eachFile(t, "docs", ".md", func(path string) {
		for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readText(t, path), -1) {
			if shown++; !strings.Contains(code.String(), flat(block[1])) {
				t.Errorf("no file has this program of %s:\n%s", path, block[1])
			}
		}
	})
	if shown < 6 {
		t.Errorf("found only %d programs", shown)
	}
}

// flat is a text without the space at the beginnings of its lines.
func flat(text string) string { return regexp.MustCompile(`(?m)^[ \t]+`).ReplaceAllString(text, "") }

// eachFile calls f with every file below a folder whose name ends so.
func eachFile(t *testing.T, dir, ending string, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ending) {
			f(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDocLinks: every relative link of the documents leads somewhere, and where it names a heading, to that.
func TestDocLinks(t *testing.T) {
	links := 0
	check := func(path string) {
		for _, m := range regexp.MustCompile(`\]\(([^):#]*)(#[^)]*)?\)`).FindAllStringSubmatch(readText(t, path), -1) {
			to := path
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(path), filepath.FromSlash(m[1]))
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
			} else if m[2] != "" && filepath.Ext(to) == ".md" && !headings(readText(t, to))[m[2]] {
				t.Errorf("%s links to %s%s, and there is no such heading", path, m[1], m[2])
			}
			links++
		}
	}
	for _, dir := range []string{"docs", "revocation/testdata"} {
		eachFile(t, dir, ".md", check)
	}
	top, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range top {
		check(path)
	}
	if links < 100 {
		t.Errorf("found only %d links", links)
	}
}

// headings are the anchors of a document's headings, as GitHub makes them.
func headings(text string) map[string]bool {
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^#+ (.+)$").FindAllStringSubmatch(text, -1) {
		plain := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(m[1]), "")
		anchors["#"+strings.ReplaceAll(plain, " ", "-")] = true
	}
	return anchors
}
