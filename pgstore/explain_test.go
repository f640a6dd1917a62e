package pgstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// rowsOfTenant is how many tokens the tenant has whose plans are looked at: PG_EXPLAIN_ROWS, or else 50,000: a million take
// a minute to fill in.
func rowsOfTenant(t *testing.T) int {
	t.Helper()
	text := os.Getenv("PG_EXPLAIN_ROWS")
	if text == "" {
		return 50_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 10_000 {
		t.Fatalf("PG_EXPLAIN_ROWS must be a number of at least 10000: got %q", text)
	}
	return n
}

// most is how many rows any part of a plan may look at. A call is for a page or a slice of a hundred; a tenant has a thousand times more.
const most = 3000

// TestPlans fills a tenant, has the server explain what each verb has it execute, with the numbers of rows that it looked at, and
// expects that none reads a table from end to end, or a tenant's part of an index. Each call is made so often that the server
// would change to a generic plan.
func TestPlans(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := explaining(t, "jit=off")
			db := migrated(t, s, mode.opts)
			b := open(t, s.DSN(db), mode.opts)
			st, err := b.Tenant("acme")
			if err != nil {
				t.Fatal(err)
			}
			f := newFull(t, st)
			n := rowsOfTenant(t)
			f.multiply(s, db, n)
			s.Exec(f, db, "vacuum analyze")
			s.ClearLog(t)
			for i := range 8 {
				f.call(i)
			}
			f.crowd()
			plans, merged := 0, 0
			for plan := range plansIn(t, s.Log(t)) {
				plans++
				merged += plan.merged()
				for _, finding := range plan.findings() {
					t.Error("a plan must stay on indexes, and look at what is asked for only")
					t.Logf("%s: %s", finding, plan.Query)
					if testing.Verbose() {
						t.Log(plan.Text)
					}
				}
			}
			if plans < 100 || !mode.opts.Serializable && merged < 20 {
				t.Errorf("the server must have explained what it did: got %d plans, %d of them of calls that share a statement", plans, merged)
			}
			t.Logf("%d plans over a tenant of %d tokens", plans, n)
		})
	}
}

// TestPlansOfYoungTables makes short calls when there are hardly any rows, and again when there are many, of which the server has
// no statistics: what was planned for the few has to do for the many. (One that was vacuumed or analyzed while it had few is not asked about.)
func TestPlansOfYoungTables(t *testing.T) {
	s := explaining(t, "autovacuum=off")
	db := migrated(t, s, pgstore.Options{})
	st, err := open(t, s.DSN(db), pgstore.Options{}).Tenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	f := newFull(t, st)
	f.crowd()
	f.multiply(s, db, 20_000)
	f.crowd()
	merged := 0
	for plan := range plansIn(t, s.Log(t)) {
		if !strings.Contains(plan.Query, ") as r (") && !strings.Contains(plan.Query, "xmin") {
			continue // the long way
		}
		merged += plan.merged()
		for _, finding := range append(plan.findings(), plan.strange()...) {
			t.Error("a short statement must be planned for tables that grow")
			t.Logf("%s: %s\n%s", finding, plan.Query, plan.Text)
		}
	}
	if merged < 20 {
		t.Errorf("the server must have explained what it did: got %d plans", merged)
	}
}

// explaining is a server that says how it executes what it is asked.
func explaining(t *testing.T, settings ...string) *pgtest.Server {
	t.Helper()
	return pgtest.Start(t, append(settings, "session_preload_libraries=auto_explain", "auto_explain.log_min_duration=0", "auto_explain.log_analyze=on",
		"auto_explain.log_timing=off", "auto_explain.log_format=json")...)
}

// full is a tenant with a token, a revocation that is pending, one that is retired, a guard and an event, and many like them.
type full struct {
	*testing.T
	store store.Store
	now   time.Time
	token domain.RefreshToken
}

func newFull(t *testing.T, st store.Store) *full {
	t.Helper()
	f := &full{T: t, store: st, now: time.Now().UTC().Truncate(time.Second)}
	f.token = f.newToken("seed")
	f.insert(f.token)
	for _, user := range []string{"retired", "pending"} {
		f.insert(f.newToken(user))
		id := f.revoke(domain.Target{UserID: user})
		if user == "retired" {
			f.apply(id)
		}
	}
	return f
}

func (f *full) newToken(user string) domain.RefreshToken {
	id := ulid.Make()
	return domain.RefreshToken{
		ID: id, UserID: user, ClientID: "web", SessionID: domain.MustSessionID("session-" + id.String()), CreatedAt: f.now,
		ExpiresAt: f.now.Add(24 * time.Hour), ForeignDigest: domain.DigestForeign(id.String()), ForeignID: id.String(),
	}
}

