package domain_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"example.com/tokenstore/domain"
)

// tokenWith checks a token that is valid but for what change does to it.
func tokenWith(change func(*domain.RefreshToken)) error {
	token := full()
	change(&token)
	return token.Validate()
}

// textFields are all texts that have a limit, and how each of them is checked.
var textFields = []struct {
	field       string
	least, most int
	check       func(text string) error
}{
	{"tenant", 1, 100, domain.CheckTenant},
	{"user_id", 1, 300, domain.CheckUserID},
	{"client_id", 1, 64, domain.CheckClientID},
	{"audience", 1, 600, domain.CheckAudience},
	{"reason", 0, 200, domain.CheckReason},
	{"actor", 0, 300, domain.CheckActor},
	{"session_id", 1, 50, func(s string) error { _, err := domain.NewSessionID(s); return err }},
	{"user_id", 1, 300, func(s string) error { return tokenWith(func(t *domain.RefreshToken) { t.UserID = s }) }},
	{"client_id", 1, 64, func(s string) error { return tokenWith(func(t *domain.RefreshToken) { t.ClientID = s }) }},
	{"foreign_id", 0, 255, func(s string) error { return tokenWith(func(t *domain.RefreshToken) { t.ForeignID = s }) }},
	{"pepper_key_id", 0, 32, func(s string) error { return tokenWith(func(t *domain.RefreshToken) { t.PepperKeyID = s }) }},
	{"last_ip", 0, 64, func(s string) error { return domain.Device{LastIP: s}.Validate() }},
	{"initial_ip", 0, 64, func(s string) error { return tokenWith(func(t *domain.RefreshToken) { t.Device.InitialIP = s }) }},
	{"initial_asn", 0, 32, func(s string) error { return tokenWith(func(t *domain.RefreshToken) { t.Device.InitialASN = s }) }},
	{"initial_user_agent", 0, 2000, func(s string) error {
		return tokenWith(func(t *domain.RefreshToken) { t.Device.InitialUserAgent = s })
	}},
	{"last_ip", 0, 64, func(s string) error { return tokenWith(func(t *domain.RefreshToken) { t.Device.LastIP = s }) }},
	{"last_asn", 0, 32, func(s string) error { return tokenWith(func(t *domain.RefreshToken) { t.Device.LastASN = s }) }},
	{"last_user_agent", 0, 2000, func(s string) error { return tokenWith(func(t *domain.RefreshToken) { t.Device.LastUserAgent = s }) }},
	{"confirmation", 1, 128, func(s string) error {
		return tokenWith(func(t *domain.RefreshToken) { t.Confirmation = domain.Confirmation{Kind: "jkt", Value: s} })
	}},
	{"confirmation", 1, 128, func(s string) error {
		return tokenWith(func(t *domain.RefreshToken) { t.Confirmation = domain.Confirmation{Kind: "x5t#S256", Value: s} })
	}},
	{"audience", 1, 600, func(s string) error {
		_, err := domain.NewResourceServers(domain.ResourceServer{Audience: "a"}, domain.ResourceServer{Audience: s})
		return err
	}},
	{"scopes", 0, 4000, func(s string) error {
		_, err := domain.NewResourceServers(domain.ResourceServer{Audience: "a", Scopes: s})
		return err
	}},
	{"refresh_token_metadata", 0, 255, func(s string) error {
		_, err := domain.NewMetadata(map[string]string{"key": s})
		return err
	}},
	{"user_id", 0, 300, func(s string) error { return domain.Target{Offline: domain.OfflineNo, UserID: s}.Validate() }},
	{"client_id", 0, 64, func(s string) error { return domain.Target{Offline: domain.OfflineNo, ClientID: s}.Validate() }},
	{"session_id", 0, 50, func(s string) error { return domain.Target{Offline: domain.OfflineNo, SessionID: s}.Validate() }},
	{"audience", 0, 600, func(s string) error { return domain.Target{Offline: domain.OfflineNo, Audience: s}.Validate() }},
}

