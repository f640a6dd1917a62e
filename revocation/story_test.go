package revocation_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"example.com/tokenstore/store"
)

var update = flag.Bool("update", false, "write the outcomes of the stories in testdata anew")

// TestStories plays the stories of testdata on every backend, and has the same observed on each, word for word. They are meant to
// be read: testdata/README.md says in which order.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	index, err := os.ReadFile("testdata/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(index), ".txt)"); n != len(files) {
		t.Errorf("testdata/README.md lists %d stories, and there are %d", n, len(files))
	}
	told, commands := 0, 0
	for _, file := range files {
		if name := filepath.Base(file); !strings.Contains(string(index), "("+name+")") {
			t.Errorf("testdata/README.md does not list %s", name)
		}
		for _, backend := range []string{"memstore", "boltstore"} {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+backend, func(t *testing.T) {
				n := tell(t, file, backend)
				commands += n
				told++
			})
		}
	}
	t.Attr("stories", strconv.Itoa(told))
	t.Attr("operations", strconv.Itoa(commands))
}

// tell plays a story, and returns how many commands it had.
func tell(t *testing.T, file, backend string) (commands int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	written, err := parseScript(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	seen, err := playAlone(t, written, backend, nil)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if *update && backend == "memstore" {
		if err := os.WriteFile(file, []byte(seen.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		written = seen
	}
	for i := range seen {
		commands += len(seen[i].commands)
		if !slices.Equal(seen[i].told, written[i].told) {
			t.Errorf("the story goes on otherwise; \"go test ./revocation -run TestStories -update\" writes it so\n%s:%d:\n%s\nobserved:\n%s",
				file, written[i].line, strings.Join(slices.Concat(written[i].head, []string{"----"}, written[i].told), "\n"), strings.Join(seen[i].told, "\n"))
			break // what follows is likely to be another story
		}
	}
	return commands
}

// playAlone plays a story in a bubble of its own, and returns it with what was observed.
func playAlone(t *testing.T, written script, backend string, fault func(store.Backend) store.Backend) (seen script, err error) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, backend, dir, fault)
		defer w.close()
		for _, b := range written {
			b.told = nil
			for _, c := range b.commands {
				var lines []string
				if lines, err = w.play(c); err != nil {
					err = &scriptError{c.line, err}
					return
				}
				b.told = append(b.told, lines...)
			}
			seen = append(seen, b)
		}
	})
	return seen, err
}

// TestStoriesAreStrict: what a story can't mean is refused, with its line.
func TestStoriesAreStrict(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		line int
		want error
	}{
		"empty":                   {"", 1, errNoCommand},
		"prose alone":             {"# Nothing\n# happens.\n", 2, errNoCommand},
		"an outcome of nothing":   {"# a\n----\nt1: token 1\n", 2, errNoCommand},
		"no outcome":              {"pending\n\npending\n----\n", 2, errNoOutcome},
		"no outcome at the end":   {"pending\n----\n\npending\n", 4, errNoOutcome},
		"no such command":         {"pending\nisue t1 user=ann\n----\n", 2, errBadCommand},
		"an argument unknown":     {"\nissue t1 usr=ann\n----\n", 2, errBadWord},
		"a flag unknown":          {"revoke r1 user=ann loudly\n----\n", 1, errBadWord},
		"an argument twice":       {"issue t1 user=ann user=bob\n----\n", 1, errBadWord},
		"an argument of nothing":  {"issue t1 user=\n----\n", 1, errBadWord},
		"no such token":           {"# a\n# b\nexchange t1\n----\n", 3, errBadName},
		"no such revocation":      {"status r1\n----\n", 1, errBadName},
		"no such applier":         {"slice at=a9\n----\n", 1, errBadName},
		"no such login":           {"issue t1 user=ann session=s1 as-of=l1\n----\n", 1, errBadName},
		"a name missing":          {"issue\n----\n", 1, errBadName},
		"a name too many":         {"pending r1\n----\n", 1, errBadWord},
		"a name taken":            {"issue t1 user=ann session=s1\nissue t1 user=ann session=s1\n----\n", 2, errBadName},
		"a time that is none":     {"clock soon\n----\n", 1, errBadValue},
		"a number that is none":   {"policy web cap=few\n----\n", 1, errBadValue},
		"a date that is none":     {"import t1 user=ann session=s1 created=then\n----\n", 1, errBadValue},
		"bounds of nothing":       {"bounds visit=1 remove=0\n----\n", 1, errBadValue},
		"a secret it never had":   {"issue t1 user=ann session=s1\nexchange t1 generation=3\n----\n", 2, errBadValue},
		"a number where none fit": {"issue t1..x user=ann session=s1\n----\n", 1, errBadName},
	} {
		t.Run(name, func(t *testing.T) {
			written, err := parseScript(c.text)
			if err == nil {
				_, err = playAlone(t, written, "memstore", nil)
			}
			broken, ok := errors.AsType[*scriptError](err)
			if !ok || broken.line != c.line || !errors.Is(err, c.want) {
				t.Errorf("error %v, want line %d: %v", err, c.line, c.want)
			}
		})
	}
}

// TestStoriesAreKept: a story is written as it was read, with what was observed and nothing else changed.
func TestStoriesAreKept(t *testing.T) {
	const text = "# Who comes late.\n\n# An issue.\nissue t1 user=ann session=s1\nexchange t1\n----\nt1: sequence 2\nt1: generation 7\n\n# The end.\n"
	written, err := parseScript(text)
	if err != nil {
		t.Fatal(err)
	}
	if written.String() != text {
		t.Errorf("read and written it is\n%s", written)
	}
	if written[0].line != 7 {
		t.Errorf("what was observed begins on line %d, want 7", written[0].line)
	}
	seen, err := playAlone(t, written, "memstore", nil)
	want := strings.NewReplacer("sequence 2", "sequence 1", "generation 7", "generation 1").Replace(text)
	if err != nil || seen.String() != want {
		t.Errorf("played it is, %v\n%s\nwant\n%s", err, seen, want)
	}
}
