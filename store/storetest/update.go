package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

var errVerdict = errors.New("storetest: verdict")

func checkUpdate(t testing.TB, e *env) {
	w := e.tenant(t)
	called := false
	err := w.Update(w.ctx, w.id(), func(store.View) store.Decision { called = true; return store.Decision{} })
	wantErr(t, "Update of an id that is not there must be ErrNotFound", err, store.ErrNotFound)
	if called {
		t.Errorf("decide must not be called for a token that is not there")
	}

	token := w.insert(t, w.full())[0]
	err = w.Update(w.ctx, token.ID, func(view store.View) store.Decision {
		if names := differences(view.Token, token); len(names) > 0 {
			t.Errorf("decide must see the current record: it differs in %v", names)
		}
		if view.Revoked() {
			t.Errorf("decide must not see a revocation where there is none")
		}
		next := changed(view.Token)
		return store.Decision{Next: &next}
	})
	if err != nil {
		t.Fatalf("Update must commit what decide decides: got %v", err)
	}
	token = changed(token)
	w.wantRecord(t, "Update must replace all that may change", token)

	before := w.state(t)
	if err := w.Update(w.ctx, token.ID, func(store.View) store.Decision { return store.Decision{} }); err != nil {
		t.Errorf("an empty decision must succeed: got %v", err)
	}
	err = w.Update(w.ctx, token.ID, func(store.View) store.Decision { return store.Decision{Err: errVerdict} })
	wantErr(t, "the verdict of decide must be returned", err, errVerdict)
	w.wantRecord(t, "a decision without effects must write nothing", token)
	if after := w.state(t); after != before {
		t.Errorf("a decision without effects must write nothing: state %+v became %+v", before, after)
	}

	// The record and the revocation are one commit, and a refusing verdict does not undo them.
	r := w.revocation(domain.Target{TokenID: token.ID})
	err = w.Update(w.ctx, token.ID, func(view store.View) store.Decision {
		d := write("with revocation")(view)
		d.Revoke, d.Err = &r, errVerdict
		return d
	})
	wantErr(t, "the verdict of decide must be returned", err, errVerdict)
	token.Metadata = note("with revocation")
	w.wantRecord(t, "effects and a refusing verdict must commit together", token)
	if view, _ := w.get(t, token.ID); view.RevokedBy != r.ID {
		t.Errorf("the revocation of a decision must be recorded: the token is revoked by %v", view.RevokedBy)
	}
	seen := false
	err = w.Update(w.ctx, token.ID, func(view store.View) store.Decision {
		seen = view.RevokedBy == r.ID
		return store.Decision{Revoke: &r, Err: errVerdict} // as a replay does that is tried again
	})
	wantErr(t, "a revocation that was recorded before must be accepted from decide again", err, errVerdict)
	if !seen {
		t.Errorf("decide must see which tombstone covers the token")
	}

	// If either can't be done, neither is.
	second := w.add(t, "second", "client", "")
	taken := r
	taken.Targets = []domain.Target{{UserID: "second"}}
	err = w.Update(w.ctx, second.ID, func(view store.View) store.Decision {
		d := write("half")(view)
		d.Revoke = &taken
		return d
	})
	wantErr(t, "a revocation that decide asks for must obey the rules of Revoke", err, store.ErrConflict)
	w.wantRecord(t, "a decision must be committed whole or not at all", second)
	if !w.live(t, second.ID) {
		t.Errorf("a decision must be committed whole or not at all: the token is revoked")
	}
	oneTombstone(t, e)
	checkInPlace(t, e)
}

// checkInPlace rotates a token ten thousand times.
func checkInPlace(t testing.TB, e *env) {
	w := e.tenant(t)
	h := w.issue(t, w.token("user", "client", "session"))
	rotate := func(n int) {
		for i := range n {
			secret, err := h.do(h.exchange("client", byte(i)), func() {})
			if err != nil {
				t.Fatalf("the current secret must be exchanged: got %v", err)
			}
			h.credential = must(domain.ParseSecret(secret))
		}
	}
	size := func() (keys, bytes int) {
		if e.config.Size == nil {
			return 0, 0
		}
		return e.config.Size(t, e.backend)
	}
	const few, many = 200, 10_000
	rotate(few)
	before, state := h.record(t), w.state(t)
	keys, bytes := size()
	rotate(many)
	after := h.record(t)
	if after.Generation != before.Generation+many {
		t.Errorf("an exchange must be committed: generation %d, want %d", after.Generation, before.Generation+many)
	}
	// These are as large whatever they say.
	if names := differences(before, after); !slices.Equal(names, []string{"Generation", "Salt", "SecretDigest"}) {
		t.Errorf("rotating must change nothing that grows: %v differ", names)
	}
	if got := w.state(t); got != state {
		t.Errorf("what Update replaces must leave nothing behind: state %+v became %+v", state, got)
	}
	// A generation may take a byte or two more.
	if moreKeys, moreBytes := size(); moreKeys != keys || moreBytes > bytes+4 {
		t.Errorf("what Update replaces must leave nothing behind: %d keys of %d bytes became %d of %d", keys, bytes, moreKeys, moreBytes)
	}
}

