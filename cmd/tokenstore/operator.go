package main

import (
	"github.com/spf13/pflag"
)

// operatorFlags are those of the commands that print records of a tenant.
type operatorFlags struct {
	tenantFlags
	output outputFlags
}

func (f *operatorFlags) register(flags *pflag.FlagSet, form string) {
	f.tenantFlags.register(flags)
	f.output.register(flags, form)
}

func (f *operatorFlags) check() error {
	if err := f.tenantFlags.check(); err != nil {
		return err
	}
	return f.output.check()
}

// limitFlags bound how many records are printed.
type limitFlags struct {
	limit int
	all   bool
}

// defaultLimit is how many records are printed unless it is said otherwise.
const defaultLimit = 50

func (f *limitFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&f.limit, "limit", defaultLimit, "print no more than `N` records")
	flags.BoolVar(&f.all, "all", false, "print them all")
	excludes(flags, "limit", "all")
}

func (f *limitFlags) check() error {
	if f.limit < 1 {
		return usage("--limit must be at least 1")
	}
	return nil
}

// reached reports whether no more are to be printed after so many.
func (f *limitFlags) reached(printed int) bool { return !f.all && printed >= f.limit }
