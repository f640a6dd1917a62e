package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// result is what became of a mutant.
type result struct {
	mutant
	Verdict string
	By      string // the test that noticed it, or why it doesn't compile
	Rounds  int    // that were asked
	Tests   int    // that were asked in all rounds
}

// results are a file to be gone on with. It has a line for each test that was looked at, and one for each result, of which later ones hold.
type results struct {
	file  *os.File
	tests map[[2]string]test // by round and name
	known map[string]result  // by the mutant's key
}

// openResults reads what is known, and cuts off the half line that a run leaves which is killed as it writes: its result is found out again.
func openResults(name string) (*results, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	r := &results{f, map[[2]string]test{}, map[string]result{}}
	text, err := io.ReadAll(f)
	if err == nil {
		whole := bytes.LastIndexByte(text, '\n') + 1
		err = errors.Join(r.read(text[:whole]), f.Truncate(int64(whole)))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("mutation: %s: %w", name, err)
	}
	return r, nil
}

func (r *results) read(text []byte) error {
	for number := 1; len(text) > 0; number++ {
		var found []byte
		found, text, _ = bytes.Cut(text, []byte("\n"))
		var line struct {
			test
			result
		}
		switch err := json.Unmarshal(found, &line); {
		case err != nil:
			return fmt.Errorf("line %d: %w", number, err)
		case line.Name != "":
			r.tests[[2]string{line.Round, line.Name}] = line.test
		default:
			r.known[line.key()] = line.result
		}
	}
	return nil
}

// open says whether a mutant is to be tried by a round, of which so many came before.
func (r *results) open(m mutant, before int) bool {
	known, is := r.known[m.key()]
	return m.chosen && (!is || known.Verdict == lived && known.Rounds <= before)
}

func (r *results) add(found result) error {
	r.known[found.key()] = found
	return r.write(found)
}

func (r *results) addTest(found test) error {
	r.tests[[2]string{found.Round, found.Name}] = found
	return r.write(found)
}

func (r *results) write(found any) error {
	line, err := json.Marshal(found)
	if err != nil {
		return err
	}
	_, err = r.file.Write(append(line, '\n'))
	return err
}

func (r *results) close() { r.file.Close() }

// explanation is how docs/mutation.md begins the explanation of a survivor: as [mutant.name] has it.
var explanation = regexp.MustCompile("(?m)^- (`[^`]+` `[^`]*`: `.*` with `[^`]+` for `[^`]+`(?: no\\. [0-9]+)?)$")

// readExplained returns the names of the survivors that a document explains.
func readExplained(name string) (map[string]bool, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	explained := map[string]bool{}
	for _, found := range explanation.FindAllStringSubmatch(strings.ReplaceAll(string(text), "\r", ""), -1) {
		explained[found[1]] = true
	}
	return explained, err
}