// record is the holder's token as it stands.
func (h holder) record(t testing.TB) domain.RefreshToken {
	t.Helper()
	view, ok := h.tenant.get(t, h.id)
	if !ok {
		t.Fatalf("a token must stay as long as nothing removes it")
	}
	return view.Token
}

// changed returns the record with every property changed that may change.
func changed(token domain.RefreshToken) domain.RefreshToken {
	token.AuthenticatedAt = after(time.Hour + 1)
	token.ExpiresAt = time.Time{}
	token.IdleLifetime++
	token.IdleExpiresAt = after(time.Hour + 2)
	token.LastExchangedAt = after(time.Hour + 3)
	token.Device.LastIP, token.Device.LastASN, token.Device.LastUserAgent = "", "1", "changed"
	token.Rotating, token.Offline = !token.Rotating, !token.Offline
	token.Metadata = note("changed")
	token.Confirmation = domain.Confirmation{Kind: domain.ConfirmationX5TS, Value: "changed"}
	token.Generation++
	token.Retries++
	token.RotatedAt = after(time.Hour + 4)
	token.Salt[15]++
	token.FamilyDigest[31]++
	token.SecretDigest[31]++
	token.PepperKeyID = "changed"
	return token
}

func checkPure(t testing.TB, e *env) {
	w := e.tenant(t)
	token := w.add(t, "user", "client", "")
	runs := 0
	texts := []string{"1", "2", "3", "4", "5"}
	err := w.Update(w.ctx, token.ID, func(view store.View) store.Decision {
		next := view.Token
		next.Metadata = note(texts[min(runs, len(texts)-1)])
		runs++
		return store.Decision{Next: &next}
	})
	if err != nil || runs == 0 {
		t.Fatalf("Update must run decide and succeed: %d runs, error %v", runs, err)
	}
	token.Metadata = note(texts[min(runs, len(texts))-1])
	w.wantRecord(t, "only the last run of decide must count", token)

	before := w.state(t)
	got := func() (value any) {
		defer func() { value = recover() }()
		err := w.Update(w.ctx, token.ID, func(store.View) store.Decision { panic(errVerdict) })
		t.Errorf("a panic of decide must reach its caller: Update returned %v", err)
		return nil
	}()
	if got != errVerdict {
		t.Errorf("a panic of decide must reach its caller as it is: got %v", got)
	}
	// Whatever the store holds while decide runs must have been let go of: another goroutine gets through.
	done := make(chan error, 1)
	go func() { done <- w.Update(w.ctx, token.ID, func(store.View) store.Decision { return store.Decision{} }) }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("a panic of decide must not be noticed by others: got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("a panic of decide must not be noticed by others: an Update of the same token hangs")
	}
	w.wantRecord(t, "a decide that panics must write nothing", token)
	if after := w.state(t); after != before {
		t.Errorf("a decide that panics must write nothing: state %+v became %+v", before, after)
	}
}

func checkIdentity(t testing.TB, e *env) {
	w := e.tenant(t)
	token := w.insert(t, w.full())[0]
	before := w.state(t)
	for name, change := range map[string]func(*domain.RefreshToken){
		"ID":              func(t *domain.RefreshToken) { t.ID = w.id() },
		"ForeignID":       func(t *domain.RefreshToken) { t.ForeignID = "other" },
		"UserID":          func(t *domain.RefreshToken) { t.UserID = "other" },
		"ClientID":        func(t *domain.RefreshToken) { t.ClientID = "other" },
		"SessionID":       func(t *domain.RefreshToken) { t.SessionID = domain.SessionID{} },
		"CreatedAt":       func(t *domain.RefreshToken) { t.CreatedAt = t.CreatedAt.Add(1) },
		"Sequence":        func(t *domain.RefreshToken) { t.Sequence++ },
		"ForeignDigest":   func(t *domain.RefreshToken) { t.ForeignDigest[31]++ },
		"ForeignWeak":     func(t *domain.RefreshToken) { t.ForeignWeak = !t.ForeignWeak },
		"ResourceServers": func(t *domain.RefreshToken) { t.ResourceServers = domain.ResourceServers{} },
	} {
		r := w.revocation(domain.Target{TokenID: token.ID})
		err := w.Update(w.ctx, token.ID, func(view store.View) store.Decision {
			next := view.Token
			next.Metadata = note("changed too")
			change(&next)
			return store.Decision{Next: &next, Revoke: &r}
		})
		wantErr(t, "a change of "+name+" must be ErrImmutable", err, store.ErrImmutable)
		w.wantRecord(t, "an update that is refused must write nothing", token)
	}
	if after := w.state(t); after != before {
		t.Errorf("an update that is refused must write nothing: state %+v became %+v", before, after)
	}
}
