package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/exp/apidiff"
	"golang.org/x/tools/go/packages"
)

// incompatible are the changes of a module's API that break its callers. A module that was not there before has none.
func incompatible(ctx context.Context, before, after string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(before, "go.mod")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	was, err := load(ctx, before)
	if err != nil {
		return nil, err
	}
	is, err := load(ctx, after)
	if err != nil {
		return nil, err
	}
	var changes []string
	for _, change := range apidiff.ModuleChanges(was, is).Changes {
		if !change.Compatible {
			changes = append(changes, strings.Join(strings.Fields(change.Message), " "))
		}
	}
	slices.Sort(changes)
	return changes, nil
}

// load loads what others can import of a module.
func load(ctx context.Context, dir string) (*apidiff.Module, error) {
	loaded, err := packages.Load(&packages.Config{
		Context: ctx, Dir: dir, Env: append(os.Environ(), "GOWORK=off"),
		Mode: packages.NeedName | packages.NeedTypes | packages.NeedModule | packages.NeedImports | packages.NeedExportFile,
	}, "./...")
	if err != nil {
		return nil, err
	}
	m := &apidiff.Module{}
	var failed error
	for _, p := range loaded {
		for _, err := range p.Errors {
			failed = errors.Join(failed, err)
		}
		if len(p.Errors) > 0 || p.Name == "main" || slices.Contains(strings.Split(p.PkgPath, "/"), "internal") {
			continue
		}
		m.Path = p.Module.Path
		m.Packages = append(m.Packages, p.Types)
	}
	return m, failed
}
