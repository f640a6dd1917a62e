package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// variety makes a file of imported tokens that differ in all that a revocation can name.
func variety(t *testing.T) (db string, tokens []tokenstore.RefreshToken) {
	t.Helper()
	db = filepath.Join(t.TempDir(), "tokens.db")
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		for i := range 64 {
			created := time.Date(2024, 1, 1+i%2, 0, 0, 0, 0, time.UTC)
			token := tokenstore.RefreshToken{
				UserID: fmt.Sprint("user-", i/2%2), ClientID: fmt.Sprint("client-", i/4%2), SessionID: tokenstore.MustSessionID(fmt.Sprint("session-", i/8%2)),
				CreatedAt: created, Offline: i/16%2 == 1,
			}
			if i/32%2 == 1 {
				servers, err := domain.NewResourceServers(tokenstore.ResourceServer{Audience: "https://api.example.com/", Scopes: "read"})
				if err != nil {
					t.Fatal(err)
				}
				token.ResourceServers = servers
			}
			if i%16 == 0 { // legacy
				token.CreatedAt, token.SessionID = time.Date(2023, 9, 1, 0, 0, 0, 0, time.UTC), tokenstore.SessionID{}
			}
			id, err := domain.ForeignTokenID("default", fmt.Sprint(i), token.CreatedAt)
			if err != nil {
				t.Fatal(err)
			}
			token.ID = id
			tokens = append(tokens, token)
		}
		results, err := m.Import(ctx, tokens)
		for _, result := range results {
			if err != nil || result.Outcome != tokenstore.Imported {
				t.Fatal(err, result.Err)
			}
		}
	})
	return db, tokens
}

// targetFlags are flags, and which of the tokens they name.
func targetFlags(tokens []tokenstore.RefreshToken) map[string]func(tokenstore.RefreshToken) bool {
	first, second := tokens[0].ID.String(), tokens[33].ID.String()
	is := func(id ulid.ULID) bool { return id == tokens[0].ID || id == tokens[33].ID }
	return map[string]func(tokenstore.RefreshToken) bool{
		"--token " + first + " --token " + second:               func(t tokenstore.RefreshToken) bool { return is(t.ID) },
		"--token " + first + " --token " + second + " --legacy": func(t tokenstore.RefreshToken) bool { return t.ID == tokens[0].ID },
		"--user user-1":                                  func(t tokenstore.RefreshToken) bool { return t.UserID == "user-1" },
		"--client client-1":                              func(t tokenstore.RefreshToken) bool { return t.ClientID == "client-1" },
		"--session session-1":                            func(t tokenstore.RefreshToken) bool { return t.SessionID.String() == "session-1" },
		"--audience https://api.example.com/":            func(t tokenstore.RefreshToken) bool { return t.ResourceServers.Len() == 1 },
		"--issued-before 2024-01-02":                     func(t tokenstore.RefreshToken) bool { return t.CreatedAt.Day() == 1 },
		"--issued-before 2024-01-02T00:00:00.000000001Z": func(tokenstore.RefreshToken) bool { return true },
		"--legacy":      func(t tokenstore.RefreshToken) bool { return t.SessionID.IsNull() },
		"--offline yes": func(t tokenstore.RefreshToken) bool { return t.Offline },
		"--offline no":  func(t tokenstore.RefreshToken) bool { return !t.Offline },
		"--everything":  func(tokenstore.RefreshToken) bool { return true },
		"--user user-1 --client client-0 --offline yes": func(t tokenstore.RefreshToken) bool {
			return t.UserID == "user-1" && t.ClientID == "client-0" && t.Offline
		},
		"--user nobody": func(tokenstore.RefreshToken) bool { return false },
	}
}

