package domain_test

import (
	"testing"
	"time"

	"example.com/tokenstore/domain"
)

func TestPublishedCutOffs(t *testing.T) {
	for _, c := range []struct {
		seconds int64
		rule    domain.LegacyRule
		text    string
	}{
		{domain.CutOff, domain.LegacyRule{}, "2023-09-21T00:00:00Z"},
		{domain.CutOffUS3, domain.US3(), "2024-02-22T00:00:00Z"},
	} {
		want := must(time.Parse(time.RFC3339, c.text))
		if got := time.Unix(c.seconds, 0); !got.Equal(want) {
			t.Errorf("the constant is %s, want %s", got.UTC(), want)
		}
		if got := c.rule.At(); got != want {
			t.Errorf("the rule's cut-off is %s, want %s", got, want)
		}
	}
	if domain.US3().AllowNoSession {
		t.Error("US3 allows grants without a session")
	}
}

func TestLegacyRule(t *testing.T) {
	session := must(domain.NewSessionID("session"))
	custom := time.Date(2030, 1, 2, 3, 4, 5, 6, time.FixedZone("", -7*3600))
	rules := map[string]struct {
		rule   domain.LegacyRule
		cutOff time.Time
	}{
		"default":             {domain.LegacyRule{}, time.Date(2023, 9, 21, 0, 0, 0, 0, time.UTC)},
		"US-3":                {domain.US3(), time.Date(2024, 2, 22, 0, 0, 0, 0, time.UTC)},
		"custom":              {domain.LegacyRule{CutOff: custom}, custom},
		"zero in a zone":      {domain.LegacyRule{CutOff: time.Time{}.In(custom.Location())}, time.Unix(domain.CutOff, 0)},
		"epoch is no default": {domain.LegacyRule{CutOff: time.Unix(0, 0)}, time.Unix(0, 0)},
	}
	// The same instant, as clocks around the world show it.
	var zones []*time.Location
	for _, hours := range []float64{0, 14, -11, -12, 5.75, -3.5} {
		zones = append(zones, time.FixedZone("", int(hours*3600)))
	}
	for name, r := range rules {
		for _, c := range []struct {
			offset time.Duration
			legacy bool
		}{
			{-24 * time.Hour, true},
			{-14 * time.Hour, true},
			{-time.Second, true},
			{-1, true},
			{0, false},
			{1, false},
			{time.Second, false},
			{14 * time.Hour, false},
			{24 * time.Hour, false},
		} {
			for _, zone := range zones {
				at := r.cutOff.Add(c.offset).In(zone)
				if got := r.rule.Legacy(at); got != c.legacy {
					t.Errorf("%s: Legacy(%s) is %t, want %t", name, at, got, c.legacy)
				}
				for _, allow := range []bool{false, true} {
					rule := r.rule
					rule.AllowNoSession = allow
					if err := rule.Check(at, session); (err == nil) == c.legacy {
						t.Errorf("%s: with a session at %s: %v", name, at, err)
					}
					if err := rule.Check(at, domain.SessionID{}); (err == nil) != (c.legacy || allow) {
						t.Errorf("%s: without a session at %s, allowed %t: %v", name, at, allow, err)
					}
				}
			}
		}
	}
}

func TestLegacyRuleErrors(t *testing.T) {
	var rule domain.LegacyRule
	at := rule.At()
	err := rule.Check(at.Add(-1), must(domain.NewSessionID("a-private-session")))
	wantField(t, err, "session_id")
	wantNoValue(t, err, "a-private-session")
	wantField(t, rule.Check(at, domain.SessionID{}), "session_id")
}

// TestLegacyTargetFollowsRule: the legacy tokens of the rule are those that a target with its cut-off names.
func TestLegacyTargetFollowsRule(t *testing.T) {
	for _, rule := range []domain.LegacyRule{{}, domain.US3()} {
		target := domain.Target{LegacyBefore: rule.At()}
		for _, offset := range []time.Duration{-time.Hour, -1, 0, 1, time.Hour} {
			token := domain.RefreshToken{CreatedAt: rule.At().Add(offset)}
			if got, want := target.Matches(&token), rule.Legacy(token.CreatedAt); got != want {
				t.Errorf("at %s: the target says %t, the rule %t", token.CreatedAt, got, want)
			}
		}
	}
}
