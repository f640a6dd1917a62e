package tokenstore_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
)

// keeper keeps the rows that it was handed, as no store may (R23), and fails when told to, so many times.
type keeper struct {
	store.Backend
	kept  []*store.Insertion
	fail  error
	times int
	was   store.Insertion // the row that it failed on, as it was then
}

func (b *keeper) Tenant(name string) (store.Store, error) {
	st, err := b.Backend.Tenant(name)
	return &keeperStore{st, b}, err
}

type keeperStore struct {
	store.Store
	b *keeper
}

func (s *keeperStore) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	s.b.kept = append(s.b.kept, &rows[0])
	if s.b.times > 0 {
		s.b.times--
		s.b.was = rows[0]
		return nil, s.b.fail
	}
	return s.Store.Insert(ctx, rows)
}

// A row that is used again holds nothing of the token that it was of before.
func TestRowsOfIssuesAreCleared(t *testing.T) {
	t.Parallel()
	b := &keeper{Backend: memstore.New()}
	m, err := tokenstore.New(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := request("ann")
	r.Metadata = map[string]string{"note": "of ann"}
	if _, err := m.Issue(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if row := *b.kept[0]; !reflect.ValueOf(row).IsZero() {
		t.Errorf("after an issue its row still holds %+v", row)
	}
}

// A row that a store failed on, which may still be reading it, is neither used again nor changed, also if another attempt succeeded.
func TestRowsOfFailedIssues(t *testing.T) {
	t.Parallel()
	for _, fail := range []error{errors.New("the disk is full"), store.ErrUnknownOutcome} {
		b := &keeper{Backend: memstore.New(), fail: fail, times: 1}
		m, err := tokenstore.New(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Issue(t.Context(), request("ann")); err != nil && !errors.Is(err, fail) {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := m.Issue(t.Context(), request("bob")); err != nil {
				t.Fatal(err)
			}
		}
		if slices.Contains(b.kept[1:], b.kept[0]) {
			t.Errorf("%v: the row was used again", fail)
		}
		if !reflect.DeepEqual(*b.kept[0], b.was) || b.was.Token.UserID != "ann" {
			t.Errorf("%v: the row has become %+v", fail, *b.kept[0])
		}
	}
}

// Issues use rows again: that is what they are cleared for.
func TestRowsAreUsedAgain(t *testing.T) {
	t.Parallel()
	b := &keeper{Backend: memstore.New()}
	m, err := tokenstore.New(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	const n = 100 // the race detector has a pool lose some
	for range n {
		if _, err := m.Issue(t.Context(), request("ann")); err != nil {
			t.Fatal(err)
		}
	}
	different := map[*store.Insertion]bool{}
	for _, row := range b.kept {
		different[row] = true
	}
	if len(different) == n {
		t.Errorf("%d issues took as many rows", n)
	}
}
