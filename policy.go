package tokenstore

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// ClientPolicy is what a host wants for the tokens of one client. The zero value leaves everything to the [Options].
type ClientPolicy struct {
	// Lifetime and IdleLifetime replace those of the options. The absolute lifetime is fixed at issue; the idle lifetime is
	// read again at every exchange.
	Lifetime     Lifetime
	IdleLifetime Lifetime
	// Rotation switches the rotation of secrets on or off, at the next exchange of each token, whose id stays. Switched on,
	// that exchange also revokes the user's other tokens of this client that do not rotate and share an audience with it, up
	// to 100 of them.
	// Switched off, the token keeps its current secret, and older ones remain replay. Defaults to what each token was
	// issued as.
	Rotation Rotation
	// Cap is how many live tokens a user may have of this client. An issue over it evicts the oldest, or fails with
	// [ErrCap] if CapRefuse. An import never does either, but what it brought counts at the next issue. Defaults to 0, any
	// number.
	Cap       int
	CapRefuse bool
}

// ReplayReach is what the replay of an outdated secret revokes.
type ReplayReach uint8

// The reaches of a revocation for replay.
const (
	ReplayToken   ReplayReach = iota // ReplayToken revokes the token, which is all of its secrets (RFC 9700 §4.14.2).
	ReplaySession                    // ReplaySession revokes the token and all others of its session, if it has one.
	ReplayUser                       // ReplayUser revokes all tokens of the user.
)

func (r ReplayReach) targets(token *RefreshToken) []Target {
	targets := []Target{{TokenID: token.ID}}
	session, ok := token.SessionID.Get()
	switch {
	case r == ReplayUser:
		return []Target{{UserID: token.UserID}}
	case r == ReplaySession && ok:
		return append(targets, Target{SessionID: session})
	}
	return targets
}

// policy returns the policy of a client, checked.
func (m *Manager) policy(clientID string) (ClientPolicy, error) {
	var p ClientPolicy
	if m.opts.Client != nil {
		p = m.opts.Client(clientID)
	}
	if p.Cap < 0 {
		return p, &FieldError{Field: "cap", Limit: "at least 0", Size: p.Cap}
	}
	if p.Rotation > RotationOff {
		return p, &FieldError{Field: "rotation", Limit: "as issued, on or off", Size: int(p.Rotation)}
	}
	return p, checkLifetimes(cmp.Or(p.Lifetime, m.opts.Lifetime), cmp.Or(p.IdleLifetime, m.opts.IdleLifetime))
}

func (p ClientPolicy) cap() store.Cap { return store.Cap{Max: p.Cap, Refuse: p.CapRefuse} }

// siblings returns the targets that an exchange revokes beside if it is the one that switches rotation on. For any other,
// and for one that will be refused, nothing is listed.
func (m *Manager) siblings(ctx context.Context, rule *domain.Exchange) ([]Target, error) {
	id := rule.Credential.ID
	v, err := m.store.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && !rule.Apply(v.Token, v.Revoked()).Began {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var targets []Target
	list := ListRequest{UserID: v.Token.UserID, ClientID: v.Token.ClientID, Limit: store.MaxPage, Consistency: Fenced}
	for other, err := range m.All(ctx, list) {
		if err != nil {
			return nil, err
		}
		if other.ID != id && !other.Rotating && shareAudience(&v.Token, &other) {
			targets = append(targets, Target{TokenID: other.ID})
		}
		if len(targets) == domain.MaxTargets {
			break
		}
	}
	return targets, nil
}

func shareAudience(a, b *RefreshToken) bool {
	return slices.ContainsFunc(a.ResourceServers.Audiences(), b.ResourceServers.HasAudience)
}
