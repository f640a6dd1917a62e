package tokenstore_test

import (
	"cmp"
	"fmt"
	"strings"
)

const matrixIntro = `# What a revocation reaches

Each kind of target, on each of a few tokens. The tables are what a test has seen to happen on every backend: it revokes, and asks
by introspection, exchange and look-up what has become of each token. ` + "`go test . -run TestMatrix -update`" + ` writes this file anew.

A target is the conjunction of what it names; a revocation of several targets reaches what any of them names. What is revoked
by any revocation is revoked, whatever others say.

## The tokens

`

const matrixBefore = `
Those with a creation time have been imported with it; the others are issued, in November 2026. The cut-off of legacy tokens is
2023-09-21, and 2024-02-22 in the region US-3. A token without a session that is younger than that is no legacy token.

## Issued or imported before the revocation

- ✗: the token is refused from when ` + "`Revoke`" + ` has returned, and is gone after the sweep.
- ·: it is untouched.

`

const matrixAfter = `
## Issued or imported after the revocation

- ✗: the token is not let in, neither during the sweep nor after it.
- ·: it is let in, and lives.

What is issued stems from now, so that only a dead session refuses it; what is imported stems from its creation time, and so
from before the revocation.

`

// matrixText is docs/matrix.md.
func matrixText(before, after [][]string) string {
	var b strings.Builder
	b.WriteString(matrixIntro)
	b.WriteString("| Token | User | Client | Session | Audiences | Offline | Created |\n|---|---|---|---|---|---|---|\n")
	for _, k := range kinds {
		offline := "no"
		if k.offline {
			offline = "yes"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", k.name, k.user, k.client, cmp.Or(k.session, "null"),
			strings.ReplaceAll(k.audiences, " ", ", "), offline, k.created)
	}
	b.WriteString(matrixBefore)
	matrixTable(&b, before)
	b.WriteString(matrixAfter)
	matrixTable(&b, after)
	return b.String()
}

func matrixTable(b *strings.Builder, cells [][]string) {
	b.WriteString("| Target |")
	for _, k := range kinds {
		fmt.Fprintf(b, " %s |", k.name)
	}
	b.WriteString("\n|---" + strings.Repeat("|:-:", len(kinds)) + "|\n")
	for i, row := range cells {
		fmt.Fprintf(b, "| %s |", reaches[i].name)
		for _, cell := range row {
			fmt.Fprintf(b, " %s |", strings.NewReplacer("x", "✗", ".", "·").Replace(cell))
		}
		b.WriteString("\n")
	}
}
