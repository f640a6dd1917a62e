// Vulns looks for known vulnerabilities in what the modules of the repository import, by govulncheck, which this module pins.
//
//	go run ./vulns [-root dir]
//
// A vulnerable package that any module imports, in its tests too, is an error, whether or not the vulnerable function is called. Where the
// database can't be had nothing is looked at: the last line is then "NOT RUN: …", and the exit status 0, since nothing was found wrong
// with the code. VULN_DB is another database than https://vuln.go.dev, such as a copy of it at a file:// URL.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"example.com/tokenstore/tools/internal/repo"
)

func main() {
	repo.Main("vulns", func(ctx context.Context, root string) error {
		return check(ctx, os.Stdout, root, cmp.Or(os.Getenv("VULN_DB"), "https://vuln.go.dev"))
	})
}

// errFound is of a vulnerability.
var errFound = errors.New("vulnerable packages are imported")

// check looks at all modules, also after one in which it has found something. Its last line says what it came to.
func check(ctx context.Context, out io.Writer, root, database string) error {
	modules, err := repo.Modules(ctx, root)
	if err != nil {
		return err
	}
	if err := reach(ctx, database); err != nil {
		fmt.Fprintf(out, "NOT RUN: the database of vulnerabilities can't be had: %v\n", err)
		return nil
	}
	dir, err := os.MkdirTemp("", "vulns")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	govulncheck := filepath.Join(dir, "govulncheck")
	if _, err := repo.Run(ctx, "", nil, "go", "build", "-o", govulncheck, "golang.org/x/vuln/cmd/govulncheck"); err != nil {
		return err
	}
	var failed error
	for _, module := range modules {
		fmt.Fprintln(out, module)
		report, err := repo.Run(ctx, filepath.Join(root, module), nil, govulncheck, "-db", database, "-scan", "package", "-test", "./...")
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit) && exit.ExitCode() == 3: // as govulncheck says that it has found something
			fmt.Fprintln(out, report)
			failed = errors.Join(failed, fmt.Errorf("%s: %w", module, errFound))
		case err != nil:
			return fmt.Errorf("%s: %w\n%s", module, err, report)
		}
	}
	if failed == nil {
		fmt.Fprintf(out, "no known vulnerability in what %d modules import\n", len(modules))
	}
	return failed
}

// reach asks for the part of the database that govulncheck asks for first.
func reach(ctx context.Context, database string) error {
	u, err := url.Parse(database)
	if err != nil {
		return err
	}
	if u.Scheme == "file" {
		_, err := os.Stat(filepath.Join(filepath.FromSlash(u.Path), "index", "modules.json"))
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("index", "modules.json.gz").String(), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", u.Host, answer.Status)
	}
	return nil
}
