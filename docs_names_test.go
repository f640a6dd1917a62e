package tokenstore_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// TestNamesAreDocumented: every exported name of every package that others can import, also of the modules below this one, has a comment:
// its own, or that of its group.
func TestNamesAreDocumented(t *testing.T) {
	names := 0
	eachFile(t, ".", ".go", func(path string) {
		if strings.HasSuffix(path, "_test.go") || strings.Contains(path, "internal/") {
			return
		}
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Name.Name == "main" {
			return
		}
		for _, decl := range parsed.Decls {
			for name, documented := range exportedNames(decl) {
				if names++; !documented {
					t.Errorf("%s: %s has no comment", files.Position(name.Pos()), name.Name)
				}
			}
		}
	})
	if names < 500 {
		t.Errorf("found only %d names", names)
	}
}

// exportedNames are the exported names of a declaration, and whether each has a comment.
func exportedNames(decl ast.Decl) map[*ast.Ident]bool {
	found := map[*ast.Ident]bool{}
	add := func(documented bool, names ...*ast.Ident) {
		for _, name := range names {
			if name.IsExported() {
				found[name] = documented
			}
		}
	}
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil || receiverIsExported(d.Recv.List[0].Type) {
			add(d.Doc != nil, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				add(d.Doc != nil || s.Doc != nil || s.Comment != nil, s.Name)
			case *ast.ValueSpec:
				add(d.Doc != nil || s.Doc != nil || s.Comment != nil, s.Names...)
			}
		}
	}
	return found
}

func receiverIsExported(of ast.Expr) bool {
	switch e := of.(type) {
	case *ast.StarExpr:
		return receiverIsExported(e.X)
	case *ast.IndexExpr:
		return receiverIsExported(e.X)
	case *ast.Ident:
		return e.IsExported()
	}
	return false
}
