package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/store/storecheck"
	"github.com/spf13/cobra"
)

// fileFlags name a file that no process has open.
type fileFlags struct{ databaseFlags }

// check makes sure that there is a file. what says what other databases have in place of the command.
func (f *fileFlags) check(what string) error {
	if err := f.databaseFlags.check(); err != nil {
		return err
	}
	if f.scheme() != "" {
		return usage("%s", what)
	}
	_, err := os.Stat(f.name())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return usage("--db: there is no file %s", f.name())
	case err != nil:
		return usage("--db: %w", fileError(err))
	}
	return nil
}

// refused says why a file was left as it was, or how far the new one that has taken its place can be relied on.
func (f *fileFlags) refused(err error) error {
	switch {
	case errors.Is(err, boltstore.ErrLocked):
		return fmt.Errorf("%s is in use: end the process that holds it first", f.name())
	case errors.Is(err, boltstore.ErrUnsettled):
		return fmt.Errorf("%s is the new file, and whole, but a loss of power may bring back the old one, since the folder could not be synced: %w", f.name(), err)
	}
	return fmt.Errorf("%s is as it was: %w", f.name(), err)
}

type checkFlags struct {
	fileFlags
	confirmFlags
	repair bool
}

func newCheckCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check --db FILE|URL",
		Short: "Look whether a database is in order, and mend a file",
		Long: "check reads all of a file that no process has open, changes nothing, and prints what is wrong, one finding a line: damaged pages\n" +
			"and records; indexes, fence and counts that do not agree with the tokens and revocations. The exit code is 4 if there is any.\n" +
			"PostgreSQL and etcd are asked, while others use them: whether each token is the same by its id and in all lists, and is refused if it\n" +
			"is revoked; whether counts agree. What lies beneath that, their own tools tell.\n\n" +
			"--repair makes the indexes, the fence and the counts anew, in another file, which takes the place of the damaged one once it is\n" +
			"checked and on the disk. The damaged one is kept; its name is printed. No token, revocation or event is left out: where one can't\n" +
			"be read nothing is repaired, it is named, and the exit code is 4. Then go back to a backup.",
		Example: `  tokenstore check --db tokens.db
  tokenstore check --db tokens.db --repair --yes`,
		Args: noArgs,
	}
	f.databaseFlags.register(cmd.Flags())
	f.confirmFlags.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.repair, "repair", false, "mend what can be made anew from the tokens and revocations")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if f.yes && !f.repair {
			return usage("--yes goes with --repair: without it nothing is changed")
		}
		if err := f.databaseFlags.check(); err != nil {
			return err
		}
		if f.scheme() != "" && !f.repair {
			return f.ask(cmd.Context(), cmd.OutOrStdout())
		}
		err := f.fileFlags.check("--repair is for a file: PostgreSQL makes its own indexes anew by REINDEX, and etcd has nothing to make anew; " +
			"what a record has lost is in a backup, or in an export that is imported into an empty database")
		if err != nil {
			return err
		}
		if f.repair {
			return f.mend(cmd.Context(), cmd.OutOrStdout())
		}
		return f.look(cmd.Context(), cmd.OutOrStdout())
	}
	return cmd
}

// ask asks a server for all that it holds.
func (f *checkFlags) ask(ctx context.Context, out io.Writer) (err error) {
	database, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	looking := newBar("checking", -1)
	report, err := storecheck.Check(ctx, database, &storecheck.Options{Progress: func(r storecheck.Report) { looking.reach(int64(r.Tokens)) }})
	looking.done()
	for _, finding := range report.Findings {
		fmt.Fprintln(out, finding)
	}
	switch {
	case err != nil:
		return fmt.Errorf("the check stopped after %s tokens: %w", grouped(report.Tokens), err)
	case len(report.Findings) > 0:
		return exitError{exitFound, errors.New("the database is not in order")}
	}
	fmt.Fprintf(os.Stderr, "the database is in order: %s tokens of %d tenants, of which %s are revoked and %s expired, and wait to be removed\n",
		grouped(report.Tokens), report.Tenants, grouped(report.Covered), grouped(report.Expired))
	if report.Changed > 0 {
		fmt.Fprintf(os.Stderr, "%d tenants were written to meanwhile: what they count was not compared\n", report.Changed)
	}
	return nil
}

func (f *checkFlags) look(ctx context.Context, out io.Writer) error {
	findings, err := boltstore.CheckFile(ctx, f.name(), nil)
	if err != nil {
		return f.refused(err)
	}
	return f.found(out, findings)
}

// found prints findings, and is an error if there are any.
func (f *checkFlags) found(out io.Writer, findings []string) error {
	for _, finding := range findings {
		fmt.Fprintln(out, finding)
	}
	if len(findings) > 0 {
		return exitError{exitFound, fmt.Errorf("%s is not in order", f.name())}
	}
	fmt.Fprintln(os.Stderr, f.name(), "is in order")
	return nil
}

func (f *checkFlags) mend(ctx context.Context, out io.Writer) error {
	question := func() (string, error) { return "make " + f.name() + " anew if it is not in order?", nil }
	if err := f.confirm(ctx, question); err != nil {
		return err
	}
	done, err := boltstore.Repair(ctx, f.name(), nil)
	damage, _ := errors.AsType[*boltstore.DamageError](err)
	switch {
	case errors.Is(err, boltstore.ErrBeyondRepair) && damage != nil:
		for _, finding := range damage.Findings {
			fmt.Fprintln(out, finding)
		}
		return exitError{exitFound, fmt.Errorf("%s is beyond repair, and as it was: what is named is nowhere else in it. Go back to a backup", f.name())}
	case err != nil:
		return f.refused(err)
	case len(done.Findings) == 0:
		return f.found(out, nil)
	}
	for _, finding := range done.Findings {
		fmt.Fprintln(out, finding)
	}
	fmt.Fprintf(os.Stderr, "repaired %s, %d bytes; the damaged file is %s, %d bytes\n", f.name(), done.After, done.Kept, done.Before)
	return nil
}
