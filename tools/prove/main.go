// Command prove runs what shows that the promises of docs/guarantees.md hold, and prints what was really tried for each.
//
//	cd tools && go run ./prove [-C dir] [-log file]
//
// Every number of the table is read from the run. A row fails if a test failed, was skipped or did not run, or if less was
// tried than the floor of the row says, by all of its tests together or by one of them. A promise that nothing tests is an error. The environment variable PROVE says how much is
// tried: "short" a minute or two of it, "long" hours, and by default what two cores do within ten minutes.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	dir := flag.String("C", "..", "the folder of the library's module")
	log := flag.String("log", os.DevNull, "a file for all that the tests write, as go test -json has it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := prove(ctx, os.Stdout, *dir, *log, os.Getenv("PROVE")); err != nil {
		fmt.Fprintln(os.Stderr, "prove:", err)
		os.Exit(1)
	}
}

func prove(ctx context.Context, out io.Writer, dir, logName, size string) error {
	e, ok := efforts[size]
	if !ok {
		return fmt.Errorf("PROVE is short, long or empty, not %q", size)
	}
	guarantees, err := os.ReadFile(filepath.Join(dir, "docs", "guarantees.md"))
	if err != nil {
		return err
	}
	declared, err := declaredTests(dir)
	if err != nil {
		return err
	}
	rows, err := allRows(parsePromises(string(guarantees)), checks, declared)
	if err != nil {
		return err
	}
	rows = e.rows(rows)
	log, err := os.Create(logName)
	if err != nil {
		return err
	}
	defer log.Close()
	began := time.Now()
	seen, err := runTests(ctx, out, log, dir, e, rows)
	if err != nil {
		return err
	}
	failed := 0
	for i := range rows {
		seen.judge(&rows[i], e.least(rows[i].check), e.leastOfEach(rows[i].check))
		if rows[i].verdict != "" {
			failed++
		}
	}
	printTable(out, rows, e)
	fmt.Fprintf(out, "%d rows, %d failed, %s\n", len(rows), failed, time.Since(began).Round(time.Second))
	if failed > 0 {
		return fmt.Errorf("%d of %d rows failed", failed, len(rows))
	}
	return nil
}