func (f *full) must(what string, err error) {
	f.Helper()
	if err != nil {
		f.Fatalf("%s must succeed: got %v", what, err)
	}
}

func (f *full) insert(token domain.RefreshToken) {
	f.Helper()
	results, err := f.store.Insert(f.Context(), []store.Insertion{{Token: token, AsOf: domain.AsOfTime(f.now.Add(time.Hour), 0), Emit: store.AllKinds}})
	f.must("Insert", err)
	f.must("Insert", results[0].Err)
}

func (f *full) revoke(targets ...domain.Target) ulid.ULID {
	f.Helper()
	id := ulid.Make()
	_, err := f.store.Revoke(f.Context(), store.Revocation{ID: id, Targets: targets, Time: f.now, Emit: store.KindRevoked})
	f.must("Revoke", err)
	return id
}

func (f *full) apply(id ulid.ULID) {
	f.Helper()
	_, err := f.store.Apply(f.Context(), []ulid.ULID{id}, store.Bounds{Visit: 100, Remove: 100, Now: f.now})
	f.must("Apply", err)
}

// multiply makes many of each row: n tokens, of ten to a user, a tenth of them expired; a tenth as many revocations, of which 500
// are pending, guards and events, or 50,000.
func (f *full) multiply(s *pgtest.Server, db string, n int) {
	f.Helper()
	uuid := "(lpad(to_hex(i), 32, '0'))::uuid"
	clone := func(table, where string, n int, changed map[string]string) string {
		columns := s.Ask(f, db, "select string_agg(quote_ident(column_name), ',' order by ordinal_position) from information_schema.columns "+
			"where table_schema = 'tokenstore' and table_name = '"+table+"' and is_generated = 'NEVER'")
		values := []string{}
		for column := range strings.SplitSeq(columns, ",") {
			value, is := changed[column]
			if !is {
				value = "r." + column
			}
			values = append(values, value)
		}
		return fmt.Sprintf("insert into tokenstore.%s (%s) select %s from (select * from tokenstore.%[1]s where %[4]s limit 1) r, generate_series(1, %[5]d) i",
			table, columns, strings.Join(values, ","), where, n)
	}
	digest, others := "sha256(i::text::bytea)", max(n/10, 50_000)
	s.Exec(f, db,
		clone("tokens", "user_id = 'seed'", n, map[string]string{
			"id": uuid, "user_id": "'user' || i/10", "client_id": "'client' || i%20", "session_id": "'session' || i/2", "foreign_digest": digest, "foreign_id": "i::text",
			"due": "r.due - case when i%10 = 0 then interval '2 days' else interval '0' end", "expires_at": "r.expires_at - case when i%10 = 0 then interval '2 days' else interval '0' end",
		}),
		clone("tombstones", "retired", others, map[string]string{"id": uuid, "targets_digest": digest, "retired": "i > 500"}),
		clone("targets", "not pending", others, map[string]string{"tombstone": uuid, "pending": "i <= 500", "user_id": "'user' || i + 1000000"}),
		clone("guards", "true", others, map[string]string{"digest": digest, "user_id": "'user' || i + 1000000"}),
		clone("events", "true", others, map[string]string{"number": "r.number + 1000 + i"}),
	)
}

// call makes each call once.
func (f *full) call(i int) {
	f.Helper()
	ctx := context.WithoutCancel(f.Context())
	user := "user" + strconv.Itoa(1000+i)
	token := f.newToken(user)
	f.insert(token)
	_, err := f.store.Get(ctx, token.ID)
	f.must("Get", err)
	_, err = f.store.Find(ctx, token.ForeignDigest)
	f.must("Find", err)
	f.must("Update", f.store.Update(ctx, token.ID, func(v store.View) store.Decision {
		next := v.Token
		next.LastExchangedAt = f.now
		return store.Decision{Next: &next, Emit: store.KindExchanged, Time: f.now}
	}))
	after := ulid.ULID{12: byte(1 + i)}
	for _, q := range []store.Query{
		{}, {After: after}, {UserID: user}, {UserID: user, ClientID: "web"}, {SessionID: "session500"}, {UserID: user, Fenced: true}, {After: after, Fenced: true},
	} {
		q.Limit = 100
		_, err := f.store.List(ctx, q)
		f.must("List", err)
	}
	for _, q := range []store.RevocationQuery{{Limit: 100}, {Limit: 100, After: after}, {Limit: 100, Retired: true}} {
		_, err := f.store.Revocations(ctx, q)
		f.must("Revocations", err)
	}
	_, err = f.store.State(ctx)
	f.must("State", err)
	for _, target := range []domain.Target{
		{UserID: user}, {TokenID: ulid.ULID{13: 1, 15: byte(i)}}, {SessionID: "session" + strconv.Itoa(700+i)}, {UserID: user, ClientID: "client1"},
		{ClientID: "client" + strconv.Itoa(i)}, {IssuedBefore: f.now.Add(-time.Duration(i+1) * time.Hour)},
	} {
		f.apply(f.revoke(target))
	}
	_, err = f.store.Expire(ctx, store.Bounds{Visit: 100, Remove: 100, Now: f.now})
	f.must("Expire", err)
	end := f.now.Add(time.Hour)
	_, err = f.store.Trim(ctx, store.Trim{Guards: end, History: end, Events: end, Limit: 100})
	f.must("Trim", err)
}

