package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"example.com/tokenstore"
	"example.com/tokenstore/revocation"
	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"
)

// revokeFlags say what is revoked.
type revokeFlags struct {
	recordFlags
	legacyFlags
	tokens                          []string
	user, client, session, audience string
	issuedBefore, offline           string
	legacy, everything, dryRun      bool
	examine                         int
}

func newRevokeCommand() *cobra.Command {
	var f revokeFlags
	cmd := &cobra.Command{
		Use:   "revoke --db FILE|URL --user ID",
		Short: "Revoke tokens",
		Long: "revoke records a revocation. Once it has ended by 0, what is named is refused, and so is what is issued for a login of before.\n" +
			"Flags that name something narrow each other: --user and --client are the tokens of that user with that client. serve\n" +
			"sweeps the records away, or --wait does. It asks before, unless --yes is given.",
		Example: `  tokenstore revoke --db tokens.db --user 'auth0|kiosk' --dry-run
  tokenstore revoke --db tokens.db --user 'auth0|kiosk' --client web --reason 'kiosk stolen' --yes
  tokenstore revoke --db tokens.db --token 01HPWVYJZ808DT7EJB5DEGYF84 --token 01HPWVYJZ808DT7EJB5DEGYF85 --yes
  tokenstore revoke --db tokens.db --audience https://api.example.com/ --issued-before 2024-03-01 --offline no --wait --yes
  tokenstore revoke --db tokens.db --everything --id 01KJM9SR009WPFZ1FJR8TC7J5X --wait --yes --output json`,
		Args: noArgs,
	}
	flags := cmd.Flags()
	f.recordFlags.register(flags)
	f.legacyFlags.register(flags)
	flags.StringArrayVar(&f.tokens, "token", nil, "the token `ID`; can be repeated, for up to 100")
	flags.StringVar(&f.user, "user", "", "tokens of the user `ID`")
	flags.StringVar(&f.client, "client", "", "tokens of the client `ID`")
	flags.StringVar(&f.session, "session", "", "tokens that the session `ID` created")
	flags.StringVar(&f.audience, "audience", "", "tokens for the `AUDIENCE`, be it with others")
	flags.StringVar(&f.issuedBefore, "issued-before", "", "tokens created before `DATE`: 2006-01-02, or with a time as in RFC 3339")
	flags.BoolVar(&f.legacy, "legacy", false, "tokens without a session id from before the cut-off; see --region")
	flags.StringVar(&f.offline, "offline", "", "`yes`: tokens with offline access; no: tokens without")
	flags.BoolVar(&f.everything, "everything", false, "all tokens of the tenant; nothing narrows it")
	flags.BoolVar(&f.dryRun, "dry-run", false, "count what would be revoked, and revoke nothing")
	flags.IntVar(&f.examine, "examine", 1_000_000, "with --dry-run, look at no more than `N` tokens")
	needs(flags, "examine", "dry-run")
	needs(flags, "region", "legacy")
	needs(flags, "legacy-cutoff", "legacy")
	excludes(flags, "dry-run", "wait", "yes", "new-tenant") // what they ask for would not be done
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := f.check()
		if err != nil {
			return err
		}
		if f.dryRun {
			return f.preview(cmd.Context(), cmd.OutOrStdout(), r.Targets)
		}
		question := func(tokens string) string { return fmt.Sprintf("revoke %s (%s)?", tokens, describe(r.Targets)) }
		return f.record(cmd.Context(), cmd.OutOrStdout(), r, question, func(ctx context.Context, m *tokenstore.Manager) (tokenstore.Receipt, error) {
			return m.Revoke(ctx, r)
		})
	}
	return cmd
}

func (f *revokeFlags) check() (r tokenstore.RevokeRequest, err error) {
	target := tokenstore.Target{UserID: f.user, ClientID: f.client, SessionID: f.session, Audience: f.audience, Everything: f.everything}
	if f.issuedBefore != "" {
		if target.IssuedBefore, err = parseDate("issued-before", f.issuedBefore); err != nil {
			return r, err
		}
	}
	if f.legacy {
		rule, err := f.rule()
		if err != nil {
			return r, err
		}
		target.LegacyBefore = rule.At()
	}
	switch f.offline {
	case "":
	case "yes":
		target.Offline = tokenstore.OfflineYes
	case "no":
		target.Offline = tokenstore.OfflineNo
	default:
		return r, usage("--offline: yes or no")
	}
	if f.examine < 1 {
		return r, usage("--examine must be at least 1")
	}
	targets := []tokenstore.Target{target}
	for i, text := range f.tokens {
		if target.TokenID, err = parseID("--token", text); err != nil {
			return r, err
		}
		targets = append(targets[:i], target)
	}
	return f.recordFlags.check(targets)
}

// previewed is what a dry run prints.
type previewed struct {
	Targets  []tokenstore.Target `json:"targets"`
	Matched  int                 `json:"matched"`
	Complete bool                `json:"complete"`
	Examined int                 `json:"examined"`
	Examples []ulid.ULID         `json:"examples"`
}

// preview counts what would be revoked.
func (f *revokeFlags) preview(ctx context.Context, out io.Writer, targets []tokenstore.Target) error {
	return f.withKnown(ctx, revocation.Options{}, func(m *tokenstore.Manager) error {
		p, err := m.Preview(ctx, targets, f.examine)
		if err != nil {
			return err
		}
		record := previewed{Targets: targets, Matched: p.Matched, Complete: p.Complete, Examined: p.Examined, Examples: []ulid.ULID{}}
		if p.Matched > 0 {
			if record.Examples, err = examples(ctx, m, targets, f.examine); err != nil {
				return err
			}
		}
		var ids []string
		for _, id := range record.Examples {
			ids = append(ids, id.String())
		}
		return f.output.printOne(out, record, columns{
			{"would revoke", tokens(p)}, {"targets", describe(targets)}, {"examined", grouped(p.Examined)}, {"examples", strings.Join(ids, " ")},
		})
	})
}

// maxExamples is how many tokens a dry run names.
const maxExamples = 5

// examples are the ids of some tokens that the targets name, out of the first that are looked at. The targets are the same, but for
// the tokens that they name by id.
func examples(ctx context.Context, m *tokenstore.Manager, targets []tokenstore.Target, examine int) ([]ulid.ULID, error) {
	ids := []ulid.ULID{}
	if first := targets[0]; first.TokenID.IsZero() {
		request := tokenstore.ListRequest{UserID: first.UserID, SessionID: first.SessionID, Limit: 100, Consistency: tokenstore.Fenced}
		for token, err := range m.All(ctx, request) {
			if err != nil {
				return nil, err
			}
			if first.Matches(&token) {
				ids = append(ids, token.ID)
			}
			if examine--; examine == 0 || len(ids) == maxExamples {
				break
			}
		}
		return ids, nil
	}
	for _, target := range targets {
		token, err := m.Get(ctx, target.TokenID, tokenstore.Fenced)
		switch {
		case errors.Is(err, tokenstore.ErrNotFound):
			continue
		case err != nil:
			return nil, err
		}
		if target.Matches(&token) && len(ids) < maxExamples {
			ids = append(ids, token.ID)
		}
	}
	return ids, nil
}
