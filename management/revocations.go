package management

import (
	"net/http"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// revocation is a revocation as the API shows it.
type revocation struct {
	ID           string              `json:"id"`
	State        string              `json:"state"`
	Targets      []tokenstore.Target `json:"targets"`
	Reason       string              `json:"reason"`
	Actor        string              `json:"actor"`
	CreatedAt    *string             `json:"created_at"`
	RetiredAt    *string             `json:"retired_at"`
	Examined     uint64              `json:"examined"`
	Swept        uint64              `json:"swept"`
	SupersededBy *string             `json:"superseded_by"`
}

const (
	statePending = "pending"
	stateRetired = "retired"
)

func toRevocation(s *tokenstore.Status) revocation {
	r := revocation{
		ID: s.Tombstone.ID.String(), State: statePending, Targets: s.Tombstone.Targets,
		Reason: s.Tombstone.Reason, Actor: s.Tombstone.Actor, CreatedAt: instant(s.Tombstone.Time),
		Examined: s.Examined, Swept: s.Swept, SupersededBy: idOrNull(s.SupersededBy),
	}
	if s.Retired {
		r.State, r.RetiredAt = stateRetired, instant(s.RetiredAt)
	}
	return r
}

// instant is a time as the API writes it, and null for none.
func instant(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format("2006-01-02T15:04:05.000Z")
	return &text
}

func idOrNull(id ulid.ULID) *string {
	if id.IsZero() {
		return nil
	}
	text := id.String()
	return &text
}

func getRevocation(c *call) (int, any, error) {
	unknown := problem{status: http.StatusNotFound, message: "The revocation does not exist."}
	id, ok := domain.ParseID(c.id)
	if !ok {
		return 0, nil, unknown
	}
	status, err := c.manager.Revocation(c.context(), id)
	if err != nil {
		if told(err).status == http.StatusNotFound {
			err = unknown
		}
		return 0, nil, err
	}
	return http.StatusOK, toRevocation(&status), nil
}

func listRevocations(c *call) (int, any, error) {
	q := c.query()
	state := q.choice("state", statePending, statePending, stateRetired)
	at := listing{tenant: c.caller.Tenant, name: "revocations " + state}
	now := c.opts.Now()
	r := tokenstore.RevocationsRequest{Retired: state == stateRetired, After: at.after(q, now), Limit: q.take()}
	if q.err != nil {
		return 0, nil, q.err
	}
	page, err := c.manager.Revocations(c.context(), r)
	if err != nil {
		return 0, nil, err
	}
	body := struct {
		Revocations []revocation `json:"revocations"`
		Next        string       `json:"next,omitempty"`
	}{Revocations: make([]revocation, len(page.Revocations))}
	for i := range page.Revocations {
		body.Revocations[i] = toRevocation(&page.Revocations[i])
	}
	if !page.Next.IsZero() {
		body.Next = at.cursor(page.Next, now)
	}
	return http.StatusOK, body, nil
}
