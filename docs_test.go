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
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
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

// TestFeedExample: the reader that docs/feed.md shows is the one that an example runs.
func TestFeedExample(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readText(t, "docs/feed.md"), -1)
	if len(blocks) != 1 || !strings.Contains(readText(t, "example_feed_test.go"), blocks[0][1]) {
		t.Error("the program of docs/feed.md is not that of example_feed_test.go")
	}
}

// TestDocLinks: every relative link of the documents leads somewhere.
func TestDocLinks(t *testing.T) {
	err := filepath.WalkDir("docs", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		for link := range match(t, path, `\]\(([^):#]+)(?:#[^)]*)?\)`) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), filepath.FromSlash(link))); err != nil {
				t.Errorf("%s links to %s: %v", path, link, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
