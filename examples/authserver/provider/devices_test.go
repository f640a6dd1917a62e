package provider_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"golang.org/x/oauth2"
)

// onPage is how many devices a page shows.
func onPage(a answer) int { return strings.Count(a.body, `<li class="device">`) }

// TestDevices: a person sees where she is signed in, signs one out, which is refused at once, and sees the sweep finish.
func TestDevices(t *testing.T) {
	r := newRig(t)
	laptop, phone := r.browser(), r.browser()
	phone.agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
	here, lost := laptop.open("notes", "ann"), phone.open("notes", "ann")
	laptop.open("web", "ann")
	r.browser().open("notes", "bob")
	r.wait(time.Hour)
	lost = r.mustRefresh(lost)

	page := laptop.get("/devices")
	for _, want := range []string{
		"Ann Example", "Firefox on Linux", "This browser", "Safari on iPhone", "Notes, Web", "127.0.0.1",
		time.Now().UTC().Format("2 Jan 2006"), time.Now().Add(time.Hour).UTC().Format("2006-01-02T15"),
	} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page does not show %q:\n%s", want, page.body)
		}
	}
	if n := onPage(page); n != 2 || strings.Count(page.body, "This browser") != 1 {
		t.Errorf("%d devices", n)
	}

	page = laptop.post("/devices/sign-out", url.Values{"session": {r.sessionOf(lost)}})
	receipt := page.url.Query().Get("receipt")
	if page.status != http.StatusOK || receipt == "" || onPage(page) != 1 || !strings.Contains(page.body, "under way: 0 removed") {
		t.Errorf("signed out: %d at %s:\n%s", page.status, page.url, page.body)
	}
	r.wantRefused(lost)
	if got := r.userinfo(lost); got != http.StatusUnauthorized && got != http.StatusForbidden {
		t.Errorf("userinfo of the device that was signed out: %d", got)
	}
	if got := phone.get("/devices"); got.url.Path != "/login" {
		t.Errorf("the browser that was signed out is at %s", got.url)
	}
	here = r.mustRefresh(here)
	if got := r.userinfo(here); got != http.StatusOK {
		t.Errorf("userinfo of another device: %d", got)
	}

	r.sweep()
	for !strings.Contains(page.body, "finished: 1 removed") { // Look again
		page = laptop.get("/devices?receipt=" + receipt)
		if t.Context().Err() != nil || page.status != http.StatusOK {
			t.Fatalf("status %d", page.status)
		}
	}
	stranger := r.browser()
	stranger.signIn("bob")
	if got := stranger.get("/devices?receipt=" + receipt); got.status != http.StatusOK || strings.Contains(got.body, "clean-up") {
		t.Error("another person sees it too")
	}
	for _, bad := range []string{"x", strings.Repeat("0", 26), strings.Repeat("x", 5000)} {
		if got := laptop.get("/devices?receipt=" + bad); got.status != http.StatusOK || strings.Contains(got.body, "clean-up") {
			t.Errorf("a bad receipt: %d", got.status)
		}
	}
}

// TestSignOutEverywhere: everything of hers, nothing of anybody else's; and who was signed in proves anew who she is.
func TestSignOutEverywhere(t *testing.T) {
	r := newRig(t)
	r.sweep()
	b, another, bob := r.browser(), r.browser(), r.browser()
	here, there, his := b.open("notes", "ann"), another.open("notes", "ann"), bob.open("notes", "bob")
	verifier := oauth2.GenerateVerifier()
	code := another.code(another.begin("notes", verifier)) // of before
	page := b.post("/devices/sign-out", url.Values{"all": {"yes"}})
	if page.url.Path != "/devices" || onPage(page) != 1 {
		t.Errorf("%d devices at %s", onPage(page), page.url)
	}
	r.wantRefused(here)
	r.wantRefused(there)
	r.mustRefresh(his)
	if _, err := r.config("notes").Exchange(t.Context(), code, oauth2.VerifierOption(verifier)); err == nil {
		t.Error("a code of before got a token")
	}
	if got := another.get("/devices"); got.url.Path != "/login" {
		t.Errorf("the other browser is at %s", got.url)
	}
	if got := b.begin("notes", verifier); got.url.Path != "/login" {
		t.Errorf("no password was asked for: at %s", got.url)
	}
	r.mustRefresh(b.open("notes", "ann"))
}

// TestSignOutHere ends the session of the browser that asks.
func TestSignOutHere(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	token := b.open("notes", "ann")
	if got := b.post("/devices/sign-out", url.Values{"session": {r.sessionOf(token)}}); got.url.Path != "/signed-out" {
		t.Errorf("at %s", got.url)
	}
	if got := b.get("/devices"); got.url.Path != "/login" {
		t.Errorf("at %s", got.url)
	}
	r.wantRefused(token)
}

// TestSignOutOfOthers: nobody signs out anybody else, and an empty form signs out nothing.
func TestSignOutOfOthers(t *testing.T) {
	r := newRig(t)
	ann, bob := r.browser(), r.browser()
	token := ann.open("notes", "ann")
	bob.signIn("bob")
	session := r.sessionOf(token)
	known, err := r.tokens.Introspect(t.Context(), tokenstore.NewSecret(token.RefreshToken))
	if err != nil {
		t.Fatal(err)
	}
	for name, form := range map[string]url.Values{
		"session": {"session": {session}}, "token": {"token": {known.Token.ID.String()}}, "all": {"all": {"yes"}},
	} {
		if got := bob.post("/devices/sign-out", form); got.status != http.StatusOK {
			t.Errorf("%s: status %d", name, got.status)
		}
	}
	for name, form := range map[string]url.Values{
		"nothing": {}, "empty": {"session": {""}, "token": {""}}, "both": {"session": {session}, "all": {"yes"}},
		"bad token": {"token": {"x"}}, "long session": {"session": {strings.Repeat("x", 51)}}, "bad session": {"session": {"\x00"}},
	} {
		if got := ann.post("/devices/sign-out", form); got.status != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, got.status)
		}
	}
	if got := r.browser().post("/devices/sign-out", url.Values{"session": {session}}); got.url.Path != "/login" {
		t.Errorf("nobody: at %s", got.url)
	}
	r.mustRefresh(token)
	if got := ann.get("/devices"); got.url.Path != "/devices" {
		t.Errorf("at %s", got.url)
	}
}

// TestTokenWithoutSession: a token from before there were sessions has an entry of its own.
func TestTokenWithoutSession(t *testing.T) {
	r := newRig(t)
	old := tokenstore.RefreshToken{
		ForeignID: "old", UserID: "user-ann", ClientID: "notes", CreatedAt: time.Date(2023, 1, 2, 3, 4, 0, 0, time.UTC), Rotating: true,
	}
	results, err := r.tokens.Import(t.Context(), []tokenstore.RefreshToken{old})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	b := r.browser()
	page := b.signIn("ann")
	id := regexp.MustCompile(`name="token" value="([^"]+)"`).FindStringSubmatch(page.body)
	if id == nil || onPage(page) != 2 || !strings.Contains(page.body, "2 Jan 2023, 03:04 UTC") {
		t.Fatalf("%d devices:\n%s", onPage(page), page.body)
	}
	if page = b.post("/devices/sign-out", url.Values{"token": {id[1]}}); onPage(page) != 1 {
		t.Errorf("%d devices after it was signed out", onPage(page))
	}
}
