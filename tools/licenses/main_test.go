package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const mit = `MIT License

Copyright (c) 2026 A Test

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`

const beerware = `"THE BEER-WARE LICENSE" (Revision 42):
<test@example.com> wrote this file. As long as you retain this notice you can do whatever you want with this stuff. If we meet some day,
and you think this stuff is worth it, you can buy me a beer in return. A Test
`

// The licence of a module is told by its texts, and what is not told is not taken for good.
func TestLicensesIn(t *testing.T) {
	for _, c := range []struct {
		name    string
		files   map[string]string
		want    []string
		allowed bool
	}{
		{"known", map[string]string{"LICENSE": mit}, []string{"MIT"}, true},
		{"another name", map[string]string{"COPYING.txt": mit}, []string{"MIT"}, true},
		{"known, not allowed", map[string]string{"LICENSE": beerware}, []string{"Beerware"}, false},
		{"two texts", map[string]string{"LICENSE": mit, "LICENSE.beer": beerware}, []string{"Beerware", "MIT"}, false},
		{"its own", map[string]string{"LICENSE.md": "All rights are ours, whatever it is."}, []string{unknown}, false},
		{"more than the known", map[string]string{"LICENSE": mit + strings.Repeat("You also owe us a share of what you earn. ", 40)}, []string{"MIT", unknown}, false},
		{"none", map[string]string{"licenses.go": mit}, []string{unknown}, false},
	} {
		dir := t.TempDir()
		for name, text := range c.files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := licensesIn(dir)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, %v; want %q", c.name, got, err, c.want)
		}
		if err := judge([]module{{path: "example.com/other", licenses: got}}); (err == nil) != c.allowed {
			t.Errorf("%s: %q is judged %v", c.name, got, err)
		}
	}
}

// A repository whose list is missing or old fails, and -update mends it.
func TestUpToDate(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module small\n\ngo 1.26.0\n", "small.go": "package small\n", "docs/other.md": "",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shipped := []string{"."}
	if err := check(t.Context(), root, shipped, false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a list: %v", err)
	}
	if err := check(t.Context(), root, shipped, true); err != nil {
		t.Fatal(err)
	}
	if err := check(t.Context(), root, shipped, false); err != nil {
		t.Errorf("with a new list: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, "docs", "licenses.md"), []byte("# Licences\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := check(t.Context(), root, shipped, false); !errors.Is(err, errOutdated) {
		t.Errorf("with an old list: %v", err)
	}
}

// All that a module links in is found, on each system.
func TestLinked(t *testing.T) {
	modules, err := linked(t.Context(), filepath.Join("..", ".."), []string{"cmd/tokenstore"})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"go.etcd.io/bbolt", "github.com/spf13/cobra", "github.com/inconshreveable/mousetrap"} { // the last is for windows
		i := slices.IndexFunc(modules, func(m module) bool { return m.path == path })
		if i < 0 || modules[i].version == "" || len(modules[i].licenses) == 0 {
			t.Errorf("%s is not found, or not whole", path)
		}
	}
	for _, m := range modules {
		if strings.HasPrefix(m.path, "example.com/") {
			t.Errorf("%s is ours", m.path)
		}
	}
}
