package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// The outcomes of a test. Only the first is a bug that was caught.
const (
	caught     = "caught"
	survived   = "SURVIVED"
	uncompiled = "NO BUILD"
	hung       = "HUNG"
	panicked   = "PANICKED"
	elsewhere  = "ELSEWHERE" // another test failed first, or something outside of all tests
	notRun     = "NOT RUN"
)

// verdict is the outcome of a test, and what it wrote.
type verdict struct{ what, output string }

// testTimeout is far more than any named test takes.
const testTimeout = 2 * time.Minute

// goTest runs tests of a package, and nothing but them, with the files of the overlay in place of the module's; the empty name
// is no overlay. It returns what go test -json says of them.
func goTest(ctx context.Context, root, pkg string, names []string, overlay string) (events []byte) {
	args := []string{
		"test", "-json", "-count=1", "-vet=off", "-p=1",
		"-timeout=" + (testTimeout * time.Duration(len(names))).String(), "-run=" + pattern(names),
	}
	if overlay != "" {
		args = append(args, "-overlay="+overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = filepath.Join(root, pkg) // which may be of a module below
	// The failures of property tests are wanted here, and none is to be kept or made as small as can be.
	cmd.Env = append(os.Environ(), "GOWORK=off", "RAPID_NOFAILFILE=true", "RAPID_SHRINKTIME=1s")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	events, _ = cmd.Output() // a failure is told by the events
	return append(events, complaint.Bytes()...)
}

// pattern matches these tests and subtests, and no others.
func pattern(names []string) string {
	var patterns []string
	for _, name := range names {
		elements := strings.Split(name, "/")
		for i, e := range elements {
			elements[i] = "^" + regexp.QuoteMeta(e) + "$"
		}
		patterns = append(patterns, strings.Join(elements, "/"))
	}
	return strings.Join(patterns, "|")
}

// event is a line of go test -json.
type event struct {
	Action, Test, Output, FailedBuild string
}

// judge reads what became of the named test from what [goTest] returned.
func judge(events []byte, name string) verdict {
	var own, all, broken string // how the named test and the whole ended, and what ended them before
	first := ""                 // the first test that failed
	var output strings.Builder
	for line := range bytes.Lines(events) {
		var e event
		if err := json.Unmarshal(line, &e); err != nil { // go itself has something to say
			fmt.Fprintf(&output, "  | %s\n", bytes.TrimSpace(line))
			continue
		}
		switch {
		case e.Action == "build-fail" || e.FailedBuild != "":
			broken = uncompiled
		case e.Action == "output" && strings.HasPrefix(e.Output, "panic: test timed out"):
			broken = hung
		case e.Action == "output" && broken == "" && (strings.HasPrefix(e.Output, "panic: ") || strings.HasPrefix(e.Output, "fatal error: ")):
			broken = panicked
		case e.Action != "pass" && e.Action != "fail" && e.Action != "skip":
		case e.Test == "":
			all = e.Action
		case e.Test == name:
			own = e.Action
		}
		if e.Action == "fail" && e.Test != "" && first == "" {
			first = e.Test
		}
		if e.Action == "output" || e.Action == "build-output" {
			fmt.Fprintf(&output, "  | %s\n", strings.TrimSuffix(e.Output, "\n"))
		}
	}
	v := verdict{output: lastLines(output.String(), 25)}
	switch {
	case broken != "":
		v.what = broken
	case own == "fail" && (first == name || strings.HasPrefix(first, name+"/")):
		v.what = caught
	case all == "fail":
		v.what = elsewhere
	case own == "pass" && all == "pass":
		v.what = survived
	default:
		v.what = notRun
	}
	return v
}

// lastLines returns the end of a text.
func lastLines(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n-1):], "")
}
