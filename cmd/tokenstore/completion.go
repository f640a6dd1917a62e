package main

import (
	"io"

	"github.com/spf13/cobra"
)

func newCompletionCommand() *cobra.Command {
	shells := []string{"bash", "fish", "powershell", "zsh"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a script that completes the command in a shell",
		Long:  "completion prints the script for bash, fish, powershell or zsh: source it, or put it where the shell looks for such.",
		Example: `  tokenstore completion bash
  tokenstore completion fish
  tokenstore completion powershell
  tokenstore completion zsh`,
		ValidArgs: shells,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("completion takes the name of a shell: bash, fish, powershell or zsh")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			generate, ok := map[string]func(io.Writer) error{
				"bash":       func(w io.Writer) error { return cmd.Root().GenBashCompletionV2(w, true) },
				"fish":       func(w io.Writer) error { return cmd.Root().GenFishCompletion(w, true) },
				"powershell": cmd.Root().GenPowerShellCompletionWithDesc,
				"zsh":        cmd.Root().GenZshCompletion,
			}[args[0]]
			if !ok {
				return usage("completion takes the name of a shell: bash, fish, powershell or zsh")
			}
			return generate(cmd.OutOrStdout())
		},
	}
}
