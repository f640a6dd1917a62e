package storetest

import (
	"errors"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// persist repeats a call that did not commit, as a busy store may let it happen.
func persist(call func() error) error {
	for range 1000 {
		if err := call(); !errors.Is(err, store.ErrNotCommitted) {
			return err
		}
	}
	return store.ErrNotCommitted
}

func checkSingleUse(t testing.TB, e *env) {
	oneSuccessor(t, e)
	nothingLost(t, e)
	onlyOnce(t, e)
}

// oneSuccessor exchanges one secret many times at once. Each exchange that succeeds must hand out the same successor,
// although each has brought a salt of its own.
func oneSuccessor(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	h := w.issue(t, w.token("user", "client", "session"))
	const n = 64
	var secrets [n]domain.Secret
	var errs [n]error
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-start
			errs[i] = persist(func() (err error) {
				secrets[i], err = h.do(h.exchange("client", byte(i)), func() {})
				return err
			})
		})
	}
	close(start)
	group.Wait()
	for i := range n {
		if errs[i] != nil {
			t.Fatalf("concurrent exchanges of one secret must all succeed within the leeway: got %v", errs[i])
		}
		if secrets[i].Reveal() != secrets[0].Reveal() {
			t.Fatalf("concurrent exchanges of one secret must receive one successor: got two")
		}
	}
	h.credential = must(domain.ParseSecret(secrets[0]))
	if _, err := h.do(h.exchange("client", 99), func() {}); err != nil {
		t.Errorf("the successor must be live afterwards: got %v", err)
	}
}

