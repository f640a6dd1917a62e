package tokenstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// foreign is a token of another system, in the shape of the resource.
func foreign(id, user string, createdAt time.Time) tokenstore.RefreshToken {
	return tokenstore.RefreshToken{
		ForeignID: id, UserID: user, ClientID: "app", CreatedAt: createdAt, SessionID: tokenstore.MustSessionID("s-" + user),
	}
}

func (r *rig) bring(tokens ...tokenstore.RefreshToken) []tokenstore.ImportResult {
	r.Helper()
	results, err := r.Import(r.Context(), tokens)
	if err != nil || len(results) != len(tokens) {
		r.Fatalf("%d results for %d tokens, %v", len(results), len(tokens), err)
	}
	return results
}

func TestImportOutcomes(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	yesterday := r.now.Add(-24 * time.Hour)
	issued := r.issue(request("ann")).Token
	taken := foreign("", "somebody else", yesterday)
	taken.ID = issued.ID
	nameless := foreign("", "bob", yesterday)
	noClient := foreign("x", "bob", yesterday)
	noClient.ClientID = ""
	results := r.bring(
		foreign("token-1", "bob", yesterday),
		nameless,
		foreign("token-1", "bob", yesterday), // the same once more
		foreign("future", "bob", r.now.Add(time.Minute+1)),
		taken,
		foreign("skewed", "bob", r.now.Add(time.Minute)),
		noClient,
		foreign("token-1", "eve", yesterday), // another one of the same id
	)
	for i, want := range []struct {
		outcome tokenstore.ImportOutcome
		field   string
		err     error
	}{
		{outcome: tokenstore.Imported},
		{outcome: tokenstore.Refused, field: "id"},
		{outcome: tokenstore.Unchanged},
		{outcome: tokenstore.Refused, field: "created_at"},
		{outcome: tokenstore.Refused, err: tokenstore.ErrExists},
		{outcome: tokenstore.Imported},
		{outcome: tokenstore.Refused, field: "client_id"},
		{outcome: tokenstore.Refused, err: tokenstore.ErrExists},
	} {
		got := results[i]
		if got.Outcome != want.outcome || want.err != nil && !errors.Is(got.Err, want.err) || (got.Err == nil) != (want.outcome != tokenstore.Refused) {
			t.Errorf("%d: %+v, want %+v", i, got, want)
		}
		if want.field != "" {
			wantField(t, got.Err, want.field)
		}
	}
	if !results[0].ID.Timestamp().Equal(yesterday) || results[2].ID != results[0].ID || !results[1].ID.IsZero() {
		t.Errorf("ids %v %v %v", results[0].ID, results[1].ID, results[2].ID)
	}
	if n := r.state().Tokens; n != 3 {
		t.Errorf("%d tokens, want 3", n)
	}
	token, err := r.Get(t.Context(), results[0].ID, tokenstore.Fenced)
	if err != nil || token.ForeignID != "token-1" || token.UserID != "bob" {
		t.Errorf("%+v, %v", token, err)
	}
	if results := r.bring(); len(results) != 0 {
		t.Errorf("nothing imported: %+v", results)
	}
}

// TestImportOfATakenID: a token is the one that is there only if all that names it agrees.
func TestImportOfATakenID(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	token := foreign("token-1", "bob", r.now.Add(-time.Hour))
	token.ID = r.bring(token)[0].ID
	if again := r.bring(token)[0]; again.Outcome != tokenstore.Unchanged {
		t.Errorf("the same: %+v", again)
	}
	for what, change := range map[string]func(*tokenstore.RefreshToken){
		"foreign id":    func(token *tokenstore.RefreshToken) { token.ForeignID = "token-2" },
		"no foreign id": func(token *tokenstore.RefreshToken) { token.ForeignID = "" },
		"user":          func(token *tokenstore.RefreshToken) { token.UserID = "eve" },
		"client":        func(token *tokenstore.RefreshToken) { token.ClientID = "other" },
		"session":       func(token *tokenstore.RefreshToken) { token.SessionID = tokenstore.MustSessionID("other") },
	} {
		another := token
		change(&another)
		if result := r.bring(another)[0]; result.Outcome != tokenstore.Refused || !errors.Is(result.Err, tokenstore.ErrExists) {
			t.Errorf("another %s: %+v, want ErrExists", what, result)
		}
	}
}

