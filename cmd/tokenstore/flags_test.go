package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/tokenstore"
	"github.com/spf13/pflag"
)

// What is wrong with a command line is said clearly, before a file is made, and without what may be secret.
func TestBadFlags(t *testing.T) {
	const secret = "the-very-secret-of-the-test"
	good := "--static-token=" + secret + "=read:refresh_tokens"
	dir := t.TempDir()
	db := filepath.Join(dir, "tokens.db")
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("# comment\n"+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{2, `"sevre" is no command, but serve is; see tokenstore --help`, []string{"sevre"}},
		{2, `"lsit" is no command, but list is; see`, []string{"lsit", "--db", db}},
		{2, `"xyzzy" is no command; see`, []string{"xyzzy", "--db", db}},
		{2, "unknown flag: --db", []string{"--db", db}},
		{2, "serve takes flags only", []string{"serve", "--db", db, good, secret + "=a:b"}},
		{2, "tokenstore: --tenant: tenant: must be 1..100 characters", []string{"serve", "--db", db, good, "--tenant", strings.Repeat("x", 101)}},
		{2, "unknown flag: --bd", []string{"serve", "--bd", db}},
		{2, "--db FILE is required", []string{"serve", good}},
		{2, "--db FILE is required", []string{"import", text}},
		{2, "nobody is let in: give --static-token TOKEN=SCOPE,SCOPE", []string{"serve", "--db", db}},
		{2, "--static-token (number 2): it must be TOKEN=SCOPE,SCOPE", []string{"serve", "--db", db, good, "--static-token", secret}},
		{2, "--static-token (number 1): a token needs at least one scope", []string{"serve", "--db", db, "--static-token", secret + "="}},
		{2, "--static-token (number 2): the token is there already", []string{"serve", "--db", db, good, "--static-token", secret + "=b"}},
		{2, "--static-token: static_token: must be 16..16384 bytes", []string{"serve", "--db", db, "--static-token", secret[:15] + "=a"}},
		{2, "text, line 2: it must be TOKEN=SCOPE,SCOPE", []string{"serve", "--db", db, "--static-token-file", text}},
		{2, "--static-token-file: " + text + "s: no such file or directory", []string{"serve", "--db", db, "--static-token-file", text + "s"}},
		{2, "--oauth-client (number 1): it must be ID=SECRET", []string{"serve", "--db", db, good, "--oauth-client", secret}},
		{2, "--oauth-client (number 2): the client is there already", []string{"serve", "--db", db, good, "--oauth-client", "web=a", "--oauth-client", "web=b"}},
		{2, "--oauth-client: client_id: must be 1..64 characters", []string{"serve", "--db", db, good, "--oauth-client", strings.Repeat("i", 65) + "=" + secret}},
		{2, "--oauth-resource-server: \"api\" is no --oauth-client", []string{"serve", "--db", db, good, "--oauth-client", "web=a", "--oauth-resource-server", "api"}},
		{2, "--legacy-cutoff: \"21.9.2023\" is no date such as 2023-09-21", []string{"import", "--db", db, "--legacy-cutoff", "21.9.2023", text}},
		{2, "--legacy-cutoff: \"2023-02-30\" is no date", []string{"import", "--db", db, "--legacy-cutoff", "2023-02-30", text}},
		{2, "--region: us-3 is the only one", []string{"import", "--db", db, "--region", "eu", text}},
		{2, "--tls-cert and --tls-key: ", []string{"serve", "--db", db, good, "--tls-cert", text, "--tls-key", text}},
		{2, "--header-timeout must be positive", []string{"serve", "--db", db, good, "--header-timeout", "0s"}},
		{2, "--max-pending-age: must be a time such as 90s", []string{"serve", "--db", db, good, "--max-pending-age", "5"}},
		{2, "--max-header must be 1024..1048576", []string{"serve", "--db", db, good, "--max-header", "1"}},
		{2, "--rate-limit and --rate-burst must be positive", []string{"serve", "--db", db, good, "--rate-limit", "0", "--rate-burst", "1"}},
		{2, "--rate-limit: rate_limit: must be 0.000001..1000000 requests a second", []string{"serve", "--db", db, good, "--rate-limit", "1e9"}},
		{2, "--rate-limit: rate_limit: must be 0.000001..1000000 requests a second", []string{"serve", "--db", db, good, "--rate-limit", "NaN"}},
		{2, "--rate-burst: must be a whole number", []string{"serve", "--db", db, good, "--rate-burst", secret}},
		{2, "--pg-pooled: must be true or false", []string{"serve", "--db", db, good, "--pg-pooled=" + secret}},
		{2, "--log-format: json or text", []string{"serve", "--db", db, good, "--log-format", "xml"}},
		{2, "--log-level: must be what tokenstore serve --help says", []string{"serve", "--db", db, good, "--log-level", "loud"}},
		{2, "import takes one file of tokens, or - for stdin", []string{"import", "--db", db}},
		{2, "tokenstore: " + text + "s: no such file or directory", []string{"import", "--db", db, text + "s"}},
	} {
		t.Run(strings.Join(c.args[:1], "")+" "+c.says, func(t *testing.T) {
			code, stdout, stderr := toEnd(t, c.args...)
			if code != c.code || stdout != "" || !strings.Contains(stderr, c.says) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d and %q", code, stdout, stderr, c.code, c.says)
			}
			if strings.Contains(stderr, secret) {
				t.Error("stderr has a secret")
			}
			if _, err := os.Stat(db); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the file was made (%v)", err)
			}
		})
	}
}

