package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/crashtest"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// cuts are where a commit may be cut. A caller can't tell them apart.
var cuts = []struct {
	name      string
	where     pgtest.Cut
	committed bool
}{
	{"before the commit", pgtest.BeforeCommit, false},
	{"after the commit", pgtest.AfterCommit, true},
}

var session = tokenstore.MustSessionID("session-1")

// cutter is a database whose commits are cut.
type cutter struct {
	*testing.T
	server    *pgtest.Server
	db        string
	proxy     *pgtest.Proxy
	manager   *tokenstore.Manager
	store     store.Store
	where     pgtest.Cut
	committed bool
	cuts      int
}

// cutting runs a test in both modes, and with the connection cut on both sides of the commit.
func cutting(t *testing.T, test func(c *cutter)) {
	for _, mode := range modes {
		s := pgtest.Shared(t)
		db := migrated(t, s, mode.opts)
		for i, cut := range cuts {
			t.Run(mode.name+", "+cut.name, func(t *testing.T) {
				proxy := s.Proxy(t)
				b := open(t, proxy.DSN(db), mode.opts)
				opts := crashtest.Options()
				opts.Tenant = fmt.Sprint("tenant", i)
				m, err := tokenstore.New(b, opts)
				if err != nil {
					t.Fatal(err)
				}
				st, err := b.Tenant(opts.Tenant)
				if err != nil {
					t.Fatal(err)
				}
				c := &cutter{T: t, server: s, db: db, proxy: proxy, manager: m, store: st, where: cut.where, committed: cut.committed}
				c.issue() // the tenant is there, and connections are
				test(c)
				if got := proxy.Cuts(); got != c.cuts || got == 0 {
					t.Errorf("commits that were cut: got %d, want %d", got, c.cuts)
				}
				t.Attr("cuts", strconv.Itoa(c.cuts))
			})
		}
	}
}

// cut has the next commits cut.
func (c *cutter) cut(n int) {
	c.proxy.CutNext(n, c.where)
	c.cuts += n
}

// cutOff has the next commit cut, and the server out of reach from then on.
func (c *cutter) cutOff() {
	c.proxy.CutOff(c.where)
	c.cuts++
}

// wantUnknown expects a call to say that it does not know what it has done.
func (c *cutter) wantUnknown(what string, err error) {
	c.Helper()
	if !errors.Is(err, store.ErrUnknownOutcome) {
		c.Errorf("%s whose commit is cut must be of unknown outcome: got %v", what, err)
	}
}

func (c *cutter) must(what string, err error) {
	c.Helper()
	if err != nil {
		c.Fatalf("%s must succeed: got %v", what, err)
	}
}

func (c *cutter) issue() tokenstore.Issued {
	c.Helper()
	issued, err := c.manager.Issue(c.Context(), tokenstore.IssueRequest{UserID: "ann", ClientID: "web", SessionID: session})
	c.must("Issue", err)
	return issued
}

func (c *cutter) exchange(secret tokenstore.Secret) (tokenstore.Exchanged, error) {
	return c.manager.Exchange(c.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: "web"})
}

func (c *cutter) tokens() int {
	c.Helper()
	state, err := c.manager.State(c.Context())
	c.must("State", err)
	return state.Tokens
}

