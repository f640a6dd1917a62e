package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// env is what a rule works in: one backend, of which it takes as many fresh tenants as it likes.
type env struct {
	config  Config
	ctx     context.Context
	backend store.Backend
	tenants uint16 // how many views of tenants were taken
}

// tenant is the store of a fresh tenant, with helpers that take the plainest path. They stop the test if the store
// refuses what it must accept.
type tenant struct {
	store.Store
	ctx    context.Context
	name   string
	number uint16
	made   uint64
	random *rand.ChaCha8
}

// base is the time of all that has no reason to be at another.
var base = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

// after is a time after base.
func after(d time.Duration) time.Time { return base.Add(d) }

func (e *env) tenant(t rapid.TB) *tenant {
	t.Helper()
	return e.named(t, fmt.Sprintf("tenant-%d", e.tenants+1))
}

// named is a view of a tenant. Each view makes ids of its own.
func (e *env) named(t rapid.TB, name string) *tenant {
	t.Helper()
	e.tenants++
	s, err := e.backend.Tenant(name)
	if err != nil {
		fail(t, "a tenant needs no creation", "Tenant: %v", err)
	}
	return &tenant{Store: s, ctx: e.ctx, name: name, number: e.tenants, random: rand.NewChaCha8([32]byte{1})}
}

// property runs a property test, each trial in a fresh tenant: a fresh backend for each would be slow where it is a file. It
// runs none where the rule is broken already: rapid panics if it is given a test that has failed.
func property(t testing.TB, e *env, trial func(t *rapid.T, w *tenant)) {
	t.Helper()
	if t.Failed() {
		return
	}
	rapid.Check(t, func(t *rapid.T) { trial(t, e.tenant(t)) })
}

// fail stops the test. In a property test the details go to the log only, because rapid can make a trial smaller as long
// as the message stays the same.
func fail(t rapid.TB, what, format string, args ...any) {
	t.Helper()
	if _, ok := t.(*rapid.T); ok {
		t.Logf(format, args...)
		t.Fatal(what)
	}
	t.Fatalf("%s: %s", what, fmt.Sprintf(format, args...))
}

// wantErr expects an error, through any wrapping.
func wantErr(t rapid.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		fail(t, what, "got error %v, want %v", got, want)
	}
}

// id returns an id that no other view makes. Its order has nothing to do with the order of creation.
func (w *tenant) id() ulid.ULID {
	w.made++
	var id ulid.ULID
	binary.BigEndian.PutUint64(id[:], w.made*0x9E3779B97F4A7C15>>1)
	binary.BigEndian.PutUint16(id[10:], w.number)
	binary.BigEndian.PutUint32(id[12:], uint32(w.made))
	return id
}

// token returns a token that is as plain as possible. An empty session is the null session.
func (w *tenant) token(user, client, session string) domain.RefreshToken {
	token := domain.RefreshToken{ID: w.id(), UserID: user, ClientID: client, CreatedAt: base}
	if session != "" {
		token.SessionID = must(domain.NewSessionID(session))
	}
	return token
}

// must is for values that are right by construction.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// rows makes insertions that stem from now.
func rows(tokens ...domain.RefreshToken) []store.Insertion {
	list := make([]store.Insertion, len(tokens))
	for i, token := range tokens {
		list[i].Token = token
	}
	return list
}

// stored is an admitted token as it then is.
func stored(token domain.RefreshToken, r store.Inserted) domain.RefreshToken {
	token.Sequence = r.Sequence
	return token
}

// insert adds tokens that must be admitted, and returns them with their sequences.
func (w *tenant) insert(t rapid.TB, tokens ...domain.RefreshToken) []domain.RefreshToken {
	t.Helper()
	results, err := w.Insert(w.ctx, rows(tokens...))
	if err != nil || len(results) != len(tokens) {
		fail(t, "Insert must return a result for each row", "got %d of %d, error %v", len(results), len(tokens), err)
	}
	inserted := make([]domain.RefreshToken, len(tokens))
	for i, r := range results {
		if r.Err != nil {
			fail(t, "a token that nothing bars must be admitted", "row %d: %v", i, r.Err)
		}
		inserted[i] = stored(tokens[i], r)
	}
	return inserted
}

// add inserts one plain token.
func (w *tenant) add(t rapid.TB, user, client, session string) domain.RefreshToken {
	t.Helper()
	return w.insert(t, w.token(user, client, session))[0]
}

// admit inserts one token that stems from the given point, and returns what became of it.
func (w *tenant) admit(t rapid.TB, token domain.RefreshToken, asOf domain.AsOf) error {
	t.Helper()
	results, err := w.Insert(w.ctx, []store.Insertion{{Token: token, AsOf: asOf}})
	if err != nil || len(results) != 1 {
		fail(t, "Insert must return a result for each row", "got %d of 1, error %v", len(results), err)
	}
	return results[0].Err
}

// get returns the token and whether it is there.
func (w *tenant) get(t rapid.TB, id ulid.ULID) (store.View, bool) {
	t.Helper()
	view, err := w.Get(w.ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		fail(t, "Get must return the token or ErrNotFound", "got %v", err)
	}
	return view, err == nil
}

// has reports whether the token is there.
func (w *tenant) has(t rapid.TB, id ulid.ULID) bool {
	t.Helper()
	_, ok := w.get(t, id)
	return ok
}

// live reports whether the token is there and not covered.
func (w *tenant) live(t rapid.TB, id ulid.ULID) bool {
	t.Helper()
	view, ok := w.get(t, id)
	return ok && !view.Revoked()
}

