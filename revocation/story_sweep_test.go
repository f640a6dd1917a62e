package revocation_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// The commands of the stories about revocations, what is remembered of them, and appliers.

// revoke records a revocation, or repeats one under its name.
func (w *world) revoke(name string, a *arguments) ([]string, error) {
	target := tokenstore.Target{UserID: a.text("user"), ClientID: a.text("client"), SessionID: a.text("session"), Everything: a.has("everything")}
	if token := a.text("token"); token != "" {
		if w.tokens[token] == nil {
			return nil, fmt.Errorf("%w: %s, of a token", errBadName, token)
		}
		target.TokenID = w.tokens[token].token.ID
	}
	if a.has("legacy") {
		target.LegacyBefore = w.manager.LegacyTarget().LegacyBefore
	}
	w.unheard = a.has("unheard")
	defer func() { w.unheard = false }()
	receipt, err := w.manager.Revoke(w.Context(), tokenstore.RevokeRequest{ID: w.named(name), Targets: []tokenstore.Target{target}})
	return w.received(name, receipt, err)
}

func (w *world) erase(name string, a *arguments) ([]string, error) {
	receipt, err := w.manager.Erase(w.Context(), tokenstore.EraseRequest{ID: w.named(name), UserID: a.text("user")})
	return w.received(name, receipt, err)
}

func (w *world) received(name string, receipt tokenstore.Receipt, err error) ([]string, error) {
	if err != nil {
		return refused(name, err)
	}
	return []string{w.status(receipt.Status)}, nil
}

// named is the id of a revocation, which has it before it is recorded.
func (w *world) named(name string) ulid.ULID {
	if w.revocations[name].IsZero() {
		w.revocations[name] = w.newID()
	}
	return w.revocations[name]
}

func (w *world) look(name string, _ *arguments) ([]string, error) {
	s, err := w.manager.Revocation(w.Context(), w.revocations[name])
	if err != nil {
		return refused(name, err)
	}
	return []string{w.status(s)}, nil
}

func (w *world) pending(string, *arguments) ([]string, error) { return w.listed("pending", false) }
func (w *world) history(string, *arguments) ([]string, error) { return w.listed("history", true) }

func (w *world) listed(what string, retired bool) ([]string, error) {
	page, err := w.manager.Revocations(w.Context(), tokenstore.RevocationsRequest{Retired: retired})
	if err != nil {
		return refused(what, err)
	}
	var all []string
	for _, s := range page.Revocations {
		all = append(all, w.revocationName(s.Tombstone.ID)+" of "+w.target(s.Tombstone.Targets[0]))
	}
	if all == nil {
		return told(what, "none")
	}
	return told(what, "%s", strings.Join(all, "; "))
}

// guards tells what is remembered of revocations that have been retired, and the horizon.
func (w *world) guards(string, *arguments) ([]string, error) {
	page, err := w.store.(store.Mover).Guards(w.Context(), store.GuardQuery{Limit: store.MaxPage})
	if err != nil {
		return refused("guards", err)
	}
	s, err := w.manager.State(w.Context())
	if err != nil {
		return refused("guards", err)
	}
	var all []string
	for _, g := range page.Guards {
		all = append(all, fmt.Sprintf("%s up to %d", w.target(g.Target), g.Watermark))
	}
	slices.Sort(all)
	horizon := "none"
	if s.Horizon != (domain.Horizon{}) {
		horizon = strconv.FormatUint(s.Horizon.Sequence, 10)
	}
	return told("guards", "%s; horizon: %s", cmp.Or(strings.Join(all, ", "), "none"), horizon)
}

func (w *world) addApplier(name string, _ *arguments) ([]string, error) {
	if w.appliers[name] != nil {
		return nil, fmt.Errorf("%w: %s is there already", errBadName, name)
	}
	w.newApplier(name)
	return told("appliers", "%s", list(slices.Sorted(maps.Keys(w.appliers))))
}

// step has an applier do one thing, whatever it is.
func (w *world) step(_ string, a *arguments) ([]string, error) {
	return w.steps(a, "", func(*overheard) bool { return true })
}

// slice has an applier go on until it has swept a slice.
func (w *world) slice(_ string, a *arguments) ([]string, error) {
	return w.steps(a, "slice", func(o *overheard) bool { return o.slice })
}

// run has an applier go on until it has nothing left to do.
func (w *world) run(_ string, a *arguments) ([]string, error) {
	return w.steps(a, "slice removes forgets", func(*overheard) bool { return false })
}

// steps has an applier go on until it is done, or would sleep. It tells what begins with one of the words, or everything.
func (w *world) steps(a *arguments, words string, done func(*overheard) bool) ([]string, error) {
	name := cmp.Or(a.text("at"), "a1")
	on := w.appliers[name]
	if on == nil {
		return nil, fmt.Errorf("%w: %s, of an applier", errBadName, name)
	}
	on.heard.lines, on.heard.slice = nil, false
	idle := false
	for range 1000 {
		idle, _ = on.stepper.Step(w.Context()) // what failed was overheard
		if idle || done(on.heard) {
			break
		}
	}
	var lines []string
	for _, line := range on.heard.lines {
		first, _, _ := strings.Cut(line, " ")
		if words == "" || slices.Contains(strings.Fields(words), first) {
			lines = append(lines, name+": "+line)
		}
	}
	switch {
	case !idle && !done(on.heard):
		return nil, errors.New("the applier never comes to rest")
	case lines == nil && idle:
		return told(name, "nothing to do")
	case lines == nil:
		return told(name, "looks after a tenant")
	}
	return lines, nil
}

// bound has each slice look at, and remove, no more than so many tokens.
func (w *world) bound(_ string, a *arguments) ([]string, error) {
	w.bounds = store.Bounds{Visit: read(a, "visit", strconv.Atoi), Remove: read(a, "remove", strconv.Atoi)}
	if err := w.bounds.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadValue, err)
	}
	return told("bounds", "a slice looks at %d and removes %d", w.bounds.Visit, w.bounds.Remove)
}

// fail has the next slices fail that sweep a revocation.
func (w *world) fail(name string, a *arguments) ([]string, error) {
	w.faults[name] = read(a, "times", strconv.Atoi)
	return told(name, "%d slices will fail", w.faults[name])
}

func (w *world) crashed(string, *arguments) ([]string, error) {
	w.crash()
	return told("crash", "begun anew")
}
