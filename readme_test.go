package tokenstore_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The blocks of the README are, in this order: the quickstart's output, the program, its output, and what takes the place
// of its backend.
func readmeBlocks(t *testing.T) (quickstart, program, output, swap string) {
	t.Helper()
	text := readText(t, "README.md")
	blocks := regexp.MustCompile("(?s)```(text|go)\n(.*?)```").FindAllStringSubmatch(text, -1)
	var kinds []string
	for _, block := range blocks {
		kinds = append(kinds, block[1])
	}
	if strings.Join(kinds, " ") != "text go text go" {
		t.Fatalf("the README has blocks %v, want text, go, text and go", kinds)
	}
	return blocks[0][2], blocks[1][2], blocks[2][2], blocks[3][2]
}

func TestREADMEQuickstart(t *testing.T) {
	t.Parallel()
	want, _, _, _ := readmeBlocks(t)
	if got := goCommandIn(t, "", ".", "run", "./examples/quickstart"); got != want {
		t.Errorf("the quickstart prints\n%s\nbut the README says\n%s", got, want)
	}
}

// The README's program and Example are the same, so that the package's documentation shows it too.
func TestREADMEProgramIsExample(t *testing.T) {
	_, program, output, _ := readmeBlocks(t)
	source := readText(t, "example_test.go")
	_, example, _ := strings.Cut(source, "func Example() {\n")
	example, comment, _ := strings.Cut(example, "\t// Output:\n")
	_, body, _ := strings.Cut(program, "func main() {\n")
	if body == "" || body != example+"}\n" {
		t.Errorf("main of the README's program is\n%s\nbut Example is\n%s", body, example)
	}
	comment = strings.ReplaceAll(strings.TrimSuffix(comment, "}\n"), "\t// ", "")
	if comment != output {
		t.Errorf("the README's output is\n%s\nbut that of Example is\n%s", output, comment)
	}
}

// A module outside of this one that embeds the README's program builds, runs, and prints what the README says.
func TestREADMEProgramRunsElsewhere(t *testing.T) {
	t.Parallel()
	_, program, want, _ := readmeBlocks(t)
	if got := runElsewhere(t, program); got != want {
		t.Errorf("the program prints\n%s\nbut the README says\n%s", got, want)
	}
}

// So does the program with the other backend.
func TestREADMESwapRunsElsewhere(t *testing.T) {
	t.Parallel()
	_, program, want, swap := readmeBlocks(t)
	const memory = "\ttokens, err := tokenstore.New(memstore.New(), nil)\n"
	if !strings.Contains(program, memory) {
		t.Fatalf("the README's program has no line %q", memory)
	}
	program = strings.Replace(program, memory, swap, 1)
	program = strings.Replace(program, module+"/memstore", module+"/boltstore", 1)
	if got := runElsewhere(t, program); got != want {
		t.Errorf("with a file the program prints\n%s\nbut the README says\n%s", got, want)
	}
}

// runElsewhere runs a program in a module of its own, in a new folder.
func runElsewhere(t *testing.T, program string) string {
	t.Helper()
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Go      string
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal([]byte(goCommand(t, ".", "mod", "edit", "-json")), &mod); err != nil {
		t.Fatal(err)
	}
	// All that go mod tidy would look up is known here, so that the test needs no network.
	var goMod bytes.Buffer
	fmt.Fprintf(&goMod, "module elsewhere\n\ngo %s\n\nrequire %s v0.0.0\n\nreplace %[2]s => %q\n", mod.Go, module, root)
	for _, r := range mod.Require {
		fmt.Fprintf(&goMod, "\nrequire %s %s // indirect\n", r.Path, r.Version)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.go": program, "go.mod": goMod.String(), "go.sum": readText(t, "go.sum"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return goCommand(t, dir, "run", ".")
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
