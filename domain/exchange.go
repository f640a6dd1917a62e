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
	DevicePolicy DevicePolicy // DevicePolicy is applied to what the record then holds, old and new.
	Now          time.Time
	Salt         Salt          // Salt is drawn once, before the first attempt.
	Leeway       time.Duration // Leeway is how long the direct parent is taken as a retry; not positive for none.
	RetryLimit   uint32        // RetryLimit is how many retries a generation has; 0 for any number.
	Counted      uint32        // Counted is to what an attempt of unknown outcome raised the retries; 0 for none.
	Rotation     Rotation      // Rotation is what the client's policy says now.
	IdleLifetime Lifetime      // IdleLifetime is what the client's policy says now; zero keeps the token's.
	ExpiresBy    time.Time     // ExpiresBy shortens the absolute lifetime; zero doesn't, and neither does a later one.
	// Granularity is how old the last use that a token which does not rotate has noted may become before it is noted
	// again. It is never taken for more than a tenth of the idle lifetime. Not positive notes every use.
	Granularity time.Duration
	// Pepper holds the keys of the digests; nil for none. What the exchange writes is made under the current one.
	Pepper *PepperRing
	// Drawn replaces a weak foreign secret: a credential of the token's first generation, drawn once, before the first attempt.
	// It is needed only where a foreign secret is presented.
	Drawn Credential
}

// Rotation is a client's policy on the rotation of its tokens' secrets.
type Rotation uint8

// The policies on rotation. A change takes effect at the next exchange of each token.
const (
	RotationAsIssued Rotation = iota // RotationAsIssued leaves each token as it is.
	RotationOn                       // RotationOn has every token's secret rotate.
	RotationOff                      // RotationOff has every token keep its current secret.
)

// Exchanged is what the rule decides. Exactly one of Refusal and Secret is set. Next, where it is set, is to be stored.
type Exchanged struct {
	Next    *RefreshToken
	Secret  Secret
	Retried bool    // Retried says that the secret was handed out before.
	Began   bool    // Began says that the token rotates from now on, and did not before.
	Refusal Refusal // Refusal is the cause of a refusal, or "".
}

