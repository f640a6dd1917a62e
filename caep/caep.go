// Package caep makes security event tokens of the feed's events: the claims of the session-revoked event of the OpenID
// Continuous Access Evaluation Profile 1.0, for a transmitter of the Shared Signals Framework. It builds claims only (RFC 8417);
// signing and delivering them is the host's.
package caep

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// SessionRevokedType is the URI of the event type session-revoked (CAEP §3.1).
const SessionRevokedType = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"

// Envelope is what the feed does not know of a security event token.
type Envelope struct {
	Issuer     string   // Issuer is who signs the token: the claim iss. Required.
	Audience   []string // Audience is who receives it: the claim aud.
	UserIssuer string   // UserIssuer is the issuer within which users have their names. Defaults to Issuer.
	Tenant     string   // Tenant names the tenant in every subject; empty leaves it out.
	// IssuedAt is the claim iat. Defaults to the time of the event, so that an event that is delivered twice makes the same
	// token twice.
	IssuedAt time.Time
	// Initiator says who initiated an event: "admin", "user", "policy" or "system". Defaults to policy for replay, user where the
	// actor is the user, admin for another actor, and system for none.
	Initiator func(store.Event) string
}

// Claims are those of a security event token (RFC 8417 §2.2); they marshal to its JSON. Receivers know by JTI what they have
// had before.
type Claims struct {
	Issuer      string                    `json:"iss"`
	JTI         string                    `json:"jti"`
	IssuedAt    int64                     `json:"iat"`
	Audience    []string                  `json:"aud,omitempty"`
	Transaction string                    `json:"txn,omitempty"` // Transaction is the id of the revocation.
	Subject     Subject                   `json:"sub_id"`
	Events      map[string]SessionRevoked `json:"events"`
}

// SessionRevoked is the payload of the event (CAEP §2, §3.1). EventTimestamp is in seconds.
type SessionRevoked struct {
	EventTimestamp   int64             `json:"event_timestamp"`
	InitiatingEntity string            `json:"initiating_entity"`
	ReasonAdmin      map[string]string `json:"reason_admin,omitempty"` // ReasonAdmin is the reason by language, which is not known.
}

// Subject identifies what an event is about (RFC 9493): a simple subject of the format opaque or iss_sub, or a complex one of
// several.
type Subject struct {
	Format      string   `json:"format"`
	ID          string   `json:"id,omitempty"`
	Issuer      string   `json:"iss,omitempty"`
	Sub         string   `json:"sub,omitempty"`
	User        *Subject `json:"user,omitempty"`
	Session     *Subject `json:"session,omitempty"`
	Application *Subject `json:"application,omitempty"`
	Tenant      *Subject `json:"tenant,omitempty"`
}

// undetermined is the language of a reason whose language is not known (BCP 47, RFC 5646 §4.1).
const undetermined = "und"

// FromEvent returns the claims of an event of the feed: those of one token for each subject, because a security event token
// has just one, and a revocation up to 100 targets. Kinds other than [store.KindRevoked] and [store.KindReused] give none. Nor
// does a target that no subject can stand for without saying more than it does: one of an audience, a time or offline access,
// or of a token that is not there any more. An Envelope without an issuer is a [domain.FieldError].
func FromEvent(e store.Event, env Envelope) ([]Claims, error) {
	if env.Issuer == "" {
		return nil, &domain.FieldError{Field: "issuer", Limit: "at least 1 character"}
	}
	if e.Kind != store.KindRevoked && e.Kind != store.KindReused {
		return nil, nil
	}
	iat := env.IssuedAt
	if iat.IsZero() {
		iat = e.Time
	}
	var all []Claims
	for _, s := range subjects(e) {
		revoked := SessionRevoked{EventTimestamp: e.Time.Unix(), InitiatingEntity: env.initiator(e, s.user)}
		if e.Reason != "" {
			revoked.ReasonAdmin = map[string]string{undetermined: e.Reason}
		}
		id, ok := env.subject(s)
		if !ok {
			continue
		}
		all = append(all, Claims{
			Issuer: env.Issuer, JTI: jti(e, id), IssuedAt: iat.Unix(), Audience: env.Audience,
			Transaction: e.Revocation.String(), Subject: id, Events: map[string]SessionRevoked{SessionRevokedType: revoked},
		})
	}
	return all, nil
}

// jti is the same whenever the same is said of the same event.
func jti(e store.Event, id Subject) string {
	text, _ := json.Marshal(id) // texts alone, which can't fail
	digest := sha256.Sum256(text)
	return fmt.Sprintf("%s.%d.%x", e.Revocation, e.Number, digest[:8])
}

// subject is what a target or a token comes to.
type subject struct {
	user, session, client string
	everything            bool
}

func subjects(e store.Event) []subject {
	var all []subject
	seen := map[subject]bool{}
	add := func(s subject) {
		if !seen[s] {
			seen[s] = true
			all = append(all, s)
		}
	}
	for _, token := range e.Tokens {
		add(subject{user: token.UserID, session: token.SessionID, client: token.ClientID})
	}
	for _, t := range e.Targets {
		narrowed := t.Audience != "" || !t.IssuedBefore.IsZero() || !t.LegacyBefore.IsZero() || t.Offline != domain.OfflineAny
		if t.TokenID == (ulid.ULID{}) && !narrowed {
			add(subject{user: t.UserID, session: t.SessionID, client: t.ClientID, everything: t.Everything})
		}
	}
	return all
}

// subject returns the simplest subject that says as much.
func (env *Envelope) subject(s subject) (Subject, bool) {
	whole := Subject{Format: "complex"}
	var parts []*Subject
	part := func(to **Subject, value string, simple Subject) {
		if value != "" {
			*to = &simple
			parts = append(parts, &simple)
		}
	}
	userIssuer := env.UserIssuer
	if userIssuer == "" {
		userIssuer = env.Issuer
	}
	part(&whole.User, s.user, Subject{Format: "iss_sub", Issuer: userIssuer, Sub: s.user})
	part(&whole.Session, s.session, Subject{Format: "opaque", ID: s.session})
	part(&whole.Application, s.client, Subject{Format: "opaque", ID: s.client})
	if len(parts) > 0 || s.everything {
		part(&whole.Tenant, env.Tenant, Subject{Format: "opaque", ID: env.Tenant})
	}
	switch {
	case len(parts) == 0:
		return Subject{}, false
	case len(parts) == 1 && (whole.User != nil || whole.Session != nil):
		return *parts[0], true
	}
	return whole, true
}

func (env *Envelope) initiator(e store.Event, user string) string {
	switch {
	case env.Initiator != nil:
		return env.Initiator(e)
	case e.Kind == store.KindReused:
		return "policy"
	case e.Actor == "":
		return "system"
	case e.Actor == user:
		return "user"
	}
	return "admin"
}
