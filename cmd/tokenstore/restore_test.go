package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// lostFile is a backup of a file, whose user auth0|ann was revoked before it and auth0|ben after, and the feed.
func lostFile(t *testing.T) (backup, events string, kept, ben tokenstore.Secret) {
	t.Helper()
	dir := t.TempDir()
	db, _ := fileWith(t, 1)
	backup, events = filepath.Join(dir, "backup.db"), filepath.Join(dir, "events.ndjson")
	issue := func(ctx context.Context, m *tokenstore.Manager, user string) tokenstore.Secret {
		issued, err := m.Issue(ctx, tokenstore.IssueRequest{UserID: user, ClientID: "web", SessionID: tokenstore.MustSessionID(user)})
		if err != nil {
			t.Fatal(err)
		}
		return issued.Secret
	}
	revoke := func(ctx context.Context, m *tokenstore.Manager, user string) {
		if _, err := m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: user}}}); err != nil {
			t.Fatal(err)
		}
	}
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		kept, ben = issue(ctx, m, "auth0|kim"), issue(ctx, m, "auth0|ben")
		revoke(ctx, m, "auth0|ann")
	})
	if code, _, stderr := toEnd(t, "backup", "--db", db, backup); code != 0 {
		t.Fatal(stderr)
	}
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		revoke(ctx, m, "auth0|ben")
		revoke(ctx, m, "auth0|dan")
		var lines bytes.Buffer
		if err := errors.Join(tokenstore.WriteEvents(&lines, m.Events(ctx, 0)), os.WriteFile(events, lines.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
	})
	return backup, events, kept, ben
}

// wantLive says which of two secrets are exchanged.
func wantLive(t *testing.T, db string, secrets map[tokenstore.Secret]bool) {
	t.Helper()
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		for secret, live := range secrets {
			if _, err := m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: secret, ClientID: "web"}); (err == nil) != live || err != nil && !errors.Is(err, tokenstore.ErrRevoked) {
				t.Errorf("got %v, want it to be live: %t", err, live)
			}
		}
	})
}

