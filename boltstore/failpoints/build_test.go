package failpoints_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	"go.etcd.io/gofail/code"
)

// program is this test binary, built again with the failpoints in place.
type program struct {
	path   string
	points []point
}

// point is a failpoint of bbolt's.
type point struct {
	name  string
	fails bool // it returns an error with the text that it is given; others are only passed
}

// edit is a change to a file of boltstore's. What it replaces is there once.
type edit struct{ file, old, new string }

// edits have the mapping of a file outgrown, which takes 1 GiB otherwise, and many generations of rewritten records come and go; and put in two bugs, which are off unless they are set like
// a failpoint.
var edits = []edit{
	{"boltstore.go", "initialMmap = 1 << 30", "initialMmap = 1 << 15"},
	{"commit.go", "	defer b.certainty.begin()()\n", `	// gofail: var acknowledgedEarly struct{}
	// for i, c := range calls {
	//	if i > 0 {
	//		c.done <- struct{}{}
	//	}
	// }
	defer b.certainty.begin()()
`},
	{"rewrites.go", "generationMax  = 32 << 10", "generationMax = 2"},
	{"commit.go", "		return -1, b.outcome(id, err)", `		// gofail: var hiddenFailure struct{}
		// return -1, nil
		return -1, b.outcome(id, err)`},
}

// kill is an action that gofail lacks: boltstore recovers from a panic, so that none ends the process. It takes how long to wait
// before, in milliseconds.
const kill = `package runtime

import (
	"os"
	"time"
)

func init() {
	actMap["kill"] = func(t *term) any {
		if wait, ok := t.val.(int); ok {
			time.Sleep(time.Duration(wait) * time.Millisecond)
		}
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
		select {}
	}
}
`

// build builds the program, and lists the failpoints that it found in bbolt's source.
func build(t *testing.T) program {
	t.Helper()
	dir := t.TempDir()
	p := program{path: filepath.Join(dir, "program")}
	bbolt, gofail := filepath.Join(dir, "bbolt"), filepath.Join(dir, "gofail")
	copyModule(t, "go.etcd.io/bbolt", bbolt)
	copyModule(t, "go.etcd.io/gofail", gofail)
	write(t, filepath.Join(gofail, "runtime", "kill.go"), []byte(kill))
	p.points = setInFolder(t, bbolt)

	mod := filepath.Join(dir, "go.mod")
	for _, name := range []string{"go.mod", "go.sum"} {
		write(t, filepath.Join(dir, name), read(t, name))
	}
	command(t, "go", "mod", "edit", "-replace=go.etcd.io/bbolt="+bbolt, "-replace=go.etcd.io/gofail="+gofail, mod)
	overlay := filepath.Join(dir, "overlay.json")
	write(t, overlay, editBoltstore(t, dir))
	args := []string{"test", "-c", "-trimpath", "-modfile=" + mod, "-overlay=" + overlay, "-o=" + p.path}
	if raceDetected() {
		args = append(args, "-race")
	}
	command(t, "go", append(args, ".")...)
	return p
}

// copyModule copies what this module uses of another.
func copyModule(t *testing.T, path, to string) {
	t.Helper()
	from := command(t, "go", "list", "-m", "-f={{.Dir}}", path)
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

var header = regexp.MustCompile(`(?m)^\s*// gofail: var (\w+) (\S+)$`)

// setInFolder makes code of all failpoints in the package of a folder, and of those below it.
func setInFolder(t *testing.T, folder string) (points []point) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source := read(t, path)
		for _, m := range header.FindAllSubmatch(source, -1) {
			points = append(points, point{name: string(m[1]), fails: string(m[2]) == "string"})
		}
		set, binding := setIn(t, filepath.Base(folder), source)
		if binding != nil {
			write(t, path, set)
			write(t, strings.TrimSuffix(path, ".go")+".fail.go", binding)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return points
}

// setIn makes code of the failpoints in a source file of a package. It returns a second file, which declares them; nil if there are none.
func setIn(t *testing.T, pkg string, source []byte) (set, binding []byte) {
	t.Helper()
	var file, declares bytes.Buffer
	found, err := code.ToFailpoints(&file, bytes.NewReader(source))
	if err == nil && len(found) > 0 {
		err = code.NewBinding(pkg, found).Write(&declares)
	}
	if want := len(header.FindAll(source, -1)); err != nil || len(found) != want {
		t.Fatalf("gofail must set %d failpoints: it set %d, error %v", want, len(found), err)
	}
	return file.Bytes(), declares.Bytes()
}

// editBoltstore returns the overlay that has the edits.
func editBoltstore(t *testing.T, dir string) []byte {
	t.Helper()
	folder := command(t, "go", "list", "-f={{.Dir}}", "example.com/tokenstore/boltstore")
	edited := map[string]string{}
	for _, e := range edits {
		path := filepath.Join(folder, e.file)
		source, ok := edited[path]
		if !ok {
			source = string(read(t, path))
		}
		if strings.Count(source, e.old) != 1 {
			t.Fatalf("%s must have this once: %s", e.file, e.old)
		}
		edited[path] = strings.Replace(source, e.old, e.new, 1)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	place := func(path string, content []byte) {
		instead := filepath.Join(dir, filepath.Base(path))
		write(t, instead, content)
		overlay.Replace[path] = instead
	}
	for path, source := range edited {
		set, binding := setIn(t, "boltstore", []byte(source))
		place(path, set)
		if binding != nil {
			place(strings.TrimSuffix(path, ".go")+"_fail.go", binding)
		}
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// raceDetected reports whether this test looks for races.
func raceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// command runs a command outside of any workspace, and returns what it prints.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("%s: %v\n%s", cmd, err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
