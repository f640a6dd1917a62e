package provider

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"
)

//go:embed pages
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"day":     func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") },
	"machine": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
}).ParseFS(files, "pages/*.html"))

// page is what all pages have in common: what browsers may do with them, and from where forms may come.
func page(https bool, next http.Handler) http.Handler {
	// A form that another site has a browser send is refused, by Sec-Fetch-Site or Origin. The SameSite of the cookie says
	// the same to browsers that send neither.
	guarded := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy("'self'"))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if https {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		guarded.ServeHTTP(w, r)
	})
}

// policy is the Content-Security-Policy: no script at all, and forms that lead to formAction only.
func policy(formAction string) string {
	return "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action " + formAction
}

// allowRedirect lets the form of a page lead on to an application: browsers apply form-action to redirects too.
func allowRedirect(w http.ResponseWriter, to string) {
	u, err := url.Parse(to)
	if err != nil || strings.ContainsAny(u.Scheme+u.Host, "; ,'") {
		return
	}
	source := u.Scheme + ":"
	if u.Host != "" {
		source += "//" + u.Host
	}
	w.Header().Set("Content-Security-Policy", policy("'self' "+source))
}

// render writes a whole page or, if it fails, none of it.
func (p *Provider) render(w http.ResponseWriter, status int, name string, data any) {
	var text bytes.Buffer
	if err := templates.ExecuteTemplate(&text, name, data); err != nil {
		p.config.Logger.Error("rendering a page", "page", name, "error", err)
		http.Error(w, "Something went wrong.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = text.WriteTo(w)
}

type errorPage struct{ Title, Message string }

func (p *Provider) showError(w http.ResponseWriter, status int, message string) {
	p.render(w, status, "message.html", errorPage{"That did not work", message})
}

// unavailable is for when the tokenstore fails: nothing was done, or it isn't known.
func (p *Provider) unavailable(w http.ResponseWriter, err error) {
	p.config.Logger.Error("the tokenstore fails", "error", err)
	w.Header().Set("Retry-After", "1")
	p.showError(w, http.StatusServiceUnavailable, "Something is wrong on our side. Try again in a moment.")
}

func serveFile(name, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		text, _ := files.ReadFile("pages/" + name)
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(text)
	}
}
