package crashtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Check looks for everything that was acknowledged in what is left, and sweeps it.
func (h *Heard) Check(t testing.TB, b store.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := tokenstore.New(b, options(h.Silent))
	if err != nil {
		t.Fatal(err)
	}
	h.wantEvents(ctx, t, m)
	var live []*token
	for _, token := range h.tokens {
		switch h.fate(token) {
		case "covered":
			h.wantRefused(ctx, t, m, token)
		case "live":
			live = append(live, token)
			h.wantLive(ctx, t, m, token)
		}
	}
	h.converge(ctx, t, m)
	for _, token := range live {
		if _, err := m.Get(ctx, token.token.ID, tokenstore.Fenced); err != nil {
			t.Errorf("S2: a token that no revocation covers must survive the sweep: got %v", err)
		}
	}
	for _, token := range h.tokens {
		if h.fate(token) != "covered" {
			continue
		}
		if _, err := m.Get(ctx, token.token.ID, tokenstore.Eventual); !errors.Is(err, tokenstore.ErrNotFound) {
			t.Errorf("L1: a covered token must be swept: got error %v", err)
		}
	}
}

// wantEvents reads the feed: of what was acknowledged there must be an event, and of a revocation one if and only if it is
// there.
func (h *Heard) wantEvents(ctx context.Context, t testing.TB, m *tokenstore.Manager) {
	t.Helper()
	issued, revoked := map[ulid.ULID]int{}, map[ulid.ULID]int{}
	for after := uint64(0); ; {
		page, err := m.Feed(ctx, tokenstore.FeedRequest{After: after, Limit: 100})
		if gone, ok := errors.AsType[*tokenstore.CursorGoneError](err); ok && after == 0 {
			after = gone.Resume // trimmed in this round or before
			continue
		}
		if err != nil {
			t.Errorf("F1: the feed must be read: got %v", err)
			return
		}
		for _, e := range page.Events {
			switch {
			case e.Time.Before(h.trimmed): // of rounds before; what it is about may have been forgotten
			case e.Kind == tokenstore.KindIssued:
				issued[e.Tokens[0].ID]++
			case e.Kind == tokenstore.KindRevoked:
				revoked[e.Revocation]++
			}
		}
		if after = page.Next; after == page.Last {
			break
		}
	}
	for id, token := range h.tokens {
		if issued[id] != 1 && !token.imported && !h.Silent {
			t.Errorf("F1: there must be one event of an acknowledged issue: got %d", issued[id])
		}
	}
	for id := range h.revocations {
		_, err := m.Revocation(ctx, id)
		want := 1
		if errors.Is(err, tokenstore.ErrNotFound) {
			want = 0
		}
		if revoked[id] != want {
			t.Errorf("F1: there must be an event of a revocation if and only if it is there: got %d, and %v", revoked[id], err)
		}
		delete(revoked, id)
	}
	for id := range revoked { // of rounds before
		if _, err := m.Revocation(ctx, id); err != nil {
			t.Errorf("F1: there must be no event of a revocation that is not there: got %v", err)
		}
	}
}

func (h *Heard) exchange(ctx context.Context, m *tokenstore.Manager, token *token) (tokenstore.Exchanged, error) {
	return m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: token.secret, ClientID: token.token.ClientID})
}

// wantRefused expects a token to be revoked: one that an acknowledged revocation covers, or that was seen to be revoked.
func (h *Heard) wantRefused(ctx context.Context, t testing.TB, m *tokenstore.Manager, token *token) {
	t.Helper()
	what := "S1: a token covered by an acknowledged revocation must be refused"
	if token.gone {
		what = "S3: a token that was once seen revoked must stay so"
	}
	if _, err := m.Get(ctx, token.token.ID, tokenstore.Fenced); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("%s: got error %v", what, err)
	}
	if token.imported {
		return
	}
	if _, err := h.exchange(ctx, m, token); !errors.Is(err, tokenstore.ErrInvalidGrant) {
		t.Errorf("%s: got error %v", what, err)
	}
}

// wantLive exchanges the last secret that was acknowledged, twice: an exchange that was under way may have been committed,
// and then the first answer is the one that was lost.
func (h *Heard) wantLive(ctx context.Context, t testing.TB, m *tokenstore.Manager, token *token) {
	t.Helper()
	if token.imported {
		if _, err := m.Get(ctx, token.token.ID, tokenstore.Fenced); err != nil {
			t.Errorf("S5: an acknowledged import must be there: got %v", err)
		}
		return
	}
	for range 2 {
		next, err := h.exchange(ctx, m, token)
		if err != nil {
			t.Errorf("S5: the latest acknowledged secret of a live token must be exchanged: got %v", err)
			return
		}
		if next.Retried && !token.exchanging {
			t.Errorf("S7: a secret that was never exchanged must not be taken for a retry")
		}
		token.secret, token.exchanging = next.Secret, false
	}
}

// converge runs the engine until all revocations that were ever acknowledged have been swept.
func (h *Heard) converge(ctx context.Context, t testing.TB, m *tokenstore.Manager) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run must end without error: got %v", err)
		}
	}()
	for id, r := range h.revocations {
		status, err := m.Revocation(ctx, id)
		if errors.Is(err, tokenstore.ErrNotFound) && (r.watermark == 0 || !r.target.TokenID.IsZero()) {
			continue // never committed, or named a token that was gone
		}
		if err == nil {
			_, err = m.Wait(ctx, tokenstore.Receipt{Tenant: tenant, Status: status})
		}
		if err != nil {
			t.Errorf("S5, L1: an acknowledged revocation must be there, and be swept: got %v", err)
		}
	}
	health, err := m.Health(ctx)
	for err == nil && health.Pending > 0 { // those of rounds before, which nobody waits for
		health, err = m.Health(ctx)
	}
	if err != nil {
		t.Errorf("L1: nothing must be left pending: got %+v, error %v", health, err)
	}
}
