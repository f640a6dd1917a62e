package boltstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// What is looked for by an entry that leads nowhere, or does not lead to itself, is never done. It is an error, for it would be
// looked for again and again; Check finds the entry, and after a repair the work comes to its end.
func TestDangling(t *testing.T) {
	due := func(second time.Time, n int) change {
		e := underSecond(uint64(second.Unix())).entry(number(n))
		return stranger(bucketFresh, numberKey(1_000_000), codec.Sealed(e[:]))
	}
	aged := func(n int) change {
		id := number(n)
		return stranger(bucketHistory, ageKey(instant.Add(-time.Hour), id[:]), nil)
	}
	wealth, empty := readFile(t, wealthy(t)), readFile(t, pendingAlone(t))
	cases := 0
	for what, c := range map[string]struct {
		data   []byte
		damage change
		found  string
		use    func(context.Context, store.Store) error
	}{
		"a token that is gone is due":                {wealth, due(instant, 999), "the index has", expireAll},
		"a token is due at another time too":         {wealth, due(instant, 6), "the index has", expireAll},
		"a token that never expires is due":          {wealth, due(instant, 8), "the index has", expireAll},
		"a revocation that is gone has an age":       {wealth, aged(999), "history has", trimAll},
		"a revocation has an age of another time":    {wealth, aged(103), "history has", trimAll},
		"a pending one has the age of a retired one": {wealth, aged(106), "history has", trimAll},
		"a walker is not among them":                 {wealth, dropNth(bucketWalkers, 0), "is not among the walkers", applyAll},
		"no walker is":                               {wealth, dropAll(bucketWalkers), "is not among the walkers", applyAll},
		"no walker is, where there are no tokens":    {empty, dropAll(bucketWalkers), "is not among the walkers", applyAll},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			path := writeFile(t, c.data)
			spoil(t, path, c.damage)
			use := func() (err error) {
				t.Helper()
				b, err := Open(path, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { err = errors.Join(err, b.Close()) }()
				s, err := b.Tenant("acme")
				if err != nil {
					t.Fatal(err)
				}
				return c.use(t.Context(), s)
			}
			if err := use(); !errors.Is(err, ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
			findings, err := CheckFile(t.Context(), path, nil)
			if err != nil || !strings.Contains(strings.Join(findings, "\n"), c.found) {
				t.Fatalf("found %q, error %v, want %q", findings, err, c.found)
			}
			if _, err := Repair(t.Context(), path, nil); err != nil {
				t.Fatal(err)
			}
			if err := use(); err != nil {
				t.Errorf("after the repair: %v", err)
			}
			if findings, err := CheckFile(t.Context(), path, nil); err != nil || len(findings) > 0 {
				t.Errorf("after all was done: found %q, error %v", findings, err)
			}
		})
		cases++
	}
	t.Attr("cases", strconv.Itoa(cases))
}

// pendingAlone makes a file of a tenant that has nothing but one revocation, which walks, and closes it.
func pendingAlone(t *testing.T) (path string) {
	t.Helper()
	b, s := rig(t)
	path = b.db.Path()
	_, err := s.Revoke(t.Context(), store.Revocation{ID: number(106), Targets: []domain.Target{{ClientID: "client-1"}}, Time: instant})
	if err := errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// patience is how often a call is repeated until it has nothing to do.
const patience = 1000

var errEndless = errors.New("it has something to do for ever")

func expireAll(ctx context.Context, s store.Store) error {
	for range patience {
		done, err := s.Expire(ctx, store.Bounds{Visit: 3, Remove: 3, Now: instant.Add(1000 * time.Hour)})
		if err != nil || done.Examined == 0 {
			return err
		}
	}
	return errEndless
}

func trimAll(ctx context.Context, s store.Store) error {
	for range patience {
		done, err := s.Trim(ctx, store.Trim{History: instant.Add(1000 * time.Hour), Limit: 1})
		if err != nil {
			if _, lost := s.Revocation(ctx, number(103)); lost != nil { // which is younger than the entry that is the oldest
				return fmt.Errorf("an age that is not its own has had it forgotten: %w", lost)
			}
		}
		if err != nil || done == (store.Trimmed{}) {
			return err
		}
	}
	return errEndless
}

func applyAll(ctx context.Context, s store.Store) error {
	ids := []ulid.ULID{number(105), number(106), number(107), number(108)}
	for range patience {
		statuses, err := s.Apply(ctx, ids, store.Bounds{Visit: 3, Remove: 3, Now: instant})
		if err != nil || len(statuses) == 0 {
			return err
		}
	}
	return errEndless
}
