package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// printTable prints the one table of all rows.
func printTable(out io.Writer, rows []row, e effort) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "promise\tmethod\treally run\tat least\tresult")
	for _, r := range rows {
		result := "ok"
		if r.verdict != "" {
			result = "FAILED: " + r.verdict
		}
		fmt.Fprintf(w, "%s\t%s\t%d %s\t%d\t%s\n", r.promise.title, r.method, r.done, r.unit, e.least(r.check), result)
	}
	w.Flush()
}

// markdown is the table of checks for docs/guarantees.md: what a check reaches, and its floors.
func markdown(checks []check) string {
	var b strings.Builder
	b.WriteString("| Method | Promises | Counted | At least, short | At least | At least, long |\n|---|---|---|---|---|---|\n")
	for _, c := range checks {
		fmt.Fprintf(&b, "| %s | %s | %s |", c.method, strings.Join(c.promises, ", "), c.unit)
		for _, size := range []string{"short", "", "long"} {
			e := efforts[size]
			fmt.Fprintf(&b, " %d", e.least(c))
			if len(c.tests) > 1 {
				fmt.Fprintf(&b, ", %d of each", e.leastOfEach(c))
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
	return b.String()
}
