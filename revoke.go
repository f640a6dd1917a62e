package tokenstore

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// RevokeRequest is a revocation of whatever any of its targets names.
type RevokeRequest struct {
	// ID names the revocation, and is its idempotency key: repeating a request with the same one records nothing new, and
	// using it for other targets is [ErrConflict]. Defaults to a new one, so that a repeated request is a new revocation.
	ID      ulid.ULID
	Targets []Target // Targets are 1..100. Each is a conjunction; any of them is enough.
	Reason  string   // Reason is for people: up to 200 characters.
	Actor   string   // Actor is who asks: up to 300 characters.
}

// Revoke records a revocation, in one durable write whatever it reaches. When it returns without error, what it covers is
// refused at every exchange and introspection from then on, after a crash too; the records are swept in the background
// while [Manager.Run] does, here or in another process. No token issued later is touched. Revoking only ids that are not
// there succeeds and writes nothing.
//
// It returns a [FieldError] for a target that is empty or breaks a limit, [ErrConflict], or [ErrBusy] if too many
// revocations without token, session, user and client are pending. After [ErrUnknownOutcome] repeat it with the same ID.
func (m *Manager) Revoke(ctx context.Context, r RevokeRequest) (Receipt, error) {
	return m.record(ctx, store.Revocation{ID: r.ID, Targets: r.Targets, Reason: r.Reason, Actor: r.Actor})
}

// record records a revocation now, under a new id if it has none.
func (m *Manager) record(ctx context.Context, r store.Revocation) (Receipt, error) {
	r.Time = m.now()
	id, err := m.newID(r.Time) // also where it is not needed: it checks the clock
	if err != nil {
		return Receipt{}, err
	}
	if r.ID.IsZero() {
		r.ID = id
	}
	var receipt Receipt
	err = again(func() (err error) {
		receipt, err = m.engine.Revoke(ctx, m.opts.Tenant, r)
		return err
	})
	return receipt, err
}

// Wait returns the final status of a revocation once nothing that it covers is left, or the error of ctx.
func (m *Manager) Wait(ctx context.Context, r Receipt) (Status, error) { return m.engine.Wait(ctx, r) }

// Revocation returns the status of a revocation, pending or retired, or [ErrNotFound].
func (m *Manager) Revocation(ctx context.Context, id ulid.ULID) (Status, error) {
	return m.store.Revocation(ctx, id)
}

// RevocationsRequest asks for a page of revocations.
type RevocationsRequest struct {
	Retired bool      // Retired asks for the retired ones that are still remembered, instead of the pending ones.
	After   ulid.ULID // After is the Next of the page before.
	Limit   int       // Limit is 1..100. Defaults to 50.
}

// Revocations returns a page of revocations by ascending id.
func (m *Manager) Revocations(ctx context.Context, r RevocationsRequest) (RevocationPage, error) {
	if r.Limit == 0 {
		r.Limit = 50
	}
	return m.store.Revocations(ctx, store.RevocationQuery{Retired: r.Retired, After: r.After, Limit: r.Limit})
}

// LegacyTarget is the target that names the tenant's legacy tokens, with the cut-off as it is now.
func (m *Manager) LegacyTarget() Target { return Target{LegacyBefore: m.opts.Legacy.At()} }

// Preview is what a revocation would reach.
type Preview struct {
	Matched  int  // Matched is how many live tokens the targets name.
	Examined int  // Examined is how many tokens were looked at for it, those that are revoked but not yet swept among them.
	Complete bool // Complete is false if the limit ended the count, which is then a lower bound.
}

// Preview counts, without writing, the tokens that a revocation of the targets would reach now. It looks at no more than
// limit tokens, at least 1; one that several targets name is counted once.
func (m *Manager) Preview(ctx context.Context, targets []Target, limit int) (Preview, error) {
	probe := store.Revocation{ID: ulid.ULID{15: 1}, Targets: targets}
	if err := probe.Validate(); err != nil {
		return Preview{}, err
	}
	if limit < 1 {
		return Preview{}, &FieldError{Field: "limit", Limit: "at least 1", Size: limit}
	}
	now := domain.Tombstone{Targets: targets, Watermark: math.MaxUint64}
	seen := map[ulid.ULID]bool{}
	var p Preview
	for token, err := range m.candidates(ctx, targets, min(limit, store.MaxPage)) {
		if err != nil {
			return Preview{}, err
		}
		if seen[token.ID] {
			continue
		}
		if p.Examined == limit {
			return p, nil
		}
		seen[token.ID] = true
		p.Examined++
		if !now.Covers(&token) {
			continue
		}
		switch _, err := m.Get(ctx, token.ID, Fenced); {
		case err == nil:
			p.Matched++
		case !errors.Is(err, store.ErrNotFound):
			return Preview{}, err
		}
	}
	p.Complete = true
	return p, nil
}

// candidates walks all tokens that the targets name, and others; some of them more than once. They are not fenced: a fenced
// list walks past what is revoked without a bound.
func (m *Manager) candidates(ctx context.Context, targets []Target, page int) iter.Seq2[RefreshToken, error] {
	return func(yield func(RefreshToken, error) bool) {
		for _, r := range lists(targets) {
			r.Limit = page
			for token, err := range m.All(ctx, r) {
				if !yield(token, err) {
					return
				}
			}
		}
		for i := range targets {
			if targets[i].TokenID.IsZero() {
				continue
			}
			token, err := m.Get(ctx, targets[i].TokenID, Eventual)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if !yield(token, err) {
				return
			}
		}
	}
}

// lists are the lists that hold all tokens which the targets name, but for those named by id.
func lists(targets []Target) []ListRequest {
	var all []ListRequest
	for i := range targets {
		var r ListRequest
		switch anchor := targets[i].Anchor(); anchor.Kind {
		case domain.AnchorToken:
			continue
		case domain.AnchorSession:
			r.SessionID = anchor.Value
		case domain.AnchorUser:
			r.UserID = anchor.Value
		default:
			return []ListRequest{r}
		}
		if !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	return all
}
