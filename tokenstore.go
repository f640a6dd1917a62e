package tokenstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Options of a [Manager]. The zero value, and nil, take every default.
type Options struct {
	// Tenant is the tenant that the manager serves. Defaults to "default".
	Tenant string
	// Legacy says which tokens carry a null session id. Defaults to the published rule, with the cut-off 2023-09-21.
	Legacy LegacyRule
	// Lifetime is the absolute lifetime of issued tokens. Defaults to 31,557,600 s, a year; [Never] for none.
	Lifetime Lifetime
	// IdleLifetime is how long an issued token may lie idle. Defaults to 2,592,000 s, 30 days; [Never] for none.
	IdleLifetime Lifetime
	// Leeway is how long after a rotation the direct parent of a secret is taken as a retry, and gets the same successor
	// again. Defaults to 10 s; negative turns it off.
	Leeway time.Duration
	// LastUsedEvery is how old the noted last use of a token that does not rotate may become before an exchange notes it
	// again; an exchange that need not writes nothing. The token may expire for want of use by as much too early, never too
	// late. It is at most a tenth of the token's idle lifetime. Defaults to 0, every use is noted.
	LastUsedEvery time.Duration
	// Client gives the policy of a client, at every issue and exchange; it must be quick, and safe for concurrent use.
	// Defaults to no policy, for any client.
	Client func(clientID string) ClientPolicy
	// Replay is what is revoked when an outdated secret is presented. Defaults to [ReplayToken].
	Replay ReplayReach
	// Device is how much of the addresses of devices is kept, of tokens that are issued, exchanged or imported from now on.
	// Defaults to [DeviceAsGiven].
	Device DevicePolicy
	// Evicted is called after a token had to go for another one, because of a cap; not where the outcome of the issue was
	// unknown at first. Defaults to none.
	Evicted func(tenant string, token RefreshToken)
	// Exchanged is called after every exchange, for whoever counts them, with what [Manager.Exchange] returned: whether the client was given
	// its secret once more, and the error. It is called by whoever exchanges, and holds that up. Defaults to none.
	Exchanged func(ctx context.Context, tenant string, retried bool, err error)
	// RetryLimit is how many retries each secret has within the leeway; one whose outcome the store could not tell at first
	// counts once. Defaults to 0, any number.
	RetryLimit uint32
	// Skew is how far the clocks of the host's machines may be apart: an imported token may have been created that far
	// in the future. Defaults to 1 min; negative for none.
	Skew time.Duration
	// ForeignDigest makes the digest of a secret that a client presents and that is not of our own form, by which an imported
	// token is found: as the system that it comes from made the [RefreshToken.ForeignDigest] in its tables. It reports false for a
	// text that can't be a secret there. It must be quick, deterministic and safe for concurrent use, and must not keep the
	// secret. It is asked about texts of up to 2,048 bytes. Defaults to [DigestForeign], the SHA-256 of the text.
	ForeignDigest func(secret string) (Digest, bool)
	// Pepper holds the keys of the digests. A token whose digests were made under another key than the current one, or under
	// none, gets new ones when it is exchanged; one whose key the ring lacks is refused with [ErrKeyMissing]. All processes
	// that share a database need the same keys, and have to have a new one before any of them makes it current. Defaults to
	// nil, digests without a key.
	Pepper *PepperRing
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Rand is the source of ids, secrets and salts. It must be unpredictable and safe for concurrent use. Defaults to
	// crypto/rand.
	Rand io.Reader
	// Logger takes what goes wrong in the background. Defaults to none. No secret is ever logged.
	Logger *slog.Logger
	// Outbox are the kinds of events that are written to the feed, each in the commit that it reports, and each for the price of
	// one more row in it. Defaults to [DefaultOutbox]: revoked, reused and erased; [NoOutbox] for none.
	Outbox Kinds
	// Engine are the options of the sweep. Its Now, Logger and Outbox default to those above.
	Engine revocation.Options
}