// Apply decides the exchange on a record as it stands, and on whether a revocation covers it. It is pure: the same record
// always gets the same answer. [ErrReused] asks the caller to revoke the token.
//
// The checks come in this order, so that a wrong client or confirmation never writes, not even for a replay: digests,
// client, confirmation, revocation, expiry, generation.
func (e *Exchange) Apply(token RefreshToken, revoked bool) Exchanged {
	age, refusal := e.Credential.recognise(&token, e.Pepper)
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
// not been used, a refusal that revokes for everything else. A use of the successor replaces the salt, or takes it away where the
// token does not rotate any more, so that nothing derives from its parent what is stored.
func (e *Exchange) retry(token RefreshToken) Exchanged {
	pepper, _ := e.Pepper.key(token.PepperKeyID)
	successor := e.successor(&token, token.Salt, pepper)
	isParent := successor.Generation == token.Generation && token.SecretDigest.Equal(successor.secretDigest(pepper))
	if !isParent {
		return Exchanged{Refusal: ErrReused}
	}
	// An exchange that finds its own salt has committed before, and only its answer was lost on the way here.
	if token.Salt == e.Salt {
		return Exchanged{Secret: successor.Secret()}
	}
	elapsed := e.Now.Sub(token.RotatedAt) // below zero if this clock is behind the one that rotated
	if e.Leeway <= 0 || elapsed >= e.Leeway {
		return Exchanged{Refusal: ErrReused}
	}
	if e.RetryLimit == 0 || e.Counted > 0 && token.Retries >= e.Counted {
		return Exchanged{Secret: successor.Secret(), Retried: true}
	}
	if token.Retries >= e.RetryLimit {
		return Exchanged{Refusal: ErrRetryLimit}
	}
	token.Retries++
	return Exchanged{Next: &token, Secret: successor.Secret(), Retried: true}
}

// successor is what the presented credential is replaced by. A weak foreign secret derives none: who reads the database
// could guess the secret, and derive it too. So a retry finds another one drawn, and is replay, unless it is the same call's.
func (e *Exchange) successor(token *RefreshToken, salt Salt, pepper *pepperKey) Credential {
	if e.Credential.foreign != nil && token.ForeignWeak {
		return e.Drawn
	}
	return e.Credential.successor(e.Tenant, salt, pepper)
}

// advance answers the current secret: the next generation for a rotating token, the same secret for another.
func (e *Exchange) advance(token RefreshToken) Exchanged {
	before := token
	switch e.Rotation {
	case RotationOn:
		token.Rotating = true
	case RotationOff:
		token.Rotating = false
	}
	if e.IdleLifetime != 0 {
		token.IdleLifetime = e.IdleLifetime
	}
	if !e.ExpiresBy.IsZero() && (token.ExpiresAt.IsZero() || e.ExpiresBy.Before(token.ExpiresAt)) {
		token.ExpiresAt = e.ExpiresBy.UTC()
	}
	reseal := e.Credential.foreign == nil && token.PepperKeyID != e.Pepper.Current()
	if !token.Rotating && e.fresh(&before) && token.sameTerms(&before) && !reseal {
		return Exchanged{Secret: e.Credential.Secret()}
	}
	token.LastExchangedAt = e.Now
	if token.IdleLifetime != 0 {
		token.IdleExpiresAt = token.IdleLifetime.Deadline(e.Now)
	}
	token.Device = e.DevicePolicy.Keep(token.Device.seen(e.Device))
	if !token.Rotating {
		token.Salt = Salt{} // a parent, from when it rotated, is no retry any more, though the clock may stand still
		if reseal {
			e.Pepper.Seal(&token, e.Credential)
		}
		return Exchanged{Next: &token, Secret: e.Credential.Secret()}
	}
	if token.Generation == math.MaxUint32 { // one more would start again at 0, whose secret is long outdated
		return Exchanged{Refusal: ErrExpired}
	}
	pepper, _ := e.Pepper.key(e.Pepper.Current())
	next := e.successor(&token, e.Salt, pepper)
	if next.text == nil { // the caller has drawn none; the zero credential is everybody's
		return Exchanged{Refusal: ErrUnknownToken}
	}
	token.Generation = next.Generation
	token.RotatedAt = e.Now
	token.Retries = 0
	token.Salt = e.Salt
	if reseal || e.Credential.foreign != nil {
		e.Pepper.Seal(&token, next)
	} else { // the family's stays as it is: one hash less
		token.SecretDigest = next.secretDigest(pepper)
	}
	return Exchanged{Next: &token, Secret: next.Secret(), Began: !before.Rotating}
}

// fresh reports whether the last use was noted so recently that this one need not be. The token may then expire for want
// of use by as much too early, but never too late.
func (e *Exchange) fresh(token *RefreshToken) bool {
	granularity := e.Granularity
	if token.IdleLifetime > 0 {
		granularity = min(granularity, time.Duration(token.IdleLifetime)/10)
	}
	since := e.Now.Sub(token.LastExchangedAt)
	return !token.LastExchangedAt.IsZero() && since >= 0 && since < granularity
}

// sameTerms reports whether an exchange leaves rotation and lifetimes as they were.
func (t *RefreshToken) sameTerms(before *RefreshToken) bool {
	idle := max(t.IdleLifetime, 0) == max(before.IdleLifetime, 0) // none is said in two ways
	return t.Rotating == before.Rotating && idle && t.ExpiresAt.Equal(before.ExpiresAt)
}

// Introspect returns why a credential is not active now, or "" if it is (RFC 7662). An outdated secret is inactive; asking
// never revokes. The ring holds the keys of the digests; nil for none.
func (c Credential) Introspect(token *RefreshToken, revoked bool, now time.Time, ring *PepperRing) Refusal {
	age, refusal := c.recognise(token, ring)
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
func (c *Credential) recognise(token *RefreshToken, ring *PepperRing) (age, Refusal) {
	pepper, ok := ring.key(token.PepperKeyID)
	switch {
	case !ok:
		return 0, ErrKeyMissing
	case c.foreign != nil:
		return c.recogniseForeign(token)
	}
	if c.Generation == token.Generation {
		if token.SecretDigest != (Digest{}) && token.SecretDigest.Equal(c.secretDigest(pepper)) {
			return current, ""
		}
		return 0, ErrUnknownToken
	}
	if token.FamilyDigest == (Digest{}) || !token.FamilyDigest.Equal(c.familyDigest(pepper)) {
		return 0, ErrUnknownToken
	}
	if c.Generation > token.Generation {
		return 0, ErrAhead
	}
	return outdated, ""
}
