package domain

import (
	"math"
	"time"
)

// Exchange is one exchange of a credential, all that the rule needs beside the record. It is a value.
type Exchange struct {
	Credential   Credential
	Tenant       string
	ClientID     string       // ClientID is the client that authenticated.
	Confirmation Confirmation // Confirmation is the key that the sender proved to hold; zero for none.
	Device       Device       // Device carries, in its Last fields, where the exchange comes from; empty ones keep the old.
	Now          time.Time
	Salt         Salt          // Salt is drawn once, before the first attempt.
	Leeway       time.Duration // Leeway is how long the direct parent is taken as a retry; not positive for none.
	RetryLimit   uint32        // RetryLimit is how many retries a generation has; 0 for any number.
}

// Exchanged is what the rule decides. Exactly one of Refusal and Secret is set. Next, where it is set, is to be stored.
type Exchanged struct {
	Next    *RefreshToken
	Secret  Secret
	Retried bool    // Retried says that the secret was handed out before.
	Refusal Refusal // Refusal is the cause of a refusal, or "".
}

// Apply decides the exchange on a record as it stands, and on whether a revocation covers it. It is pure: the same record
// always gets the same answer. [ErrReused] asks the caller to revoke the token.
//
// The checks come in this order, so that a wrong client or confirmation never writes, not even for a replay: digests,
// client, confirmation, revocation, expiry, generation.
func (e *Exchange) Apply(token RefreshToken, revoked bool) Exchanged {
	age, refusal := e.Credential.recognise(&token)
	switch {
	case refusal != "":
		return Exchanged{Refusal: refusal}
	case e.ClientID != token.ClientID:
		return Exchanged{Refusal: ErrWrongClient}
	case token.Confirmation != (Confirmation{}) && e.Confirmation != token.Confirmation:
		return Exchanged{Refusal: ErrConfirmation}
	case revoked:
		return Exchanged{Refusal: ErrRevoked}
	}
	if refusal := token.Expired(e.Now); refusal != "" {
		return Exchanged{Refusal: refusal}
	}
	if age == outdated {
		return e.retry(token)
	}
	return e.advance(token)
}

// retry answers an outdated secret: the same successor for the direct parent within the leeway while the successor has
// not been used, a refusal that revokes for everything else.
func (e *Exchange) retry(token RefreshToken) Exchanged {
	successor := e.Credential.Successor(e.Tenant, token.Salt)
	isParent := successor.Generation == token.Generation && token.SecretDigest.Equal(successor.SecretDigest())
	if !isParent {
		return Exchanged{Refusal: ErrReused}
	}
	// An exchange that finds its own salt has committed before, and only its answer was lost on the way here.
	if token.Salt == e.Salt {
		return Exchanged{Secret: successor.Secret()}
	}
	unused := token.LastExchangedAt.Equal(token.RotatedAt)
	elapsed := e.Now.Sub(token.RotatedAt) // below zero if this clock is behind the one that rotated
	if !unused || e.Leeway <= 0 || elapsed >= e.Leeway {
		return Exchanged{Refusal: ErrReused}
	}
	if e.RetryLimit == 0 {
		return Exchanged{Secret: successor.Secret(), Retried: true}
	}
	if token.Retries >= e.RetryLimit {
		return Exchanged{Refusal: ErrRetryLimit}
	}
	token.Retries++
	return Exchanged{Next: &token, Secret: successor.Secret(), Retried: true}
}

// advance answers the current secret: the next generation for a rotating token, the same secret for another.
func (e *Exchange) advance(token RefreshToken) Exchanged {
	next := e.Credential
	token.LastExchangedAt = e.Now
	if token.IdleLifetime > 0 {
		token.IdleExpiresAt = token.IdleLifetime.Deadline(e.Now)
	}
	token.Device = token.Device.seen(e.Device)
	if token.Rotating {
		if token.Generation == math.MaxUint32 { // one more would start again at 0, whose secret is long outdated
			return Exchanged{Refusal: ErrExpired}
		}
		next = e.Credential.Successor(e.Tenant, e.Salt)
		token.Generation = next.Generation
		token.RotatedAt = e.Now
		token.Retries = 0
		token.Salt = e.Salt
		token.SecretDigest = next.SecretDigest()
	}
	return Exchanged{Next: &token, Secret: next.Secret()}
}

// Introspect returns why a credential is not active now, or "" if it is (RFC 7662). An outdated secret is inactive; asking
// never revokes.
func (c Credential) Introspect(token *RefreshToken, revoked bool, now time.Time) Refusal {
	age, refusal := c.recognise(token)
	switch {
	case refusal != "":
		return refusal
	case revoked:
		return ErrRevoked
	case age == outdated:
		return ErrReused
	}
	return token.Expired(now)
}

type age uint8

const (
	current age = iota
	outdated
)

// recognise says which of the token's secrets the credential is. The current one costs one hash.
func (c Credential) recognise(token *RefreshToken) (age, Refusal) {
	if c.Generation == token.Generation {
		if token.SecretDigest != (Digest{}) && token.SecretDigest.Equal(c.SecretDigest()) {
			return current, ""
		}
		return 0, ErrUnknownToken
	}
	if token.FamilyDigest == (Digest{}) || !token.FamilyDigest.Equal(c.FamilyDigest()) {
		return 0, ErrUnknownToken
	}
	if c.Generation > token.Generation {
		return 0, ErrAhead
	}
	return outdated, ""
}

func (d Device) seen(last Device) Device {
	if last.LastIP != "" {
		d.LastIP = last.LastIP
	}
	if last.LastASN != "" {
		d.LastASN = last.LastASN
	}
	if last.LastUserAgent != "" {
		d.LastUserAgent = last.LastUserAgent
	}
	return d
}
