package main

import (
	"cmp"
	"fmt"
	"os"

	"example.com/tokenstore/pgstore"
	"github.com/spf13/cobra"
)

func newMigrateCommand() *cobra.Command {
	var f databaseFlags
	cmd := &cobra.Command{
		Use:   "migrate --db postgres://USER@HOST/NAME",
		Short: "Prepare a PostgreSQL database, or bring it to this version",
		Long: "migrate makes the tables that this version needs, each version in a transaction, and says which\n" +
			"version that is; it changes nothing where that has been done. No other command does: it takes an\n" +
			"account that may create tables, and a moment that its operator has chosen.",
		Example: `  tokenstore migrate --db postgres://owner@localhost/tokens`,
		Args:    noArgs,
	}
	f.registerPlace(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		if f.scheme() != "postgres" {
			return usage("migrate is for --db postgres://: a file is made, and kept up, by whatever opens it")
		}
		if err := pgstore.Migrate(cmd.Context(), f.name(), &f.postgres); err != nil {
			return fmt.Errorf("the database is as it was: %w", err)
		}
		fmt.Fprintf(os.Stderr, "schema %s is at version %d\n", cmp.Or(f.postgres.Schema, pgstore.DefaultSchema), pgstore.Version())
		return nil
	}
	return cmd
}
