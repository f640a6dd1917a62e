package management

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"unicode/utf8"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// HeaderRevocation is the header of an answer that names the revocation, for GET /api/v2/revocations/{id}. It is not there if
// there was nothing to revoke.
const HeaderRevocation = "Tokenstore-Revocation"

// HeaderIdempotency is the header of a request that makes a repetition of it the same revocation: 1..255 printable ASCII
// characters.
const HeaderIdempotency = "Idempotency-Key"

const (
	reason       = "management api"
	maxKey       = 255
	maxIDs       = 100
	maxIDLength  = 30
	combinations = "The body must have exactly one of ids, user_id, user_id and client_id, or user_id and client_id and audience."
)

func deleteToken(c *call) (int, any, error) { return c.revoke(http.StatusAccepted, tokenTargets(c.id)) }

func deleteDevice(c *call) (int, any, error) {
	return c.revoke(http.StatusNoContent, tokenTargets(c.id))
}

func deleteUserTokens(c *call) (int, any, error) {
	if err := domain.CheckUserID(c.id); err != nil {
		return 0, nil, err
	}
	if err := c.known(http.StatusNotFound, c.id, "", ""); err != nil {
		return 0, nil, err
	}
	return c.revoke(http.StatusAccepted, []tokenstore.Target{{UserID: c.id}})
}

// revokeSession revokes the tokens of a session. The session itself is the host's.
func revokeSession(c *call) (int, any, error) {
	return c.revoke(http.StatusAccepted, []tokenstore.Target{{SessionID: c.id}})
}

func revokeTokens(c *call) (int, any, error) {
	members, err := c.members(true, "ids")
	if err != nil {
		return 0, nil, err
	}
	if err := only(members, "ids", "user_id", "client_id", "audience"); err != nil {
		return 0, nil, err
	}
	if _, ok := members["ids"]; ok {
		if len(members) > 1 {
			return 0, nil, badBody(combinations)
		}
		targets, err := idTargets(members["ids"])
		if err != nil {
			return 0, nil, err
		}
		return c.revoke(http.StatusAccepted, targets)
	}
	var target tokenstore.Target
	wanted := true // the properties come in this order, and none without those before it
	for _, p := range []struct {
		name  string
		check func(string) error
		field *string
	}{
		{"user_id", domain.CheckUserID, &target.UserID},
		{"client_id", domain.CheckClientID, &target.ClientID},
		{"audience", domain.CheckAudience, &target.Audience},
	} {
		_, given := members[p.name]
		if given && !wanted {
			return 0, nil, badBody(combinations)
		}
		wanted = given
		if *p.field, err = text(members, p.name, p.check); err != nil {
			return 0, nil, err
		}
	}
	if target == (tokenstore.Target{}) {
		return 0, nil, badBody(combinations)
	}
	if err := c.known(http.StatusBadRequest, target.UserID, target.ClientID, target.Audience); err != nil {
		return 0, nil, err
	}
	return c.revoke(http.StatusAccepted, []tokenstore.Target{target})
}

// idTargets reads a list of ids. An id that can't be one of ours names nothing. The order of the list does not matter.
func idTargets(raw json.RawMessage) ([]tokenstore.Target, error) {
	var ids []*string
	if err := json.Unmarshal(raw, &ids); err != nil || len(ids) < 1 || len(ids) > maxIDs {
		return nil, coded(codeBody, &tokenstore.FieldError{Field: "ids", Limit: "an array of 1..100 strings", Size: len(ids)})
	}
	var texts []string
	for _, id := range ids {
		if id == nil || *id == "" || utf8.RuneCountInString(*id) > maxIDLength {
			return nil, coded(codeBody, &tokenstore.FieldError{Field: "ids", Limit: "of strings of 1..30 characters"})
		}
		texts = append(texts, *id)
	}
	slices.Sort(texts)
	return tokenTargets(slices.Compact(texts)...), nil
}

func tokenTargets(ids ...string) []tokenstore.Target {
	var targets []tokenstore.Target
	for _, text := range ids {
		if id, ok := domain.ParseID(text); ok {
			targets = append(targets, tokenstore.Target{TokenID: id})
		}
	}
	return targets
}

// revoke records the revocation of the targets, of which there may be none, and answers by the given status. It does so once
// the revocation is durable.
func (c *call) revoke(status int, targets []tokenstore.Target) (int, any, error) {
	id, err := c.revocationID()
	if err != nil || len(targets) == 0 {
		return status, nil, err
	}
	receipt, err := c.manager.Revoke(c.context(), tokenstore.RevokeRequest{
		ID: id, Targets: targets, Reason: reason, Actor: c.caller.Actor,
	})
	if err != nil {
		return 0, nil, err
	}
	if receipt.Status.Retired { // a repetition, or there was nothing to revoke and nothing was recorded
		_, err := c.manager.Revocation(c.context(), receipt.ID())
		if errors.Is(err, tokenstore.ErrNotFound) {
			return status, nil, nil
		}
	}
	c.header.Set(HeaderRevocation, receipt.ID().String())
	c.opts.Logger.InfoContext(c.context(), "management: revoked",
		slog.String("tenant", c.caller.Tenant), slog.String("actor", c.caller.Actor),
		slog.String("revocation", receipt.ID().String()), slog.Int("targets", len(targets)), requestID(c.header, c.Request))
	return status, nil, nil
}

// revocationID is the id that the idempotency key of the request stands for, or zero for a new one. It is the same in every
// process, and another one for each tenant and actor.
func (c *call) revocationID() (ulid.ULID, error) {
	keys := c.Header.Values(HeaderIdempotency)
	if len(keys) == 0 {
		return ulid.ULID{}, nil
	}
	if key := keys[0]; len(keys) > 1 || len(key) < 1 || len(key) > maxKey || slices.ContainsFunc([]byte(key), notPrintable) {
		return ulid.ULID{}, &tokenstore.FieldError{Field: HeaderIdempotency, Limit: "1..255 printable ASCII characters", Size: len(key)}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "tokenstore idempotency key %q %q %q", c.caller.Tenant, c.caller.Actor, keys[0]))
	return ulid.ULID(sum[:16]), nil
}

func notPrintable(b byte) bool { return b < ' ' || b > '~' }