// What the flags name is revoked, nothing else is, and a dry run counts as much and revokes nothing.
func TestRevoke(t *testing.T) {
	_, sample := variety(t)
	for flags, named := range targetFlags(sample) {
		t.Run(flags, func(t *testing.T) {
			db, tokens := variety(t)
			var want []ulid.ULID
			for _, token := range tokens {
				if !named(token) {
					want = append(want, token.ID)
				}
			}
			args := append([]string{"revoke", "--db", db, "-o", "json"}, strings.Fields(flags)...)
			code, stdout, stderr := toEnd(t, append(args, "--dry-run")...)
			var preview struct {
				Matched  int
				Complete bool
				Examples []ulid.ULID
			}
			if err := json.Unmarshal([]byte(stdout), &preview); err != nil || code != 0 || stderr != "" {
				t.Fatalf("exit code %d, %q, %q, %v", code, stdout, stderr, err)
			}
			if n := len(tokens) - len(want); preview.Matched != n || !preview.Complete || len(preview.Examples) != min(n, maxExamples) {
				t.Errorf("the dry run says %s, want %d", stdout, n)
			}
			for _, id := range preview.Examples {
				if slices.Contains(want, id) {
					t.Errorf("the example %s is not named", id)
				}
			}
			var all []ulid.ULID
			for _, token := range tokens {
				all = append(all, token.ID)
			}
			if n := stillThere(t, db, all); n != len(all) {
				t.Fatalf("the dry run has revoked %d tokens", len(all)-n)
			}
			code, stdout, stderr = toEnd(t, append(args, "--yes", "--wait", "--reason", "why", "--actor", "who")...)
			if code != 0 || stderr != "" || !strings.Contains(stdout, `"reason":"why","actor":"who"`) || !strings.Contains(stdout, `"state":"retired"`) {
				t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
			}
			var got []ulid.ULID
			inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
				for token, err := range m.All(ctx, tokenstore.ListRequest{}) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, token.ID)
				}
			})
			slices.SortFunc(want, ulid.ULID.Compare)
			if !slices.Equal(got, want) {
				t.Errorf("%d tokens are left, want %d", len(got), len(want))
			}
		})
	}
}

// A revocation by its own id is recorded once, and without --wait it is left to the server.
func TestRevokeAgain(t *testing.T) {
	const id = "01KJM9SR009WPFZ1FJR8TC7J5W"
	db, issued := fileWith(t, 3)
	args := []string{"revoke", "--db", db, "--user", "auth0|ann", "--yes", "--id", id, "-o", "ndjson"}
	for range 2 {
		code, stdout, stderr := toEnd(t, args...)
		if code != 0 || stderr != "" || !strings.Contains(stdout, `"id":"`+id+`","state":"pending"`) {
			t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
		}
	}
	if n := stillThere(t, db, idsOf(issued)); n != 0 {
		t.Errorf("%d tokens are not revoked", n)
	}
	code, _, stderr := toEnd(t, "revoke", "--db", db, "--user", "auth0|bob", "--yes", "--id", id)
	if code != exitFailed || !strings.Contains(stderr, "nothing was recorded") {
		t.Errorf("for another target: exit code %d, %q", code, stderr)
	}
	code, stdout, _ := toEnd(t, "revocations", "--db", db, "--pending", "-o", "ndjson")
	if code != 0 || strings.Count(stdout, "\n") != 1 {
		t.Errorf("exit code %d, %q", code, stdout)
	}
	code, one, _ := toEnd(t, "revocations", "--db", db, "-o", "ndjson", id)
	if code != 0 || one != stdout {
		t.Errorf("exit code %d, %q, want %q", code, one, stdout)
	}
	p := serve(t, db)
	p.until("GET", "/api/v2/revocations/"+id, func(a answer) bool { return strings.Contains(a.body, `"state":"retired"`) })
	p.end(15)
	if code, stdout, _ := toEnd(t, "revocations", "--db", db, "--pending", "-o", "ndjson"); code != 0 || stdout != "" {
		t.Errorf("exit code %d, %q", code, stdout)
	}
	if code, stdout, _ := toEnd(t, "revocations", "--db", db, "-o", "ndjson"); code != 0 || strings.Count(stdout, `"state":"retired"`) != 1 {
		t.Errorf("exit code %d, %q", code, stdout)
	}
}

