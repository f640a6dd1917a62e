// Licenses lists the modules that are linked into what the repository ships, with their licences, and compares the list with
// docs/licenses.md. It fails if the two differ, and for a licence that is not on the list of allowed ones.
//
//	go run ./licenses [-root dir] [-update]
//
// -update writes the document anew; that still fails for a licence that is not allowed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.com/tokenstore/tools/internal/repo"
)

// shipped are the modules that others link in, or run.
var shipped = []string{".", "pgstore", "etcdstore", "telemetry", "management/jwtbearer", "cmd/tokenstore"}

// allowed are the licences that may come in, by their SPDX identifiers. All of them let the module be used without giving away
// source of one's own; MPL-2.0 asks for that of changed files of the module itself only.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

// systems are those that are looked at: some modules are linked in on one of them only.
var systems = []string{"linux", "darwin", "windows"}

func main() {
	update := flag.Bool("update", false, "write docs/licenses.md anew")
	repo.Main("licenses", func(ctx context.Context, root string) error { return check(ctx, root, shipped, *update) })
}

func check(ctx context.Context, root string, shipped []string, update bool) error {
	modules, err := linked(ctx, root, shipped)
	if err != nil {
		return err
	}
	failed := judge(modules)
	file, want := filepath.Join(root, "docs", "licenses.md"), document(modules, shipped)
	if update {
		return errors.Join(failed, os.WriteFile(file, []byte(want), 0o644))
	}
	there, err := os.ReadFile(file)
	if err == nil && string(there) != want {
		err = errOutdated
	}
	return errors.Join(failed, err)
}

var errOutdated = errors.New("docs/licenses.md is not up to date: cd tools && GOWORK=off go run ./licenses -update")

// judge returns an error for each licence that is not allowed.
func judge(modules []module) (failed error) {
	for _, m := range modules {
		for _, license := range m.licenses {
			if !slices.Contains(allowed, license) {
				failed = errors.Join(failed, fmt.Errorf("%s has the licence %s, which is none of %s", m.path, license, list(allowed)))
			}
		}
	}
	return failed
}

// document is docs/licenses.md.
func document(modules []module, shipped []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Licences\n\n"+
		"What is linked into the modules that ship, on %s: all packages of them, those for tests of backends among them, and no test.\n"+
		"It is written by `cd tools && GOWORK=off go run ./licenses -update`, and CI sees that it is up to date.\n\n"+
		"Allowed are %s. Another one fails in CI.\n\n", list(systems), list(allowed))
	fmt.Fprintf(&b, "| Module | Version | Licence | In |\n|---|---|---|---|\n")
	for _, m := range modules {
		in := slices.Clone(m.in)
		if i := slices.Index(in, "."); i >= 0 {
			in[i] = "the library"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", m.path, m.version, strings.Join(m.licenses, ", "), strings.Join(in, ", "))
	}
	return b.String()
}

func list(words []string) string {
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
