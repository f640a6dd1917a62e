package storecheck_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"example.com/tokenstore/store/storecheck"
	"github.com/oklog/ulid/v2"
)

var instant = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fill puts into a tenant tokens of all sorts: with and without a session, with a secret from elsewhere, expired, revoked and not swept,
// swept, evicted; and an erased user. There are 7 beside the many. It returns the id of one that nothing is the matter with, and what leaves
// the tenant with something pending: an engine sweeps whatever is in its backend, so no other is filled afterwards.
func fill(t *testing.T, b store.Backend, tenant string, many int) (kept ulid.ULID, leave func()) {
	t.Helper()
	ctx, now := t.Context(), instant
	policy := tokenstore.ClientPolicy{}
	m, err := tokenstore.New(b, &tokenstore.Options{
		Tenant: tenant, Now: func() time.Time { return now }, Outbox: store.AllKinds, Client: func(string) tokenstore.ClientPolicy { return policy },
		Engine: revocation.Options{ExpireEvery: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	issue := func(user, client, session string) ulid.ULID {
		t.Helper()
		now = now.Add(time.Second)
		out, err := m.Issue(ctx, tokenstore.IssueRequest{UserID: user, ClientID: client, SessionID: tokenstore.MustSessionID(session)})
		must(err)
		return out.Token.ID
	}
	revoke := func(target tokenstore.Target) tokenstore.Receipt {
		t.Helper()
		receipt, err := m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{target}, Reason: "test", Actor: "ops"})
		must(err)
		return receipt
	}
	kept = issue("ann", "web", "a")
	for i := range many { // of one user
		issue("kim", fmt.Sprint("client-", i%3), fmt.Sprint("session-", i%7))
	}
	for i, digest := range []tokenstore.Digest{{1}, {2}, {}} {
		results, err := m.Import(ctx, []tokenstore.RefreshToken{{
			ID: ulid.ULID{0: 1, 15: byte(i + 1)}, UserID: "lee", ClientID: "web", CreatedAt: time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC), ForeignDigest: digest,
		}})
		must(errors.Join(err, results[0].Err))
	}
	policy.Cap = 1
	issue("max", "web", "m1")
	issue("max", "web", "m2")
	policy = tokenstore.ClientPolicy{Lifetime: tokenstore.Lifetime(time.Second)}
	issue("old", "web", "o")
	policy = tokenstore.ClientPolicy{}
	issue("ben", "web", "b")
	gone := []tokenstore.Receipt{revoke(tokenstore.Target{UserID: "ben"}), revoke(tokenstore.Target{Audience: "nobody"}), revoke(tokenstore.Target{SessionID: "m2"})}
	issue("eve", "web", "e")
	erased, err := m.Erase(ctx, tokenstore.EraseRequest{UserID: "eve"})
	must(err)
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- m.Run(running) }()
	for _, receipt := range append(gone, erased) {
		_, err := m.Wait(ctx, receipt)
		must(err)
	}
	stop()
	must(<-ended)
	return kept, func() {
		issue("dan", "web", "d")
		now = now.Add(time.Second)
		issue("ann", "app", "a")
		revoke(tokenstore.Target{UserID: "dan"})
		revoke(tokenstore.Target{ClientID: "client-1"})
	}
}

// filled does all of fill, for a single tenant.
func filled(t *testing.T, b store.Backend, tenant string, many int) ulid.ULID {
	t.Helper()
	kept, leave := fill(t, b, tenant, many)
	leave()
	return kept
}

// later is when the expired are.
func later() time.Time { return instant.Add(time.Hour) }

