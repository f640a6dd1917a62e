package revocation_test

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
)

// verb is a command of the stories. It returns what was observed, or an error if the story asks for what makes no sense.
type verb struct {
	named string   // what its name is of: something new, or something there is; empty for none
	known []string // its arguments
	play  func(w *world, name string, a *arguments) ([]string, error)
}

const (
	newToken      = "new token"
	oneToken      = "token"
	newRevocation = "new revocation"
	oneRevocation = "revocation"
	anyName       = "name"
)

// verbs are all commands. testdata/README.md explains them.
var verbs = map[string]verb{
	"issue":      {newToken, []string{"user=", "client=", "session=", "offline", "as-of=", "as-of-time=", "skew="}, (*world).issue},
	"import":     {anyName, []string{"user=", "client=", "session=", "created="}, (*world).bring},
	"exchange":   {oneToken, []string{"generation="}, (*world).exchange},
	"introspect": {oneToken, nil, (*world).introspect},
	"list":       {"", []string{"user="}, (*world).list},
	"login":      {anyName, nil, (*world).login},
	"policy":     {anyName, []string{"cap=", "lifetime="}, (*world).policy},
	"revoke":     {newRevocation, []string{"token=", "user=", "client=", "session=", "legacy", "everything", "unheard"}, (*world).revoke},
	"erase":      {newRevocation, []string{"user="}, (*world).erase},
	"status":     {oneRevocation, nil, (*world).look},
	"pending":    {"", nil, (*world).pending},
	"history":    {"", nil, (*world).history},
	"guards":     {"", nil, (*world).guards},
	"applier":    {anyName, nil, (*world).addApplier},
	"step":       {"", []string{"at="}, (*world).step},
	"slice":      {"", []string{"at="}, (*world).slice},
	"run":        {"", []string{"at="}, (*world).run},
	"bounds":     {"", []string{"visit=", "remove="}, (*world).bound},
	"fail":       {oneRevocation, []string{"times="}, (*world).fail},
	"crash":      {"", nil, (*world).crashed},
	"clock":      {anyName, nil, (*world).clock},
}

// play plays a command, a millisecond after the one before, so that ids come in the order of the story.
func (w *world) play(c command) ([]string, error) {
	time.Sleep(time.Millisecond)
	v, ok := verbs[c.verb]
	if !ok {
		return nil, fmt.Errorf("%w: %s", errBadCommand, c.verb)
	}
	name, words := "", c.words
	if v.named != "" {
		if len(words) == 0 || strings.Contains(words[0], "=") {
			return nil, fmt.Errorf("%w: %s wants one", errBadName, c.verb)
		}
		name, words = words[0], words[1:]
	}
	_, token := w.tokens[name]
	_, revocation := w.revocations[name]
	if v.named == newToken && token || v.named == oneToken && !token || v.named == oneRevocation && !revocation {
		return nil, fmt.Errorf("%w: %s, of a %s", errBadName, name, v.named)
	}
	a, err := argumentsOf(words, v.known)
	if err != nil {
		return nil, err
	}
	lines, err := v.play(w, name, a)
	return lines, cmp.Or(a.err, err)
}

// told is one line about something.
func told(name, format string, args ...any) ([]string, error) {
	return []string{name + ": " + fmt.Sprintf(format, args...)}, nil
}

// refused is how an operation ended that was not to be.
func refused(name string, err error) ([]string, error) {
	return told(name, "%s", strings.TrimPrefix(err.Error(), "tokenstore: "))
}

func sessionID(text string) (tokenstore.SessionID, error) {
	if text == "null" {
		return tokenstore.SessionID{}, nil
	}
	return tokenstore.NewSessionID(text)
}

// issue issues a token, or several: t1..t5.
func (w *world) issue(name string, a *arguments) ([]string, error) {
	names, err := spread(name)
	if err != nil {
		return nil, err
	}
	r := tokenstore.IssueRequest{
		UserID: a.text("user"), ClientID: cmp.Or(a.text("client"), "web"), SessionID: read(a, "session", sessionID), Offline: a.has("offline"),
	}
	if l, err := w.loginNamed(a.text("as-of")); err != nil {
		return nil, err
	} else if l != nil {
		r.AsOf = tokenstore.AsOfSequence(l.sequence)
	}
	if l, err := w.loginNamed(a.text("as-of-time")); err != nil {
		return nil, err
	} else if l != nil {
		r.AsOf = tokenstore.AsOfTime(l.at, read(a, "skew", time.ParseDuration))
	}
	if a.err != nil {
		return nil, a.err
	}
	w.evicted = nil
	var first, last uint64
	for i, name := range names {
		time.Sleep(time.Millisecond)
		out, err := w.manager.Issue(w.Context(), r)
		if err != nil {
			return refused(name, err)
		}
		w.hold(name, out.Token, out.Secret)
		last = out.Token.Sequence
		if i == 0 {
			first = last
		}
	}
	switch {
	case len(names) > 1:
		return told(name, "sequences %d to %d", first, last)
	case len(w.evicted) > 0:
		return told(name, "sequence %d, in the place of %s", first, list(w.evicted))
	}
	return told(name, "sequence %d", first)
}

