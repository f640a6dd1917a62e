package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The verdicts on a mutant.
const (
	killed   = "KILLED"
	timedOut = "TIMED OUT"
	lived    = "LIVED"
	unviable = "NOT VIABLE"
)

// unlimited is how long a test may take without a mutant.
const unlimited = 10 * time.Minute

// looks is how often a test is run without a mutant, to see how long it takes and what it reaches: what it draws at random may lead it
// elsewhere the next time.
const looks = 3

// trial has the test programs of a package with all mutants in them that can be switched.
type trial struct {
	root, folder string
	mutants      []mutant          // whose numbers are their places here, from 1
	least        time.Duration     // that a test may take with a mutant
	replace      map[string]string // the files with the switches, by those in whose place they come
	programs     map[string]string // by the package that has the tests
	noticed      map[[2]string]int // how many mutants of a file a test has
}

// test is a test of a round, and how it is without a mutant.
type test struct {
	Round, Name string
	Took, Spent time.Duration   // by the clock, and on the processors
	Reached     map[string]bool // the keys of mutants that would make a difference where the test comes by
}

func prepare(s *source, mutants []mutant) (*trial, error) {
	folder, err := openFolder("", "mutation-*")
	if err != nil {
		return nil, err
	}
	replace, err := s.switched(mutants, folder)
	if err != nil {
		os.RemoveAll(folder)
		return nil, err
	}
	return &trial{s.root, folder, mutants, 20 * time.Second, replace, map[string]string{}, map[[2]string]int{}}, nil
}

func (t *trial) close() error { return os.RemoveAll(t.folder) }

// control sees that the tests of a round pass as long as no mutant is on, but for those that the log has already. It returns all.
func (t *trial) control(ctx context.Context, r round, log *results) ([]test, error) {
	program, known := t.programs[r.pkg]
	if !known {
		var said string
		var err error
		if program, said, err = t.build(ctx, r.pkg, t.replace, "switched-"+strconv.Itoa(len(t.programs))); err != nil {
			return nil, fmt.Errorf("mutation: the tests of %s, with switches: %w\n%s", r.pkg, err, said)
		}
		t.programs[r.pkg] = program
	}
	names, err := t.list(ctx, r, program)
	if err != nil {
		return nil, err
	}
	var tests []test
	for _, name := range names {
		found, known := log.tests[[2]string{r.name(), name}]
		if !known {
			if found, err = t.look(ctx, r, program, name); err != nil {
				return nil, err
			}
			if err := log.addTest(found); err != nil {
				return nil, err
			}
		}
		tests = append(tests, found)
	}
	return tests, nil
}

// list names the tests of a round.
func (t *trial) list(ctx context.Context, r round, program string) ([]string, error) {
	cmd := exec.CommandContext(ctx, program, "-test.list="+cmp.Or(r.run, "."))
	cmd.Dir = filepath.Join(t.root, filepath.FromSlash(r.pkg))
	listed, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("mutation: the list of the tests of %s: %w", r.pkg, err)
	}
	skip, err := regexp.Compile(cmp.Or(r.skip, "^$"))
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(strings.Fields(string(listed)), func(name string) bool {
		return skip.MatchString(name) || strings.HasPrefix(name, "Benchmark")
	})
	if len(names) == 0 {
		return nil, fmt.Errorf("mutation: there is no test of %s in a round", r.pkg)
	}
	return names, nil
}

// look runs a test without a mutant.
func (t *trial) look(ctx context.Context, r round, program, name string) (test, error) {
	found := test{Round: r.name(), Name: name, Reached: map[string]bool{}}
	file := filepath.Join(t.folder, "reached")
	for range looks {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return test{}, err
		}
		began := time.Now()
		verdict, said, spent := t.run(ctx, r, program, name, 0, unlimited, unlimited, reachedEnv+"="+file)
		if verdict != lived {
			return test{}, fmt.Errorf("mutation: without a mutant, %s of %s is %s:\n%s", name, r.pkg, verdict, said)
		}
		found.Took, found.Spent = max(found.Took, time.Since(began)), max(found.Spent, spent)
		text, err := os.ReadFile(file)
		if err != nil {
			return test{}, err
		}
		for _, field := range strings.Fields(string(text)) {
			n, err := strconv.Atoi(field)
			if err != nil || n < 1 || n > len(t.mutants) {
				return test{}, fmt.Errorf("mutation: %s reaches a mutant %q of %d", name, field, len(t.mutants))
			}
			found.Reached[t.mutants[n-1].key()] = true
		}
	}
	return found, nil
}

// build builds the tests of a package, with files in place of others.
func (t *trial) build(ctx context.Context, pkg string, replace map[string]string, name string) (program, said string, err error) {
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", "", err
	}
	overlay := filepath.Join(t.folder, name+".json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return "", "", err
	}
	program = filepath.Join(t.folder, name+".test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-p=1", "-overlay="+overlay, "-o="+program, ".")
	cmd.Dir = filepath.Join(t.root, filepath.FromSlash(pkg)) // which may be of a module below
	cmd.Env = append(os.Environ(), "GOWORK=off")
	output, err := cmd.CombinedOutput()
	return program, string(output), err
}

