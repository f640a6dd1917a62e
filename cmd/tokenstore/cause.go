package main

import (
	"os/user"

	"example.com/tokenstore/domain"
	"github.com/spf13/pflag"
)

// causeFlags say why something is done, and who asks for it.
type causeFlags struct{ reason, actor string }

func (f *causeFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.reason, "reason", "", "why, for people")
	flags.StringVar(&f.actor, "actor", "", "who asks for it (default the account that runs the command)")
}

// by is who asks: nobody by name where the system does not know its own account.
func (f *causeFlags) by() string {
	if f.actor != "" {
		return f.actor
	}
	account, err := user.Current()
	if err != nil {
		return ""
	}
	return account.Username
}

func (f *causeFlags) check() error {
	if err := domain.CheckReason(f.reason); err != nil {
		return usage("--reason: %w", err)
	}
	if err := domain.CheckActor(f.by()); err != nil {
		return usage("--actor: %w", err)
	}
	return nil
}
