package tokenstore

import (
	"context"
	"errors"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// Introspection is what is known of a secret (RFC 7662).
type Introspection struct {
	Active bool
	// Token is the token of the secret. [Manager.Introspect] sets it only if the secret is active.
	Token RefreshToken
	Cause Refusal // Cause is why it is not active, for the host alone: a client is told no more than active=false.
}

// Introspect says whether a secret could be exchanged now. It writes nothing: an outdated secret is just not active. A
// revocation that was acknowledged before is always seen. The error is for faults of the store only.
func (m *Manager) Introspect(ctx context.Context, s Secret) (in Introspection, err error) {
	in.Token, in.Cause, err = m.recognise(ctx, s) // a token is large: it is copied as seldom as can be
	if in.Active = err == nil && in.Cause == ""; !in.Active {
		in.Token = RefreshToken{}
	}
	return in, err
}

// Recognise is [Manager.Introspect] for a server that has to know the token of a secret before it exchanges it, because it
// compares client and scopes first: the answer has the token of every genuine secret, also of an outdated one, and of one
// whose token is expired, or revoked and not yet swept. It writes nothing and lets nothing pass: that does Exchange, and
// who accepts a secret for anything else asks whether it is active.
//
// The token is the zero value where there is none, where the secret is not genuine, and where its key is missing.
func (m *Manager) Recognise(ctx context.Context, s Secret) (Introspection, error) {
	token, cause, err := m.recognise(ctx, s)
	if err != nil {
		return Introspection{}, err
	}
	switch cause {
	case domain.ErrMalformed, domain.ErrUnknownToken, domain.ErrKeyMissing:
		token = RefreshToken{}
	}
	return Introspection{Active: cause == "", Token: token, Cause: cause}, nil
}

// recognise returns the record that a secret names, and why the secret could not be exchanged now. Whether the secret is
// genuine is not known if its key is missing, and it is not if the token is unknown.
func (m *Manager) recognise(ctx context.Context, s Secret) (RefreshToken, Refusal, error) {
	credential, err := m.credential(ctx, s)
	if err != nil {
		if cause, refused := errors.AsType[Refusal](err); refused {
			return RefreshToken{}, cause, nil
		}
		return RefreshToken{}, "", err
	}
	v, err := m.store.Get(ctx, credential.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return RefreshToken{}, domain.ErrUnknownToken, nil
	case err != nil:
		return RefreshToken{}, "", err
	}
	return v.Token, credential.Introspect(&v.Token, v.Revoked(), m.opts.Now(), m.opts.Pepper), nil
}
