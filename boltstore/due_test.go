package boltstore

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// An exchange that puts the end of a token off writes no index of ends; one that brings it forward does.
func TestExchangeLeavesTheScheduleAlone(t *testing.T) {
	b, err := Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s, err := b.Tenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	token := domain.RefreshToken{ID: ulid.ULID{15: 1}, UserID: "u", ClientID: "c", CreatedAt: now, IdleExpiresAt: now.Add(time.Hour)}
	if _, err := s.Insert(t.Context(), []store.Insertion{{Token: token}}); err != nil {
		t.Fatal(err)
	}
	end := func(at time.Time) (due uint64, keys int) {
		t.Helper()
		err := s.Update(t.Context(), token.ID, func(v store.View) store.Decision {
			v.Token.IdleExpiresAt = at
			return store.Decision{Next: &v.Token}
		})
		if err != nil {
			t.Fatal(err)
		}
		err = s.(*tenant).view(t.Context(), func(r *records) error {
			record, _ := r.record(token.ID)
			due = record.due
			r.between(underSecond(0).entry(ulid.ULID{}), underSecond(math.MaxUint64).last(), func(e *entry) bool {
				keys++
				if *e != underSecond(due).entry(token.ID) {
					t.Error("the record and the index must agree")
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return due, keys
	}
	first := uint64(now.Add(time.Hour).Unix())
	for _, after := range []time.Duration{2 * time.Hour, 30 * 24 * time.Hour} {
		if due, keys := end(now.Add(after)); due != first || keys != 1 {
			t.Errorf("put off by %v: due at %d in %d entries, want %d in one", after, due, keys, first)
		}
	}
	due, keys := end(now.Add(time.Minute))
	if due != uint64(now.Add(time.Minute).Unix()) || keys != 1 {
		t.Errorf("brought forward: due at %d in %d entries", due, keys)
	}
	second := token // what comes after that takes the place of nothing
	second.ID = ulid.ULID{15: 2}
	if _, err := s.Insert(t.Context(), []store.Insertion{{Token: second}}); err != nil {
		t.Fatal(err)
	}
	if findings, err := b.Check(t.Context()); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
}
