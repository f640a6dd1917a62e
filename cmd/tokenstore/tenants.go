package main

import (
	"example.com/tokenstore"
	"example.com/tokenstore/revocation"
	"github.com/spf13/cobra"
)

func newTenantsCommand() *cobra.Command {
	var f operatorFlags
	cmd := &cobra.Command{
		Use:     "tenants --db FILE|URL",
		Short:   "List the tenants of a database",
		Example: `  tokenstore tenants --db tokens.db`,
		Args:    noArgs,
	}
	f.databaseFlags.register(cmd.Flags()) // and no tenant
	f.output.register(cmd.Flags(), formTable)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.databaseFlags.check(); err != nil {
			return err
		}
		if err := f.output.check(); err != nil {
			return err
		}
		return f.with(cmd.Context(), revocation.Options{}, func(m *tokenstore.Manager) error {
			return f.output.records(cmd.OutOrStdout(), []string{"TENANT"}, func(p *printer) error {
				for name, err := range m.Tenants(cmd.Context()) {
					if err != nil {
						return err
					}
					record := struct {
						Tenant string `json:"tenant"`
					}{name}
					if err := p.print(record, name); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	return cmd
}
