package tokenstore_test

import (
	"errors"
	"strings"
	"testing"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

// What is missing is told by all that is known of it.
func TestEventGapTellsWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		gap  tokenstore.EventGapError
		want string
	}{
		{tokenstore.EventGapError{}, `of tenant "acme" the backup has none to go on from`},
		{tokenstore.EventGapError{Latest: 7}, `there are none of tenant "acme", and the backup ends with number 7`},
		{tokenstore.EventGapError{Latest: 7, After: 5}, `those of tenant "acme" end with number 5, and the backup with 7`},
		{tokenstore.EventGapError{Latest: 7, After: 5, Next: 9}, `of tenant "acme", after number 5 comes 9, and the backup ends with 7`},
		{tokenstore.EventGapError{Next: 9}, `of tenant "acme", after number 0 comes 9, and the backup ends with 0`},
		{tokenstore.EventGapError{After: 5}, `those of tenant "acme" end with number 5, and the backup with 0`},
		{
			tokenstore.EventGapError{Latest: 7, After: 5, Restored: ulid.ULID{1}},
			`those of tenant "acme" end with number 5, and the backup with 7; ` +
				`restoration 01000000000000000000000000 is complete: if this repeats it, nothing is left to be done`,
		},
	} {
		c.gap.Tenant = "acme"
		if text := c.gap.Error(); !strings.HasSuffix(text, ": "+c.want) || !errors.Is(&c.gap, tokenstore.ErrEventsMissing) {
			t.Errorf("got %q, want it to end in %q", text, c.want)
		}
	}
}