// A file or an address that can't be used is named, with the reason.
func TestUnusable(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := "--static-token=" + token + "=a"
	for name, c := range map[string]struct {
		code int
		says []string
		args []string
	}{
		"no folder":   {1, []string{filepath.Join(dir, "no", "tokens.db"), "no such file or directory"}, []string{"serve", "--db", filepath.Join(dir, "no", "tokens.db"), token}},
		"a folder":    {1, []string{dir, "can't be opened"}, []string{"serve", "--db", dir, token}},
		"a text":      {1, []string{text, "not a tokenstore file"}, []string{"serve", "--db", text, token}},
		"import":      {1, []string{text, "not a tokenstore file"}, []string{"import", "--db", text, text}},
		"bad address": {1, []string{"--listen: "}, []string{"serve", "--db", filepath.Join(dir, "other.db"), token, "--listen", "127.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := toEnd(t, c.args...)
			if code != c.code || stdout != "" {
				t.Errorf("exit code %d, stdout %q, want %d", code, stdout, c.code)
			}
			for _, says := range c.says {
				if !strings.Contains(stderr, says) {
					t.Errorf("stderr %q does not say %q", stderr, says)
				}
			}
		})
	}
	if got, err := os.ReadFile(text); err != nil || string(got) != "no database" {
		t.Errorf("the file that is no database has changed: %q, %v", got, err)
	}
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := toEnd(t, "version")
	if code != 0 || !strings.HasPrefix(stdout, "tokenstore ") || stderr != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// What names a database, and can't be right, is said without what may be a password.
func TestDatabaseNames(t *testing.T) {
	const good, secret = "--static-token=" + token + "=a", "hunter2-of-the-tests"
	const refused = "no connection: dial tcp 127.0.0.1:1: connect: connection refused\n" // once, and that is all
	for name, c := range map[string]struct {
		says string
		env  string
		args []string
	}{
		"none":                     {"--db FILE is required, or a URL", "", []string{"serve", good}},
		"a long scheme":            {"--db: it is a file, postgres:// or etcd://", "", []string{"serve", good, "--db", "abcdefghijklmnopqrst://u:" + secret + "@h/d"}},
		"another scheme":           {`no database is known by "mysql://"`, "", []string{"serve", good, "--db", "mysql://u:" + secret + "@h/d"}},
		"password":                 {"a password on a command line can be read", "", []string{"serve", good, "--db", "postgres://u:" + secret + "@h/d"}},
		"password of the query":    {"a password on a command line can be read", "", []string{"export", "--db", "postgresql://u@h/d?password=" + secret, "-"}},
		"no URL":                   {"the URL can't be read", "", []string{"migrate", "--db", "postgres://u:" + secret + "@h:port/d"}},
		"no URL in environment":    {"the URL can't be read", "postgres://u:" + secret + "@h:port/d", []string{"migrate"}},
		"nobody there":             {"the database can't be opened: " + refused, "postgres://u:" + secret + "@127.0.0.1:1/d?connect_timeout=5", []string{"serve", good}},
		"nobody there, migrate":    {"the database is as it was: " + refused, "postgres://u:" + secret + "@127.0.0.1:1/d?connect_timeout=5", []string{"migrate"}},
		"no port":                  {"followed by HOST:PORT", "", []string{"serve", good, "--db", "etcd://h/prefix"}},
		"a user with the hosts":    {"followed by HOST:PORT", "", []string{"serve", good, "--db", "etcd://u:" + secret + "@h:2379/prefix"}},
		"parameters":               {"etcd:// has no parameters", "", []string{"serve", good, "--db", "etcd://h:2379/prefix?password=" + secret}},
		"no patience at all":       {"--etcd-timeout must be positive", "", []string{"serve", good, "--db", "etcd://h:2379/", "--etcd-timeout=-1s"}},
		"a user without password":  {"needs a password in TOKENSTORE_ETCD_PASSWORD", "", []string{"serve", good, "--db", "etcd://h:2379/", "--etcd-user", "u"}},
		"no authorities":           {"can't be used", "", []string{"serve", good, "--db", "etcd://127.0.0.1:1/", "--etcd-ca", "missing.pem"}},
		"a file has no cluster":    {"are for --db etcd://", "", []string{"serve", good, "--db", "x.db", "--etcd-user", "u"}},
		"a file has no schema":     {"are for --db postgres://", "", []string{"serve", good, "--db", "x.db", "--pg-schema", "s"}},
		"a file needs no tables":   {"migrate is for --db postgres://", "", []string{"migrate", "--db", "x.db"}},
		"a file needs none, by it": {"migrate is for --db postgres://", "x.db", []string{"migrate"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := command(t, []string{"TOKENSTORE_DB=" + c.env}, c.args...)
			stdout := p.rest()
			if code, stderr := p.wait(), p.stderr.String(); code == 0 || stdout != "" || !strings.Contains(stderr, c.says) {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %q", code, stdout, stderr, c.says)
			} else if strings.Contains(stderr, secret) {
				t.Error("stderr has a password")
			}
		})
	}
}

// A flag that another one would have passed over is refused, and both are named.
func TestFlagsBesideEachOther(t *testing.T) {
	const id, good = "01KJM9SR009WPFZ1FJR8TC7J5W", "--static-token=" + token + "=a"
	db := filepath.Join(t.TempDir(), "tokens.db")
	for _, c := range []struct {
		args  []string
		names []string
	}{
		{[]string{"serve", good, "--backup-every", "1h"}, []string{"--backup-every", "--backup-dir"}},
		{[]string{"serve", good, "--backup-every=24h"}, []string{"--backup-every", "--backup-dir"}}, // as it is by default
		{[]string{"serve", good, "--rate-burst", "1"}, []string{"--rate-burst", "--rate-limit"}},
		{[]string{"serve", good, "--tls-cert", "x.pem"}, []string{"--tls-cert", "--tls-key"}},
		{[]string{"serve", good, "--tls-key", "x.pem"}, []string{"--tls-key", "--tls-cert"}},
		{[]string{"serve", "--issuer", "https://issuer.example"}, []string{"--issuer", "--audience"}},
		{[]string{"serve", good, "--audience", "a"}, []string{"--audience", "--issuer"}},
		{[]string{"serve", good, "--key-set-url", "https://issuer.example/keys"}, []string{"--key-set-url", "--issuer"}},
		{[]string{"serve", good, "--oauth-resource-server", "api"}, []string{"--oauth-resource-server", "--oauth-client"}},
		{[]string{"stats", "--etcd-cert", "x.pem"}, []string{"--etcd-cert", "--etcd-key"}},
		{[]string{"stats", "--etcd-key", "x.pem"}, []string{"--etcd-key", "--etcd-cert"}},
		{[]string{"revoke", "--user", "x", "--examine", "5"}, []string{"--examine", "--dry-run"}},
		{[]string{"revoke", "--user", "x", "--examine", "5", "--dry-run=false"}, []string{"--examine", "--dry-run"}},
		{[]string{"revoke", "--user", "x", "--dry-run", "--wait"}, []string{"--dry-run", "--wait"}},
		{[]string{"revoke", "--user", "x", "--dry-run", "--yes"}, []string{"--dry-run", "--yes"}},
		{[]string{"revoke", "--user", "x", "--dry-run", "--new-tenant"}, []string{"--dry-run", "--new-tenant"}},
		{[]string{"revoke", "--user", "x", "--region", "us-3"}, []string{"--region", "--legacy"}},
		{[]string{"revoke", "--user", "x", "--legacy-cutoff", "2024-01-01"}, []string{"--legacy-cutoff", "--legacy"}},
		{[]string{"revoke", "--legacy", "--region", "us-3", "--legacy-cutoff", "2024-01-01"}, []string{"--region", "--legacy-cutoff"}},
		{[]string{"import", "--region", "us-3", "--legacy-cutoff", "2023-09-21", "-"}, []string{"--region", "--legacy-cutoff"}},
		{[]string{"import", "--full", "--null-legacy-sessions", "-"}, []string{"--full", "--null-legacy-sessions"}},
		{[]string{"import", "--full", "--beyond-memory", "-"}, []string{"--full", "--beyond-memory"}},
		{[]string{"list", "--limit", "5", "--all"}, []string{"--limit", "--all"}},
		{[]string{"list", "--limit", "50", "--all"}, []string{"--limit", "--all"}}, // as it is by default
		{[]string{"revocations", "--limit", "5", "--all"}, []string{"--limit", "--all"}},
		{[]string{"revocations", "--pending", id}, []string{"--pending", "ID"}},
		{[]string{"revocations", "--limit", "5", id}, []string{"--limit", "ID"}},
		{[]string{"revocations", "--all", id}, []string{"--all", "ID"}},
		{[]string{"events", "--follow", "-o", "json"}, []string{"--follow", "--output"}},
		{[]string{"stats", "--all-tenants", "--tenant", "acme"}, []string{"--all-tenants", "--tenant"}},
		{[]string{"check", "--yes"}, []string{"--yes", "--repair"}},
		{[]string{"restore", "--cut-off", "--override", "backup.db"}, []string{"--cut-off", "--override"}},
		{[]string{"restore", "--in-place", "--cut-off", "backup.db"}, []string{"--in-place"}},
		{[]string{"restore", "--events", "events.ndjson", "--yes", "backup.db"}, []string{"--yes", "--events"}},

		// What a command has no use for is no flag of it.
		{[]string{"tenants", "--tenant", "acme"}, []string{"unknown flag", "--tenant"}},
		{[]string{"list", "--region", "us-3"}, []string{"unknown flag", "--region"}},
		{[]string{"serve", good, "--region", "us-3"}, []string{"unknown flag", "--region"}},
		{[]string{"migrate", "--pg-serializable"}, []string{"unknown flag", "--pg-serializable"}},

		// The first of two would be passed over.
		{[]string{"revoke", "--user", "ann", "--user", "bob", "--yes"}, []string{"--user has two texts"}},
		{[]string{"revoke", "--everything", "-y", "--yes=false"}, []string{"--yes has two texts"}},
		{[]string{"serve", good, "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:1"}, []string{"--listen has two texts"}},
	} {
		code, stdout, stderr := toEnd(t, append(c.args, "--db", db)...)
		if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", c.args, code, stdout, stderr)
		}
		for _, name := range c.names {
			if !strings.Contains(stderr, name) {
				t.Errorf("%v: stderr %q does not name %s", c.args, stderr, name)
			}
		}
		if _, err := os.Stat(db); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%v: the file was made (%v)", c.args, err)
		}
	}
}

