package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// contender is a store of tokens that is measured. A function that is nil is what it can't do at all. Each is called with rows
// that all contenders get alike, and is safe for concurrent use.
type contender struct {
	name    string
	durable string // what is on the disk when a call returns, as verified where that is possible

	fill     func(ctx context.Context, rows []row) error // fill keeps many rows, in few commits
	hold     func(rows []row)                            // hold notes what the clients of the loaded rows hold; nil if nothing is asked of them
	issue    func(ctx context.Context, r *row) error     // issue keeps one row
	get      func(ctx context.Context, i int) error      // get reads the record of the i-th loaded row by the token's id
	present  func(i int)                                 // present reads what the client of the i-th loaded row presents to verify
	verify   func(ctx context.Context, i int) error      // verify looks up the record that the secret which its client holds belongs to
	exchange func(ctx context.Context, i int) error      // exchange replaces that secret, if it is still the current one
	revoke   func(ctx context.Context, i int) error      // revoke ends it
	// revokeUser ends all tokens of a user. It returns when none of them can be used any more.
	revokeUser func(ctx context.Context, user string) error
	// getID reads the record of any id, and revokeTarget ends what a target names: of ours only.
	getID        func(ctx context.Context, id ulid.ULID) error
	revokeTarget func(ctx context.Context, target tokenstore.Target) error
	// settle has what is still to be written after earlier calls written, so that no later one waits for it.
	settle func(ctx context.Context) error
	// shared returns how many calls have shared how many commits since the contender was opened, and how many of those merged; of ours only.
	shared func() store.Stats
	floor  bool // a floor is not a store. It has one caller.
	// group is how many rows a call of a floor is about, which is as many as boltstore puts into one commit.
	group *int
	close func() error
}

// load keeps rows that calls are about later.
func (c *contender) load(ctx context.Context, rows []row) error {
	if c.fill == nil {
		return nil
	}
	if c.hold != nil {
		c.hold(rows)
	}
	for batch := range slices.Chunk(rows, 10_000) {
		if err := c.fill(ctx, batch); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// tokens is how many a call is about.
func (c *contender) tokens() int {
	if c.group == nil {
		return 1
	}
	return *c.group
}

// measured runs a task and notes how many calls shared a commit, and how many commits merged.
func (c *contender) measured(ctx context.Context, k task) (turn, error) {
	var before store.Stats
	if c.shared != nil {
		before = c.shared()
	}
	t, err := k.run(ctx)
	if err != nil {
		return t, fmt.Errorf("%s: %w", c.name, err)
	}
	if c.shared != nil {
		now := c.shared()
		if commits := now.Commits - before.Commits; commits > 0 {
			t.group = float64(now.Calls-before.Calls) / float64(commits)
		}
		t.merges = float64(now.Merges - before.Merges)
	}
	return t, nil
}

// closeAll closes contenders.
func closeAll(contenders []*contender) error {
	var err error
	for _, c := range contenders {
		if c.close != nil {
			err = errors.Join(err, c.close())
		}
	}
	return err
}

// errLost is what a contender returns that doesn't find what must be there.
var errLost = errors.New("a token that must be there is not")

// seen reads every byte of a text.
func seen[T string | []byte](text T) {
	sum := byte(0)
	for i := range len(text) {
		sum |= text[i]
	}
	runtime.KeepAlive(sum)
}
