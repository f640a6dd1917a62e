package browser

import (
	"bytes"
	"flag"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
)

var update = flag.Bool("update", false, "write the pictures of the README anew")

const safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"

// TestDevices: a person signs in on a laptop and on a phone, sees both, signs out the phone, which can't refresh any more,
// and sees the sweep finish.
func TestDevices(t *testing.T) {
	browser := chromium(t)
	s := newSite(t)
	laptop, phone := open(t, browser).window(900, 620, false), open(t, browser).window(390, 760, true)
	call(phone, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: safari})

	laptop.visit(s.app)
	laptop.wantAccessible()
	here := s.signIn(laptop)
	s.ahead.Add(int64(3 * time.Hour))
	phone.visit(s.url + "/login")
	phone.wantAccessible()
	there := s.signIn(phone)
	s.ahead.Add(int64(time.Hour))
	here, there = s.mustRefresh(here), s.mustRefresh(there)

	for b, c := range map[*tab]struct{ picture, first, second string }{
		laptop: {"devices.png", "Chrome on Linux", "Safari on iPhone"},
		phone:  {"devices-phone.png", "Safari on iPhone", "Chrome on Linux"},
	} {
		b.visit(s.url + "/devices")
		b.wantText("Your devices", "This browser", "Notes", "127.0.0.1", time.Now().UTC().Format("Jan 2006"))
		if text := b.html(); strings.Index(text, c.first) > strings.Index(text, c.second) {
			t.Errorf("the first is not this browser:\n%s", text)
		}
		b.wantAccessible()
		b.wantPicture(c.picture)
	}

	laptop.click("#sign-out-1")
	laptop.wantText("under way: 0 removed so far", "This browser")
	if text := laptop.html(); strings.Contains(text, "iPhone") {
		t.Error("the phone is still shown")
	}
	laptop.wantAccessible()
	if _, err := s.refresh(there); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("the phone refreshed, or was not refused as it should be: %v", err)
	}
	if _, err := s.refresh(here); err != nil {
		t.Errorf("the laptop did not refresh: %v", err)
	}
	phone.visit(s.url + "/devices")
	phone.wantText("Password")

	s.sweep()
	for range 1000 {
		if laptop.click(`[role=status] a`); strings.Contains(laptop.html(), "finished") {
			break
		}
	}
	laptop.wantText("finished: 1 removed")
	laptop.wantQuiet()
	phone.wantQuiet()
}

// wantPicture takes a picture of the window. With -update it becomes the README's; else that one has to be there.
func (b *tab) wantPicture(name string) {
	b.Helper()
	got := b.picture()
	path := filepath.Join("..", "..", "..", "docs", "img", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		b.Fatal("with -update the picture is made: ", err)
	}
	want, err := png.DecodeConfig(bytes.NewReader(got))
	if err != nil {
		b.Fatal(err)
	}
	if is, err := png.DecodeConfig(bytes.NewReader(kept)); err != nil || is.Width != want.Width || is.Height != want.Height {
		b.Errorf("%s is %dx%d, want %dx%d: %v", name, is.Width, is.Height, want.Width, want.Height, err)
	}
}

// TestWithoutJavaScript: the same by pages and forms alone, and all at once.
func TestWithoutJavaScript(t *testing.T) {
	browser := chromium(t)
	s := newSite(t)
	s.sweep()
	laptop, phone := open(t, browser).withoutJavaScript(), open(t, browser).withoutJavaScript().window(390, 760, true)
	here, there := s.signIn(laptop), s.signIn(phone)
	phone.visit(s.url + "/devices")
	phone.wantText(`id="sign-out-1"`)
	phone.click("#sign-out-1")
	phone.wantText("Signed out")
	if _, err := s.refresh(here); err == nil {
		t.Error("the laptop refreshed")
	}
	next, err := s.refresh(there)
	if err != nil {
		t.Fatal(err)
	}
	phone.click("button.grave")
	phone.wantText("Signed out", "only this page")
	if _, err := s.refresh(next); err == nil {
		t.Error("the phone refreshed")
	}
	again := s.signIn(phone) // which asks for the password
	if _, err := s.refresh(again); err != nil {
		t.Error(err)
	}
	phone.wantQuiet()
	laptop.wantQuiet()
}

// TestWrongPassword: the page says so, for everybody to notice.
func TestWrongPassword(t *testing.T) {
	b := open(t, chromium(t)).window(390, 760, true)
	b.visit(newSite(t).url + "/login")
	b.fill("#username", "ann")
	b.fill("#password", "wrong")
	b.click("form button")
	b.wantText("Name and password do not match.")
	b.wantAccessible()
}

// TestChecksCanFail: a script that somebody got into the page is not run, and noticed here; and so is what axe objects to.
func TestChecksCanFail(t *testing.T) {
	b := open(t, chromium(t))
	b.visit(newSite(t).url + "/login")
	ran := call(b, runtime.Evaluate, runtime.EvaluateParams{Expression: `{
		const script = document.createElement("script");
		script.textContent = "window.ran = true";
		document.body.append(script);
		window.ran === true
	}`}).Result
	if string(ran.Value) != "false" {
		t.Errorf("whether the script was run: %s", ran.Value)
	}
	var label int
	b.aside(&label, `document.querySelector("label[for=password]").remove(); 1`)
	if found := b.grave(); len(found) == 0 {
		t.Error("axe finds nothing in a field without a label")
	}
	for range 1000 { // what the console says comes by itself
		b.html()
		b.mu.Lock()
		said := strings.Join(b.said, "\n")
		b.mu.Unlock()
		if strings.Contains(said, "Content Security Policy") {
			return
		}
	}
	t.Error("the violation was not noticed")
}