// A flag that asks for nothing stands in nobody's way, and whatever is said of a flag is said of one that its command has.
func TestFlagsThatGoTogether(t *testing.T) {
	db := filepath.Join(t.TempDir(), "tokens.db")
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		_, err := m.Issue(ctx, tokenstore.IssueRequest{UserID: "ann", ClientID: "web", SessionID: tokenstore.MustSessionID("s")})
		if err != nil {
			t.Fatal(err)
		}
	})
	for _, args := range [][]string{
		{"list", "--limit", "5", "--all=false"},
		{"revocations", "--pending", "--limit", "5"},
		{"revoke", "--user", "ann", "--dry-run", "--examine", "5", "--wait=false", "--yes=false", "--reason", "a trial"},
		{"revoke", "--legacy", "--region", "us-3", "--dry-run"},
		{"list", "--user", "ann", "--user", "ann"},
		{"stats", "--tenant", "default", "--all-tenants=false"},
	} {
		if code, _, stderr := toEnd(t, append(args, "--db", db)...); code != 0 {
			t.Errorf("%v: exit code %d, %q", args, code, stderr)
		}
	}
	said := 0
	for _, cmd := range newCommand().Commands() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			for _, other := range slices.Concat(f.Annotations[needsAnnotation], f.Annotations[excludesAnnotation]) {
				if said++; cmd.Flags().Lookup(other) == nil || other == f.Name {
					t.Errorf("%s --%s: there is no other flag --%s", cmd.Name(), f.Name, other)
				}
			}
		})
	}
	if said == 0 {
		t.Error("nothing is said of any flag")
	}
}
