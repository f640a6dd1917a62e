package tokenstore_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
)

// export writes all that the options ask for.
func (r *rig) export(opts *tokenstore.ExportOptions) (string, tokenstore.ExportReport) {
	r.Helper()
	var out bytes.Buffer
	report, err := r.Export(r.Context(), &out, opts)
	if err != nil {
		r.Fatal(err)
	}
	return out.String(), report
}

var full = &tokenstore.ExportOptions{Full: true}

// takeOver imports a full export, of which no line may be refused.
func (r *rig) takeOver(text string) tokenstore.ImportReport {
	r.Helper()
	report, err := r.ImportFull(r.Context(), strings.NewReader(text), &tokenstore.ImportOptions{
		Refused: func(l tokenstore.RefusedLine) { r.Errorf("line %d of %s was refused: %v", l.Number, l.ID, l.Err) },
	})
	if err != nil {
		r.Fatal(err)
	}
	return report
}

// estate is what the clients and the host of a tenant hold when it moves.
type estate struct {
	rotating, static, bound  tokenstore.Secret // current ones
	parent, child            tokenstore.Secret // a retry within the leeway, and what it yields
	pending, swept, outdated tokenstore.Secret // of tokens that are revoked, but for the last
	before, after            uint64            // as-of points around the revocation of back, and of erin's erasure
	imported                 tokenstore.RefreshToken
}

// liveThrough lives through all that can be told of a token and a revocation.
func (r *rig) liveThrough() (e estate) {
	r.Helper()
	sweep := func(target tokenstore.Target) { r.Helper(); r.run(r.revoke(target)) }
	with := func(user string, change func(*tokenstore.IssueRequest)) tokenstore.Secret {
		req := request(user)
		change(&req)
		return r.issue(req).Secret
	}
	as := func(*tokenstore.IssueRequest) {}

	e.static = with("static", func(q *tokenstore.IssueRequest) { q.Static, q.IdleLifetime = true, tokenstore.Never })
	e.bound = with("bound", func(q *tokenstore.IssueRequest) {
		q.Confirmation = tokenstore.Confirmation{Kind: "jkt", Value: "thumb"}
		q.Metadata, q.Offline = map[string]string{"k": "v"}, true
	})
	e.outdated = with("ann", as)
	e.rotating = r.exchange(r.exchange(e.outdated).Secret).Secret

	// What was revoked is forgotten: a horizon.
	r.forgetAll()

	e.before = r.state().Sequence
	e.swept = with("swept", as)
	with("back", as)
	sweep(tokenstore.Target{UserID: "back"})
	sweep(tokenstore.Target{SessionID: "session-swept"})
	with("erin", as)
	receipt, err := r.Erase(r.Context(), tokenstore.EraseRequest{UserID: "erin"})
	if err != nil {
		r.Fatal(err)
	}
	r.run(receipt)
	e.after = r.state().Sequence
	with("back", as)
	e.imported = foreign("elsewhere", "imp", r.now.Add(-time.Minute))
	r.bring(e.imported)

	e.pending = with("pending", as)
	r.revoke(tokenstore.Target{UserID: "pending"}) // and nobody sweeps
	e.parent = with("retry", as)
	e.child = r.exchange(e.parent).Secret
	r.wait(time.Second)
	return e
}

