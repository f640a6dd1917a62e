package etcdstore

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// meetToInsert runs a test in virtual time, in which the tenant is known to have nothing that an insertion would have to read.
func meetToInsert(t *testing.T, opts *Options, f func(*meeting)) {
	t.Helper()
	meet(t, opts, func(m *meeting) {
		b := m.store.(*tenant).backend
		b.known.put(item{key: b.begin(t.Context(), "tenant").below(keyHead)})
		f(m)
	})
}

// Insertions that wait at the same time share the next transaction.
func TestInsertionsShareTransactions(t *testing.T) {
	meetToInsert(t, nil, func(m *meeting) {
		first, second := m.inserting(1), m.inserting(1)
		shared := m.inserting(10)
		m.wantSent(first, second)
		m.answer(0, nil)
		m.wantInserted(first...)
		m.wantSent(second, shared)
		late := m.inserting(3)
		m.wantSent(second, shared)
		m.answer(1, nil)
		m.wantInserted(shared...)
		m.wantWaiting(append(second, late...)...)
		m.wantSent(second, late)
		m.answer(0, nil)
		m.answer(0, nil)
		m.wantInserted(second...)
		m.wantInserted(late...)
	})
}

// A transaction holds no more than a batch that is committed without having read anything, and no more than the servers take.
func TestSharedInsertionsFit(t *testing.T) {
	for name, c := range map[string]struct {
		opts Options
		most int
	}{
		"default":        {Options{}, fewRows},
		"few operations": {Options{MaxTxnOps: 16}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			meetToInsert(t, &c.opts, func(m *meeting) {
				m.inserting(100)
				requests := 1
				m.answer(0, nil)
				if n := 1 + (98+c.most-1)/c.most; len(m.kv.sent) != n {
					t.Fatalf("all that have gathered must go: got %d transactions under way, want %d", len(m.kv.sent), n)
				}
				for len(m.kv.sent) > 0 {
					requests++
					if n := len(m.tokens(m.kv.sent[0])); n > c.most {
						m.Fatalf("got a transaction of %d tokens, want no more than %d", n, c.most)
					}
					m.answer(0, nil)
				}
				for _, c := range m.calls {
					m.wantInserted(c)
				}
				if requests > 100/c.most+maxFlights+1 {
					m.Errorf("got %d transactions for 100 calls, want fuller ones", requests)
				}
			})
		})
	}
}

// What a call is given is its own: others don't see what its caller adds to it.
func TestSharedInsertionsAreApart(t *testing.T) {
	meetToInsert(t, nil, func(m *meeting) {
		m.inserting(2)
		b := m.store.(*tenant).backend
		all := []*insertion{}
		for n := range 2 {
			row := store.Insertion{Token: domain.RefreshToken{ID: ulid.ULID{9, byte(n)}, UserID: "user", ClientID: "client", CreatedAt: time.Unix(1, 0).UTC()}}
			all = append(all, &insertion{Insertion: row, sent: make(chan struct{}), done: make(chan struct{})})
			if b.inserts.join("tenant", all[n]) != nil {
				t.Fatal("a call must wait while two are under way")
			}
		}
		m.answer(0, nil)
		m.answer(1, nil)
		second := all[1].results[0].Sequence
		if _ = append(all[0].results, store.Inserted{}); all[1].results[0].Sequence != second {
			t.Error("results must not share room")
		}
		m.answer(0, nil)
	})
}

// A process that does not know the format yet asks for it before it commits anything, and a call that is cancelled meanwhile has sent nothing.
func TestFirstInsertionsAskForTheFormat(t *testing.T) {
	meetToInsert(t, nil, func(m *meeting) {
		m.store.(*tenant).backend.formatted.Store(false)
		calls := m.inserting(4)
		for _, r := range m.kv.sent {
			if len(r.keys) != 1 || len(m.tokens(r)) != 0 {
				t.Fatalf("got a request of %q, want one for the format", r.keys)
			}
		}
		for _, c := range calls {
			c.cancel()
		}
		synctest.Wait()
		m.wantErrors(context.Canceled, calls...)
		for _, c := range calls {
			if errors.Is(c.err, store.ErrUnknownOutcome) {
				t.Error("nothing was sent that could have been committed")
			}
		}
	})
}

// A call that is cancelled returns at once, and those that it has met go on. Whether it has had an effect it can't know once it was sent.
func TestCancelledInsertionDisturbsNobody(t *testing.T) {
	meetToInsert(t, nil, func(m *meeting) {
		m.inserting(2)
		shared := m.inserting(4)
		shared[0].cancel() // before there is a transaction
		synctest.Wait()
		m.wantErrors(context.Canceled, shared[0])
		if errors.Is(shared[0].err, store.ErrUnknownOutcome) {
			m.Error("nothing was sent of a call that had only waited")
		}
		m.answer(0, nil)
		shared[1].cancel()
		synctest.Wait()
		m.wantErrors(context.Canceled, shared[1])
		m.wantErrors(store.ErrUnknownOutcome, shared[1])
		m.wantWaiting(shared[2:]...)
		m.answer(1, nil)
		m.wantInserted(shared[2:]...)
		m.answer(0, nil)
	})
}

// Where nobody knows whether a shared transaction was made, nobody is told that it was not. Where it was not, each tries alone, since one may
// have been to blame for all.
func TestFailureOfSharedInsertion(t *testing.T) {
	unavailable := errors.New("no leader")
	for name, c := range map[string]struct {
		with  error
		alone bool
	}{
		"no answer": {unavailable, false},
		"refused":   {rpctypes.ErrPermissionDenied, true},
		"changed":   {errChanged, true},
	} {
		t.Run(name, func(t *testing.T) {
			meetToInsert(t, nil, func(m *meeting) {
				m.inserting(2)
				shared := m.inserting(3)
				m.answer(0, nil)
				m.answer(1, c.with)
				m.answer(0, nil)
				if !c.alone {
					m.wantErrors(store.ErrUnknownOutcome, shared...)
					m.wantErrors(unavailable, shared...)
					return
				}
				m.wantWaiting(shared...)
				if len(m.kv.sent) != 3 {
					m.Fatalf("each must try by itself: got %d requests", len(m.kv.sent))
				}
				guilty := slices.IndexFunc(m.kv.sent, func(r *slowRequest) bool { return slices.Contains(r.keys, shared[1].key) })
				m.answer(guilty, rpctypes.ErrPermissionDenied)
				m.answer(0, nil)
				m.answer(0, nil)
				m.wantErrors(store.ErrNotCommitted, shared[1])
				m.wantErrors(ErrRefused, shared[1])
				m.wantInserted(shared[0], shared[2])
			})
		})
	}
}

// A member that does not answer holds up whom it was asked by, and nobody who has gathered.
func TestSlowInsertionHoldsUpNobody(t *testing.T) {
	meetToInsert(t, nil, func(m *meeting) {
		stuck := m.inserting(maxFlights)
		gathered := m.inserting(3)
		time.Sleep(slowFlight)
		synctest.Wait()
		m.wantSent(stuck[:1], stuck[1:], gathered)
		m.answer(2, nil)
		m.wantInserted(gathered...)
		m.wantWaiting(stuck...)
		time.Sleep(m.store.(*tenant).backend.opts.RequestTimeout)
		synctest.Wait()
		m.wantErrors(store.ErrUnknownOutcome, stuck...)
		m.wantErrors(ErrUnavailable, stuck...)
	})
}
