// Apicompat compares the API of the modules that ship with that of the last tag, by golang.org/x/exp/apidiff.
//
//	go run ./apicompat [-root dir]
//
// An incompatible change is an error, unless the part "Unreleased" of CHANGELOG.md has it, in the words of the report between
// backquotes, so that nobody breaks callers unawares, and those who are broken can read it. Before the first tag of the form v1.2.3 there is
// nothing to compare with: the last line is then "NOT RUN: …", and the exit status 0.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.com/tokenstore/tools/internal/repo"
	"golang.org/x/mod/semver"
)

// shipped are the modules that others import.
var shipped = []string{".", "pgstore", "etcdstore", "telemetry", "management/jwtbearer"}

func main() {
	repo.Main("apicompat", func(ctx context.Context, root string) error { return check(ctx, os.Stdout, root, shipped) })
}

// errBroken is of a change that breaks callers and is not announced.
var errBroken = errors.New("an incompatible change that CHANGELOG.md does not have under \"Unreleased\"")

func check(ctx context.Context, out io.Writer, root string, shipped []string) error {
	tags, err := repo.Run(ctx, root, nil, "git", "tag", "--list", "v[0-9]*.[0-9]*.[0-9]*", "--merged", "HEAD")
	if err != nil {
		return err
	}
	tag := latest(strings.Fields(tags))
	if tag == "" {
		fmt.Fprintln(out, "NOT RUN: no tag yet, so there is nothing to compare with")
		return nil
	}
	announced, err := unreleased(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	before, err := os.MkdirTemp("", "apicompat")
	if err != nil {
		return err
	}
	defer os.RemoveAll(before)
	if _, err := repo.Run(ctx, root, nil, "git", "-c", "core.hooksPath="+os.DevNull, "clone", "-q", "--no-local", "--no-checkout", ".", before); err != nil {
		return err
	}
	if _, err := repo.Run(ctx, before, nil, "git", "-c", "advice.detachedHead=false", "checkout", "-q", tag); err != nil {
		return err
	}
	var failed error
	for _, dir := range shipped {
		changes, err := incompatible(ctx, filepath.Join(before, dir), filepath.Join(root, dir))
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		for _, change := range changes {
			if strings.Contains(announced, "`"+change+"`") {
				fmt.Fprintf(out, "%s: announced: %s\n", dir, change)
				continue
			}
			failed = errors.Join(failed, fmt.Errorf("%s: `%s`: %w", dir, change, errBroken))
		}
	}
	if failed == nil {
		fmt.Fprintf(out, "compatible with %s, but for what is announced\n", tag)
	}
	return failed
}

// latest is the tag of the latest version, by the order of semantic versioning, in which v1.0.0-rc1 comes before v1.0.0; "" without any.
func latest(tags []string) string {
	tags = slices.DeleteFunc(tags, func(tag string) bool { return !semver.IsValid(tag) })
	if len(tags) == 0 {
		return ""
	}
	return slices.MaxFunc(tags, semver.Compare)
}

// unreleased is that part of a changelog, without line breaks.
func unreleased(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	_, part, found := strings.Cut(string(text), "\n## Unreleased\n")
	if !found {
		return "", fmt.Errorf("%s has no part \"## Unreleased\"", filepath.Base(file))
	}
	part, _, _ = strings.Cut(part, "\n## ")
	return strings.Join(strings.Fields(part), " "), nil
}
