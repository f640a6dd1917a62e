package storetest

import (
	"errors"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// imported returns a plain token with a foreign secret of the given digest.
func (w *tenant) imported(user string, digest domain.Digest) domain.RefreshToken {
	token := w.token(user, "client", "")
	token.ForeignDigest = digest
	return token
}

// finds expects the digest to be that of the token, or of none.
func (w *tenant) finds(t testing.TB, what string, digest domain.Digest, want ulid.ULID) {
	t.Helper()
	got, err := w.Find(w.ctx, digest)
	if want.IsZero() {
		wantErr(t, what, err, store.ErrNotFound)
		return
	}
	if err != nil || got != want {
		t.Errorf("%s: got %s, error %v, want %s", what, got, err, want)
	}
}

func checkFind(t testing.TB, e *env) {
	w := e.tenant(t)
	none := ulid.ULID{}
	a, b := domain.Digest{1}, domain.Digest{1, 31: 1}
	w.finds(t, "an empty store must find nothing", a, none)
	tokens := w.insert(t, w.imported("ann", a), w.imported("bob", b), w.token("cid", "client", ""))
	w.finds(t, "a token must be found by its foreign digest", a, tokens[0].ID)
	w.finds(t, "a token must be found by its foreign digest", b, tokens[1].ID)
	w.finds(t, "a digest that no token has must find nothing", domain.Digest{1, 31: 2}, none)
	w.finds(t, "a token without a foreign digest must not be found", domain.Digest{}, none)
	e.tenant(t).finds(t, "a digest must not find another tenant's token", a, none)

	err := w.Update(w.ctx, tokens[0].ID, func(view store.View) store.Decision {
		next := view.Token
		next.Generation, next.Rotating = 1, true
		next.FamilyDigest, next.SecretDigest, next.PepperKeyID = domain.Digest{2}, domain.Digest{3}, "key"
		return store.Decision{Next: &next}
	})
	if err != nil {
		t.Fatalf("an Update must succeed: got %v", err)
	}
	w.finds(t, "a token must still be found when it has a secret of our own", a, tokens[0].ID)

	oneOfADigest(t, w, tokens[0])
	foundForLife(t, w, e.tenant(t))

	if e.config.Reopen == nil {
		return
	}
	e.backend = e.config.Reopen(t, e.backend)
	w.Store = e.named(t, w.name).Store
	w.finds(t, "a token must be found after a restart", a, tokens[0].ID)
}

// oneOfADigest inserts tokens whose digest another one has.
func oneOfADigest(t testing.TB, w *tenant, there domain.RefreshToken) {
	t.Helper()
	before := w.state(t)
	c := domain.Digest{4}
	again := there
	again.Generation, again.FamilyDigest, again.SecretDigest = 0, domain.Digest{}, domain.Digest{}
	batch := []domain.RefreshToken{
		w.imported("eve", there.ForeignDigest), w.imported("eve", c), w.imported("eve", c), again, w.token("eve", "client", ""),
	}
	results, err := w.Insert(w.ctx, rows(batch...))
	if err != nil || len(results) != len(batch) {
		t.Fatalf("Insert must return a result for each row: got %d of %d, error %v", len(results), len(batch), err)
	}
	for i, taken := range []bool{true, false, true, false, false} {
		if errors.Is(results[i].Err, store.ErrDigestTaken) != taken || w.has(t, batch[i].ID) == taken {
			t.Errorf("a second token of a foreign digest must be refused, and no other row with it: row %d, %v", i, results[i].Err)
		}
	}
	if n := w.state(t).Tokens - before.Tokens; n != 2 {
		t.Errorf("a row that is refused must leave nothing: %d tokens more, want 2", n)
	}
	w.finds(t, "the first token of a foreign digest must keep it", there.ForeignDigest, there.ID)
	w.finds(t, "the first row of a foreign digest must win", c, batch[1].ID)
}

// foundForLife has tokens go in every way there is.
func foundForLife(t testing.TB, w, other *tenant) {
	t.Helper()
	none := ulid.ULID{}
	d := domain.Digest{5}
	covered := w.insert(t, w.imported("dan", d))[0]
	r := w.revoke(t, domain.Target{UserID: "dan"}).Tombstone
	w.finds(t, "a covered token must be found as long as it is there", d, covered.ID)
	wantErr(t, "the digest of a covered token is taken", w.admit(t, w.imported("eve", d), domain.AsOf{}), store.ErrDigestTaken)
	w.sweep(t, r.ID)
	w.finds(t, "a token that was swept must not be found", d, none)
	barred := w.imported("dan", domain.Digest{9})
	if err := w.admit(t, barred, domain.AsOfTime(base, 0)); err != nil { // else it is for R20 to say
		w.finds(t, "a token that was refused must not be found", barred.ForeignDigest, none)
	}
	heir := w.insert(t, w.imported("eve", d))[0]
	w.finds(t, "a digest that is free again must find the token that has it now", d, heir.ID)

	d = domain.Digest{6}
	brief := other.imported("ann", d)
	brief.ExpiresAt = after(time.Minute)
	other.insert(t, brief)
	if _, err := other.Expire(other.ctx, store.Bounds{Visit: 10, Remove: 10, Now: after(time.Hour)}); err != nil {
		t.Fatalf("Expire must succeed: got %v", err)
	}
	if !other.has(t, brief.ID) { // else it is for R30 to say
		other.finds(t, "a token that expired and was removed must not be found", d, none)
	}

	d = domain.Digest{7}
	old := other.insert(t, other.imported("bob", d))[0]
	for _, c := range []store.Cap{{Max: 1, Refuse: true}, {Max: 1}} {
		young := store.Insertion{Token: other.imported("bob", domain.Digest{8}), Cap: c}
		results, err := other.Insert(other.ctx, []store.Insertion{young})
		if err != nil || len(results) != 1 {
			t.Fatalf("Insert must return a result for each row: got %d of 1, error %v", len(results), err)
		}
		if other.has(t, old.ID) {
			other.finds(t, "a token must be found as long as it is there", d, old.ID)
			other.finds(t, "a token that a cap refused must not be found", domain.Digest{8}, none)
		} else {
			other.finds(t, "a token that was evicted must not be found", d, none)
			other.finds(t, "a token that others were evicted for must be found", domain.Digest{8}, young.Token.ID)
		}
	}
}
