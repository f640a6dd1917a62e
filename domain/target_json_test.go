package domain_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// TestTargetJSON: a target is read as it was written, and an erroneous one is never read as a wider one.
func TestTargetJSON(t *testing.T) {
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.FixedZone("", 3600))
	for want, target := range map[string]domain.Target{
		`{"refresh_token_id":"01KJM9SR009WPFZ1FJR8TC7J5W"}`:          {TokenID: ulid.MustParse("01KJM9SR009WPFZ1FJR8TC7J5W")},
		`{"user_id":"u","client_id":"c","session_id":"s"}`:           {UserID: "u", ClientID: "c", SessionID: "s"},
		`{"audience":"https://api.example/","offline":true}`:         {Audience: "https://api.example/", Offline: domain.OfflineYes},
		`{"user_id":"u","offline":false}`:                            {UserID: "u", Offline: domain.OfflineNo},
		`{"issued_before":"2026-03-01T08:00:00.000Z"}`:               {IssuedBefore: at},
		`{"issued_before":"2026-03-01T08:00:00.000000001Z"}`:         {IssuedBefore: at.Add(1)},
		`{"user_id":"u","legacy_before":"2026-03-01T08:00:00.250Z"}`: {UserID: "u", LegacyBefore: at.Add(250 * time.Millisecond)},
		`{"everything":true}`:                                        {Everything: true},
	} {
		text, err := json.Marshal(target)
		if err != nil || string(text) != want {
			t.Errorf("got %s, %v, want %s", text, err, want)
		}
		var read domain.Target
		if err := json.Unmarshal(text, &read); err != nil || read.Key() != target.Key() {
			t.Errorf("%s: got %+v, %v", text, read, err)
		}
	}
	for _, text := range []string{
		`{}`, `null`, `[]`, `{"user":"u"}`, `{"user_id":"u","audiences":["a"]}`, `{"user_id":""}`, `{"user_id":"u","everything":true}`, `{"user_id":"u","issued_before":"yesterday"}`,
		`{"user_id":"u","offline":"no"}`, `{"user_id":"u","refresh_token_id":"x"}`, `{"user_id":"u","session_id":1}`,
		`{"user_id":"u","offline":null}`, `{"user_id":"u","issued_before":null}`,
	} {
		read := domain.Target{UserID: "before"}
		if err := json.Unmarshal([]byte(text), &read); !errors.Is(err, domain.ErrInvalid) || read != (domain.Target{UserID: "before"}) {
			t.Errorf("%s: got %+v, %v", text, read, err)
		}
	}
}
