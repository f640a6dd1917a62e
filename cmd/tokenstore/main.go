// Command tokenstore serves the refresh tokens of one tenant, kept in a bbolt file, a PostgreSQL database or a cluster of etcd, over
// HTTP, and is what their operator lists, revokes and moves them with. docs/command.md and docs/serve.md describe it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The exit codes.
const (
	exitFailed   = 1 // exitFailed: what was asked for could not be done.
	exitUsage    = 2 // exitUsage: the command line can't be right, or a question was not answered by yes. Nothing was done.
	exitRefused  = 3 // exitRefused: an import went through, but some lines were refused.
	exitFound    = 4 // exitFound: check has found something, which was not repaired.
	exitNotFound = 5 // exitNotFound: there is nothing of that id.
)

// exitError is an error that ends the program with a code of its own.
type exitError struct {
	code int
	error
}

func (e exitError) Unwrap() error { return e.error }

// usage is an error of the command line.
func usage(format string, args ...any) error {
	return exitError{exitUsage, fmt.Errorf(format, args...)}
}

func main() {
	// The first signal asks the program to end; a second one ends it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	if err.Error() == context.Canceled.Error() { // joined with nothing else
		err = errors.New("interrupted")
	}
	fmt.Fprintln(os.Stderr, "tokenstore:", err)
	if e, ok := errors.AsType[exitError](err); ok {
		os.Exit(e.code)
	}
	os.Exit(exitFailed)
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "tokenstore",
		Short:         "Keep OAuth 2.0 refresh tokens, and revoke them",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return noneEmpty(cmd.Flags()) }
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exitError{exitUsage, err} })
	root.CompletionOptions.DisableDefaultCmd = true // ours has an example for each shell
	root.AddCommand(
		newServeCommand(), newListCommand(), newShowCommand(), newRevokeCommand(), newRevocationsCommand(), newEraseUserCommand(),
		newEventsCommand(), newStatsCommand(), newTenantsCommand(),
		newImportCommand(), newExportCommand(), newMigrateCommand(), newBackupCommand(), newRestoreCommand(), newCheckCommand(), newCompactCommand(),
		newCompletionCommand(), newVersionCommand(),
	)
	return root
}

// noneEmpty refuses a flag that was given without a text, as by a variable of a shell that is not set: it would not narrow a revocation.
func noneEmpty(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		texts := []string{f.Value.String()}
		if several, ok := f.Value.(pflag.SliceValue); ok {
			texts = several.GetSlice()
		}
		if slices.Contains(texts, "") {
			err = usage("--%s is empty", f.Name)
		}
	})
	return err
}

// noArgs repeats what should be a command, but nothing beside the flags of one, which may be a secret whose flag was forgotten.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasParent():
		return usage("%s takes flags only; see tokenstore %[1]s --help", cmd.Name())
	}
	return usage("%q is no command; see tokenstore --help", args[0])
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which version this is",
		Example: `  tokenstore version`,
		Args:    noArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			version := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
				version = info.Main.Version
			}
			fmt.Fprintln(cmd.OutOrStdout(), "tokenstore", version, runtime.Version())
		},
	}
}
