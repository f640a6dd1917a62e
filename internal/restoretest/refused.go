package restoretest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// wantGap restores, and wants the tenant's events to be missed.
func wantGap(t *testing.T, b store.Backend, r tokenstore.RestoreRequest, tenant string) {
	t.Helper()
	if report, err := tokenstore.Restore(t.Context(), b, r); !isGap(err, tenant) || !errors.Is(err, tokenstore.ErrEventsMissing) {
		t.Errorf("a copy of the feed that has not what came since must be refused: got %+v, error %v", report, err)
	}
}

// second restores in place what has been restored by an override, by the events of the lost time.
func second(t *testing.T, l *Life) {
	b := l.restored(t, tokenstore.RestoreRequest{Override: true})
	defer b.Close()
	wantGap(t, b, l.Request(), Acme)
	r := l.Request()
	r.ID = ulid.Make()
	wantGap(t, b, r, Acme)
	r = l.Request()
	r.Events[Acme] = strings.NewReader(l.Events[Acme] + l.after(t, record(t, b, Acme).Epoch))
	wantGap(t, b, r, Acme)

	// What the epoch has put behind is not there any more, and that is as if it had never been.
	epoch := record(t, b, Acme)
	known := slices.DeleteFunc(l.told(t, Acme), func(e tokenstore.Event) bool { return e.Number > epoch.LastEvent })
	r = l.Request()
	r.Events = files(map[string]string{Acme: written(t, known) + l.after(t, epoch.Epoch), Globex: ""})
	if report, err := tokenstore.Restore(t.Context(), b, r); err != nil || report.Revoked != 1 {
		t.Errorf("a copy of what was before the lost time, and of what came since, must do: got %+v, error %v", report, err)
	}
}

// after is the line of the last revocation of a feed, with the number that comes after one.
func (l *Life) after(t *testing.T, number uint64) string {
	t.Helper()
	var last tokenstore.Event
	for _, e := range l.told(t, Acme) {
		if e.Kind == tokenstore.KindRevoked {
			last = e
		}
	}
	last.Number = number + 1
	return written(t, []tokenstore.Event{last})
}

// oldCopy restores what ends with an epoch by a copy from before the backup that the epoch was made of.
func oldCopy(t *testing.T, l *Life) {
	b := l.restored(t, tokenstore.RestoreRequest{Override: true})
	defer b.Close()
	r := l.Request()
	first, _, _ := strings.Cut(l.Events[Acme], "\n")
	r.Events = files(map[string]string{Acme: first + "\n", Globex: ""})
	wantGap(t, b, r, Acme)
	r = l.Request()
	r.Events = files(map[string]string{Acme: "", Globex: ""})
	if report, err := tokenstore.Restore(t.Context(), b, r); err != nil || report.Tenants != 2 {
		t.Errorf("a copy that was begun with the epoch, and has nothing to tell, must do: got %+v, error %v", report, err)
	}
}

