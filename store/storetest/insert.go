package storetest

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// full is a token none of whose fields is zero, but the sequence.
func (w *tenant) full() domain.RefreshToken {
	zone := time.FixedZone("east", 5*3600+1800)
	token := w.token("user|full", "client", "session")
	token.ForeignID = "foreign"
	token.CreatedAt = base.Add(123456789).In(zone)
	token.AuthenticatedAt = after(-time.Second)
	token.ExpiresAt = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
	token.IdleLifetime = domain.Lifetime(72 * time.Hour)
	token.IdleExpiresAt = after(72 * time.Hour)
	token.LastExchangedAt = after(time.Second + 1)
	token.Device = domain.Device{
		InitialIP: "192.0.2.1", InitialASN: "64496", InitialUserAgent: "initial",
		LastIP: "2001:db8::1", LastASN: "64497", LastUserAgent: "last",
	}
	token.Rotating, token.Offline = true, true
	token.ResourceServers = must(domain.NewResourceServers(
		domain.ResourceServer{Audience: "https://b.example", Scopes: "read write"},
		domain.ResourceServer{Audience: "https://a.example"},
	))
	token.Metadata = must(domain.NewMetadata(map[string]string{"b": "2", "a": "1", "empty": ""}))
	token.Confirmation = domain.Confirmation{Kind: domain.ConfirmationJKT, Value: "thumbprint"}
	token.Generation, token.Retries = 7, 3
	token.RotatedAt = after(time.Second)
	token.Salt = domain.Salt{1, 2, 3}
	token.FamilyDigest, token.SecretDigest, token.ForeignDigest = domain.Digest{4}, domain.Digest{5}, domain.Digest{6}
	copy(token.ForeignDigest[1:], token.ID[:]) // no two tokens share one
	token.ForeignWeak = true
	token.PepperKeyID = "pepper"
	return token
}

