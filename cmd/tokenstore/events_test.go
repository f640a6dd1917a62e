package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
)

// The feed comes as the lines that ReadEvents reads, from the cursor on.
func TestEvents(t *testing.T) {
	db, _ := fileWith(t, 1)
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		for i := range 120 {
			if _, err := m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: fmt.Sprint(i)}}}); err != nil {
				t.Fatal(err)
			}
		}
	})
	for after, want := range map[string]int{"0": 120, "100": 20, "120": 0, "latest": 0} {
		code, stdout, stderr := toEnd(t, "events", "--db", db, "--after", after)
		if code != 0 || stderr != "" {
			t.Errorf("after %s: exit code %d, %q", after, code, stderr)
		}
		next, n := uint64(120-want), 0
		for event, err := range tokenstore.ReadEvents(strings.NewReader(stdout)) {
			next++
			if err != nil || event.Number != next {
				t.Fatalf("after %s: event %d, %v, want %d", after, event.Number, err, next)
			}
			n++
		}
		if n != want {
			t.Errorf("after %s: %d events, want %d", after, n, want)
		}
	}
	if code, stdout, stderr := toEnd(t, "events", "--db", db, "--after", "121"); code != exitUsage || stdout != "" || !strings.Contains(stderr, "the feed has not come to 121") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

// Following goes on until it is interrupted, and that is no failure.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := tokenstore.New(memstore.New(), nil)
		if err != nil {
			t.Fatal(err)
		}
		revoke := func() {
			t.Helper()
			if _, err := m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{Everything: true}}}); err != nil {
				t.Fatal(err)
			}
		}
		revoke()
		ctx, interrupt := context.WithCancel(t.Context())
		f := eventsFlags{after: latest, follow: true}
		var out bytes.Buffer
		ended := make(chan error)
		go func() { ended <- f.events(ctx, m, &out) }()
		for range 3 {
			synctest.Wait()
			revoke()
		}
		synctest.Wait()
		interrupt()
		if err := <-ended; err != nil {
			t.Errorf("it ended by %v", err)
		}
		if n := strings.Count(out.String(), "\n"); n != 3 || !strings.HasPrefix(out.String(), `{"number":"2"`) {
			t.Errorf("%d lines:\n%s", n, out.String())
		}
		f.after = "9"
		if err := f.events(t.Context(), m, io.Discard); err == nil || !strings.Contains(err.Error(), "has not come to 9") {
			t.Errorf("after what was never given out: %v", err)
		}
	})
}