// nothingLost counts in a record's metadata from many goroutines.
func nothingLost(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	token := w.add(t, "user", "client", "session")
	const workers, each = 8, 20
	var group sync.WaitGroup
	var failed atomic.Pointer[error]
	for range workers {
		group.Go(func() {
			for range each {
				err := persist(func() error {
					return w.Update(w.ctx, token.ID, func(view store.View) store.Decision {
						n, _ := strconv.Atoi(noteOf(view.Token))
						return write(strconv.Itoa(n + 1))(view)
					})
				})
				if err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		t.Fatalf("concurrent Updates must succeed: got %v", *err)
	}
	view, _ := w.get(t, token.ID)
	if text := noteOf(view.Token); text != strconv.Itoa(workers*each) {
		t.Errorf("each Update must be decided on the outcome of the one before: counted to %s of %d", text, workers*each)
	}
}

// onlyOnce lets a second Update come while the first is inside decide. Without a single lock-step this is where the
// second overwrites the first.
func onlyOnce(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	token := w.add(t, "user", "client", "session")
	inside, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	increment := func(block bool) error {
		return w.Update(w.ctx, token.ID, func(view store.View) store.Decision {
			if block {
				once.Do(func() {
					close(inside)
					<-release
				})
			}
			next := view.Token
			next.Retries++
			return store.Decision{Next: &next}
		})
	}
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- persist(func() error { return increment(true) }) }()
	select {
	case <-inside:
	case err := <-first:
		t.Fatalf("Update must call decide: got %v", err)
	}
	go func() { second <- persist(func() error { return increment(false) }) }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var err error
	select {
	case err = <-second:
		close(release)
	case <-timer.C: // the store lets it wait
		close(release)
		err = <-second
	}
	if err := errors.Join(err, <-first); err != nil {
		t.Fatalf("concurrent Updates must succeed: got %v", err)
	}
	if view, _ := w.get(t, token.ID); view.Token.Retries != 2 {
		t.Errorf("each Update must be decided on the outcome of the one before: counted to %d of 2", view.Token.Retries)
	}
}

// oneTombstone replays an outdated secret a thousand times, from several callers. Each would record a revocation of its own
// if the token were not revoked, and only the first may find it so.
func oneTombstone(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	token := w.add(t, "user", "client", "session")
	const callers, each = 10, 100
	var calls [callers][each]store.Revocation
	for i := range calls {
		for j := range calls[i] {
			calls[i][j] = w.revocation(domain.Target{TokenID: token.ID}, domain.Target{SessionID: "session"})
		}
	}
	var reused, revoked atomic.Int64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	for i := range calls {
		group.Go(func() {
			for j := range calls[i] {
				err := persist(func() error {
					return w.Update(w.ctx, token.ID, func(view store.View) store.Decision {
						if view.Revoked() {
							return store.Decision{Err: domain.ErrRevoked}
						}
						return store.Decision{Revoke: &calls[i][j], Err: domain.ErrReused}
					})
				})
				switch {
				case errors.Is(err, domain.ErrReused):
					reused.Add(1)
				case errors.Is(err, domain.ErrRevoked):
					revoked.Add(1)
				default:
					failed.Store(&err)
				}
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		t.Fatalf("a verdict of decide must be returned: got %v", *err)
	}
	state := w.state(t)
	if reused.Load() != 1 || revoked.Load() != callers*each-1 || state.Pending != 1 || state.History != 0 {
		t.Errorf("a thousand replays of one secret must record one revocation: %d did, state %+v", reused.Load(), state)
	}
}

// span is when a call was under way, by a clock that ticks at every beginning and end. The store's own numbers can't
// tell whether they are right.
type span struct{ begin, end int64 }

func (s span) before(other span) bool { return s.end < other.begin }

// orderByCalls inserts and revokes at once. A token inserted before a revocation began is covered by it, and one that was
// begun after it returned is not.
func orderByCalls(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	var clock atomic.Int64
	timed := func(call func()) span {
		begin := clock.Add(1)
		call()
		return span{begin, clock.Add(1)}
	}
	type issued struct {
		span
		token domain.RefreshToken
	}
	type revoked struct {
		span
		tombstone domain.Tombstone
	}
	const workers, each, revocations = 4, 40, 8
	var tokens [workers][each]issued
	var tombstones [revocations]revoked
	for i := range tokens {
		for j := range tokens[i] {
			tokens[i][j].token = w.token("user", "client", "")
		}
	}
	calls := make([]store.Revocation, revocations)
	for i := range calls { // their targets differ, so that none supersedes another
		calls[i] = w.revocation(domain.Target{UserID: "user", IssuedBefore: after(time.Duration(i+1) * time.Hour)})
	}
	var failed atomic.Pointer[error]
	var done atomic.Int64
	var group sync.WaitGroup
	for i := range tokens {
		group.Go(func() {
			for j := range tokens[i] {
				one := &tokens[i][j]
				one.span = timed(func() {
					results, err := w.Insert(w.ctx, rows(one.token))
					if err == nil {
						one.token.Sequence, err = results[0].Sequence, results[0].Err
					}
					if err != nil {
						failed.Store(&err)
					}
				})
				done.Add(1)
			}
		})
	}
	group.Go(func() {
		for i := range calls {
			for done.Load() < int64(i)*workers*each/(revocations+1) && failed.Load() == nil { // spread them out
				runtime.Gosched()
			}
			tombstones[i].span = timed(func() {
				status, err := w.Revoke(w.ctx, calls[i])
				tombstones[i].tombstone = status.Tombstone
				if err != nil {
					failed.Store(&err)
				}
			})
		}
	})
	group.Wait()
	if err := failed.Load(); err != nil {
		t.Fatalf("inserts and revocations must succeed beside each other: got %v", *err)
	}
	for i := range tokens {
		for _, one := range tokens[i] {
			covered, open := false, false
			for _, r := range tombstones {
				switch above := one.token.Sequence > r.tombstone.Watermark; {
				case one.before(r.span):
					covered = true
					if above {
						t.Fatalf("a token inserted before a revocation must not be above its watermark")
					}
				case r.before(one.span):
					if !above {
						t.Fatalf("a token inserted after a revocation must be above its watermark")
					}
				default:
					open = true
				}
			}
			live := w.live(t, one.token.ID)
			if covered && live {
				t.Fatalf("a token inserted before a revocation was called must be refused after it")
			}
			if !covered && !open && !live {
				t.Fatalf("a token inserted after a revocation had returned must not be touched by it")
			}
		}
	}
}

// nothingAppears inserts while everything is revoked and swept. Below the watermark of what is retired nothing may turn up.
func nothingAppears(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	const workers, each = 4, 40
	var batches [workers][]domain.RefreshToken
	var inserted [workers][]domain.RefreshToken
	for i := range batches {
		for range each {
			batches[i] = append(batches[i], w.token("user", "client", "session"))
		}
	}
	revocations := make([]store.Revocation, 5)
	for i := range revocations {
		revocations[i] = w.revocation(domain.Target{UserID: "user"})
	}
	var group sync.WaitGroup
	for i := range batches {
		group.Go(func() {
			for _, token := range batches[i] {
				if results, err := w.Insert(w.ctx, rows(token)); err == nil && results[0].Err == nil {
					token.Sequence = results[0].Sequence
					inserted[i] = append(inserted[i], token)
				}
			}
		})
	}
	var retired []domain.Tombstone
	for _, r := range revocations {
		status := w.record(t, r)
		w.sweep(t, status.Tombstone.ID)
		retired = append(retired, status.Tombstone)
	}
	group.Wait()
	left := map[ulid.ULID]bool{}
	for i := range inserted {
		for _, token := range inserted[i] {
			if domain.Covers(retired, &token) {
				left[token.ID] = w.has(t, token.ID)
			}
		}
	}
	for _, there := range left {
		if there {
			t.Fatalf("no token that a retired revocation covers may turn up after it was retired")
		}
	}
}
