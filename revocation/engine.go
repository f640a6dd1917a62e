package revocation

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// ErrRunning is returned by [Engine.Run] while another Run of the same engine is under way.
var ErrRunning = errors.New("tokenstore: engine is already running")

// Options of an engine. The zero value, and nil, take every default.
type Options struct {
	// Now is the clock of the records. Timers don't use it. Defaults to time.Now.
	Now func() time.Time
	// Logger takes what goes wrong in the background. Defaults to none.
	Logger *slog.Logger
	// Events are called as things happen.
	Events Events
	// MemoryFor is how long at least the guards of a retired revocation are kept, from when it was asked for. An issue or import
	// that stems from before that is refused. Defaults to 90 days; negative keeps them for ever.
	MemoryFor time.Duration
	// HistoryFor is how long at least a retired revocation can be looked up. Defaults to 7 days; negative keeps it for ever.
	HistoryFor time.Duration
	// Outbox are the kinds of events that are written to the feed of each tenant, each in the commit that it reports, and each for
	// the price of one more row in it. Defaults to [DefaultOutbox]; [NoOutbox] for none.
	Outbox store.Kinds
	// OutboxFor is how long at least an event stays in the feed. Defaults to 7 days; negative keeps it for ever.
	OutboxFor time.Duration
	// Hold is how long a slice of the sweep should take at most; its size follows. Where the smallest slices, of sixteen tokens,
	// take longer than a third of Hold, it is three times what they take, but at most twice what they take plus twice Hold. Defaults to 3 ms.
	Hold time.Duration
	// MaxSlice is the largest number of tokens that a slice removes, up to 100,000. Defaults to 500.
	MaxSlice int
	// PollEvery is how often the engine looks for revocations that nobody told it of, such as another process's.
	// Defaults to 5 s.
	PollEvery time.Duration
	// ExpireEvery is how often the engine looks for expired tokens, which are refused anyhow, to remove them. Defaults to
	// 1 min; negative leaves them in place.
	ExpireEvery time.Duration
	// RetryFrom and RetryTo are the first and the longest pause after a failure. Default to 100 ms and 1 min.
	RetryFrom, RetryTo time.Duration
}

// Events are functions that the engine calls as things happen, each of them optional. Those of the sweep are called one after
// the other; Revoked is called by whoever revokes, possibly from several goroutines at once and beside the others. All of
// them hold up their caller while they run.
type Events struct {
	Revoked func(tenant string, t domain.Tombstone)          // Revoked: a revocation has been recorded; also when it is repeated.
	Swept   func(tenant string, s store.Status)              // Swept: a slice has been swept; s is how far it came.
	Retired func(tenant string, s store.Status)              // Retired: nothing that it covers is left.
	Failed  func(tenant string, revs []ulid.ULID, err error) // Failed: a slice failed, and will be tried again.
	Expired func(tenant string, removed int)                 // Expired: tokens whose life was over have been removed.
}

