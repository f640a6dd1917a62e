package tokenstore

import (
	"cmp"
	"context"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// IssueRequest is a grant for which a token is to be issued. UserID and ClientID are required; SessionID is, unless the
// tenant's [LegacyRule] allows grants without a session. Their limits are those of package domain.
type IssueRequest struct {
	UserID          string
	ClientID        string
	SessionID       SessionID
	ResourceServers []ResourceServer
	Metadata        map[string]string
	Device          Device // Device carries where the token is issued to, in its Initial fields.
	// Static asks for a token whose secret does not rotate, unless the client's policy says otherwise. RFC 9700 §2.2.2 wants
	// those of public clients rotated or bound to a key.
	Static  bool
	Offline bool // Offline says that offline_access was granted.
	// Confirmation binds the token to the sender's key.
	Confirmation Confirmation
	// AuthenticatedAt is when the user authenticated; it is kept with the token, and refuses nothing.
	AuthenticatedAt time.Time
	// AsOf is the point that the grant stems from, [AsOfSequence] or [AsOfTime] as known when the user authenticated: a
	// revocation that covers the grant since then refuses it. The zero value is now. A session that has been revoked
	// refuses whatever the point, for as long as that is remembered (revocation.Options.MemoryFor).
	AsOf AsOf
	// Lifetime and IdleLifetime replace those of the client's policy and of the options.
	Lifetime     Lifetime
	IdleLifetime Lifetime
}

// Issued is a new token and its first secret, which goes to the client and is kept nowhere.
type Issued struct {
	Token  RefreshToken
	Secret Secret
}

// Issue creates a token, in one durable write. It returns a [FieldError] for a value that breaks a limit, [ErrCap] for a
// client whose policy refuses one more, [ErrRevoked] if the session has been revoked or a revocation since AsOf covers the
// grant, and [ErrBeyondMemory] if AsOf is older than what is remembered: in the last two cases the user has to authenticate
// again.
func (m *Manager) Issue(ctx context.Context, r IssueRequest) (Issued, error) {
	now := m.now()
	policy, err := m.policy(r.ClientID)
	if err != nil {
		return Issued{}, err
	}
	rows := m.rows.Get().(*insertion)
	rows[0].AsOf, rows[0].Cap, rows[0].Emit = r.AsOf, policy.cap(), m.opts.Outbox
	token := &rows[0].Token
	if *token, err = r.token(now, m.opts, policy); err != nil {
		return Issued{}, err
	}
	if token.ID, err = m.newID(now); err != nil {
		return Issued{}, err
	}
	credential, err := domain.NewCredential(token.ID, m.opts.Rand)
	if err != nil {
		return Issued{}, err
	}
	m.opts.Pepper.Seal(token, credential)
	if err := token.Validate(); err != nil {
		return Issued{}, err
	}
	token.Device = m.opts.Device.Keep(token.Device)
	if err := m.opts.Legacy.Check(now, token.SessionID); err != nil {
		return Issued{}, err
	}
	var evicted []RefreshToken
	failed := false
	err = again(func() error {
		results, err := m.store.Insert(ctx, rows[:])
		if err != nil {
			// Another attempt has a row of its own, since a store that failed may still be reading this one; and what was revoked since this
			// one began must not come back by it.
			next := *rows
			if next[0].AsOf == (AsOf{}) {
				next[0].AsOf = AsOfTime(now, 0)
			}
			rows, failed = &next, true
			return err
		}
		evicted = results[0].Evicted
		token = &rows[0].Token
		token.Sequence = results[0].Sequence
		if there := results[0].There; there != nil && there.SecretDigest == token.SecretDigest {
			token.Sequence = there.Sequence
			return nil // an earlier attempt of this call
		}
		return results[0].Err
	})
	if err != nil {
		return Issued{}, err
	}
	m.emitted(KindIssued | KindEvicted)
	if m.opts.Evicted != nil {
		for _, old := range evicted {
			m.opts.Evicted(m.opts.Tenant, old)
		}
	}
	issued := Issued{Token: *token, Secret: credential.Secret()}
	if !failed { // a store that answered keeps nothing of the row (R23)
		*rows = insertion{} // nothing of one user's token stands in the row of another
		m.rows.Put(rows)
	}
	return issued, nil
}

// insertion is what an issue hands to the store.
type insertion [1]store.Insertion

func (r *IssueRequest) token(now time.Time, o Options, p ClientPolicy) (RefreshToken, error) {
	resourceServers, err := domain.NewResourceServers(r.ResourceServers...)
	if err != nil {
		return RefreshToken{}, err
	}
	metadata, err := domain.NewMetadata(r.Metadata)
	if err != nil {
		return RefreshToken{}, err
	}
	lifetime := cmp.Or(r.Lifetime, p.Lifetime, o.Lifetime)
	idle := cmp.Or(r.IdleLifetime, p.IdleLifetime, o.IdleLifetime)
	rotating := !r.Static
	switch p.Rotation {
	case RotationOn:
		rotating = true
	case RotationOff:
		rotating = false
	}
	if err := checkLifetimes(lifetime, idle); err != nil {
		return RefreshToken{}, err
	}
	device := r.Device
	device.LastIP, device.LastASN, device.LastUserAgent = device.InitialIP, device.InitialASN, device.InitialUserAgent
	return RefreshToken{
		UserID: r.UserID, ClientID: r.ClientID, SessionID: r.SessionID,
		CreatedAt: now, AuthenticatedAt: r.AuthenticatedAt.UTC(),
		ExpiresAt: lifetime.Deadline(now), IdleLifetime: idle, IdleExpiresAt: idle.Deadline(now),
		Device: device, Rotating: rotating, Offline: r.Offline,
		ResourceServers: resourceServers, Metadata: metadata, Confirmation: r.Confirmation,
	}, nil
}

// checkLifetimes keeps a lifetime that was reckoned wrong from becoming [Never] unnoticed.
func checkLifetimes(lifetime, idle Lifetime) error {
	if lifetime <= 0 && lifetime != Never {
		return &FieldError{Field: "lifetime", Limit: "positive, or Never", Size: int(lifetime)}
	}
	if idle <= 0 && idle != Never {
		return &FieldError{Field: "idle_lifetime", Limit: "positive, or Never", Size: int(idle)}
	}
	return nil
}
