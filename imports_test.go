package tokenstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	module = "example.com/tokenstore"
	ulids  = "github.com/oklog/ulid/v2"
	rapids = "pgregory.net/rapid"
	bbolt  = "go.etcd.io/bbolt"
	xrate  = "golang.org/x/time/rate"
	search = "github.com/anishathalye/porcupine"
)

// arrows say who may import whom, beside the standard library. A name without a dot in its first element is a package
// of this module, and "." is its root. Each package of the module matches exactly one row, by path.Match or as a folder
// with everything below it ("examples/..."). Test files may import more: see forTestsOnly and forNobody.
var arrows = []arrow{
	{pkg: ".", may: []string{"revocation", "store", "domain", ulids}}, // never a backend
	{pkg: "domain", may: []string{ulids}},
	{pkg: "store", may: []string{"domain", ulids}},
	{pkg: "store/storetest", may: []string{"store", "domain", ulids, rapids}},
	{pkg: "store/storecheck", may: []string{"internal/codec", "store", "domain", ulids}},
	{pkg: "internal/codec", may: []string{"store", "domain"}},  // what backends that keep bytes share
	{pkg: "memstore", may: []string{"store", "domain", ulids}}, // no other backend, and not the engine
	{pkg: "boltstore", may: []string{"internal/codec", "store", "domain", ulids, bbolt, bbolt + "/errors"}},
	{pkg: "boltstore/internal/filetest", may: []string{"internal/crashtest", "boltstore", "store", "domain", ulids, bbolt}},
	{pkg: "internal/crashtest", may: []string{".", "store", "domain", ulids}},
	{pkg: "internal/restoretest", may: []string{".", "store", ulids}},
	{pkg: "internal/daemon"},
	{pkg: "internal/sidebyside"},
	{pkg: "internal/backendtest", may: []string{"memstore", "boltstore", "store"}},
	{pkg: "internal/servetest", may: []string{"."}},
	{pkg: "observe", may: []string{"store", "domain", ulids}},
	{pkg: "revocation", may: []string{"store", "domain", ulids}},
	{pkg: "oauth", may: []string{".", "domain"}},
	{pkg: "caep", may: []string{"store", "domain", ulids}},
	{pkg: "tokenstoretest", may: []string{".", "revocation", "memstore", "store", "domain", ulids, rapids, search}}, // memstore: what others are compared with
	{pkg: "management", may: []string{".", "store", "domain", ulids, xrate}},
	{pkg: "cmd/...", any: true},
	{pkg: "examples/...", any: true},
}

var (
	// No other than test files import these.
	forTestsOnly = []string{
		"store/storetest", "tokenstoretest", "internal/backendtest", "internal/crashtest", "internal/restoretest", "internal/servetest",
		"internal/sidebyside", "boltstore/internal/filetest",
	}
	forNobody   = []string{"cmd/...", "examples/..."} // nothing imports these, but what stands beside them
	notFromRoot = []string{"testing", rapids, search, bbolt, module + "/memstore", module + "/boltstore"}
)

type arrow struct {
	pkg string
	may []string
	any bool
}

// goPackage is what go list says of a package.
type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestArrows(t *testing.T) {
	packages := goList(t, "./...")
	if len(packages) < 5 {
		t.Fatalf("go list found only %d packages", len(packages))
	}
	for _, broken := range brokenArrows(packages) {
		t.Error(broken)
	}
}

// What a host links in with the root package is short, and holds nothing that is for tests.
func TestRootReachesNoBackend(t *testing.T) {
	for _, p := range goList(t, "-deps", ".") {
		if slices.Contains(notFromRoot, p.ImportPath) {
			t.Errorf("%s is reachable from the root package; \"go mod why\" says how", p.ImportPath)
		}
	}
}

