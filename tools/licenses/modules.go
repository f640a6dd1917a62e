package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"example.com/tokenstore/tools/internal/repo"
	"github.com/google/licensecheck"
)

// module is one that is linked in.
type module struct {
	path, version string
	licenses      []string // ascending
	in            []string // the modules that ship it
}

// goPackage is what go list says of a package.
type goPackage struct {
	Module *struct {
		Path, Version, Dir string
		Main               bool
		Replace            *struct{ Version string }
	}
}

// linked are the modules that the given ones link in, ascending by path. Those of the repository itself are left out.
func linked(ctx context.Context, root string, shipped []string) ([]module, error) {
	found := map[string]*module{}
	for _, dir := range shipped {
		for _, system := range systems {
			out, err := repo.Run(ctx, filepath.Join(root, dir), []string{"GOOS=" + system, "GOARCH=amd64", "CGO_ENABLED=0"},
				"go", "list", "-deps", "-json=Module", "./...")
			if err != nil {
				return nil, err
			}
			for dec := json.NewDecoder(strings.NewReader(out)); ; {
				var p goPackage
				if err := dec.Decode(&p); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					return nil, err
				}
				m := p.Module
				if m == nil || m.Main || m.Replace != nil && m.Replace.Version == "" { // the standard library, or ours
					continue
				}
				if found[m.Path] == nil {
					licenses, err := licensesIn(m.Dir)
					if err != nil {
						return nil, fmt.Errorf("%s: %w", m.Path, err)
					}
					found[m.Path] = &module{path: m.Path, version: m.Version, licenses: licenses}
				}
				if version := found[m.Path].version; version != m.Version && !strings.Contains(version, m.Version) {
					found[m.Path].version += ", " + m.Version
				}
				if !slices.Contains(found[m.Path].in, dir) {
					found[m.Path].in = append(found[m.Path].in, dir)
				}
			}
		}
	}
	var all []module
	for _, m := range found {
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b module) int { return cmp.Compare(a.path, b.path) })
	return all, nil
}

var licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([-.].*)?$`)

// unknown is the licence of a module whose text is none that is known.
const unknown = "unknown"

// licensesIn are the licences of a module, by the texts in its folder. A text that is largely none that is known is unknown.
func licensesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var licenses []string
	for _, entry := range entries {
		if !licenseFile.MatchString(entry.Name()) || entry.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		coverage := licensecheck.Scan(text)
		if coverage.Percent < 75 {
			licenses = append(licenses, unknown)
		}
		for _, match := range coverage.Match {
			if !match.IsURL {
				licenses = append(licenses, match.ID)
			}
		}
	}
	if len(licenses) == 0 {
		return []string{unknown}, nil
	}
	slices.Sort(licenses)
	return slices.Compact(licenses), nil
}
