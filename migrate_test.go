package tokenstore_test

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
)

// The converters of docs/migrate, which quotes them. TestGuidesQuoteTheirCode compares.

// guide: auth0.md
func linesFromAuth0(pages io.Reader, lines io.Writer) error {
	for in := json.NewDecoder(pages); ; {
		var page struct {
			Tokens []json.RawMessage `json:"tokens"`
		}
		if err := in.Decode(&page); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		for _, resource := range page.Tokens {
			var line bytes.Buffer
			if err := json.Compact(&line, resource); err != nil {
				return err
			}
			if _, err := lines.Write(append(line.Bytes(), '\n')); err != nil {
				return err
			}
		}
	}
}

// guide end

// guide: hydra.md
// hydraDigest is the digest of a secret that Hydra has made, and false for one that it has not. A signature is part of the
// secret, so whoever reads the table has it: only the check of the HMAC tells a client from such a reader.
func hydraDigest(systemSecret [32]byte) func(secret string) (domain.Digest, bool) {
	return func(secret string) (domain.Digest, bool) {
		random, signature, _ := strings.Cut(strings.TrimPrefix(secret, "ory_rt_"), ".")
		key, err := base64.RawURLEncoding.DecodeString(random)
		if err != nil {
			return domain.Digest{}, false
		}
		mac := hmac.New(sha512.New512_256, systemSecret[:])
		mac.Write(key)
		genuine := base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		return sha256.Sum256([]byte(signature)), hmac.Equal([]byte(genuine), []byte(signature))
	}
}

func tokenFromHydra(row []byte) (token tokenstore.RefreshToken, current bool, err error) {
	var r struct {
		Signature       string  `json:"signature"`
		RequestID       string  `json:"request_id"`
		RequestedAt     string  `json:"requested_at"`
		ClientID        string  `json:"client_id"`
		GrantedScope    string  `json:"granted_scope"`
		GrantedAudience string  `json:"granted_audience"`
		Subject         string  `json:"subject"`
		Active          bool    `json:"active"`
		ExpiresAt       *string `json:"expires_at"`
		LoginSessionID  string  `json:"login_session_id"`
	}
	if err := json.Unmarshal(row, &r); err != nil {
		return token, false, err
	}
	token = tokenstore.RefreshToken{
		ForeignID: r.RequestID, UserID: r.Subject, ClientID: r.ClientID, Rotating: true,
		Offline:       strings.Contains("|"+r.GrantedScope+"|", "|offline|"),
		ForeignDigest: sha256.Sum256([]byte(r.Signature)),
	}
	if token.CreatedAt, err = time.Parse("2006-01-02T15:04:05", r.RequestedAt); err != nil {
		return token, false, err
	}
	if r.ExpiresAt != nil {
		if token.ExpiresAt, err = time.Parse("2006-01-02T15:04:05", *r.ExpiresAt); err != nil {
			return token, false, err
		}
	}
	if r.LoginSessionID != "" {
		if token.SessionID, err = tokenstore.NewSessionID(r.LoginSessionID); err != nil {
			return token, false, err
		}
	}
	var servers []tokenstore.ResourceServer
	for audience := range strings.SplitSeq(r.GrantedAudience, "|") {
		if audience != "" {
			servers = append(servers, tokenstore.ResourceServer{Audience: audience, Scopes: strings.ReplaceAll(r.GrantedScope, "|", " ")})
		}
	}
	token.ResourceServers, err = domain.NewResourceServers(servers...)
	return token, r.Active, err
}

// guide end

// guide: dex.md
func tokenFromDex(row []byte) (token tokenstore.RefreshToken, err error) {
	var r struct {
		ID        string    `json:"id"`
		Token     string    `json:"token"`
		ClientID  string    `json:"client_id"`
		Scopes    []string  `json:"scopes"`
		UserID    string    `json:"claims_user_id"`
		Connector string    `json:"connector_id"`
		CreatedAt time.Time `json:"created_at"`
		LastUsed  time.Time `json:"last_used"`
	}
	if err := json.Unmarshal(row, &r); err != nil {
		return token, err
	}
	if len(r.ID) > 127 || len(r.Token) > 127 {
		return token, errors.New("no id or token of dex")
	}
	// What the client holds: a message of protocol buffers with the two as its fields 1 and 2.
	held := append([]byte{1<<3 | 2, byte(len(r.ID))}, r.ID...)
	held = append(append(held, 2<<3|2, byte(len(r.Token))), r.Token...)
	token = tokenstore.RefreshToken{
		ForeignID: r.ID, UserID: r.Connector + "|" + r.UserID, ClientID: r.ClientID, Rotating: true, Offline: true,
		CreatedAt: r.CreatedAt, LastExchangedAt: r.LastUsed,
		ForeignDigest: sha256.Sum256([]byte(base64.RawURLEncoding.EncodeToString(held))),
	}
	token.ResourceServers, err = domain.NewResourceServers(tokenstore.ResourceServer{Audience: r.ClientID, Scopes: strings.Join(r.Scopes, " ")})
	return token, err
}

