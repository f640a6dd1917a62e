// Command quickstart is tokenstore's main job on real input, on a bbolt file. A first process imports some 1,300 refresh
// tokens of two tenants, issues and exchanges a few more, and revokes all of one user's, which are refused at once. In the
// middle of the sweep it is killed. A second process opens the same file, finds everything that had been acknowledged,
// and finishes the sweep. At the end it compares what is there with its own list of what was revoked.
//
//	quickstart [-db FILE] [-n TOKENS]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("quickstart: ")
	db := flag.String("db", "", "keep the tokens in `FILE`, which must not exist yet (default: a temporary one)")
	n := flag.Int("n", 0, "import `TOKENS` more, half of them of the user who is revoked")
	flag.Parse()
	if *n < 0 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if isFirst() {
		log.Fatal(firstProcess(*db, *n)) // it is killed before it gets here
	}
	if err := twoProcesses(*db, *n, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// twoProcesses writes the report to out. Nothing is written that has not been seen to be true; what is not is the error.
func twoProcesses(path string, n int, out io.Writer) error {
	if path == "" {
		dir, err := os.MkdirTemp("", "quickstart-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "tokens.db")
	} else if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already; name a file that is not", path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute+time.Duration(n)*time.Millisecond)
	defer cancel()

	h, err := runAndKill(ctx, path, n, out)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "killed the process in the middle of the sweep")

	backend, err := boltstore.Open(path, nil)
	if err != nil {
		return err
	}
	defer backend.Close()
	return second(ctx, backend, h, out)
}

const (
	kiosk = "auth0|kiosk"   // has hundreds of tokens in one tenant, and dozens in the other
	other = "auth0|user-01" // is never revoked
)

// open returns the two tenants of the story. Each slice of the sweep is reported to swept.
func open(backend store.Backend, maxSlice int, swept func(tokenstore.Status)) (acme, us3 *tenant, err error) {
	manager, err := tokenstore.New(backend, &tokenstore.Options{
		Tenant: "acme",
		Leeway: time.Hour, // so that the report is the same on a slow machine
		Engine: revocation.Options{
			MaxSlice: maxSlice,
			Events:   revocation.Events{Swept: func(_ string, s tokenstore.Status) { swept(s) }},
		},
	})
	if err != nil {
		return nil, nil, err
	}
	// Legacy tokens have no session id. In one region they are those from before 2023-09-21, in US-3 from before 2024-02-22.
	rule := tokenstore.US3()
	managerUS3, err := manager.Tenant("acme-us-3", &tokenstore.TenantOptions{Legacy: &rule})
	if err != nil {
		return nil, nil, err
	}
	return newTenant(manager), newTenant(managerUS3), nil
}

// sweeping runs the engine until stop is called.
func sweeping(ctx context.Context, m *tokenstore.Manager) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	return func() { cancel(); <-ended }
}
