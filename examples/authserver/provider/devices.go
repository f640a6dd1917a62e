package provider

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// signIn is one entry of "Your devices": a session, with all that was signed in to in it.
type signIn struct {
	Session     string // or, for a token from before there were sessions,
	Token       string // its id
	Device      string
	Place       string
	First, Last time.Time
	Apps        []string
	Here        bool // it is the browser that asks
}

type devicesPage struct {
	Title   string
	Name    string
	SignIns []signIn
	More    bool // there are more than are shown
	Sweep   *sweep
}

// sweep is how far the removal of what was signed out has come.
type sweep struct {
	Receipt string
	Done    bool
	Swept   uint64
}

// maxShown is how many tokens are looked at.
const maxShown = 500

func (p *Provider) showDevices(w http.ResponseWriter, r *http.Request) {
	session, ok := p.sessions.of(r)
	if !ok {
		http.Redirect(w, r, "/login", http.StatusFound)
		return
	}
	tokens, more, err := p.tokensOf(r.Context(), session.user)
	if err != nil {
		p.unavailable(w, err)
		return
	}
	data := devicesPage{
		Title: "Your devices", Name: p.accounts.byID[session.user].Name, More: more,
		SignIns: p.signIns(tokens, p.sessions.ofUser(session.user), session.id),
	}
	if data.Sweep, err = p.sweepOf(r.Context(), session.user, r.FormValue("receipt")); err != nil {
		p.unavailable(w, err)
		return
	}
	p.render(w, http.StatusOK, "devices.html", data)
}

// tokensOf are the tokens of a user, without what has been revoked and is still being removed.
func (p *Provider) tokensOf(ctx context.Context, user string) (tokens []tokenstore.RefreshToken, more bool, err error) {
	ask := tokenstore.ListRequest{UserID: user, Limit: 100, Consistency: tokenstore.Fenced}
	for {
		page, err := p.config.Tokens.List(ctx, ask)
		if err != nil {
			return nil, false, err
		}
		tokens = append(tokens, page.Tokens...)
		if page.Next.IsZero() || len(tokens) >= maxShown {
			return tokens, !page.Next.IsZero(), nil
		}
		ask.After = page.Next
	}
}

// signIns are sorted: this browser first, then by their last use.
func (p *Provider) signIns(tokens []tokenstore.RefreshToken, sessions []session, here string) []signIn {
	found := map[string]*signIn{}
	for _, s := range sessions {
		found[s.id] = &signIn{
			Session: s.id, Device: deviceName(s.device.InitialUserAgent), Place: s.device.InitialIP,
			First: s.began, Last: s.used, Here: s.id == here,
		}
	}
	now := p.config.Now()
	for _, t := range tokens {
		if t.Expired(now) != "" {
			continue
		}
		session, _ := t.SessionID.Get()
		key := cmp.Or(session, t.ID.String())
		s := found[key]
		if s == nil {
			s = &signIn{
				Session: session, Device: deviceName(t.Device.InitialUserAgent), Place: t.Device.InitialIP, First: t.CreatedAt,
			}
			if session == "" {
				s.Token = t.ID.String()
			}
			found[key] = s
		}
		for _, at := range []time.Time{t.CreatedAt, t.LastExchangedAt} {
			if at.After(s.Last) {
				s.Last = at
			}
		}
		if t.CreatedAt.Before(s.First) {
			s.First = t.CreatedAt
		}
		if app := p.clients.name(t.ClientID); !slices.Contains(s.Apps, app) {
			s.Apps = append(s.Apps, app)
		}
	}
	var all []signIn
	for _, s := range found {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b signIn) int {
		if a.Here != b.Here {
			if a.Here {
				return -1
			}
			return 1
		}
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Session+a.Token, b.Session+b.Token))
	})
	return all
}

// sweepOf returns nil for a receipt that is not of this user, or no longer remembered.
func (p *Provider) sweepOf(ctx context.Context, user, receipt string) (*sweep, error) {
	id, ok := domain.ParseID(receipt)
	if !ok {
		return nil, nil
	}
	var status store.Status
	for {
		var err error
		status, err = p.config.Tokens.Revocation(ctx, id)
		if errors.Is(err, tokenstore.ErrNotFound) || err == nil && status.Tombstone.Actor != user {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if status.SupersededBy.IsZero() {
			return &sweep{receipt, status.Retired, status.Swept}, nil
		}
		id = status.SupersededBy // she has asked for the same again, and that one goes on
	}
}

// signOut revokes what the form names, of the user who asks: a session, a token, or all.
func (p *Provider) signOut(w http.ResponseWriter, r *http.Request) {
	session, ok := p.sessions.of(r)
	if !ok {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	if err := r.ParseForm(); err != nil {
		p.showError(w, http.StatusBadRequest, "The form can't be read.")
		return
	}
	target := tokenstore.Target{UserID: session.user, SessionID: r.PostForm.Get("session")}
	all := r.PostForm.Get("all") == "yes"
	if text := r.PostForm.Get("token"); text != "" {
		if target.TokenID, ok = domain.ParseID(text); !ok {
			p.showError(w, http.StatusBadRequest, "There is no such device.")
			return
		}
	}
	if one := target.SessionID != "" || !target.TokenID.IsZero(); one == all { // never all by an empty field
		p.showError(w, http.StatusBadRequest, "Choose a device.")
		return
	}
	receipt, err := p.config.Tokens.Revoke(r.Context(), tokenstore.RevokeRequest{
		Targets: []tokenstore.Target{target}, Reason: "signed out by its user", Actor: session.user,
	})
	if _, bad := errors.AsType[*tokenstore.FieldError](err); bad {
		p.showError(w, http.StatusBadRequest, "There is no such device.")
		return
	}
	if err != nil {
		p.unavailable(w, err)
		return
	}
	p.counters.add("sign_outs", "done")
	if all {
		p.sessions.endAll(session.user, session.id)
	} else {
		p.sessions.end(session.user, target.SessionID)
	}
	if target.SessionID == session.id {
		http.Redirect(w, r, "/signed-out", http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, "/devices?receipt="+receipt.ID().String(), http.StatusSeeOther)
}
