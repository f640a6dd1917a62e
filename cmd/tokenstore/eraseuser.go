package main

import (
	"context"
	"fmt"

	"example.com/tokenstore"
	"github.com/spf13/cobra"
)

func newEraseUserCommand() *cobra.Command {
	var f recordFlags
	var name string
	cmd := &cobra.Command{
		Use:   "erase-user --db FILE|URL --user ID",
		Short: "Forget a user",
		Long: "erase-user revokes all tokens of a user, and has everything that is remembered of the user removed, or put under a pseudonym: the\n" +
			"tokens, the names in earlier revocations, and the events of the feed. serve does that in the background, or --wait does.\n" +
			"Backups of before still hold the user. It asks before, unless --yes is given.",
		Example: `  tokenstore erase-user --db tokens.db --user 'auth0|kiosk' --wait --yes`,
		Args:    noArgs,
	}
	f.register(cmd.Flags())
	cmd.Flags().StringVar(&name, "user", "", "the user `ID` (required)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if name == "" {
			return usage("--user is required")
		}
		r, err := f.check([]tokenstore.Target{{UserID: name}})
		if err != nil {
			return err
		}
		question := func(tokens string) string { return fmt.Sprintf("erase user %s, with %s?", cell(name), tokens) }
		return f.record(cmd.Context(), cmd.OutOrStdout(), r, question, func(ctx context.Context, m *tokenstore.Manager) (tokenstore.Receipt, error) {
			return m.Erase(ctx, tokenstore.EraseRequest{ID: r.ID, UserID: name, Reason: r.Reason, Actor: r.Actor})
		})
	}
	return cmd
}