// foreign restores by the events of another database, which has the same numbers.
func foreign(t *testing.T, l *Life) {
	b := l.Open(t)
	defer b.Close()
	before := must[tokenstore.State](t)(manager(t, b, Acme).State(t.Context()))
	for name, change := range map[string]func(*tokenstore.Event){
		"kind":       func(e *tokenstore.Event) { e.Kind = tokenstore.KindReused },
		"revocation": func(e *tokenstore.Event) { e.Revocation = ulid.Make() },
		"time":       func(e *tokenstore.Event) { e.Time = e.Time.Add(time.Second) },
	} {
		var text strings.Builder
		if err := tokenstore.WriteEvents(&text, func(yield func(tokenstore.Event, error) bool) {
			for e, err := range tokenstore.ReadEvents(strings.NewReader(l.Events[Acme])) {
				if e.Number == before.LastEvent {
					change(&e)
				}
				if !yield(e, err) {
					return
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		r := l.Request()
		r.Events[Acme] = strings.NewReader(text.String())
		if _, err := tokenstore.Restore(t.Context(), b, r); !errors.Is(err, tokenstore.ErrOtherEvents) {
			t.Errorf("an event of another %s than the backup's must be refused: got %v", name, err)
		}
	}
	if after := must[tokenstore.State](t)(manager(t, b, Acme).State(t.Context())); after != before {
		t.Errorf("where events are of another database nothing must be written: got %+v, want %+v", after, before)
	}
}

// unheard restores a tenant whose revocations were no events.
func unheard(t *testing.T, l *Life) {
	const silent = "silent"
	b := l.Open(t)
	defer b.Close()
	m, err := tokenstore.New(b, &tokenstore.Options{Tenant: silent, Outbox: tokenstore.NoOutbox})
	if err != nil {
		t.Fatal(err)
	}
	must[tokenstore.Issued](t)(issue(t.Context(), m, "ann", tokenstore.AsOf{}))
	revoked := revoke(t, m, tokenstore.Target{UserID: "ann"})
	wantGap(t, b, l.Request(), silent)
	sweep(t, b, silent, revoked.ID())
	wantGap(t, b, l.Request(), silent)
	for name, text := range map[string]string{"an empty copy": "", "events of later": l.Events[Globex]} {
		r := l.Request()
		r.Events[silent] = strings.NewReader(text)
		if _, err := tokenstore.Restore(t.Context(), b, r); !isGap(err, silent) {
			t.Errorf("%s must not do for a tenant whose revocations were no events: got %v", name, err)
		}
	}
	if report, err := tokenstore.Restore(t.Context(), b, tokenstore.RestoreRequest{Cutoff: true}); err != nil || report.Tenants != 3 {
		t.Errorf("such a tenant must be restored with a cut-off: got %+v, error %v", report, err)
	}
}

// unfinished begins other restorations than the one that was broken off.
func unfinished(t *testing.T, l *Life) {
	b := l.Open(t)
	defer b.Close()
	first := l.Request()
	first.Cutoff, first.Events = true, nil
	if err := tokenstore.Unfinished(t.Context(), b); err != nil {
		t.Errorf("nothing was begun: got %v", err)
	}
	report, err := tokenstore.Restore(t.Context(), &failing{Backend: b, left: 1}, first) // of the second tenant nothing has begun
	if !errors.Is(err, errBroken) {
		t.Fatalf("got %v", err)
	}
	other := l.Request()
	other.ID = ulid.Make()
	again := first
	again.ID = ulid.Make()
	same := l.Request()
	same.ID = report.ID
	for name, r := range map[string]tokenstore.RestoreRequest{
		"another method": l.Request(), "another id": again, "both": other, "another method of the same id": same, "an override": {Override: true},
	} {
		_, err := tokenstore.Restore(t.Context(), b, r)
		open, is := errors.AsType[*tokenstore.UnfinishedError](err)
		if !is || !errors.Is(err, tokenstore.ErrUnfinished) || open.Tenant != Acme || open.ID != report.ID || open.Method != store.RestoreCutoff {
			t.Errorf("%s must be refused while a restoration is unfinished: got %v", name, err)
		}
	}
	open, is := errors.AsType[*tokenstore.UnfinishedError](tokenstore.Unfinished(t.Context(), b))
	if !is || open.Tenant != Acme || open.ID != report.ID || open.Method != store.RestoreCutoff {
		t.Errorf("who asks must be told what is unfinished: got %v", open)
	}
	if now, err := tokenstore.Restore(t.Context(), b, first); err != nil || now.ID != report.ID {
		t.Errorf("a restoration that was broken off must go on: got %+v, error %v", now, err)
	}
	if err := tokenstore.Unfinished(t.Context(), b); err != nil {
		t.Errorf("all is finished: got %v", err)
	}
	for _, tenant := range []string{Acme, Globex} {
		record(t, b, tenant)
	}
}

// withheld goes on with a restoration that was broken off, and does not bring all of its events again.
func withheld(t *testing.T, l *Life) {
	b := l.Open(t)
	defer b.Close()
	request := func() tokenstore.RestoreRequest {
		r := l.Request()
		r.Tenants = []string{"fresh"} // which the backup does not have
		return r
	}
	if _, err := tokenstore.Restore(t.Context(), &failing{Backend: b, left: 3}, request()); !errors.Is(err, errBroken) { // each epoch has begun
		t.Fatalf("got %v", err)
	}
	r := request()
	delete(r.Events, Globex)
	wantGap(t, b, r, Globex)
	if report, err := tokenstore.Restore(t.Context(), b, request()); err != nil || report.Tenants != 3 {
		t.Errorf("a restoration that was broken off must go on: got %+v, error %v", report, err)
	}
}
