package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"go.etcd.io/bbolt"
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

// onWhole are the commands on a whole file, with what else they need. out is a folder for what they make; "FILE" is the file.
func onWhole(out string) map[string][]string {
	return map[string][]string{
		"check":             {"--db", "FILE"},
		"check, repair":     {"--db", "FILE", "--repair", "--yes"},
		"compact":           {"--db", "FILE", "--yes"},
		"backup":            {"--db", "FILE", filepath.Join(out, "backup.db")},
		"restore":           {"--db", filepath.Join(out, "restored.db"), "--override", "--yes", "FILE"},
		"restore, in place": {"--db", "FILE", "--override", "--in-place", "--yes"},
	}
}

// badFile is a file that can't be used, and what is said of it.
type badFile struct {
	path  string
	code  int
	says  string
	whole map[string]refused // what commands on a whole file end by, where it is something else
}

type refused struct {
	code int
	says string
}

// A file that can't be used is told of, with the reason, and is as it was; nothing is made of it.
func TestBadFiles(t *testing.T) {
	dir, out := sharedDir(t), sharedDir(t)
	put := func(name string, data []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	db, _ := fileOf(t, 2000)
	whole := read(t, db)
	flipped := bytes.Clone(whole)
	for i := 0; i < len(flipped); i += 64 {
		flipped[i] ^= 0xff
	}
	root := bytes.Clone(whole) // of its pages, all but the two first are damaged
	for i := 2 * os.Getpagesize(); i < len(root); i++ {
		root[i] ^= 0x55
	}
	served := put("served.db", whole)
	trial := put("trial.db", whole)
	asTrial(t, trial)
	denied := put("denied.db", whole)
	if err := os.Chmod(denied, 0); err != nil {
		t.Fatal(err)
	}
	notThere := map[string]refused{"restore": {exitUsage, "no such file or directory"}}
	found := func(says string) map[string]refused {
		return map[string]refused{"check": {exitFound, says}, "check, repair": {exitFound, "beyond repair"}}
	}
	inUse := refused{exitFailed, "is in use: end the process that holds it first"}
	files := map[string]badFile{
		"none":           {filepath.Join(dir, "none.db"), exitUsage, "there is no file " + filepath.Join(dir, "none.db"), notThere},
		"no folder":      {filepath.Join(dir, "none", "tokens.db"), exitUsage, "there is no file", notThere},
		"a folder":       {dir, exitFailed, "not a tokenstore file", nil},
		"a text":         {put("text", bytes.Repeat([]byte("no database\n"), 1000)), exitFailed, "not a tokenstore file", nil},
		"empty":          {put("empty", nil), exitFailed, "not a tokenstore file", nil},
		"truncated":      {put("truncated.db", whole[:5*os.Getpagesize()]), exitFailed, "truncated", found("truncated")},
		"flipped":        {put("flipped.db", flipped), exitFailed, "no meta page is whole", found("no meta page is whole")},
		"damaged":        {put("damaged.db", root), exitFailed, "corrupt", found("corrupt")},
		"a trial format": {trial, exitFailed, "a trial format of before the first release", nil},
		"no permission":  {denied, exitFailed, "permission denied", nil},
		"held by another": {served, exitFailed, "in use by another process, such as tokenstore serve, and only one can hold it: use its management API, or stop it", map[string]refused{
			"check": inUse, "check, repair": inUse, "compact": inUse,
			"backup":  {exitFailed, "which has to make its backups: tokenstore serve does with --backup-dir"},
			"restore": {exitFailed, "a backup is a copy that nobody writes to"},
		}},
	}
	for kind, file := range files {
		if kind == "held by another" {
			serve(t, served)
		}
		before, _ := os.ReadFile(file.path) // what can't be read has no bytes
		want := func(t *testing.T, name string, want refused, args []string) {
			code, stdout, stderr := endOf(t, plain, kind == "no permission", append([]string{commandOf(name)}, args...)...)
			if code != want.code || (stdout != "") != (code == exitFound) || !strings.Contains(stdout+stderr, want.says) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit code %d, %q, %q; want %d and %q", code, stdout, stderr, want.code, want.says)
			}
			if !strings.Contains(stderr, file.path) {
				t.Errorf("%q does not name the file %s", stderr, file.path)
			}
		}
		t.Run(kind, func(t *testing.T) {
			for name, args := range onFile() {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					want(t, name, refused{file.code, file.says}, append([]string{"--db", file.path}, args...))
				})
			}
		})
		t.Run(kind+", as a whole", func(t *testing.T) {
			for name, args := range onWhole(out) {
				t.Run(name, func(t *testing.T) { // one at a time, since some want it alone
					other, is := file.whole[name]
					if !is {
						other = refused{file.code, file.says}
					}
					args = slices.Clone(args)
					args[slices.Index(args, "FILE")] = file.path
					want(t, name, other, args)
				})
			}
		})
		if after, _ := os.ReadFile(file.path); !bytes.Equal(before, after) {
			t.Errorf("%s: the file has changed", kind)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 8 {
		t.Errorf("something was made beside them: %v, %v", entries, err)
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) != 0 {
		t.Errorf("something was made of them: %v, %v", entries, err)
	}
}

