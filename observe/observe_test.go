package observe_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/observe"
	"example.com/tokenstore/store"
	"example.com/tokenstore/store/storetest"
	"github.com/oklog/ulid/v2"
)

// seen notes what it is shown.
type seen struct {
	began []observe.Operation
	ended []observe.Outcome
}

type markKey struct{}

func (s *seen) begin(ctx context.Context, op observe.Operation) (context.Context, func(observe.Outcome)) {
	s.began = append(s.began, op)
	return context.WithValue(ctx, markKey{}, op), func(o observe.Outcome) { s.ended = append(s.ended, o) }
}

func ignore(ctx context.Context, _ observe.Operation) (context.Context, func(observe.Outcome)) {
	return ctx, func(observe.Outcome) {}
}

// An observed backend keeps every promise of a backend, those of its outbox and of moving among them.
func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Config{
		New: func(testing.TB) store.Backend { return observe.Backend(memstore.New(), ignore) },
	})
}

// plain has nothing beside its verbs.
type plain struct{ store.Backend }

func (p plain) Tenant(name string) (store.Store, error) {
	st, err := p.Backend.Tenant(name)
	return struct{ store.Store }{st}, err
}

// What a store can do beside its verbs is neither hidden nor made up.
func TestNothingIsHidden(t *testing.T) {
	for name, c := range map[string]struct {
		backend store.Backend
		can     bool
	}{
		"all":           {memstore.New(), true},
		"none":          {plain{memstore.New()}, false},
		"observed":      {observe.Backend(memstore.New(), ignore), true},
		"none observed": {observe.Backend(plain{memstore.New()}, ignore), false},
	} {
		st, err := observe.Backend(c.backend, ignore).Tenant("acme")
		if err != nil {
			t.Fatal(err)
		}
		_, tells := store.As[store.Outbox](st)
		_, moves := store.As[store.Mover](st)
		_, restores := store.As[store.Restorer](st)
		if tells != c.can || moves != c.can || restores != c.can {
			t.Errorf("%s: outbox %t, mover %t, restorer %t, want %t", name, tells, moves, restores, c.can)
		}
	}
}

// Every verb is shown once, under its own name, and is called with the context that begin returned.
func TestEveryOperationIsShown(t *testing.T) {
	var s seen
	asked := &contexts{Backend: memstore.New()}
	b := observe.Backend(asked, s.begin)
	ctx, now, id := t.Context(), time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC), ulid.ULID{15: 1}
	st, err := b.Tenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	bounds := store.Bounds{Visit: 1, Remove: 1, Now: now}
	for _, call := range []struct {
		op observe.Operation
		do func() error
	}{
		{observe.Insert, func() error { return second(st.Insert(ctx, nil)) }},
		{observe.Get, func() error { return second(st.Get(ctx, id)) }},
		{observe.Find, func() error { return second(st.Find(ctx, domain.Digest{})) }},
		{observe.List, func() error { return second(st.List(ctx, store.Query{Limit: 1})) }},
		{observe.Update, func() error { return st.Update(ctx, id, nil) }},
		{observe.Revoke, func() error { return second(st.Revoke(ctx, store.Revocation{})) }},
		{observe.Sweep, func() error { return second(st.Apply(ctx, nil, bounds)) }},
		{observe.Expire, func() error { return second(st.Expire(ctx, bounds)) }},
		{observe.Trim, func() error { return second(st.Trim(ctx, store.Trim{Limit: 1})) }},
		{observe.GetRevocation, func() error { return second(st.Revocation(ctx, id)) }},
		{observe.ListRevocations, func() error { return second(st.Revocations(ctx, store.RevocationQuery{Limit: 1})) }},
		{observe.State, func() error { return second(st.State(ctx)) }},
		{observe.ListPending, func() error { return second(b.Pending(ctx, "", 1)) }},
		{observe.ListTenants, func() error { return second(b.Tenants(ctx, "", 1)) }},
		{observe.CreateTenant, func() error { return b.Create(ctx, "acme") }},
	} {
		s, asked.marks = seen{}, nil
		err := call.do()
		if want := []observe.Operation{call.op}; !slices.Equal(s.began, want) {
			t.Errorf("%s: shown is %v", call.op, s.began)
		}
		if want := []observe.Outcome{observe.Of(err)}; !slices.Equal(s.ended, want) {
			t.Errorf("%s: shown is %v of %v", call.op, s.ended, err)
		}
		if want := []any{call.op}; !slices.Equal(asked.marks, want) {
			t.Errorf("%s: the contexts are those of %v", call.op, asked.marks)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// An insert of one token has its outcome; and a panic is a failure that is shown, too.
func TestOutcomeOfInsertAndPanic(t *testing.T) {
	var s seen
	b := observe.Backend(memstore.New(), s.begin)
	st, err := b.Tenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	row := store.Insertion{Token: domain.RefreshToken{ID: ulid.ULID{15: 1}, UserID: "ann", ClientID: "web", CreatedAt: now}}
	for _, want := range []observe.Outcome{observe.OK, observe.Invalid} { // the second is there already
		if _, err := st.Insert(t.Context(), []store.Insertion{row}); err != nil {
			t.Fatal(err)
		}
		if got := s.ended[len(s.ended)-1]; got != want {
			t.Errorf("the insert is %q, want %q", got, want)
		}
	}
	if _, err := st.Insert(t.Context(), []store.Insertion{row, row}); err != nil || s.ended[2] != observe.OK {
		t.Errorf("an insert of several is %q, %v", s.ended[2], err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()
		_ = st.Update(t.Context(), row.Token.ID, func(store.View) store.Decision { panic("decide") })
	}()
	if got := s.ended[3:]; !slices.Equal(got, []observe.Outcome{observe.Failed}) {
		t.Errorf("of a panic is shown %v", got)
	}
}

func TestOf(t *testing.T) {
	for want, errs := range map[observe.Outcome][]error{
		observe.OK:       {nil},
		observe.NotFound: {store.ErrNotFound},
		observe.Refused:  {domain.ErrRevoked, domain.ErrMalformed, domain.ErrUnknownToken, domain.ErrExpired, domain.ErrRetryLimit, store.ErrCovered, store.ErrCap},
		observe.Reused:   {domain.ErrReused},
		observe.Ahead:    {domain.ErrAhead},
		observe.Invalid:  {&domain.FieldError{}, store.ErrConflict, store.ErrExists, store.ErrDigestTaken, store.ErrImmutable},
		observe.Busy:     {store.ErrBusy},
		observe.Canceled: {context.Canceled, context.DeadlineExceeded},
		observe.Unknown:  {store.ErrUnknownOutcome, fmt.Errorf("%w: %w", store.ErrUnknownOutcome, context.Canceled)},
		observe.Failed:   {store.ErrClosed, store.ErrNotCommitted, errors.New("disk on fire")},
	} {
		if !slices.Contains(observe.Outcomes(), want) {
			t.Errorf("%q is none of the outcomes", want)
		}
		for _, err := range errs {
			if got := observe.Of(err); got != want {
				t.Errorf("%v is %q, want %q", err, got, want)
			}
			if err == nil {
				continue
			}
			if got := observe.Of(fmt.Errorf("wrapped: %w", err)); got != want {
				t.Errorf("%v, wrapped, is %q, want %q", err, got, want)
			}
		}
	}
}