// guide end

// guide: table.md
func tokenFromTable(row []string) (token tokenstore.RefreshToken, err error) {
	const id, digest, user, client, session, created, expires = 0, 1, 2, 3, 4, 5, 6
	token = tokenstore.RefreshToken{ForeignID: row[id], UserID: row[user], ClientID: row[client], Rotating: true}
	if n, err := hex.Decode(token.ForeignDigest[:], []byte(row[digest])); err != nil || n != sha256.Size {
		return token, errors.New("no SHA-256 in hexadecimal")
	}
	if row[session] != "" {
		if token.SessionID, err = tokenstore.NewSessionID(row[session]); err != nil {
			return token, err
		}
	}
	if token.CreatedAt, err = time.Parse(time.RFC3339, row[created]); err != nil || row[expires] == "" {
		return token, err
	}
	token.ExpiresAt, err = time.Parse(time.RFC3339, row[expires])
	return token, err
}

// guide end

// TestGuidesQuoteTheirCode: a guide shows the code that the tests run.
func TestGuidesQuoteTheirCode(t *testing.T) {
	source := readText(t, "migrate_test.go")
	quoted := 0
	for part := range strings.SplitSeq(source, "// guide: ") {
		name, code, _ := strings.Cut(part, "\n")
		if code, _, ok := strings.Cut(code, "\n\n// guide end"); ok && strings.HasSuffix(name, ".md") {
			if quoted++; !strings.Contains(readText(t, filepath.Join("docs/migrate", name)), "```go\n"+code+"\n```") {
				t.Errorf("docs/migrate/%s does not quote the code of its converter", name)
			}
		}
	}
	if quoted != 4 {
		t.Errorf("found %d converters, want 4", quoted)
	}
}

func guideFile(t *testing.T, name string) []byte {
	t.Helper()
	return []byte(readText(t, filepath.Join("docs/migrate/testdata", name)))
}

// goesOn exchanges the secret that a client still holds.
func (r *rig) goesOn(held string, tokens ...tokenstore.RefreshToken) {
	r.Helper()
	r.bring(tokens...)
	next, err := r.Exchange(r.Context(), tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(held), ClientID: tokens[0].ClientID})
	if err != nil || next.Token.ForeignID != tokens[0].ForeignID || next.Secret.Reveal() == held {
		r.Errorf("the client's secret: %+v, %v", next, err)
	}
}

// migrated imports tokens, of which none may be refused, and revokes one user: all of them are ours to revoke, and stay
// revoked when they are imported again.
func (r *rig) migrated(user string, users map[string]int, tokens ...tokenstore.RefreshToken) {
	r.Helper()
	for range 2 {
		for _, result := range r.bring(tokens...) {
			if result.Err != nil {
				r.Errorf("refused: %v", result.Err)
			}
		}
	}
	for user, n := range users {
		if got := len(r.live(user)); got != n {
			r.Errorf("%s has %d tokens, want %d", user, got, n)
		}
	}
	r.run(r.revoke(tokenstore.Target{UserID: user}))
	r.bring(tokens...)
	if n := len(r.live(user)); n != 0 {
		r.Errorf("%s has %d tokens after a revocation", user, n)
	}
}