// asTrial gives a file the mark of a trial format.
func asTrial(t *testing.T, db string) {
	t.Helper()
	file, err := bbolt.Open(db, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = file.Update(func(tx *bbolt.Tx) error {
		about := tx.Bucket([]byte("about"))
		return errors.Join(about.Delete([]byte("version")), about.Put([]byte("format"), []byte{0, 0, 0, 3}))
	})
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// A folder that can't be synced does not undo what has been made in it, and what is said is what is there.
func TestFolderThatCannotBeSynced(t *testing.T) {
	of, _ := fileOf(t, 1)
	db, dir := filepath.Join(sharedDir(t), "tokens.db"), sharedDir(t)
	if err := os.WriteFile(db, read(t, of), 0o600); err != nil {
		t.Fatal(err)
	}
	giveAway(t, db)
	if err := os.Chmod(dir, 0o300); err != nil { // names can be made in it, and it can't be opened
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(dir, 0o700) }()
	feed := filepath.Join(dir, "feed.ndjson")
	code, _, stderr := toEndUnprivileged(t, "serve", "--db", db, "--static-token", token+"="+scopes, "--feed-copy", feed)
	if _, err := os.Stat(feed); err != nil || code != exitFailed || !strings.Contains(stderr, feed+": the file is there, but a loss of power may take away its name") {
		t.Errorf("exit code %d, %q, %v", code, stderr, err)
	}
	unsettled := fmt.Errorf("%w: a test", boltstore.ErrUnsettled)
	if err := notPlaced("x.db", unsettled); !strings.Contains(err.Error(), "x.db was made, and is whole") {
		t.Errorf("a backup: %v", err)
	}
	if err := (&fileFlags{databaseFlags{db: "x.db"}}).refused(unsettled); !strings.Contains(err.Error(), "x.db is the new file, and whole") {
		t.Errorf("a repair: %v", err)
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

// A tenant that was never written to is told of, since its name may be mistyped; neither to look at it nor to revoke makes it one.
func TestTenantThatIsNone(t *testing.T) {
	db, _ := fileWith(t, 1)
	const says = `there is no tenant "nobody"`
	run := func(name string, args ...string) (int, string, string) {
		t.Helper()
		return toEnd(t, append([]string{commandOf(name), "--db", db, "--tenant", "nobody"}, args...)...)
	}
	for name, args := range onFile() {
		code, stdout, stderr := run(name, args...)
		if name == "tenants" || name == "stats, of all" {
			if code != exitUsage || !strings.Contains(stderr, "--tenant") {
				t.Errorf("%s is about all, and takes no tenant: exit code %d, %q", name, code, stderr)
			}
			continue
		}
		if code != exitNotFound || stdout != "" || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit code %d, %q, %q", name, code, stdout, stderr)
		}
	}
	tenants := func(want string) {
		t.Helper()
		if code, stdout, stderr := toEnd(t, "tenants", "--db", db, "-o", "ndjson"); code != 0 || stdout != want {
			t.Errorf("exit code %d, %q, %q; want %q", code, stdout, stderr, want)
		}
	}
	tenants("{\"tenant\":\"default\"}\n")
	if code, _, stderr := run("revoke", "--user", "auth0|ann", "--yes", "--new-tenant"); code != 0 {
		t.Errorf("where it is meant: exit code %d, %q", code, stderr)
	}
	tenants("{\"tenant\":\"default\"}\n{\"tenant\":\"nobody\"}\n")
	if code, _, stderr := run("list"); code != 0 {
		t.Errorf("then it is there: exit code %d, %q", code, stderr)
	}
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		if _, err := m.CreateTenant(ctx, "created", nil); err != nil {
			t.Fatal(err)
		}
	})
	if code, _, stderr := toEnd(t, "list", "--db", db, "--tenant", "created"); code != 0 {
		t.Errorf("one that was created is there, though it is empty: exit code %d, %q", code, stderr)
	}
}
