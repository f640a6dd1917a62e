package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

//go:generate go run ./gen

//go:embed testdata/*.ndjson
var testdata embed.FS

// tenant is a manager, and our own list of what must be there and what must not. The list knows nothing of the library's
// view: the library is judged by it.
type tenant struct {
	*tokenstore.Manager
	live    map[ulid.ULID]string // the user of each token
	revoked map[ulid.ULID]bool
}

func newTenant(m *tokenstore.Manager) *tenant {
	return &tenant{Manager: m, live: map[ulid.ULID]string{}, revoked: map[ulid.ULID]bool{}}
}

// read returns the tokens of a file.
func read(name string) ([]tokenstore.RefreshToken, error) {
	file, err := testdata.Open("testdata/" + name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var tokens []tokenstore.RefreshToken
	for lines := json.NewDecoder(file); ; {
		var token tokenstore.RefreshToken
		err := lines.Decode(&token)
		if err == io.EOF {
			return tokens, nil
		}
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, token)
	}
}

func (t *tenant) importFile(ctx context.Context, out io.Writer, name string) error {
	tokens, err := read(name)
	if err != nil {
		return err
	}
	results, err := t.Import(ctx, tokens)
	if err != nil {
		return err
	}
	legacy, foreign := 0, 0
	for i, result := range results {
		if result.Outcome != tokenstore.Imported {
			return fmt.Errorf("%s: token %d was not imported: %v", name, i+1, result.Err)
		}
		t.live[result.ID] = tokens[i].UserID
		if tokens[i].SessionID.IsNull() {
			legacy++
		}
		if tokens[i].ForeignID != "" {
			foreign++
		}
	}
	preview, err := t.Preview(ctx, []tokenstore.Target{t.LegacyTarget()}, len(tokens))
	if err != nil {
		return err
	}
	if len(t.live) != len(tokens) || preview.Matched != legacy || legacy == 0 || legacy == len(tokens) {
		return fmt.Errorf("%s: %d tokens, %d of them legacy, became %d and %d", name, len(tokens), legacy, len(t.live), preview.Matched)
	}
	fmt.Fprintf(out, "imported %s: %d tokens, %d without a session id, %d with an id from elsewhere\n", name, len(tokens), legacy, foreign)
	return nil
}

// importAgain imports a file a second time: it adds nothing, and brings back nothing.
func (t *tenant) importAgain(ctx context.Context, out io.Writer, name string) error {
	tokens, err := read(name)
	if err != nil {
		return err
	}
	results, err := t.Import(ctx, tokens)
	if err != nil {
		return err
	}
	var refused, unchanged int
	for i, result := range results {
		switch {
		case t.revoked[result.ID] && errors.Is(result.Err, tokenstore.ErrRevoked):
			refused++
		case t.live[result.ID] != "" && result.Outcome == tokenstore.Unchanged:
			unchanged++
		default:
			return fmt.Errorf("%s, again: token %d is neither refused as revoked nor unchanged (%v)", name, i+1, result.Err)
		}
	}
	fmt.Fprintf(out, "imported %s again: %d revoked tokens refused, %d unchanged\n", name, refused, unchanged)
	return nil
}

// client is an app that holds a secret.
type client struct {
	id     string
	secret tokenstore.Secret
}

// login issues a token of a new session to a client, which exchanges it once.
func (t *tenant) login(ctx context.Context, user string) (client, error) {
	session := tokenstore.MustSessionID(fmt.Sprintf("sess_%d", len(t.live)+len(t.revoked)))
	issued, err := t.Issue(ctx, tokenstore.IssueRequest{UserID: user, ClientID: "web", SessionID: session})
	if err != nil {
		return client{}, err
	}
	t.live[issued.Token.ID] = user
	c := client{id: "web", secret: issued.Secret}
	_, err = t.exchange(ctx, &c)
	return c, err
}

// exchange has the client use its secret, and keep the one that it gets for it.
func (t *tenant) exchange(ctx context.Context, c *client) (tokenstore.Exchanged, error) {
	got, err := t.Exchange(ctx, tokenstore.ExchangeRequest{Secret: c.secret, ClientID: c.id})
	if err == nil {
		c.secret = got.Secret
	}
	return got, err
}

// noteRevoked puts what a user has on the list of what must go, and returns how much that is.
func (t *tenant) noteRevoked(user string) int {
	for id, owner := range t.live {
		if owner == user {
			delete(t.live, id)
			t.revoked[id] = true
		}
	}
	return len(t.revoked)
}

func (t *tenant) count(ctx context.Context, r tokenstore.ListRequest) (int, error) {
	n := 0
	for _, err := range t.All(ctx, r) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// compare walks all tokens: none that was revoked is left, and no other is missing.
func (t *tenant) compare(ctx context.Context) error {
	listed := map[ulid.ULID]bool{}
	for token, err := range t.All(ctx, tokenstore.ListRequest{}) {
		switch {
		case err != nil:
			return err
		case t.revoked[token.ID]:
			return fmt.Errorf("token %v was revoked, but is there", token.ID)
		case t.live[token.ID] != token.UserID:
			return fmt.Errorf("token %v is there, but not of the user that it was issued to", token.ID)
		}
		listed[token.ID] = true
	}
	for id := range t.live {
		if !listed[id] {
			return fmt.Errorf("token %v was not revoked, but is gone", id)
		}
	}
	return nil
}
