package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// confirmFlags let a command that takes something away go on without being asked.
type confirmFlags struct{ yes bool }

func (f *confirmFlags) register(flags *pflag.FlagSet) {
	flags.BoolVarP(&f.yes, "yes", "y", false, "don't ask; required where there is no terminal to ask on")
}

// confirm returns nil if it may be done: after --yes, or after the answer yes to the question, which is asked on the terminal. The
// question comes from a function, since it may take a while to count what it is about.
func (f *confirmFlags) confirm(ctx context.Context, question func() (string, error)) error {
	if f.yes {
		return nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stderr.Fd())) {
		return usage("there is no terminal to ask on: --yes does it unasked. Nothing was done")
	}
	text, err := question()
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s yes/no: ", text)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n') // whatever fails is no yes
		answer <- line
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(os.Stderr)
	case line := <-answer:
		if strings.TrimSpace(line) == "yes" {
			return nil
		}
	}
	return usage("it was not answered by yes. Nothing was done")
}
