package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// credentials are NAME=VALUE pairs one half of which is secret. They come from flags, which other users of the machine can
// read in the process list, from a file, or from the environment.
type credentials struct {
	name  string // name is that of the flag
	env   string
	flags []string
	file  string
}

func (c *credentials) register(flags *pflag.FlagSet, form, help string) {
	flags.StringArrayVar(&c.flags, c.name, nil, help+": `"+form+"`; may be repeated; visible in the process list")
	flags.StringVar(&c.file, c.name+"-file", "", "read more of --"+c.name+" from `FILE`, one a line")
}

// all calls add with each pair, and says where it stands if it can't be taken. It never repeats what it has read.
func (c *credentials) all(add func(pair string) error) error {
	for i, pair := range c.flags {
		if err := add(pair); err != nil {
			return usage("--%s (number %d): %w", c.name, i+1, err)
		}
	}
	if err := eachLine(os.Getenv(c.env), add); err != nil {
		return usage("the environment's %s, %w", c.env, err)
	}
	if c.file == "" {
		return nil
	}
	text, err := os.ReadFile(c.file)
	if err != nil {
		return usage("--%s-file: %w", c.name, fileError(err))
	}
	if err := eachLine(string(text), add); err != nil {
		return usage("--%s-file %s, %w", c.name, c.file, err)
	}
	return nil
}

// eachLine calls f with each line that is not empty and does not begin with "#".
func eachLine(text string, f func(string) error) error {
	s := bufio.NewScanner(strings.NewReader(text))
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := f(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return s.Err()
}
