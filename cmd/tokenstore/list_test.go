package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

// mixed makes a file with 2 tokens each of 3 users with 2 clients, sessions s0..s11, of which ann's with web are revoked and not swept.
func mixed(t *testing.T) (db string, live, revoked []ulid.ULID) {
	t.Helper()
	db = filepath.Join(t.TempDir(), "tokens.db")
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		n := 0
		for _, user := range []string{"ann", "bob", "carl"} {
			for _, client := range []string{"web", "app"} {
				for range 2 {
					out, err := m.Issue(ctx, tokenstore.IssueRequest{UserID: user, ClientID: client, SessionID: tokenstore.MustSessionID(fmt.Sprint("s", n))})
					if err != nil {
						t.Fatal(err)
					}
					if n++; user == "ann" && client == "web" {
						revoked = append(revoked, out.Token.ID)
					} else {
						live = append(live, out.Token.ID)
					}
				}
			}
		}
		if _, err := m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ann", ClientID: "web"}}, Reason: "why", Actor: "who"}); err != nil {
			t.Fatal(err)
		}
	})
	return db, live, revoked
}

func TestList(t *testing.T) {
	db, live, revoked := mixed(t)
	all := slices.SortedFunc(slices.Values(slices.Concat(live, revoked)), ulid.ULID.Compare)
	ann := slices.Clone(live[:2]) // ids of the same millisecond are in no order
	for _, ids := range [][]ulid.ULID{live, ann, revoked} {
		slices.SortFunc(ids, ulid.ULID.Compare)
	}
	for name, c := range map[string]struct {
		args []string
		want []ulid.ULID
		more bool
	}{
		"live":                {nil, live, false},
		"not fenced":          {[]string{"--fenced=false"}, all, false},
		"a user":              {[]string{"--user", "ann"}, ann, false},
		"of a user, a client": {[]string{"--user", "ann", "--client", "web", "--fenced=false"}, revoked, false},
		"a client":            {[]string{"--client", "app", "--all"}, nil, false},
		"a session":           {[]string{"--session", "s11"}, nil, false},
		"nobody":              {[]string{"--user", "nobody"}, []ulid.ULID{}, false},
		"limit":               {[]string{"--limit", "3"}, live[:3], true},
		"limit, and no more":  {[]string{"--limit", "10"}, live, false},
		"after":               {[]string{"--limit", "3", "--after", live[2].String()}, live[3:6], true},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := toEnd(t, append([]string{"list", "--db", db, "-o", "ndjson"}, c.args...)...)
			if code != 0 || (stderr != "") != c.more {
				t.Fatalf("exit code %d, %q", code, stderr)
			}
			var got []ulid.ULID
			for line := range strings.Lines(stdout) {
				var token tokenstore.RefreshToken
				if err := json.Unmarshal([]byte(line), &token); err != nil {
					t.Fatal(err)
				}
				got = append(got, token.ID)
				if name == "a client" && token.ClientID != "app" || name == "a session" && token.SessionID.String() != "s11" {
					t.Errorf("got %+v", token)
				}
			}
			switch {
			case name == "a client" && len(got) == 6, name == "a session" && len(got) == 1:
			case !slices.Equal(got, c.want):
				t.Errorf("got %v, want %v", got, c.want)
			}
			if c.more && !strings.Contains(stderr, "--after "+got[len(got)-1].String()) {
				t.Errorf("it does not say where to go on: %q", stderr)
			}
		})
	}
}

// The forms have the same records; nothing else goes to stdout.
func TestForms(t *testing.T) {
	db, live, _ := mixed(t)
	for _, command := range [][]string{
		{"list"}, {"revocations"}, {"events"}, {"tenants"}, {"stats", "--all-tenants"}, {"list", "--user", "nobody"}, {"events", "--after", "latest"},
	} {
		args := append(command, "--db", db, "--output")
		code, lines, _ := toEnd(t, append(args, "ndjson")...)
		_, array, _ := toEnd(t, append(args, "json")...)
		_, table, _ := toEnd(t, append(args, "table")...)
		var records []json.RawMessage
		if err := json.Unmarshal([]byte(array), &records); code != 0 || err != nil {
			t.Fatalf("%v: exit code %d, %v in %q", command, code, err, array)
		}
		var joined strings.Builder
		for _, record := range records {
			joined.Write(record)
			joined.WriteByte('\n')
		}
		if joined.String() != lines || !strings.HasSuffix(array, "]\n") {
			t.Errorf("%v: the array is\n%s\nand the lines are\n%s", command, array, lines)
		}
		want := len(records) + 1
		if len(records) == 0 {
			want = 0
		}
		if n := strings.Count(table, "\n"); n != want {
			t.Errorf("%v: the table has %d lines for %d records\n%s", command, n, len(records), table)
		}
	}
	for _, command := range [][]string{{"show", live[0].String()}, {"stats"}, {"revoke", "--user", "ann", "--dry-run"}} {
		args := append(command, "--db", db, "--output")
		_, one, _ := toEnd(t, append(args, "json")...)
		_, line, _ := toEnd(t, append(args, "ndjson")...)
		code, table, _ := toEnd(t, append(args, "table")...)
		var record map[string]any
		if err := json.Unmarshal([]byte(one), &record); err != nil || code != 0 || len(record) < 3 || strings.Count(table, "\n") < 3 {
			t.Errorf("%v: %v, exit code %d\n%s%s", command, err, code, one, table)
		}
		if command[0] == "show" && line != one {
			t.Errorf("%v: json is %q, ndjson %q", command, one, line)
		}
	}
}

