package main

import (
	"bufio"
	"encoding/json"
	"errors"
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
	out     *bufio.Writer
	heads   []string
	table   *tabwriter.Writer
	printed int
}

// records prints to w what fill prints, under the heads of a table. What was printed before fill fails is printed.
func (f *outputFlags) records(w io.Writer, heads []string, fill func(*printer) error) error {
	out := bufio.NewWriterSize(w, 1<<16)
	p := &printer{form: f.form, out: out, heads: heads, table: tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	err := fill(p)
	if err == nil {
		err = p.end()
	}
	return errors.Join(err, p.table.Flush(), out.Flush())
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
	if p.printed == 0 && len(p.heads) > 0 {
		if _, err := fmt.Fprintln(p.table, strings.Join(p.heads, "\t")); err != nil {
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

// end ends an array, which is empty without a record.
func (p *printer) end() error {
	end := "\n]\n"
	switch {
	case p.form != formJSON:
		return nil
	case p.printed == 0:
		end = "[]\n"
	}
	_, err := p.out.WriteString(end)
	return err
}

// columns are what a record has in a table: a name and a value each.
type columns [][2]string

// heads are the names, as the heads of a table.
func (c columns) heads() (heads []string) {
	for _, column := range c {
		heads = append(heads, strings.ToUpper(column[0]))
	}
	return heads
}

func (c columns) values() (values []string) {
	for _, column := range c {
		values = append(values, column[1])
	}
	return values
}

// printOne prints a record that is the only one: as a table a line for each of its columns, otherwise as one JSON object.
func (f *outputFlags) printOne(w io.Writer, record any, all columns) error {
	if f.form != formTable {
		text, err := json.Marshal(record)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", text)
		return err
	}
	return f.records(w, nil, func(p *printer) error {
		for _, column := range all {
			if err := p.print(nil, column[0], column[1]); err != nil {
				return err
			}
		}
		return nil
	})
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
