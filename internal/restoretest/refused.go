package restoretest

import (
	"errors"
	"testing"

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
	record(t, b, Acme)
}

// unfinished begins other restorations than the one that was broken off.
func unfinished(t *testing.T, l *Life) {
	b := l.Open(t)
	defer b.Close()
	first := l.Request()
	first.Cutoff, first.Events = true, nil
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
	if now, err := tokenstore.Restore(t.Context(), b, first); err != nil || now.ID != report.ID {
		t.Errorf("a restoration that was broken off must go on: got %+v, error %v", now, err)
	}
	for _, tenant := range []string{Acme, Globex} {
		record(t, b, tenant)
	}
}
