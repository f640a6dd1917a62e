package revocation

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

func TestOptionsDefaults(t *testing.T) {
	for _, opts := range []*Options{nil, {}} {
		e, err := New(nil, opts)
		if err != nil {
			t.Fatal(err)
		}
		got := e.opts
		if got.Now == nil || got.Logger == nil {
			t.Error("no clock or no logger")
		}
		got.Now, got.Logger = nil, nil
		want := Options{
			MemoryFor: 90 * 24 * time.Hour, HistoryFor: 7 * 24 * time.Hour, Hold: 3 * time.Millisecond, MaxSlice: 500,
			OutboxFor: 7 * 24 * time.Hour, Outbox: DefaultOutbox, PollEvery: 5 * time.Second, ExpireEvery: time.Minute,
			RetryFrom: 100 * time.Millisecond, RetryTo: time.Minute,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("defaults %+v, want %+v", got, want)
		}
	}
}

func TestOptionsRange(t *testing.T) {
	if _, err := New(nil, &Options{MaxSlice: 100_001}); !errors.Is(err, domain.ErrInvalid) {
		t.Errorf("too large a slice: %v", err)
	}
	for field, opts := range map[string]Options{
		"hold": {Hold: -1}, "poll_every": {PollEvery: -1}, "retry_from": {RetryFrom: -1}, "retry_to": {RetryTo: -1}, "max_slice": {MaxSlice: -1},
		"outbox": {Outbox: NoOutbox | store.KindRevoked},
	} {
		_, err := New(nil, &opts)
		if broken, ok := errors.AsType[*domain.FieldError](err); !ok || broken.Field != field {
			t.Errorf("%s: %v, want a FieldError of it", field, err)
		}
	}
	for range 20 { // of several errors it is always the first
		_, err := New(nil, &Options{Hold: -1, PollEvery: -1, RetryFrom: -1, RetryTo: -1, MaxSlice: -1})
		if broken, ok := errors.AsType[*domain.FieldError](err); !ok || broken.Field != "hold" {
			t.Fatalf("%v, want a FieldError of hold", err)
		}
	}
	for _, good := range []Options{
		{MemoryFor: -1, HistoryFor: -1, OutboxFor: -1, ExpireEvery: -1}, {MaxSlice: 1}, {MaxSlice: 100_000}, {Outbox: NoOutbox}, {Outbox: store.AllKinds},
	} {
		if _, err := New(nil, &good); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}
