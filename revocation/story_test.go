package revocation_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

var rewrite = flag.Bool("rewrite", false, "write the outcomes of the stories in testdata anew")

// TestStories plays the stories of testdata, line by line. They are meant to be read: each shows how a revocation flows.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := newStory(t)
			var told strings.Builder
			for line := range strings.Lines(string(text)) {
				told.WriteString(s.line(strings.TrimRight(line, "\n")) + "\n")
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(told.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if told.String() != string(text) {
				t.Errorf("the story has another outcome (go test ./revocation -rewrite keeps it):\n%s", told.String())
			}
		})
	}
}

// story plays one story: a manager on a memory backend, no engine, a clock that ticks with every line, and a name for everything.
type story struct {
	*testing.T
	m           *tokenstore.Manager
	store       store.Store
	now         time.Time
	tokens      map[string]ulid.ULID
	secrets     map[string][]tokenstore.Secret // all that the token ever had
	revocations map[string]ulid.ULID
}

func newStory(t *testing.T) *story {
	s := &story{
		T: t, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), tokens: map[string]ulid.ULID{},
		secrets: map[string][]tokenstore.Secret{}, revocations: map[string]ulid.ULID{},
	}
	backend := memstore.New()
	m, err := tokenstore.New(backend, &tokenstore.Options{Now: func() time.Time { return s.now }})
	if err != nil {
		t.Fatal(err)
	}
	s.m = m
	if s.store, err = backend.Tenant("default"); err != nil {
		t.Fatal(err)
	}
	return s
}

// line plays "command arguments -> outcome", and returns it with the outcome as it is.
func (s *story) line(line string) string {
	command, _, _ := strings.Cut(line, " -> ")
	command = strings.TrimRight(command, " ")
	if command == "" || strings.HasPrefix(command, "#") {
		return line
	}
	s.now = s.now.Add(time.Millisecond) // so that ids come in the order of the story
	words := strings.Fields(command)
	return fmt.Sprintf("%-36s -> %s", command, s.play(words[0], words[1], words[2:]))
}

func (s *story) play(verb, name string, args []string) string {
	arg := map[string]string{}
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		arg[key] = value
	}
	ctx := s.Context()
	switch verb {
	case "wait":
		d, err := time.ParseDuration(name)
		if err != nil {
			s.Fatal(err)
		}
		s.now = s.now.Add(d)
		return s.now.Format(time.TimeOnly)
	case "issue":
		r := tokenstore.IssueRequest{UserID: arg["user"], ClientID: "app", SessionID: tokenstore.MustSessionID(arg["session"])}
		if at := arg["asof"]; at != "" {
			n, _ := strconv.ParseUint(at, 10, 64)
			r.AsOf = tokenstore.AsOfSequence(n)
		}
		out, err := s.m.Issue(ctx, r)
		if err != nil {
			return outcome(err)
		}
		s.tokens[name], s.secrets[name] = out.Token.ID, []tokenstore.Secret{out.Secret}
		return fmt.Sprintf("token %d", out.Token.Sequence)
	case "exchange":
		secrets := s.secrets[name]
		at := len(secrets) - 1
		if old := arg["generation"]; old != "" {
			at, _ = strconv.Atoi(old)
		}
		out, err := s.m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: secrets[at], ClientID: "app"})
		if err != nil {
			return outcome(err)
		}
		if out.Retried {
			return fmt.Sprintf("generation %d, again", out.Token.Generation)
		}
		s.secrets[name] = append(secrets, out.Secret)
		return fmt.Sprintf("generation %d", out.Token.Generation)
	case "revoke":
		target := tokenstore.Target{UserID: arg["user"], SessionID: arg["session"], TokenID: s.tokens[arg["token"]]}
		receipt, err := s.m.Revoke(ctx, tokenstore.RevokeRequest{ID: s.revocations[name], Targets: []tokenstore.Target{target}})
		if err != nil {
			return outcome(err)
		}
		s.revocations[name] = receipt.ID()
		return standing(receipt.Status)
	case "apply":
		bounds := store.Bounds{Visit: 1000, Remove: 1000, Now: s.now}
		if visit := arg["visit"]; visit != "" {
			bounds.Visit, _ = strconv.Atoi(visit)
		}
		statuses, err := s.store.Apply(ctx, []ulid.ULID{s.revocations[name]}, bounds)
		switch {
		case err != nil:
			return outcome(err)
		case len(statuses) == 0:
			return "not pending"
		}
		return standing(statuses[0])
	case "look":
		status, err := s.m.Revocation(ctx, s.revocations[name])
		if err != nil {
			return outcome(err)
		}
		return standing(status)
	case "list":
		var names []string
		for _, c := range []tokenstore.Consistency{tokenstore.Eventual, tokenstore.Fenced} {
			var shown []string
			for token, err := range s.m.All(ctx, tokenstore.ListRequest{UserID: name, Consistency: c}) {
				if err != nil {
					return outcome(err)
				}
				shown = append(shown, s.nameOf(token.ID))
			}
			slices.Sort(shown)
			names = append(names, "["+strings.Join(shown, " ")+"]")
		}
		return names[0] + ", fenced " + names[1]
	}
	s.Fatalf("no such command: %s", verb)
	return ""
}

func (s *story) nameOf(id ulid.ULID) string {
	for name, other := range s.tokens {
		if other == id {
			return name
		}
	}
	return id.String()
}

func outcome(err error) string {
	if errors.Is(err, tokenstore.ErrNotFound) {
		return "not found"
	}
	return strings.TrimPrefix(err.Error(), "tokenstore: ")
}

func standing(status store.Status) string {
	how := "pending"
	switch {
	case !status.SupersededBy.IsZero():
		how = "superseded"
	case status.Retired:
		how = "retired"
	}
	return fmt.Sprintf("%s, reaches tokens up to %d, swept %d", how, status.Tombstone.Watermark, status.Swept)
}