// wantEstate checks that the tenant gives and refuses what it must.
func (r *rig) wantEstate(e estate) {
	t := r.T
	t.Helper()
	if got, err := r.try(e.parent); err != nil || got.Secret.Reveal() != e.child.Reveal() {
		t.Errorf("a retry must get the same successor: %v", err)
	}
	for what, secret := range map[string]tokenstore.Secret{"rotating": e.rotating, "static": e.static, "child": e.child} {
		if _, err := r.try(secret); err != nil {
			t.Errorf("%s: a current secret must be exchanged: %v", what, err)
		}
	}
	_, err := r.try(e.bound)
	wantRefusal(t, err, tokenstore.ErrConfirmation)
	if _, err := r.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: e.bound, ClientID: "app", Confirmation: tokenstore.Confirmation{Kind: "jkt", Value: "thumb"}}); err != nil {
		t.Errorf("a bound secret must be exchanged: %v", err)
	}
	for _, revoked := range []tokenstore.Secret{e.pending, e.swept} {
		if _, err := r.try(revoked); !errors.Is(err, tokenstore.ErrInvalidGrant) {
			t.Errorf("a revoked secret must be refused: %v", err)
		}
	}
	for name, c := range map[string]struct {
		user, session string
		asOf          tokenstore.AsOf
		err           error
	}{
		"dead session":            {"swept", "session-swept", tokenstore.AsOf{}, tokenstore.ErrRevoked},
		"before the revocation":   {"back", "new", tokenstore.AsOfSequence(e.before), tokenstore.ErrRevoked},
		"since the revocation":    {"back", "new", tokenstore.AsOfSequence(e.after), nil},
		"before the erasure":      {"erin", "new", tokenstore.AsOfSequence(e.before), tokenstore.ErrRevoked},
		"since the erasure":       {"erin", "new", tokenstore.AsOfSequence(e.after), nil},
		"of what was pending":     {"pending", "new", tokenstore.AsOfSequence(e.after), tokenstore.ErrRevoked},
		"of what is forgotten":    {"forgotten", "new", tokenstore.AsOfSequence(1), tokenstore.ErrBeyondMemory},
		"of nobody's, before all": {"nobody", "new", tokenstore.AsOfSequence(e.before), nil},
	} {
		req := request(c.user)
		req.SessionID, req.AsOf = tokenstore.MustSessionID(c.session), c.asOf
		if _, err := r.Issue(t.Context(), req); !errors.Is(err, c.err) {
			t.Errorf("%s: an issue returned %v, want %v", name, err, c.err)
		}
	}
	if got := r.bring(e.imported)[0]; got.Outcome != tokenstore.Unchanged {
		t.Errorf("an imported token must be there: %+v", got)
	}
}

// onPairs runs a test from every backend to every other.
func onPairs(t *testing.T, test func(t *testing.T, from, to *rig)) {
	for name, open := range backends {
		for into, openInto := range backends {
			t.Run(name+" to "+into, func(t *testing.T) {
				test(t, newRigOn(t, open(t), tokenstore.Options{}), newRigOn(t, openInto(t), tokenstore.Options{}))
			})
		}
	}
}

func (r *rig) at(now time.Time) { r.wait(now.Sub(r.clock())) }

// A tenant that has moved gives its clients what they had, and refuses what it refused.
func TestMove(t *testing.T) {
	onPairs(t, func(t *testing.T, from, to *rig) {
		e := from.liveThrough()
		text, exported := from.export(full)
		to.at(from.clock())
		report := to.takeOver(text)
		if report.Imported != exported.Tokens || report.Guards != exported.Guards || exported.Tokens != from.state().Tokens-1 { // but for the pending one
			t.Errorf("imported %+v of %+v", report, exported)
		}
		was, is := from.state(), to.state()
		if is.Horizon != was.Horizon || is.Sequence < was.Sequence || is.Guards != was.Guards+1 || is.Pending != 0 {
			t.Errorf("the state is %+v, and was %+v", is, was)
		}
		resources, _ := from.export(nil)
		if got, _ := to.export(nil); got != resources {
			t.Errorf("the resources are\n%s and were\n%s", got, resources)
		}
		for _, r := range []*rig{to, from} {
			r.wantEstate(e)
			_, err := r.try(e.parent)
			wantRefusal(r.T, err, tokenstore.ErrReused)
		}
	})
}

