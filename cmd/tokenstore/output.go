package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/pflag"
)

// The forms of output.
const (
	formTable  = "table"
	formJSON   = "json"
	formNDJSON = "ndjson"
)

// outputFlags say in which form records are printed.
type outputFlags struct{ form string }

func (f *outputFlags) register(flags *pflag.FlagSet, form string) {
	flags.StringVarP(&f.form, "output", "o", form, "how to print: as a `table` for people, json for an array, ndjson for a line of JSON each")
}

func (f *outputFlags) check() error {
	switch f.form {
	case formTable, formJSON, formNDJSON:
		return nil
	}
	return usage("--output: table, json or ndjson")
}

// tableBlock is how many rows are held back to be aligned.
const tableBlock = 1000

// printer prints records of one kind. In a table, each is a row of cells; otherwise its JSON.
type printer struct {
	form    string
	out     io.Writer
	columns []string
	table   *tabwriter.Writer
	printed int
}

// printer returns a printer to w. The columns are the heads of a table. The caller ends it.
func (f *outputFlags) printer(w io.Writer, columns ...string) *printer {
	return &printer{form: f.form, out: w, columns: columns, table: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

// print prints a record.
func (p *printer) print(record any, cells ...string) error {
	defer func() { p.printed++ }()
	if p.form == formTable {
		return p.row(cells)
	}
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	before, after := "", "\n"
	if p.form == formJSON {
		before, after = ",\n ", ""
		if p.printed == 0 {
			before = "[\n "
		}
	}
	_, err = fmt.Fprintf(p.out, "%s%s%s", before, text, after)
	return err
}

func (p *printer) row(cells []string) error {
	if p.printed == 0 && len(p.columns) > 0 {
		if _, err := fmt.Fprintln(p.table, strings.Join(p.columns, "\t")); err != nil {
			return err
		}
	}
	for i := range cells {
		cells[i] = cell(cells[i])
	}
	if _, err := fmt.Fprintln(p.table, strings.Join(cells, "\t")); err != nil {
		return err
	}
	if p.printed%tableBlock == tableBlock-1 {
		return p.table.Flush()
	}
	return nil
}

// end prints what is left. Without a record, an array is empty, and so is all else.
func (p *printer) end() error {
	switch {
	case p.form == formTable:
		return p.table.Flush()
	case p.form == formNDJSON:
		return nil
	case p.printed == 0:
		_, err := fmt.Fprintln(p.out, "[]")
		return err
	}
	_, err := fmt.Fprint(p.out, "\n]\n")
	return err
}

// printOne prints a record that is the only one: in a table, what it has line by line, and otherwise as a JSON object.
func (f *outputFlags) printOne(w io.Writer, record any, lines ...[2]string) error {
	if f.form != formTable {
		return (&outputFlags{formNDJSON}).printer(w).print(record)
	}
	p := f.printer(w)
	for _, line := range lines {
		if err := p.print(nil, line[0], line[1]); err != nil {
			return err
		}
	}
	return p.end()
}

// cell is a text as a table shows it: with nothing in it that would break the table or talk to the terminal, and never empty.
func cell(text string) string {
	switch {
	case text == "":
		return "-"
	case strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }):
		return strconv.Quote(text)
	}
	return text
}

// instant is a time as a table shows it.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// idOrNone is an id as a table shows it.
func idOrNone(id ulid.ULID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// grouped is a number as people read it: 12,345.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
