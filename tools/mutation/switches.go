package main

import (
	"cmp"
	"fmt"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// switchEnv is the variable that says which mutant is on, by its number; none is without it.
const switchEnv = "MUTANT"

// reachedEnv is the variable that names a file to which the numbers of the mutants are added that would have made a difference where the
// program came by, if they had been on.
const reachedEnv = "MUTANTS_REACHED"

// helpers are what the switched code of a package calls.
const helpers = `package %s

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
)

var (
	mutantNumber, _  = strconv.Atoi(os.Getenv("` + switchEnv + `"))
	mutantReached, _ = os.OpenFile(os.Getenv("` + reachedEnv + `"), os.O_WRONLY|os.O_APPEND, 0)
	mutantSeen       [%d]atomic.Bool
)

func mutantOn(n int) bool {
	if n == 0 { // it is not tried
		return false
	}
	if mutantReached != nil && !mutantSeen[n].Swap(true) {
		fmt.Fprintln(mutantReached, n) // in one piece, and at once: the process may be a child that is killed
	}
	return n == mutantNumber
}

func mutantLess[T cmp.Ordered](edge, negation int, x, y T) bool {
	return (x < y || x == y && mutantOn(edge)) != mutantOn(negation)
}

func mutantGreater[T cmp.Ordered](edge, negation int, x, y T) bool {
	return (x > y || x == y && mutantOn(edge)) != mutantOn(negation)
}

func mutantAtMost[T cmp.Ordered](edge, negation int, x, y T) bool {
	return (x <= y && !(x == y && mutantOn(edge))) != mutantOn(negation)
}

func mutantAtLeast[T cmp.Ordered](edge, negation int, x, y T) bool {
	return (x >= y && !(x == y && mutantOn(edge))) != mutantOn(negation)
}

type mutantInteger interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr
}

type mutantNumeric interface {
	mutantInteger | ~float32 | ~float64
}

func mutantAdd[T mutantNumeric](n int, x, y T) T {
	if mutantOn(n) {
		return x - y
	}
	return x + y
}

func mutantSub[T mutantNumeric](n int, x, y T) T {
	if mutantOn(n) {
		return x + y
	}
	return x - y
}

func mutantMul[T mutantNumeric](n int, x, y T) T {
	if mutantOn(n) {
		return x / y
	}
	return x * y
}

func mutantQuo[T mutantNumeric](n int, x, y T) T {
	if mutantOn(n) {
		return x * y
	}
	return x / y
}

func mutantRem[T mutantInteger](n int, x, y T) T {
	if mutantOn(n) {
		return x * y
	}
	return x %% y
}

func mutantNeg[T mutantNumeric](n int, x T) T {
	if mutantOn(n) {
		return x
	}
	return -x
}

// mutantStep is one, or less than none.
func mutantStep[T mutantInteger](n int, _ T) T {
	if mutantOn(n) {
		return ^T(0)
	}
	return 1
}
`

var calls = map[token.Token]string{
	token.ADD: "mutantAdd", token.SUB: "mutantSub", token.MUL: "mutantMul", token.QUO: "mutantQuo", token.REM: "mutantRem",
	token.LSS: "mutantLess", token.GTR: "mutantGreater", token.LEQ: "mutantAtMost", token.GEQ: "mutantAtLeast",
}

// edit replaces a part of a file.
type edit struct {
	first, end int    // the part that goes, empty for an insertion
	text       string // what comes
	closes     bool   // it stands behind an operand, and within all that begins there
	size       int    // of the expression that it is for
}

// edits are what it takes to switch mutants of one operator, which have these numbers.
func (op *operator) edits(text string, numbers map[token.Token]int) []edit {
	size := max(op.xEnd, op.yEnd) - min(op.xFirst, op.at)
	open := func(at int, text string) edit { return edit{at, at, text, false, size} }
	shut := func(at int, text string) edit { return edit{at, at, text, true, size} }
	length := len(op.tok.String())
	on := func(to token.Token) string { return fmt.Sprintf("mutantOn(%d)", numbers[to]) }
	switch op.tok {
	case token.LAND, token.LOR:
		to := token.LOR
		if op.tok == token.LOR {
			to = token.LAND
		}
		not := ") != " + on(to) // by De Morgan
		return []edit{open(op.xFirst, "((("), shut(op.xEnd, not), open(op.yFirst, "("), shut(op.yEnd, not+not+")")}
	case token.EQL, token.NEQ:
		to := replacements["CONDITIONALS_NEGATION"][op.tok]
		return []edit{open(op.xFirst, "(("), shut(op.yEnd, ") != "+on(to)+")")}
	case token.INC, token.DEC:
		to := replacements["INCREMENT_DECREMENT"][op.tok]
		assign := " += "
		if op.tok == token.DEC {
			assign = " -= "
		}
		return []edit{{op.at, op.at + length, fmt.Sprintf("%smutantStep(%d, %s)", assign, numbers[to], text[op.xFirst:op.xEnd]), true, size}}
	case token.SUB:
		if op.xFirst == op.xEnd {
			return []edit{{op.at, op.at + 1, fmt.Sprintf("mutantNeg(%d, ", numbers[token.ADD]), false, size}, shut(op.yEnd, ")")}
		}
	}
	switches := strconv.Itoa(numbers[replacements["ARITHMETIC_BASE"][op.tok]])
	if boundary, is := replacements["CONDITIONALS_BOUNDARY"][op.tok]; is {
		switches = fmt.Sprintf("%d, %d", numbers[boundary], numbers[replacements["CONDITIONALS_NEGATION"][op.tok]])
	}
	return []edit{
		open(op.xFirst, fmt.Sprintf("%s(%s, ", calls[op.tok], switches)), {op.at, op.at + length, ",", false, 0}, shut(op.yEnd, ")"),
	}
}

// switched puts the package's files with all mutants in them that need not stand alone into a folder. A mutant's number is its place in the list,
// from 1. The files that come in place of others are returned by those.
func (s *source) switched(mutants []mutant, folder string) (replace map[string]string, err error) {
	numbers := map[string]map[*operator]map[token.Token]int{} // by file
	for i, m := range mutants {
		if m.op.constant || m.op.text {
			continue
		}
		file := filepath.Base(m.File)
		if numbers[file] == nil {
			numbers[file] = map[*operator]map[token.Token]int{}
		}
		if numbers[file][m.op] == nil {
			numbers[file][m.op] = map[token.Token]int{}
		}
		numbers[file][m.op][m.To] = i + 1
	}
	replace = map[string]string{}
	put := func(name, text string) error {
		changed := filepath.Join(folder, name)
		replace[filepath.Join(s.root, filepath.FromSlash(s.pkg), name)] = changed
		return os.WriteFile(changed, []byte(text), 0o600)
	}
	for file, operators := range numbers {
		text, err := os.ReadFile(filepath.Join(s.root, filepath.FromSlash(s.pkg), file))
		if err != nil {
			return nil, err
		}
		var edits []edit
		for op, of := range operators {
			edits = append(edits, op.edits(string(text), of)...)
		}
		if err := put(file, apply(string(text), edits)); err != nil {
			return nil, err
		}
	}
	return replace, put("mutants_switched.go", fmt.Sprintf(helpers, s.name, len(mutants)+1))
}

// apply makes edits of a text. Of those at one place the ones that close an expression come first, from within, and then the ones
// that open one, from without.
func apply(text string, edits []edit) string {
	slices.SortFunc(edits, func(a, b edit) int {
		switch {
		case a.first != b.first:
			return a.first - b.first
		case a.closes != b.closes && a.closes:
			return -1
		case a.closes != b.closes:
			return 1
		case a.closes:
			return cmp.Compare(a.size, b.size)
		}
		return cmp.Compare(b.size, a.size)
	})
	var b strings.Builder
	at := 0
	for _, e := range edits {
		b.WriteString(text[at:e.first])
		b.WriteString(e.text)
		at = e.end
	}
	b.WriteString(text[at:])
	return b.String()
}
