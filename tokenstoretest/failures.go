package tokenstoretest

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

var faultOperation = operation{"fault", 3, (*machine).fault}

// fault has some of the next calls of the store fail, of the managers and, if there is time for them, of the engines. Whoever
// makes them repeats them.
func (m *machine) fault(t *rapid.T) {
	m.armSome(t)
	if m.anyRunning() && rapid.Bool().Draw(t, "meanwhile") {
		m.pause(t)
	}
}

// armSome has some calls fail, and returns how many.
func (m *machine) armSome(t *rapid.T) (times int) {
	breakdown, after := pick(t, "breakdown", breakdowns...), rapid.IntRange(0, 3).Draw(t, "after")
	times = rapid.IntRange(1, 5).Draw(t, "times")
	m.faults.arm(after, times, breakdown)
	return times
}

// attempts is how often a manager makes a call by itself whose outcome it can't tell. What has to end in one call of the
// manager must not fail as often.
const attempts = 3

// The methods of a tenant are those of its manager, called by a host that repeats what failed, as docs/errors.md tells it to.

func repeat(call func() error) error {
	for {
		err := call()
		if !errors.Is(err, tokenstore.ErrNotCommitted) && !errors.Is(err, tokenstore.ErrUnknownOutcome) {
			return err
		}
	}
}

func (w *tenant) Issue(ctx context.Context, r tokenstore.IssueRequest) (issued tokenstore.Issued, err error) {
	err = repeat(func() error { issued, err = w.Manager.Issue(ctx, r); return err })
	return issued, err
}

func (w *tenant) Exchange(ctx context.Context, r tokenstore.ExchangeRequest) (got tokenstore.Exchanged, err error) {
	err = repeat(func() error { got, err = w.Manager.Exchange(ctx, r); return err })
	return got, err
}

func (w *tenant) UpdateMetadata(ctx context.Context, id ulid.ULID, metadata map[string]string) (token tokenstore.RefreshToken, err error) {
	err = repeat(func() error { token, err = w.Manager.UpdateMetadata(ctx, id, metadata); return err })
	return token, err
}

func (w *tenant) Import(ctx context.Context, tokens []tokenstore.RefreshToken) (results []tokenstore.ImportResult, err error) {
	err = repeat(func() error { results, err = w.Manager.Import(ctx, tokens); return err })
	return results, err
}

func (w *tenant) ImportNDJSON(ctx context.Context, r io.ReadSeeker, opts *tokenstore.ImportOptions) (report tokenstore.ImportReport, err error) {
	err = repeat(func() error {
		_, _ = r.Seek(0, io.SeekStart)
		report, err = w.Manager.ImportNDJSON(ctx, r, opts)
		return err
	})
	return report, err
}

func (w *tenant) Revoke(ctx context.Context, r tokenstore.RevokeRequest) (receipt tokenstore.Receipt, err error) {
	if r.ID, err = w.revocationID(r.ID); err != nil {
		return receipt, err
	}
	err = repeat(func() error { receipt, err = w.Manager.Revoke(ctx, r); return err })
	return receipt, err
}

func (w *tenant) Erase(ctx context.Context, r tokenstore.EraseRequest) (receipt tokenstore.Receipt, err error) {
	if r.ID, err = w.revocationID(r.ID); err != nil {
		return receipt, err
	}
	err = repeat(func() error { receipt, err = w.Manager.Erase(ctx, r); return err })
	return receipt, err
}

func (w *tenant) RevokeSecret(ctx context.Context, client string, s tokenstore.Secret) (got tokenstore.SecretRevocation, err error) {
	err = repeat(func() error { got, err = w.Manager.RevokeSecret(ctx, client, s); return err })
	return got, err
}

// revocationID is the id of a request that may have to be repeated: one of the host's, where it has none.
func (w *tenant) revocationID(id ulid.ULID) (ulid.ULID, error) {
	if !id.IsZero() || !w.machine.faults.armed() {
		return id, nil
	}
	return ulid.New(ulid.Timestamp(w.machine.clock.now()), w.machine.options.Rand)
}

// adopt takes in the tokens that issues of unknown outcome left behind, whose secrets nobody knows. All are like l, which has
// been let in, or refused, after them; issued is its id.
func (m *machine) adopt(t *rapid.T, w *tenant, l *life, issued ulid.ULID) {
	tokens := m.all(t, w, tokenstore.Eventual)
	slices.SortFunc(tokens, func(a, b tokenstore.RefreshToken) int { return cmp.Compare(a.Sequence, b.Sequence) })
	for _, token := range tokens {
		if token.ID == issued || w.model.find(token.ID) != nil || !token.CreatedAt.Equal(l.created) {
			continue
		}
		orphan := *l
		orphan.id, orphan.secrets = token.ID, nil
		m.expectEvent(w, tokenstore.KindIssued, orphan.id)
		m.letIn(t, w, &orphan)
	}
}
