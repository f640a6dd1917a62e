package pgstore

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// verb is a statement about one token, and the same about many, which takes an array in the place of each argument but the first, the tenant.
// Both return the token's id first.
type verb struct {
	rank      int // verbs of a lower one come first, in a transaction of several
	one, many string
}

// merged are the statements of calls: one for all calls of a verb, but that no statement is about the same token twice. They lock records
// in one order.
func merged(tenant identity, calls []*call) (steps []step) {
	calls = slices.SortedFunc(slices.Values(calls), func(a, b *call) int {
		return cmp.Or(cmp.Compare(a.verb.rank, b.verb.rank), a.id.Compare(b.id))
	})
	for len(calls) > 0 {
		n := 1
		for n < len(calls) && calls[n].verb == calls[0].verb && calls[n].id != calls[n-1].id {
			n++
		}
		steps = append(steps, merge(tenant, calls[:n]))
		calls = calls[n:]
	}
	return steps
}

// merge is the statement of calls of one verb, about as many tokens, in the order of their ids.
func merge(tenant identity, calls []*call) step {
	verb := calls[0].verb
	if len(calls) == 1 {
		return step{verb.one, append([]any{tenant}, calls[0].args...), calls[0].row}
	}
	args := []any{tenant}
	for i := range calls[0].args {
		column := make([]any, len(calls))
		for k, c := range calls {
			column[k] = c.args[i]
		}
		args = append(args, column)
	}
	return step{verb.many, args, func(row pgx.Rows) error {
		id := row.RawValues()[0] // a uuid in the server's binary form, which is its bytes
		i, found := slices.BinarySearchFunc(calls, id, func(c *call, id []byte) int { return bytes.Compare(c.id[:], id) })
		if !found {
			return damaged("an id that nobody asked for")
		}
		return calls[i].row(row)
	}}
}

// column is one that a verb writes: its name, and its type.
type column struct{ name, of string }

// texts is the type of a column that takes a list of texts. An argument is its literal, because there are no arrays of arrays of different lengths.
const texts = "text[]"

// issued are the columns of a token that stems from now, in the order of issueArgs, which end with its id as an anchor.
var issued = []column{
	{"id", "uuid"}, {"user_id", "text"}, {"client_id", "text"}, {"session_id", "text"}, {"created_at", "timestamptz"}, {"audiences", texts}, {"scopes", texts},
	{"authenticated_at", "timestamptz"}, {"expires_at", "timestamptz"}, {"idle_expires_at", "timestamptz"}, {"nanoseconds", "bigint"}, {"idle_lifetime", "bigint"},
	{"rotating", "boolean"}, {"offline", "boolean"}, {"family_digest", "bytea"}, {"secret_digest", "bytea"}, {"pepper_key_id", "text"},
	{"confirmation_kind", "text"}, {"confirmation", "text"}, {"metadata", "jsonb"}, {"initial_ip", "text"}, {"initial_asn", "text"}, {"initial_user_agent", "text"},
	{"last_ip", "text"}, {"last_asn", "text"}, {"last_user_agent", "text"}, {"due", "timestamptz"},
}

// exchanges are the token, its version, and what an exchange changes of it, in the order of exchangeArgs.
var exchanges = []column{
	{"id", "uuid"}, {"version", "xid"}, {"idle_expires_at", "timestamptz"}, {"last_exchanged_at", "timestamptz"}, {"rotated_at", "timestamptz"}, {"nanoseconds", "bigint"},
	{"generation", "bigint"}, {"retries", "bigint"}, {"salt", "bytea"}, {"secret_digest", "bytea"},
	{"last_ip", "text"}, {"last_asn", "text"}, {"last_user_agent", "text"}, {"due", "timestamptz"},
}

// rowsOf are two ways to write the rows r of a verb's arguments: of one call, and of many.
func rowsOf(columns []column) (one, many string) {
	var single, arrays []string
	for i, c := range columns {
		of := c.of
		if of == texts {
			of = "text"
		}
		single = append(single, fmt.Sprintf("$%d::%s", i+2, of)) // $1 is the tenant
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+2, of))
	}
	as := ") as r (" + names(columns) + ")"
	return "(select " + strings.Join(single, ", ") + as, "unnest(" + strings.Join(arrays, ", ") + as
}

func names(columns []column) string {
	var list []string
	for _, c := range columns {
		list = append(list, c.name)
	}
	return strings.Join(list, ", ")
}

// values are those of the columns in the rows r.
func values(columns []column) string {
	var list []string
	for _, c := range columns {
		value := "r." + c.name
		if c.of == texts {
			value += "::text[]"
		}
		list = append(list, value)
	}
	return strings.Join(list, ", ")
}

// literal is a list of texts as the server reads an array.
func literal(list []string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = `"` + escape(s) + `"`
	}
	return "{" + strings.Join(quoted, ",") + "}"
}
