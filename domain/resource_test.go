package domain_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

const golden = `{
  "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
  "user_id": "auth0|507f1f77bcf86cd799439020",
  "created_at": "2025-06-01T12:00:00.000Z",
  "idle_expires_at": "2025-06-02T12:00:00.123Z",
  "expires_at": "2025-07-01T12:00:00.999Z",
  "last_exchanged_at": "2025-06-01T13:00:00.000Z",
  "device": {
    "initial_ip": "192.0.2.1",
    "initial_asn": "64500",
    "initial_user_agent": "first/1.0",
    "last_ip": "2001:db8::1",
    "last_asn": "64501",
    "last_user_agent": "last/2.0"
  },
  "client_id": "AaiyAPdpYdesoKnqjj8HJqRn4T5titww",
  "session_id": "sid-1",
  "rotating": true,
  "resource_servers": [
    {
      "audience": "https://api.example.com/",
      "scopes": "read:users write:users"
    },
    {
      "audience": "https://other.example.com/",
      "scopes": ""
    }
  ],
  "refresh_token_metadata": {
    "a": "1",
    "b": "2"
  }
}`

func goldenToken() domain.RefreshToken {
	return domain.RefreshToken{
		ID:              ulid.MustParseStrict("01ARZ3NDEKTSV4RRFFQ69G5FAV"),
		UserID:          "auth0|507f1f77bcf86cd799439020",
		ClientID:        "AaiyAPdpYdesoKnqjj8HJqRn4T5titww",
		SessionID:       must(domain.NewSessionID("sid-1")),
		CreatedAt:       noon.In(east), // written in UTC
		IdleExpiresAt:   noon.Add(24*time.Hour + 123*time.Millisecond),
		ExpiresAt:       time.Date(2025, 7, 1, 12, 0, 0, 999_000_000, time.UTC),
		LastExchangedAt: noon.Add(time.Hour),
		Device: domain.Device{
			InitialIP: "192.0.2.1", InitialASN: "64500", InitialUserAgent: "first/1.0",
			LastIP: "2001:db8::1", LastASN: "64501", LastUserAgent: "last/2.0",
		},
		Rotating: true,
		ResourceServers: must(domain.NewResourceServers(
			domain.ResourceServer{Audience: "https://api.example.com/", Scopes: "read:users write:users"},
			domain.ResourceServer{Audience: "https://other.example.com/"},
		)),
		Metadata: must(domain.NewMetadata(map[string]string{"b": "2", "a": "1"})),
	}
}

func TestResourceGolden(t *testing.T) {
	token := goldenToken()
	if got := string(must(json.MarshalIndent(token, "", "  "))); got != golden {
		t.Errorf("got %s\nwant %s", got, golden)
	}
	if got := string(must(json.MarshalIndent(&token, "", "  "))); got != golden {
		t.Errorf("a pointer is written differently: %s", got)
	}
	var back domain.RefreshToken
	if err := json.Unmarshal([]byte(golden), &back); err != nil {
		t.Fatal(err)
	}
	if !sameResource(back, token) {
		t.Errorf("got %+v, want %+v", back, token)
	}
	if err := back.Validate(); err != nil {
		t.Errorf("what was read is not valid: %v", err)
	}
}

func TestResourceShowsNoInternals(t *testing.T) {
	token := goldenToken()
	c := newCredential()
	token.FamilyDigest, token.SecretDigest, token.ForeignDigest = c.FamilyDigest(), c.SecretDigest(), domain.Digest{1}
	token.Salt, token.Sequence, token.Generation, token.Retries = domain.Salt{1}, 7, 8, 9
	token.Confirmation, token.PepperKeyID, token.RotatedAt = jkt, "pepper", noon
	token.AuthenticatedAt, token.IdleLifetime = noon, domain.Never
	if got := string(must(json.MarshalIndent(token, "", "  "))); got != golden {
		t.Errorf("got %s", got)
	}
}

// sameResource compares what the resource shows.
func sameResource(a, b domain.RefreshToken) bool {
	return a.ID == b.ID && a.ForeignID == b.ForeignID && a.UserID == b.UserID && a.ClientID == b.ClientID && a.SessionID == b.SessionID &&
		a.CreatedAt.Equal(b.CreatedAt) && a.ExpiresAt.Equal(b.ExpiresAt) && a.IdleExpiresAt.Equal(b.IdleExpiresAt) &&
		a.LastExchangedAt.Equal(b.LastExchangedAt) && a.Device == b.Device && a.Rotating == b.Rotating &&
		slices.Equal(slices.Collect(a.ResourceServers.All()), slices.Collect(b.ResourceServers.All())) &&
		maps.Equal(maps.Collect(a.Metadata.All()), maps.Collect(b.Metadata.All()))
}

