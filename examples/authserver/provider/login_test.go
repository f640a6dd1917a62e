package provider_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// TestWrongPassword: the answer does not tell whether there is such an account, and shows what was typed as text.
func TestWrongPassword(t *testing.T) {
	r := newRig(t)
	refused := func(user, password string) string {
		got := r.browser().post("/login", url.Values{"username": {user}, "password": {password}})
		if got.status != http.StatusUnauthorized || got.header.Get("Set-Cookie") != "" {
			t.Errorf("status %d", got.status)
		}
		return strings.ReplaceAll(got.body, `value="`+user+`"`, "")
	}
	known, unknown := refused("ann", "wrong"), refused("nobody", "wrong")
	if known != unknown || !strings.Contains(known, `role="alert"`) {
		t.Errorf("answered\n%s\nand\n%s", known, unknown)
	}
	refused("ann", "")
	refused("ann", strings.Repeat("x", 100))
	if body := refused(`"><script>alert(1)</script>`, "wrong"); strings.Contains(body, "<script>") {
		t.Error("the page has a script that somebody typed")
	}
}

// TestManyGuesses: they are slowed down, for each name by itself, and for one that is nobody's in the same way: else that would
// tell which are.
func TestManyGuesses(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	try := func(user, password string) int {
		return b.post("/login", url.Values{"username": {user}, "password": {password}}).status
	}
	for _, user := range []string{"nobody", "ann"} {
		for range 10 {
			if got := try(user, "wrong"); got != http.StatusUnauthorized {
				t.Fatalf("%s: status %d", user, got)
			}
		}
		if got := try(user, password); got != http.StatusTooManyRequests {
			t.Errorf("%s, the eleventh: status %d", user, got)
		}
	}
	if got := try("somebody", password); got != http.StatusUnauthorized {
		t.Errorf("another who is nobody: status %d", got)
	}
	if got := try("bob", password); got != http.StatusOK {
		t.Errorf("another: status %d", got)
	}
	r.wait(time.Minute)
	if got := try("ann", password); got != http.StatusOK {
		t.Errorf("later: status %d", got)
	}
}

// TestCallbackOfAnotherBrowser: who has somebody else complete a sign-in that he began gets no code.
func TestCallbackOfAnotherBrowser(t *testing.T) {
	r := newRig(t)
	attacker, victim := r.browser(), r.browser()
	attacker.signIn("bob")
	victim.signIn("ann")
	begun := attacker.begin("notes", oauth2.GenerateVerifier(), oauth2.SetAuthURLParam("prompt", "login"))
	id := requestField.FindStringSubmatch(begun.body)[1]
	victim.http.CheckRedirect = func(to *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(to.URL.Path, "/authorize/callback") {
			return http.ErrUseLastResponse // it never gets there
		}
		return nil
	}
	if got := victim.post("/login", url.Values{"username": {"ann"}, "password": {password}, "request": {id}}); got.url.Path != "/authorize/callback" {
		t.Fatalf("at %s", got.url)
	}
	for name, b := range map[string]*browser{"signed in as another": attacker, "not signed in": r.browser()} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			if got := b.do(method, "/authorize/callback?id="+id, url.Values{}, nil); got.status != http.StatusForbidden || got.url.Query().Has("code") {
				t.Errorf("%s, %s: status %d at %s", name, method, got.status, got.url)
			}
		}
	}
	victim.http.CheckRedirect = attacker.http.CheckRedirect
	victim.code(victim.get("/authorize/callback?id=" + id))
}

// TestCallbackMeetsSignIn: nor does who asks for it while the sign-in is being completed.
func TestCallbackMeetsSignIn(t *testing.T) {
	r := newRig(t)
	victim := r.browser()
	victim.signIn("ann")
	victim.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	asked := 0
	for range 200 {
		attackers := []*browser{r.browser(), r.browser(), r.browser()}
		id := requestField.FindStringSubmatch(attackers[0].begin("notes", oauth2.GenerateVerifier()).body)[1]
		done, polls := make(chan struct{}), make(chan int)
		for _, attacker := range attackers {
			go func() {
				for n := 1; ; n++ {
					if got := attacker.get("/authorize/callback?id=" + id); got.url.Query().Has("code") {
						t.Error("the code went to a browser that has not signed in")
					}
					select {
					case <-done:
						polls <- n
						return
					default:
					}
				}
			}()
		}
		got := victim.get("/login?request=" + id)
		close(done)
		for range attackers {
			asked += <-polls
		}
		if got.url.Path != "/authorize/callback" {
			t.Fatalf("at %s", got.url)
		}
	}
	t.Logf("asked %d times", asked)
}