func TestTextLimits(t *testing.T) {
	for i, f := range textFields {
		t.Run(fmt.Sprint(i, " ", f.field), func(t *testing.T) {
			// Characters of one to four bytes each count once.
			for _, letter := range []string{"x", "é", "世", "🗝"} {
				for _, size := range []int{f.least, f.least + 1, f.most - 1, f.most} {
					if err := f.check(strings.Repeat(letter, size)); err != nil {
						t.Errorf("%d of %s: %v", size, letter, err)
					}
				}
				for _, size := range []int{f.most + 1, f.most * 10} {
					err := f.check(strings.Repeat(letter, size))
					if wrong := wantField(t, err, f.field); wrong.Size != size {
						t.Errorf("%d of %s: the size is said to be %d", size, letter, wrong.Size)
					}
					wantNoValue(t, err, strings.Repeat(letter, 4))
				}
			}
			if f.least > 0 {
				if wrong := wantField(t, f.check(""), f.field); wrong.Size != 0 {
					t.Errorf("nothing: the size is said to be %d", wrong.Size)
				}
			}
			for _, text := range []string{"private\x00", "\x00private", "\x00", "private\xff", "\xc3", "pri\xed\xa0\x80vate"} {
				err := f.check(text)
				wantField(t, err, f.field)
				wantNoValue(t, err, "private")
			}
			if err := f.check("\ufffd"); err != nil {
				t.Errorf("U+FFFD is a character like others: %v", err)
			}
		})
	}
}

func TestLimitConstants(t *testing.T) {
	// Hosts size their columns by these.
	for name, c := range map[string][2]int{
		"MaxTenant": {domain.MaxTenant, 100}, "MaxUserID": {domain.MaxUserID, 300}, "MaxClientID": {domain.MaxClientID, 64},
		"MaxSessionID": {domain.MaxSessionID, 50}, "MaxAudience": {domain.MaxAudience, 600}, "MaxScopes": {domain.MaxScopes, 4000},
		"MaxResourceServers": {domain.MaxResourceServers, 50}, "MaxMetadata": {domain.MaxMetadata, 25},
		"MaxMetadataText": {domain.MaxMetadataText, 255}, "MaxIP": {domain.MaxIP, 64}, "MaxASN": {domain.MaxASN, 32},
		"MaxUserAgent": {domain.MaxUserAgent, 2000}, "MaxForeignID": {domain.MaxForeignID, 255},
		"MaxConfirmation": {domain.MaxConfirmation, 128}, "MaxPepperKeyID": {domain.MaxPepperKeyID, 32},
		"MaxReason": {domain.MaxReason, 200}, "MaxActor": {domain.MaxActor, 300}, "MaxTargets": {domain.MaxTargets, 100},
		"MaxSecretText": {domain.MaxSecretText, 2048},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is %d, want %d", name, c[0], c[1])
		}
	}
}

func TestCountLimits(t *testing.T) {
	servers := func(n int) error {
		list := make([]domain.ResourceServer, n)
		for i := range list {
			list[i].Audience = "private"
		}
		made, err := domain.NewResourceServers(list...)
		if err == nil && made.Len() != n {
			t.Errorf("%d resource servers become %d", n, made.Len())
		}
		return err
	}
	metadata := func(n int) error {
		entries := make(map[string]string, n)
		for i := range n {
			entries[fmt.Sprint("private-", i)] = "private"
		}
		made, err := domain.NewMetadata(entries)
		if err == nil && made.Len() != n {
			t.Errorf("%d entries become %d", n, made.Len())
		}
		return err
	}
	for _, c := range []struct {
		field string
		most  int
		check func(int) error
	}{
		{"resource_servers", 50, servers},
		{"refresh_token_metadata", 25, metadata},
	} {
		for _, n := range []int{0, 1, c.most} {
			if err := c.check(n); err != nil {
				t.Errorf("%s, %d: %v", c.field, n, err)
			}
		}
		err := c.check(c.most + 1)
		if wrong := wantField(t, err, c.field); wrong.Size != c.most+1 {
			t.Errorf("%s: the size is said to be %d", c.field, wrong.Size)
		}
		wantNoValue(t, err, "private")
	}
}

func TestMetadataKeys(t *testing.T) {
	for _, key := range []string{"a", "Z", "0", "_", "-", "azAZ09_-", strings.Repeat("k", 255)} {
		if _, err := domain.NewMetadata(map[string]string{key: ""}); err != nil {
			t.Errorf("key %q: %v", key, err)
		}
	}
	for _, key := range []string{
		"", "private key", "private.key", "@", "[", "`", "{", "/", ":", "private\x00", "é", "private\xff", "\n", strings.Repeat("k", 256),
	} {
		_, err := domain.NewMetadata(map[string]string{key: ""})
		if wrong := wantField(t, err, "refresh_token_metadata"); wrong.Size != len(key) {
			t.Errorf("key %q: the size is said to be %d", key, wrong.Size)
		}
		wantNoValue(t, err, "private")
	}
}