func restorations(t *testing.T, db string) []store.Restored {
	t.Helper()
	file, err := boltstore.Open(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s, err := file.Tenant("default")
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.(store.Restorer).Restorations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A backup is restored in each of the ways, to a file and in place, and each is recorded.
func TestRestoreCommand(t *testing.T) {
	backup, events, kept, ben := lostFile(t)
	was, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method    store.RestoreMethod
		args      []string
		kept, ben bool
		says      string
	}{
		{store.RestoreEvents, []string{"--events", events}, true, false, "restored: tenants 1, events 2, revocations 2"},
		{store.RestoreEvents, []string{"--events", "default=" + events, "--also", "new"}, true, false, "restored: tenants 2, "},
		{store.RestoreCutoff, []string{"--cut-off", "--yes"}, false, false, "events 0, revocations 1;"},
		{store.RestoreOverride, []string{"--override", "--yes"}, true, true, "events 0, revocations 0;"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			db := filepath.Join(t.TempDir(), "tokens.db")
			place := filepath.Join(t.TempDir(), "tokens.db")
			if err := os.WriteFile(place, was, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, run := range [][]string{
				append([]string{"restore", "--db", db, "--reason", "disk lost", "--actor", "ops", backup}, c.args...),
				append([]string{"restore", "--db", place, "--reason", "disk lost", "--actor", "ops", "--in-place", "--yes"}, c.args...),
			} {
				if code, stdout, stderr := toEnd(t, run...); code != 0 || stdout != "" || !strings.Contains(stderr, c.says) {
					t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
				}
				wantLive(t, run[2], map[tokenstore.Secret]bool{kept: c.kept, ben: c.ben})
				all := restorations(t, run[2])
				if len(all) != 1 || all[0].Method != c.method || all[0].Reason != "disk lost" || all[0].Actor != "ops" || !all[0].Complete {
					t.Errorf("it must be recorded: got %+v", all)
				}
			}
		})
	}
	if is, err := os.ReadFile(backup); err != nil || !bytes.Equal(is, was) {
		t.Errorf("the backup must stay as it was: %v", err)
	}
}

// What would bring something back, or leaves something open, is refused, and nothing is made.
func TestRestoreRefuses(t *testing.T) {
	backup, events, _, _ := lostFile(t)
	text, err := os.ReadFile(events)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	dir := t.TempDir()
	db, gap, old := filepath.Join(dir, "tokens.db"), filepath.Join(dir, "gap.ndjson"), filepath.Join(dir, "old.ndjson")
	if err := errors.Join(os.WriteFile(gap, []byte(lines[0]+lines[2]), 0o600), os.WriteFile(old, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"nothing said":             {nil, exitUsage, "exactly one of"},
		"two ways":                 {[]string{"--cut-off", "--override"}, exitUsage, "exactly one of"},
		"a cut-off unasked":        {[]string{"--cut-off"}, exitUsage, "--yes"},
		"an override unasked":      {[]string{"--override"}, exitUsage, "--yes"},
		"an event is missing":      {[]string{"--events", gap}, exitFailed, "after number 1 comes 3"},
		"no events":                {[]string{"--events", old}, exitFailed, "there are none of tenant"},
		"events of another tenant": {[]string{"--events", "acme=" + events}, exitFailed, `none of tenant "default"`},
		"events twice":             {[]string{"--events", events, "--events", events}, exitUsage, "two files"},
		"no such events":           {[]string{"--events", filepath.Join(dir, "none")}, exitUsage, "no such file"},
		"the backup as events":     {[]string{"--events", backup}, exitUsage, "is what is restored"},
		"a directory as events":    {[]string{"--events", dir}, exitUsage, "is no file"},
		"no id":                    {[]string{"--override", "--yes", "--id", "x"}, exitUsage, "--id"},
		"a long reason":            {[]string{"--override", "--yes", "--reason", strings.Repeat("x", 201)}, exitUsage, "--reason"},
		"a nameless tenant":        {[]string{"--override", "--yes", "--also", ""}, exitUsage, "--also"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := toEnd(t, append([]string{"restore", "--db", db, backup}, c.args...)...)
			if code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("exit code %d, %q", code, stderr)
			}
		})
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"a backup that is not there": {[]string{"--db", db, filepath.Join(dir, "none"), "--override", "--yes"}, exitUsage, "no such file"},
		"a backup that is none":      {[]string{"--db", db, events, "--override", "--yes"}, exitFailed, "not a tokenstore file"},
		"a name that is taken":       {[]string{"--db", backup, backup, "--override", "--yes"}, exitUsage, "there already"},
		"in place, unasked":          {[]string{"--db", backup, "--events", events, "--in-place"}, exitUsage, "--yes"},
		"in place, not said so":      {[]string{"--db", backup, "--events", events, "--yes"}, exitUsage, "or --in-place"},
		"in place, and a backup":     {[]string{"--db", db, backup, "--events", events, "--in-place", "--yes"}, exitUsage, "takes no backup"},
		"in place, nothing there":    {[]string{"--db", db, "--override", "--in-place", "--yes"}, exitUsage, "there is no file"},
		"two backups":                {[]string{"--db", db, "a", "b", "--override"}, exitUsage, "one backup"},
		"a backup of a server":       {[]string{"--db", "postgres://localhost/x", "a", "--override"}, exitUsage, "its own tools"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, _, stderr := toEnd(t, append([]string{"restore"}, c.args...)...); code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("exit code %d, %q", code, stderr)
			}
		})
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Errorf("what was refused must leave nothing: %v, %v", names, err)
	}
}

// Nobody but the operator knows whether more was revoked than the copy of a feed has, so it is said where each ends.
func TestRestoreSaysWhereEventsEnd(t *testing.T) {
	backup, events, _, _ := lostFile(t)
	all := eventsIn(t, events)
	ends := fmt.Sprintf(`tenant "default": the copy of its feed ends with event 3, of %s: `, all[2].Time.Format(time.RFC3339))
	dir := t.TempDir()
	empty, unrevoked := filepath.Join(dir, "empty.ndjson"), filepath.Join(dir, "unrevoked.db")
	db, _ := fileWith(t, 1)
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := toEnd(t, "backup", "--db", db, unrevoked); code != 0 {
		t.Fatal(stderr)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"events":            {[]string{"--db", filepath.Join(dir, "1.db"), backup, "--events", events}, 0, []string{ends}},
		"no events":         {[]string{"--db", filepath.Join(dir, "2.db"), unrevoked, "--events", empty}, 0, []string{`tenant "default": the copy of its feed has no events: `}},
		"two tenants":       {[]string{"--db", filepath.Join(dir, "3.db"), backup, "--events", "new=" + empty, "--events", events}, 0, []string{ends, `tenant "new": the copy of its feed has no events: `}},
		"before the asking": {[]string{"--db", db, "--in-place", "--events", empty}, exitUsage, []string{`tenant "default": the copy of its feed has no events: `, "--yes"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := toEnd(t, append([]string{"restore"}, c.args...)...)
			from := 0
			for _, said := range c.says { // in this order
				at := strings.Index(stderr[from:], said)
				if at < 0 || code != c.code {
					t.Fatalf("exit code %d, %q, want %q", code, stderr, c.says)
				}
				from += at + len(said)
			}
		})
	}
}

