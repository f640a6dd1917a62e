package pgstore_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/oklog/ulid/v2"
)

var base = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

// stage is a backend whose inserts can be stopped between what they read and what they write, and connections to stop them.
type stage struct {
	t       *testing.T
	backend *pgstore.Backend
	store   store.Store
	admin   *pgxpool.Pool
}

func newStage(t *testing.T, opts pgstore.Options, naive string) *stage {
	t.Helper()
	return newStageOn(t, pgtest.Shared(t), "", opts, naive)
}

// newStageOn makes one on a server, for connections with more parameters.
func newStageOn(t *testing.T, server *pgtest.Server, parameters string, opts pgstore.Options, naive string) *stage {
	t.Helper()
	dsn := server.DSN(migrated(t, server, opts)) + parameters
	s := &stage{t: t, backend: open(t, dsn+"&pool_max_conns=8", opts)}
	s.backend.Naive(naive)
	var err error
	if s.store, err = s.backend.Tenant("tenant"); err != nil {
		t.Fatal(err)
	}
	if s.admin, err = pgxpool.New(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.admin.Close)
	s.insert(1, "another") // a tenant that is in use
	return s
}

// hold begins a transaction with a statement. What it locks is locked until it is let go.
func (s *stage) hold(sql string, args ...any) (letGo func()) {
	s.t.Helper()
	tx, err := s.admin.Begin(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := tx.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatal(err)
	}
	done := false
	letGo = func() {
		if !done {
			done = true
			if err := tx.Rollback(context.WithoutCancel(s.t.Context())); err != nil {
				s.t.Error(err)
			}
		}
	}
	s.t.Cleanup(letGo)
	return letGo
}

// waiting waits until so many connections wait for a lock of a type, or until something is done, and reports whether the former came
// first.
func (s *stage) waiting(n int, kind string, done <-chan struct{}) bool {
	s.t.Helper()
	for {
		select {
		case <-done:
			return false
		default:
		}
		got := 0
		err := s.admin.QueryRow(s.t.Context(), `select count(*) from pg_locks l join pg_stat_activity a using (pid)
			where not granted and locktype = $1 and a.datname = current_database()`, kind).Scan(&got)
		if err != nil {
			s.t.Fatal(err)
		}
		if got >= n {
			return true
		}
	}
}

// insert inserts a token of a session of the same name by the long way, which a cap takes, and returns what became of it.
func (s *stage) insert(n byte, user string) (store.Inserted, error) {
	return s.add(n, user, store.Insertion{Cap: store.Cap{Max: 100}})
}

func (s *stage) add(n byte, user string, row store.Insertion) (store.Inserted, error) {
	row.Token = domain.RefreshToken{ID: ulid.ULID{15: n}, UserID: user, ClientID: "client", SessionID: domain.MustSessionID(user), CreatedAt: base}
	results, err := s.store.Insert(s.t.Context(), []store.Insertion{row})
	if err != nil {
		return store.Inserted{}, err
	}
	return results[0], nil
}

// revoke revokes, and sweeps until the revocation is retired.
func (s *stage) revoke(target domain.Target) (store.Status, error) {
	r := store.Revocation{ID: ulid.ULID{0: 1, 15: 1}, Targets: []domain.Target{target}, Time: base}
	status, err := s.store.Revoke(s.t.Context(), r)
	for err == nil && !status.Retired {
		if _, err = s.store.Apply(s.t.Context(), []ulid.ULID{r.ID}, store.Bounds{Visit: 100, Remove: 100, Now: base}); err == nil {
			status, err = s.store.Revocation(s.t.Context(), r.ID)
		}
	}
	return status, err
}

const raced = 2 // the number of the token whose insert a revocation overlaps

// outcome is what came of an insert and of a revocation that overlapped it, and has been retired.
type outcome struct {
	inserted store.Inserted
	status   store.Status
	live     bool // the token is there, and nothing covers it
}