// spread are the names from t1 to t5, if that is what t1..t5 says.
func spread(name string) ([]string, error) {
	from, to, several := strings.Cut(name, "..")
	if !several {
		return []string{name}, nil
	}
	stem := strings.TrimRight(from, "0123456789")
	first, err1 := strconv.Atoi(strings.TrimPrefix(from, stem))
	last, err2 := strconv.Atoi(strings.TrimPrefix(to, stem))
	if err1 != nil || err2 != nil || last <= first {
		return nil, fmt.Errorf("%w: %s", errBadName, name)
	}
	var names []string
	for n := first; n <= last; n++ {
		names = append(names, stem+strconv.Itoa(n))
	}
	return names, nil
}

func (w *world) hold(name string, token tokenstore.RefreshToken, s tokenstore.Secret) {
	w.tokens[name] = &held{token, []tokenstore.Secret{s}}
	w.order = append(w.order, name)
}

// bring imports a token: one that was here before, as it came, or with arguments a new one.
func (w *world) bring(name string, a *arguments) ([]string, error) {
	h := w.tokens[name]
	if h == nil {
		id := w.newID()
		c, err := domain.NewCredential(id, w.rand)
		if err != nil {
			return nil, err
		}
		w.hold(name, tokenstore.RefreshToken{
			ID: id, UserID: a.text("user"), ClientID: cmp.Or(a.text("client"), "web"), SessionID: read(a, "session", sessionID), Rotating: true,
			CreatedAt:    read(a, "created", func(text string) (time.Time, error) { return time.Parse(time.DateOnly, text) }),
			FamilyDigest: c.FamilyDigest(), SecretDigest: c.SecretDigest(),
		}, c.Secret())
		h = w.tokens[name]
	}
	results, err := w.manager.Import(w.Context(), []tokenstore.RefreshToken{h.token})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return refused(name, err)
	}
	return told(name, "%s", [...]string{"imported", "unchanged"}[results[0].Outcome])
}

// exchange presents the latest secret, or an earlier one by its generation.
func (w *world) exchange(name string, a *arguments) ([]string, error) {
	h := w.tokens[name]
	at := len(h.secrets) - 1
	if a.text("generation") != "" {
		at = read(a, "generation", func(text string) (int, error) {
			n, err := strconv.Atoi(text)
			if err == nil && (n < 0 || n >= len(h.secrets)) {
				err = errors.New("it never had so many")
			}
			return n, err
		})
	}
	if a.err != nil {
		return nil, a.err
	}
	out, err := w.manager.Exchange(w.Context(), tokenstore.ExchangeRequest{Secret: h.secrets[at], ClientID: h.token.ClientID})
	switch {
	case err != nil:
		return refused(name, err)
	case out.Retried:
		return told(name, "generation %d, again", out.Token.Generation)
	}
	h.secrets = append(h.secrets, out.Secret)
	return told(name, "generation %d", out.Token.Generation)
}

func (w *world) introspect(name string, _ *arguments) ([]string, error) {
	h := w.tokens[name]
	seen, err := w.manager.Introspect(w.Context(), h.secrets[len(h.secrets)-1])
	switch {
	case err != nil:
		return refused(name, err)
	case seen.Active:
		return told(name, "active")
	}
	return told(name, "inactive, %s", string(seen.Cause))
}

func (w *world) list(_ string, a *arguments) ([]string, error) {
	var lists [2][]tokenstore.RefreshToken
	for c := range lists {
		for token, err := range w.manager.All(w.Context(), tokenstore.ListRequest{UserID: a.text("user"), Consistency: tokenstore.Consistency(c)}) {
			if err != nil {
				return refused("list", err)
			}
			lists[c] = append(lists[c], token)
		}
	}
	return told("list", "%s (fenced: %s)", w.names(lists[tokenstore.Eventual]), w.names(lists[tokenstore.Fenced]))
}

// login keeps the point at which a user authenticates, as a host would.
func (w *world) login(name string, _ *arguments) ([]string, error) {
	s, err := w.manager.State(w.Context())
	if err != nil {
		return refused(name, err)
	}
	w.logins[name] = login{s.Sequence, w.now()}
	return told(name, "at sequence %d", s.Sequence)
}

func (w *world) loginNamed(name string) (*login, error) {
	l, ok := w.logins[name]
	switch {
	case ok:
		return &l, nil
	case name != "":
		return nil, fmt.Errorf("%w: %s, of a login", errBadName, name)
	}
	return nil, nil
}

func (w *world) policy(client string, a *arguments) ([]string, error) {
	w.policies[client] = tokenstore.ClientPolicy{
		Cap: read(a, "cap", strconv.Atoi), Lifetime: tokenstore.Lifetime(read(a, "lifetime", time.ParseDuration)),
	}
	return told(client, "cap %d, lifetime %s", w.policies[client].Cap, time.Duration(w.policies[client].Lifetime))
}

// clock lets time pass, or steps the clock back.
func (w *world) clock(by string, _ *arguments) ([]string, error) {
	d, err := time.ParseDuration(by)
	if days, ok := strings.CutSuffix(by, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBadValue, err)
	}
	if d < 0 {
		w.clockOff += d
	} else {
		time.Sleep(d)
	}
	return told("clock", "%s", w.now().Format(time.DateTime))
}