func TestConfirmationKinds(t *testing.T) {
	for _, c := range []struct {
		confirmation domain.Confirmation
		valid        bool
	}{
		{domain.Confirmation{}, true},
		{domain.Confirmation{Kind: "jkt", Value: "v"}, true},
		{domain.Confirmation{Kind: "x5t#S256", Value: "v"}, true},
		{domain.Confirmation{Value: "private"}, false},
		{domain.Confirmation{Kind: "jkt"}, false},
		{domain.Confirmation{Kind: "JKT", Value: "private"}, false},
		{domain.Confirmation{Kind: "private", Value: "private"}, false},
	} {
		err := tokenWith(func(t *domain.RefreshToken) { t.Confirmation = c.confirmation })
		if c.valid {
			if err != nil {
				t.Errorf("%+v: %v", c.confirmation, err)
			}
			continue
		}
		wantField(t, err, "confirmation")
		wantNoValue(t, err, "private")
	}
}

func TestTokenTimes(t *testing.T) {
	times := map[string]func(*domain.RefreshToken) *time.Time{
		"created_at":        func(t *domain.RefreshToken) *time.Time { return &t.CreatedAt },
		"authenticated_at":  func(t *domain.RefreshToken) *time.Time { return &t.AuthenticatedAt },
		"expires_at":        func(t *domain.RefreshToken) *time.Time { return &t.ExpiresAt },
		"idle_expires_at":   func(t *domain.RefreshToken) *time.Time { return &t.IdleExpiresAt },
		"last_exchanged_at": func(t *domain.RefreshToken) *time.Time { return &t.LastExchangedAt },
	}
	for field, at := range times {
		check := func(value time.Time) error { return tokenWith(func(t *domain.RefreshToken) { *at(t) = value }) }
		for _, good := range []time.Time{
			time.Time{}.Add(1), time.Time{}.Add(1).In(west), time.Unix(0, 0), noon.In(east), endOfTime, endOfTime.In(east),
		} {
			if err := check(good); err != nil {
				t.Errorf("%s of %s: %v", field, good, err)
			}
		}
		for _, bad := range []time.Time{time.Time{}.Add(-1), time.Time{}.Add(-1).In(east), endOfTime.Add(1), endOfTime.Add(1).In(west)} {
			wantField(t, check(bad), field)
		}
		if err := check(time.Time{}); (err != nil) != (field == "created_at") {
			t.Errorf("%s of the zero time: %v", field, err)
		}
	}
	wantField(t, tokenWith(func(t *domain.RefreshToken) { t.CreatedAt = time.Time{}.In(east) }), "created_at")
}

func TestTokenID(t *testing.T) {
	wantField(t, tokenWith(func(t *domain.RefreshToken) { t.ID = ulid.ULID{} }), "id")
	if err := tokenWith(func(*domain.RefreshToken) {}); err != nil {
		t.Errorf("a valid token: %v", err)
	}
}

func TestFieldError(t *testing.T) {
	err := fmt.Errorf("import row 7: %w", domain.CheckTenant(""))
	wantField(t, err, "tenant")
	if got, want := err.Error(), "import row 7: tokenstore: tenant: must be 1..100 characters (size 0)"; got != want {
		t.Errorf("text is %q, want %q", got, want)
	}
	if got, want := (domain.Target{}).Validate().Error(), "tokenstore: target: must be at least one constraint, or explicitly everything"; got != want {
		t.Errorf("where the limit is none of size the text is %q, want %q", got, want)
	}
	if errors.Is(err, domain.ErrInvalidGrant) || errors.Is(err, domain.ErrRevoked) {
		t.Error("a FieldError is taken for a refusal")
	}
}

func TestRefusals(t *testing.T) {
	all := []domain.Refusal{
		domain.ErrMalformed, domain.ErrUnknownToken, domain.ErrWrongClient, domain.ErrConfirmation, domain.ErrRevoked,
		domain.ErrExpired, domain.ErrIdleExpired, domain.ErrReused, domain.ErrRetryLimit, domain.ErrAhead, domain.ErrBeyondMemory,
	}
	for i, a := range all {
		wrapped := fmt.Errorf("exchange: %w", a)
		if !errors.Is(wrapped, domain.ErrInvalidGrant) {
			t.Errorf("%v is no ErrInvalidGrant", a)
		}
		if errors.Is(wrapped, domain.ErrInvalid) {
			t.Errorf("%v is an ErrInvalid", a)
		}
		if got, ok := errors.AsType[domain.Refusal](wrapped); !ok || got != a {
			t.Errorf("%v is found as %v", a, got)
		}
		for j, b := range all {
			if errors.Is(wrapped, b) != (i == j) {
				t.Errorf("%v and %v are not told apart", a, b)
			}
		}
	}
}