func TestResourceOfLittle(t *testing.T) {
	token := domain.RefreshToken{ID: ulid.ULID{15: 1}, UserID: "u", ClientID: "c", CreatedAt: noon}
	const want = `{"id":"00000000000000000000000001","user_id":"u","created_at":"2025-06-01T12:00:00.000Z",` +
		`"idle_expires_at":null,"expires_at":null,"last_exchanged_at":null,"client_id":"c","session_id":null,` +
		`"rotating":false,"resource_servers":[],"refresh_token_metadata":null}`
	if got := string(must(json.Marshal(token))); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	token.ExpiresAt, token.IdleExpiresAt = time.Time{}.In(east), time.Time{}.In(west)
	if got := string(must(json.Marshal(token))); got != want {
		t.Errorf("zero times in zones: got  %s\nwant %s", got, want)
	}
	var back domain.RefreshToken
	if err := json.Unmarshal([]byte(want), &back); err != nil || !sameResource(back, token) {
		t.Errorf("reads as %+v, %v", back, err)
	}
}

func TestResourceTimes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"2025-06-01T12:00:00Z", "2025-06-01T12:00:00.000Z"},
		{"2025-06-01T12:00:00.1Z", "2025-06-01T12:00:00.100Z"},
		{"2025-06-01T12:00:00.123456789Z", "2025-06-01T12:00:00.123Z"},
		{"2025-06-01T12:00:00.999999999Z", "2025-06-01T12:00:00.999Z"},
		{"2025-06-02T02:00:00+14:00", "2025-06-01T12:00:00.000Z"},
		{"2025-06-01T01:00:00-11:00", "2025-06-01T12:00:00.000Z"},
		{"1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"},
		{"9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"},
	} {
		for _, key := range []string{"created_at", "expires_at", "idle_expires_at", "last_exchanged_at"} {
			var token domain.RefreshToken
			if err := json.Unmarshal([]byte(`{"`+key+`":"`+c.text+`"}`), &token); err != nil {
				t.Errorf("%s of %s: %v", key, c.text, err)
			}
			if data := must(json.Marshal(token)); !bytes.Contains(data, []byte(`"`+key+`":"`+c.want+`"`)) {
				t.Errorf("%s of %s is written as %s", key, c.text, data)
			}
			for _, at := range []time.Time{token.CreatedAt, token.ExpiresAt, token.IdleExpiresAt, token.LastExchangedAt} {
				if at.Location() != time.UTC {
					t.Errorf("%s of %s is in %s", key, c.text, at.Location())
				}
			}
		}
	}
}

func TestResourceUnmarshalLenient(t *testing.T) {
	const data = ` {"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","user_id":"u","client_id":"c","created_at":"2025-06-01T12:00:00Z",
		"unknown":{"nested":[1,2,{"session_id":5}]},"sequence":9,"generation":9,"device":null,"expires_at":null,
		"resource_servers":null,"refresh_token_metadata":{}} `
	token := goldenToken() // all of which the record that is read replaces
	token.Sequence, token.Salt = 5, domain.Salt{1}
	if err := json.Unmarshal([]byte(data), &token); err != nil {
		t.Fatal(err)
	}
	want := domain.RefreshToken{
		ID: ulid.MustParseStrict("01ARZ3NDEKTSV4RRFFQ69G5FAV"), UserID: "u", ClientID: "c", CreatedAt: noon,
	}
	if !sameResource(token, want) || !sameRecord(token, want) {
		t.Errorf("got %+v, want %+v", token, want)
	}
}

