package server

import (
	"bufio"
	"encoding/json"
	"os"
	"time"

	"github.com/oklog/ulid/v2"
)

// Token is a refresh token as the API shows it.
type Token struct {
	ID              string            `json:"id"`
	UserID          string            `json:"user_id"`
	CreatedAt       *time.Time        `json:"created_at"`
	IdleExpiresAt   *time.Time        `json:"idle_expires_at"`
	ExpiresAt       *time.Time        `json:"expires_at"`
	LastExchangedAt *time.Time        `json:"last_exchanged_at"`
	Device          *Device           `json:"device,omitempty"`
	ClientID        string            `json:"client_id"`
	SessionID       *string           `json:"session_id"`
	Rotating        bool              `json:"rotating"`
	ResourceServers []ResourceServer  `json:"resource_servers"`
	Metadata        map[string]string `json:"refresh_token_metadata"`
}

// Device is where a token was issued to.
type Device struct {
	InitialIP        string `json:"initial_ip,omitempty"`
	InitialASN       string `json:"initial_asn,omitempty"`
	InitialUserAgent string `json:"initial_user_agent,omitempty"`
	LastIP           string `json:"last_ip,omitempty"`
	LastASN          string `json:"last_asn,omitempty"`
	LastUserAgent    string `json:"last_user_agent,omitempty"`
}

// ResourceServer is an API that a token was granted for.
type ResourceServer struct {
	Audience string `json:"audience"`
	Scopes   string `json:"scopes"`
}

// The users of the seeds. Each test has users of its own, so that none sees what another revokes.
const (
	UserPages    = "auth0|507f1f77bcf86cd799439020" // UserPages has 123 tokens, 70 of them of the client web.
	UserView     = "auth0|view"                     // UserView has one token with all fields.
	UserUpdate   = "auth0|update"                   // UserUpdate has one token.
	UserDelete   = "auth0|delete"                   // UserDelete has two tokens.
	UserIDs      = "auth0|ids"                      // UserIDs has three tokens.
	UserRevoke   = "auth0|revoke"                   // UserRevoke has two tokens.
	UserClient   = "auth0|client"                   // UserClient has a token of web and one of ios.
	UserAudience = "auth0|audience"                 // UserAudience has two tokens of web, one of them for billing, and one of ios for billing.
	UserAll      = "auth0|all"                      // UserAll has two tokens.
	UserSession  = "auth0|session"                  // UserSession has two tokens of session-1 and one of session-2.
	UserDevice   = "auth0|device"                   // UserDevice has a rotating token and two others.
	UserNamed    = "auth0|named"                    // UserNamed has one token.
	UserLegacy   = "auth0|legacy"                   // UserLegacy has a token from just before the region's cut-off, and one from the cut-off.
)

// OddUsers have ids that must be escaped in a path. Each has two tokens.
func OddUsers() []string {
	return []string{"google-oauth2|a/b//c", "50%|x%2Fy%", " two  words ", "auth0|Zoë 日本語 🔑", "a+b&c=d?e#f;g", `q"u\o'te`}
}

// The clients and audiences of the seeds.
const (
	Web     = "web"
	IOS     = "ios"
	API     = "https://api.example.com"
	Billing = "https://billing.example.com"
)

// Region names a rule of legacy tokens as the flag --region does; empty is the rule of all but US-3.
type Region string

// US3 is the one region with a rule of its own.
const US3 Region = "us-3"

// CutOff is the first instant whose tokens carry a session id.
func (r Region) CutOff() time.Time {
	if r == US3 {
		return time.Date(2024, 2, 22, 0, 0, 0, 0, time.UTC)
	}
	return time.Date(2023, 9, 21, 0, 0, 0, 0, time.UTC)
}

// Seeds are the tokens that a server of the region starts with; those of one user are in the order of their ids. They are
// always the same.
func Seeds(region Region) []Token {
	s := &seeds{at: time.Date(2024, 5, 1, 13, 0, 0, 38e6, time.UTC)}
	for range 70 {
		s.add(UserPages, Web)
	}
	for range 53 {
		s.add(UserPages, IOS)
	}
	for _, user := range OddUsers() {
		s.add(user, Web)
		s.add(user, IOS)
	}
	for _, user := range []string{UserUpdate, UserDelete, UserDelete, UserIDs, UserIDs, UserIDs, UserRevoke, UserRevoke, UserAll, UserAll, UserNamed} {
		s.add(user, Web)
	}
	s.add(UserClient, Web)
	s.add(UserClient, IOS)
	billing := ResourceServer{Audience: Billing, Scopes: "read:invoices"}
	s.add(UserAudience, Web)
	for _, client := range []string{Web, IOS} {
		t := s.add(UserAudience, client)
		t.ResourceServers = append(t.ResourceServers, billing)
	}
	for _, session := range []string{"session-1", "session-1", "session-2"} {
		s.add(UserSession, Web).SessionID = &session
	}
	for _, rotating := range []bool{true, false, false} {
		t := s.add(UserDevice, Web)
		t.Rotating = rotating
		t.Device = &Device{InitialUserAgent: "curl/8.0"}
	}
	s.addView(billing)

	s.at = region.CutOff().Add(-time.Millisecond)
	s.add(UserLegacy, Web).SessionID = nil
	s.at = region.CutOff()
	s.add(UserLegacy, Web)
	return s.tokens
}

// seeds are all tokens so far, each made a millisecond after the one before it.
type seeds struct {
	tokens []Token
	at     time.Time
}

// add makes a token that may be changed until the next one is made.
func (s *seeds) add(user, client string) *Token {
	created, session := s.at, "session"
	s.at = s.at.Add(time.Millisecond)
	var id ulid.ULID
	_ = id.SetTime(uint64(created.UnixMilli()))
	copy(id[6:], "tokenstore")
	s.tokens = append(s.tokens, Token{
		ID: id.String(), UserID: user, CreatedAt: &created, ClientID: client, SessionID: &session,
		ResourceServers: []ResourceServer{{Audience: API, Scopes: "read:orders write:orders"}},
	})
	return &s.tokens[len(s.tokens)-1]
}

func (s *seeds) addView(also ResourceServer) {
	t := s.add(UserView, IOS)
	idle, end, exchanged := s.at.AddDate(60, 0, 0), s.at.AddDate(70, 0, 0), s.at.AddDate(0, 1, 0)
	t.IdleExpiresAt, t.ExpiresAt, t.LastExchangedAt = &idle, &end, &exchanged
	t.Device = &Device{
		InitialIP: "203.0.113.7", InitialASN: "64500", InitialUserAgent: "Mozilla/5.0 (é)",
		LastIP: "2001:db8::7", LastASN: "64501", LastUserAgent: "curl/8.0",
	}
	t.Rotating = true
	t.ResourceServers = append(t.ResourceServers, also)
	t.Metadata = map[string]string{"origin": "export", "Zeile_2": "ä\n\"quoted\" <b>"}
}

// Of returns the tokens of a user.
func Of(tokens []Token, user string) []Token {
	var of []Token
	for _, t := range tokens {
		if t.UserID == user {
			of = append(of, t)
		}
	}
	return of
}

// writeNDJSON writes the tokens to a new file, one a line.
func writeNDJSON(name string, tokens []Token) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	lines := json.NewEncoder(w)
	for i := range tokens {
		if err := lines.Encode(tokens[i]); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
