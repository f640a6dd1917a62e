package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/internal/daemon"
	"example.com/tokenstore/internal/servetest"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// TestMoveToPostgreSQL: what outgrows a cluster moves to PostgreSQL, by the command's export and import. There, every secret goes on from
// where it was, and what was refused is refused, whatever had been swept.
func TestMoveToPostgreSQL(t *testing.T) {
	ctx, prefix := t.Context(), prefix()
	cluster := "etcd://" + shared.cluster.Nodes[0].Client + "/" + prefix
	backend, err := etcdstore.New(shared.client, &etcdstore.Options{Prefix: prefix})
	must(t, err)
	from := manager(t, backend)
	issue := func(m *tokenstore.Manager, user string, asOf tokenstore.AsOf) (tokenstore.Issued, error) {
		return m.Issue(ctx, tokenstore.IssueRequest{UserID: user, ClientID: "web", SessionID: tokenstore.MustSessionID("session of " + user), AsOf: asOf})
	}
	exchange := func(m *tokenstore.Manager, secret tokenstore.Secret) (tokenstore.Secret, error) {
		next, err := m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: secret, ClientID: "web"})
		return next.Secret, err
	}
	issued := map[string]tokenstore.Issued{}
	for _, user := range []string{"kept", "rotated", "swept", "dead", "pending"} {
		issued[user], err = issue(from, user, tokenstore.AsOf{})
		must(t, err)
	}
	loggedIn, err := from.State(ctx)
	must(t, err)
	parent := issued["rotated"].Secret
	child, err := exchange(from, parent)
	must(t, err)
	newest, err := exchange(from, child)
	must(t, err)
	for user, target := range map[string]tokenstore.Target{
		"swept": {UserID: "swept"}, "dead": {SessionID: "session of dead"}, "pending": {UserID: "pending"},
	} {
		receipt, err := from.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{target}})
		must(t, err)
		if user != "pending" {
			st, err := backend.Tenant("default")
			must(t, err)
			_, err = st.Apply(ctx, []ulid.ULID{receipt.ID()}, store.Bounds{Visit: 100, Remove: 100, Now: time.Now()})
			must(t, err)
		}
	}

	server := startPostgreSQL(t)
	file := filepath.Join(t.TempDir(), "moving.ndjson")
	run := func(args ...string) string {
		t.Helper()
		code, stdout, stderr := servetest.Run(t, command(t), nil, args...)
		if code != 0 {
			t.Fatalf("%v: exit code %d, %q, %q", args, code, stdout, stderr)
		}
		return stdout
	}
	run("export", "--db", cluster, "--full", file)
	run("migrate", "--db", server)
	if got := run("import", "--db", server, "--full", file); got != "imported 2, unchanged 0, refused 0, guards 3\n" {
		t.Errorf("what is not revoked must be taken over: %q", got)
	}
	was, is := lines(t, run("export", "--db", cluster, "--full", "-")), lines(t, run("export", "--db", server, "--full", "-"))
	if len(was) != 5 || !reflect.DeepEqual(was, is) { // two tokens, three guards
		t.Errorf("all must be there as it was: got\n%v\nwant\n%v", is, was)
	}

	database, err := pgstore.Open(ctx, server, nil)
	must(t, err)
	defer database.Close()
	to := manager(t, database)
	for user, secret := range map[string]tokenstore.Secret{"kept": issued["kept"].Secret, "rotated": newest} {
		if _, err := exchange(to, secret); err != nil {
			t.Errorf("%s: a secret must be good at the new place: got %v", user, err)
		}
	}
	for _, user := range []string{"swept", "dead", "pending"} {
		if _, err := exchange(to, issued[user].Secret); !errors.Is(err, tokenstore.ErrInvalidGrant) {
			t.Errorf("%s: what was revoked must be refused: got %v", user, err)
		}
		if _, err := issue(to, user, tokenstore.AsOfSequence(loggedIn.Sequence)); !errors.Is(err, tokenstore.ErrRevoked) {
			t.Errorf("%s: a login from before the revocation must give nothing: got %v", user, err)
		}
		back := issued[user].Token
		results, err := to.Import(ctx, []tokenstore.RefreshToken{{ID: back.ID, UserID: back.UserID, ClientID: back.ClientID, SessionID: back.SessionID, CreatedAt: back.CreatedAt}})
		if err != nil || !errors.Is(results[0].Err, tokenstore.ErrRevoked) {
			t.Errorf("%s: a token that was revoked must not come back: got %+v, %v", user, results, err)
		}
		_, err = issue(to, user, tokenstore.AsOf{})
		if refused := errors.Is(err, tokenstore.ErrRevoked); refused != (user == "dead") || !refused && err != nil {
			t.Errorf("%s: a new login must be good, unless its session is dead: got %v", user, err)
		}
	}
	if _, err := exchange(to, parent); !errors.Is(err, tokenstore.ErrReused) {
		t.Errorf("an old secret must be known for one: got %v", err)
	}
}

// lines are the guards and tokens of a full export. The sequences of tokens are each database's own.
func lines(t *testing.T, export string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for line := range strings.Lines(export) {
		var one struct {
			Guard map[string]any
			Token map[string]any
		}
		must(t, json.Unmarshal([]byte(line), &one))
		if one.Guard != nil || one.Token != nil {
			delete(one.Token, "sequence")
			all[fmt.Sprint(one.Guard, one.Token)] = true
		}
	}
	return all
}

// startPostgreSQL starts a server and returns its address.
func startPostgreSQL(t *testing.T) string {
	t.Helper()
	if _, err := daemon.Find("initdb"); errors.Is(err, exec.ErrNotFound) {
		if os.Getenv("PGSTORE_SKIP") == "1" {
			t.Skip(err)
		}
		t.Fatalf("install PostgreSQL (apt-get install postgresql), or set PGSTORE_SKIP=1 to do without: %v", err)
	}
	outer, err := os.MkdirTemp("", "pg") // a socket's path is short
	must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(outer); err != nil {
			t.Errorf("the folder of a server must be removed: got %v", err)
		}
	})
	dir := filepath.Join(outer, "s")
	must(t, os.Mkdir(dir, 0o700))
	made, err := daemon.NewCluster(t.Context(), dir, "owner")
	must(t, err)
	process, err := made.Start("fsync=on", "synchronous_commit=on", "log_min_messages=warning")
	must(t, err)
	t.Cleanup(func() {
		if err := process.Stop(syscall.SIGINT); err != nil {
			t.Error(err)
		}
	})
	address := "postgres://owner@/postgres?host=" + url.QueryEscape(dir) + "&sslmode=disable"
	must(t, process.Ready(t.Context(), func(ctx context.Context) error {
		_, err := pgstore.Open(ctx, address, nil)
		if errors.Is(err, pgstore.ErrSchema) { // it answers
			return nil
		}
		return err
	}))
	return address
}