func TestResourceUnmarshalRefused(t *testing.T) {
	for data, field := range map[string]string{
		`[]`: "token", `"text"`: "token", `1`: "token", `true`: "token",
		`{"id":1}`: "token", `{"id":{}}`: "token", `{"user_id":1}`: "token", `{"client_id":[]}`: "token",
		`{"rotating":"true"}`: "token", `{"rotating":1}`: "token", `{"device":"phone"}`: "token", `{"device":{"last_ip":1}}`: "token",
		`{"created_at":1748779200}`: "token", `{"created_at":"yesterday"}`: "token", `{"created_at":""}`: "token",
		`{"created_at":"2025-06-01"}`: "token", `{"created_at":"2025-06-01 12:00:00Z"}`: "token",
		`{"created_at":"2025-06-01T12:00:00"}`: "token", `{"expires_at":"2025-02-30T12:00:00Z"}`: "token",
		`{"idle_expires_at":false}`: "token", `{"last_exchanged_at":{}}`: "token", `{"expires_at":"10000-01-01T00:00:00Z"}`: "token",
		`{"session_id":1}`: "session_id", `{"session_id":""}`: "session_id", `{"session_id":["s"]}`: "session_id",
		`{"session_id":"` + strings.Repeat("s", 51) + `"}`:          "session_id",
		`{"resource_servers":{}}`:                                   "resource_servers",
		`{"resource_servers":[{"audience":""}]}`:                    "audience",
		`{"resource_servers":[{"audience":"a","scopes":"\u0000"}]}`: "scopes",
		`{"refresh_token_metadata":[]}`:                             "refresh_token_metadata",
		`{"refresh_token_metadata":{"a":1}}`:                        "refresh_token_metadata",
		`{"refresh_token_metadata":{"private key":"v"}}`:            "refresh_token_metadata",
		"{\"id\":\"\xff\"}":                                         "token", "{\"unknown\":\"\xc3\"}": "token", "{\"user_id\":\"\xed\xa0\x80\"}": "token",
	} {
		token := goldenToken()
		err := token.UnmarshalJSON([]byte(data))
		wantField(t, err, field)
		wantNoValue(t, err, "private")
		if !sameResource(token, goldenToken()) {
			t.Errorf("%s is refused, and yet changes the record", data)
		}
		wantField(t, json.Unmarshal([]byte(data), &token), field)
	}
	for _, data := range []string{"", "{", "nul", `{"id":}`, `{} {}`} { // of which encoding/json itself tells
		var token domain.RefreshToken
		wantField(t, token.UnmarshalJSON([]byte(data)), "token")
	}
}

func TestResourceID(t *testing.T) {
	const own = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for _, c := range []struct {
		text    string
		foreign bool
	}{
		{own, false},
		{"7ZZZZZZZZZZZZZZZZZZZZZZZZZ", false},
		{"00000000000000000000000001", false},
		{strings.ToLower(own), true},
		{"00000000000000000000000000", true}, // stands for no id
		{"8ZZZZZZZZZZZZZZZZZZZZZZZZZ", true}, // more than 128 bits
		{"01ARZ3NDEKTSV4RRFFQ69G5FAU", true}, // U is no letter
		{"O1ARZ3NDEKTSV4RRFFQ69G5FAV", true}, // an alias of 0
		{own + "0", true},
		{own[:25], true},
		{" " + own, true},
		{"rt_507f1f77bcf86cd799439020", true},
		{"日本語", true},
	} {
		var token domain.RefreshToken
		if err := json.Unmarshal([]byte(`{"id":"`+c.text+`"}`), &token); err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		wantID, wantForeign := c.text, ""
		if c.foreign {
			wantID, wantForeign = ulid.ULID{}.String(), c.text // the id of the record takes a tenant to make
		}
		if token.ID.String() != wantID || token.ForeignID != wantForeign {
			t.Errorf("%q becomes id %s, foreign id %q", c.text, token.ID, token.ForeignID)
		}
		if data := must(json.Marshal(token)); !bytes.Contains(data, []byte(`{"id":"`+c.text+`"`)) {
			t.Errorf("%q is written as %s", c.text, data)
		}
		if id, ok := domain.ParseID(c.text); ok == c.foreign || ok && id.String() != c.text || !ok && !id.IsZero() {
			t.Errorf("ParseID of %q is %s, %t", c.text, id, ok)
		}
	}
}