// TestSessionIsEnough: who has signed in is not asked again, unless the application wants that.
func TestSessionIsEnough(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	verifier := oauth2.GenerateVerifier()
	prompt := func(what string) oauth2.AuthCodeOption { return oauth2.SetAuthURLParam("prompt", what) }
	if got := b.begin("notes", verifier, prompt("none")); got.url.Query().Get("error") != "login_required" {
		t.Errorf("not signed in: at %s", got.url)
	}
	b.signIn("ann")
	b.code(b.begin("notes", verifier))
	b.code(b.begin("other", verifier, prompt("none")))
	b.code(b.begin("notes", verifier, oauth2.SetAuthURLParam("max_age", "60")))
	for name, option := range map[string]oauth2.AuthCodeOption{
		"prompt": prompt("login"), "max_age": oauth2.SetAuthURLParam("max_age", "0"),
	} {
		asked := b.begin("notes", verifier, option)
		if asked.url.Path != "/login" {
			t.Errorf("%s: at %s", name, asked.url)
			continue
		}
		b.code(b.fill(asked, "ann"))
	}
	r.wait(2 * time.Minute)
	if got := b.begin("notes", verifier, oauth2.SetAuthURLParam("max_age", "60")); got.url.Path != "/login" {
		t.Errorf("max_age, later: at %s", got.url)
	}
	r.wait(12 * time.Hour)
	if got := b.begin("notes", verifier); got.url.Path != "/login" {
		t.Errorf("after the session: at %s", got.url)
	}
}

// TestErrorsAtOnce: each application gets its own state back, with an error too.
func TestErrorsAtOnce(t *testing.T) {
	r := newRig(t)
	var all sync.WaitGroup
	for i := range 8 {
		b := r.browser()
		all.Go(func() {
			for range 50 {
				want := fmt.Sprint("the state of ", i)
				if got := b.get(r.config("notes").AuthCodeURL(want)).url.Query(); got.Get("error") != "invalid_request" || got.Get("state") != want {
					t.Errorf("got %v for %s", got, want)
				}
			}
		})
	}
	all.Wait()
}

// TestCode: a public client needs PKCE, and a code is good once, for its client and its verifier.
func TestCode(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.signIn("ann")
	verifier := oauth2.GenerateVerifier()
	for name, c := range map[string]struct {
		client  string
		options []oauth2.AuthCodeOption
	}{
		"no verifier":      {"notes", nil},
		"another verifier": {"notes", []oauth2.AuthCodeOption{oauth2.VerifierOption(oauth2.GenerateVerifier())}},
		"another client":   {"other", []oauth2.AuthCodeOption{oauth2.VerifierOption(verifier)}},
	} {
		code := b.code(b.begin("notes", verifier))
		if _, err := r.config(c.client).Exchange(t.Context(), code, c.options...); err == nil {
			t.Errorf("%s: got a token", name)
		}
	}
	code := b.code(b.begin("notes", verifier))
	token, err := r.config("notes").Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.config("notes").Exchange(t.Context(), code, oauth2.VerifierOption(verifier)); err == nil {
		t.Error("a code was good twice")
	}
	r.mustRefresh(token)
	code = b.code(b.begin("notes", verifier))
	r.wait(time.Minute)
	if _, err := r.config("notes").Exchange(t.Context(), code, oauth2.VerifierOption(verifier)); err == nil {
		t.Error("an old code was good")
	}
	for name, options := range map[string][]oauth2.AuthCodeOption{
		"without": nil,
		"plain":   {oauth2.SetAuthURLParam("code_challenge", verifier), oauth2.SetAuthURLParam("code_challenge_method", "plain")},
		"no name": {oauth2.SetAuthURLParam("code_challenge", verifier)},
	} {
		if got := b.get(r.config("notes").AuthCodeURL("state of some length", options...)).url.Query(); got.Has("code") || got.Get("error") != "invalid_request" {
			t.Errorf("PKCE, %s: %v", name, got)
		}
	}
	b.code(b.get(r.config("web").AuthCodeURL("state of some length"))) // which has a secret
}