func (s *stage) outcome(inserted store.Inserted, status store.Status, errs ...error) outcome {
	s.t.Helper()
	if err := errors.Join(errs...); err != nil {
		s.t.Fatalf("neither call may fail: %v", err)
	}
	if !status.Retired {
		s.t.Fatal("the revocation must be retired")
	}
	view, err := s.store.Get(s.t.Context(), ulid.ULID{15: raced})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.t.Fatal(err)
	}
	return outcome{inserted, status, err == nil && !view.Revoked()}
}

// race is an insert and a revocation that are under way at once.
type race struct {
	*stage
	insertion            store.Inserted
	status               store.Status
	insertErr, revokeErr error
	inserted, revoked    chan struct{} // closed when each has ended
}

func newRace(s *stage) *race {
	return &race{stage: s, inserted: make(chan struct{}), revoked: make(chan struct{})}
}

func (r *race) insert(call func() (store.Inserted, error)) {
	go func() {
		defer close(r.inserted)
		r.insertion, r.insertErr = call()
	}()
}

func (r *race) revoke(target domain.Target) {
	go func() {
		defer close(r.revoked)
		r.status, r.revokeErr = r.stage.revoke(target)
	}()
}

// outcome waits for both.
func (r *race) outcome() outcome {
	r.t.Helper()
	<-r.inserted
	<-r.revoked
	return r.stage.outcome(r.insertion, r.status, r.insertErr, r.revokeErr)
}

// Write skew: an insert finds no revocation of its session, a revocation of the session finds no token, and both are
// committed. Nobody looks at the token again, and its session is dead.
func TestWriteSkewOfSessionAndIssue(t *testing.T) {
	for _, c := range []struct {
		name, naive string
		opts        pgstore.Options
		short       bool
		skews       bool
	}{
		{"locks", "", pgstore.Options{}, false, false},
		{"locks, the short way", "", pgstore.Options{}, true, false},
		{"serializable", "", pgstore.Options{Serializable: true}, false, false},
		{"naive: read committed without locks", "no locks", pgstore.Options{}, false, true},
		{"naive: the short way without locks", "no locks", pgstore.Options{}, true, true},
		{"naive: snapshots", "snapshots", pgstore.Options{Serializable: true}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, c.opts, c.naive)
			// What an insert meets when it has read all that it reads.
			letGo, kind, row := s.hold(`lock table tokenstore.tokens in share mode`), "relation", store.Insertion{Cap: store.Cap{Max: 100}}
			if c.short {
				letGo()
				letGo, kind, row = s.hold(`select from tokenstore.tallies for update`), "transactionid", store.Insertion{}
			}
			r := newRace(s)
			r.insert(func() (store.Inserted, error) { return s.add(raced, "session", row) })
			if !s.waiting(1, kind, r.inserted) {
				t.Fatalf("the insert must have read, and wait to write: %v", r.insertErr)
			}
			r.revoke(domain.Target{SessionID: "session"})
			waits := s.waiting(1, "advisory", r.revoked)
			if want := c.naive == "" && !c.opts.Serializable; waits != want {
				t.Errorf("a revocation must wait for inserts under way exactly where it is alone: it waits %v", waits)
			}
			letGo()
			if got := r.outcome(); got.live != c.skews {
				t.Errorf("a token of a dead session must not live: live %v, inserted %v, number %d, watermark %d",
					got.live, got.inserted.Err, got.inserted.Sequence, got.status.Tombstone.Watermark)
			}
		})
	}
}

// An insert that waits for a revocation of its session sees it, whatever isolation the database begins with: in a snapshot as of when it
// began to wait there would be nothing.
func TestIssueSeesWhatItWaitedFor(t *testing.T) {
	for _, isolation := range []string{"read committed", "repeatable read", "serializable"} {
		t.Run(isolation, func(t *testing.T) {
			s := newStageOn(t, pgtest.Shared(t), "&default_transaction_isolation="+url.PathEscape(isolation), pgstore.Options{}, "")
			letGo := s.hold(`select pg_advisory_xact_lock($1)`, s.backend.LockOf("tenant"))
			r := newRace(s)
			r.revoke(domain.Target{SessionID: "session"})
			s.waiting(1, "advisory", r.revoked)
			r.insert(func() (store.Inserted, error) { return s.add(raced, "session", store.Insertion{}) })
			s.waiting(2, "advisory", r.inserted)
			letGo()
			if got := r.outcome(); got.live {
				t.Errorf("a token of a dead session must not live: inserted %v", got.inserted.Err)
			}
		})
	}
}