func check(t *testing.T, b store.Backend) storecheck.Report {
	t.Helper()
	report, err := storecheck.Check(t.Context(), b, &storecheck.Options{Now: later})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// Where all is well nothing is found; what is due is counted, and no damage.
func TestSound(t *testing.T) {
	file, err := boltstore.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for name, b := range map[string]store.Backend{"memory": memstore.New(), "file": file} {
		t.Run(name, func(t *testing.T) {
			_, leave := fill(t, b, "acme", 130) // more than a page
			if _, err := tokenstore.Restore(t.Context(), b, tokenstore.RestoreRequest{Override: true, Now: later}); err != nil {
				t.Fatal(err)
			}
			_, alsoLeave := fill(t, b, "globex", 130)
			leave()
			alsoLeave()
			report := check(t, b)
			t.Attr("cases", strconv.Itoa(report.Tokens))
			if len(report.Findings) > 0 {
				t.Errorf("nothing is wrong, and it found %q", report.Findings)
			}
			// Of each tenant 130 of kim, of which every third is revoked, and three of lee, one of dan, revoked, one of old, expired, two of ann.
			if report.Tenants != 2 || report.Tokens != 2*137 || report.Covered != 2*44 || report.Expired != 2 || report.Changed != 0 ||
				report.Revocations < 12 || report.Guards < 8 || report.Events == 0 {
				t.Errorf("the report is %+v", report)
			}
		})
	}
}

// damaged is a store some of whose verbs are damaged.
type damaged struct {
	store.Store
	get         func(view *store.View)
	list        func(q store.Query, tokens []tokenstore.RefreshToken) []tokenstore.RefreshToken
	find        func(id *ulid.ULID)
	revocations func(all []store.Status) []store.Status
	state       func(*store.State)
	guards      func([]domain.Guard) []domain.Guard
	feed        func([]store.Event) []store.Event
	restored    []store.Restored
}

func (d damaged) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	view, err := d.Store.Get(ctx, id)
	if d.get != nil && err == nil {
		if d.get(&view); view.Token.ID.IsZero() {
			return view, store.ErrNotFound
		}
	}
	return view, err
}

// List reads beyond what a drop takes away, so that a page has as many as it should.
func (d damaged) List(ctx context.Context, q store.Query) (store.Page, error) {
	if d.list == nil {
		return d.Store.List(ctx, q)
	}
	var all []tokenstore.RefreshToken
	whole := q
	whole.After, whole.Limit = ulid.ULID{}, store.MaxPage
	for {
		page, err := d.Store.List(ctx, whole)
		if err != nil {
			return page, err
		}
		all = append(all, page.Tokens...)
		if whole.After = page.Next; whole.After.IsZero() {
			break
		}
	}
	all = d.list(q, all)
	all = slices.DeleteFunc(all, func(token tokenstore.RefreshToken) bool { return token.ID.Compare(q.After) <= 0 })
	page := store.Page{Tokens: all[:min(len(all), q.Limit)]}
	if len(all) > q.Limit {
		page.Next = page.Tokens[q.Limit-1].ID
	}
	return page, nil
}

func (d damaged) Find(ctx context.Context, foreign tokenstore.Digest) (ulid.ULID, error) {
	id, err := d.Store.Find(ctx, foreign)
	if d.find != nil {
		d.find(&id)
	}
	return id, err
}

func (d damaged) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	page, err := d.Store.Revocations(ctx, q)
	if d.revocations != nil {
		page.Revocations = d.revocations(page.Revocations)
	}
	return page, err
}

func (d damaged) State(ctx context.Context) (store.State, error) {
	state, err := d.Store.State(ctx)
	if d.state != nil {
		d.state(&state)
	}
	return state, err
}

func (d damaged) Guards(ctx context.Context, q store.GuardQuery) (store.GuardPage, error) {
	mover, _ := store.As[store.Mover](d.Store)
	page, err := mover.Guards(ctx, q)
	if d.guards != nil {
		page.Guards = d.guards(page.Guards)
	}
	return page, err
}

func (d damaged) Remember(context.Context, store.Memory) error { return errors.ErrUnsupported }

func (d damaged) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	outbox, _ := store.As[store.Outbox](d.Store)
	page, err := outbox.Feed(ctx, after, limit)
	if d.feed != nil {
		page.Events = d.feed(page.Events)
	}
	return page, err
}

func (d damaged) Gapless() bool { return true }

func (d damaged) Restorations(context.Context) ([]store.Restored, error) { return d.restored, nil }

