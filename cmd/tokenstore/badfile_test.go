package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/tokenstore"
)

// onFile are the commands on a database that must be there, with what else they need.
func onFile() map[string][]string {
	const id = "01HPWVYJZ808DT7EJB5DEGYF84"
	return map[string][]string{
		"list":             {"--all"},
		"show":             {id},
		"revoke":           {"--user", "auth0|ann", "--yes"},
		"revoke, dry":      {"--user", "auth0|ann", "--dry-run"},
		"revoke, wait":     {"--everything", "--yes", "--wait"},
		"revocations":      {},
		"revocations, one": {id},
		"erase-user":       {"--user", "auth0|ann", "--yes"},
		"events":           {},
		"stats":            {},
		"stats, of all":    {"--all-tenants"},
		"tenants":          {},
		"export":           {"-"},
	}
}

// commandOf is the command of a name in onFile.
func commandOf(name string) string {
	command, _, _ := strings.Cut(name, ",")
	return command
}

// A file that can't be used is told of, with the reason, and is as it was.
func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, data []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	db, _ := fileOf(t, 2000)
	whole, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	for i := 0; i < len(flipped); i += 64 {
		flipped[i] ^= 0xff
	}
	root := bytes.Clone(whole) // of its pages, all but the two first are damaged
	for i := 2 * os.Getpagesize(); i < len(root); i++ {
		root[i] ^= 0x55
	}
	served := put("served.db", whole)
	serve(t, served)
	files := map[string]struct {
		path string
		code int
		says string
	}{
		"none":            {filepath.Join(dir, "none.db"), exitUsage, "--db: there is no file " + filepath.Join(dir, "none.db")},
		"no folder":       {filepath.Join(dir, "none", "tokens.db"), exitUsage, "--db: there is no file"},
		"a folder":        {dir, exitFailed, "not a tokenstore file"},
		"a text":          {put("text", bytes.Repeat([]byte("no database\n"), 1000)), exitFailed, "not a tokenstore file"},
		"empty":           {put("empty", nil), exitFailed, "can't be opened"},
		"truncated":       {put("truncated.db", whole[:5*os.Getpagesize()]), exitFailed, "truncated"},
		"flipped":         {put("flipped.db", flipped), exitFailed, "can't be opened"},
		"damaged":         {put("damaged.db", root), exitFailed, "corrupt"},
		"held by another": {served, exitFailed, "in use by another process, such as tokenstore serve, and only one can hold it: use its management API, or stop it"},
	}
	for kind, file := range files {
		before, _ := os.ReadFile(file.path) // what can't be read has no bytes
		t.Run(kind, func(t *testing.T) {
			for name, args := range onFile() {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					code, stdout, stderr := toEnd(t, append([]string{commandOf(name), "--db", file.path}, args...)...)
					if code != file.code || stdout != "" || !strings.Contains(stderr, file.says) || strings.Count(stderr, "\n") != 1 {
						t.Errorf("exit code %d, %q, %q; want %d and %q", code, stdout, stderr, file.code, file.says)
					}
				})
			}
		})
		if after, _ := os.ReadFile(file.path); !bytes.Equal(before, after) {
			t.Errorf("%s: the file has changed", kind)
		}
	}
	for _, path := range []string{files["none"].path, filepath.Dir(files["no folder"].path)} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was made (%v)", path, err)
		}
	}
}

// Damage that opening does not come to is told of by who comes to it, and a wait for the sweep ends.
func TestDamageWithin(t *testing.T) {
	db, _ := fileOf(t, 5000)
	data, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for page := 2; page < len(data)/os.Getpagesize(); page++ {
		at := data[page*os.Getpagesize() : (page+1)*os.Getpagesize()]
		if i := bytes.LastIndex(at, []byte("session-1")); i >= 0 { // a record's checksum is wrong then
			at[i]++
			damaged++
		}
	}
	if damaged < 10 {
		t.Fatalf("damaged %d pages", damaged)
	}
	if err := os.WriteFile(db, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		says string
		args []string
	}{
		{"corrupt", []string{"list", "--all"}},
		{"corrupt", []string{"revoke", "--everything", "--dry-run"}},
		{"stands, and what it covers is refused", []string{"revoke", "--user", "auth0|ann", "--wait", "--yes"}},
		{"corrupt", []string{"export", "-"}},
	} {
		code, _, stderr := toEnd(t, append(c.args, "--db", db)...)
		if code != exitFailed || !strings.Contains(stderr, c.says) || !strings.Contains(stderr, "corrupt") {
			t.Errorf("%v: exit code %d, %q", c.args, code, stderr)
		}
	}
	// What is sound can still be read.
	if code, stdout, stderr := toEnd(t, "stats", "--db", db); code != 0 || !strings.Contains(stdout, "5,000") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

// A tenant that was never written to is empty, and to look at it does not make it one.
func TestTenantThatIsNone(t *testing.T) {
	db, _ := fileWith(t, 1)
	for name, args := range onFile() {
		if strings.HasPrefix(name, "revoke") || name == "erase-user" || name == "show" || name == "revocations, one" {
			continue
		}
		if code, _, stderr := toEnd(t, append([]string{commandOf(name), "--db", db, "--tenant", "nobody"}, args...)...); code != 0 {
			t.Errorf("%s: exit code %d, %q", name, code, stderr)
		}
	}
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		var names []string
		for name, err := range m.Tenants(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		if fmt.Sprint(names) != "[default]" {
			t.Errorf("the tenants are %q", names)
		}
	})
}
