package restoretest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// told are the events of a tenant's copy.
func (l *Life) told(t *testing.T, tenant string) (events []tokenstore.Event) {
	t.Helper()
	for e, err := range tokenstore.ReadEvents(strings.NewReader(l.Events[tenant])) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// written are the lines of events.
func written(t *testing.T, events []tokenstore.Event) string {
	t.Helper()
	var text strings.Builder
	err := tokenstore.WriteEvents(&text, func(yield func(tokenstore.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// doubled restores by a copy that has each event twice, as a follower may write it.
func doubled(t *testing.T, l *Life) {
	var twice []tokenstore.Event
	for _, e := range l.told(t, Acme) {
		twice = append(twice, e, e)
	}
	r := l.Request()
	r.Events[Acme] = strings.NewReader(written(t, twice))
	b := l.restored(t, r)
	defer b.Close()
	l.CheckEvents(t, b)
}

// upToDate restores by a copy that ends where the backup does.
func upToDate(t *testing.T, l *Life) {
	b := l.Open(t)
	defer b.Close()
	latest := must[tokenstore.State](t)(manager(t, b, Acme).State(t.Context())).LastEvent
	known := slices.DeleteFunc(l.told(t, Acme), func(e tokenstore.Event) bool { return e.Number > latest })
	r := l.Request()
	r.Events = files(map[string]string{Acme: written(t, known), Globex: ""})
	if report, err := tokenstore.Restore(t.Context(), b, r); len(known) == 0 || err != nil || report.Tenants != 2 || report.Events != 0 || report.Revoked != 0 {
		t.Errorf("where nothing has happened since the backup there is nothing to do: got %+v, error %v", report, err)
	}
}

// forgotten restores by a copy with events that the backup has forgotten.
func forgotten(t *testing.T, l *Life) {
	const old = "old"
	b := l.Open(t)
	defer b.Close()
	m := manager(t, b, old)
	for _, user := range []string{"ann", "bob", "eve"} {
		must[tokenstore.Issued](t)(issue(t.Context(), m, user, tokenstore.AsOf{}))
		revoke(t, m, tokenstore.Target{UserID: user})
	}
	r := l.Request()
	l.Events[old] = lines(t, m, 0)
	r.Events[old] = strings.NewReader(l.Events[old])
	s := must[store.Store](t)(b.Tenant(old))
	must[store.Trimmed](t)(s.Trim(t.Context(), store.Trim{Events: l.told(t, old)[1].Time, Limit: 100}))
	if state := must[tokenstore.State](t)(m.State(t.Context())); state.Events == 0 || state.Events == 3 {
		t.Fatalf("some of the events must be forgotten: %d are left", state.Events)
	}
	if report, err := tokenstore.Restore(t.Context(), b, r); err != nil || report.Tenants != 3 {
		t.Errorf("events that the backup has forgotten are none of another database: got %+v, error %v", report, err)
	}
}

// long restores by a copy of many events, and hears how far it has come.
func long(t *testing.T, l *Life) {
	const busy = "busy" // which the backup does not have
	var events []tokenstore.Event
	for n := range uint64(2500) {
		events = append(events, tokenstore.Event{Number: n + 1, Kind: tokenstore.KindIssued, Time: time.Unix(1, 0).UTC()})
	}
	r := l.Request()
	r.Events[busy] = strings.NewReader(written(t, events))
	var heard []int
	begun := 0
	r.Progress = func(report tokenstore.RestoreReport) {
		if begun == report.Tenants {
			heard = append(heard, report.Events)
		}
		begun = report.Tenants
	}
	b := l.Open(t)
	defer b.Close()
	report, err := tokenstore.Restore(t.Context(), b, r)
	if err != nil || report.Tenants != 3 || report.Events <= len(events) || !slices.Equal(heard, []int{1000, 2000}) {
		t.Errorf("progress must be told after each tenant, and each thousand events: got %+v, error %v, heard at %v", report, err, heard)
	}
}

// absent restores by a copy that names more tokens by their ids than are remembered at once, one of which the backup has.
func absent(t *testing.T, l *Life) {
	b := l.Open(t)
	defer b.Close()
	m := manager(t, b, Acme)
	kept := must[tokenstore.Page](t)(m.List(t.Context(), tokenstore.ListRequest{UserID: "kept"})).Tokens[0].ID
	events := l.told(t, Acme)
	created := time.Now().Add(-time.Hour)
	var ids []ulid.ULID
	for n := range 12 {
		e := tokenstore.Event{Number: events[len(events)-1].Number + 1, Kind: tokenstore.KindRevoked, Time: time.Now(), Revocation: ulid.Make()}
		if n == 0 {
			e.Targets = append(e.Targets, tokenstore.Target{TokenID: kept})
		}
		for len(e.Targets) < 100 {
			id := ulid.Make()
			if err := id.SetTime(ulid.Timestamp(created)); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
			e.Targets = append(e.Targets, tokenstore.Target{TokenID: id})
		}
		events = append(events, e)
	}
	r := l.Request()
	r.Events[Acme] = strings.NewReader(written(t, events))
	if report, err := tokenstore.Restore(t.Context(), b, r); err != nil || report.Tenants != 2 {
		t.Fatalf("a backup must be restored: got %+v, error %v", report, err)
	}
	wantRefused(t, m, "what was revoked by its id", l.secrets["kept"], tokenstore.ErrRevoked)
	back := make([]tokenstore.RefreshToken, 0, len(ids))
	for n, id := range ids {
		back = append(back, tokenstore.RefreshToken{ID: id, UserID: fmt.Sprint("user-", n), ClientID: "web", CreatedAt: ulid.Time(id.Time()).UTC(), SessionID: tokenstore.MustSessionID("s")})
	}
	for chunk := range slices.Chunk(back, 500) {
		for i, result := range must[[]tokenstore.ImportResult](t)(m.Import(t.Context(), chunk)) {
			if !errors.Is(result.Err, tokenstore.ErrRevoked) {
				t.Fatalf("a token that was revoked by its id must not come back: got %v for %s", result.Err, chunk[i].ID)
			}
		}
	}
}

// gaps restores what has numbers with gaps.
func gaps(t *testing.T, l *Life) {
	open := l.Open
	l.Open = func(t testing.TB) store.Backend { return gappy{open(t)} }
	for name, f := range map[string]func(*testing.T, *Life){
		"Events": events, "Missing": missing, "OldCopy": oldCopy, "Second": second, "Doubled": doubled, "UpToDate": upToDate,
	} {
		t.Run(name, func(t *testing.T) { f(t, l) })
	}
}
