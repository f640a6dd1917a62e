package tokenstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// ImportOptions say how lines are imported. The zero value, and nil, let in what [Manager.Import] does.
type ImportOptions struct {
	// NullLegacySessions leaves out the session id of a token that was created before the cut-off of the tenant's
	// [LegacyRule], which refuses it otherwise. What has revoked that session still refuses the token; a later revocation of
	// the session does not reach it. Defaults to false.
	NullLegacySessions bool
	// BeyondMemory lets in tokens from before what is remembered, which may have been revoked then: an operator's decision.
	// What is remembered still refuses. Each such token is logged as a warning, and counted. Defaults to false.
	BeyondMemory bool
	// Refused is called for each line that is refused; one that is no token may be told before those above it. Defaults to none.
	Refused func(RefusedLine)
	// Progress is called after each batch with what has been done so far. Defaults to none.
	Progress func(ImportReport)
}

// RefusedLine is a line that was not imported. It says nothing else of what the line has.
type RefusedLine struct {
	Number int       // Number is the line's, from 1.
	ID     ulid.ULID // ID is the token's id here; zero if it has none.
	// ForeignID is the id that the token had elsewhere, if the line has one that is within its limit.
	ForeignID string
	// Err is why, as in [ImportResult], or a [FieldError] for a line that is no token.
	Err error
}

// ImportReport says what became of the lines.
type ImportReport struct {
	Lines      int   // Lines is how many lines were read, blank ones included.
	Bytes      int64 // Bytes is how long they were.
	Guards     int   // Guards is how many targets of revocations were taken over, by [Manager.ImportFull].
	Imported   int
	Unchanged  int
	Refused    int
	Nulled     int // Nulled is how many of the imported lost a session id to [ImportOptions].NullLegacySessions.
	Overridden int // Overridden is how many of the imported owe it to [ImportOptions].BeyondMemory.
}

// importBytes is how much text of lines is held at once, beside the last line.
const importBytes = 4 << 20

// ImportNDJSON imports tokens as [Manager.Import] does, one resource a line. Blank lines are passed over; one that is longer
// than [MaxLine], is no JSON or is refused is reported, and holds up no other. It needs memory for a batch of lines, however
// many there are.
//
// It returns an error if the input or the database fails, or ctx ends, together with what had been done. The import may then
// be repeated from the start: what is there already is unchanged. The lines of a full export are a [FieldError]: they are
// for [Manager.ImportFull].
func (m *Manager) ImportNDJSON(ctx context.Context, r io.Reader, opts *ImportOptions) (ImportReport, error) {
	i := newImporter(m, r, opts)
	now := m.now()
	i.commit = func(ctx context.Context, tokens []RefreshToken) ([]ImportResult, error) {
		return m.importBatch(ctx, tokens, now, &i.opts)
	}
	err := i.read(ctx, func(text []byte) (*RefreshToken, error) {
		if bytes.HasPrefix(text, []byte(`{"tokenstore_export":`)) {
			return nil, fatal{&FieldError{Field: "export", Limit: "of resources; a full export has to be imported as such"}}
		}
		return readResource(text)
	})
	return i.report, err
}

// readResource reads a line: the resource, and beside it what is known of the secret that the token had elsewhere.
func readResource(text []byte) (*RefreshToken, error) {
	var token RefreshToken
	if err := json.Unmarshal(text, &token); err != nil {
		return nil, lineError(err, text)
	}
	var foreign struct {
		Digest  *string `json:"foreign_digest"`
		Entropy *int    `json:"foreign_entropy"` // in bits; a strong secret if it is not given
	}
	if err := json.Unmarshal(text, &foreign); err != nil {
		return nil, &FieldError{Field: "foreign_digest", Limit: "a text, and foreign_entropy a number of bits", Size: len(text)}
	}
	switch {
	case foreign.Digest == nil && foreign.Entropy != nil:
		return nil, &FieldError{Field: "foreign_entropy", Limit: "given together with foreign_digest", Size: *foreign.Entropy}
	case foreign.Digest == nil:
		return &token, nil
	}
	var err error
	token.ForeignDigest, err = domain.ParseForeignDigest(*foreign.Digest)
	token.ForeignWeak = foreign.Entropy != nil && *foreign.Entropy < domain.MinForeignEntropy
	return &token, err
}

// lineError says what is wrong with a line without repeating any of it.
func lineError(err error, text []byte) error {
	if field, ok := errors.AsType[*FieldError](err); ok {
		return field
	}
	return &FieldError{Field: "line", Limit: "a JSON object", Size: len(text)}
}

// fatal is an error that ends an import, instead of refusing a line.
type fatal struct{ error }

// importer brings in the tokens of lines, a batch at a time.
type importer struct {
	m      *Manager
	in     io.Reader
	opts   ImportOptions
	commit func(ctx context.Context, tokens []RefreshToken) ([]ImportResult, error)
	report ImportReport

	batch   []RefreshToken
	numbers []int // the line of each token of the batch
	size    int   // the length of their lines
}

func newImporter(m *Manager, r io.Reader, opts *ImportOptions) *importer {
	i := &importer{m: m, in: r}
	if opts != nil {
		i.opts = *opts
	}
	return i
}

// read reads all lines. parse returns the token of a line, or nil if it has none.
func (i *importer) read(ctx context.Context, parse func(text []byte) (*RefreshToken, error)) error {
	for n, line := range lines(&counted{i.in, &i.report.Bytes}) {
		if line.err != nil {
			return errors.Join(line.err, i.flush(ctx))
		}
		i.report.Lines = n
		if line.tooLong {
			i.refuse(RefusedLine{Number: n, Err: errTooLong()})
			continue
		}
		if len(line.text) == 0 {
			continue
		}
		token, err := parse(line.text)
		if end, ok := err.(fatal); ok {
			return fmt.Errorf("tokenstore: line %d: %w", n, end.error)
		}
		switch {
		case err != nil:
			i.refuse(RefusedLine{Number: n, Err: err})
		case token != nil:
			i.batch, i.numbers = append(i.batch, *token), append(i.numbers, n)
			i.size += len(line.text)
		}
		if len(i.batch) == store.MaxBatch || i.size >= importBytes {
			if err := i.flush(ctx); err != nil {
				return err
			}
		}
	}
	return i.flush(ctx)
}

// flush commits the batch.
func (i *importer) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	results, err := i.commit(ctx, i.batch)
	if err != nil {
		return err
	}
	for k, result := range results {
		switch result.Outcome {
		case Imported:
			i.report.Imported++
		case Unchanged:
			i.report.Unchanged++
		default:
			refused := RefusedLine{Number: i.numbers[k], ID: result.ID, ForeignID: i.batch[k].ForeignID, Err: result.Err}
			if len(refused.ForeignID) > domain.MaxForeignID {
				refused.ForeignID = ""
			}
			i.refuse(refused)
		}
		if result.Nulled {
			i.report.Nulled++
		}
		if result.Overridden {
			i.report.Overridden++
		}
	}
	i.batch, i.numbers, i.size = i.batch[:0], i.numbers[:0], 0
	if i.opts.Progress != nil {
		i.opts.Progress(i.report)
	}
	return nil
}

func (i *importer) refuse(line RefusedLine) {
	i.report.Refused++
	if i.opts.Refused != nil {
		i.opts.Refused(line)
	}
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.n += int64(n)
	return n, err
}
