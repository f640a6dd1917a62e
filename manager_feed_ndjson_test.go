package tokenstore_test

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

// read returns all events of lines, up to the first error.
func read(lines io.Reader) (events []tokenstore.Event, err error) {
	for event, err := range tokenstore.ReadEvents(lines) {
		if err != nil {
			return events, err
		}
		events = append(events, event)
	}
	return events, nil
}

// TestEventsAsLines: whatever events say, to the last digit, is read as it was written.
func TestEventsAsLines(t *testing.T) {
	r := newRig(t, tokenstore.Options{Outbox: tokenstore.AllKinds})
	r.everything()
	fine := time.Date(2026, 3, 1, 9, 0, 0, 123456789, time.UTC)
	_, err := r.Revoke(t.Context(), tokenstore.RevokeRequest{Reason: "<\u2028\">", Actor: "ops", Targets: []tokenstore.Target{
		{TokenID: ulid.MustParse("01KJM9SR009WPFZ1FJR8TC7J5W"), UserID: "u", ClientID: "c", SessionID: "s", Audience: "https://api.example/", IssuedBefore: fine},
		{LegacyBefore: fine.Truncate(time.Millisecond), Offline: tokenstore.OfflineNo}, {UserID: "x", Offline: tokenstore.OfflineYes}, {Everything: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := r.feed(0)
	kinds := tokenstore.Kinds(0)
	for _, event := range want {
		kinds |= event.Kind
	}
	if len(want) < 8 || !kinds.Has(tokenstore.KindIssued|tokenstore.KindExchanged|tokenstore.KindRevoked|tokenstore.KindSwept|tokenstore.KindErased) {
		t.Fatalf("there are events of %v only", kinds)
	}
	var lines bytes.Buffer
	if err := tokenstore.WriteEvents(&lines, r.Events(t.Context(), 0)); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(lines.Bytes(), []byte("\n")); n != len(want) {
		t.Errorf("%d lines for %d events", n, len(want))
	}
	got, err := read(iotest.OneByteReader(&lines))
	if err != nil || len(got) != len(want) {
		t.Fatalf("read %d events, want %d: %v", len(got), len(want), err)
	}
	for i := range want {
		if !got[i].Time.Equal(want[i].Time) {
			t.Errorf("the time of an event has changed: %v, want %v", got[i].Time, want[i].Time)
		}
		got[i].Time = want[i].Time
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("an event has changed\ngot  %+v\nwant %+v", got[i], want[i])
		}
	}
}

// TestEventsAfterCursor: the walk begins after the cursor, ends with what there was, and reports what Feed does.
func TestEventsAfterCursor(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	for range 250 { // more than two pages
		r.revoke(tokenstore.Target{UserID: "ann"})
	}
	next, n := uint64(100), 0
	for event, err := range r.Events(t.Context(), next) {
		if next++; err != nil || event.Number != next {
			t.Fatalf("got event %d, %v, want %d", event.Number, err, next)
		}
		if n++; n == 10 { // what comes while it walks is not part of it
			r.revoke(tokenstore.Target{UserID: "ann"})
		}
	}
	if n != 150 {
		t.Errorf("walked %d events, want 150", n)
	}
	var field *tokenstore.FieldError
	if err := tokenstore.WriteEvents(io.Discard, r.Events(t.Context(), 1000)); !errors.As(err, &field) || field.Field != "after" {
		t.Errorf("after what was never given out: %v", err)
	}
	if err := tokenstore.WriteEvents(failing{}, r.Events(t.Context(), 0)); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a writer that fails: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// TestReadEventsRefuses: a line that is no event ends the reading, by its number, and nothing of it is repeated.
func TestReadEventsRefuses(t *testing.T) {
	const good = `{"number":"1","kind":"revoked","time":"2026-03-01T09:00:00Z","sequence":"18446744073709551615"}`
	for name, c := range map[string]struct{ line, field string }{
		"no JSON":                {`{"number":"1","kind":"secret-value`, "line"},
		"cut short":              {good[:len(good)-1], "line"},
		"two":                    {good + good, "line"},
		"null":                   {"null", "number"},
		"another member":         {strings.Replace(good, "{", `{"secret-value":1,`, 1), "line"},
		"another kind":           {strings.Replace(good, "revoked", "secret-value", 1), "kind"},
		"two kinds":              {strings.Replace(good, "revoked", "revoked,swept", 1), "kind"},
		"no kind":                {strings.Replace(good, "revoked", "", 1), "kind"},
		"no number":              {strings.Replace(good, `"1"`, `"0"`, 1), "number"},
		"a number that is none":  {strings.Replace(good, `"1"`, `"x"`, 1), "line"},
		"no time":                {strings.Replace(good, `"time":"2026-03-01T09:00:00Z",`, "", 1), "time"},
		"an empty target":        {strings.Replace(good, "{", `{"targets":[{}],`, 1), "target"},
		"a target of null":       {strings.Replace(good, "{", `{"targets":[null],`, 1), "target"},
		"a target of more":       {strings.Replace(good, "{", `{"targets":[{"user_id":"u","secret-value":true}],`, 1), "target"},
		"a target with a limit":  {strings.Replace(good, "{", `{"targets":[{"client_id":"`+strings.Repeat("x", 65)+`"}],`, 1), "client_id"},
		"no UTF-8":               {strings.Replace(good, "revoked", "\xff", 1), "line"},
		"half a surrogate":       {strings.Replace(good, "{", `{"reason":"\ud800",`, 1), "line"},
		"longer than a line may": {strings.Repeat("x", tokenstore.MaxLine+1), "line"},
	} {
		t.Run(name, func(t *testing.T) {
			events, err := read(strings.NewReader(good + "\n \r\n" + c.line + "\n" + good + "\n"))
			var field *tokenstore.FieldError
			if !errors.As(err, &field) || field.Field != c.field || !strings.Contains(err.Error(), "line 3: ") || strings.Contains(err.Error(), "secret-value") {
				t.Errorf("got %v, want an error of line 3 and %q", err, c.field)
			}
			if len(events) != 1 || events[0].Sequence != 1<<64-1 {
				t.Errorf("got %+v before it", events)
			}
		})
	}
	if _, err := read(iotest.ErrReader(io.ErrNoProgress)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that fails: %v", err)
	}
	next, stop := iter.Pull2(tokenstore.ReadEvents(strings.NewReader(good + "\n" + good)))
	defer stop()
	if _, err, ok := next(); !ok || err != nil {
		t.Errorf("a caller that stops: %v, %t", err, ok)
	}
}
