package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// memory is one that is valid, as large as it may be.
func memory() store.Memory {
	guards := make([]domain.Guard, store.MaxBatch)
	for i := range guards {
		guards[i] = domain.Guard{Target: domain.Target{UserID: "user"}, Watermark: 1}
	}
	guards[0].Watermark = store.MaxSequence
	return store.Memory{
		Origin: ulid.ULID{1}, Sequence: store.MaxSequence, LastEvent: store.MaxSequence,
		Horizon: domain.Horizon{Sequence: store.MaxSequence}, Guards: guards,
	}
}

func TestMemoryLimits(t *testing.T) {
	largest := memory()
	if err := largest.Validate(); err != nil {
		t.Errorf("the largest memory is refused: %v", err)
	}
	for _, c := range []struct {
		field  string
		change func(*store.Memory)
	}{
		{"origin", func(m *store.Memory) { m.Origin = ulid.ULID{} }},
		{"guards", func(m *store.Memory) { m.Guards = append(m.Guards, m.Guards[1]) }},
		{"sequence", func(m *store.Memory) { m.Sequence++ }},
		{"last_event", func(m *store.Memory) { m.LastEvent++ }},
		{"horizon", func(m *store.Memory) { m.Horizon.Sequence++ }},
		{"watermark", func(m *store.Memory) { m.Guards[0].Watermark++ }},
		{"watermark", func(m *store.Memory) { m.Guards[0].Watermark = 0 }},
		{"target", func(m *store.Memory) { m.Guards[0].Target = domain.Target{} }},
	} {
		m := memory()
		c.change(&m)
		if wrong, ok := errors.AsType[*domain.FieldError](m.Validate()); !ok || wrong.Field != c.field {
			t.Errorf("error is %v, want a FieldError for %s", m.Validate(), c.field)
		}
	}
}

func TestKindsText(t *testing.T) {
	for _, kinds := range []store.Kinds{0, store.KindRevoked, store.KindEvicted, store.KindReused | store.KindSwept, store.AllKinds} {
		text, err := kinds.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		got := store.Kinds(store.AllKinds)
		if err := got.UnmarshalText(text); err != nil || got != kinds {
			t.Errorf("%q is read as %v: %v", text, got, err)
		}
	}
	for _, bad := range []string{"other", ",", "revoked,", "revoked,other", "Revoked"} {
		var got store.Kinds
		if _, ok := errors.AsType[*domain.FieldError](got.UnmarshalText([]byte(bad))); !ok {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

// The event of a revocation names the token whose secret was presented only if that was replay.
func TestRevocationEventNamesThePresented(t *testing.T) {
	presented := domain.RefreshToken{ID: ulid.ULID{1}, UserID: "user", ClientID: "client"}
	named := []store.EventToken{{ID: presented.ID, UserID: "user", ClientID: "client"}}
	none := func(ulid.ULID) (domain.RefreshToken, bool) { return domain.RefreshToken{}, false }
	for _, c := range []struct {
		kind      store.Kinds
		presented *domain.RefreshToken
		want      []store.EventToken
	}{
		{store.KindReused, &presented, named},
		{store.KindReused, nil, nil},
		{store.KindRevoked, &presented, nil},
		{store.KindRevoked, nil, nil},
	} {
		r := store.Revocation{Emit: c.kind}
		e := r.Event(&domain.Tombstone{Targets: []domain.Target{{UserID: "user"}}}, none, c.presented)
		if e.Kind != c.kind || !slices.Equal(e.Tokens, c.want) {
			t.Errorf("%v, presented %t: got %+v", c.kind, c.presented != nil, e)
		}
	}
}

func TestCandidates(t *testing.T) {
	row := store.Insertion{Token: domain.RefreshToken{ID: ulid.ULID{1}}}
	sessions := func() (all []string) {
		for candidate := range row.Candidates() {
			session, _ := candidate.SessionID.Get()
			all = append(all, session)
		}
		return all
	}
	if got := sessions(); !slices.Equal(got, []string{""}) {
		t.Errorf("without a former session: got %q", got)
	}
	row.Former = domain.MustSessionID("former")
	if got := sessions(); !slices.Equal(got, []string{"", "former"}) {
		t.Errorf("with a former session: got %q", got)
	}
	for range row.Candidates() { // who has seen enough is shown no more
		break
	}
}

func TestDecisionWrites(t *testing.T) {
	for _, c := range []struct {
		decision store.Decision
		want     bool
	}{
		{store.Decision{}, false},
		{store.Decision{Err: domain.ErrReused}, false},
		{store.Decision{Next: &domain.RefreshToken{}}, true},
		{store.Decision{Revoke: &store.Revocation{}}, true},
		{store.Decision{Emit: store.KindRetried}, true},
	} {
		if got := c.decision.Writes(); got != c.want {
			t.Errorf("%+v writes: %t", c.decision, got)
		}
	}
}

// An epoch is above all that was given out before, and above what an earlier one of the same numbers gives out until then.
func TestNextEpoch(t *testing.T) {
	early := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	late := time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)
	const gap = 1 << 40
	for _, last := range []uint64{0, 1, gap - 1, gap, 5*gap + 1, 1 << 60, 1<<60 + 12345} {
		var before uint64
		for _, at := range []time.Time{early, now, now.Add(time.Millisecond), now.Add(24 * time.Hour), late} {
			epoch, err := store.NextEpoch(last, at)
			if err != nil || epoch <= last+gap || epoch > store.MaxSequence-gap {
				t.Errorf("an epoch must leave the lost time behind: got %d after %d, error %v", epoch, last, err)
			}
			// 4 million numbers a millisecond are more than any store gives out.
			if at != early && at != late && last < 1<<59 && at != now && epoch < before+4_000_000 {
				t.Errorf("a later epoch must be above what an earlier one has given out: got %d after %d", epoch, before)
			}
			before = epoch
		}
	}
	for _, last := range []uint64{store.MaxSequence, store.MaxSequence - gap, 1<<64 - 1} {
		if epoch, err := store.NextEpoch(last, now); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("where there is none left it must be refused: got %d after %d, error %v", epoch, last, err)
		}
	}
}
