package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/tools/go/packages"
)

// source is a package of the module, with the operators of its files.
type source struct {
	root, pkg string // where the module is, and the folder of the package in it
	name      string // of the package
	operators map[place]*operator
}

// place is where an operator stands.
type place struct {
	file         string // without folder
	line, column int
}

// operator is one of those that gremlins replaces, and what it stands between. Its numbers are offsets in the file.
type operator struct {
	tok                        token.Token
	at                         int // of the operator itself
	xFirst, xEnd, yFirst, yEnd int // of the operands; those of x are equal where there is none in front, of y where none behind
	constant                   bool
	text                       bool // the operands are texts
	function                   string
	line                       string
	nth                        int // of the like operators in the line, from 1
}

// load reads a package.
func load(ctx context.Context, root, pkg string) (*source, error) {
	loaded, err := packages.Load(&packages.Config{
		Context: ctx, Dir: root, Env: append(os.Environ(), "GOWORK=off"), Mode: packages.LoadSyntax,
	}, "./"+pkg)
	if err != nil {
		return nil, err
	}
	if len(loaded) != 1 {
		return nil, fmt.Errorf("mutation: %d packages of the name %s, want one", len(loaded), pkg)
	}
	if errs := loaded[0].Errors; len(errs) > 0 {
		return nil, fmt.Errorf("mutation: package %s can't be loaded: %v", pkg, errs)
	}
	s := &source{root, pkg, loaded[0].Name, map[place]*operator{}}
	for _, f := range loaded[0].Syntax {
		if err := s.read(loaded[0].Fset, f, loaded[0].TypesInfo); err != nil {
			return nil, err
		}
	}
	if len(s.operators) == 0 {
		return nil, errors.New("mutation: there is no operator in " + pkg)
	}
	return s, nil
}

func (s *source) read(set *token.FileSet, tree *ast.File, info *types.Info) error {
	name := set.Position(tree.Pos()).Filename
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	offset := func(p token.Pos) int { return set.Position(p).Offset }
	function := ""
	add := func(pos token.Pos, op operator) {
		at := set.Position(pos)
		op.at = at.Offset
		op.function, op.line = function, strings.TrimSpace(lines[at.Line-1])
		s.operators[place{filepath.Base(name), at.Line, at.Column}] = &op
	}
	for _, decl := range tree.Decls {
		function = ""
		if f, ok := decl.(*ast.FuncDecl); ok {
			function = f.Name.Name
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				tv := info.Types[n]
				basic, _ := tv.Type.Underlying().(*types.Basic)
				add(n.OpPos, operator{
					tok: n.Op, xFirst: offset(n.X.Pos()), xEnd: offset(n.X.End()), yFirst: offset(n.Y.Pos()), yEnd: offset(n.Y.End()),
					constant: tv.Value != nil, text: basic != nil && basic.Info()&types.IsString != 0,
				})
			case *ast.UnaryExpr:
				add(n.OpPos, operator{tok: n.Op, yFirst: offset(n.X.Pos()), yEnd: offset(n.X.End()), constant: info.Types[n].Value != nil})
			case *ast.IncDecStmt:
				add(n.TokPos, operator{tok: n.Tok, xFirst: offset(n.X.Pos()), xEnd: offset(n.X.End())})
			}
			return true
		})
	}
	for p, op := range s.operators {
		for c := 1; c <= p.column && p.file == filepath.Base(name); c++ {
			if other := s.operators[place{p.file, p.line, c}]; other != nil && other.tok == op.tok {
				op.nth++
			}
		}
	}
	return nil
}
