package tokenstore_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Every fuzz target begins with seeds, its own or those of what it calls, so that go test tries them without fuzzing.
func TestFuzzTargetsHaveSeeds(t *testing.T) {
	targets := 0
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		seeded := map[string]bool{} // the functions of the file that call f.Add
		calls := map[string][]string{}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				switch fun := call.Fun.(type) {
				case *ast.SelectorExpr:
					if x, ok := fun.X.(*ast.Ident); ok && x.Name == "f" && fun.Sel.Name == "Add" {
						seeded[f.Name.Name] = true
					}
				case *ast.Ident:
					calls[f.Name.Name] = append(calls[f.Name.Name], fun.Name)
				}
				return true
			})
		}
		for name, called := range calls {
			for _, other := range called {
				seeded[name] = seeded[name] || seeded[other]
			}
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Fuzz") {
				continue
			}
			targets++
			if !seeded[f.Name.Name] {
				t.Errorf("%s: %s has no seeds", path, f.Name.Name)
			}
		}
		return nil
	})
	if err != nil || targets < 20 {
		t.Errorf("%d targets, %v", targets, err)
	}
}