// try asks the tests of a round that reach the mutant, which has this number, until one notices it.
func (t *trial) try(ctx context.Context, m mutant, number int, r round, tests []test) (result, error) {
	found := result{mutant: m, Verdict: lived}
	if m.op.text { // there is nothing but plus for a text
		found.Verdict = unviable
		return found, nil
	}
	program := t.programs[r.pkg]
	if m.alone {
		folder, err := os.MkdirTemp(t.folder, "alone-*")
		if err != nil {
			return found, err
		}
		defer os.RemoveAll(folder)
		replace, err := m.write(t.root, folder)
		if err != nil {
			return found, err
		}
		var said string
		if program, said, err = t.build(ctx, r.pkg, replace, filepath.Join(filepath.Base(folder), "alone")); err != nil {
			found.Verdict, found.By = unviable, firstLine(said)
			return found, ctx.Err()
		}
	}
	for _, test := range t.promising(tests, m) {
		if !m.op.constant && !test.Reached[m.key()] {
			continue
		}
		found.Tests++
		limit, most := max(t.least, 10*test.Took), max(t.least, 10*test.Spent)
		verdict, said, spent := t.run(ctx, r, program, test.Name, number, limit, most)
		if verdict == timedOut && spent < most*9/10 { // the machine may have been busy
			verdict, said, _ = t.run(ctx, r, program, test.Name, number, 3*limit, most)
		}
		if ctx.Err() != nil || verdict != lived {
			t.noticed[[2]string{m.File, test.Name}]++
			found.Verdict, found.By = verdict, r.pkg+" "+cmp.Or(firstFailure(said), test.Name)
			return found, ctx.Err()
		}
	}
	return found, nil
}

// promising returns tests in the order in which they are asked: quick ones first, and those that notice most in a mutant's file.
func (t *trial) promising(tests []test, m mutant) []test {
	cost := func(x test) float64 {
		noticed := 1 + float64(t.noticed[[2]string{m.File, x.Name}])
		return x.Took.Seconds() / (noticed * noticed)
	}
	return slices.SortedStableFunc(slices.Values(tests), func(a, b test) int { return cmp.Compare(cost(a), cost(b)) })
}

// run runs a test with a mutant on, or with none if the number is 0, for no longer than so, and with no more time than so on the
// processors. It says what it makes of it, what the test wrote, and how much of that time it took.
func (t *trial) run(
	ctx context.Context, r round, program, name string, number int, limit, most time.Duration, env ...string,
) (verdict, said string, spent time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit+10*time.Second) // the program is expected to end itself
	defer cancel()
	temporary, err := openFolder(t.folder, "tmp-*")
	if err != nil {
		return err.Error(), "", 0
	}
	defer os.RemoveAll(temporary)
	seconds := strconv.Itoa(int(most.Seconds()))
	args := []string{"-c", `ulimit -t "$0" && exec "$@"`, seconds, program, "-test.failfast", "-test.timeout=" + limit.String(), "-test.run=^" + name + "$"}
	cmd := exec.CommandContext(ctx, "sh", args...)
	cmd.Dir = filepath.Join(t.root, filepath.FromSlash(r.pkg))
	cmd.Env = append(os.Environ(), "GOWORK=off", "RAPID_NOFAILFILE=true", "RAPID_SHRINKTIME=0s", "TMPDIR="+temporary)
	cmd.Env = append(cmd.Env, r.env...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Env = append(cmd.Env, switchEnv+"="+strconv.Itoa(number))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	all := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = all
	cmd.WaitDelay = time.Second
	output, err := cmd.CombinedOutput()
	if cmd.Process != nil {
		all() // what the tests have started ends with them
	}
	if cmd.ProcessState != nil {
		spent = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return judge(string(output), err), string(output), spent
}

var (
	testFailed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	crashed    = regexp.MustCompile(`(?m)^panic: .*|^fatal error: .*`)
)

// judge says what became of a mutant from what the tests wrote, and how they ended.
func judge(output string, err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return lived
	case strings.Contains(output, "panic: test timed out"),
		errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL: // by a limit
		return timedOut
	}
	return killed
}

// firstFailure names the test that failed, or says how the program ended.
func firstFailure(output string) string {
	deepest := ""
	for _, failed := range testFailed.FindAllStringSubmatch(output, -1) {
		if deepest == "" || strings.HasPrefix(failed[1], deepest+"/") {
			deepest = failed[1]
		}
	}
	if deepest == "" {
		return crashed.FindString(output)
	}
	return deepest
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// openFolder makes a folder that other accounts find what is theirs in: some tests act as one.
func openFolder(in, pattern string) (string, error) {
	folder, err := os.MkdirTemp(in, pattern)
	if err != nil {
		return "", err
	}
	return folder, os.Chmod(folder, 0o755)
}
