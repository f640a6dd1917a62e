// Reproducible builds cmd/tokenstore twice, as docs/serve.md says, from copies of the repository in two folders, and compares what comes
// out byte by byte.
//
//	go run ./reproducible [-root dir]
//
// The second build has a cache of its own, which is empty, so that it takes over nothing from the first.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"example.com/tokenstore/tools/internal/repo"
)

// flags are those of docs/serve.md.
var flags = []string{"-trimpath", "-buildvcs=false"}

func main() {
	repo.Main("reproducible", func(ctx context.Context, root string) error {
		return check(ctx, os.Stdout, root, "cmd/tokenstore", flags)
	})
}

var errDiffer = errors.New("two builds of the same source differ")

func check(ctx context.Context, out io.Writer, root, command string, flags []string) error {
	dir, err := os.MkdirTemp("", "reproducible")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var sums [2][sha256.Size]byte
	for i, place := range []string{"here", filepath.Join("somewhere", "else")} {
		copied := filepath.Join(dir, place)
		if err := copyFiles(ctx, root, copied); err != nil {
			return err
		}
		env := []string{"CGO_ENABLED=0"}
		if i == 1 {
			env = append(env, "GOCACHE="+filepath.Join(dir, "cache"))
		}
		binary := filepath.Join(dir, fmt.Sprintf("binary-%d", i))
		args := append(append([]string{"build"}, flags...), "-o", binary, ".")
		if _, err := repo.Run(ctx, filepath.Join(copied, filepath.FromSlash(command)), env, "go", args...); err != nil {
			return err
		}
		text, err := os.ReadFile(binary)
		if err != nil {
			return err
		}
		sums[i] = sha256.Sum256(text)
	}
	if sums[0] != sums[1] {
		return fmt.Errorf("%s: %w: %x and %x", command, errDiffer, sums[0], sums[1])
	}
	fmt.Fprintf(out, "both builds of %s: sha256 %x\n", command, sums[0])
	return nil
}

// copyFiles copies what git does not ignore.
func copyFiles(ctx context.Context, from, to string) error {
	files, err := repo.Files(ctx, from)
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(from, file))
		if errors.Is(err, fs.ErrNotExist) { // removed, and not committed
			continue
		}
		target := filepath.Join(to, file)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(target), 0o755)
		}
		if err == nil {
			err = os.WriteFile(target, text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