// TestVerbsCutAtCommit: each verb of a store says that its outcome is unknown, and may be repeated as it is.
func TestVerbsCutAtCommit(t *testing.T) {
	cutting(t, func(c *cutter) {
		now := time.Now().UTC().Truncate(time.Microsecond)
		row := store.Insertion{Token: domain.RefreshToken{ID: ulid.Make(), UserID: "bob", ClientID: "web", SessionID: session, CreatedAt: now}}
		var inserted []store.Inserted
		c.repeat("Insert", func(ctx context.Context) (err error) {
			inserted, err = c.store.Insert(ctx, []store.Insertion{row})
			return err
		})
		if there := inserted[0].There; (there != nil) != c.committed || there != nil && there.UserID != "bob" {
			c.Errorf("a repeated Insert must find the token if and only if it was committed: got %v", inserted[0].Err)
		}
		if !c.committed {
			c.must("Insert", inserted[0].Err)
		}

		seen := 0
		c.repeat("Update", func(ctx context.Context) error {
			return c.store.Update(ctx, row.Token.ID, func(v store.View) store.Decision {
				next := v.Token
				seen = v.Token.Metadata.Len()
				metadata, err := domain.NewMetadata(map[string]string{"note": "x"})
				next.Metadata = metadata
				return store.Decision{Next: &next, Err: err}
			})
		})
		if (seen == 1) != c.committed {
			c.Errorf("a repeated Update must decide on what was committed: got %d notes", seen)
		}

		revocation := store.Revocation{ID: ulid.Make(), Targets: []domain.Target{{UserID: "bob"}}, Time: now}
		c.repeat("Revoke", func(ctx context.Context) error { _, err := c.store.Revoke(ctx, revocation); return err })
		page, err := c.store.Revocations(c.Context(), store.RevocationQuery{Limit: 10})
		c.must("Revocations", err)
		if len(page.Revocations) != 1 || page.Revocations[0].Tombstone.ID != revocation.ID {
			c.Errorf("a repeated Revoke must be one revocation: got %d", len(page.Revocations))
		}

		c.repeat("Apply", func(ctx context.Context) error {
			for {
				statuses, err := c.store.Apply(ctx, []ulid.ULID{revocation.ID}, store.Bounds{Visit: 100, Remove: 100, Now: now})
				if err != nil || len(statuses) == 0 || statuses[0].Retired {
					return err
				}
			}
		})
		status, err := c.store.Revocation(c.Context(), revocation.ID)
		c.must("Revocation", err)
		if status.Swept != 1 || c.tokens() != 1 {
			c.Errorf("a repeated Apply must count what it has removed once: got %d, and %d tokens are left", status.Swept, c.tokens())
		}

		end := now.Add(time.Hour)
		c.repeat("Trim", func(ctx context.Context) error {
			_, err := c.store.Trim(ctx, store.Trim{Guards: end, History: end, Events: end, Limit: 100})
			return err
		})
		if _, err := c.store.Revocation(c.Context(), revocation.ID); !errors.Is(err, store.ErrNotFound) {
			c.Errorf("a repeated Trim must forget what is old: got %v", err)
		}

		dead := store.Insertion{
			Token: domain.RefreshToken{ID: ulid.Make(), UserID: "cyd", ClientID: "web", SessionID: session, CreatedAt: now, ExpiresAt: now.Add(time.Second)},
			AsOf:  domain.AsOfTime(end.Add(time.Hour), 0),
		}
		inserted, err = c.store.Insert(c.Context(), []store.Insertion{dead})
		c.must("Insert", errors.Join(err, inserted[0].Err))
		c.repeat("Expire", func(ctx context.Context) error {
			_, err := c.store.Expire(ctx, store.Bounds{Visit: 100, Remove: 100, Now: end})
			return err
		})
		if got := c.tokens(); got != 1 {
			c.Errorf("a repeated Expire must remove what is expired: %d tokens are left", got)
		}
	})
}

// repeat makes a call whose commit is cut, and makes it again once the server has let go of what the first held, which others pass over until
// then.
func (c *cutter) repeat(what string, call func(context.Context) error) {
	c.Helper()
	c.cut(1)
	c.wantUnknown(what, call(c.Context()))
	c.server.Await(c.T, "select count(*) = 0 from pg_stat_activity where datname = '"+c.db+"' and state <> 'idle'")
	c.must("a repeated "+what, call(c.Context()))
}

// TestManagerCutAtCommit: a host notices nothing of a commit that is cut, because each call recognises what it has done.
func TestManagerCutAtCommit(t *testing.T) {
	cutting(t, func(c *cutter) {
		c.cut(1)
		issued := c.issue()
		if got := c.tokens(); got != 2 {
			c.Errorf("S7: an issue that recognises its own commit must leave one token: got %d", got-1)
		}
		c.cut(1)
		next, err := c.exchange(issued.Secret)
		c.must("an exchange that is cut", err)
		if next.Token.Generation != 1 || next.Retried {
			c.Errorf("S7: an exchange that recognises its own commit must happen once: got generation %d, retried %t", next.Token.Generation, next.Retried)
		}
		again, err := c.exchange(next.Secret)
		c.must("an exchange of the secret that a cut one handed out", err)
		if again.Token.Generation != 2 {
			c.Errorf("S7: the next exchange must be the second: got generation %d", again.Token.Generation)
		}

		c.cut(1)
		id := ulid.Make()
		_, err = c.manager.Revoke(c.Context(), tokenstore.RevokeRequest{ID: id, Targets: []tokenstore.Target{{TokenID: issued.Token.ID}}})
		c.must("a revocation that is cut", err)
		if _, err := c.exchange(again.Secret); !errors.Is(err, tokenstore.ErrInvalidGrant) {
			c.Errorf("S1: what a cut revocation covers must be refused: got %v", err)
		}

		c.cut(1)
		token := tokenstore.RefreshToken{ID: ulid.Make(), UserID: "bob", ClientID: "web", SessionID: session, CreatedAt: time.Now()}
		results, err := c.manager.Import(c.Context(), []tokenstore.RefreshToken{token})
		c.must("an import that is cut", err)
		if want := map[bool]tokenstore.ImportOutcome{false: tokenstore.Imported, true: tokenstore.Unchanged}[c.committed]; results[0].Outcome != want {
			c.Errorf("an import that is cut must come in once: got %v", results[0].Outcome)
		}
	})
}

