package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"example.com/tokenstore"
	"example.com/tokenstore/revocation"
	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"
)

// listFlags say which tokens are listed.
type listFlags struct {
	operatorFlags
	limitFlags
	user, client, session, after string
	fenced                       bool
}

func newListCommand() *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:   "list --db FILE|URL",
		Short: "List tokens",
		Long: "list prints tokens by ascending id, which is about the order in which they were created. It leaves out what is revoked, also\n" +
			"where the sweep has not come to it yet: with --fenced=false that is shown, too.",
		Example: `  tokenstore list --db tokens.db --user 'auth0|kiosk'
  tokenstore list --db tokens.db --client web --limit 10 --output json
  tokenstore list --db tokens.db --all --fenced=false --output ndjson`,
		Args: noArgs,
	}
	flags := cmd.Flags()
	f.operatorFlags.register(flags, formTable)
	f.limitFlags.register(flags)
	flags.StringVar(&f.user, "user", "", "those of the user `ID`")
	flags.StringVar(&f.client, "client", "", "those of the client `ID`; without --user and --session all tokens have to be read for it")
	flags.StringVar(&f.session, "session", "", "those that the session `ID` created")
	flags.StringVar(&f.after, "after", "", "go on after the token `ID`")
	flags.BoolVar(&f.fenced, "fenced", true, "leave out what is revoked and not yet swept")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		after, err := f.check()
		if err != nil {
			return err
		}
		return f.withKnown(cmd.Context(), revocation.Options{}, func(m *tokenstore.Manager) error {
			return f.list(cmd.Context(), m, after, cmd.OutOrStdout())
		})
	}
	return cmd
}

// check returns where the list begins.
func (f *listFlags) check() (after ulid.ULID, err error) {
	if err := f.operatorFlags.check(); err != nil {
		return after, err
	}
	if err := f.limitFlags.check(); err != nil {
		return after, err
	}
	if err := f.target().Validate(); f.target() != (tokenstore.Target{}) && err != nil {
		return after, usage("%w", err)
	}
	if f.after == "" {
		return after, nil
	}
	return parseID("--after", f.after)
}

// target is what the filters come to.
func (f *listFlags) target() tokenstore.Target {
	return tokenstore.Target{UserID: f.user, ClientID: f.client, SessionID: f.session}
}

func (f *listFlags) list(ctx context.Context, m *tokenstore.Manager, after ulid.ULID, out io.Writer) error {
	request := tokenstore.ListRequest{UserID: f.user, ClientID: f.client, SessionID: f.session, After: after, Limit: 100}
	if f.user == "" && f.session == "" {
		request.ClientID = "" // no index has the tokens of a client
	}
	if f.fenced {
		request.Consistency = tokenstore.Fenced
	}
	heads := []string{"ID", "USER", "CLIENT", "SESSION", "CREATED", "EXPIRES", "LAST EXCHANGED"}
	return f.output.records(out, heads, func(p *printer) error {
		for token, err := range m.All(ctx, request) {
			switch {
			case err != nil:
				return err
			case f.client != "" && token.ClientID != f.client:
				continue
			case f.reached(p.printed):
				fmt.Fprintf(os.Stderr, "there are more: --after %s, or --all\n", after)
				return nil
			}
			after = token.ID
			session, _ := token.SessionID.Get()
			err = p.print(token, token.ID.String(), token.UserID, token.ClientID, session,
				instant(token.CreatedAt), instant(token.ExpiresAt), instant(token.LastExchangedAt))
			if err != nil {
				return err
			}
		}
		return nil
	})
}