// What a store or a backend can do beside its verbs is looked for by store.As, which sees through wrappers, and not by a type assertion.
func TestWrappersAreSeenThrough(t *testing.T) {
	assertion := regexp.MustCompile(`\.\(store\.[A-Z]\w*\)`)
	files := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		if found := assertion.FindString(readText(t, path)); found != "" {
			t.Errorf("%s has %s, which a wrapper hides: use store.As", path, found)
		}
		return nil
	})
	if err != nil || files < 100 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestBrokenArrowsAreFound(t *testing.T) {
	tests := []struct {
		name string
		pkg  goPackage
		want string
	}{
		{"allowed", goPackage{ImportPath: module + "/store", Imports: []string{"context", module + "/domain"}}, ""},
		{"root to backend", goPackage{ImportPath: module, Imports: []string{bbolt, module + "/memstore", module + "/boltstore"}}, "tokenstore imports memstore"},
		{"backend to engine", goPackage{ImportPath: module + "/memstore", Imports: []string{module + "/revocation"}}, "memstore imports revocation"},
		{"foreign module", goPackage{ImportPath: module + "/domain", Imports: []string{"golang.org/x/crypto/argon2"}}, "domain imports golang.org"},
		{"suite in production", goPackage{ImportPath: module + "/cmd/tokenstore", Imports: []string{module + "/tokenstoretest"}}, "for tests only"},
		{"suite in a test", goPackage{ImportPath: module + "/memstore", XTestImports: []string{module + "/store/storetest"}}, ""},
		{"example in a test", goPackage{ImportPath: module, XTestImports: []string{module + "/examples/quickstart"}}, "nothing may import"},
		{"unknown package", goPackage{ImportPath: module + "/somewhere/new"}, "add a row to arrows"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(brokenArrows([]goPackage{test.pkg}), "; ")
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want it to say %q", got, test.want)
			}
		})
	}
}

// brokenArrows says, one a string, which imports are not as they should be.
func brokenArrows(packages []goPackage) []string {
	var broken []string
	for _, p := range packages {
		name := inModule(p.ImportPath)
		i := slices.IndexFunc(arrows, func(a arrow) bool { return under(a.pkg, name) })
		if i < 0 {
			broken = append(broken, fmt.Sprintf("package %s: not known; add a row to arrows in imports_test.go that says what it may import", name))
			continue
		}
		for _, imported := range p.Imports {
			to := inModule(imported)
			switch {
			case slices.ContainsFunc(forTestsOnly, func(pattern string) bool { return under(pattern, to) }) && !slices.Contains(arrows[i].may, to):
				broken = append(broken, fmt.Sprintf("%s imports %s, which is for tests only", p.ImportPath, to))
			case !arrows[i].any && !isStandard(imported) && !slices.Contains(arrows[i].may, to):
				broken = append(broken, fmt.Sprintf("%s imports %s; it may import the standard library and %v", p.ImportPath, to, arrows[i].may))
			}
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			to := inModule(imported)
			for _, pattern := range forNobody {
				if under(pattern, to) && !under(pattern, name) {
					broken = append(broken, fmt.Sprintf("%s imports %s, which nothing may import", p.ImportPath, to))
				}
			}
		}
	}
	return broken
}

// inModule is the path of a package within the module, or the path as it is.
func inModule(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

func under(pattern, name string) bool {
	if folder, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == folder || strings.HasPrefix(name, folder+"/")
	}
	match, err := path.Match(pattern, name)
	return err == nil && match
}

// isStandard reports whether a package is of the standard library: those of modules have a dot in their first element.
func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// goList lists packages, those that do not compile too: what they import wrongly may be why.
func goList(t *testing.T, args ...string) []goPackage {
	t.Helper()
	args = append([]string{"list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports"}, args...)
	out := goCommand(t, ".", args...)
	var packages []goPackage
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// goCommand runs the go command outside of any workspace, and returns what it prints.
func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	return goCommandIn(t, "off", dir, args...)
}

// goCommandIn runs go in a workspace: "off" for none, "" for the one that the folder is in.
func goCommandIn(t *testing.T, workspace, dir string, args ...string) string {
	t.Helper()
	dependOnTree(t)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK="+workspace)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// dependOnTree reads every folder of the module, so that go test takes no earlier result of the calling test from its cache
// if a file anywhere in them has changed: it can't know what a command that the test runs has read.
func dependOnTree(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == ".git" {
			return fs.SkipDir
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a file may go while others test
		t.Fatal(err)
	}
}
