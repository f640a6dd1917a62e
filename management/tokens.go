package management

import (
	"encoding/json"
	"net/http"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
)

func getToken(c *call) (int, any, error) {
	q := c.query()
	consistency := q.consistency()
	if q.err != nil {
		return 0, nil, q.err
	}
	id, ok := domain.ParseID(c.id)
	if !ok {
		return 0, nil, tokenstore.ErrNotFound
	}
	token, err := c.manager.Get(c.context(), id, consistency)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, token, nil
}

// patchToken replaces all metadata: {} and null clear it.
func patchToken(c *call) (int, any, error) {
	const name = "refresh_token_metadata"
	members, err := c.members(false)
	if err != nil {
		return 0, nil, err
	}
	raw, ok := members[name]
	if err := only(members, name); err != nil {
		return 0, nil, err
	}
	if !ok {
		return 0, nil, badBody("The body must have the property " + name + ".")
	}
	var metadata domain.Metadata
	if err := json.Unmarshal(raw, &metadata); err != nil {
		return 0, nil, coded(codeBody, err)
	}
	if metadata.Len() > 0 {
		if _, err := objectMembers(raw); err != nil { // a key that comes twice
			return 0, nil, err
		}
	}
	id, ok := domain.ParseID(c.id)
	if !ok {
		return 0, nil, tokenstore.ErrNotFound
	}
	entries := make(map[string]string, metadata.Len())
	for key, value := range metadata.All() {
		entries[key] = value
	}
	token, err := c.manager.UpdateMetadata(c.context(), id, entries)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, token, nil
}

// listTokens lists the tokens of a user, or of a user and a client.
func listTokens(c *call) (int, any, error) {
	q := c.query()
	r := tokenstore.ListRequest{UserID: q.userID(), ClientID: q.clientID()}
	shown := q.selection()
	tokens, next, err := c.listPage(q, "refresh-tokens", r)
	if err != nil {
		return 0, nil, err
	}
	list, err := all(shown, tokens)
	return http.StatusOK, struct {
		RefreshTokens []json.RawMessage `json:"refresh_tokens"`
		Next          string            `json:"next,omitempty"`
	}{list, next}, err
}

func listUserTokens(c *call) (int, any, error) {
	if err := domain.CheckUserID(c.id); err != nil {
		return 0, nil, err
	}
	tokens, next, err := c.listPage(c.query(), "users/refresh-tokens", tokenstore.ListRequest{UserID: c.id})
	if err != nil {
		return 0, nil, err
	}
	list, err := all(selection{}, tokens)
	return http.StatusOK, struct {
		Tokens []json.RawMessage `json:"tokens"`
		Next   string            `json:"next,omitempty"`
	}{list, next}, err
}

// listPage reads the page that the query asks for, and the cursor of the one after it.
func (c *call) listPage(q *query, name string, r tokenstore.ListRequest) (tokens []tokenstore.RefreshToken, next string, err error) {
	at := listing{c.caller.Tenant, name, r.UserID, r.ClientID}
	now := c.opts.Now()
	r.After = at.after(q, now)
	r.Limit = q.take()
	r.Consistency = q.consistency()
	if q.err != nil {
		return nil, "", q.err
	}
	if err := c.known(http.StatusNotFound, r.UserID, r.ClientID, ""); err != nil {
		return nil, "", err
	}
	page, err := c.manager.List(c.context(), r)
	if err != nil {
		return nil, "", err
	}
	if !page.Next.IsZero() {
		next = at.cursor(page.Next, now)
	}
	return page.Tokens, next, nil
}