// A user who is erased is not named any more.
func TestEraseUser(t *testing.T) {
	db, _, _ := mixed(t)
	code, stdout, stderr := toEnd(t, "erase-user", "--db", db, "--user", "ann", "--reason", "asked for it", "--actor", "dpo", "--wait", "--yes", "-o", "json")
	if code != 0 || stderr != "" || strings.Contains(stdout, `"ann"`) || !strings.Contains(stdout, `"erases":true`) {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	for _, command := range []string{"revocations", "events", "list"} {
		if code, stdout, _ := toEnd(t, command, "--db", db, "-o", "ndjson"); code != 0 || stdout == "" || strings.Contains(stdout, `"ann"`) {
			t.Errorf("%s: exit code %d, %q", command, code, stdout)
		}
	}
}

// A wait sweeps, and forgets nothing: what is remembered, and for how long, is for the program to say whose database it is.
func TestWaitForgetsNothing(t *testing.T) {
	o := (&sweeper{bar: &bar{}}).options()
	if o.MemoryFor >= 0 || o.HistoryFor >= 0 || o.OutboxFor >= 0 || o.ExpireEvery >= 0 {
		t.Errorf("the options are %+v", o)
	}
}

// sweptElsewhere is a database whose revocations another process is sweeping.
type sweptElsewhere struct{ store.Backend }

func (b sweptElsewhere) Tenant(name string) (store.Store, error) {
	st, err := b.Backend.Tenant(name)
	return sweptByOthers{st}, err
}

type sweptByOthers struct{ store.Store }

func (sweptByOthers) Apply(context.Context, []ulid.ULID, store.Bounds) ([]store.Status, error) {
	return nil, nil
}

// A wait ends soon after another process has swept the last token.
func TestWaitForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := memstore.New()
		s := sweeper{bar: &bar{}, failed: make(chan error, 1)}
		m, err := tokenstore.New(sweptElsewhere{backend}, &tokenstore.Options{Engine: s.options()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Issue(t.Context(), tokenstore.IssueRequest{UserID: "ann", ClientID: "web"}); err != nil {
			t.Fatal(err)
		}
		receipt, err := m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ann"}}})
		if err != nil {
			t.Fatal(err)
		}
		swept := make(chan time.Time, 1)
		go func() {
			time.Sleep(time.Minute)
			st, err := backend.Tenant(receipt.Tenant)
			for retired := false; err == nil && !retired; {
				var statuses []store.Status
				statuses, err = st.Apply(t.Context(), []ulid.ULID{receipt.ID()}, store.Bounds{Visit: 10, Remove: 10, Now: time.Now()})
				retired = len(statuses) > 0 && statuses[0].Retired
			}
			if err != nil {
				t.Error(err)
			}
			swept <- time.Now()
		}()
		status, err := s.sweep(t.Context(), m, receipt)
		if late := time.Since(<-swept); err != nil || status.Swept != 1 || late > time.Second {
			t.Errorf("it ended %v after the sweep, with %d swept and error %v", late, status.Swept, err)
		}
	})
}

// What the flags of the operator's commands can't be is said before a file is opened.
func TestOperatorFlags(t *testing.T) {
	db := filepath.Join(t.TempDir(), "none.db")
	for _, c := range []struct {
		says string
		args []string
	}{
		{"--output: table, json or ndjson", []string{"list", "-o", "xml"}},
		{"--limit must be at least 1", []string{"list", "--limit", "0"}},
		{"user_id: must be 0..300 characters", []string{"list", "--user", strings.Repeat("x", 301)}},
		{"--after: an id is 26 characters", []string{"list", "--after", "secret-value"}},
		{"takes flags only", []string{"list", "secret-value"}},
		{"show takes one id", []string{"show"}},
		{"show takes one id", []string{"show", "secret-value", "secret-value"}},
		{"target: must be at least one constraint", []string{"revoke"}},
		{"nothing beside everything", []string{"revoke", "--everything", "--user", "x"}},
		{"nothing beside everything", []string{"revoke", "--everything", "--legacy"}},
		{"--user is empty", []string{"revoke", "--user", "", "--client", "web"}},
		{"--token is empty", []string{"revoke", "--token", ""}},
		{"--offline: yes or no", []string{"revoke", "--offline", "secret-value"}},
		{"--token: an id is 26 characters", []string{"revoke", "--token", "secret-value"}},
		{"targets: must be 1..100 entries", append([]string{"revoke"}, strings.Fields(strings.Repeat("--token 01KJM9SR009WPFZ1FJR8TC7J5W ", 101))...)},
		{"--id: an id is 26 characters", []string{"revoke", "--user", "x", "--id", "secret-value"}},
		{`--issued-before: "yesterday" is no date`, []string{"revoke", "--issued-before", "yesterday"}},
		{"--examine must be at least 1", []string{"revoke", "--user", "x", "--dry-run", "--examine", "0"}},
		{"reason: must be 0..200 characters", []string{"revoke", "--user", "x", "--reason", strings.Repeat("x", 201)}},
		{"actor: must be 0..300 characters", []string{"erase-user", "--user", "x", "--actor", strings.Repeat("x", 301)}},
		{"--user is required", []string{"erase-user"}},
		{"--after: the number of an event, or latest", []string{"events", "--after", "secret-value"}},
		{"--follow is for --output ndjson", []string{"events", "--follow", "-o", "table"}},
		{"--follow is for databases that other processes write to", []string{"events", "--follow"}},
	} {
		code, stdout, stderr := toEnd(t, append(c.args, "--db", db)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.says) || strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "secret-value") {
			t.Errorf("%v: exit code %d, %q, %q; want %q", c.args[:1], code, stdout, stderr, c.says)
		}
	}
	for _, args := range [][]string{{"completion"}, {"completion", "secret-value"}} {
		if code, stdout, stderr := toEnd(t, args...); code != exitUsage || stdout != "" || strings.Contains(stderr, "secret-value") {
			t.Errorf("%v: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
}
