package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// runTests runs the tests of all rows, two packages at a time, and returns what became of them. All that the tests write goes to
// log; progress and what failed goes to out.
func runTests(ctx context.Context, out, log io.Writer, dir string, e effort, rows []row) (results, error) {
	wanted := map[string]map[string]bool{} // top-level tests by package
	for _, r := range rows {
		for _, t := range r.tests {
			if wanted[t.pkg] == nil {
				wanted[t.pkg] = map[string]bool{}
			}
			top, _, _ := strings.Cut(t.name, "/")
			wanted[t.pkg][top] = true
		}
	}
	seen := results{}
	var (
		mu       sync.Mutex // of seen, out, log and problems
		problems []error
		wg       sync.WaitGroup
	)
	slots := make(chan struct{}, 2)
	packages := slices.Sorted(maps.Keys(wanted))
	slices.SortStableFunc(packages, func(a, b string) int { return len(wanted[b]) - len(wanted[a]) })
	for _, pkg := range packages {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			began := time.Now()
			runErr := goTest(ctx, dir, pkg, slices.Sorted(maps.Keys(wanted[pkg])), e, func(line []byte) {
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintf(log, "%s\n", line) // at once: a long run that is broken off has told what it found
				if err := seen.take(pkg, line); err != nil {
					problems = append(problems, err)
				}
			})
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(out, "%-24s %3d tests, %s\n", pkg, len(wanted[pkg]), time.Since(began).Round(time.Second))
			if runErr != nil {
				fmt.Fprintf(out, "go test ./%s: %v\n", pkg, runErr)
				seen.printFailed(out, pkg)
			}
		})
	}
	wg.Wait()
	return seen, errors.Join(problems...)
}

// goTest runs tests of a package by name, and calls f with each line that they write. Tests that fail are an error.
func goTest(ctx context.Context, dir, pkg string, names []string, e effort, f func(line []byte)) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-json", "-count=1", "-timeout", e.timeout,
		"-run", "^("+strings.Join(names, "|")+")$", ".")
	cmd.Dir = filepath.Join(dir, pkg) // its module is the nearest
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), e.env...)
	if slices.Contains(disk, pkg) {
		cmd.Env = append(cmd.Env, e.disk...)
	}
	cmd.Stderr = os.Stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		f(lines.Bytes())
	}
	_, _ = io.Copy(io.Discard, output) // where a line was too long, so that it ends
	return errors.Join(lines.Err(), cmd.Wait())
}

// printFailed prints what the tests of a package wrote that failed or did not end.
func (r results) printFailed(out io.Writer, pkg string) {
	for _, t := range slices.SortedFunc(maps.Keys(r), func(a, b test) int { return strings.Compare(a.name, b.name) }) {
		if o := r[t]; t.pkg == pkg && o.action != "pass" && o.action != "skip" {
			for _, line := range o.output {
				io.WriteString(out, line)
			}
		}
	}
}