func (d damaged) Restore(context.Context, store.Restoration) (store.Restored, error) {
	return store.Restored{}, errors.ErrUnsupported
}

type damagedBackend struct {
	store.Backend
	damage  damaged
	pending []string
}

func (b damagedBackend) Tenant(name string) (store.Store, error) {
	s, err := b.Backend.Tenant(name)
	d := b.damage
	d.Store = s
	return d, err
}

func (b damagedBackend) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	if b.pending != nil {
		return slices.DeleteFunc(slices.Clone(b.pending), func(name string) bool { return name <= after }), nil
	}
	return b.Backend.Pending(ctx, after, limit)
}

// move moves an id so far in the order of ids, whatever its last byte is.
func move(id *ulid.ULID, by int64) {
	binary.BigEndian.PutUint64(id[8:], binary.BigEndian.Uint64(id[8:])+uint64(by))
}

// Each damage is found, and named by what it is.
func TestFindsDamage(t *testing.T) {
	b := memstore.New()
	kept := filled(t, b, "acme", 12)
	drop := func(of func(store.Query) bool) damaged {
		return damaged{list: func(q store.Query, all []tokenstore.RefreshToken) []tokenstore.RefreshToken {
			return slices.DeleteFunc(all, func(token tokenstore.RefreshToken) bool { return token.ID == kept && of(q) })
		}}
	}
	add := func(of func(store.Query) bool, change func(*tokenstore.RefreshToken), at int) damaged {
		return damaged{list: func(q store.Query, all []tokenstore.RefreshToken) []tokenstore.RefreshToken {
			i := slices.IndexFunc(all, func(token tokenstore.RefreshToken) bool { return token.ID == kept })
			if i < 0 || !of(q) {
				return all
			}
			token := all[i]
			change(&token)
			return slices.Insert(all, i+at, token)
		}}
	}
	every := func(q store.Query) bool { return q.UserID == "" && q.SessionID == "" }
	user := func(q store.Query) bool { return q.UserID != "" && q.ClientID == "" }
	both := func(q store.Query) bool { return q.UserID != "" && q.ClientID != "" }
	session := func(q store.Query) bool { return q.SessionID != "" }
	live := func(view *store.View) { view.RevokedBy = ulid.ULID{} }
	damages := map[string]struct {
		damage damaged
		want   string
	}{
		"not in the list of its user":         {drop(user), "token " + kept.String() + " is not in the list of its user"},
		"not in that of its client":           {drop(both), "token " + kept.String() + " is not in the list of its user and client"},
		"not in that of its session":          {drop(session), "token " + kept.String() + " is not in the list of its session"},
		"not in that of all":                  {drop(every), "it counts 19 tokens, and has 18"},
		"a stranger in the list of a user":    {add(user, func(token *tokenstore.RefreshToken) { move(&token.ID, 1) }, 1), "is in the list of its user, and not there by its id"},
		"a stranger before it":                {add(user, func(token *tokenstore.RefreshToken) { move(&token.ID, -1) }, 0), "is in the list of its user, and not there by its id"},
		"a stranger in the list of all":       {add(every, func(token *tokenstore.RefreshToken) { move(&token.ID, 1) }, 1), "is in the list of its tenant, and not there by its id"},
		"twice in the list of a session":      {add(session, func(*tokenstore.RefreshToken) {}, 1), "the list of a session shows token " + kept.String() + " after " + kept.String()},
		"another record in the list":          {damaged{list: relabel(kept, user, func(token *tokenstore.RefreshToken) { token.Generation++ })}, "is another by its id than in the list of its user"},
		"another digest by its id":            {damaged{get: func(v *store.View) { v.Token.SecretDigest[0] ^= 1 }}, "is another by its id than in the list of its tenant"},
		"not there by its id":                 {damaged{get: func(v *store.View) { dropID(v, kept) }}, "token " + kept.String() + " is in the list of its tenant, and not there by its id"},
		"a token of another user":             {damaged{list: mixUsers(user)}, "is in the list of another user"},
		"a secret that leads elsewhere":       {damaged{find: func(id *ulid.ULID) { *id = kept }}, "is not found by the secret that it had elsewhere"},
		"a fence that lets through":           {damaged{get: live}, "is live, and was revoked by"},
		"a revocation that covers another":    {damaged{get: swapCover()}, "which does not cover it"},
		"a revocation that is not there":      {damaged{get: func(v *store.View) { v.RevokedBy[15] ^= 1 - b2(v.RevokedBy.IsZero()) }}, "which is not there"},
		"a revocation without watermark":      {damaged{revocations: each(func(s *store.Status) { s.Tombstone.Watermark = 0 })}, "has no watermark"},
		"a revocation without targets":        {damaged{revocations: each(func(s *store.Status) { s.Tombstone.Targets = nil })}, "breaks a limit"},
		"a revocation of no time":             {damaged{revocations: each(func(s *store.Status) { s.Tombstone.Through = time.Time{} })}, "has no time"},
		"a revocation that ends before it is": {damaged{revocations: each(func(s *store.Status) { s.Retired = !s.Retired })}, "is retired and not retired"},
		"a revocation that is not listed":     {damaged{revocations: func(all []store.Status) []store.Status { return all[min(1, len(all)):] }}, "pending revocations, and has"},
		"a guard that is missing":             {damaged{guards: func(all []domain.Guard) []domain.Guard { return all[min(1, len(all)):] }}, "guards, and has"},
		"a guard of something live": {damaged{guards: func(all []domain.Guard) []domain.Guard {
			all[0].Target, all[0].Watermark = tokenstore.Target{SessionID: "a"}, 1000
			return all
		}}, "a guard remembers it"},
		"a wide guard of something live": {damaged{guards: func(all []domain.Guard) []domain.Guard {
			all[0].Target, all[0].Watermark = tokenstore.Target{ClientID: "web"}, 1000
			return all
		}}, "a guard remembers it"},
		"a guard that is ahead":  {damaged{guards: func(all []domain.Guard) []domain.Guard { all[0].Watermark = 1 << 50; return all }}, "and the latest is"},
		"a guard without target": {damaged{guards: func(all []domain.Guard) []domain.Guard { all[0].Target = tokenstore.Target{}; return all }}, "breaks a limit"},
		"an event that is missing": {damaged{feed: func(all []store.Event) []store.Event {
			return slices.DeleteFunc(all, func(e store.Event) bool { return e.Number == 3 })
		}}, "after event 2 comes 4"},
		"an event of no kind": {damaged{feed: func(all []store.Event) []store.Event {
			all = slices.Clone(all)
			for i := range all {
				all[i].Kind = 0
			}
			return all
		}}, "has no kind"},
		"a count of tokens":           {damaged{state: func(s *store.State) { s.Tokens++ }}, "it counts 20 tokens, and has 19"},
		"a count of sessionless ones": {damaged{state: func(s *store.State) { s.Sessionless-- }}, "it counts 2 tokens without a session, and has 3"},
		"a sequence that is behind":   {damaged{state: func(s *store.State) { s.Sequence = 1 }}, "and the latest is 1"},
		"a sequence behind, no guard": {damaged{
			state:  func(s *store.State) { s.Sequence, s.Guards = 1, 0 },
			guards: func([]domain.Guard) []domain.Guard { return nil },
		}, "and the latest is 1"},
		"a latest event that is behind": {damaged{state: func(s *store.State) { s.LastEvent = 1 }}, "and the latest is 1"},
		"the oldest pending one":        {damaged{state: func(s *store.State) { s.OldestPending = instant }}, "oldest pending"},
		"an unfinished restoration":     {damaged{restored: []store.Restored{{ID: kept, Method: store.RestoreCutoff}}}, "restoration " + kept.String() + ", by cutoff, is unfinished"},
	}
	for name, c := range damages {
		t.Run(name, func(t *testing.T) {
			report := check(t, damagedBackend{Backend: b, damage: c.damage})
			if !strings.Contains(strings.Join(report.Findings, "\n"), c.want) {
				t.Errorf("want %q, found %q", c.want, report.Findings)
			}
			if len(report.Findings) > storecheck.MaxFindings {
				t.Errorf("%d findings", len(report.Findings))
			}
		})
	}
	t.Run("not named as pending", func(t *testing.T) {
		report := check(t, damagedBackend{Backend: b, pending: []string{"another"}})
		if len(report.Findings) != 1 || !strings.Contains(report.Findings[0], "something pending: false, with 2 pending") {
			t.Errorf("found %q", report.Findings)
		}
	})
	t.Attr("cases", strconv.Itoa(len(damages)+1))
}