// Resurrection: an insert draws its number, a revocation draws the next, is committed and retired, and the insert is
// committed after all: below the watermark, and covered by nothing that is still looked at.
func TestNoResurrectionByALateNumber(t *testing.T) {
	for _, c := range []struct {
		name, naive string
		resurrects  bool
	}{
		{"the number after the lock", "", false},
		{"naive: the number before the lock", "the number before the lock", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, pgstore.Options{}, c.naive)
			letGo := s.hold(`select pg_advisory_xact_lock($1)`, s.backend.LockOf("tenant"))
			r := newRace(s)
			r.revoke(domain.Target{UserID: "user", IssuedBefore: base.Add(time.Hour)})
			s.waiting(1, "advisory", r.revoked)
			r.insert(func() (store.Inserted, error) { return s.insert(raced, "user") })
			s.waiting(2, "advisory", r.inserted)
			hold := s.hold(`lock table tokenstore.tokens in share mode`)
			letGo()
			<-r.revoked
			hold()
			got := r.outcome()
			if late := got.live && got.inserted.Sequence < got.status.Tombstone.Watermark; late != c.resurrects {
				t.Errorf("a token below the watermark of a retired revocation must not live: live %v, inserted %v, number %d, watermark %d",
					got.live, got.inserted.Err, got.inserted.Sequence, got.status.Tombstone.Watermark)
			}
		})
	}
}

// A sequence with a cache gives a revocation a lower number than a token that was acknowledged before it, and a token a lower one
// than a revocation that was. The mode of locks refuses it, and the portable mode does not trust it.
func TestCachedSequenceEscapesTheFence(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			server := pgtest.Shared(t)
			dsn := server.DSN(migrated(t, server, mode.opts))
			var s [2]*stage // each of one connection, with a cache of its own
			for i := range s {
				b := open(t, dsn+"&pool_max_conns=1", mode.opts)
				st, err := b.Tenant("tenant")
				if err != nil {
					t.Fatal(err)
				}
				s[i] = &stage{t: t, backend: b, store: st}
			}
			execute(t, dsn, `alter sequence tokenstore.numbers cache 100`)
			live := func(n byte, by *stage, what func() error) (number uint64, live bool) {
				t.Helper()
				inserted, err := by.insert(n, "user")
				if err != nil || inserted.Err != nil {
					t.Fatal(err, inserted.Err)
				}
				if err := what(); err != nil {
					t.Fatal(err)
				}
				view, err := by.store.Get(t.Context(), ulid.ULID{15: n})
				if err != nil {
					t.Fatal(err)
				}
				return inserted.Sequence, !view.Revoked()
			}
			revoke := func(by *stage, n byte) func() error {
				return func() error {
					_, err := by.store.Revoke(t.Context(), store.Revocation{
						ID: ulid.ULID{0: n}, Targets: []domain.Target{{UserID: "user", IssuedBefore: base.Add(time.Duration(n) * time.Hour)}}, Time: base,
					})
					return err
				}
			}
			if _, err := s[1].insert(1, "another"); err != nil { // caches a hundred numbers
				t.Fatal(err)
			}
			escapes := !mode.opts.Serializable
			if number, live := live(2, s[0], revoke(s[1], 1)); live != escapes {
				t.Errorf("a token that was acknowledged before its revocation: number %d, live %v", number, live)
			}
			if err := revoke(s[0], 2)(); err != nil {
				t.Fatal(err)
			}
			if number, live := live(3, s[1], func() error { return nil }); live == escapes {
				t.Errorf("a token that was issued after its revocation was acknowledged: number %d, live %v", number, live)
			}
			if b, err := pgstore.Open(t.Context(), dsn, &mode.opts); escapes != errors.Is(err, pgstore.ErrSchema) {
				t.Errorf("a sequence with a cache must be refused by the mode that relies on it: got %v", err)
			} else if err == nil {
				b.Close()
			}
		})
	}
}

func execute(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}
