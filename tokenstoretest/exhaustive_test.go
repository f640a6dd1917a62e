package tokenstoretest

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// stepFaults are faults between the steps of a verb, which show in certain schedules only. Each has its steps as a backend has them
// that asks the context before each.
var stepFaults = []struct {
	name  string
	wrap  func(*faultyStore) store.Store
	steps bool
}{
	{"no fence", func(s *faultyStore) store.Store { return noFence{s} }, false},
	{"unfenced update", func(s *faultyStore) store.Store { return unfencedUpdate{s} }, false},
	{"early retire", func(s *faultyStore) store.Store { return earlyRetire{s} }, false},
	{"skipped row", func(s *faultyStore) store.Store { return skippedRow{s} }, false},
	{"forgotten guards", func(s *faultyStore) store.Store { return forgottenGuards{s} }, false},
	{"no horizon", func(s *faultyStore) store.Store { return noHorizon{s} }, false},
	{"last wins", func(s *faultyStore) store.Store { return lastWins{s} }, false},
	{"no watermark", func(s *faultyStore) store.Store { return noWatermark{s} }, false},
	{"no sweep", func(s *faultyStore) store.Store { return noSweep{s} }, false},
	{"forked successor", func(s *faultyStore) store.Store {
		return staleUpdate{s, map[ulid.ULID]domain.RefreshToken{}}
	}, false},
	{"fence outside of the transaction", func(s *faultyStore) store.Store { return fencedBefore{s} }, true},
	{"sequence assigned before the commit", func(s *faultyStore) store.Store {
		return numberedBefore{s, map[ulid.ULID][]ulid.ULID{}}
	}, true},
	{"admission before the commit", func(s *faultyStore) store.Store { return admittedBefore{s} }, true},
	{"progress noted before the rows are gone", func(s *faultyStore) store.Store { return notedBefore{s} }, true},
	{"progress inherited with the targets", func(s *faultyStore) store.Store {
		return inherited{s, map[ulid.ULID]ulid.ULID{}}
	}, false},
}

// TestExhaustiveCatchesFaults: a fault is found by some schedule, whatever the others are like.
func TestExhaustiveCatchesFaults(t *testing.T) {
	for _, fault := range stepFaults {
		t.Run(fault.name, func(t *testing.T) {
			c := Config{Steps: fault.steps, New: func(testing.TB) store.Backend { return newFaulty(fault.wrap) }}
			played := 0
			for _, s := range scopes {
				if s.size == long {
					continue
				}
				x := &explorer{config: c, scope: s}
				found := x.explore(t)
				played += x.schedules
				if found != nil {
					t.Logf("%s, in schedule %d of %q, %d in all\n%s\n%s", found.promise, x.schedules, s.name, played, found.details, found.story)
					return
				}
			}
			t.Fatalf("none of %d schedules shows the fault", played)
		})
	}
}

// TestExhaustiveTellsAStory: what is found is told as a story that package revocation plays, and has kept.
func TestExhaustiveTellsAStory(t *testing.T) {
	kept, err := os.ReadFile("../revocation/testdata/17-last-page.txt")
	if err != nil {
		t.Fatal(err)
	}
	x := &explorer{scope: scopes[0], config: Config{New: func(testing.TB) store.Backend {
		return newFaulty(func(s *faultyStore) store.Store { return earlyRetire{s} })
	}}}
	found := x.explore(t)
	if found == nil {
		t.Fatal("no schedule shows the fault")
	}
	if told, want := commands(found.story), commands(string(kept)); !slices.Equal(told, want) {
		t.Errorf("it tells %q, and the story that is kept is %q", told, want)
	}
}

// commands are those of a story of one block.
func commands(story string) []string {
	story, _, _ = strings.Cut(story, "----")
	var all []string
	for line := range strings.Lines(story) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// fencedBefore looks at the fence in a step of its own, before the one that writes.
type fencedBefore struct{ *faultyStore }

func (s fencedBefore) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	before, err := s.Store.Get(context.WithoutCancel(ctx), id)
	if err = errors.Join(err, ctx.Err(), ctx.Err()); err != nil {
		return err
	}
	var d store.Decision
	err = s.Store.Update(context.WithoutCancel(ctx), id, func(v store.View) store.Decision {
		v.RevokedBy = before.RevokedBy
		d = decide(v)
		return d
	})
	if errors.Is(err, store.ErrCovered) {
		return d.Err
	}
	return err
}

