package main

import (
	"os/user"

	"example.com/tokenstore/domain"
	"github.com/spf13/pflag"
)

// causeFlags say why something is done, and who asks for it.
type causeFlags struct{ reason, actor string }

func (f *causeFlags) register(flags *pflag.FlagSet) {
	account := ""
	if u, err := user.Current(); err == nil {
		account = u.Username
	}
	flags.StringVar(&f.reason, "reason", "", "why, for people")
	flags.StringVar(&f.actor, "actor", account, "who asks for it (default the account that runs the command)")
	flags.Lookup("actor").DefValue = "" // the help is the same for everybody
}

func (f *causeFlags) check() error {
	if err := domain.CheckReason(f.reason); err != nil {
		return usage("--reason: %w", err)
	}
	if err := domain.CheckActor(f.actor); err != nil {
		return usage("--actor: %w", err)
	}
	return nil
}
