package tokenstoretest

import (
	"fmt"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// runMetamorphic is a case of the law that neither the backend nor the way in which it is used can be told from its answers.
// One list of actions is drawn, and happens to several worlds: one on the backend that keeps everything in memory, with large
// pages and a sweep at the very end, and one on each of the configured backends, with pages and batches of any size, swept early,
// late, in slices, by two appliers or by the engine, and opened again. Every action must have the same answer in all of them, and at
// rest all must be the same.
//
// What a sweep may have done already or not is not compared: whether a dead token, which is one that is revoked or expired,
// is still there, and so by which of the causes it is refused. Instead each world must give the cause that goes with what it
// holds.
func runMetamorphic(t *rapid.T, tb testing.TB, c Config) {
	shared := drawPremises(t)
	actions := rapid.SliceOfN(rapid.Custom(shared.drawAction), 8, 50).Draw(t, "actions")
	memory := Config{New: func(testing.TB) store.Backend { return memstore.New() }}
	reference := newWorld(t, tb, memory, shared, way{Page: store.MaxPage, Batch: store.MaxBatch, Sweep: sweepLate, Slice: 100})
	defer reference.release()
	answers := reference.live(t, actions)
	for i, config := range append([]Config{c}, c.Others...) {
		if i > 0 && rapid.Bool().Draw(t, "leaveOut") {
			continue // for the sake of time
		}
		config.NoBubble = c.NoBubble
		w := newWorld(t, tb, config, shared, drawWay(t, config))
		defer w.release()
		for i, got := range w.live(t, actions) {
			if want := answers[i]; got.text != want.text && !got.unseen && !want.unseen {
				fail(t, "metamorphic: the same actions must have the same answers on every backend, however it is used",
					"%s; in memory:\n%s\non %T, %+v:\n%s", got.to, want.text, w.backend, w.way, got.text)
			}
		}
	}
}

// sight is the canonical form of what can be seen of an action, or at the end.
type sight struct {
	to     string // the action
	text   string
	unseen bool // the backend does not show this
}

// way is how a backend is used, which nobody may see.
type way struct {
	Page   int      // rows of a page
	Batch  int      // tokens of an import
	Sweep  sweeping // when the sweep gets on
	Slice  int      // rows that a slice looks at
	Reopen int      // after how many actions the backend is opened again; 0 for never
}

type sweeping string

const (
	sweepLate   sweeping = "late"   // at the very end
	sweepEarly  sweeping = "early"  // after each action, to the end
	sweepSome   sweeping = "some"   // after each action, one slice
	sweepTwo    sweeping = "two"    // after each action, one slice by each of two appliers, the latest first by the second
	sweepEngine sweeping = "engine" // by the engine, in virtual time
)

func drawWay(t *rapid.T, c Config) way {
	w := way{
		Page:  pick(t, "page", 1, 2, 3, 7, store.MaxPage),
		Batch: pick(t, "batch", 1, 2, 3, store.MaxBatch),
		Sweep: pick(t, "sweep", sweepLate, sweepEarly, sweepSome, sweepTwo),
		Slice: pick(t, "slice", 1, 2, 3, 100),
	}
	if !c.NoBubble && chance(t, "engine", 3) {
		w.Sweep = sweepEngine
	}
	if c.Reopen != nil {
		w.Reopen = pick(t, "reopen", 0, 0, 3, 10)
	}
	return w
}

// premises are what all worlds have in common beside the actions.
type premises struct {
	seed      byte
	options   tokenstore.Options
	resources []resource // what is imported
}

// resource is a token from elsewhere, and the secret that it had there.
type resource struct {
	token  tokenstore.RefreshToken
	opaque string
}

func drawPremises(t *rapid.T) *premises {
	m := &premises{seed: byte(rapid.IntRange(0, 255).Draw(t, "seed"))}
	m.options = tokenstore.Options{
		Tenant: tenantNames[0], Legacy: tokenstore.LegacyRule{AllowNoSession: true},
		Lifetime: tokenstore.Lifetime(absolute), IdleLifetime: tokenstore.Lifetime(idle), Skew: skew,
		Leeway:        pick(t, "leeway", 10*time.Second, -1),
		RetryLimit:    pick(t, "retryLimit", uint32(0), 2),
		Replay:        pick(t, "replay", tokenstore.ReplayToken, tokenstore.ReplaySession, tokenstore.ReplayUser),
		LastUsedEvery: pick(t, "lastUsedEvery", 0, time.Minute),
		Outbox:        tokenstore.AllKinds,
		Engine:        revocation.Options{MemoryFor: -1, HistoryFor: -1, OutboxFor: -1, MaxSlice: 2, PollEvery: time.Minute},
	}
	for i := range rapid.IntRange(1, len(fixedIDs)).Draw(t, "resources") {
		m.resources = append(m.resources, drawResource(t, i))
	}
	return m
}

// drawResource draws a token that never expires, as one that has would be let in again or not.
func drawResource(t *rapid.T, i int) resource {
	l := drawGrant(t)
	l.created = pick(t, "created", start, start.Add(-idle), start.Add(time.Minute), cutOff.Add(-idle))
	if l.created.Before(cutOff) {
		l.session = ""
	}
	servers, err := domain.NewResourceServers(resourceServers(l.audiences)...)
	if err != nil {
		fail(t, "resource servers must be accepted", "%v", err)
	}
	r := resource{token: tokenstore.RefreshToken{
		UserID: l.user, ClientID: l.client, SessionID: sessionID(l.session), CreatedAt: l.created, Offline: l.offline,
		ResourceServers: servers, Rotating: rapid.Bool().Draw(t, "rotating"),
	}}
	if r.token.ID = fixedIDs[i]; rapid.Bool().Draw(t, "foreign") {
		r.token.ID, r.token.ForeignID = ulid.ULID{}, fmt.Sprint("ext-", i)
	}
	if rapid.Bool().Draw(t, "opaque") {
		r.opaque = fmt.Sprint("opaque-", i)
		r.token.ForeignDigest, r.token.ForeignWeak = tokenstore.DigestForeign(r.opaque), rapid.Bool().Draw(t, "weak")
	}
	return r
}