// numberedBefore numbers a token in a step of its own, before the one that inserts it. What is revoked in between covers it.
type numberedBefore struct {
	*faultyStore
	known map[ulid.ULID][]ulid.ULID // by token, what was pending when it was numbered
}

func (s numberedBefore) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	var known []ulid.ULID
	for _, tombstone := range s.pending(context.Background()) {
		known = append(known, tombstone.ID)
	}
	if err := errors.Join(ctx.Err(), ctx.Err()); err != nil {
		return nil, err
	}
	for _, row := range rows {
		s.known[row.Token.ID] = known
	}
	return s.Store.Insert(context.WithoutCancel(ctx), rows)
}

func (s numberedBefore) List(ctx context.Context, q store.Query) (store.Page, error) {
	page, err := s.Store.List(ctx, q)
	if q.Fenced {
		page.Tokens = slices.DeleteFunc(page.Tokens, func(token domain.RefreshToken) bool {
			return slices.ContainsFunc(s.pending(ctx), func(tombstone domain.Tombstone) bool {
				tombstone.Watermark = ^uint64(0)
				return tombstone.Covers(&token) && !slices.Contains(s.known[token.ID], tombstone.ID)
			})
		})
	}
	return page, err
}

// admittedBefore asks whether a token may come in in a step of its own, before the one that inserts it.
type admittedBefore struct{ *faultyStore }

func (s admittedBefore) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	before := s.pending(context.Background())
	if err := errors.Join(ctx.Err(), ctx.Err()); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	inserted, err := s.Store.Insert(ctx, rows)
	if err != nil || !errors.Is(inserted[0].Err, domain.ErrRevoked) {
		return inserted, err
	}
	for _, tombstone := range before {
		if tombstone.Bars(&rows[0].Token, rows[0].AsOf) {
			return inserted, nil
		}
	}
	return s.Store.Insert(ctx, []store.Insertion{{Token: rows[0].Token}})
}

// notedBefore notes that a row is swept in a step of its own, before the one that removes it.
type notedBefore struct{ *faultyStore }

func (s notedBefore) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	noted := s.lost[ulid.ULID{}]
	for _, tombstone := range s.pending(context.Background()) {
		for _, row := range s.covered(context.Background(), tombstone) {
			if tombstone.ID == ids[0] && !slices.ContainsFunc(noted, func(other domain.RefreshToken) bool { return other.ID == row.ID }) {
				s.lost[ulid.ULID{}] = append(noted, row)
				break
			}
		}
	}
	if err := errors.Join(ctx.Err(), ctx.Err()); err != nil {
		return nil, err
	}
	s.lost[ulid.ULID{}] = noted
	statuses, err := s.Store.Apply(context.WithoutCancel(ctx), ids, bounds)
	if len(s.pending(context.Background())) == 0 {
		s.restore(context.Background(), noted)
		delete(s.lost, ulid.ULID{})
	}
	return statuses, err
}

// inherited has a revocation that supersedes another go on where that one stands.
type inherited struct {
	*faultyStore
	cursors map[ulid.ULID]ulid.ULID
}

func (s inherited) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	var earlier ulid.ULID
	for _, tombstone := range s.pending(ctx) {
		if tombstone.SameTargets(r.Targets) {
			earlier = tombstone.ID
		}
	}
	status, err := s.Store.Revoke(ctx, r)
	if cursor, ok := s.cursors[earlier]; ok && err == nil && earlier != r.ID {
		s.cursors[r.ID] = cursor
		s.lost[r.ID] = slices.DeleteFunc(s.covered(ctx, status.Tombstone), func(row domain.RefreshToken) bool { return row.ID.Compare(cursor) > 0 })
	}
	return status, err
}

func (s inherited) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	before := s.tokens(ctx)
	statuses, err := s.Store.Apply(ctx, ids, bounds)
	for _, status := range statuses {
		id := status.Tombstone.ID
		for _, row := range s.removed(ctx, before, status.Tombstone) {
			s.cursors[id] = row.ID
		}
		if status.Retired {
			s.restore(ctx, s.lost[id])
		}
	}
	return statuses, err
}