func TestResourceForeignID(t *testing.T) {
	token := goldenToken()
	token.ForeignID = "rt_1"
	data := must(json.Marshal(token))
	if !bytes.HasPrefix(data, []byte(`{"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","foreign_id":"rt_1","user_id":`)) {
		t.Errorf("the two ids are written as %s", data)
	}
	var back domain.RefreshToken
	if err := json.Unmarshal(data, &back); err != nil || !sameResource(back, token) {
		t.Errorf("reads as %+v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"id":"rt_2","foreign_id":"rt_1"}`), &back); err != nil || !back.ID.IsZero() || back.ForeignID != "rt_2" {
		t.Errorf("an id that is no ULID does not go to ForeignID: %+v, %v", back, err)
	}
	wantField(t, json.Unmarshal([]byte(`{"foreign_id":1}`), &back), "token")
}

func drawResource(t *rapid.T) domain.RefreshToken {
	at := func(label string) time.Time {
		if !rapid.Bool().Draw(t, label+" set") {
			return time.Time{}
		}
		ms := rapid.Int64Range(time.Time{}.UnixMilli()+1, endOfTime.UnixMilli()).Draw(t, label)
		return time.UnixMilli(ms).In(rapid.SampledFrom([]*time.Location{time.UTC, east, west}).Draw(t, label+" zone"))
	}
	token := domain.RefreshToken{
		UserID: drawText(0).Draw(t, "user"), ClientID: drawText(0).Draw(t, "client"),
		CreatedAt: at("created"), ExpiresAt: at("expires"), IdleExpiresAt: at("idle"), LastExchangedAt: at("exchanged"),
		Device:   domain.Device{InitialIP: drawText(0).Draw(t, "ip"), LastUserAgent: drawText(0).Draw(t, "agent")},
		Rotating: rapid.Bool().Draw(t, "rotating"), ResourceServers: drawServers(t), Metadata: drawMetadata(t),
	}
	// A record from elsewhere has no id until it is made one. A record that was imported has both.
	if rapid.Bool().Draw(t, "foreign") {
		token.ForeignID = drawText(1).Draw(t, "foreign id")
	}
	if token.ForeignID == "" || rapid.Bool().Draw(t, "imported") {
		token.ID = drawID(t, "id")
	}
	if rapid.Bool().Draw(t, "has session") {
		token.SessionID = must(domain.NewSessionID(drawText(1).Draw(t, "session")))
	}
	return token
}

func TestResourceRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token := drawResource(t)
		data := must(json.Marshal(token))
		t.Logf("%s", data)
		if !bytes.Contains(data, []byte(`"session_id":`)) {
			t.Fatalf("there is no session_id")
		}
		var back domain.RefreshToken
		if json.Unmarshal(data, &back) != nil {
			t.Fatalf("what was marshalled does not unmarshal")
		}
		if !sameResource(back, token) {
			t.Fatalf("a token is another after JSON")
		}
		if !bytes.Equal(must(json.Marshal(back)), data) {
			t.Fatalf("the second JSON is another")
		}
	})
}

func FuzzRefreshTokenUnmarshal(f *testing.F) {
	f.Add([]byte(golden))
	f.Add(must(json.Marshal(domain.RefreshToken{ID: ulid.ULID{15: 1}, CreatedAt: noon})))
	f.Add([]byte(`{"id":"rt_1","session_id":null,"created_at":"2023-09-21T00:00:00+14:00","device":{}}`))
	f.Add([]byte(`{"resource_servers":[{"audience":"a"}],"refresh_token_metadata":{"k":"\ud800"}}`))
	f.Add([]byte("{\"id\":\"\xff\"}"))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var token domain.RefreshToken
		if err := token.UnmarshalJSON(data); err != nil {
			wantAnyField(t, err)
			return
		}
		again, err := token.MarshalJSON()
		if err != nil {
			t.Fatalf("what was unmarshalled does not marshal: %v", err)
		}
		if !json.Valid(again) {
			t.Fatalf("no JSON: %s", again)
		}
		var back domain.RefreshToken
		if wholeMilliseconds(token) {
			if err := back.UnmarshalJSON(again); err != nil || !sameResource(back, token) {
				t.Errorf("%s reads as %+v, %v; want %+v", again, back, err, token)
			}
		}
	})
}

// wholeMilliseconds reports whether all times are in the years that RFC 3339 has, and lose nothing when written.
func wholeMilliseconds(token domain.RefreshToken) bool {
	for _, at := range []time.Time{token.CreatedAt, token.ExpiresAt, token.IdleExpiresAt, token.LastExchangedAt} {
		if at.Year() < 1 || at.Year() > 9999 || at.Nanosecond()%int(time.Millisecond) != 0 {
			return false
		}
	}
	return true
}

// A token that is written and read again is the same to a revocation that spares, or names, offline access.
func TestOfflineSurvivesJSON(t *testing.T) {
	for _, offline := range []bool{false, true} {
		data, err := json.Marshal(domain.RefreshToken{Offline: offline})
		var back domain.RefreshToken
		if err := errors.Join(err, json.Unmarshal(data, &back)); err != nil || back.Offline != offline {
			t.Errorf("offline %t became %t, error %v", offline, back.Offline, err)
		}
	}
}
