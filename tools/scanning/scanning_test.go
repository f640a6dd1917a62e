// Package scanning looks at the rules by which scanners find secrets of this library.
package scanning

import (
	"crypto/rand"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"example.com/tokenstore/domain"
	"github.com/BurntSushi/toml"
	"github.com/oklog/ulid/v2"
)

const docs = "../../docs/"

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(docs + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// gitleaks is so much of its configuration as ours has.
type gitleaks struct {
	Title  string
	Extend struct{ UseDefault bool }
	Rules  []struct {
		ID, Description, Regex string
		Keywords, Tags         []string
	}
}

// patterns are those that we hand out, by who takes them.
func patterns(t *testing.T) map[string]*regexp.Regexp {
	t.Helper()
	var c gitleaks
	meta, err := toml.DecodeFile(docs+"scanners/gitleaks.toml", &c)
	if err != nil || len(meta.Undecoded()) > 0 || len(c.Rules) != 1 || !c.Extend.UseDefault {
		t.Fatalf("gitleaks.toml: %+v, unknown %v, %v", c, meta.Undecoded(), err)
	}
	rule := c.Rules[0]
	if rule.ID == "" || rule.Description == "" || len(rule.Keywords) != 1 || !strings.HasPrefix(domain.SecretPattern, rule.Keywords[0]) {
		t.Errorf("the rule of gitleaks.toml is %+v", rule)
	}
	hog := regexp.MustCompile(`(?m)^      secret: '(.*)'$`).FindStringSubmatch(readText(t, "scanners/trufflehog.yaml"))
	if hog == nil {
		t.Fatal("trufflehog.yaml has no regex")
	}
	text := readText(t, "secret-scanning.md")
	github := regexp.MustCompile("before it `(.*?)`, after it `(.*?)`;").FindStringSubmatch(text)
	if github == nil || !strings.Contains(text, "\n    "+domain.SecretPattern+"\n") {
		t.Fatal("secret-scanning.md does not have the pattern, or not what stands around it")
	}
	bar := strings.NewReplacer(`\|`, `|`) // as Markdown has it in a table
	return map[string]*regexp.Regexp{
		"the library": regexp.MustCompile(domain.SecretPattern),
		"gitleaks":    regexp.MustCompile(rule.Regex),
		"trufflehog":  regexp.MustCompile(hog[1]),
		"github":      regexp.MustCompile("(?:" + bar.Replace(github[1]) + ")" + domain.SecretPattern + "(?:" + bar.Replace(github[2]) + ")"),
	}
}

// secret is a new one, of some generation.
func secret(t *testing.T) string {
	t.Helper()
	id, err := ulid.New(ulid.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, err := domain.NewCredential(id, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.Generation = uint32(id[15] % 4)
	return c.Secret().Reveal()
}

// Every scanner finds every secret, wherever it stands, and no longer word that a secret is a part of.
func TestSecretsAreFound(t *testing.T) {
	found := 0
	for name, pattern := range patterns(t) {
		for range 200 {
			s := secret(t)
			for _, text := range []string{s, "token=" + s, `{"refresh_token":"` + s + `"}`, "a\n" + s + "\nb", "https://host/?t=" + s + "&u=1"} {
				if !pattern.MatchString(text) {
					t.Errorf("%s does not find a secret", name)
				}
				found++
			}
			if name == "the library" {
				continue
			}
			for _, text := range []string{"x" + s, s + "X", s + "_", s[:94], strings.ToLower(s), strings.Replace(s, "rts_", "rts-", 1)} {
				if pattern.MatchString(text) {
					t.Errorf("%s finds what is no secret", name)
				}
			}
		}
	}
	t.Attr("cases", strconv.Itoa(found))
}

// What looks like a secret, and has one letter that is another, is told by its checksum.
func TestNearMissesAreRefused(t *testing.T) {
	const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	pattern := regexp.MustCompile(`^` + domain.SecretPattern + `$`)
	tried := 0
	for range 20 {
		s := secret(t)
		if _, err := domain.ParseSecret(domain.NewSecret(s)); err != nil {
			t.Fatal(err)
		}
		for at := len("rts_"); at < len(s); at++ {
			if s[at] == '_' {
				continue
			}
			for _, letter := range letters {
				near := s[:at] + string(letter) + s[at+1:]
				if near == s || !pattern.MatchString(near) {
					continue
				}
				tried++
				if _, err := domain.ParseSecret(domain.NewSecret(near)); !errors.Is(err, domain.ErrMalformed) {
					t.Errorf("a secret with another letter at %d is %v", at, err)
				}
			}
		}
	}
	if tried < 20*80*31 {
		t.Errorf("only %d were tried", tried)
	}
	t.Attr("cases", strconv.Itoa(tried))
}