// Importing again, after a crash or a failure anywhere, ends as importing once, and brings nothing back.
func TestMoveResumed(t *testing.T) {
	onPairs(t, func(t *testing.T, from, to *rig) {
		e := from.liveThrough()
		text, exported := from.export(full)
		to.at(from.clock())
		for at := 0; at < len(text); at += len(text)/23 + 1 {
			cut := io.MultiReader(strings.NewReader(text[:at]), errorReader{})
			if _, err := to.ImportFull(t.Context(), cut, nil); !errors.Is(err, errBroken) && !errors.Is(err, tokenstore.ErrInvalid) {
				t.Fatalf("an import that breaks off at %d returned %v", at, err)
			}
			if state := to.state(); state.Tokens > 0 && state.Guards != exported.Guards {
				t.Fatalf("tokens must not come before what is remembered: broken off at %d: %+v", at, state)
			}
		}
		report := to.takeOver(text)
		if report.Imported+report.Unchanged != exported.Tokens || report.Unchanged == 0 {
			t.Errorf("resumed: %+v of %+v", report, exported)
		}
		state := to.state()
		to.wantNoToken(func() {
			if report := to.takeOver(text); report.Unchanged != exported.Tokens {
				t.Errorf("repeated: %+v of %+v", report, exported)
			}
		})
		if to.state() != state {
			t.Errorf("repeating must change nothing: %+v became %+v", state, to.state())
		}
		to.wantEstate(e)

		// What is revoked here stays out, also when that is forgotten.
		st, err := to.spy.Tenant("default")
		if err != nil {
			t.Fatal(err)
		}
		to.wait(time.Hour)
		to.run(to.revoke(tokenstore.Target{UserID: "ann"}))
		for _, cause := range []error{tokenstore.ErrRevoked, tokenstore.ErrBeyondMemory} {
			refused := 0
			_, err := to.ImportFull(t.Context(), strings.NewReader(text), &tokenstore.ImportOptions{Refused: func(l tokenstore.RefusedLine) {
				if refused++; !errors.Is(l.Err, cause) {
					t.Errorf("line %d: %v, want %v", l.Number, l.Err, cause)
				}
			}})
			if err != nil || refused != 1 || len(to.live("ann")) != 0 {
				t.Errorf("%d lines were refused, %v; want that of ann", refused, err)
			}
			if _, err := st.Trim(t.Context(), store.Trim{Guards: to.clock().Add(1), History: to.clock().Add(1), Limit: 100}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What has been erased since does not return by importing again.
func TestMoveAgainNamesNoErasedUser(t *testing.T) {
	for name, erase := range map[string]tokenstore.EraseRequest{"a user": {UserID: "ann"}, "the tenant": {Everything: true}} {
		t.Run(name, func(t *testing.T) {
			onPairs(t, func(t *testing.T, from, to *rig) {
				from.issue(request("ann"))
				from.run(from.revoke(tokenstore.Target{UserID: "ann"}))
				from.issue(request("bob"))
				text, _ := from.export(full)
				to.at(from.clock())
				to.takeOver(text)
				to.wait(time.Second)
				receipt, err := to.Erase(t.Context(), erase)
				if err != nil {
					t.Fatal(err)
				}
				to.run(receipt)
				state := to.state()
				if _, err := to.ImportFull(t.Context(), strings.NewReader(text), nil); err != nil {
					t.Fatal(err)
				}
				if again, _ := to.export(full); strings.Contains(again, `"ann"`) || to.state() != state {
					t.Errorf("an erasure must outlast importing again: %+v became %+v:\n%s", state, to.state(), again)
				}
			})
		})
	}
}

// A reader of the old database's feed misses nothing of the new one's without being told.
func TestMoveKeepsCursors(t *testing.T) {
	onPairs(t, func(t *testing.T, from, to *rig) {
		revoke := func(r *rig, user string) {
			r.issue(request(user))
			r.run(r.revoke(tokenstore.Target{UserID: user}))
		}
		revoke(from, "ann")
		revoke(from, "bob")
		cursor := from.state().LastEvent
		text, _ := from.export(full)
		to.at(from.clock())
		to.takeOver(text)
		for range cursor {
			revoke(to, "eve")
		}
		if events := to.feed(cursor); len(events) != int(cursor) {
			t.Errorf("a reader that had read all must go on: got %+v", events)
		}
		if _, err := to.Feed(t.Context(), tokenstore.FeedRequest{After: cursor - 1}); !errors.Is(err, tokenstore.ErrCursorGone) {
			t.Errorf("a reader that had not must be told: %v", err)
		}
		to.takeOver(text)
		if got := to.state().LastEvent; got != 2*cursor {
			t.Errorf("importing again must leave the feed: the latest event is %d", got)
		}
	})
}

// wantNoToken checks that a call adds and removes no token.
func (r *rig) wantNoToken(call func()) {
	r.Helper()
	before, _ := r.export(nil)
	call()
	if after, _ := r.export(nil); after != before {
		r.Errorf("the tokens are\n%s and were\n%s", after, before)
	}
}

var errBroken = errors.New("broken off")

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, errBroken }
