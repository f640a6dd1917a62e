package domain_test

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

func TestSessionIDNull(t *testing.T) {
	var null domain.SessionID
	if id, ok := null.Get(); ok || id != "" {
		t.Errorf("Get of null is %q, %t", id, ok)
	}
	if !null.IsNull() || null.String() != "null" {
		t.Errorf("IsNull is %t, String is %q", null.IsNull(), null)
	}
	if got := string(must(json.Marshal(null))); got != "null" {
		t.Errorf("JSON is %s, want null", got)
	}
}

func TestSessionIDText(t *testing.T) {
	for _, text := range []string{
		"s", "null", "0", " ", `"quoted"`, "<&>", "日本語", "\u2028", "a\nb", strings.Repeat("s", 50), strings.Repeat("世", 50), strings.Repeat("🗝", 50),
	} {
		id, err := domain.NewSessionID(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got, ok := id.Get(); !ok || got != text {
			t.Errorf("Get of %q is %q, %t", text, got, ok)
		}
		if id.IsNull() || id.String() != text {
			t.Errorf("IsNull of %q is %t, String is %q", text, id.IsNull(), id)
		}
		data := must(json.Marshal(id))
		if string(data) == "null" {
			t.Errorf("JSON of %q is null", text)
		}
		var back domain.SessionID
		if err := json.Unmarshal(data, &back); err != nil || back != id {
			t.Errorf("%s unmarshals to %q, %v; want %q", data, back, err, text)
		}
	}
}

func TestSessionIDRefused(t *testing.T) {
	for _, text := range []string{"", strings.Repeat("s", 51), strings.Repeat("世", 51), "a\x00b", "\x00", "\xff", "ab\xc3"} {
		id, err := domain.NewSessionID(text)
		wantField(t, err, "session_id")
		if !id.IsNull() {
			t.Errorf("%q is refused, and yet made", text)
		}
	}
}

func TestSessionIDUnmarshal(t *testing.T) {
	was := must(domain.NewSessionID("was"))
	id := was
	if err := json.Unmarshal([]byte(" null "), &id); err != nil || !id.IsNull() {
		t.Errorf("null leaves %q, %v", id, err)
	}
	for _, data := range []string{`""`, `1`, `true`, `{}`, `[]`, `["s"]`, `"` + strings.Repeat("s", 51) + `"`, `"\u0000"`} {
		id := was
		wantField(t, json.Unmarshal([]byte(data), &id), "session_id")
		if id != was {
			t.Errorf("%s is refused, and yet changes the value to %q", data, id)
		}
	}
}

func TestSessionIDComparable(t *testing.T) {
	one, same, other := must(domain.NewSessionID("one")), must(domain.NewSessionID("one")), must(domain.NewSessionID("other"))
	if one != same || one == other || one == (domain.SessionID{}) {
		t.Error("== does not tell session ids apart by their text")
	}
	if text := must(domain.NewSessionID("null")); text == (domain.SessionID{}) || text.IsNull() {
		t.Error(`the text "null" is taken for null`)
	}
	seen := map[domain.SessionID]int{one: 1, {}: 2}
	if seen[same] != 1 || seen[other] != 0 || seen[domain.SessionID{}] != 2 {
		t.Error("session ids do not work as map keys")
	}
}

func TestSessionIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, err := domain.NewSessionID(rapid.StringN(0, 60, -1).Draw(t, "text"))
		if err != nil {
			id = domain.SessionID{}
		}
		var back domain.SessionID
		if err := json.Unmarshal(must(json.Marshal(id)), &back); err != nil || back != id {
			t.Fatalf("a session id is another after JSON")
		}
	})
}

func TestMustSessionID(t *testing.T) {
	if got := domain.MustSessionID("one"); got != must(domain.NewSessionID("one")) {
		t.Errorf("got %q, want the id", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for an empty session id")
		}
	}()
	domain.MustSessionID("")
}
