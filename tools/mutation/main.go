// Mutation tells how many small changes of the code the tests notice: a "<" that becomes "<=", a "&&" that becomes "||".
//
// Where such changes can be made, [gremlins] says, in its dry run. They are made and tested here, because gremlins takes what doesn't
// compile for a change that was noticed, asks the tests of the changed package only, and builds them for each change. The rules of
// package domain are proved by the tests of the stores and of the manager too: a mutant goes through the rounds of its package's
// [plan] until one has a test that fails.
//
//	go run . [-root dir] [-results file] [-files regexp] [-rounds n] [-alone] [package...]
//
// No file is touched. The tests are built once, by way of -overlay, with all mutants of a package in them, each of which a variable
// of the environment switches on. A constant can't be switched: what changes one is built on its own.
//
// Each test is run on its own without a mutant first, a few times, to see which switches it comes by where they would make a
// difference. Only what reaches a mutant is asked about it, the quick tests first.
//
// What was found is added to the file of results, and what that has already is not tried again. So a run may be interrupted, or made of
// pieces; after a change of the code or the tests the file is to be removed.
//
// A mutant is killed if a test fails or the program crashes. It timed out, which counts as killed, if a test takes ten times as long on
// the processors as without it, and 20 s at least; or by the clock, and then three times as long when it is asked again. What doesn't
// compile is not viable, and doesn't count at all. What is left has survived. docs/mutation.md explains those that may: the exit status is 0 only if it has all survivors,
// and none besides.
//
// [gremlins]: https://github.com/go-gremlins/gremlins
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.root, "root", "../..", "the module that is changed")
	flag.StringVar(&o.results, "results", "mutation.out", "the file that results are added to")
	flag.StringVar(&o.files, "files", ".", "a pattern of the files that are changed")
	flag.IntVar(&o.rounds, "rounds", 10, "ask no more than so many rounds of tests")
	flag.BoolVar(&o.alone, "alone", false, "build each mutant on its own, to see that the verdicts are the same")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	chosen, err := choose(flag.Args())
	if err == nil {
		err = run(ctx, os.Stdout, o, chosen)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type options struct {
	root, results, files string
	rounds               int
	alone                bool
}

var errNotAsExplained = errors.New("mutation: what survives is not what docs/mutation.md explains")

// run tries the mutants of the plans' packages, and reports on w.
func run(ctx context.Context, w io.Writer, o options, chosen []plan) error {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	files, err := regexp.Compile(o.files)
	if err != nil {
		return err
	}
	explained, err := readExplained(filepath.Join(root, "docs", "mutation.md"))
	if err != nil {
		return err
	}
	log, err := openResults(o.results)
	if err != nil {
		return err
	}
	defer log.close()
	whole := o.files == "."
	var table []score
	asExplained := true
	for _, p := range chosen {
		src, mutants, err := find(ctx, root, p.pkg)
		if err != nil {
			return err
		}
		s := score{pkg: p.pkg}
		p.rounds = p.rounds[:min(o.rounds, len(p.rounds))]
		t, err := prepare(src, mutants)
		if err != nil {
			return err
		}
		for i := range mutants {
			mutants[i].alone = mutants[i].alone || o.alone
			planned := p.has(mutants[i].File)
			mutants[i].chosen = planned && files.MatchString(mutants[i].File)
			if planned {
				s.all++
			}
		}
		if err := errors.Join(try(ctx, w, t, p, log), t.close()); err != nil {
			return err
		}
		survived := map[string]bool{}
		for _, m := range mutants {
			if !m.chosen {
				continue
			}
			verdict := log.known[m.key()].Verdict
			s.add(verdict)
			if verdict == lived {
				survived[m.name()] = true
			}
		}
		for _, name := range slices.Sorted(maps.Keys(survived)) {
			if !explained[name] {
				asExplained = false
				fmt.Fprintf(w, "- %s\n  survives, and is not explained\n", name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(explained)) {
			file, _, _ := strings.Cut(strings.TrimPrefix(name, "`"), "`")
			if whole && p.has(file) && !survived[name] {
				asExplained = false
				fmt.Fprintf(w, "- %s\n  is explained, and does not survive\n", name)
			}
		}
		table = append(table, s)
	}
	printTable(w, table)
	if !asExplained {
		return errNotAsExplained
	}
	return nil
}

// try finds out what is not known yet. Each round is asked about all mutants before the next one, so that most is known soon.
func try(ctx context.Context, w io.Writer, t *trial, p plan, log *results) error {
	for before, r := range p.rounds {
		left := 0
		for _, m := range t.mutants {
			if log.open(m, before) {
				left++
			}
		}
		if left == 0 {
			continue
		}
		tests, err := t.control(ctx, r, log)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: round %d of %d, %d mutants, %d tests of %s\n", p.pkg, before+1, len(p.rounds), left, len(tests), r.pkg)
		for i, m := range t.mutants {
			if !log.open(m, before) {
				continue
			}
			began := time.Now()
			found, err := t.try(ctx, m, i+1, r, tests)
			if err != nil {
				return err
			}
			found.Rounds = before + 1
			found.Tests += log.known[m.key()].Tests
			if err := log.add(found); err != nil {
				return err
			}
			left--
			fmt.Fprintf(w, "%d %s %s %s, %d tests, %.1f s\n", left, found.Verdict, m.name(), found.By, found.Tests, time.Since(began).Seconds())
		}
	}
	return nil
}

// score counts the mutants of a package.
type score struct {
	pkg                               string
	all                               int
	unviable, killed, timedOut, lived int
}

func (s *score) add(verdict string) {
	switch verdict {
	case killed:
		s.killed++
	case timedOut:
		s.timedOut++
	case lived:
		s.lived++
	case unviable:
		s.unviable++
	}
}

func printTable(w io.Writer, table []score) {
	fmt.Fprintln(w, "| package | mutants | tried | not viable | killed | timed out | survived | score |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
	for _, s := range table {
		killed := s.killed + s.timedOut
		viable := killed + s.lived
		fmt.Fprintf(w, "| `%s` | %d | %d | %d | %d | %d | %d | %.1f %% |\n",
			s.pkg, s.all, viable+s.unviable, s.unviable, s.killed, s.timedOut, s.lived, 100*float64(killed)/float64(max(viable, 1)))
	}
}
