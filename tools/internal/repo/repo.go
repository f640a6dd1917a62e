// Package repo looks at a repository of Go modules, as git has it, for the programs that do so.
package repo

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"strings"
)

// Main is the main function of a program that looks at the repository which the flag -root names. It ends the process by 1 if that fails.
func Main(name string, look func(ctx context.Context, root string) error) {
	root := flag.String("root", "..", "the repository")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := look(ctx, *root); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

// Run runs a program in a folder, outside of any workspace, and returns what it prints. Its errors have what it says on stderr.
func Run(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

// Files are all files that are not ignored, committed or not, by their paths with slashes.
func Files(ctx context.Context, root string) ([]string, error) {
	out, err := Run(ctx, root, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(out, func(r rune) bool { return r == 0 }), nil
}

// Modules are the folders of all modules.
func Modules(ctx context.Context, root string) ([]string, error) {
	files, err := Files(ctx, root)
	if err != nil {
		return nil, err
	}
	var modules []string
	for _, file := range files {
		if path.Base(file) == "go.mod" {
			modules = append(modules, path.Dir(file))
		}
	}
	if len(modules) == 0 {
		return nil, fmt.Errorf("%s has no go.mod", root)
	}
	return modules, nil
}