// relabel changes a record where a list shows it.
func relabel(id ulid.ULID, of func(store.Query) bool, change func(*tokenstore.RefreshToken)) func(store.Query, []tokenstore.RefreshToken) []tokenstore.RefreshToken {
	return func(q store.Query, all []tokenstore.RefreshToken) []tokenstore.RefreshToken {
		for i := range all {
			if all[i].ID == id && of(q) {
				change(&all[i])
			}
		}
		return all
	}
}

// mixUsers shows the tokens of lee to who asks for those of ann.
func mixUsers(of func(store.Query) bool) func(store.Query, []tokenstore.RefreshToken) []tokenstore.RefreshToken {
	var lee []tokenstore.RefreshToken
	return func(q store.Query, all []tokenstore.RefreshToken) []tokenstore.RefreshToken {
		if q.UserID == "lee" && q.ClientID == "" {
			lee = slices.Clone(all)
		}
		if of(q) && q.UserID == "ann" {
			all = append(slices.Clone(lee), all...)
		}
		return all
	}
}

// dropID has a token not be there.
func dropID(v *store.View, id ulid.ULID) {
	if v.Token.ID == id {
		*v = store.View{}
	}
}

// swapCover names, for each covered token, the revocation that was named for the first.
func swapCover() func(*store.View) {
	var first ulid.ULID
	return func(v *store.View) {
		if !v.Revoked() {
			return
		}
		if first.IsZero() {
			first = v.RevokedBy
		}
		v.RevokedBy = first
	}
}