// revocation is a revocation of the targets, an hour after base.
func (w *tenant) revocation(targets ...domain.Target) store.Revocation {
	return store.Revocation{ID: w.id(), Targets: targets, Time: after(time.Hour), Reason: "test", Actor: "storetest"}
}

func (w *tenant) revoke(t rapid.TB, targets ...domain.Target) store.Status {
	t.Helper()
	return w.record(t, w.revocation(targets...))
}

func (w *tenant) record(t rapid.TB, r store.Revocation) store.Status {
	t.Helper()
	status, err := w.Revoke(w.ctx, r)
	if err != nil {
		fail(t, "a valid revocation must be recorded", "got %v", err)
	}
	return status
}

func (w *tenant) apply(t rapid.TB, bounds store.Bounds, ids ...ulid.ULID) []store.Status {
	t.Helper()
	statuses, err := w.Apply(w.ctx, ids, bounds)
	if err != nil {
		fail(t, "Apply must accept valid bounds", "got %v", err)
	}
	return statuses
}

// sweepLimit is more calls of Apply than any test needs for one sweep, even at one row a call.
const sweepLimit = 10_000

// sweep applies until the given revocations are retired.
func (w *tenant) sweep(t rapid.TB, ids ...ulid.ULID) {
	t.Helper()
	for range sweepLimit {
		ids = slices.DeleteFunc(slices.Clone(ids), func(id ulid.ULID) bool { return w.status(t, id).Retired })
		if len(ids) == 0 {
			return
		}
		w.apply(t, store.Bounds{Visit: 10_000, Remove: 10_000, Now: after(2 * time.Hour)}, ids...)
	}
	fail(t, "a sweep must come to its end", "%d calls of Apply were not enough", sweepLimit)
}

// status returns the status of a revocation that must be there.
func (w *tenant) status(t rapid.TB, id ulid.ULID) store.Status {
	t.Helper()
	status, err := w.Revocation(w.ctx, id)
	if err != nil {
		fail(t, "a revocation that is not trimmed must be there", "got %v", err)
	}
	return status
}

func (w *tenant) state(t rapid.TB) store.State {
	t.Helper()
	state, err := w.State(w.ctx)
	if err != nil {
		fail(t, "State must succeed", "got %v", err)
	}
	return state
}

// all walks all pages of a query and returns the tokens by id.
func (w *tenant) all(t rapid.TB, q store.Query) map[ulid.ULID]domain.RefreshToken {
	t.Helper()
	found := map[ulid.ULID]domain.RefreshToken{}
	q.Limit = store.MaxPage
	for range sweepLimit {
		page, err := w.List(w.ctx, q)
		if err != nil {
			fail(t, "List must return a page", "got %v", err)
		}
		for _, token := range page.Tokens {
			found[token.ID] = token
		}
		if page.Next.IsZero() {
			return found
		}
		q.After = page.Next
	}
	fail(t, "a list must come to its end", "%d pages were not enough", sweepLimit)
	return nil
}

// holder is a client that holds a secret of a token.
type holder struct {
	tenant     *tenant
	id         ulid.ULID
	credential domain.Credential
}

// issue adds a rotating token and returns the holder of its secret.
func (w *tenant) issue(t rapid.TB, token domain.RefreshToken) holder {
	t.Helper()
	h := holder{tenant: w, id: token.ID, credential: must(domain.NewCredential(token.ID, w.random))}
	token.Rotating = true
	token.FamilyDigest, token.SecretDigest = h.credential.FamilyDigest(), h.credential.SecretDigest()
	w.insert(t, token)
	return h
}

// exchange is the rule of one exchange by the holder.
func (h holder) exchange(client string, salt byte) domain.Exchange {
	return domain.Exchange{
		Credential: h.credential, Tenant: h.tenant.name, ClientID: client,
		Now: after(time.Minute), Salt: domain.Salt{salt}, Leeway: time.Hour,
	}
}

// do exchanges as a manager does. inside is called first in every run of decide.
func (h holder) do(rule domain.Exchange, inside func()) (domain.Secret, error) {
	var last domain.Exchanged
	err := h.tenant.Update(h.tenant.ctx, h.id, func(view store.View) store.Decision {
		inside()
		last = rule.Apply(view.Token, view.Revoked())
		if last.Refusal != "" {
			return store.Decision{Err: last.Refusal}
		}
		return store.Decision{Next: last.Next}
	})
	return last.Secret, err
}

// differences names the fields in which two records differ. Times are compared as instants.
func differences(a, b domain.RefreshToken) []string {
	var names []string
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		u, v := x.Field(i).Interface(), y.Field(i).Interface()
		same := reflect.DeepEqual(u, v)
		if at, ok := u.(time.Time); ok {
			same = at.Equal(v.(time.Time))
		}
		if !same {
			names = append(names, x.Type().Field(i).Name)
		}
	}
	return names
}

// wantRecord expects the token to be stored as given.
func (w *tenant) wantRecord(t rapid.TB, what string, want domain.RefreshToken) {
	t.Helper()
	view, ok := w.get(t, want.ID)
	if !ok {
		fail(t, what, "the token is not there")
	}
	if names := differences(view.Token, want); len(names) > 0 {
		fail(t, what, "the record differs in %v", names)
	}
}

// note is a metadata with one entry.
func note(text string) domain.Metadata {
	return must(domain.NewMetadata(map[string]string{"note": text}))
}

// noteOf returns the text of a token's note.
func noteOf(token domain.RefreshToken) string {
	text, _ := token.Metadata.Get("note")
	return text
}

// write is a decision to replace the record with one that carries the note.
func write(text string) func(store.View) store.Decision {
	return func(view store.View) store.Decision {
		next := view.Token
		next.Metadata = note(text)
		return store.Decision{Next: &next}
	}
}
