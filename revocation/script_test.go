package revocation_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A story is a text of blocks. A block is prose (blank lines, and lines that begin with #), then commands, one a line, then a
// line ----, then what was observed, up to the next blank line:
//
//	# Why this is shown.
//	issue t1 user=ann session=s1
//	exchange t1
//	----
//	t1: sequence 1
//	t1: generation 1
//
// This is the format of github.com/cockroachdb/datadriven, but for several commands in one block. That library is good and light
// (v1.0.3 brings one small module along), and isn't used: its import defines the flags -rewrite and -datadriven-quiet, where tests
// here have -update; it passes over arguments that no command asks for; and what would be left of this file is half.

// script is a story as it is written.
type script []block

type block struct {
	head     []string // the prose and the commands, as they are written
	commands []command
	told     []string // what was observed
	line     int      // of told, counted from 1
}

// command is "verb name key=value flag …"; the name and the rest may be missing.
type command struct {
	line  int
	verb  string
	words []string
}

// scriptError says on which line a story can't be understood.
type scriptError struct {
	line int
	err  error
}

func (e *scriptError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *scriptError) Unwrap() error { return e.err }

var (
	errNoCommand  = errors.New("no command")
	errNoOutcome  = errors.New("commands without a line ---- after them")
	errBadCommand = errors.New("no such command")
	errBadName    = errors.New("no such name")
	errBadWord    = errors.New("unknown argument")
	errBadValue   = errors.New("bad value of an argument")
)

func parseScript(text string) (script, error) {
	var s script
	var b block
	n, told := 0, false
	for line := range strings.Lines(strings.TrimSuffix(text, "\n") + "\n") {
		n++
		line = strings.TrimRight(line, " \r\n")
		prose := line == "" || strings.HasPrefix(line, "#")
		if told && line == "" {
			s, b, told = append(s, b), block{}, false
		}
		switch {
		case told:
			b.told = append(b.told, line)
		case line == "----" && b.commands == nil:
			return nil, &scriptError{n, errNoCommand}
		case line == "----":
			told, b.line = true, n+1
		case prose && b.commands != nil:
			return nil, &scriptError{n, errNoOutcome}
		default:
			b.head = append(b.head, line)
			if words := strings.Fields(line); !prose {
				b.commands = append(b.commands, command{n, words[0], words[1:]})
			}
		}
	}
	s = append(s, b)
	switch {
	case b.commands != nil && !told:
		return nil, &scriptError{n, errNoOutcome}
	case !slices.ContainsFunc(s, func(b block) bool { return b.commands != nil }):
		return nil, &scriptError{n, errNoCommand}
	}
	return s, nil
}

// String is the text that parseScript reads.
func (s script) String() string {
	var text strings.Builder
	for _, b := range s {
		for _, line := range b.head {
			fmt.Fprintln(&text, line)
		}
		if b.commands == nil {
			continue
		}
		fmt.Fprintln(&text, "----")
		for _, line := range b.told {
			fmt.Fprintln(&text, line)
		}
	}
	return text.String()
}

// arguments are what a command says after its name.
type arguments struct {
	values map[string]string
	err    error // of the first value that is none
}

// argumentsOf reads the words, which must be among those known: "key=" with a value, others as they are.
func argumentsOf(words, known []string) (*arguments, error) {
	a := &arguments{values: map[string]string{}}
	for _, word := range words {
		key, value, valued := strings.Cut(word, "=")
		if valued {
			key += "="
		}
		if _, twice := a.values[key]; twice || !slices.Contains(known, key) || valued && value == "" {
			return nil, fmt.Errorf("%w: %s", errBadWord, word)
		}
		a.values[key] = value
	}
	return a, nil
}

func (a *arguments) text(key string) string { return a.values[key+"="] }

func (a *arguments) has(flag string) bool { _, ok := a.values[flag]; return ok }

// read reads the value of a key, if there is one.
func read[T any](a *arguments, key string, parse func(string) (T, error)) (value T) {
	text := a.text(key)
	if text == "" {
		return value
	}
	value, err := parse(text)
	if err != nil && a.err == nil {
		a.err = fmt.Errorf("%w: %s=%s: %w", errBadValue, key, text, err)
	}
	return value
}
