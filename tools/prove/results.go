package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// outcome is what the runs say of one test.
type outcome struct {
	action string // pass, fail or skip; empty for one that did not end
	counts map[string]int
	output []string
}

// results are the outcomes of all tests and subtests that ran.
type results map[test]*outcome

func (r results) of(t test) *outcome {
	if r[t] == nil {
		r[t] = &outcome{counts: map[string]int{}}
	}
	return r[t]
}

// event is what go test -json writes; see go doc test2json.
type event struct {
	Action, Package, Test, Output, Key, Value string
}

// ofRapid is what rapid says at the end of a property.
var ofRapid = regexp.MustCompile(`\[rapid\] OK, passed (\d+) tests`)

// take takes in one line of go test -json about a package, whose folder is pkg.
func (r results) take(pkg string, line []byte) error {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("go test -json wrote %q: %w", line, err)
	}
	o := r.of(test{pkg, e.Test}) // with an empty name for what is about the package
	switch e.Action {
	case "pass", "fail", "skip":
		o.action = e.Action
	case "attr":
		n, err := strconv.Atoi(e.Value)
		if err == nil {
			o.counts[e.Key] += n
		}
	case "output":
		if m := ofRapid.FindStringSubmatch(e.Output); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return err
			}
			o.counts["rapid"] += n
		}
		o.output = append(o.output, e.Output)
	case "build-output":
		o.output = append(o.output, e.Output)
	}
	return nil
}

// count is how much of a unit a test has tried, its subtests included where tests are what is counted.
func (r results) count(t test, unit string) int {
	if unit == passed {
		n := 0
		for name, o := range r {
			below := name.pkg == t.pkg && strings.HasPrefix(name.name, t.name+"/")
			if (name == t || below) && o.action == "pass" {
				n++
			}
		}
		return n
	}
	counts := r.of(t).counts
	if n, ok := counts[unit]; ok || unit != cases {
		return n
	}
	return counts["rapid"]
}

// judge says how much a row has tried, and why it fails: all of it too little, or one of its tests.
func (r results) judge(w *row, least, leastOfEach int) {
	var problems []string
	for _, t := range w.tests {
		switch r.of(t).action {
		case "pass":
		case "":
			problems = append(problems, t.name+" did not run to its end")
		default:
			problems = append(problems, t.name+": "+r.of(t).action)
		}
		n := r.count(t, w.unit)
		switch {
		case n == 0 && w.unit != passed:
			problems = append(problems, t.name+" says nothing of "+w.unit)
		case n < leastOfEach:
			problems = append(problems, fmt.Sprintf("%s only %d, its floor is %d", t.name, n, leastOfEach))
		}
		w.done += n
	}
	if w.done < least {
		problems = append(problems, fmt.Sprintf("only %d, the floor is %d", w.done, least))
	}
	w.verdict = strings.Join(problems, "; ")
}
