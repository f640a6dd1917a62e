package pgstore_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

const secretText = "hunter2-in-the-row" // what no error may repeat

// unchecked takes off the tables all that would keep a row from being damaged.
const unchecked = `do $$ declare c record; begin
	for c in select conrelid::regclass as tab, conname from pg_constraint where contype = 'c' and connamespace = 'tokenstore'::regnamespace loop
		execute format('alter table %s drop constraint %I', c.tab, c.conname);
	end loop; end $$;
	alter table tokenstore.tokens alter column user_id drop not null`

func newUncheckedStage(t *testing.T) *stage {
	t.Helper()
	s := newStage(t, pgstore.Options{}, "")
	s.exec(unchecked)
	return s
}

func (s *stage) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.admin.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatal(err)
	}
}

// What stands in a row and can't have been written here is ErrCorrupt, of every verb that comes to it, and of no other token.
func TestCorrupt(t *testing.T) {
	s := newUncheckedStage(t)
	const good = 2
	if _, err := s.insert(good, "user"); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct{ name, set, says string }{
		{"digest of another length", `secret_digest = '` + secretText + `'`, "secret_digest"},
		{"salt of another length", `salt = '` + secretText + `'`, "salt"},
		{"number below zero", `sequence = -1`, "sequence"},
		{"no number", `sequence = 'NaN'`, "sequence"},
		{"no user", `user_id = null`, "user_id"},
		{"session id beyond its limit", `session_id = repeat('` + secretText + `', 1000)`, "session id"},
		{"resource server without a name", `audiences = '{""}', scopes = '{` + secretText + `}'`, "resource servers"},
		{"scope without its resource server", `scopes = '{` + secretText + `}'`, "resource servers"},
		{"generation below zero", `generation = -1`, "generation"},
		{"generation beyond its limit", `generation = 4294967296`, "generation"},
		{"metadata of another form", `metadata = '["` + secretText + `"]'`, "metadata"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad, user := byte(100+i), fmt.Sprint("user", i)
			id := ulid.ULID{15: bad}
			if _, err := s.insert(bad, user); err != nil {
				t.Fatal(err)
			}
			s.exec(`update tokenstore.tokens set `+c.set+` where id = $1`, [16]byte(id))
			exchange := func(v store.View) store.Decision { return generation(v, v.Token.Generation+1) }
			change := func(v store.View) store.Decision { // what an exchange leaves as it is
				next := v.Token
				next.Offline = !next.Offline
				return store.Decision{Next: &next}
			}
			_, got := s.store.Get(t.Context(), id)
			_, listed := s.store.List(t.Context(), store.Query{After: ulid.ULID{15: bad - 1}, Limit: 1})
			_, inserted := s.insert(bad, user)
			_, revoked := s.store.Revoke(t.Context(), store.Revocation{ID: ulid.ULID{0: 1}, Targets: []domain.Target{{TokenID: id}}, Time: base})
			for verb, err := range map[string]error{
				"Get": got, "List": listed, "Insert": inserted, "Revoke": revoked,
				"Update": s.store.Update(t.Context(), id, exchange), "another Update": s.store.Update(t.Context(), id, change),
			} {
				checkCorrupt(t, verb, err, c.says)
			}
			// Those that share a transaction with it find out that it was not theirs.
			var updates sync.WaitGroup
			for i := range 16 {
				updates.Go(func() {
					if i%4 == 0 {
						checkCorrupt(t, "Update among others", s.store.Update(t.Context(), id, exchange), c.says)
					} else if err := s.store.Update(t.Context(), ulid.ULID{15: good}, exchange); err != nil {
						t.Errorf("another token must not suffer: got %v", err)
					}
				})
			}
			updates.Wait()
		})
	}
}

// So is what a tenant has beside tokens.
func TestCorruptBesideTokens(t *testing.T) {
	revocation := store.Revocation{ID: ulid.ULID{0: 1}, Targets: []domain.Target{{UserID: "another"}}, Time: base, Emit: store.KindRevoked}
	bounds := store.Bounds{Visit: 10, Remove: 10, Now: base}
	for _, c := range []struct {
		name, how, says string
		verb            func(s *stage) error
	}{
		{"event", `update tokenstore.events set about = '["` + secretText + `"]'`, "event", func(s *stage) error {
			_, err := s.store.(store.Outbox).Feed(s.t.Context(), 0, 10)
			return err
		}},
		{"restorations", `update tokenstore.tenants set restorations = '"` + secretText + `"'`, "restorations", func(s *stage) error {
			_, err := s.store.(store.Restorer).Restorations(s.t.Context())
			return err
		}},
		{"base of the sequence", `update tokenstore.tenants set base = -1`, "base", func(s *stage) error {
			_, err := s.store.Revoke(s.t.Context(), store.Revocation{ID: ulid.ULID{0: 2}, Targets: []domain.Target{{UserID: "user"}}, Time: base})
			return err
		}},
		{"revocation", `update tokenstore.tombstones set watermark = -1`, "watermark", func(s *stage) error {
			_, err := s.store.Revocations(s.t.Context(), store.RevocationQuery{Limit: 10})
			return err
		}},
		{"revocation that is to be swept", `update tokenstore.tombstones set watermark = -1`, "watermark", func(s *stage) error {
			_, err := s.store.Apply(s.t.Context(), []ulid.ULID{revocation.ID}, bounds)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newUncheckedStage(t)
			if _, err := s.store.Revoke(t.Context(), revocation); err != nil {
				t.Fatal(err)
			}
			s.exec(c.how)
			checkCorrupt(t, c.name, c.verb(s), c.says)
		})
	}
}

func checkCorrupt(t *testing.T, verb string, err error, says string) {
	t.Helper()
	switch {
	case !errors.Is(err, pgstore.ErrCorrupt) || errors.Is(err, store.ErrNotCommitted) || errors.Is(err, store.ErrUnknownOutcome):
		t.Errorf("%s must be ErrCorrupt, and no failure of a commit: got %v", verb, err)
	case !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), secretText) || strings.Count(err.Error(), "pgstore:") != 1:
		t.Errorf("%s must say once what is damaged, and not what stands there: got %v, want %q", verb, err, says)
	}
}
