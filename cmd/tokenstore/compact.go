package main

import (
	"context"
	"fmt"
	"io"

	"example.com/tokenstore/boltstore"
	"github.com/spf13/cobra"
)

type compactFlags struct {
	fileFlags
	confirmFlags
}

func newCompactCommand() *cobra.Command {
	var f compactFlags
	cmd := &cobra.Command{
		Use:   "compact --db FILE",
		Short: "Make a file as small as what it holds",
		Long: "compact copies a file that no process has open, without what has been deleted, and lets the copy take its place once it is\n" +
			"checked and on the disk. Until then the file stays as it was; the folder needs room for both. What was deleted is then in no\n" +
			"file any more, though its bytes may stay on the disk until they are used again.",
		Example: `  tokenstore compact --db tokens.db --yes`,
		Args:    noArgs,
	}
	f.databaseFlags.register(cmd.Flags())
	f.confirmFlags.register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := f.fileFlags.check("compact is for a file: PostgreSQL has VACUUM for it, etcd etcdctl compaction and etcdctl defrag")
		if err != nil {
			return err
		}
		return f.compact(cmd.Context(), cmd.OutOrStdout())
	}
	return cmd
}

func (f *compactFlags) compact(ctx context.Context, out io.Writer) error {
	question := func() (string, error) { return "let a copy take the place of " + f.name() + "?", nil }
	if err := f.confirm(ctx, question); err != nil {
		return err
	}
	done, err := boltstore.Compact(ctx, f.name(), nil)
	if err != nil {
		return f.refused(err)
	}
	fmt.Fprintf(out, "%d bytes before, %d after\n", done.Before, done.After)
	return nil
}