// singular are plain tokens, each with one of the fields of a full one, as far as they are valid.
func (w *tenant) singular() (tokens []domain.RefreshToken) {
	full := w.full()
	for i := range reflect.TypeFor[domain.RefreshToken]().NumField() {
		token := w.token("user", "client", "")
		plain := token
		reflect.ValueOf(&token).Elem().Field(i).Set(reflect.ValueOf(full).Field(i))
		token.ID = plain.ID
		if len(differences(plain, token)) > 0 && token.Validate() == nil {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// longest is a token whose texts are as long as they may be, in characters of several bytes.
func (w *tenant) longest() domain.RefreshToken {
	long := func(n int) string { return strings.Repeat("é", n) }
	token := w.token(long(domain.MaxUserID), long(domain.MaxClientID), long(domain.MaxSessionID))
	token.ForeignID = long(domain.MaxForeignID)
	token.Device.LastUserAgent = long(domain.MaxUserAgent)
	servers := make([]domain.ResourceServer, domain.MaxResourceServers)
	for i := range servers {
		servers[i].Audience = long(domain.MaxAudience)
	}
	servers[0].Scopes = long(domain.MaxScopes)
	token.ResourceServers = must(domain.NewResourceServers(servers...))
	entries := map[string]string{}
	for i := range domain.MaxMetadata {
		entries[strings.Repeat(string(rune('a'+i)), domain.MaxMetadataText)] = long(domain.MaxMetadataText)
	}
	token.Metadata = must(domain.NewMetadata(entries))
	token.IdleLifetime = domain.Never
	return token
}

func checkInsert(t testing.TB, e *env) {
	w := e.tenant(t)
	given := []domain.RefreshToken{w.full(), w.longest(), w.token("user", "client", "")}
	given[2].Sequence = 77 // not the caller's to say
	results, err := w.Insert(w.ctx, rows(given...))
	if err != nil || len(results) != len(given) {
		t.Fatalf("Insert must return a result for each row: got %d of %d, error %v", len(results), len(given), err)
	}
	for i, r := range results {
		if r.Err != nil || r.Sequence == 0 || r.There != nil {
			t.Fatalf("an admitted token must be numbered: row %d, sequence %d, error %v", i, r.Sequence, r.Err)
		}
		w.wantRecord(t, "every field must be kept as given", stored(given[i], r))
	}
	if results[2].Sequence == 77 {
		t.Errorf("the store assigns the sequence: the caller's was kept")
	}

	for _, token := range w.singular() {
		w.wantRecord(t, "a field must be kept whatever the others are", w.insert(t, token)[0])
	}

	first, last := w.token("user", "client", ""), w.token("user", "client", "")
	results, err = w.Insert(w.ctx, rows(first, given[0], last))
	if err != nil || len(results) != 3 {
		t.Fatalf("a row must be refused on its own: got %d of 3 results, error %v", len(results), err)
	}
	for i, token := range map[int]domain.RefreshToken{0: first, 2: last} {
		if results[i].Err != nil || !w.has(t, token.ID) {
			t.Errorf("a row must be refused on its own: row %d went with another, error %v", i, results[i].Err)
		}
	}

	many := make([]domain.RefreshToken, store.MaxBatch)
	for i := range many {
		many[i] = w.token("many", "client", "")
	}
	before := w.state(t).Tokens
	w.insert(t, many...)
	if got := w.state(t).Tokens - before; got != len(many) {
		t.Errorf("the largest batch must be kept whole: got %d of %d tokens", got, len(many))
	}
}

func checkExists(t testing.TB, e *env) {
	w := e.tenant(t)
	first := w.add(t, "user", "client", "session")
	if err := w.Update(w.ctx, first.ID, write("changed")); err != nil {
		t.Fatalf("Update must succeed: got %v", err)
	}
	first.Metadata = note("changed")

	again := w.token("other", "client", "")
	again.ID = first.ID
	again.Metadata = note("again")
	wantTaken := func(what string, r store.Inserted, want domain.RefreshToken) {
		t.Helper()
		wantErr(t, what, r.Err, store.ErrExists)
		if r.There == nil || r.Sequence != 0 {
			t.Fatalf("ErrExists must come with the record that has the id, and no number: got %+v", r)
		}
		if names := differences(*r.There, want); len(names) > 0 {
			t.Errorf("ErrExists must come with the record that has the id: it differs in %v", names)
		}
		w.wantRecord(t, "the record that has the id must stay as it is", want)
	}
	insert := func(tokens ...domain.RefreshToken) []store.Inserted {
		t.Helper()
		results, err := w.Insert(w.ctx, rows(tokens...))
		if err != nil || len(results) != len(tokens) {
			t.Fatalf("Insert must return a result for each row: got %d of %d, error %v", len(results), len(tokens), err)
		}
		return results
	}
	wantTaken("an id that is taken must be ErrExists", insert(again)[0], first)
	w.revoke(t, domain.Target{UserID: "user"})
	wantTaken("an id is taken as long as its record is there, covered or not", insert(again)[0], first)

	a, b := w.token("user-a", "client", ""), w.token("user-b", "client", "")
	a.Metadata, b.Metadata = note("a"), note("b")
	b.ID = a.ID
	results := insert(a, b)
	if results[0].Err != nil {
		t.Fatalf("within a batch the first row must win: got %v", results[0].Err)
	}
	wantTaken("within a batch the second row with an id must be ErrExists", results[1], stored(a, results[0]))
}

func checkSequence(t testing.TB, e *env) {
	w := e.tenant(t)
	last := w.state(t).Sequence
	rises := func(what string, number uint64) {
		t.Helper()
		if number <= last {
			t.Fatalf("%s must have a higher number than all before it: got %d after %d", what, number, last)
		}
		last = number
		if got := w.state(t).Sequence; got < last {
			t.Fatalf("State must know the latest number: got %d after %d", got, last)
		}
	}
	batch := []domain.RefreshToken{w.token("u", "c", ""), w.token("u", "c", ""), w.token("u", "c", "")}
	results, err := w.Insert(w.ctx, rows(batch...))
	if err != nil || len(results) != len(batch) {
		t.Fatalf("Insert must return a result for each row: got %d of %d, error %v", len(results), len(batch), err)
	}
	for _, r := range results[:len(results)-1] { // State is asked after the whole batch
		if r.Sequence <= last {
			t.Fatalf("the rows of a batch must have rising numbers: got %d after %d", r.Sequence, last)
		}
		last = r.Sequence
	}
	rises("a row", results[len(results)-1].Sequence)

	revoked := w.revoke(t, domain.Target{UserID: "u"}).Tombstone
	rises("a revocation", revoked.Watermark)
	rises("an insert", w.add(t, "u", "c", "").Sequence)

	everything := w.revoke(t, domain.Target{Everything: true}).Tombstone
	rises("a revocation", everything.Watermark)
	w.sweep(t, revoked.ID, everything.ID)
	rises("an insert into an emptied store", w.add(t, "u", "c", "").Sequence)

	view := e.named(t, w.name) // another view of the same tenant goes on where the first was
	rises("an insert through another view", view.add(t, "u", "c", "").Sequence)

	clocksDontMatter(t, e)
	orderByCalls(t, e)
}

// clocksDontMatter has one token before each revocation and one after it, by clocks that stand still, that step back, and
// that are far ahead.
func clocksDontMatter(t testing.TB, e *env) {
	t.Helper()
	for clock, at := range map[string]time.Time{"at the same instant": base, "before it": after(-time.Hour), "in the far future": lastInstant} {
		w := e.tenant(t)
		before := w.add(t, "user", "client", "session")
		r := w.revocation(domain.Target{UserID: "user"})
		r.Time = at
		w.record(t, r)
		since := w.add(t, "user", "client", "session")
		if w.live(t, before.ID) || !w.live(t, since.ID) {
			t.Errorf("the sequence alone tells what is revoked (asked for %s): before %v, since %v", clock, w.live(t, before.ID), w.live(t, since.ID))
		}
	}
}
