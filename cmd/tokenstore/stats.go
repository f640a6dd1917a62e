package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"
)

func newStatsCommand() *cobra.Command {
	var f operatorFlags
	var all bool
	cmd := &cobra.Command{
		Use:   "stats --db FILE|URL",
		Short: "Say what a tenant holds, and how the sweep stands",
		Long: "stats prints what a tenant holds, when it was last restored and to which epoch, and how many revocations are pending in all\n" +
			"tenants, and since when. With --all-tenants it prints a record for each tenant, without the sum.",
		Example: `  tokenstore stats --db tokens.db
  tokenstore stats --db tokens.db --all-tenants --output ndjson`,
		Args: noArgs,
	}
	f.register(cmd.Flags(), formTable)
	cmd.Flags().BoolVar(&all, "all-tenants", false, "print a record for each tenant")
	excludes(cmd.Flags(), "all-tenants", "tenant")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return f.stats(cmd.Context(), all, cmd.OutOrStdout())
	}
	return cmd
}

// tenantStats are those of one tenant. Numbers that use all of their 64 bits are texts.
type tenantStats struct {
	Tenant          string     `json:"tenant"`
	Tokens          int        `json:"tokens"`
	Sessionless     int        `json:"sessionless"`
	Pending         int        `json:"pending"`
	OldestPending   *time.Time `json:"oldest_pending"`
	Guards          int        `json:"guards"`
	History         int        `json:"history"`
	Events          int        `json:"events"`
	LastEvent       uint64     `json:"last_event,string"`
	Sequence        uint64     `json:"sequence,string"`
	HorizonSequence uint64     `json:"horizon_sequence,string"`
	HorizonTime     *time.Time `json:"horizon_time"`
	Restorations    []restored `json:"restorations"`
	Sweep           *sweepSum  `json:"sweep,omitempty"`
}

// sweepSum is how the sweep stands, for all tenants.
type sweepSum struct {
	Tenants       int        `json:"tenants"`
	Pending       int        `json:"pending"`
	OldestPending *time.Time `json:"oldest_pending"`
	OldestAge     float64    `json:"oldest_age_seconds"`
}

// restored is a restoration. Its epoch uses all of its 64 bits.
type restored struct {
	ID       ulid.ULID           `json:"id"`
	Time     time.Time           `json:"time"`
	Method   store.RestoreMethod `json:"method"`
	Epoch    uint64              `json:"epoch,string"`
	Complete bool                `json:"complete"`
	Reason   string              `json:"reason"`
	Actor    string              `json:"actor"`
}

// statsOf asks for those of a tenant.
func statsOf(ctx context.Context, database store.Backend, tenant string) (tenantStats, error) {
	of, err := database.Tenant(tenant)
	if err != nil {
		return tenantStats{}, err
	}
	state, err := of.State(ctx)
	if err != nil {
		return tenantStats{}, err
	}
	stats := newTenantStats(tenant, state)
	restorer, is := store.As[store.Restorer](of)
	if !is {
		return stats, nil
	}
	all, err := restorer.Restorations(ctx)
	for _, r := range all {
		stats.Restorations = append(stats.Restorations, restored{r.ID, r.Time.UTC(), r.Method, r.Epoch, r.Complete, r.Reason, r.Actor})
	}
	return stats, err
}

func newTenantStats(tenant string, s tokenstore.State) tenantStats {
	return tenantStats{
		Restorations: []restored{}, Tenant: tenant, Tokens: s.Tokens, Sessionless: s.Sessionless, Pending: s.Pending, OldestPending: orNull(s.OldestPending),
		Guards: s.Guards, History: s.History, Events: s.Events, LastEvent: s.LastEvent, Sequence: s.Sequence,
		HorizonSequence: s.Horizon.Sequence, HorizonTime: orNull(s.Horizon.Time),
	}
}

// orNull is a time as JSON shows it, and null for none.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// orNone is such a time as a table shows it.
func orNone(t *time.Time) string {
	if t == nil {
		return ""
	}
	return instant(*t)
}

func (s *tenantStats) columns() columns {
	var at, epoch string
	if n := len(s.Restorations); n > 0 {
		latest := s.Restorations[n-1]
		at, epoch = instant(latest.Time)+" by "+string(latest.Method), fmt.Sprint(latest.Epoch)
		if !latest.Complete {
			at += ", unfinished"
		}
	}
	return columns{
		{"tenant", s.Tenant}, {"tokens", grouped(s.Tokens)}, {"without session", grouped(s.Sessionless)},
		{"pending", grouped(s.Pending)}, {"oldest pending", orNone(s.OldestPending)}, {"guards", grouped(s.Guards)},
		{"history", grouped(s.History)}, {"events", grouped(s.Events)}, {"last event", fmt.Sprint(s.LastEvent)},
		{"sequence", fmt.Sprint(s.Sequence)}, {"horizon", orNone(s.HorizonTime)},
		{"restored", at}, {"epoch", epoch},
	}
}

func (f *operatorFlags) stats(ctx context.Context, all bool, out io.Writer) (err error) {
	database, m, err := f.manage(ctx, tokenstore.Options{}, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	if all {
		return f.statsOfAll(ctx, database, m, out)
	}
	if err := f.known(ctx, m); err != nil {
		return err
	}
	record, err := statsOf(ctx, database, f.tenant)
	if err != nil {
		return err
	}
	health, err := m.Health(ctx)
	if err != nil {
		return err
	}
	record.Sweep = &sweepSum{
		Tenants: health.Tenants, Pending: health.Pending, OldestPending: orNull(health.OldestPending), OldestAge: health.OldestAge.Seconds(),
	}
	return f.output.printOne(out, record, append(record.columns(),
		[2]string{"pending in all tenants", grouped(health.Pending)},
		[2]string{"the oldest for", health.OldestAge.Round(time.Second).String()}))
}

func (f *operatorFlags) statsOfAll(ctx context.Context, database store.Backend, m *tokenstore.Manager, out io.Writer) error {
	return f.output.records(out, (&tenantStats{}).columns().heads(), func(p *printer) error {
		for name, err := range m.Tenants(ctx) {
			if err != nil {
				return err
			}
			record, err := statsOf(ctx, database, name)
			if err != nil {
				return err
			}
			if err := p.print(record, record.columns().values()...); err != nil {
				return err
			}
		}
		return nil
	})
}
