package domain_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

// noon is the instant at which most of the tests begin.
var noon = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

// must returns the value of a call that can't fail in the test at hand.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// wantField fails unless the error is a FieldError for the field, and an ErrInvalid as well.
func wantField(t *testing.T, err error, field string) *domain.FieldError {
	t.Helper()
	wrong, ok := errors.AsType[*domain.FieldError](err)
	if !ok {
		t.Fatalf("error is %v, want a FieldError for %s", err, field)
	}
	if wrong.Field != field {
		t.Errorf("FieldError names %q, want %q", wrong.Field, field)
	}
	if !errors.Is(err, domain.ErrInvalid) {
		t.Errorf("%v is no ErrInvalid", err)
	}
	return wrong
}

// The generators below draw from few values on purpose, so that what is drawn apart often meets.

func drawID(t *rapid.T, label string) ulid.ULID {
	return ulid.ULID{15: rapid.ByteRange(1, 3).Draw(t, label)}
}

func drawName(t *rapid.T, label string) string {
	return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, label)
}

func drawNameOrNone(t *rapid.T, label string) string {
	return rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, label)
}

func drawTime(t *rapid.T, label string) time.Time {
	return noon.Add(time.Duration(rapid.IntRange(0, 4).Draw(t, label)))
}

func drawTimeOrNone(t *rapid.T, label string) time.Time {
	if rapid.Bool().Draw(t, label+" set") {
		return drawTime(t, label)
	}
	return time.Time{}
}

// drawToken draws what targets look at.
func drawToken(t *rapid.T) domain.RefreshToken {
	token := domain.RefreshToken{
		ID:        drawID(t, "token id"),
		UserID:    drawName(t, "token user"),
		ClientID:  drawName(t, "token client"),
		CreatedAt: drawTime(t, "token created"),
		Offline:   rapid.Bool().Draw(t, "token offline"),
		Sequence:  rapid.Uint64Range(0, 5).Draw(t, "token sequence"),
	}
	if session := drawNameOrNone(t, "token session"); session != "" {
		token.SessionID = must(domain.NewSessionID(session))
	}
	var servers []domain.ResourceServer
	for _, audience := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3).Draw(t, "token audiences") {
		servers = append(servers, domain.ResourceServer{Audience: audience})
	}
	token.ResourceServers = must(domain.NewResourceServers(servers...))
	return token
}

// drawTarget draws a valid target.
func drawTarget(t *rapid.T) domain.Target {
	if rapid.IntRange(0, 19).Draw(t, "everything") == 0 {
		return domain.Target{Everything: true}
	}
	// Most fields stay unset, as a conjunction of all of them would hardly ever match.
	fields := rapid.SliceOfNDistinct(rapid.IntRange(0, 7), 1, 4, rapid.ID).Draw(t, "fields")
	var target domain.Target
	for _, field := range fields {
		switch field {
		case 0:
			target.TokenID = drawID(t, "id")
		case 1:
			target.UserID = drawName(t, "user")
		case 2:
			target.ClientID = drawName(t, "client")
		case 3:
			target.SessionID = drawName(t, "session")
		case 4:
			target.Audience = drawName(t, "audience")
		case 5:
			target.IssuedBefore = drawTime(t, "issued before")
		case 6:
			target.LegacyBefore = drawTime(t, "legacy before")
		case 7:
			target.Offline = rapid.SampledFrom([]domain.Offline{domain.OfflineNo, domain.OfflineYes}).Draw(t, "offline")
		}
	}
	return target
}

func drawTombstone(t *rapid.T) domain.Tombstone {
	tombstone := domain.Tombstone{
		ID:        drawID(t, "tombstone id"),
		Watermark: rapid.Uint64Range(0, 5).Draw(t, "watermark"),
		Time:      drawTime(t, "time"),
	}
	tombstone.Through = tombstone.Time.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "through")))
	for range rapid.IntRange(1, 3).Draw(t, "targets") {
		tombstone.Targets = append(tombstone.Targets, drawTarget(t))
	}
	return tombstone
}

// holdsAny returns the first of the needles that the text holds.
func holdsAny(text string, needles []string) (string, bool) {
	for _, needle := range needles {
		if strings.Contains(text, needle) {
			return needle, true
		}
	}
	return "", false
}

// wantNoValue fails if the text of the error holds the value that it is about.
func wantNoValue(t *testing.T, err error, value string) {
	t.Helper()
	if strings.Contains(err.Error(), value) {
		t.Errorf("the error shows the value: %v", err)
	}
}

// wantAnyField fails unless the error is a FieldError, whichever the field.
func wantAnyField(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*domain.FieldError](err); !ok || !errors.Is(err, domain.ErrInvalid) {
		t.Errorf("error is %v, want a FieldError", err)
	}
}
