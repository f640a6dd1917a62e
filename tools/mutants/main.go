// Mutants seeds bugs in the library, one at a time, and demands of each that the test which is named for it fails.
//
// The bugs stand in catalogue, a few texts by subject, in the form that [parse] reads. None touches a file of the
// repository: each is built by way of go test -overlay. A bug whose anchor does not occur exactly once in its file ends the
// run before anything is tested. Each named test has to pass on the code as it is, and has to fail with the bug: a bug that
// does not compile, that makes the program panic or hang, or that another test finds first is not caught.
//
//	go run ./mutants [-root dir] [-within time] [part of a name]...
//
// MUTANTS=short tries those only that are marked short. The anchors of all are looked for anyhow. The last line is
// "mutants: N caught of N"; the exit status is 0 only if all that were tried were caught.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed catalogue
var catalogue embed.FS

// atOnce is how many tests run at a time: one for each of two cores.
const atOnce = 2

func main() {
	root := flag.String("root", "..", "the module in which bugs are seeded")
	within := flag.Duration("within", 30*time.Minute, "how long the run may take")
	flag.Parse()
	texts, err := fs.Sub(catalogue, "catalogue")
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		ctx, cancel := context.WithTimeout(ctx, *within)
		defer cancel()
		err = run(ctx, os.Stdout, texts, *root, selection{short: os.Getenv("MUTANTS") == "short", parts: flag.Args()})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// selection says which mutants are tried.
type selection struct {
	short bool     // only those that are marked
	parts []string // only those whose name has one of these in it; none for all
}

func (s selection) has(m *mutant) bool {
	in := len(s.parts) == 0 || slices.ContainsFunc(s.parts, func(part string) bool { return strings.Contains(m.name, part) })
	return in && (m.short || !s.short)
}

// errNotCaught ends a run in which not all was as it must be. What was not is on the page.
var errNotCaught = errors.New("mutants: not all were caught")

// run seeds the mutants of the texts in the module at root, and reports on w.
func run(ctx context.Context, w io.Writer, texts fs.FS, root string, which selection) error {
	began := time.Now()
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	all, err := parse(texts)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "mutants-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	var chosen []*mutant
	var wrong []error
	for _, m := range all {
		if err := m.seed(root, filepath.Join(scratch, m.name)); err != nil {
			wrong = append(wrong, err)
		}
		if which.has(m) {
			chosen = append(chosen, m)
		}
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	if len(chosen) == 0 {
		return errors.New("mutants: there is none of that name")
	}
	fmt.Fprintf(w, "%d of %d mutants\n", len(chosen), len(all))

	if err := control(ctx, w, root, chosen); err != nil {
		return err
	}
	fmt.Fprintf(w, "the tests pass on the code as it is, %s\n", seconds(time.Since(began)))

	count := 0
	inTurn(chosen, func(m *mutant) report {
		began := time.Now()
		events := goTest(ctx, root, m.test.pkg, []string{m.test.name}, m.overlay)
		return report{judge(events, m.test.name), time.Since(began)}
	}, func(m *mutant, r report) {
		fmt.Fprintf(w, "%-9s %-45s %-24s %s, %s\n", r.what, m.name, m.edits[0].file, m.test, seconds(r.took))
		if r.what == caught {
			count++
		} else {
			fmt.Fprintf(w, "  it breaks %s\n%s", m.breaks, r.output)
		}
	})
	if err := ctx.Err(); err != nil {
		fmt.Fprintf(w, "the run was ended after %s: %v\n", seconds(time.Since(began)), err)
	}
	fmt.Fprintf(w, "%s in all\n", seconds(time.Since(began)))
	fmt.Fprintf(w, "mutants: %d caught of %d\n", count, len(chosen))
	if count < len(chosen) {
		return errNotCaught
	}
	return nil
}

// control runs each test that the mutants name on the code as it is, where it has to pass.
func control(ctx context.Context, w io.Writer, root string, mutants []*mutant) error {
	names := map[string][]string{} // by package
	for _, m := range mutants {
		if known := names[m.test.pkg]; !slices.Contains(known, m.test.name) {
			names[m.test.pkg] = append(known, m.test.name)
		}
	}
	passed := true
	inTurn(slices.Sorted(maps.Keys(names)), func(pkg string) []byte {
		return goTest(ctx, root, pkg, names[pkg], "")
	}, func(pkg string, events []byte) {
		for _, name := range names[pkg] {
			if v := judge(events, name); v.what != survived {
				passed = false
				fmt.Fprintf(w, "%-9s without a mutant: %s %s\n%s", v.what, pkg, name, v.output)
			}
		}
	})
	if !passed {
		fmt.Fprintln(w, "not every test passes on the code as it is")
		return errNotCaught
	}
	return nil
}

// report is what became of a mutant, and in which time.
type report struct {
	verdict
	took time.Duration
}

// inTurn does something for each item, for a few at a time, and tells of each as it ends, one after the other.
func inTurn[T, R any](items []T, do func(T) R, tell func(T, R)) {
	var telling sync.Mutex
	var wg sync.WaitGroup
	next := make(chan T)
	for range atOnce {
		wg.Go(func() {
			for item := range next {
				result := do(item)
				telling.Lock()
				tell(item, result)
				telling.Unlock()
			}
		})
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	wg.Wait()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
