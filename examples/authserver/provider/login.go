package provider

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

type loginPage struct {
	Title    string
	Request  string // the authorization request that it is for, if any
	App      string // who asked for it
	Username string
	Problem  string
}

// showLogin asks for name and password, where there is no session that is enough.
func (p *Provider) showLogin(w http.ResponseWriter, r *http.Request) {
	session, signedIn := p.sessions.of(r)
	id := r.FormValue("request")
	if id == "" {
		if signedIn {
			http.Redirect(w, r, "/devices", http.StatusFound)
			return
		}
		p.askPassword(w, http.StatusOK, loginPage{})
		return
	}
	asked, ok := p.requests.pending.get(id)
	switch {
	case !ok:
		p.showError(w, http.StatusBadRequest, tooLong)
	case signedIn && !asked.wantsPassword(session, p.config.Now()):
		p.goOn(w, r, id, session)
	case slices.Contains(asked.Prompt, oidc.PromptNone):
		p.requests.pending.take(id)
		op.AuthRequestError(w, r, asked, oidc.ErrLoginRequired(), p.op)
	default:
		p.askPassword(w, http.StatusOK, loginPage{Request: id, Username: asked.LoginHint})
	}
}

func (p *Provider) askPassword(w http.ResponseWriter, status int, data loginPage) {
	data.Title = "Sign in"
	if asked, ok := p.requests.pending.get(data.Request); ok {
		data.App = p.clients.name(asked.ClientID)
		allowRedirect(w, asked.RedirectURI)
	}
	p.render(w, status, "login.html", data)
}

// login begins a session.
func (p *Provider) login(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.showError(w, http.StatusBadRequest, "The form can't be read.")
		return
	}
	form := loginPage{Request: r.PostForm.Get("request"), Username: r.PostForm.Get("username")}
	// Read before the password is, so that a revocation meanwhile counts as later.
	state, err := p.config.Tokens.State(r.Context())
	if err != nil {
		p.unavailable(w, err)
		return
	}
	account, ok, slow := p.accounts.check(form.Username, r.PostForm.Get("password"))
	switch {
	case slow:
		p.counters.add("sign_ins", "slowed_down")
		form.Problem = "That were many tries. Wait a few seconds, and try again."
		p.askPassword(w, http.StatusTooManyRequests, form)
		return
	case !ok:
		p.counters.add("sign_ins", "refused")
		form.Problem = "Name and password do not match."
		p.askPassword(w, http.StatusUnauthorized, form)
		return
	}
	session, ok := p.sessions.begin(w, r, account.ID, state.Sequence)
	if !ok {
		p.showError(w, http.StatusServiceUnavailable, "Too many people are signed in. Try again later.")
		return
	}
	p.counters.add("sign_ins", "done")
	if form.Request == "" {
		http.Redirect(w, r, "/devices", http.StatusSeeOther)
		return
	}
	p.goOn(w, r, form.Request, session)
}

// goOn leads back to the application.
func (p *Provider) goOn(w http.ResponseWriter, r *http.Request, request string, by session) {
	if !p.requests.complete(request, by) {
		p.showError(w, http.StatusBadRequest, tooLong)
		return
	}
	http.Redirect(w, r, "/authorize/callback?id="+url.QueryEscape(request), http.StatusSeeOther)
}

func (p *Provider) showSignedOut(w http.ResponseWriter, _ *http.Request) {
	p.render(w, http.StatusOK, "message.html", errorPage{"Signed out", "You are signed out. Nothing that was signed in with it goes on."})
}
