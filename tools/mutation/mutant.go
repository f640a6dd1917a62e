package main

import (
	"context"
	"encoding/json"
	"fmt"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one operator of a file that is replaced by another.
type mutant struct {
	File         string // in the module, with slashes
	Line, Column int    // from 1; the column counts bytes
	From, To     token.Token
	op           *operator
	alone        bool // it is built on its own
	chosen       bool // it is tried
}

// key tells a mutant from all others of the same files.
func (m mutant) key() string {
	return fmt.Sprintf("%s:%d:%d %s %s", m.File, m.Line, m.Column, m.From, m.To)
}

// name tells a mutant to people, also when lines have moved. Two of one name are in like lines of one function.
func (m mutant) name() string {
	name := fmt.Sprintf("`%s` `%s`: `%s` with `%s` for `%s`", m.File, m.op.function, m.op.line, m.To, m.From)
	if m.op.nth > 1 {
		name += fmt.Sprintf(" no. %d", m.op.nth)
	}
	return name
}

// replacements are gremlins' own, of the mutators that it is asked for in [gremlins].
var replacements = map[string]map[token.Token]token.Token{
	"ARITHMETIC_BASE": {
		token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.QUO, token.QUO: token.MUL, token.REM: token.MUL,
	},
	"CONDITIONALS_BOUNDARY": {token.GEQ: token.GTR, token.GTR: token.GEQ, token.LEQ: token.LSS, token.LSS: token.LEQ},
	"CONDITIONALS_NEGATION": {
		token.EQL: token.NEQ, token.NEQ: token.EQL, token.GEQ: token.LSS, token.LSS: token.GEQ, token.GTR: token.LEQ, token.LEQ: token.GTR,
	},
	"INCREMENT_DECREMENT": {token.DEC: token.INC, token.INC: token.DEC},
	"INVERT_LOGICAL":      {token.LAND: token.LOR, token.LOR: token.LAND},
	"INVERT_NEGATIVES":    {token.SUB: token.ADD},
}

// find reads a package, and asks gremlins for its mutants.
func find(ctx context.Context, root, pkg string) (*source, []mutant, error) {
	s, err := load(ctx, root, pkg)
	if err != nil {
		return nil, nil, err
	}
	found, err := gremlins(ctx, root, pkg)
	if err != nil {
		return nil, nil, err
	}
	mutants, err := parse(found, s)
	return s, mutants, err
}

// gremlins runs gremlins on a package of the module, and returns what it wrote.
func gremlins(ctx context.Context, root, pkg string) ([]byte, error) {
	build := exec.CommandContext(ctx, "go", "tool", "-n", "gremlins")
	build.Env = append(os.Environ(), "GOWORK=off")
	program, err := build.Output()
	if err != nil {
		return nil, fmt.Errorf("mutation: gremlins doesn't build: %w", err)
	}
	scratch, err := os.MkdirTemp("", "mutation-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	out := filepath.Join(scratch, "list.json")
	cmd := exec.CommandContext(ctx, strings.TrimSpace(string(program)), "unleash", "--dry-run", "--invert-logical", "-o", out, "./"+pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-run=^$") // what is covered is of no interest here
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mutation: gremlins: %w\n%s", err, said)
	}
	return os.ReadFile(out)
}

// parse reads what gremlins found in a package, leaving out what only repeats another mutant.
func parse(text []byte, s *source) ([]mutant, error) {
	var found struct {
		Files []struct {
			Name      string `json:"file_name"`
			Mutations []struct {
				Type         string
				Line, Column int
			}
		}
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, fmt.Errorf("mutation: what gremlins wrote: %w", err)
	}
	var mutants []mutant
	for _, f := range found.Files {
		if strings.Contains(f.Name, "/") { // of a package below
			continue
		}
		for _, at := range f.Mutations {
			p := place{f.Name, at.Line, at.Column}
			op := s.operators[p]
			if op == nil { // of a file that this system doesn't build
				continue
			}
			to, known := replacements[at.Type][op.tok]
			if !known {
				return nil, fmt.Errorf("mutation: %v: no %s of %q", p, at.Type, op.tok)
			}
			mutants = append(mutants, mutant{path.Join(s.pkg, f.Name), at.Line, at.Column, op.tok, to, op, op.constant, true})
		}
	}
	slices.SortFunc(mutants, func(a, b mutant) int {
		if a.File != b.File {
			return strings.Compare(a.File, b.File)
		}
		return slices.Compare([]int{a.Line, a.Column, int(a.To)}, []int{b.Line, b.Column, int(b.To)})
	})
	// INVERT_NEGATIVES and ARITHMETIC_BASE both turn a minus into a plus.
	return slices.CompactFunc(mutants, func(a, b mutant) bool { return a.key() == b.key() }), nil
}

// write puts the changed file into a folder, and returns what it stands in place of.
func (m mutant) write(root, folder string) (replace map[string]string, err error) {
	original := filepath.Join(root, filepath.FromSlash(m.File))
	text, err := os.ReadFile(original)
	if err != nil {
		return nil, err
	}
	changed := filepath.Join(folder, filepath.Base(m.File))
	at := []edit{{first: m.op.at, end: m.op.at + len(m.From.String()), text: m.To.String()}}
	return map[string]string{original: changed}, os.WriteFile(changed, []byte(apply(string(text), at)), 0o600)
}