func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	if d.Tenant == "" {
		d.Tenant = "default"
	}
	if d.Lifetime == 0 {
		d.Lifetime = Lifetime(31_557_600 * time.Second)
	}
	if d.IdleLifetime == 0 {
		d.IdleLifetime = Lifetime(2_592_000 * time.Second)
	}
	if d.Leeway == 0 {
		d.Leeway = 10 * time.Second
	}
	if d.Skew == 0 {
		d.Skew = time.Minute
	}
	if d.ForeignDigest == nil {
		d.ForeignDigest = func(secret string) (Digest, bool) { return DigestForeign(secret), true }
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Rand == nil {
		d.Rand = rand.Reader
	}
	if d.Engine.Now == nil {
		d.Engine.Now = d.Now
	}
	if d.Engine.Logger == nil {
		d.Engine.Logger = d.Logger
	}
	if d.Outbox == 0 {
		d.Outbox = DefaultOutbox
	}
	if d.Engine.Outbox == 0 {
		d.Engine.Outbox = d.Outbox
	}
	return d
}

// Manager keeps and revokes the refresh tokens of one tenant. It is safe for concurrent use, and holds nothing that needs
// closing; the backend does.
type Manager struct {
	store  store.Store
	engine *revocation.Engine
	opts   Options
	rows   *sync.Pool // of [insertion], each zero: they are too large to be made for each issue
	// backend is for the views of other tenants.
	backend store.Backend
}

// New returns the manager of a tenant on a backend. It starts nothing: call [Manager.Run] to have what is revoked swept.
// nil options take the defaults. An option out of range is a [FieldError].
func New(backend store.Backend, opts *Options) (*Manager, error) {
	o := opts.withDefaults()
	if err := checkLifetimes(o.Lifetime, o.IdleLifetime); err != nil {
		return nil, err
	}
	if o.Replay > ReplayUser {
		return nil, &FieldError{Field: "replay", Limit: "the token, its session or its user", Size: int(o.Replay)}
	}
	if o.Outbox != NoOutbox && !Kinds(AllKinds).Has(o.Outbox) {
		return nil, &FieldError{Field: "outbox", Limit: "kinds of events, or NoOutbox", Size: int(o.Outbox)}
	}
	engine, err := revocation.New(backend, &o.Engine)
	if err != nil {
		return nil, err
	}
	m := &Manager{backend: backend, engine: engine, opts: o, rows: &sync.Pool{New: func() any { return &insertion{} }}}
	return m.Tenant(o.Tenant, nil)
}

// Run sweeps what has been revoked, for all tenants of the backend, until ctx ends; then it returns nil. See
// [revocation.Engine.Run].
func (m *Manager) Run(ctx context.Context) error { return m.engine.Run(ctx) }

// Heard tells the sweep that another process has recorded a revocation, so that it does not wait for its next poll. See
// [revocation.Engine.Heard].
func (m *Manager) Heard(tenant string, revocation ulid.ULID) { m.engine.Heard(tenant, revocation) }

// Health says how the sweep stands, for all tenants of the backend.
func (m *Manager) Health(ctx context.Context) (Health, error) { return m.engine.Health(ctx) }

// State says what the tenant holds. Its Sequence is an exact as-of point: keep it with an authentication and give it to
// [IssueRequest] by [AsOfSequence], and a revocation in between refuses the issue.
func (m *Manager) State(ctx context.Context) (State, error) { return m.store.State(ctx) }

func (m *Manager) now() time.Time { return m.opts.Now().UTC().Round(0) }

// newID draws a ULID whose time part is the given instant, which must be one that records can hold.
func (m *Manager) newID(now time.Time) (ulid.ULID, error) {
	if y := now.Year(); y < 1970 || y > 9999 {
		return ulid.ULID{}, &FieldError{Field: "now", Limit: "in the years 1970..9999", Size: y}
	}
	return ulid.New(uint64(now.UnixMilli()), m.opts.Rand)
}

// attempts is how often a call is made again whose outcome the store could not tell.
const attempts = 3

// again runs a call that recognises its own earlier commit, until its outcome is known. That a later attempt was not committed
// says nothing of the earlier.
func again(call func() error) error {
	err := call()
	for i := 1; i < attempts && errors.Is(err, store.ErrUnknownOutcome); i++ {
		if err = call(); errors.Is(err, store.ErrNotCommitted) {
			err = fmt.Errorf("%w, and repeated: %v", store.ErrUnknownOutcome, err)
		}
	}
	return err
}
