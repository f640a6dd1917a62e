package pgstore_test

import (
	"bytes"
	"os/exec"
	"testing"

	"example.com/tokenstore/internal/restoretest"
	"example.com/tokenstore/pgstore/internal/pgtest"
	"example.com/tokenstore/store"
)

// TestRestoreDatabase puts back what pg_dump has written while the database was in use, by psql, and restores that in place.
func TestRestoreDatabase(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.Shared(t)
			live := ""
			restoretest.Run(t, restoretest.Config{
				Step: 5,
				New: func(t testing.TB) store.Backend {
					live = migrated(t, server, mode.opts)
					return open(t, server.DSN(live), mode.opts)
				},
				Backup: func(t testing.TB, _ store.Backend) func(testing.TB) store.Backend {
					dump, err := exec.CommandContext(t.Context(), "pg_dump", server.DSN(live)).Output()
					if err != nil {
						t.Fatal(err)
					}
					return func(t testing.TB) store.Backend {
						t.Helper()
						return open(t, server.DSN(putBack(t, server, dump)), mode.opts)
					}
				},
			})
		})
	}
}

// putBack makes a database of a dump, and returns its name.
func putBack(t testing.TB, server *pgtest.Server, dump []byte) string {
	t.Helper()
	name := server.Database(t)
	cmd := exec.CommandContext(t.Context(), "psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", server.DSN(name))
	cmd.Stdin = bytes.NewReader(dump)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v: %s", err, out)
	}
	return name
}
