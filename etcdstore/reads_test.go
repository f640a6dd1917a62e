package etcdstore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Calls that wait at the same time share the next request. One that comes after it was sent has no part in it: it might be told what was
// so before it was called.
func TestReadsShareRequests(t *testing.T) {
	meet(t, nil, func(m *meeting) {
		first, second := m.calling(1), m.calling(1)
		m.wantSent(first, second)
		shared := m.calling(10)
		m.wantSent(first, second)
		m.answer(0, nil)
		m.wantGood(first...)
		m.wantSent(second, shared)
		late := m.calling(3)
		m.wantSent(second, shared)
		m.answer(1, nil)
		m.wantGood(shared...)
		m.wantWaiting(append(second, late...)...)
		m.wantSent(second, late)
		m.answer(0, nil)
		m.answer(0, nil)
		m.wantGood(m.calls...)
		alone := m.calling(1)
		m.wantSent(alone)
		m.answer(0, nil)
		m.wantGood(alone...)
	})
}

// A call that is cancelled returns at once, and those that it has met go on.
func TestCancelledReadDisturbsNobody(t *testing.T) {
	meet(t, nil, func(m *meeting) {
		first, second := m.calling(1), m.calling(1)
		shared := m.calling(4)
		shared[0].cancel() // before there is a request
		synctest.Wait()
		m.wantErrors(context.Canceled, shared[0])
		m.answer(0, nil)
		m.wantSent(second, shared[1:])
		shared[1].cancel()
		synctest.Wait()
		m.wantErrors(context.Canceled, shared[1])
		m.wantSent(second, shared[1:])
		m.wantWaiting(shared[2:]...)
		m.answer(1, nil)
		m.wantGood(shared[2:]...)

		third := m.calling(1)
		given := m.calling(2)
		second[0].cancel() // a lone one, with which its request ends; so those who wait are next
		synctest.Wait()
		m.wantErrors(context.Canceled, second...)
		m.wantSent(third, given)
		for _, c := range given {
			c.cancel()
		}
		synctest.Wait()
		m.wantErrors(context.Canceled, given...)
		m.wantSent(third) // a request that nobody waits for is given up
		m.answer(0, nil)
		m.wantGood(append(first, third...)...)
	})
}

// Each call has the error of the request that it has shared. What the cluster refuses is asked for by each alone, since one may have been to
// blame for all; and a record that can't be read concerns nobody but who has asked for it.
func TestFailureOfSharedRead(t *testing.T) {
	unavailable := errors.New("no leader")
	meet(t, nil, func(m *meeting) {
		m.calling(2)
		shared := m.calling(3)
		m.answer(0, nil)
		m.answer(1, unavailable)
		m.wantErrors(ErrUnavailable, shared...)
		m.wantErrors(unavailable, shared...)
		m.answer(0, nil)

		m.calling(2)
		refused := m.calling(3)
		m.answer(0, nil)
		m.answer(1, rpctypes.ErrPermissionDenied)
		m.wantWaiting(refused...)
		m.answer(0, nil) // the second of those before
		if len(m.kv.sent) != 3 {
			m.Fatalf("each must ask by itself: got %d requests", len(m.kv.sent))
		}
		guilty := slices.IndexFunc(m.kv.sent, func(r *slowRequest) bool { return slices.Contains(r.keys, refused[1].key) })
		m.answer(guilty, rpctypes.ErrPermissionDenied)
		m.answer(0, nil)
		m.answer(0, nil)
		m.wantErrors(ErrRefused, refused[1])
		m.wantGood(refused[0], refused[2])

		m.calling(2)
		broken := m.calling(3)
		m.kv.values[broken[1].key] = bytes.Repeat([]byte("x"), 20)
		m.answer(0, nil)
		m.answer(1, nil)
		m.answer(0, nil)
		m.wantErrors(ErrCorrupt, broken[1])
		m.wantGood(broken[0], broken[2])
	})
}

// A member that does not answer holds up whom it was asked by, and nobody who has gathered.
func TestSlowReadHoldsUpNobody(t *testing.T) {
	meet(t, nil, func(m *meeting) {
		stuck := m.calling(maxFlights)
		gathered := m.calling(3)
		time.Sleep(slowFlight)
		synctest.Wait()
		m.wantSent(stuck[:1], stuck[1:], gathered)
		m.answer(2, nil)
		m.wantGood(gathered...)
		m.wantWaiting(stuck...)
		later := m.calling(1) // by then they hold up nobody
		m.wantSent(stuck[:1], stuck[1:], later)
		m.answer(2, nil)
		m.wantGood(later...)
		time.Sleep(m.store.(*tenant).backend.opts.RequestTimeout)
		synctest.Wait()
		m.wantErrors(ErrUnavailable, stuck...)
		alone := m.calling(maxFlights)
		again := m.calling(2)
		m.wantSent(alone[:1], alone[1:]) // what has ended late counts for nothing
		m.answer(0, nil)
		m.answer(1, nil)
		m.answer(0, nil)
		m.wantGood(append(alone, again...)...)
	})
}

// A request holds no more than the servers take.
func TestSharedReadsFit(t *testing.T) {
	for name, c := range map[string]struct {
		opts Options
		most int
	}{
		"default":        {Options{}, maxReads},
		"few operations": {Options{MaxTxnOps: 16}, 16},
		"long keys":      {Options{MaxRequestBytes: 64 << 10, Prefix: strings.Repeat("p", 4<<10)}, 16},
	} {
		t.Run(name, func(t *testing.T) {
			meet(t, &c.opts, func(m *meeting) {
				m.calling(300)
				requests := 0
				for len(m.kv.sent) > 0 {
					requests++
					if n := len(m.kv.sent[0].keys); n > c.most {
						m.Fatalf("got a request for %d keys, want no more than %d", n, c.most)
					}
					m.answer(0, nil)
				}
				m.wantGood(m.calls...)
				if requests > 300/(c.most/2-1)+maxFlights+1 {
					m.Errorf("got %d requests for 300 calls, want fuller ones", requests)
				}
			})
		})
	}
}