func (o *Options) withDefaults() (Options, error) {
	var d Options
	if o != nil {
		d = *o
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.MaxSlice == 0 {
		d.MaxSlice = 500
	}
	for _, field := range []struct {
		value *time.Duration
		to    time.Duration
	}{
		{&d.MemoryFor, 90 * 24 * time.Hour},
		{&d.HistoryFor, 7 * 24 * time.Hour},
		{&d.OutboxFor, 7 * 24 * time.Hour},
		{&d.Hold, 3 * time.Millisecond},
		{&d.PollEvery, 5 * time.Second},
		{&d.ExpireEvery, time.Minute},
		{&d.RetryFrom, 100 * time.Millisecond},
		{&d.RetryTo, time.Minute},
	} {
		if *field.value == 0 {
			*field.value = field.to
		}
	}
	var err error
	if d.Outbox, err = kindsOf(d.Outbox); err != nil {
		return d, err
	}
	if d.MaxSlice > 100_000 {
		return d, &domain.FieldError{Field: "max_slice", Limit: "up to 100000", Size: d.MaxSlice}
	}
	for _, field := range []struct {
		name  string
		value time.Duration
	}{
		{"hold", d.Hold}, {"poll_every", d.PollEvery}, {"retry_from", d.RetryFrom}, {"retry_to", d.RetryTo}, {"max_slice", time.Duration(d.MaxSlice)},
	} {
		if field.value < 0 {
			return d, &domain.FieldError{Field: field.name, Limit: "positive", Size: int(field.value)}
		}
	}
	return d, nil
}

// Engine records revocations and sweeps what they cover, for all tenants of one backend. It is safe for concurrent use.
type Engine struct {
	backend store.Backend
	opts    Options
	running atomic.Bool
	wake    chan struct{}

	mu      sync.Mutex
	hints   []hint        // revocations that were recorded and that the loop has not heard of
	missed  bool          // there were more hints than room
	retired chan struct{} // closed, and replaced, whenever something has been retired

	news bell // rung whenever events may have been written
}

type hint struct {
	tenant string
	id     ulid.ULID
}

// New returns an engine for the backend. It starts nothing: call [Engine.Run]. nil options take the defaults. An option
// out of range is a [domain.FieldError].
func New(backend store.Backend, opts *Options) (*Engine, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Engine{backend: backend, opts: o, wake: make(chan struct{}, 1), retired: make(chan struct{})}, nil
}

// Receipt is what a revocation returns: it can be waited for with [Engine.Wait].
type Receipt struct {
	Tenant string
	Status store.Status // Status is how the revocation stood when it was recorded.
}

// ID is the id of the revocation.
func (r Receipt) ID() ulid.ULID { return r.Status.Tombstone.ID }

// Revoke records a revocation. When it returns without error the tombstone is durable, and what it covers is refused from
// then on; the sweep follows while an engine runs. After [store.ErrUnknownOutcome] it may be repeated as it is. Its Emit is the
// engine's to set, by the option Outbox.
func (e *Engine) Revoke(ctx context.Context, tenant string, r store.Revocation) (Receipt, error) {
	st, err := e.backend.Tenant(tenant)
	if err != nil {
		return Receipt{}, err
	}
	r.Emit = e.opts.Outbox & store.KindRevoked
	status, err := st.Revoke(ctx, r)
	if err != nil {
		return Receipt{}, err
	}
	if !status.Retired {
		e.Recorded(tenant, status.Tombstone)
	}
	return Receipt{Tenant: tenant, Status: status}, nil
}

// Recorded tells the engine of a tombstone that was committed by other means than [Engine.Revoke].
func (e *Engine) Recorded(tenant string, t domain.Tombstone) {
	if f := e.opts.Events.Revoked; f != nil {
		f(tenant, t)
	}
	e.Heard(tenant, t.ID)
}

// Heard tells the engine that another process has recorded a revocation, so that the sweep does not wait for the next poll. It is a
// hint only: it may be lost, repeated or wrong.
func (e *Engine) Heard(tenant string, id ulid.ULID) {
	e.news.ring(tenant)
	e.mu.Lock()
	if len(e.hints) < maxJobs {
		e.hints = append(e.hints, hint{tenant, id})
	} else {
		e.missed = true
	}
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Wait returns the final status of a revocation once nothing that it covers is left, following it to a later one that
// superseded it. It needs an engine running somewhere, and returns the error of ctx if that ends first.
func (e *Engine) Wait(ctx context.Context, r Receipt) (store.Status, error) {
	st, err := e.backend.Tenant(r.Tenant)
	if err != nil {
		return store.Status{}, err
	}
	poll := time.NewTicker(e.opts.PollEvery)
	defer poll.Stop()
	status := r.Status
	for {
		switch {
		case status.Retired && status.SupersededBy.IsZero():
			return status, nil
		case status.Retired:
			status = store.Status{Tombstone: domain.Tombstone{ID: status.SupersededBy}}
		}
		e.mu.Lock()
		retired := e.retired // taken before the look, so that what is retired after it is not missed
		e.mu.Unlock()
		now, err := st.Revocation(ctx, status.Tombstone.ID)
		switch {
		case errors.Is(err, store.ErrNotFound): // only what is retired is ever trimmed from the history
			status.Retired, status.SupersededBy = true, ulid.ULID{}
			return status, nil
		case err != nil:
			return status, err
		case now.Retired:
			status = now
			continue
		}
		status = now
		select {
		case <-ctx.Done():
			return status, ctx.Err()
		case <-retired:
		case <-poll.C:
		}
	}
}

// Health is how the engine's work stands.
type Health struct {
	Running       bool          // Running says whether this engine's Run is under way.
	Tenants       int           // Tenants is how many tenants have something pending.
	Pending       int           // Pending is how many revocations are being swept.
	OldestPending time.Time     // OldestPending is when the oldest of them was asked for; zero for none.
	OldestAge     time.Duration // OldestAge is how long ago that is: the figure to watch.
}

// Health looks through all tenants that have something pending.
func (e *Engine) Health(ctx context.Context) (Health, error) {
	h := Health{Running: e.running.Load()}
	after := ""
	for {
		names, err := e.backend.Pending(ctx, after, pageSize)
		if err != nil || len(names) == 0 {
			return h, err
		}
		for _, name := range names {
			st, err := e.backend.Tenant(name)
			if err != nil {
				return h, err
			}
			state, err := st.State(ctx)
			if err != nil {
				return h, err
			}
			if state.Pending == 0 {
				continue
			}
			h.Tenants++
			h.Pending += state.Pending
			if h.OldestPending.IsZero() || state.OldestPending.Before(h.OldestPending) {
				h.OldestPending = state.OldestPending
				h.OldestAge = max(0, e.opts.Now().Sub(h.OldestPending))
			}
		}
		after = names[len(names)-1]
	}
}
