package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// mutant is a bug that is seeded by hand, and the test that has to find it.
type mutant struct {
	name   string
	breaks string // the promise that it breaks, in a sentence
	test   test
	short  bool // it is tried in short runs too
	edits  []edit

	overlay string // the file for go test -overlay, once it is seeded
}

// test is a test, or a subtest, of a package.
type test struct{ pkg, name string }

func (t test) String() string { return t.pkg + " " + t.name }

// edit replaces lines of a file.
type edit struct {
	file     string
	old, new []string
	at       string // where the edit stands in the catalogue
}

var mutantName = regexp.MustCompile(`^[a-z0-9-]+$`)

// parse reads the mutants of all texts, ordered by the texts' names. One is
//
//	mutant no-fence
//	breaks S1: a revoked token is exchanged as if nothing had happened.
//	test ./memstore TestConformance/R09_fence
//	short
//	file memstore/tenant.go
//	- if p.status.Tombstone.Covers(token) {
//	+ if false {
//
// where short may be missing. Lines with a minus are the anchor, and lines with a plus, which may be missing, take their
// place. A minus after a plus, and a file, begin another edit. White space at the ends of a line doesn't count. Lines that
// begin with a number sign are comments.
func parse(texts fs.FS) ([]*mutant, error) {
	names, err := fs.Glob(texts, "*.txt")
	if err != nil {
		return nil, err
	}
	var all []*mutant
	for _, name := range names {
		text, err := fs.ReadFile(texts, name)
		if err != nil {
			return nil, err
		}
		p := parser{file: name}
		for i, line := range strings.Split(string(text), "\n") {
			p.line = i + 1
			if err := p.take(strings.TrimSpace(line)); err != nil {
				return nil, err
			}
		}
		all = append(all, p.mutants...)
	}
	for i, m := range all {
		if err := m.check(); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all[:i], func(other *mutant) bool { return other.name == m.name }) {
			return nil, fmt.Errorf("mutants: there are two of the name %s", m.name)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("mutants: the catalogue is empty")
	}
	return all, nil
}

// parser reads one text, line by line.
type parser struct {
	file    string
	line    int
	mutants []*mutant
	source  string // the file that edits are in
}

func (p *parser) wrong(what string) error {
	return fmt.Errorf("mutants: %s:%d: %s", p.file, p.line, what)
}

func (p *parser) take(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case word == "" || strings.HasPrefix(word, "#"):
		return nil
	case word == "mutant":
		if !mutantName.MatchString(rest) {
			return p.wrong("a mutant's name is of a-z, 0-9 and -")
		}
		p.mutants = append(p.mutants, &mutant{name: rest})
		p.source = ""
		return nil
	case len(p.mutants) == 0:
		return p.wrong("a mutant begins with its name")
	}
	m := p.mutants[len(p.mutants)-1]
	switch word {
	case "breaks":
		m.breaks = rest
	case "test":
		fields := strings.Fields(rest)
		if len(fields) != 2 {
			return p.wrong("a test is a package and a name")
		}
		m.test = test{pkg: fields[0], name: fields[1]}
	case "short":
		m.short = true
	case "file":
		p.source = rest
		m.edits = append(m.edits, edit{file: rest, at: fmt.Sprintf("%s:%d", p.file, p.line)})
	case "-", "+":
		if p.source == "" {
			return p.wrong("lines belong to a file")
		}
		e := &m.edits[len(m.edits)-1]
		if word == "-" && len(e.new) > 0 {
			m.edits = append(m.edits, edit{file: p.source, at: fmt.Sprintf("%s:%d", p.file, p.line)})
			e = &m.edits[len(m.edits)-1]
		}
		if word == "-" {
			e.old = append(e.old, rest)
		} else {
			e.new = append(e.new, rest)
		}
	default:
		return p.wrong("a line begins with mutant, breaks, test, short, file, - or +")
	}
	return nil
}

// check finds what is missing.
func (m *mutant) check() error {
	switch {
	case m.breaks == "":
		return fmt.Errorf("mutants: %s: what does it break?", m.name)
	case m.test == test{}:
		return fmt.Errorf("mutants: %s: which test finds it?", m.name)
	case len(m.edits) == 0:
		return fmt.Errorf("mutants: %s: it changes nothing", m.name)
	}
	for _, e := range m.edits {
		if len(e.old) == 0 || slices.Equal(e.old, e.new) {
			return fmt.Errorf("mutants: %s: %s: an edit replaces lines by others", m.name, e.at)
		}
	}
	return nil
}

// seed writes the mutant's files, and the overlay that puts them in the place of the module's, into a new directory.
func (m *mutant) seed(root, dir string) error {
	files := map[string][]string{}
	for _, e := range m.edits {
		if files[e.file] == nil {
			text, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return fmt.Errorf("mutants: %s: %w", m.name, err)
			}
			files[e.file] = strings.Split(string(text), "\n")
		}
		changed, times := e.apply(files[e.file])
		if times != 1 {
			return fmt.Errorf("mutants: %s: the anchor at %s occurs %d times in %s, and must once", m.name, e.at, times, e.file)
		}
		files[e.file] = changed
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
	for file, lines := range files {
		path := filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			return err
		}
		overlay.Replace[filepath.Join(root, file)] = path
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return err
	}
	m.overlay = filepath.Join(dir, "overlay.json")
	return os.WriteFile(m.overlay, text, 0o600)
}

// apply returns the lines with the anchor replaced where it comes first, and how often it occurs.
func (e *edit) apply(lines []string) (changed []string, times int) {
	for i := range len(lines) - len(e.old) + 1 {
		found := slices.EqualFunc(lines[i:i+len(e.old)], e.old, func(line, old string) bool { return strings.TrimSpace(line) == old })
		if !found {
			continue
		}
		if times++; times == 1 {
			changed = slices.Concat(lines[:i], e.new, lines[i+len(e.old):])
		}
	}
	return changed, times
}
