// Package storecheck looks at a database from outside, through the contract of package store, and says what in it does not agree:
// records with the lists that show them, revocations with what is live, counts with what is there. It is for backends whose indexes
// are their server's. What lies beneath the verbs it can't see; what a server says of itself is asked by its own tools.
//
// It writes nothing, needs little memory however much there is, and may look while others read and write.
package storecheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// MaxFindings is how many findings end a check.
const MaxFindings = 100

// Options are those of a check. The zero value, and nil, take the defaults.
type Options struct {
	// Now is the clock, which says what is expired. Defaults to time.Now.
	Now func() time.Time
	// Progress is called after each page of tokens with what has been looked at so far. Defaults to none.
	Progress func(Report)
}

// Report says what was looked at, and what was found.
type Report struct {
	Tenants     int // Tenants is how many tenants were looked at.
	Tokens      int // Tokens is how many tokens there are.
	Covered     int // Covered is how many of them a pending revocation covers: the sweep is due, and nothing is wrong with them.
	Expired     int // Expired is how many of the others are expired: their removal is due, and nothing is wrong with them.
	Revocations int // Revocations is how many there are, pending and retired.
	Guards      int // Guards is how many guards there are.
	Events      int // Events is how many events the feeds hold.
	Changed     int // Changed is in how many tenants something was written meanwhile, so that their counts were not compared.
	// Findings are what does not agree, each with its tenant: at most [MaxFindings]. They name tokens and revocations by id, and no
	// users. None if all is well.
	Findings []string
}

// errEnough ends a check that has found enough.
var errEnough = errors.New("enough was found")

// Check looks at all tenants of a backend. Of each token it sees that it is the same by its id and in the lists of all, of its user, of
// its user and client, and of its session, each of which shows it once and nothing that does not belong there; that the secret it had elsewhere leads to it;
// that no revocation or guard covers it while it is live. Of revocations, guards and events it sees that they keep the limits of the
// contract, and of [store.State] that it counts what is there. What is recorded after it began is passed over. A restoration that is unfinished is a finding. What does not agree is looked at again some times, since others may
// have written between two looks.
//
// An error is that of a verb, or of the context; the report has what was found until then. How long it takes grows with the number of
// tokens, for each of which it asks about five times, and with that of guards.
func Check(ctx context.Context, backend store.Backend, opts *Options) (Report, error) {
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(Report) {}
	}
	var report Report
	for after := ""; ; {
		names, err := backend.Tenants(ctx, after, store.MaxPage)
		if err != nil || len(names) == 0 {
			return report, err
		}
		for _, name := range names {
			if name <= after {
				report.Findings = append(report.Findings, fmt.Sprintf("tenant %q is listed after %q", name, after))
				return report, nil
			}
			after = name
			s, err := backend.Tenant(name)
			if err != nil {
				return report, err
			}
			report.Tenants++
			c := checker{Store: s, backend: backend, tenant: name, Options: o, report: &report}
			if err := c.check(ctx); err != nil {
				if errors.Is(err, errEnough) {
					err = nil
				}
				return report, err
			}
		}
	}
}

// checker checks one tenant.
type checker struct {
	store.Store
	Options
	backend store.Backend
	tenant  string
	report  *Report
	latest  uint64             // the sequence when it began: what was recorded since is passed over, or there may be no end of it
	found   store.State        // what was counted; its sequence is the highest that anything has
	wide    []domain.Tombstone // those that only a walk of all tokens is the test of, each of one target
	covers  store.Status       // that of the latest revocation that was said to cover a token
}

// find notes a finding.
func (c *checker) find(format string, args ...any) error {
	c.report.Findings = append(c.report.Findings, fmt.Sprintf("tenant %q: ", c.tenant)+fmt.Sprintf(format, args...))
	if len(c.report.Findings) >= MaxFindings {
		return errEnough
	}
	return nil
}

// looks is how often something is looked at before it is a finding.
const looks = 5

// expect notes what a look finds, unless another look finds nothing.
func (c *checker) expect(look func() (finding string, err error)) error {
	for n := 1; ; n++ {
		finding, err := look()
		switch {
		case err != nil || finding == "":
			return err
		case n == looks:
			return c.find("%s", finding)
		}
	}
}

func (c *checker) check(ctx context.Context) error {
	before, err := c.State(ctx)
	if err != nil {
		return err
	}
	c.latest = before.Sequence
	for _, part := range []func(context.Context) error{c.restorations, c.tokens, c.revocations, c.guards, c.walkWide, c.events, c.pending} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	after, err := c.State(ctx)
	if err != nil {
		return err
	}
	if c.found.Sequence > after.Sequence {
		return c.find("something has the sequence %d, and the latest is %d", c.found.Sequence, after.Sequence)
	}
	if c.found.LastEvent > after.LastEvent {
		return c.find("there is an event %d, and the latest is %d", c.found.LastEvent, after.LastEvent)
	}
	if counts(&before) != counts(&after) {
		c.report.Changed++
		return nil
	}
	return c.counts(&after)
}

// counts are numbers of which whatever changes what is counted changes one.
func counts(s *store.State) [9]uint64 {
	return [9]uint64{s.Sequence, s.Horizon.Sequence, uint64(s.Tokens), uint64(s.Sessionless), uint64(s.Pending), uint64(s.Guards), uint64(s.History), uint64(s.Events), s.LastEvent}
}

// counts compares what the store counts with what was seen.
func (c *checker) counts(state *store.State) error {
	for _, count := range []struct {
		of         string
		says, seen int
	}{
		{"tokens", state.Tokens, c.found.Tokens},
		{"tokens without a session", state.Sessionless, c.found.Sessionless},
		{"pending revocations", state.Pending, c.found.Pending},
		{"retired revocations", state.History, c.found.History},
		{"guards", state.Guards, c.found.Guards},
		{"events", state.Events, c.found.Events},
	} {
		if count.says != count.seen {
			if err := c.find("it counts %d %s, and has %d", count.says, count.of, count.seen); err != nil {
				return err
			}
		}
	}
	if !state.OldestPending.Equal(c.found.OldestPending) {
		return c.find("its oldest pending revocation is not the one that it names")
	}
	return nil
}

// restorations sees to it that none is unfinished.
func (c *checker) restorations(ctx context.Context) error {
	restorer, is := store.As[store.Restorer](c.Store)
	if !is {
		return nil
	}
	all, err := restorer.Restorations(ctx)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(all, func(r store.Restored) bool { return !r.Complete }); i >= 0 {
		return c.find("restoration %s, by %s, is unfinished: repeat it", all[i].ID, all[i].Method)
	}
	return nil
}

// pending sees to it that the tenant is named as one that has something pending if it has.
func (c *checker) pending(ctx context.Context) error {
	return c.expect(func() (string, error) {
		named := false
		for after := ""; !named && after < c.tenant; {
			names, err := c.backend.Pending(ctx, after, store.MaxPage)
			if err != nil {
				return "", err
			}
			if len(names) == 0 {
				break
			}
			named, after = slices.Contains(names, c.tenant), names[len(names)-1]
		}
		state, err := c.State(ctx)
		if err != nil || named == (state.Pending > 0) {
			return "", err
		}
		return fmt.Sprintf("it is named among those that have something pending: %v, with %d pending", named, state.Pending), nil
	})
}
