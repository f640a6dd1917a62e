package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// unlimited is how long the tests may take without a mutant.
const unlimited = 10 * time.Minute

// least is what they may take with one at least.
const least = 20 * time.Second

// trial has the test programs of a package with all mutants in them that can be switched.
type trial struct {
	root, folder string
	replace      map[string]string // the files with the switches, by those in whose place they come
	programs     map[string]string // by the package that has the tests
}

func prepare(s *source, mutants []mutant) (*trial, error) {
	folder, err := os.MkdirTemp("", "mutation-*")
	if err != nil {
		return nil, err
	}
	replace, err := s.switched(mutants, folder)
	if err != nil {
		os.RemoveAll(folder)
		return nil, err
	}
	return &trial{s.root, folder, replace, map[string]string{}}, nil
}

func (t *trial) close() { os.RemoveAll(t.folder) }

// control sees that the tests of a round pass as long as no mutant is on, and returns how long they may take with one.
func (t *trial) control(ctx context.Context, r round) (limit time.Duration, err error) {
	program, known := t.programs[r.pkg]
	if !known {
		var said string
		if program, said, err = t.build(ctx, r.pkg, t.replace, "switched-"+strconv.Itoa(len(t.programs))); err != nil {
			return 0, fmt.Errorf("mutation: the tests of %s, with switches: %w\n%s", r.pkg, err, said)
		}
		t.programs[r.pkg] = program
	}
	began := time.Now()
	if verdict, said := t.run(ctx, r, program, 0, unlimited); verdict != lived {
		return 0, fmt.Errorf("mutation: without a mutant, the tests of %s are %s:\n%s", r.pkg, verdict, said)
	}
	return max(least, 10*time.Since(began)), nil
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

// try asks the tests of a round, within a limit, about the mutant, which has this number.
func (t *trial) try(ctx context.Context, m mutant, number int, r round, limit time.Duration) (result, error) {
	if m.op.text {
		return result{mutant: m, Verdict: unviable}, nil // there is nothing but plus for a text
	}
	program := t.programs[r.pkg]
	if m.alone {
		folder, err := os.MkdirTemp(t.folder, "alone-*")
		if err != nil {
			return result{}, err
		}
		defer os.RemoveAll(folder)
		replace, err := m.write(t.root, folder)
		if err != nil {
			return result{}, err
		}
		var said string
		if program, said, err = t.build(ctx, r.pkg, replace, filepath.Join(filepath.Base(folder), "alone")); err != nil {
			return result{mutant: m, Verdict: unviable, By: firstLine(said)}, ctx.Err()
		}
	}
	verdict, said := t.run(ctx, r, program, number, limit)
	found := result{mutant: m, Verdict: verdict}
	if verdict != lived {
		found.By = r.pkg + " " + firstFailure(said)
	}
	return found, ctx.Err()
}

// run runs a round with a mutant on, and says what it makes of it, and what the tests wrote.
func (t *trial) run(ctx context.Context, r round, program string, number int, limit time.Duration) (verdict, said string) {
	ctx, cancel := context.WithTimeout(ctx, limit+10*time.Second) // the program is expected to end itself
	defer cancel()
	temporary, err := os.MkdirTemp(t.folder, "tmp-*")
	if err != nil {
		return err.Error(), ""
	}
	defer os.RemoveAll(temporary)
	args := []string{"-test.failfast", "-test.timeout=" + limit.String(), "-test.run=" + r.run, "-test.skip=" + r.skip}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = filepath.Join(t.root, filepath.FromSlash(r.pkg))
	cmd.Env = append(os.Environ(), "GOWORK=off", "RAPID_NOFAILFILE=true", "RAPID_SHRINKTIME=0s", "TMPDIR="+temporary)
	cmd.Env = append(cmd.Env, r.env...)
	cmd.Env = append(cmd.Env, switchEnv+"="+strconv.Itoa(number))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	all := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = all
	cmd.WaitDelay = time.Second
	output, err := cmd.CombinedOutput()
	if cmd.Process != nil {
		all() // what the tests have started ends with them
	}
	return judge(string(output), err, ctx.Err()), string(output)
}

var (
	testFailed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	crashed    = regexp.MustCompile(`(?m)^panic: .*|^fatal error: .*`)
)

// judge says what became of a mutant from what the tests wrote, how they ended, and why they were ended.
func judge(output string, err, ended error) string {
	switch {
	case err == nil:
		return lived
	case errors.Is(ended, context.DeadlineExceeded) || strings.Contains(output, "panic: test timed out"):
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
