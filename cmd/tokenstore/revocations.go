package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/revocation"
	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"
)

// revocationsFlags say which revocations are listed.
type revocationsFlags struct {
	operatorFlags
	limitFlags
	pending bool
}

func newRevocationsCommand() *cobra.Command {
	var f revocationsFlags
	cmd := &cobra.Command{
		Use:   "revocations --db FILE|URL [ID]",
		Short: "List revocations, or show one",
		Long: "revocations prints those that are pending, whose tokens are refused and not all swept, and then those that are retired and still\n" +
			"remembered; or the one of an id. The exit code is 5 for one that is not there, or forgotten.",
		Example: `  tokenstore revocations --db tokens.db --pending
  tokenstore revocations --db tokens.db --all --output json
  tokenstore revocations --db tokens.db 01KJM9SR009WPFZ1FJR8TC7J5W`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return oneID(cmd, args)
		},
	}
	flags := cmd.Flags()
	f.operatorFlags.register(flags, formTable)
	f.limitFlags.register(flags)
	flags.BoolVar(&f.pending, "pending", false, "only those that are pending")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.operatorFlags.check(); err != nil {
			return err
		}
		if err := f.limitFlags.check(); err != nil {
			return err
		}
		show := f.list
		if len(args) == 1 {
			for _, name := range []string{"pending", "limit", "all"} {
				if given(cmd.Flags(), name) {
					return usage("--%s and an ID exclude each other: an ID names one revocation, whatever its state", name)
				}
			}
			id, err := parseID("revocations", args[0])
			if err != nil {
				return err
			}
			show = func(ctx context.Context, m *tokenstore.Manager, out io.Writer) error { return f.one(ctx, m, id, out) }
		}
		return f.withKnown(cmd.Context(), revocation.Options{}, func(m *tokenstore.Manager) error {
			return show(cmd.Context(), m, cmd.OutOrStdout())
		})
	}
	return cmd
}

// revocationRecord is a revocation as it is printed: as the management API shows it.
type revocationRecord struct {
	ID           ulid.ULID           `json:"id"`
	State        string              `json:"state"`
	Targets      []tokenstore.Target `json:"targets"`
	Reason       string              `json:"reason"`
	Actor        string              `json:"actor"`
	Erases       bool                `json:"erases"`
	CreatedAt    time.Time           `json:"created_at"`
	RetiredAt    *time.Time          `json:"retired_at"`
	Examined     uint64              `json:"examined"`
	Swept        uint64              `json:"swept"`
	SupersededBy *ulid.ULID          `json:"superseded_by"`
}

func newRevocationRecord(s *tokenstore.Status) revocationRecord {
	r := revocationRecord{
		ID: s.Tombstone.ID, State: "pending", Targets: s.Tombstone.Targets, Reason: s.Tombstone.Reason, Actor: s.Tombstone.Actor,
		Erases: s.Tombstone.Erases, CreatedAt: s.Tombstone.Time.UTC(), Examined: s.Examined, Swept: s.Swept,
	}
	if s.Retired {
		at := s.RetiredAt.UTC()
		r.State, r.RetiredAt = "retired", &at
	}
	if !s.SupersededBy.IsZero() {
		r.SupersededBy = &s.SupersededBy
	}
	return r
}

// columns are those of a table, with a value each.
func (r *revocationRecord) columns() columns {
	var retired, superseded string
	if r.RetiredAt != nil {
		retired = instant(*r.RetiredAt)
	}
	if r.SupersededBy != nil {
		superseded = r.SupersededBy.String()
	}
	return columns{
		{"id", r.ID.String()}, {"state", r.State}, {"created", instant(r.CreatedAt)}, {"retired", retired}, {"examined", fmt.Sprint(r.Examined)},
		{"swept", fmt.Sprint(r.Swept)}, {"superseded by", superseded}, {"targets", describe(r.Targets)}, {"erases", fmt.Sprint(r.Erases)},
		{"reason", r.Reason}, {"actor", r.Actor},
	}
}

// revocations walks the pending or the retired revocations.
func revocations(ctx context.Context, m *tokenstore.Manager, retired bool) iter.Seq2[tokenstore.Status, error] {
	return func(yield func(tokenstore.Status, error) bool) {
		request := tokenstore.RevocationsRequest{Retired: retired, Limit: 100}
		for {
			page, err := m.Revocations(ctx, request)
			if err != nil {
				yield(tokenstore.Status{}, err)
				return
			}
			for _, status := range page.Revocations {
				if !yield(status, nil) {
					return
				}
			}
			if request.After = page.Next; request.After.IsZero() {
				return
			}
		}
	}
}

func (f *revocationsFlags) list(ctx context.Context, m *tokenstore.Manager, out io.Writer) error {
	return f.output.records(out, (&revocationRecord{}).columns().heads(), func(p *printer) error {
		for _, retired := range []bool{false, true} {
			if retired && f.pending {
				break
			}
			for status, err := range revocations(ctx, m, retired) {
				if err != nil {
					return err
				}
				if f.reached(p.printed) {
					fmt.Fprintln(os.Stderr, "there are more: a larger --limit, or --all")
					return nil
				}
				record := newRevocationRecord(&status)
				if err := p.print(record, record.columns().values()...); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (f *operatorFlags) one(ctx context.Context, m *tokenstore.Manager, id ulid.ULID, out io.Writer) error {
	status, err := m.Revocation(ctx, id)
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		return exitError{exitNotFound, fmt.Errorf("there is no revocation %s: it has never been recorded, or it is forgotten", id)}
	case err != nil:
		return err
	}
	return f.printRevocation(out, &status)
}

func (f *operatorFlags) printRevocation(out io.Writer, status *tokenstore.Status) error {
	record := newRevocationRecord(status)
	return f.output.printOne(out, record, record.columns())
}

// describe says in words what targets name.
func describe(targets []tokenstore.Target) string {
	var all []string
	for _, t := range targets {
		all = append(all, describeOne(&t))
	}
	if more := len(all) - 3; more > 0 {
		all = append(all[:3], fmt.Sprintf("%d more", more))
	}
	return strings.Join(all, "; ")
}

func describeOne(t *tokenstore.Target) string {
	if t.Everything {
		return "everything"
	}
	var parts []string
	for _, part := range [][2]string{
		{"token", idOrNone(t.TokenID)}, {"user", t.UserID}, {"client", t.ClientID}, {"session", t.SessionID}, {"audience", t.Audience},
		{"issued before", exactly(t.IssuedBefore)}, {"without a session, from before", exactly(t.LegacyBefore)},
	} {
		if part[1] != "" {
			parts = append(parts, part[0]+" "+cell(part[1]))
		}
	}
	switch t.Offline {
	case tokenstore.OfflineYes:
		parts = append(parts, "with offline access")
	case tokenstore.OfflineNo:
		parts = append(parts, "without offline access")
	}
	return strings.Join(parts, ", ")
}

// exactly is a time to its last digit.
func exactly(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
