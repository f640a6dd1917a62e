// Command tokenstore serves the refresh tokens of one tenant, kept in a bbolt file, a PostgreSQL database or a cluster of etcd, over
// HTTP, and is what their operator lists, revokes and moves them with. docs/command.md and docs/serve.md describe it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
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
	exitNotFound = 5 // exitNotFound: there is nothing of that id, or no such tenant.
)

// exitError is an error that ends the program with a code of its own.
type exitError struct {
	code int
	error
}

func (e exitError) Unwrap() error { return e.error }

// isCode reports whether an error ends the program with the code.
func isCode(err error, code int) bool {
	e, is := errors.AsType[exitError](err)
	return is && e.code == code
}

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
	fmt.Fprintln(os.Stderr, "tokenstore:", message(err))
	if e, ok := errors.AsType[exitError](err); ok {
		os.Exit(e.code)
	}
	os.Exit(exitFailed)
}

// message is the text of an error. Where those of the library begin by the name of the program, that is left out: it is said once. What
// is canceled here was interrupted by a signal.
func message(err error) string {
	const name = "tokenstore: "
	return strings.NewReplacer(": "+name, ": ", context.Canceled.Error(), "interrupted").Replace(strings.TrimPrefix(err.Error(), name))
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
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return coherent(cmd.Flags()) }
	root.SetFlagErrorFunc(flagError)
	root.SuggestionsMinimumDistance = 2             // two letters that have changed places
	root.CompletionOptions.DisableDefaultCmd = true // ours has an example for each shell
	root.AddCommand(
		newServeCommand(), newListCommand(), newShowCommand(), newRevokeCommand(), newRevocationsCommand(), newEraseUserCommand(),
		newEventsCommand(), newStatsCommand(), newTenantsCommand(),
		newImportCommand(), newExportCommand(), newMigrateCommand(), newBackupCommand(), newRestoreCommand(), newCheckCommand(), newCompactCommand(),
		newCompletionCommand(), newVersionCommand(),
	)
	for _, cmd := range root.Commands() {
		giveOnce(cmd.Flags())
	}
	return root
}

// noArgs repeats what should be a command, but nothing beside the flags of one, which may be a secret whose flag was forgotten.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasParent():
		return usage("%s takes flags only; see tokenstore %[1]s --help", cmd.Name())
	}
	near := ""
	if all := cmd.SuggestionsFor(args[0]); len(all) > 0 {
		near = ", but " + strings.Join(all, " or ") + " is"
	}
	return usage("%q is no command%s; see tokenstore --help", args[0], near)
}

// flagError says what is wrong with a flag, without its value, which may be a secret that has come to the wrong place. Of what should
// have been a command that is said first, since it has no flags.
func flagError(cmd *cobra.Command, err error) error {
	if flags := cmd.Flags(); !cmd.HasParent() && flags.NArg() > 0 {
		return noArgs(cmd, flags.Args())
	}
	invalid, is := errors.AsType[*pflag.InvalidValueError](err)
	if !is {
		return exitError{exitUsage, err}
	}
	if errors.Is(err, errTwice) {
		return usage("--%s has two texts, and can have one", invalid.GetFlag().Name)
	}
	form, known := map[string]string{
		"int": "a whole number", "float64": "a number", "duration": "a time such as 90s, 5m or 24h", "bool": "true or false",
	}[invalid.GetFlag().Value.Type()]
	if !known {
		form = "what tokenstore " + cmd.Name() + " --help says"
	}
	return usage("--%s: must be %s", invalid.GetFlag().Name, form)
}

// fileError is an error of a file, by its name and the reason alone.
func fileError(err error) error {
	if p, is := errors.AsType[*fs.PathError](err); is {
		return fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return err
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