func TestGuideAuth0(t *testing.T) {
	onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
		var lines bytes.Buffer
		if err := linesFromAuth0(bytes.NewReader(guideFile(t, "auth0.json")), &lines); err != nil {
			t.Fatal(err)
		}
		text := lines.String()
		if report, refused := r.ndjson(text, tokenstore.ImportOptions{}); report.Imported != 3 {
			t.Fatalf("%+v, refused %+v", report, refused)
		}
		var first tokenstore.RefreshToken
		for _, token := range r.live("auth0|507f1f77bcf20cd799439011") {
			if token.ForeignID == "cxrt_1nbuFFbXwjEuEB7RkDFQzz" {
				first = token
			}
		}
		if theme, _ := first.Metadata.Get("theme"); first.Device.LastIP != "203.0.113.9" || !first.ResourceServers.HasAudience("https://api.example.com") || theme != "dark" {
			t.Errorf("%+v", first)
		}
		r.run(r.revoke(tokenstore.Target{SessionID: "sess_9qKxVBSgvNRVbrVC2zr8tN"}))
		if report, refused := r.ndjson(text, tokenstore.ImportOptions{}); report.Unchanged != 2 || len(refused) != 1 || !errors.Is(refused[0].Err, tokenstore.ErrRevoked) {
			t.Errorf("again: %+v, refused %+v", report, refused)
		}
	})
}

func TestGuideHydra(t *testing.T) {
	digest := hydraDigest([32]byte([]byte("an old system secret of 32 bytes")))
	opts := tokenstore.Options{Legacy: tokenstore.LegacyRule{AllowNoSession: true}, ForeignDigest: digest}
	onBackends(t, opts, func(t *testing.T, r *rig) {
		var tokens []tokenstore.RefreshToken
		for rows := bufio.NewScanner(bytes.NewReader(guideFile(t, "hydra.ndjson"))); rows.Scan(); {
			token, current, err := tokenFromHydra(rows.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if current {
				tokens = append(tokens, token)
			}
		}
		const held = "ory_rt_3RkWluFeLuKTQQ0CRUxflGGiJJ3ubVfHXyZOrrg6N4I.l4zQRAuHY4Nf4_9Ylf438mJO6Y7VNcsTAOidmn3R14A"
		if got, ok := digest(held); !ok || got != tokens[0].ForeignDigest {
			t.Error("the digest of a secret must be that of its row")
		}
		for _, forged := range []string{"ory_rt_AAAA" + held[11:], held[50:], "", ".", "x", "ory_rt_" + held[50:]} {
			if _, ok := digest(forged); ok {
				t.Errorf("%q must not be taken for a secret of Hydra's", forged)
			}
		}
		r.goesOn(held, tokens...)
		r.migrated("ann", map[string]int{"ann": 1, "bob": 1}, tokens...)
	})
}

func TestGuideDex(t *testing.T) {
	opts := tokenstore.Options{Legacy: tokenstore.LegacyRule{AllowNoSession: true}}
	onBackends(t, opts, func(t *testing.T, r *rig) {
		var tokens []tokenstore.RefreshToken
		for rows := bufio.NewScanner(bytes.NewReader(guideFile(t, "dex.ndjson"))); rows.Scan(); {
			token, err := tokenFromDex(rows.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, token)
		}
		const held = "ChkybGRqcTRybnNtcXZuYzVranEyaHpwNGZmEhk2enNybmJxd3Z6ZGxibWt3bmZtemgzeHZq"
		if tokens[0].ForeignDigest != sha256.Sum256([]byte(held)) {
			t.Error("the digest must be that of what the client holds")
		}
		r.goesOn(held, tokens...)
		r.migrated("local|08a8684b-db88-4b73-90a9-3cd1661f5466", map[string]int{"local|08a8684b-db88-4b73-90a9-3cd1661f5466": 1, "github|17": 1}, tokens...)
	})
}

func TestGuideTable(t *testing.T) {
	opts := tokenstore.Options{Legacy: tokenstore.LegacyRule{AllowNoSession: true}}
	onBackends(t, opts, func(t *testing.T, r *rig) {
		rows, err := csv.NewReader(bytes.NewReader(guideFile(t, "table.csv"))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var tokens []tokenstore.RefreshToken
		for _, row := range rows[1:] {
			token, err := tokenFromTable(row)
			if err != nil {
				t.Fatal(err)
			}
			if revokedAt := row[7]; revokedAt == "" {
				tokens = append(tokens, token)
			}
		}
		if tokens[0].ForeignDigest != sha256.Sum256([]byte("first-secret-of-the-old-table")) {
			t.Error("the digest must be that of the secret")
		}
		r.wait(-365 * 24 * time.Hour) // to when it had not expired
		r.goesOn("first-secret-of-the-old-table", tokens...)
		r.migrated("ann", map[string]int{"ann": 1, "bob": 1}, tokens...)
	})
}
