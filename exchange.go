package tokenstore

import (
	"cmp"
	"context"
	"errors"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// ExchangeRequest is a client's use of a secret. ClientID is the client that authenticated, Confirmation the key that the
// sender proved to hold.
type ExchangeRequest struct {
	Secret       Secret
	ClientID     string
	Confirmation Confirmation
	Device       Device // Device carries where the exchange comes from, in its Last fields; empty ones keep the old.
	// ExpiresBy shortens the token's absolute lifetime. One that is later than its end, and the zero time, change nothing.
	ExpiresBy time.Time
}

// Exchanged is the outcome of an exchange: the token as it stands now, and the secret that the client has to use from now
// on, which is the presented one for a token that does not rotate.
type Exchanged struct {
	Token   RefreshToken
	Secret  Secret
	Retried bool // Retried says that the client was given this secret before: an answer was lost, or two asked at once.
}

// Exchange answers a client that presents a secret (RFC 6749 §6), in one atomic step: no exchange of a token succeeds that
// begins after its revocation was acknowledged. A rotating token gets its next secret, in place. Within the leeway, and
// as long as that one has not been used, the previous secret yields the same one again. Any other outdated secret is
// replay: the token is revoked, with [ReasonReuse].
//
// A secret that an imported token had elsewhere is looked up by its digest ([Options.ForeignDigest]). For a token that
// rotates it is the first of its secrets: the exchange replaces it by one of our own, and after that it is a parent like any
// other, but that a weak one ([RefreshToken.ForeignWeak]) has no leeway. A token that does not rotate keeps it.
//
// A refusal is a [Refusal], and matches [ErrInvalidGrant]; tell the client no more than that. A [FieldError] says that a
// field of the device is too long, which the host should cut. Other errors are not the client's fault. An exchange that
// ended in [ErrUnknownOutcome] may be repeated with the same secret within the leeway.
func (m *Manager) Exchange(ctx context.Context, r ExchangeRequest) (Exchanged, error) {
	out, err := m.exchange(ctx, r)
	if m.opts.Exchanged != nil {
		m.opts.Exchanged(ctx, m.opts.Tenant, out.Retried, err)
	}
	return out, err
}

func (m *Manager) exchange(ctx context.Context, r ExchangeRequest) (Exchanged, error) {
	if err := r.Device.Validate(); err != nil { // before any look-up, or a bad request would tell a good guess
		return Exchanged{}, err
	}
	policy, err := m.policy(r.ClientID)
	if err != nil {
		return Exchanged{}, err
	}
	credential, err := m.credential(ctx, r.Secret)
	if err != nil {
		return Exchanged{}, err
	}
	now := m.now()
	x := exchange{
		rule: domain.Exchange{
			Credential: credential, Tenant: m.opts.Tenant, ClientID: r.ClientID, Confirmation: r.Confirmation,
			Device: r.Device, DevicePolicy: m.opts.Device, Now: now, Leeway: m.opts.Leeway, RetryLimit: m.opts.RetryLimit,
			Rotation: policy.Rotation, IdleLifetime: policy.IdleLifetime, ExpiresBy: r.ExpiresBy,
			Granularity: m.opts.LastUsedEvery, Pepper: m.opts.Pepper,
		},
		replay: m.opts.Replay,
		outbox: m.opts.Outbox,
		revoke: store.Revocation{Time: now},
	}
	if err := m.draw(&x.rule); err != nil {
		return Exchanged{}, err
	}
	if x.revoke.ID, err = m.newID(now); err != nil {
		return Exchanged{}, err
	}
	if policy.Rotation == RotationOn {
		if x.siblings, err = m.siblings(ctx, &x.rule); err != nil {
			return Exchanged{}, err
		}
	}
	err = again(func() error {
		x.rule.Counted = x.counted // by an earlier attempt, so that a retry whose outcome was unknown is counted once
		return m.store.Update(ctx, credential.ID, x.decide)
	})
	if x.revoked && (err == nil || errors.Is(err, domain.ErrReused)) {
		m.engine.Recorded(m.opts.Tenant, m.recorded(ctx, x.revoke))
	}
	switch {
	case err == nil:
		m.emitted(KindExchanged | KindRetried)
		return x.out, nil
	case errors.Is(err, store.ErrNotFound):
		return Exchanged{}, domain.ErrUnknownToken
	case errors.Is(err, store.ErrCovered):
		return Exchanged{}, domain.ErrRevoked
	}
	return Exchanged{}, err
}

// recorded is the tombstone of a revocation as it was recorded, or, if that can't be read, as it was asked for.
func (m *Manager) recorded(ctx context.Context, r store.Revocation) domain.Tombstone {
	if status, err := m.store.Revocation(ctx, r.ID); err == nil {
		return status.Tombstone
	}
	return domain.Tombstone{ID: r.ID, Targets: r.Targets, Time: r.Time, Reason: r.Reason}
}

// exchange is one exchange under way. decide may run again, and sets anew what it set before.
type exchange struct {
	rule     domain.Exchange
	replay   ReplayReach
	outbox   Kinds            // what there are events of
	siblings []Target         // what switching rotation on revokes beside
	revoke   store.Revocation // what the exchange revokes, if it does
	revoked  bool
	counted  uint32 // to what the last run of decide raised the retries; 0 if it didn't
	out      Exchanged
}

func (x *exchange) decide(v store.View) store.Decision {
	outcome := x.rule.Apply(v.Token, v.Revoked())
	if outcome.Refusal == "" && outcome.Next == nil && v.Token.Salt == x.rule.Salt {
		// An earlier attempt of this call has committed, with what it revoked.
		x.out = Exchanged{Token: v.Token, Secret: outcome.Secret}
		return store.Decision{}
	}
	d := store.Decision{Next: outcome.Next, Time: x.rule.Now}
	x.revoked, x.counted = false, x.rule.Counted
	switch {
	case v.RevokedBy == x.revoke.ID: // an earlier attempt of this call
		x.revoked = true
		return store.Decision{Err: domain.ErrReused}
	case outcome.Refusal == domain.ErrReused:
		x.revoke.Targets, x.revoke.Reason = x.replay.targets(&v.Token), ReasonReuse
		x.revoke.Emit = cmp.Or(x.outbox&KindReused, x.outbox&KindRevoked) // it is a revocation anyhow
		x.revoked = true
		return store.Decision{Revoke: &x.revoke, Err: outcome.Refusal}
	case outcome.Refusal != "":
		return store.Decision{Err: outcome.Refusal}
	case outcome.Began && len(x.siblings) > 0:
		x.revoke.Targets, x.revoke.Reason = x.siblings, ReasonRotation
		x.revoke.Emit = x.outbox & KindRevoked
		x.revoked = true
		d.Revoke = &x.revoke
	}
	switch {
	case outcome.Retried:
		d.Emit = x.outbox & KindRetried
	case outcome.Next != nil: // a use that is not noted writes nothing at all
		d.Emit = x.outbox & KindExchanged
	}
	x.out = Exchanged{Token: v.Token, Secret: outcome.Secret, Retried: outcome.Retried}
	if outcome.Next != nil {
		x.out.Token = *outcome.Next
		x.counted = outcome.Next.Retries
	}
	return d
}
