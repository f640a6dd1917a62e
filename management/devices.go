package management

import (
	"encoding/json"
	"net/http"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
)

// maxWalk is how many tokens a list of device credentials looks at. Its pages are numbered, so every page walks over those
// before it, and a total over all.
const maxWalk = 10_000

// The types of device credentials. There are no public keys here.
const (
	typeRefreshToken = "refresh_token"
	typeRotating     = "rotating_refresh_token"
	typePublicKey    = "public_key"
)

// device is a token as a device credential.
type device struct {
	ID       string `json:"id"`
	Name     string `json:"device_name,omitempty"`
	Type     string `json:"type"`
	UserID   string `json:"user_id"`
	ClientID string `json:"client_id"`
}

func toDevice(t *tokenstore.RefreshToken) device {
	d := device{ID: t.ID.String(), Name: t.Device.InitialUserAgent, Type: typeRefreshToken, UserID: t.UserID, ClientID: t.ClientID}
	if t.Rotating {
		d.Type = typeRotating
	}
	return d
}

// devicePage is what a list of device credentials asks for.
type devicePage struct {
	start, limit int
	total        bool
	kind         string
	clientID     string
	list         tokenstore.ListRequest
}

func listDevices(c *call) (int, any, error) {
	q := c.query()
	p := devicePage{
		limit: q.number("per_page", 1, 100, 50), total: q.flag("include_totals", false),
		kind:     q.choice("type", typeRefreshToken, typeRefreshToken, typeRotating, typePublicKey),
		clientID: q.clientID(),
		list:     tokenstore.ListRequest{UserID: q.text("user_id", domain.CheckUserID), Limit: 100, Consistency: q.consistency()},
	}
	p.start = p.limit * q.number("page", 0, maxWalk, 0)
	shown := q.selection()
	if q.err != nil {
		return 0, nil, q.err
	}
	devices, total, err := c.walkDevices(p)
	if err != nil {
		return 0, nil, err
	}
	list, err := all(shown, devices)
	if !p.total {
		return http.StatusOK, list, err
	}
	return http.StatusOK, struct {
		Start   int               `json:"start"`
		Limit   int               `json:"limit"`
		Total   int               `json:"total"`
		Devices []json.RawMessage `json:"device_credentials"`
	}{p.start, p.limit, total, list}, err
}

// walkDevices returns the page, and how many there are if the total is asked for.
func (c *call) walkDevices(p devicePage) (page []device, total int, err error) {
	if p.kind == typePublicKey {
		return nil, 0, nil
	}
	walked := 0
	for token, err := range c.manager.All(c.context(), p.list) {
		if err != nil {
			return nil, 0, err
		}
		if walked++; walked > maxWalk {
			return nil, 0, problem{
				status: http.StatusBadRequest, code: codeQuery,
				message: "The list is too long to be paged by number; give a user_id, or use /api/v2/refresh-tokens.",
			}
		}
		d := toDevice(&token)
		if d.Type != p.kind || p.clientID != "" && d.ClientID != p.clientID {
			continue
		}
		if total >= p.start && len(page) < p.limit {
			page = append(page, d)
		}
		if total++; !p.total && len(page) == p.limit {
			break
		}
	}
	return page, total, nil
}