// What would break a table, or talk to the terminal, is quoted.
func TestCell(t *testing.T) {
	for text, want := range map[string]string{
		"": "-", "auth0|ann": "auth0|ann", "Zoë Müller": "Zoë Müller", "a\tb": `"a\tb"`, "a\nb": `"a\nb"`, "\x1b[2J": `"\x1b[2J"`, "\u009b2J": `"\u009b2J"`,
		"\u202eabc": `"\u202eabc"`, "\xff": `"\xff"`,
	} {
		if got := cell(text); got != want {
			t.Errorf("%q is shown as %s, want %s", text, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 12345: "12,345", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is shown as %s, want %s", n, got, want)
		}
	}
}

// show has the whole record, but for what is made of the secret.
func TestShow(t *testing.T) {
	db, live, revoked := mixed(t)
	var secrets []string
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		for _, id := range []ulid.ULID{live[0], revoked[0]} {
			token, err := m.Get(ctx, id, tokenstore.Eventual)
			if err != nil {
				t.Fatal(err)
			}
			for _, digest := range [][]byte{token.Salt[:], token.FamilyDigest[:], token.SecretDigest[:]} {
				secrets = append(secrets, hex.EncodeToString(digest[:8]), base64.StdEncoding.EncodeToString(digest)[:10], base64.RawURLEncoding.EncodeToString(digest)[:10])
			}
		}
	})
	for _, id := range []ulid.ULID{live[0], revoked[0]} {
		for _, form := range []string{"table", "json"} {
			code, stdout, stderr := toEnd(t, "show", "--db", db, "-o", form, id.String())
			if code != 0 || stderr != "" || !strings.Contains(stdout, id.String()) {
				t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
			}
			for _, secret := range secrets {
				if strings.Contains(stdout, secret) {
					t.Errorf("it shows what is made of the secret:\n%s", stdout)
				}
			}
			if is := strings.Contains(stdout, "user_id\":\"ann\",\"client_id\":\"web\"}") || strings.Contains(stdout, ": user ann, client web\n"); is != (id == revoked[0]) {
				t.Errorf("whether it is revoked:\n%s", stdout)
			}
			if form == "table" {
				continue
			}
			var record map[string]json.RawMessage
			if err := json.Unmarshal([]byte(stdout), &record); err != nil {
				t.Fatal(err)
			}
			want := []string{"authenticated_at", "foreign_secret", "generation", "retries", "revoked_by", "sequence", "token"}
			got := slices.Sorted(maps.Keys(record))
			if got = slices.DeleteFunc(got, func(name string) bool { return name == "authenticated_at" }); !slices.Equal(got, want[1:]) {
				t.Errorf("the members are %q", got)
			}
		}
	}
}

// What is not there has an exit code of its own, and what is no id is not repeated: it may be a secret.
func TestNotFound(t *testing.T) {
	db, _ := fileWith(t, 1)
	for _, command := range []string{"show", "revocations"} {
		code, stdout, stderr := toEnd(t, command, "--db", db, "01KJM9SR009WPFZ1FJR8TC7J5W")
		if code != exitNotFound || stdout != "" || !strings.Contains(stderr, "01KJM9SR009WPFZ1FJR8TC7J5W") {
			t.Errorf("%s: exit code %d, %q, %q", command, code, stdout, stderr)
		}
		for _, id := range []string{"secret-value", "01KJM9SR009WPFZ1FJR8TC7J5U", ""} {
			if code, _, stderr := toEnd(t, command, "--db", db, id); code != exitUsage || strings.Contains(stderr, "secret-value") {
				t.Errorf("%s: exit code %d, %q", command, code, stderr)
			}
		}
	}
}

// An id is read in lower case too, as people type it, and names the same.
func TestLowerCaseIDs(t *testing.T) {
	db, issued := fileWith(t, 2)
	ids := idsOf(issued)
	small := strings.ToLower(ids[0].String())
	if code, stdout, stderr := toEnd(t, "show", "--db", db, small); code != 0 || !strings.Contains(stdout, ids[0].String()) {
		t.Errorf("show: exit code %d, %q, %q", code, stdout, stderr)
	}
	if code, _, stderr := toEnd(t, "revoke", "--db", db, "--token", small, "--yes"); code != 0 {
		t.Errorf("revoke: exit code %d, %q", code, stderr)
	}
	if n := stillThere(t, db, ids); n != 1 {
		t.Errorf("%d tokens are there, want 1", n)
	}
}