// crowd has many callers at once issue a token and exchange it, by the short way.
func (f *full) crowd() {
	f.Helper()
	var all sync.WaitGroup
	for i := range 48 {
		all.Go(func() {
			for range 6 {
				token := domain.RefreshToken{
					ID: ulid.Make(), UserID: "user" + strconv.Itoa(2000+i), ClientID: "web", SessionID: domain.MustSessionID("crowd" + strconv.Itoa(i)), CreatedAt: f.now,
				}
				results, err := f.store.Insert(f.Context(), []store.Insertion{{Token: token}})
				if err != nil || results[0].Err != nil {
					f.Errorf("Insert must succeed: got %v, %v", results, err)
					return
				}
				err = f.store.Update(f.Context(), token.ID, func(v store.View) store.Decision {
					next := v.Token
					next.LastExchangedAt = f.now
					return store.Decision{Next: &next}
				})
				if err != nil {
					f.Errorf("Update must succeed: got %v", err)
				}
			}
		})
	}
	all.Wait()
}

// plan is a plan as the server logs it.
type plan struct {
	Query string `json:"Query Text"`
	Plan  node   `json:"Plan"`
	JIT   any    `json:"JIT"` // what was compiled for it
	Text  string `json:"-"`
}

type node struct {
	Type     string  `json:"Node Type"`
	Relation string  `json:"Relation Name"`
	Index    string  `json:"Index Name"`
	Rows     float64 `json:"Actual Rows"`
	Loops    float64 `json:"Actual Loops"`
	Removed  float64 `json:"Rows Removed by Filter"`
	Plans    []node  `json:"Plans"`
}

// small are tables that have a row, or a few, for each tenant.
var small = map[string]bool{"tenants": true, "tallies": true, "walks": true, "settings": true, "migrations": true}

// merged is 1 for a plan of a statement that several calls share, else 0.
func (p *plan) merged() int {
	if strings.Contains(p.Query, ") as r (") && strings.Contains(p.Query, "unnest(") {
		return 1
	}
	return 0
}

// findings says what is wrong with a plan.
func (p *plan) findings() (found []string) {
	var look func(n *node)
	look = func(n *node) {
		looked := (n.Rows + n.Removed) * n.Loops
		switch {
		case n.Type == "Seq Scan" && n.Relation != "" && !small[n.Relation]:
			found = append(found, "reads all of "+n.Relation)
		case looked > most:
			found = append(found, fmt.Sprintf("%s on %s%s looks at %.0f rows", n.Type, n.Relation, n.Index, looked))
		}
		for i := range n.Plans {
			look(&n.Plans[i])
		}
	}
	look(&p.Plan)
	return found
}

// keys are the indexes by which short statements look for what may be one of many rows.
var keys = map[string]string{"tokens": "tokens_pkey", "targets": "targets_fence", "guards": "guards_by_anchor"}

// strange says which tables are looked up by another index than their key, and whether the server compiled the statement.
func (p *plan) strange() (found []string) {
	var look func(n *node)
	look = func(n *node) {
		if key := keys[n.Relation]; key != "" && n.Type != "ModifyTable" && n.Type != "Tid Scan" && n.Index != key {
			found = append(found, fmt.Sprintf("%s looks %s up by %q", n.Type, n.Relation, n.Index))
		}
		for i := range n.Plans {
			look(&n.Plans[i])
		}
	}
	look(&p.Plan)
	if p.JIT != nil {
		found = append(found, "is compiled each time")
	}
	return found
}

// plansIn walks the plans in a log.
func plansIn(t *testing.T, log string) func(func(*plan) bool) {
	return func(yield func(*plan) bool) {
		for _, entry := range strings.Split(log, " plan:\n")[1:] {
			text := ""
			for line := range strings.Lines(entry) {
				if !strings.HasPrefix(line, "\t") {
					break
				}
				text += line
			}
			p := &plan{Text: text}
			if err := json.Unmarshal([]byte(text), p); err != nil {
				t.Fatalf("a plan must be JSON: got %v", errors.Join(err, errors.New(text)))
			}
			if strings.Contains(p.Query, "tokenstore") && !yield(p) {
				return
			}
		}
	}
}
