package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/revocation"
	"github.com/spf13/cobra"
)

func newStatsCommand() *cobra.Command {
	var f operatorFlags
	var all bool
	cmd := &cobra.Command{
		Use:   "stats --db FILE|URL",
		Short: "Say what a tenant holds, and how the sweep stands",
		Long: "stats prints what a tenant holds, and how many revocations are pending in all tenants, and since when. With --all-tenants it\n" +
			"prints a record for each tenant, without the sum.",
		Example: `  tokenstore stats --db tokens.db
  tokenstore stats --db tokens.db --all-tenants --output ndjson`,
		Args: noArgs,
	}
	f.register(cmd.Flags(), formTable)
	cmd.Flags().BoolVar(&all, "all-tenants", false, "print a record for each tenant")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return f.with(cmd.Context(), revocation.Options{}, func(m *tokenstore.Manager) error {
			if all {
				return f.statsOfAll(cmd.Context(), m, cmd.OutOrStdout())
			}
			return f.stats(cmd.Context(), m, cmd.OutOrStdout())
		})
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
	Sweep           *sweepSum  `json:"sweep,omitempty"`
}

// sweepSum is how the sweep stands, for all tenants.
type sweepSum struct {
	Tenants       int        `json:"tenants"`
	Pending       int        `json:"pending"`
	OldestPending *time.Time `json:"oldest_pending"`
	OldestAge     float64    `json:"oldest_age_seconds"`
}

func newTenantStats(tenant string, s tokenstore.State) tenantStats {
	return tenantStats{
		Tenant: tenant, Tokens: s.Tokens, Sessionless: s.Sessionless, Pending: s.Pending, OldestPending: orNull(s.OldestPending),
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
	return columns{
		{"tenant", s.Tenant}, {"tokens", grouped(s.Tokens)}, {"without session", grouped(s.Sessionless)},
		{"pending", grouped(s.Pending)}, {"oldest pending", orNone(s.OldestPending)}, {"guards", grouped(s.Guards)},
		{"history", grouped(s.History)}, {"events", grouped(s.Events)}, {"last event", fmt.Sprint(s.LastEvent)},
		{"sequence", fmt.Sprint(s.Sequence)}, {"horizon", orNone(s.HorizonTime)},
	}
}

func (f *operatorFlags) stats(ctx context.Context, m *tokenstore.Manager, out io.Writer) error {
	state, err := m.State(ctx)
	if err != nil {
		return err
	}
	health, err := m.Health(ctx)
	if err != nil {
		return err
	}
	record := newTenantStats(f.tenant, state)
	record.Sweep = &sweepSum{
		Tenants: health.Tenants, Pending: health.Pending, OldestPending: orNull(health.OldestPending), OldestAge: health.OldestAge.Seconds(),
	}
	return f.output.printOne(out, record, append(record.columns(),
		[2]string{"pending in all tenants", grouped(health.Pending)},
		[2]string{"the oldest for", health.OldestAge.Round(time.Second).String()}))
}

func (f *operatorFlags) statsOfAll(ctx context.Context, m *tokenstore.Manager, out io.Writer) error {
	return f.output.records(out, (&tenantStats{}).columns().heads(), func(p *printer) error {
		for name, err := range m.Tenants(ctx) {
			if err != nil {
				return err
			}
			tenant, err := m.Tenant(name, nil)
			if err != nil {
				return err
			}
			state, err := tenant.State(ctx)
			if err != nil {
				return err
			}
			record := newTenantStats(name, state)
			if err := p.print(record, record.columns().values()...); err != nil {
				return err
			}
		}
		return nil
	})
}
