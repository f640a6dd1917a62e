package revocation_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// world is where a story takes place: one database and its manager, appliers that step when they are told to, a clock that ticks
// once a command, and a name for everything. It lives in a synctest bubble.
type world struct {
	*testing.T
	name, dir string                            // of the backend, and for its files
	fault     func(store.Backend) store.Backend // nil for none
	files     int
	backend   store.Backend
	manager   *tokenstore.Manager
	store     store.Store
	appliers  map[string]*applier
	rand      *rand.ChaCha8
	clockOff  time.Duration // how far the clock of the records is from that of the world

	tokens      map[string]*held
	order       []string // of the tokens
	revocations map[string]ulid.ULID
	logins      map[string]login
	policies    map[string]tokenstore.ClientPolicy
	evicted     []string
	faults      map[string]int // by revocation, how many more slices that sweep it will fail
	bounds      store.Bounds   // of a slice, if they are narrower than the applier's own
	unheard     bool           // nobody is told of what is revoked
}

// held is a token as its client has it, and as it was let in.
type held struct {
	token   tokenstore.RefreshToken
	secrets []tokenstore.Secret // all that it had
}

// login is what a host keeps of an authentication.
type login struct {
	sequence uint64
	at       time.Time
}

// applier is an engine that takes its steps one by one, with what was overheard of them.
type applier struct {
	engine  *revocation.Engine
	stepper *revocation.Stepper
	heard   *overheard
}

const storySlice = 2 // how many tokens a slice removes

func newWorld(t *testing.T, backend, dir string, fault func(store.Backend) store.Backend) *world {
	w := &world{
		T: t, name: backend, dir: dir, fault: fault, rand: rand.NewChaCha8([32]byte{1}), tokens: map[string]*held{}, revocations: map[string]ulid.ULID{},
		logins: map[string]login{}, policies: map[string]tokenstore.ClientPolicy{}, faults: map[string]int{},
	}
	time.Sleep(time.Until(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)))
	w.backend = w.faulty(memstore.New())
	if backend == "boltstore" {
		w.backend = w.open()
	}
	w.begin()
	return w
}

func (w *world) close() {
	if err := w.backend.Close(); err != nil {
		w.Error(err)
	}
}

func (w *world) file() string { return filepath.Join(w.dir, fmt.Sprint("tokens-", w.files, ".db")) }

func (w *world) open() store.Backend {
	b, err := boltstore.Open(w.file(), nil)
	if err != nil {
		w.Fatal(err)
	}
	return w.faulty(b)
}

// faulty is the backend with its fault, if there is to be one.
func (w *world) faulty(b store.Backend) store.Backend {
	if w.fault == nil {
		return b
	}
	return w.fault(b)
}

// begin starts a process on the database: a manager, and the applier a1.
func (w *world) begin() {
	m, err := tokenstore.New(w.backend, &tokenstore.Options{
		Now: w.now, Rand: w.rand, Lifetime: tokenstore.Never, IdleLifetime: tokenstore.Never, Client: func(id string) tokenstore.ClientPolicy { return w.policies[id] },
		Evicted: func(_ string, token tokenstore.RefreshToken) { w.evicted = append(w.evicted, w.tokenName(token.ID)) },
		Engine:  revocation.Options{Events: revocation.Events{Revoked: w.revoked}},
	})
	if err != nil {
		w.Fatal(err)
	}
	if w.store, err = w.backend.Tenant("default"); err != nil {
		w.Fatal(err)
	}
	w.manager, w.appliers = m, map[string]*applier{}
	w.newApplier("a1")
}

func (w *world) newApplier(name string) {
	heard := &overheard{Backend: w.backend, w: w}
	e, err := revocation.New(heard, &revocation.Options{Now: w.now, MaxSlice: storySlice})
	if err != nil {
		w.Fatal(err)
	}
	w.appliers[name] = &applier{e, revocation.NewStepper(e), heard}
}

// crash ends all processes in an instant and begins anew with what the database holds. The memory backend stands for one that
// outlives its clients; the file is what it was at that instant, without having been closed.
func (w *world) crash() {
	if w.name == "boltstore" {
		image, err := os.ReadFile(w.file())
		if err != nil {
			w.Fatal(err)
		}
		w.close() // late, and of no effect on the image
		w.files++
		if err := os.WriteFile(w.file(), image, 0o600); err != nil {
			w.Fatal(err)
		}
		w.backend = w.open()
	}
	w.begin()
}

func (w *world) now() time.Time { return time.Now().UTC().Add(w.clockOff) }

// newID draws the id of a revocation, which is the caller's to choose.
func (w *world) newID() ulid.ULID { return ulid.MustNew(uint64(w.now().UnixMilli()), w.rand) }

// revoked hears of a revocation as the process does that recorded it, and wakes its applier. One that a replay caused has no name
// yet.
func (w *world) revoked(tenant string, t domain.Tombstone) {
	if w.revocationName(t.ID) == "" {
		w.revocations[fmt.Sprint(t.Reason, len(w.revocations)+1)] = t.ID
	}
	if !w.unheard {
		w.appliers["a1"].engine.Recorded(tenant, t)
	}
}

func (w *world) tokenName(id ulid.ULID) string {
	for name, h := range w.tokens {
		if h.token.ID == id {
			return name
		}
	}
	return ""
}

func (w *world) revocationName(id ulid.ULID) string {
	for name, other := range w.revocations {
		if other == id {
			return name
		}
	}
	return ""
}

// names are those of tokens, in the order in which they were let in.
func (w *world) names(tokens []tokenstore.RefreshToken) string {
	var names []string
	for _, token := range tokens {
		names = append(names, w.tokenName(token.ID))
	}
	slices.SortFunc(names, func(a, b string) int { return slices.Index(w.order, a) - slices.Index(w.order, b) })
	return list(names)
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, " ")
}

// target says a target in the words of the command revoke.
func (w *world) target(t domain.Target) string {
	var words []string
	say := func(word, value string) {
		if value != "" {
			words = append(words, word+value)
		}
	}
	if !t.TokenID.IsZero() {
		say("token=", w.tokenName(t.TokenID))
	}
	if strings.HasPrefix(t.UserID, "erased-") {
		t.UserID = "(pseudonym)"
	}
	say("user=", t.UserID)
	say("client=", t.ClientID)
	say("session=", t.SessionID)
	if !t.LegacyBefore.IsZero() {
		words = append(words, "legacy")
	}
	if t.Everything {
		words = append(words, "everything")
	}
	return strings.Join(words, " ")
}

// status says how a revocation stands.
func (w *world) status(s store.Status) string {
	how := "pending"
	switch {
	case !s.SupersededBy.IsZero():
		how = "superseded by " + w.revocationName(s.SupersededBy)
	case s.Retired:
		how = "retired"
	}
	return fmt.Sprintf("%s: %s, watermark %d, %d swept", w.revocationName(s.Tombstone.ID), how, s.Tombstone.Watermark, s.Swept)
}
