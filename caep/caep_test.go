package caep_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/caep"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func revoked(targets ...domain.Target) store.Event {
	return store.Event{
		Number: 7, Kind: store.KindRevoked, Time: at, Sequence: 9, Revocation: ulid.MustParse("01JNS8R2G0000000000000000A"), Targets: targets,
	}
}

// A revocation of a user, as a receiver gets it.
func ExampleFromEvent() {
	e := revoked(domain.Target{UserID: "ada"})
	e.Reason, e.Actor = "lost phone", "support-7"
	tokens, err := caep.FromEvent(e, caep.Envelope{
		Issuer: "https://login.example.com/", Audience: []string{"https://api.example.com/"}, Tenant: "acme",
	})
	if err != nil {
		fmt.Println(err)
	}
	for _, claims := range tokens { // to be signed, and pushed or polled
		text, _ := json.MarshalIndent(claims, "", "  ")
		fmt.Println(string(text))
	}
	// Output:
	// {
	//   "iss": "https://login.example.com/",
	//   "jti": "01JNS8R2G0000000000000000A.7.a514b254f3492dea",
	//   "iat": 1772366400,
	//   "aud": [
	//     "https://api.example.com/"
	//   ],
	//   "txn": "01JNS8R2G0000000000000000A",
	//   "sub_id": {
	//     "format": "complex",
	//     "user": {
	//       "format": "iss_sub",
	//       "iss": "https://login.example.com/",
	//       "sub": "ada"
	//     },
	//     "tenant": {
	//       "format": "opaque",
	//       "id": "acme"
	//     }
	//   },
	//   "events": {
	//     "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {
	//       "event_timestamp": 1772366400,
	//       "initiating_entity": "admin",
	//       "reason_admin": {
	//         "und": "lost phone"
	//       }
	//     }
	//   }
	// }
}

func TestSubjects(t *testing.T) {
	token := store.EventToken{ID: ulid.ULID{15: 1}, UserID: "ada", ClientID: "web", SessionID: "s1"}
	user := `{"format":"iss_sub","iss":"https://i/","sub":"ada"}`
	session := `{"format":"opaque","id":"s1"}`
	client := `{"format":"opaque","id":"web"}`
	for _, c := range []struct {
		what   string
		event  store.Event
		tenant string
		want   []string
	}{
		{"a user", revoked(domain.Target{UserID: "ada"}), "", []string{user}},
		{"a session", revoked(domain.Target{SessionID: "s1"}), "", []string{session}},
		{"a session of a tenant", revoked(domain.Target{SessionID: "s1"}), "t", []string{`{"format":"complex","session":` + session + `,"tenant":{"format":"opaque","id":"t"}}`}},
		{"a user's session", revoked(domain.Target{UserID: "ada", SessionID: "s1"}), "", []string{`{"format":"complex","user":` + user + `,"session":` + session + `}`}},
		{"a client", revoked(domain.Target{ClientID: "web"}), "", []string{`{"format":"complex","application":` + client + `}`}},
		{"everything", revoked(domain.Target{Everything: true}), "t", []string{`{"format":"complex","tenant":{"format":"opaque","id":"t"}}`}},
		{"everything of no tenant", revoked(domain.Target{Everything: true}), "", nil},
		{"two targets", revoked(domain.Target{UserID: "ada"}, domain.Target{SessionID: "s1"}, domain.Target{UserID: "ada"}), "", []string{user, session}},
		{"more than a subject can say", revoked(domain.Target{UserID: "ada", Audience: "api"}, domain.Target{UserID: "ada", IssuedBefore: at}, domain.Target{SessionID: "s1", Offline: domain.OfflineNo}, domain.Target{LegacyBefore: at}), "t", nil},
		{"a token that is gone", revoked(domain.Target{TokenID: token.ID}), "t", nil},
		{"a token", func() store.Event {
			e := revoked(domain.Target{TokenID: token.ID})
			e.Tokens = []store.EventToken{token}
			return e
		}(), "", []string{`{"format":"complex","user":` + user + `,"session":` + session + `,"application":` + client + `}`}},
		{"another kind", store.Event{Kind: store.KindErased, Targets: []domain.Target{{UserID: "ada"}}}, "", nil},
	} {
		tokens, err := caep.FromEvent(c.event, caep.Envelope{Issuer: "https://i/", Tenant: c.tenant})
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		var got []string
		ids := map[string]bool{}
		for _, claims := range tokens {
			text, err := json.Marshal(claims.Subject)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(text))
			ids[claims.JTI] = true
		}
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s: got\n%s\nwant\n%s", c.what, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
		if len(ids) != len(c.want) {
			t.Errorf("%s: each token must have an id of its own: %v", c.what, ids)
		}
	}
}

// TestSameEventSameToken: what is delivered twice must be known as such, also when half of it has been erased meanwhile.
func TestSameEventSameToken(t *testing.T) {
	env := caep.Envelope{Issuer: "https://i/"}
	e := revoked(domain.Target{UserID: "ada"}, domain.Target{UserID: "bob"})
	first, err := caep.FromEvent(e, env)
	if err != nil {
		t.Fatal(err)
	}
	erasing := domain.Tombstone{ID: ulid.ULID{15: 2}, Targets: []domain.Target{{UserID: "ada"}}, Watermark: 10, Erases: true}
	e.Scrub(&erasing, domain.ErasureKey{1})
	again, err := caep.FromEvent(e, env)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != 2 || len(again) != 1 || first[1].JTI != again[0].JTI || again[0].Subject.Sub != "bob" {
		t.Errorf("got %+v, then %+v", first, again)
	}
}

func TestInitiators(t *testing.T) {
	for _, c := range []struct {
		kind        store.Kinds
		actor, want string
	}{
		{store.KindReused, "", "policy"}, {store.KindRevoked, "", "system"}, {store.KindRevoked, "ada", "user"}, {store.KindRevoked, "root", "admin"},
	} {
		e := revoked(domain.Target{UserID: "ada"})
		e.Kind, e.Actor = c.kind, c.actor
		tokens, err := caep.FromEvent(e, caep.Envelope{Issuer: "https://i/", IssuedAt: at.Add(time.Hour)})
		if err != nil || len(tokens) != 1 {
			t.Fatalf("%+v, %v", tokens, err)
		}
		got := tokens[0].Events[caep.SessionRevokedType]
		if got.InitiatingEntity != c.want || got.EventTimestamp != at.Unix() || tokens[0].IssuedAt != at.Add(time.Hour).Unix() {
			t.Errorf("%v by %q: got %+v", c.kind, c.actor, tokens[0])
		}
	}
	e := revoked(domain.Target{UserID: "ada"})
	tokens, err := caep.FromEvent(e, caep.Envelope{Issuer: "https://i/", Initiator: func(store.Event) string { return "policy" }})
	if err != nil || tokens[0].Events[caep.SessionRevokedType].InitiatingEntity != "policy" {
		t.Errorf("the host's word must count: %+v, %v", tokens, err)
	}
	if _, err := caep.FromEvent(e, caep.Envelope{}); !errors.Is(err, domain.ErrInvalid) {
		t.Errorf("an envelope without an issuer: got %v", err)
	}
}
