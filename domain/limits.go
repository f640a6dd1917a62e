package domain

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of the fields. Lengths are counted in Unicode code points. A violation is a [FieldError], never a truncation.
const (
	MaxTenant          = 100  // MaxTenant is the longest tenant name, in characters.
	MaxUserID          = 300  // MaxUserID is the longest user id, in characters.
	MaxClientID        = 64   // MaxClientID is the longest client id, in characters.
	MaxSessionID       = 50   // MaxSessionID is the longest session id, in characters.
	MaxAudience        = 600  // MaxAudience is the longest audience, in characters.
	MaxScopes          = 4000 // MaxScopes is the longest space-separated list of scopes of one resource server.
	MaxResourceServers = 50   // MaxResourceServers is the largest number of resource servers of a token.
	MaxMetadata        = 25   // MaxMetadata is the largest number of metadata entries of a token.
	MaxMetadataText    = 255  // MaxMetadataText is the longest metadata key, and the longest value.
	MaxIP              = 64   // MaxIP is the longest device address, in characters.
	MaxASN             = 32   // MaxASN is the longest autonomous system number, in characters.
	MaxUserAgent       = 2000 // MaxUserAgent is the longest user agent, in characters.
	MaxForeignID       = 255  // MaxForeignID is the longest id that a token may bring from elsewhere.
	MaxConfirmation    = 128  // MaxConfirmation is the longest value of a confirmation.
	MaxPepperKeyID     = 32   // MaxPepperKeyID is the longest id of a pepper key.
	MaxReason          = 200  // MaxReason is the longest reason of a revocation.
	MaxActor           = 300  // MaxActor is the longest actor of a revocation.
	MaxTargets         = 100  // MaxTargets is the largest number of targets of one revocation.
	MaxSecretText      = 2048 // MaxSecretText is the longest text that is looked at as a secret, in bytes.
)

// CheckTenant checks the name of a tenant: 1..[MaxTenant] characters.
func CheckTenant(name string) error { return checkText("tenant", name, 1, MaxTenant) }

// CheckUserID checks a user id: 1..[MaxUserID] characters.
func CheckUserID(id string) error { return checkText("user_id", id, 1, MaxUserID) }

// CheckClientID checks a client id: 1..[MaxClientID] characters.
func CheckClientID(id string) error { return checkText("client_id", id, 1, MaxClientID) }

// CheckAudience checks an audience: 1..[MaxAudience] characters.
func CheckAudience(audience string) error { return checkText("audience", audience, 1, MaxAudience) }

// CheckReason checks the reason of a revocation: up to [MaxReason] characters.
func CheckReason(reason string) error { return checkText("reason", reason, 0, MaxReason) }

// CheckActor checks the actor of a revocation: up to [MaxActor] characters.
func CheckActor(actor string) error { return checkText("actor", actor, 0, MaxActor) }

// checkText is the rule for all text: valid UTF-8 without NUL, of least..most code points.
func checkText(field, text string, least, most int) error {
	if text == "" && least == 0 {
		return nil
	}
	n := len(text)
	if n < least || n > most { // code points may be fewer, and not so few that there are none
		n = utf8.RuneCountInString(text)
	}
	if n < least || n > most {
		return &FieldError{Field: field, Limit: strconv.Itoa(least) + ".." + strconv.Itoa(most) + " characters", Size: n}
	}
	if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		return &FieldError{Field: field, Limit: "valid UTF-8 without NUL", Size: len(text)}
	}
	return nil
}

// checkInstant is the rule for all times: they have a form in RFC 3339, so the year is 1..9999. The zero time is in
// range; whether it may stand for "none" is the field's own rule.
func checkInstant(field string, t time.Time) error {
	const first, last = -62135596800, 253402300799 // 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, in Unix seconds
	if s := t.Unix(); s < first || s > last {
		return &FieldError{Field: field, Limit: "in the years 1..9999", Size: t.UTC().Year()}
	}
	return nil
}

func checkAll(checks ...error) error {
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}