// TestImportAgain: what List shows, through its JSON, imports into another tenant, and any number of times.
func TestImportAgain(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	r.issue(request("ann"))
	r.bring(foreign("f-1", "bob", r.now))
	other, err := r.Tenant("other", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []tokenstore.ImportOutcome{tokenstore.Imported, tokenstore.Unchanged, tokenstore.Unchanged} {
		page, err := r.List(t.Context(), tokenstore.ListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(page.Tokens)
		if err != nil {
			t.Fatal(err)
		}
		var tokens []tokenstore.RefreshToken
		if err := json.Unmarshal(text, &tokens); err != nil {
			t.Fatal(err)
		}
		results, err := other.Import(t.Context(), tokens)
		if err != nil || len(results) != 2 {
			t.Fatal(results, err)
		}
		for j, result := range results {
			if result.Outcome != want || result.ID != page.Tokens[j].ID {
				t.Errorf("time %d: %+v, want outcome %d of %v", i, result, want, page.Tokens[j].ID)
			}
		}
	}
}

func TestImportKeepsTheLegacyRule(t *testing.T) {
	between := time.Date(2023, 12, 1, 0, 0, 0, 0, time.UTC)
	before, after := time.Date(2023, 9, 20, 23, 59, 59, 0, time.UTC), time.Date(2024, 2, 22, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		rule    tokenstore.LegacyRule
		at      time.Time
		nullOK  bool
		givenOK bool
	}{
		{tokenstore.LegacyRule{}, before, true, false},
		{tokenstore.LegacyRule{}, between, false, true},
		{tokenstore.LegacyRule{}, after, false, true},
		{tokenstore.US3(), before, true, false},
		{tokenstore.US3(), between, true, false},
		{tokenstore.US3(), after, false, true},
	} {
		r := newRig(t, tokenstore.Options{Legacy: c.rule})
		null, given := foreign("null", "ann", c.at), foreign("given", "ann", c.at)
		null.SessionID = tokenstore.SessionID{}
		results := r.bring(null, given)
		for i, ok := range []bool{c.nullOK, c.givenOK} {
			if ok != (results[i].Outcome == tokenstore.Imported) {
				t.Errorf("%v at %v: %+v", c.rule, c.at, results[i])
			}
			if !ok {
				wantField(t, results[i].Err, "session_id")
			}
		}
	}
}

// TestS4ImportResurrectsNothing: what was revoked stays out, whether the revocation is pending, swept, looked up or
// forgotten.
func TestS4ImportResurrectsNothing(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	created := r.now.Add(-time.Hour)
	tokens := []tokenstore.RefreshToken{foreign("by user", "ann", created), foreign("by id", "bob", created), foreign("live", "eve", created)}
	results := r.bring(tokens...)
	receipt := r.revoke(tokenstore.Target{UserID: "ann"}, tokenstore.Target{TokenID: results[1].ID})
	unseen := foreign("never here", "ann", created) // the revocation reaches it all the same
	check := func(stage string, cause tokenstore.Refusal) {
		r.wait(time.Hour)
		for i, result := range r.bring(append(tokens, unseen)...) {
			switch {
			case i == 2:
				if result.Outcome != tokenstore.Unchanged {
					t.Errorf("%s: %+v, want the live one unchanged", stage, result)
				}
			case stage == "pending" && i < 2: // the record is still there, and still refused
				if result.Outcome != tokenstore.Unchanged {
					t.Errorf("%s: %+v", stage, result)
				}
				if _, err := r.Get(t.Context(), result.ID, tokenstore.Fenced); !errors.Is(err, tokenstore.ErrNotFound) {
					t.Errorf("%s: %v", stage, err)
				}
			case result.Outcome != tokenstore.Refused:
				t.Errorf("%s: token %d is back: %+v", stage, i, result)
			default:
				wantRefusal(t, result.Err, cause)
			}
		}
	}
	check("pending", tokenstore.ErrRevoked)
	r.run(receipt)
	check("swept", tokenstore.ErrRevoked)
	st, _ := r.spy.Tenant("default")
	for _, trim := range []store.Trim{{History: r.now, Limit: 100}, {Guards: r.now, Limit: 100}} {
		if _, err := st.Trim(t.Context(), trim); err != nil {
			t.Fatal(err)
		}
		if trim.Guards.IsZero() {
			check("not to be looked up any more", tokenstore.ErrRevoked)
		}
	}
	check("forgotten", tokenstore.ErrBeyondMemory)
	if result := r.bring(foreign("new", "ann", r.now))[0]; result.Outcome != tokenstore.Imported {
		t.Errorf("a token of today: %+v", result)
	}
}

func TestImportManyInOrder(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	tokens := make([]tokenstore.RefreshToken, 2*store.MaxBatch+345)
	for i := range tokens {
		tokens[i] = foreign(fmt.Sprint("f-", i), "ann", r.now.Add(-time.Hour))
		if i%10 == 3 {
			tokens[i].ClientID = ""
		}
	}
	r.spy.leaveUnknown(2) // of which nothing is to be noticed
	for i, result := range r.bring(tokens...) {
		want, _ := domain.ForeignTokenID("default", tokens[i].ForeignID, tokens[i].CreatedAt)
		if refused := i%10 == 3; result.ID != want || refused != (result.Outcome == tokenstore.Refused) {
			t.Fatalf("%d: %+v, want the token %v", i, result, want)
		}
	}
	if n, want := r.state().Tokens, len(tokens)-235; n != want {
		t.Errorf("%d tokens, want %d", n, want)
	}
	if !tokens[0].ID.IsZero() {
		t.Error("the caller's tokens were changed")
	}
	_ = r.spy.Close()
	if results, err := r.Import(t.Context(), tokens); !errors.Is(err, tokenstore.ErrClosed) || len(results) != 0 {
		t.Errorf("%d results, %v; want none and ErrClosed", len(results), err)
	}
}

func TestImportedTokensAreRevoked(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	result := r.bring(foreign("f-1", "ann", r.now.Add(-time.Hour)))[0]
	if _, err := r.try(forge(t, result.ID, 0)); !errors.Is(err, tokenstore.ErrUnknownToken) {
		t.Errorf("exchange of a token without a secret: %v", err)
	}
	if status := r.run(r.revoke(tokenstore.Target{UserID: "ann"}))[0]; status.Swept != 1 {
		t.Errorf("swept %d, want 1", status.Swept)
	}
	if _, err := r.Get(t.Context(), result.ID, tokenstore.Eventual); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Error(err)
	}
	_, err := domain.ForeignTokenID("default", "x", time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC))
	wantField(t, err, "created_at")
	wantField(t, r.bring(foreign("x", "ann", time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)))[0].Err, "created_at")
}