func each(change func(*store.Status)) func([]store.Status) []store.Status {
	return func(all []store.Status) []store.Status {
		for i := range all {
			change(&all[i])
		}
		return all
	}
}

// b2 is 1 for true.
func b2(is bool) byte {
	if is {
		return 1
	}
	return 0
}

// What others change, remove and add between two looks is no damage.
func TestMeanwhile(t *testing.T) {
	b := memstore.New()
	kept := filled(t, b, "acme", 12)
	m, err := tokenstore.New(b, &tokenstore.Options{Tenant: "acme", Now: later})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	doomed := ulid.ULID{0: 1, 15: 2}
	writes := 0
	write := func(view *store.View) {
		if writes++; writes > 2*looks {
			return
		}
		switch view.Token.ID {
		case kept:
			_, err := m.UpdateMetadata(t.Context(), kept, map[string]string{"n": strconv.Itoa(writes)})
			must(err)
		case doomed:
			receipt, err := m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{TokenID: doomed}}})
			must(err)
			s, err := b.Tenant("acme")
			must(err)
			_, err = s.Apply(t.Context(), []ulid.ULID{receipt.ID()}, store.Bounds{Visit: 10, Remove: 10, Now: later()})
			must(err)
		default:
			_, err := m.Issue(t.Context(), tokenstore.IssueRequest{UserID: "kim", ClientID: "web", SessionID: tokenstore.MustSessionID("new")})
			must(err)
			writes--
		}
	}
	report := check(t, damagedBackend{Backend: b, damage: damaged{get: write}})
	if len(report.Findings) > 0 || report.Changed != 1 {
		t.Errorf("nothing is wrong, and it found %q; %d tenants have changed", report.Findings, report.Changed)
	}
	if _, err := m.Get(t.Context(), doomed, tokenstore.Eventual); !errors.Is(err, tokenstore.ErrNotFound) || writes == 0 {
		t.Errorf("nothing was removed meanwhile: %v", err)
	}
}

// looks is less than how often something is looked at.
const looks = 2
