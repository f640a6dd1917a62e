package revocation

import (
	"errors"
	"testing"
	"time"

	"example.com/tokenstore/domain"
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
			MemoryFor: 90 * 24 * time.Hour, HistoryFor: 7 * 24 * time.Hour, Hold: 5 * time.Millisecond, MaxSlice: 500,
			OutboxFor: 7 * 24 * time.Hour, Outbox: DefaultOutbox, PollEvery: 5 * time.Second, RetryFrom: 100 * time.Millisecond, RetryTo: time.Minute,
		}
		if got.MemoryFor != want.MemoryFor || got.HistoryFor != want.HistoryFor || got.Hold != want.Hold ||
			got.MaxSlice != want.MaxSlice || got.PollEvery != want.PollEvery ||
			got.RetryFrom != want.RetryFrom || got.RetryTo != want.RetryTo {
			t.Errorf("defaults %+v, want %+v", got, want)
		}
	}
}

func TestNegativeOptions(t *testing.T) {
	for field, opts := range map[string]Options{
		"Hold": {Hold: -1}, "PollEvery": {PollEvery: -1}, "RetryFrom": {RetryFrom: -1}, "RetryTo": {RetryTo: -1}, "MaxSlice": {MaxSlice: -1},
	} {
		_, err := New(nil, &opts)
		if broken, ok := errors.AsType[*domain.FieldError](err); !ok || broken.Field != field {
			t.Errorf("%s: %v, want a FieldError of it", field, err)
		}
	}
	if _, err := New(nil, &Options{MemoryFor: -1, HistoryFor: -1}); err != nil {
		t.Errorf("for ever is no error: %v", err)
	}
}
