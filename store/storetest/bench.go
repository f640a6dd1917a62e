package storetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// benchTokens is how many tokens a store holds while it is measured.
func (c *Config) benchTokens(b *testing.B) int {
	b.Helper()
	switch {
	case c.Tokens == 0:
		return 10_000
	case c.Tokens < minTokens:
		b.Fatalf("Tokens must be %d at least: got %d", minTokens, c.Tokens)
	}
	return c.Tokens
}

const (
	benchSlice = 500  // benchSlice is how many rows of a sweep are one commit.
	benchBatch = 1000 // benchBatch is how many tokens a call of sweep, expire or import is about.
	benchUsers = 1000
	minTokens  = 1000
)

// Bench measures the verbs of a backend as a manager uses them, by 1, 16 and 64 callers at once, on a store of [Config].Tokens
// tokens of a thousand users. Verbs that may write events are measured without (outbox=none) and with those of all kinds
// (outbox=all). The benchmark "size" reports what a token takes, if [Config].Bytes says it.
//
// The tokens are inserted once, before the first benchmark that needs them.
func Bench(b *testing.B, c Config) {
	b.Helper()
	l := &loaded{env: env{config: c, ctx: b.Context(), backend: c.New(b)}}
	defer func() {
		if err := l.backend.Close(); err != nil {
			b.Errorf("Close must succeed: got %v", err)
		}
	}()
	b.Run("size", l.size)
	b.Run("introspect/pending", l.introspectPending)
	for _, v := range []verb{ // what ends tokens comes last
		{name: "get", bench: (*loaded).get},
		{name: "introspect", bench: (*loaded).introspect},
		{name: "list/page", bench: (*loaded).list},
		{name: "exchange/static", emits: true, bench: (*loaded).exchangeStatic},
		{name: "exchange/rotating", emits: true, bench: (*loaded).exchangeRotating},
		{name: "issue", emits: true, bench: (*loaded).issue},
		{name: "import/1000", emits: true, bench: (*loaded).insert},
		{name: "expire/1000", emits: true, bench: (*loaded).expire},
		{name: "sweep/1000", emits: true, bench: (*loaded).sweep},
		{name: "revoke/token", emits: true, bench: (*loaded).revokeToken},
		{name: "revoke/user", emits: true, bench: (*loaded).revokeUser},
	} {
		v.run(b, l)
	}
}

// verb is what is measured.
type verb struct {
	name  string
	emits bool // it may write events
	bench func(l *loaded, r *turns)
}

func (v *verb) run(b *testing.B, l *loaded) {
	outboxes := []struct {
		name string
		emit store.Kinds
	}{{"", 0}}
	if v.emits {
		outboxes[0].name = "/outbox=none"
		outboxes = append(outboxes, outboxes[0])
		outboxes[1].name, outboxes[1].emit = "/outbox=all", store.AllKinds
	}
	for _, outbox := range outboxes {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s%s/callers=%d", v.name, outbox.name, callers), func(b *testing.B) {
				b.ReportAllocs()
				v.bench(l, &turns{B: b, callers: callers, emit: outbox.emit})
			})
		}
	}
}

// turns are the calls of one benchmark.
type turns struct {
	*testing.B
	callers int
	emit    store.Kinds
}

// each makes the calls: caller c makes the c-th, and every callers-th after it. What was done before is not counted.
func (r *turns) each(call func(caller, turn int) error) {
	r.Helper()
	r.ResetTimer()
	err := concurrently(r.callers, r.N, call)
	r.StopTimer()
	if err != nil {
		r.Fatal(err)
	}
}

// own is the index of a caller's next of n things, none of which two callers share.
func (r *turns) own(caller, turn, n int) int { return caller + r.callers*(turn%(n/r.callers)) }

// concurrently makes n calls. The first error of a caller ends its calls.
func concurrently(callers, n int, call func(caller, turn int) error) error {
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for turn := 0; caller+turn*callers < n && errs[caller] == nil; turn++ {
				errs[caller] = call(caller, turn)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// loaded is a backend with a tenant that holds many tokens.
type loaded struct {
	env
	full  *tenant
	held  []holder // of its tokens, of which every other rotates
	bytes float64  // what the backend takes for a token; 0 if that is not known
	made  uint64
}

// tokens returns the tenant, and fills it when it is first asked for.
func (l *loaded) tokens(b *testing.B) (*tenant, []holder) {
	b.Helper()
	if l.full != nil {
		return l.full, l.held
	}
	size := func() int64 { return 0 }
	if l.config.Bytes != nil {
		size = func() int64 { return l.config.Bytes(b, l.backend) }
	}
	n := l.config.benchTokens(b)
	l.held = make([]holder, 0, n)
	l.full = l.tenant(b)
	before := size()
	l.held = l.fill(b, l.full, l.held, n)
	l.bytes = float64(size()-before) / float64(n)
	return l.full, l.held
}

// fill inserts tokens, and appends who holds them.
func (l *loaded) fill(b *testing.B, w *tenant, held []holder, n int) []holder {
	b.Helper()
	for left := n; left > 0; left -= store.MaxBatch {
		batch := make([]domain.RefreshToken, min(store.MaxBatch, left))
		for i := range batch {
			var h holder
			batch[i], h = l.token(w)
			held = append(held, h)
		}
		w.insert(b, batch...)
	}
	return held
}

// token makes a token as a manager would, of a user in turn and with a session of its own, and its holder. Ids ascend, as a
// manager's do while time goes on.
func (l *loaded) token(w *tenant) (domain.RefreshToken, holder) {
	n := l.made
	l.made++
	token := w.token(fmt.Sprint("user-", n%benchUsers), "client", fmt.Sprint("session-", n))
	_ = token.ID.SetTime(ulid.Timestamp(base) + n)
	binary.BigEndian.PutUint64(token.ID[6:], n*0x9E3779B97F4A7C15)
	token.Rotating = n%2 == 0
	h := holder{tenant: w, id: token.ID, credential: must(domain.NewCredential(token.ID, w.random))}
	token.FamilyDigest, token.SecretDigest = h.credential.FamilyDigest(), h.credential.SecretDigest()
	return token, h
}

// batches makes batches of tokens, which change changes.
func (l *loaded) batches(w *tenant, n int, change func(batch int, token *domain.RefreshToken)) [][]domain.RefreshToken {
	batches := make([][]domain.RefreshToken, n)
	for i := range batches {
		batches[i] = make([]domain.RefreshToken, benchBatch)
		for k := range batches[i] {
			batches[i][k], _ = l.token(w)
			change(i, &batches[i][k])
		}
	}
	return batches
}
