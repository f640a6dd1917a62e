package tokenstore

import (
	"context"
	"errors"
	"math"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// ImportOutcome is what became of an imported token.
type ImportOutcome uint8

// The outcomes of an import.
const (
	Imported  ImportOutcome = iota // Imported: the token has been added.
	Unchanged                      // Unchanged: the same token was there already; nothing was written.
	Refused                        // Refused: see the error.
)

// ImportResult says what became of one token of an import.
type ImportResult struct {
	ID      ulid.ULID // ID is the token's id here; zero if it has none because it was refused.
	Outcome ImportOutcome
	// Err is why the token was refused: a [FieldError], [ErrRevoked], [ErrBeyondMemory], [ErrExists] if another token has its
	// id, or [ErrDigestTaken] if another token has its foreign secret.
	Err error
	// Nulled says that the session id was left out ([ImportOptions].NullLegacySessions).
	Nulled bool
	// Overridden says that the token is beyond memory and was let in ([ImportOptions].BeyondMemory).
	Overridden bool
}

// Import adds tokens that were issued elsewhere or before, in the shape of the resource; [RefreshToken] reads it from
// JSON. A token with a foreign id and no id of its own gets the one that [domain.ForeignTokenID] derives. Each token
// stems from its creation time: it is refused if a revocation since then covers it, or if that is beyond memory, so
// nothing that was revoked returns by importing it again. Creation time and revocation are compared as they are, by the
// clocks that noted them. A creation time in the future, and a session id that breaks the
// tenant's [LegacyRule], are refused too.
//
// A token may bring the digest of the secret that it had elsewhere, in ForeignDigest, which [Manager.Exchange] then honours.
// Say in ForeignWeak that the secret has less than 128 bits of entropy.
//
// The result has one entry a token, in order; one that is refused holds up no other. Tokens are committed in batches; on
// an error the results so far are returned with it, and the whole import may be repeated.
func (m *Manager) Import(ctx context.Context, tokens []RefreshToken) ([]ImportResult, error) {
	now := m.now()
	results := make([]ImportResult, 0, len(tokens))
	for len(tokens) > 0 {
		n := min(len(tokens), store.MaxBatch)
		batch, err := m.importBatch(ctx, tokens[:n], now, &ImportOptions{})
		if err != nil {
			return results, err
		}
		results = append(results, batch...)
		tokens = tokens[n:]
	}
	return results, nil
}

func (m *Manager) importBatch(ctx context.Context, tokens []RefreshToken, now time.Time, opts *ImportOptions) ([]ImportResult, error) {
	results := make([]ImportResult, len(tokens))
	var rows []store.Insertion
	var at []int // rows[i] is tokens[at[i]]
	for i, token := range tokens {
		former := SessionID{}
		if opts.NullLegacySessions && m.opts.Legacy.Legacy(token.CreatedAt) {
			former, token.SessionID = token.SessionID, SessionID{}
		}
		if err := m.prepare(&token, now); err != nil {
			results[i] = ImportResult{ID: token.ID, Outcome: Refused, Err: err}
			continue
		}
		rows = append(rows, store.Insertion{Token: token, AsOf: domain.AsOfTime(token.CreatedAt, 0), Former: former})
		at = append(at, i)
	}
	outcomes, err := m.letIn(ctx, rows, sameToken)
	if err == nil && opts.BeyondMemory {
		err = m.override(ctx, rows, outcomes)
	}
	if err != nil {
		return nil, err
	}
	for i, result := range outcomes {
		result.Nulled = result.Outcome == Imported && !rows[i].Former.IsNull()
		results[at[i]] = result
	}
	return results, nil
}

// letIn inserts rows and says what became of each. same says whether a token that is there is the one to be inserted.
func (m *Manager) letIn(ctx context.Context, rows []store.Insertion, same func(there, imported *RefreshToken) bool) ([]ImportResult, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	var inserted []store.Inserted
	err := again(func() (err error) {
		inserted, err = m.store.Insert(ctx, rows)
		return err
	})
	if err != nil {
		return nil, err
	}
	results := make([]ImportResult, len(rows))
	for i, in := range inserted {
		results[i].ID = rows[i].Token.ID
		switch {
		case in.Err == nil:
		case errors.Is(in.Err, store.ErrExists) && same(in.There, &rows[i].Token):
			results[i].Outcome = Unchanged
		default:
			results[i].Outcome, results[i].Err = Refused, in.Err
		}
	}
	return results, nil
}

// override lets in what was refused as beyond memory and for no other reason, and puts each such token on record: before,
// since a crash in between must not lose that.
func (m *Manager) override(ctx context.Context, rows []store.Insertion, results []ImportResult) error {
	var beyond []store.Insertion
	var at []int
	for i := range results {
		if errors.Is(results[i].Err, ErrBeyondMemory) {
			row := rows[i]
			row.AsOf = row.AsOf.Cleared(math.MaxUint64)
			beyond, at = append(beyond, row), append(at, i)
			if m.opts.Logger != nil {
				m.opts.Logger.WarnContext(ctx, "token beyond memory imported on demand", "tenant", m.opts.Tenant, "token", row.Token.ID.String())
			}
		}
	}
	overridden, err := m.letIn(ctx, beyond, sameToken)
	for i, result := range overridden {
		result.Overridden = result.Outcome == Imported
		results[at[i]] = result
	}
	return err
}

// sameToken reports whether an imported token is the one that is there. Times don't count: the resource's JSON has them to
// the millisecond only, and it has no digest. One that is weak must be known as such, or it would get a leeway.
func sameToken(there, imported *RefreshToken) bool {
	sameSecret := imported.ForeignDigest == there.ForeignDigest && imported.ForeignWeak == there.ForeignWeak
	return (imported.ForeignDigest == Digest{} || sameSecret) && there.ForeignID == imported.ForeignID && there.UserID == imported.UserID &&
		there.ClientID == imported.ClientID && there.SessionID == imported.SessionID
}

// prepare gives an imported token what its shape lacks, and checks it.
func (m *Manager) prepare(token *RefreshToken, now time.Time) error {
	if token.ID.IsZero() && token.ForeignID != "" {
		id, err := domain.ForeignTokenID(m.opts.Tenant, token.ForeignID, token.CreatedAt)
		if err != nil {
			return err
		}
		token.ID = id
	}
	if token.IdleLifetime == 0 && !token.IdleExpiresAt.IsZero() {
		token.IdleLifetime = m.opts.IdleLifetime
	}
	if err := token.Validate(); err != nil {
		return err
	}
	token.Device = m.opts.Device.Keep(token.Device)
	if token.CreatedAt.After(now.Add(max(m.opts.Skew, 0))) {
		return &FieldError{Field: "created_at", Limit: "not in the future"}
	}
	return m.opts.Legacy.Check(token.CreatedAt, token.SessionID)
}