// What a restoration has left open is not built on: whatever writes, serves or exports says so, until the restoration is repeated.
func TestUnfinishedRestoration(t *testing.T) {
	db, issued := fileWith(t, 1)
	id := ulid.Make()
	file, err := boltstore.Open(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"default", "other"} {
		s, err := file.Tenant(tenant)
		if err != nil {
			t.Fatal(err)
		}
		r := store.Restoration{ID: id, Time: time.Now(), Method: store.RestoreCutoff, Complete: tenant == "default"}
		if _, err := s.(store.Restorer).Restore(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	counts := func() string {
		t.Helper()
		code, stdout, stderr := toEnd(t, "stats", "--db", db, "--all-tenants", "-o", "ndjson")
		if code != 0 || strings.Count(stdout, "\n") != 2 {
			t.Fatalf("stats: exit code %d, %q, %q", code, stdout, stderr)
		}
		return stdout
	}
	was := counts()
	lines := filepath.Join(t.TempDir(), "lines.ndjson")
	if err := os.WriteFile(lines, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"serve", "--static-token", token + "=" + scopes, "--listen", "127.0.0.1:0"},
		{"import", lines},
		{"export", "-"},
		{"revoke", "--user", "auth0|ann", "--yes"},
		{"revoke", "--tenant", "new", "--new-tenant", "--everything", "--yes"},
		{"erase-user", "--user", "auth0|ann", "--yes"},
	} {
		code, stdout, stderr := toEnd(t, append(args, "--db", db)...)
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, "restoration "+id.String()+", by cutoff, was broken off") || !strings.Contains(stderr, `tenant "other"`) {
			t.Errorf("%v: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
	if is := counts(); is != was {
		t.Errorf("nothing may be written: it was\n%s and is\n%s", was, is)
	}
	for _, args := range [][]string{{"list"}, {"show", issued[0].Token.ID.String()}, {"events", "--after", "latest"}, {"stats"}, {"check"}} {
		if code, _, stderr := toEnd(t, append(args, "--db", db)...); code != 0 {
			t.Errorf("to look is free: %v: exit code %d, %q", args, code, stderr)
		}
	}
	if code, _, stderr := toEnd(t, "restore", "--db", db, "--override", "--in-place", "--yes"); code != exitFailed || !strings.Contains(stderr, id.String()) {
		t.Errorf("another restoration: exit code %d, %q", code, stderr)
	}
	if code, _, stderr := toEnd(t, "restore", "--db", db, "--cut-off", "--in-place", "--yes"); code != 0 {
		t.Errorf("the same one: exit code %d, %q", code, stderr)
	}
	if code, _, stderr := toEnd(t, "revoke", "--user", "auth0|ann", "--yes", "--db", db); code != 0 {
		t.Errorf("once it is finished: exit code %d, %q", code, stderr)
	}
}

// After a restoration stats say when it was and which epoch it began, and a reader of before is told where to go on.
func TestAfterRestoration(t *testing.T) {
	db, _ := fileWith(t, 1)
	if code, _, stderr := toEnd(t, "restore", "--db", db, "--override", "--in-place", "--reason", "disk lost", "--actor", "ops", "--yes"); code != 0 {
		t.Fatal(stderr)
	}
	epoch := strconv.FormatUint(restorations(t, db)[0].Epoch, 10)
	for _, args := range [][]string{{"stats", "-o", "json"}, {"stats", "--all-tenants", "-o", "ndjson"}} {
		code, stdout, stderr := toEnd(t, append(args, "--db", db)...)
		for _, says := range []string{`"method":"override"`, `"epoch":"` + epoch + `"`, `"complete":true`, `"reason":"disk lost"`, `"actor":"ops"`} {
			if code != 0 || !strings.Contains(stdout, says) {
				t.Errorf("%v: exit code %d, %q, %q; want %s", args, code, stdout, stderr, says)
			}
		}
	}
	for _, args := range [][]string{{"stats"}, {"stats", "--all-tenants"}} {
		if code, stdout, stderr := toEnd(t, append(args, "--db", db)...); code != 0 || !strings.Contains(stdout, epoch) || !strings.Contains(stdout, " by override") {
			t.Errorf("%v: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
	code, _, stderr := toEnd(t, "events", "--db", db)
	if code != exitFailed || !strings.HasSuffix(stderr, "begin with --after "+epoch+"\n") {
		t.Errorf("events: exit code %d, %q", code, stderr)
	}
	if code, _, stderr := toEnd(t, "events", "--db", db, "--after", epoch); code != 0 {
		t.Errorf("events from there: exit code %d, %q", code, stderr)
	}
}
