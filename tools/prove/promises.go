package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// promise is a row of docs/guarantees.md.
type promise struct {
	id    string // such as "S1", or empty for one without a number
	title string
	tests []string // those that the row names
}

var (
	numbered    = regexp.MustCompile(`^\*\*([A-Z]\d+)\*\* (.*)`)
	testPattern = regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
)

// parsePromises reads the rows of all tables that go from a promise to its tests.
func parsePromises(text string) []promise {
	var found []promise
	inTable := false
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		first, last := strings.TrimSpace(cells[0]), cells[len(cells)-1]
		switch {
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case first == "Promise":
			inTable = strings.TrimSpace(last) == "Tests"
		case !inTable || strings.HasPrefix(first, "---"):
		default:
			p := promise{title: first}
			if m := numbered.FindStringSubmatch(first); m != nil {
				p.id, p.title = m[1], m[1]+" "+m[2]
			}
			for _, m := range testPattern.FindAllStringSubmatch(last, -1) {
				if !slices.Contains(p.tests, m[1]) {
					p.tests = append(p.tests, m[1])
				}
			}
			found = append(found, p)
		}
	}
	return found
}

// declaredTests says in which packages a test of a name is declared.
func declaredTests(dir string) (map[string][]test, error) {
	declared := map[string][]test{}
	pattern := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(dir, filepath.Dir(path))
		for _, m := range pattern.FindAllSubmatch(text, -1) {
			name := string(m[1])
			declared[name] = append(declared[name], test{filepath.ToSlash(folder), name})
		}
		return err
	})
	return declared, err
}

// row is a promise together with one way in which it is tested.
type row struct {
	promise promise
	check
	done    int
	verdict string // why the row failed, or empty
}

// allRows has each promise with its checks. A promise without a check, a named test that is nowhere, or a check of what is no
// promise is an error: the table would say less than it seems to.
func allRows(promises []promise, checks []check, declared map[string][]test) ([]row, error) {
	var rows []row
	for _, p := range promises {
		named := check{method: "tests of its own", unit: passed, floor: len(p.tests), each: 1, fixed: true}
		for _, name := range p.tests {
			if len(declared[name]) == 0 {
				return nil, fmt.Errorf("docs/guarantees.md names %s for the promise %q, and no package has it", name, p.title)
			}
			named.tests = append(named.tests, declared[name]...)
		}
		if len(named.tests) == 0 {
			return nil, fmt.Errorf("docs/guarantees.md names no test of the promise %q", p.title)
		}
		for _, c := range checks {
			if p.id != "" && slices.Contains(c.promises, p.id) {
				rows = append(rows, row{promise: p, check: c})
			}
		}
		rows = append(rows, row{promise: p, check: named})
	}
	for _, c := range checks {
		for _, id := range c.promises {
			if !slices.ContainsFunc(promises, func(p promise) bool { return p.id == id }) {
				return nil, fmt.Errorf("the check %q is of %s, which is no promise of docs/guarantees.md", c.method, id)
			}
		}
	}
	return rows, nil
}
