package main

import (
	"errors"
	"slices"

	"github.com/spf13/pflag"
)

// The annotations of a flag: the names of flags that it does nothing without, and of those that contradict it.
const (
	needsAnnotation    = "needs"
	excludesAnnotation = "excludes"
)

// needs has a flag refused without another one, since it would be passed over.
func needs(flags *pflag.FlagSet, name, other string) { annotate(flags, needsAnnotation, name, other) }

// together has each of two flags refused without the other.
func together(flags *pflag.FlagSet, one, two string) {
	needs(flags, one, two)
	needs(flags, two, one)
}

// excludes has a flag refused beside each of others.
func excludes(flags *pflag.FlagSet, name string, others ...string) {
	annotate(flags, excludesAnnotation, name, others...)
}

func annotate(flags *pflag.FlagSet, key, name string, others ...string) {
	f := flags.Lookup(name)
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[key] = append(f.Annotations[key], others...)
}

// given reports whether a flag stands on the command line, and asks for something.
func given(flags *pflag.FlagSet, name string) bool {
	f := flags.Lookup(name)
	return f.Changed && (f.Value.Type() != "bool" || f.Value.String() == "true")
}

// coherent refuses what no command can be meant by: a flag without a text, as by a variable of a shell that is not set, which would
// not narrow a revocation; and one that would be passed over because of another.
func coherent(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) { // in the order of their names
		if err == nil {
			err = coherentFlag(flags, f)
		}
	})
	return err
}

func coherentFlag(flags *pflag.FlagSet, f *pflag.Flag) error {
	texts := []string{f.Value.String()}
	if several, ok := f.Value.(pflag.SliceValue); ok {
		texts = several.GetSlice()
	}
	if slices.Contains(texts, "") {
		return usage("--%s is empty", f.Name)
	}
	if !given(flags, f.Name) {
		return nil
	}
	for _, other := range f.Annotations[needsAnnotation] {
		if !given(flags, other) {
			return usage("--%s does nothing without --%s", f.Name, other)
		}
	}
	for _, other := range f.Annotations[excludesAnnotation] {
		if given(flags, other) {
			return usage("--%s and --%s exclude each other", f.Name, other)
		}
	}
	return nil
}

// errTwice is for another text of a flag that has room for one: the first would be passed over.
var errTwice = errors.New("given twice")

// once is the value of a flag that can be given once, or again with the same text.
type once struct {
	pflag.Value
	text *string
}

func (o *once) Set(text string) error {
	if o.text != nil && *o.text != text {
		return errTwice
	}
	o.text = &text
	return o.Value.Set(text)
}

// giveOnce has each flag that holds one text refused when it is given again with another.
func giveOnce(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if _, several := f.Value.(pflag.SliceValue); !several {
			f.Value = &once{Value: f.Value}
			if f.DefValue == "0s" { // the help leaves out what is no default by a type that it can't see now
				f.DefValue = ""
			}
		}
	})
}
