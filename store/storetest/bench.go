package storetest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// benchTokens is how many tokens a store holds while it is measured: STORETEST_TOKENS, or ten thousand.
func benchTokens(b *testing.B) int {
	b.Helper()
	text := os.Getenv("STORETEST_TOKENS")
	if text == "" {
		return 10_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 {
		b.Fatalf("STORETEST_TOKENS must be a number, 1000 at least: got %q", text)
	}
	return n
}

const benchSlice = 500 // benchSlice is how many rows of a sweep are one commit.

// Bench measures the verbs of a backend as a manager uses them, each on a store of ten thousand tokens of a thousand users.
// The environment variable STORETEST_TOKENS asks for another number of tokens, such as 1000000.
func Bench(b *testing.B, c Config) {
	b.Helper()
	var e *env
	for _, bench := range []struct {
		name string
		run  func(b *testing.B, w *tenant, held []holder)
	}{
		{"issue", benchIssue},
		{"exchange/rotating", func(b *testing.B, w *tenant, held []holder) { benchExchange(b, held[0]) }},
		{"exchange/static", func(b *testing.B, w *tenant, held []holder) { benchExchange(b, held[1]) }},
		{"introspect", benchIntrospect},
		{"introspect/pending", func(b *testing.B, w *tenant, held []holder) { benchPending(b, w, e.tenant(b), held) }},
		{"get", benchGet},
		{"list/page", benchList},
		{"revoke/token", benchRevokeToken},
		{"revoke/user", benchRevokeUser},
		{"sweep/1000", benchSweep},
		{"expire/1000", benchExpire},
	} {
		b.Run(bench.name, func(b *testing.B) {
			e = &env{config: c, ctx: b.Context(), backend: c.New(b)}
			defer e.backend.Close()
			w := e.tenant(b)
			held := w.fill(b)
			b.ReportAllocs()
			bench.run(b, w, held)
		})
	}
}

// fill inserts the tokens, of which every other rotates.
func (w *tenant) fill(b *testing.B) []holder {
	b.Helper()
	total := benchTokens(b)
	held := make([]holder, 0, total)
	batch := make([]domain.RefreshToken, 0, store.MaxBatch)
	for i := range total {
		token := w.token(fmt.Sprint("user-", i%1000), "client", fmt.Sprint("session-", i))
		h := holder{tenant: w, id: token.ID, credential: must(domain.NewCredential(token.ID, w.random))}
		token.Rotating = i%2 == 0
		token.FamilyDigest, token.SecretDigest = h.credential.FamilyDigest(), h.credential.SecretDigest()
		held = append(held, h)
		if batch = append(batch, token); len(batch) == cap(batch) || i == total-1 {
			w.insert(b, batch...)
			batch = batch[:0]
		}
	}
	return held
}

func benchIssue(b *testing.B, w *tenant, _ []holder) {
	for b.Loop() {
		w.add(b, "user-1", "client", "session")
	}
}

func benchExchange(b *testing.B, h holder) {
	var salt byte
	for b.Loop() {
		salt++
		secret, err := h.do(h.exchange("client", salt), func() {})
		if err != nil {
			b.Fatal(err)
		}
		if h.credential, err = domain.ParseSecret(secret); err != nil {
			b.Fatal(err)
		}
	}
}

func benchIntrospect(b *testing.B, w *tenant, held []holder) {
	for i := 0; b.Loop(); i++ {
		h := &held[i%len(held)]
		view, err := w.Get(w.ctx, h.id)
		if err != nil {
			b.Fatal(err)
		}
		if refusal := h.credential.Introspect(&view.Token, view.Revoked(), base, nil); refusal != "" {
			b.Fatal(refusal)
		}
	}
}

const benchHot = 10_000 // benchHot is how many revocations are pending where many are.

// benchPending measures what many pending revocations, none of which covers the tokens that are looked at, cost: as a ratio
// to a tenant that has none, the median of turns of a hundred each.
func benchPending(b *testing.B, calm, hot *tenant, held []holder) {
	hotHeld := hot.fill(b)
	for i := range benchHot {
		target := domain.Target{UserID: fmt.Sprint("other-", i)}
		if i%2 == 0 {
			target = domain.Target{SessionID: fmt.Sprint("other-", i)}
		}
		hot.revoke(b, target)
	}
	turn := func(w *tenant, held []holder, from int) time.Duration {
		began := time.Now()
		for i := range 100 {
			if _, err := w.Get(w.ctx, held[(from+i)%len(held)].id); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(began)
	}
	var ratios []float64
	for i := 0; b.Loop(); i++ {
		with, without := turn(hot, hotHeld, 100*i), turn(calm, held, 100*i)
		ratios = append(ratios, float64(with)/float64(without))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "x-of-none")
}

func benchGet(b *testing.B, w *tenant, held []holder) {
	for i := 0; b.Loop(); i++ {
		if _, err := w.Get(w.ctx, held[i%len(held)].id); err != nil {
			b.Fatal(err)
		}
	}
}

func benchList(b *testing.B, w *tenant, _ []holder) {
	q := store.Query{Limit: store.MaxPage}
	for b.Loop() {
		page, err := w.List(w.ctx, q)
		if err != nil {
			b.Fatal(err)
		}
		q.After = page.Next // from the first page again after the last
	}
}

func benchRevokeToken(b *testing.B, w *tenant, held []holder) {
	for i := 0; b.Loop(); i++ {
		w.revoke(b, domain.Target{TokenID: held[i%len(held)].id})
	}
}

func benchRevokeUser(b *testing.B, w *tenant, _ []holder) {
	users := make([]string, 1000)
	for i := range users {
		users[i] = fmt.Sprint("user-", i)
	}
	for i := 0; b.Loop(); i++ {
		w.revoke(b, domain.Target{UserID: users[i%len(users)]})
	}
}

// benchSweep removes a thousand tokens of one user in each round. Making them is not counted.
func benchSweep(b *testing.B, w *tenant, _ []holder) {
	batch := make([]domain.RefreshToken, 1000)
	for b.Loop() {
		b.StopTimer()
		for i := range batch {
			batch[i] = w.token("swept", "client", "swept")
		}
		w.insert(b, batch...)
		ids := []ulid.ULID{w.revoke(b, domain.Target{UserID: "swept"}).Tombstone.ID}
		b.StartTimer()
		for done := false; !done; {
			statuses, err := w.Apply(w.ctx, ids, store.Bounds{Visit: benchSlice, Remove: benchSlice, Now: after(time.Hour)})
			if err != nil {
				b.Fatal(err)
			}
			done = len(statuses) == 0 || statuses[0].Retired
		}
	}
}

// benchExpire removes a thousand expired tokens in each round. Making them is not counted.
func benchExpire(b *testing.B, w *tenant, _ []holder) {
	batch := make([]domain.RefreshToken, 1000)
	for b.Loop() {
		b.StopTimer()
		for i := range batch {
			batch[i] = w.token("expired", "client", "expired")
			batch[i].ExpiresAt = after(time.Minute)
		}
		w.insert(b, batch...)
		b.StartTimer()
		w.expire(b, after(time.Hour), store.Bounds{Visit: benchSlice, Remove: benchSlice})
	}
}
