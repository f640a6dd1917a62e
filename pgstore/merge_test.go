package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// together begins n calls while a table is locked, so that all but two share a statement once it is let go.
func (s *stage) together(lock string, reads bool, n int, begin func()) {
	s.t.Helper()
	letGo := s.hold(lock)
	begin()
	for s.backend.Gathered("tenant", reads) < n-2 {
		runtime.Gosched()
	}
	letGo()
}

const (
	lockWrites = `lock table tokenstore.tokens in share mode`
	lockReads  = `lock table tokenstore.tokens in access exclusive mode`
)

// variety is a token of each kind that differs in how it is written.
func variety(t *testing.T) []domain.RefreshToken {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	at := base.Add(123456789)
	tokens := make([]domain.RefreshToken, 12)
	for i := range tokens {
		tokens[i] = domain.RefreshToken{
			ID: ulid.ULID{15: byte(100 + i)}, UserID: fmt.Sprint("user-", i), ClientID: "client", CreatedAt: at.Add(time.Duration(i%5) * time.Nanosecond),
			FamilyDigest: domain.Digest{1, byte(i)}, SecretDigest: domain.Digest{2, byte(i)},
		}
		if i > 2 {
			tokens[i].SessionID = domain.MustSessionID(fmt.Sprint("session-", i))
		}
	}
	var err error
	tokens[3].ResourceServers, err = domain.NewResourceServers(
		domain.ResourceServer{Audience: `a"b\c{d},e`, Scopes: `read NULL`}, domain.ResourceServer{Audience: "NULL", Scopes: ""})
	must(err)
	tokens[4].Metadata, err = domain.NewMetadata(map[string]string{"key": `"}\ü`, "other": ""})
	must(err)
	tokens[5].ResourceServers, err = domain.NewResourceServers(domain.ResourceServer{Audience: "ü ", Scopes: `\`})
	must(err)
	tokens[6].AuthenticatedAt, tokens[6].ExpiresAt = at.Add(-time.Hour-1), at.Add(time.Hour+999)
	tokens[7].IdleLifetime, tokens[7].IdleExpiresAt = domain.Lifetime(time.Hour), at.Add(time.Hour)
	tokens[8].Confirmation = domain.Confirmation{Kind: domain.ConfirmationJKT, Value: "thumbprint"}
	tokens[9].Device = domain.Device{InitialIP: "192.0.2.1", InitialASN: "64496", InitialUserAgent: "agent", LastIP: "192.0.2.2", LastASN: "64497", LastUserAgent: "another"}
	tokens[10].Rotating, tokens[10].Offline, tokens[10].PepperKeyID = true, true, "key"
	return tokens
}

// Issues that share a statement are as if each had one of its own, whatever there is to write, and whoever of them is refused.
func TestIssuesShareAStatement(t *testing.T) {
	t.Run("alone", func(t *testing.T) { issueVariety(t, false) })
	t.Run("together", func(t *testing.T) { issueVariety(t, true) })
}

func issueVariety(t *testing.T, together bool) {
	s := newStage(t, pgstore.Options{}, "")
	before, err := s.store.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	revoked := domain.MustSessionID("session-revoked")
	if _, err := s.store.Revoke(t.Context(), store.Revocation{ID: ulid.ULID{1}, Targets: []domain.Target{{SessionID: "session-revoked"}}, Time: base}); err != nil {
		t.Fatal(err)
	}
	tokens := variety(t)
	want := make([]error, len(tokens))
	barred, taken, twice := tokens[11], tokens[1], tokens[2]
	barred.ID, barred.SessionID = ulid.ULID{15: 200}, revoked
	taken.ID = ulid.ULID{15: 1} // it is there since the stage was set
	twice.UserID = "another"
	tokens = append(tokens, barred, taken, twice)
	want = append(want, domain.ErrRevoked, store.ErrExists, store.ErrExists)
	results := make([]store.Inserted, len(tokens))
	issue := func(i int) {
		inserted, err := s.store.Insert(t.Context(), []store.Insertion{{Token: tokens[i]}})
		if err != nil {
			t.Errorf("token %d: %v", i, err)
			return
		}
		results[i] = inserted[0]
	}
	var all sync.WaitGroup
	if together {
		s.together(lockWrites, false, len(tokens), func() {
			for i := range tokens {
				all.Go(func() { issue(i) })
			}
		})
	} else {
		for i := range tokens {
			issue(i)
		}
	}
	all.Wait()
	if last := len(tokens) - 1; results[2].Err != nil { // of the two with one id either may come first
		tokens[2], tokens[last], results[2], results[last] = tokens[last], tokens[2], results[last], results[2]
	}
	numbers := map[uint64]bool{}
	for i, token := range tokens {
		if !errors.Is(results[i].Err, want[i]) {
			t.Errorf("token %d: got %v, want %v", i, results[i].Err, want[i])
		}
		if want[i] != nil {
			continue
		}
		token.Sequence = results[i].Sequence
		numbers[token.Sequence] = true
		got, err := s.store.Get(t.Context(), token.ID)
		if err != nil || !reflect.DeepEqual(got.Token, token) {
			t.Errorf("token %d: got %+v, %v, want %+v", i, got.Token, err, token)
		}
	}
	if len(numbers) != 12 || numbers[0] {
		t.Errorf("each must have a number of its own: got %v", numbers)
	}
	if _, err := s.store.Get(t.Context(), barred.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what is refused must not be there: got %v", err)
	}
	after, err := s.store.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for number := range numbers {
		last = max(last, number)
	}
	if after.Tokens-before.Tokens != 12 || after.Sessionless-before.Sessionless != 3 || after.Sequence < last {
		t.Errorf("all of them must be counted: got %+v after %+v, the last number being %d", after, before, last)
	}
	var latest time.Time
	var ns int
	err = s.admin.QueryRow(t.Context(), `select latest, latest_ns from tokenstore.tallies order by latest desc, latest_ns desc limit 1`).Scan(&latest, &ns)
	if want := base.Add(123456789 + 4); err != nil || !latest.Add(time.Duration(ns)).Equal(want) {
		t.Errorf("the latest creation time: got %v and %d ns, %v, want %v", latest, ns, err, want)
	}
}

// Exchanges that share a statement do so each if its record is as it was when it was decided, and nothing pending covers it.
func TestExchangesShareAStatement(t *testing.T) {
	s := newStage(t, pgstore.Options{}, "")
	const n, changed, revoked = 12, 5, 6
	for i := range n {
		s.insert(byte(10+i), fmt.Sprint("user-", i))
	}
	at := func(minutes int) time.Time { return base.Add(time.Duration(minutes) * time.Minute) }
	exchange := func(i int, decided func(v store.View)) error {
		return s.store.Update(t.Context(), ulid.ULID{15: byte(10 + i)}, func(v store.View) store.Decision {
			decided(v)
			if v.Revoked() {
				return store.Decision{Err: domain.ErrRevoked}
			}
			next := v.Token
			next.Generation++
			next.LastExchangedAt = at(int(next.Generation))
			next.SecretDigest = domain.Digest{byte(i), byte(next.Generation)}
			return store.Decision{Next: &next}
		})
	}
	var looked, all sync.WaitGroup
	looked.Add(n)
	gate := make(chan struct{})
	var errs [n]error
	var decisions [n]int
	for i := range n {
		all.Go(func() {
			errs[i] = exchange(i, func(store.View) {
				if decisions[i]++; decisions[i] > 1 {
					return
				}
				switch i { // behind the back of a decision
				case changed:
					if err := exchange(i, func(store.View) {}); err != nil {
						t.Error(err)
					}
				case revoked:
					if _, err := s.store.Revoke(t.Context(), store.Revocation{ID: ulid.ULID{1}, Targets: []domain.Target{{UserID: fmt.Sprint("user-", i)}}, Time: base}); err != nil {
						t.Error(err)
					}
				}
				looked.Done()
				<-gate
			})
		})
	}
	looked.Wait()
	s.together(lockWrites, false, n, func() { close(gate) })
	all.Wait()
	for i := range n {
		want, generation, decided := error(nil), uint32(1), 1
		switch i {
		case changed:
			generation, decided = 2, 2
		case revoked:
			want, generation, decided = domain.ErrRevoked, 0, 2
		}
		v, err := s.store.Get(t.Context(), ulid.ULID{15: byte(10 + i)})
		if err != nil || !errors.Is(errs[i], want) || v.Token.Generation != generation || decisions[i] != decided {
			t.Errorf("exchange %d: got %v, generation %d after %d decisions, %v", i, errs[i], v.Token.Generation, decisions[i], err)
		}
		if generation > 0 && (v.Token.SecretDigest != domain.Digest{byte(i), byte(generation)} || !v.Token.LastExchangedAt.Equal(at(int(generation)))) {
			t.Errorf("exchange %d: got what another has written: %+v", i, v.Token)
		}
	}
}

// Short calls wait for their tenant's lock no longer than they may, and nothing of them is left open then, alone or together. Those who have
// waited together don't wait again, each by itself.
func TestShortCallsWaitForALockOnce(t *testing.T) {
	server := pgtest.Start(t)
	s := newStageOn(t, server, "", pgstore.Options{StatementTimeout: 300 * time.Millisecond, CommitTimeout: time.Minute}, "")
	s.hold(`select pg_advisory_xact_lock($1)`, s.backend.LockOf("tenant"))
	const callers = 8
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			if _, err := s.add(byte(10+i), "user", store.Insertion{}); !errors.Is(err, store.ErrNotCommitted) {
				t.Errorf("got %v, want ErrNotCommitted", err)
			}
		})
	}
	all.Wait()
	if waits := strings.Count(server.Log(t), "ERROR:  canceling statement due to lock timeout"); waits == 0 || waits >= callers {
		t.Errorf("those who share a transaction must wait for the lock once: %d waits of %d callers", waits, callers)
	}
}

// An exchange whose read hangs is not waited for longer than a commit may take, though its caller would wait.
func TestLookIsBounded(t *testing.T) {
	for _, callers := range []int{1, 6} {
		t.Run(fmt.Sprint(callers), func(t *testing.T) {
			s := newStage(t, pgstore.Options{CommitTimeout: 300 * time.Millisecond}, "")
			s.hold(lockReads)
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					err := s.store.Update(ctx, ulid.ULID{15: 1}, func(v store.View) store.Decision { return store.Decision{Next: &v.Token} })
					if !errors.Is(err, store.ErrNotCommitted) || ctx.Err() != nil {
						t.Errorf("got %v, want ErrNotCommitted before the caller's own time is over", err)
					}
				})
			}
			all.Wait()
		})
	}
}

// A connection that hangs with many calls does not hold up others as long as it hangs.
func TestSlowFlight(t *testing.T) {
	s := newStage(t, pgstore.Options{}, "")
	for i := range 8 {
		s.insert(byte(10+i), fmt.Sprint("user-", i))
	}
	hold := func(i int) func() {
		return s.hold(`select from tokenstore.tokens where id = $1 for update`, [16]byte{15: byte(10 + i)})
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	exchange := func(i int) error {
		return s.store.Update(ctx, ulid.ULID{15: byte(10 + i)}, func(v store.View) store.Decision {
			next := v.Token
			next.Generation++
			return store.Decision{Next: &next}
		})
	}
	var all sync.WaitGroup
	begin := func(i, waiting int) {
		t.Helper()
		all.Go(func() {
			if err := exchange(i); err != nil {
				t.Errorf("exchange %d: %v", i, err)
			}
		})
		for s.backend.Gathered("tenant", false) < waiting {
			runtime.Gosched()
		}
	}
	never := make(chan struct{})
	first := hold(0)
	begin(0, 0)
	s.waiting(1, "transactionid", never)
	second := hold(1)
	begin(1, 0)
	s.waiting(2, "transactionid", never)
	third := hold(2)
	for i := range 3 {
		begin(2+i, 1+i)
	}
	first() // so three begin together, of which one hangs
	for s.backend.Gathered("tenant", false) > 0 {
		runtime.Gosched()
	}
	s.waiting(2, "transactionid", never)
	second()
	s.waiting(1, "transactionid", never)
	if err := exchange(7); err != nil {
		t.Errorf("a call must not wait for a transaction of others that hangs: got %v", err)
	}
	third()
	all.Wait()
}