// TestHostRepeatsWhatIsCut: where no attempt after the cut reaches the server, the host is told that the outcome is unknown, and what
// it does then, as docs/errors.md says, succeeds.
func TestHostRepeatsWhatIsCut(t *testing.T) {
	cutting(t, func(c *cutter) {
		issued := c.issue()
		c.cutOff()
		_, err := c.exchange(issued.Secret)
		c.wantUnknown("an exchange", err)
		c.proxy.Restore()
		next, err := c.exchange(issued.Secret)
		c.must("an exchange that the client repeats", err)
		if next.Token.Generation != 1 || next.Retried != c.committed {
			c.Errorf("S7: a repeated exchange must be a retry if and only if it was committed: got generation %d, %t", next.Token.Generation, next.Retried)
		}

		r := tokenstore.RevokeRequest{ID: ulid.Make(), Targets: []tokenstore.Target{{UserID: "ann"}}}
		c.cutOff()
		_, err = c.manager.Revoke(c.Context(), r)
		c.wantUnknown("a revocation", err)
		c.proxy.Restore()
		_, err = c.exchange(next.Secret)
		if refused := errors.Is(err, tokenstore.ErrInvalidGrant); refused != c.committed || !refused && err != nil {
			c.Errorf("S1: a revocation of unknown outcome must be in force if and only if it was committed: got %v", err)
		}
		_, err = c.manager.Revoke(c.Context(), r)
		c.must("a revocation that is repeated", err)
		if _, err := c.exchange(next.Secret); !errors.Is(err, tokenstore.ErrInvalidGrant) {
			c.Errorf("S1: what a repeated revocation covers must be refused: got %v", err)
		}

		tokens := []tokenstore.RefreshToken{{ID: ulid.Make(), UserID: "bob", ClientID: "web", SessionID: session, CreatedAt: time.Now()}}
		c.cutOff()
		_, err = c.manager.Import(c.Context(), tokens)
		c.wantUnknown("an import", err)
		c.proxy.Restore()
		_, err = c.manager.Import(c.Context(), tokens)
		c.must("an import that is repeated", err)
		if _, err := c.manager.Get(c.Context(), tokens[0].ID, tokenstore.Fenced); err != nil {
			c.Errorf("a repeated import must have come in: got %v", err)
		}
	})
}

// A connection that can't be made says that nothing was committed.
func TestNoConnectionIsNotCommitted(t *testing.T) {
	s := pgtest.Start(t)
	opts := pgstore.Options{}
	b := open(t, s.DSN(migrated(t, s, opts)), opts)
	st, err := b.Tenant("default")
	if err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	for n := range 8 { // the first use connections that were there before
		_, err = st.Revoke(t.Context(), store.Revocation{ID: ulid.Make(), Targets: []domain.Target{{UserID: fmt.Sprint(n)}}, Time: time.Now()})
	}
	if !errors.Is(err, store.ErrNotCommitted) || errors.Is(err, store.ErrUnknownOutcome) {
		t.Errorf("a call without a connection must say that nothing was committed: got %v", err)
	}
	for name, row := range map[string]store.Insertion{"one row": {}, "one that takes the long way": {Cap: store.Cap{Max: 1}}} {
		row.Token = domain.RefreshToken{ID: ulid.Make(), UserID: "user", ClientID: "client", CreatedAt: time.Now()}
		if results, err := st.Insert(t.Context(), []store.Insertion{row}); !errors.Is(err, store.ErrNotCommitted) || results != nil {
			t.Errorf("%s: an error comes without results: got %d, %v", name, len(results), err)
		}
	}
}
