// Package crashtest has what a process does with a backend until one of the two is killed, or its machine loses its power, and what
// must then be true of the backend, whatever the cause. It is for tests only.
package crashtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

const (
	users   = 24
	clients = 6
)

// tenant is the one that all of this happens in.
const tenant = "default"

// Options has a long leeway: a round in which the machine is slow must not turn a retry into a replay.
func Options() *tokenstore.Options {
	return &tokenstore.Options{Leeway: 1 << 40, Lifetime: tokenstore.Never, IdleLifetime: tokenstore.Never, Outbox: tokenstore.AllKinds}
}

// Job is how much is worked.
type Job struct {
	Workers int
	// Began is when all that work on the backend began: what is older is of rounds before, and may be forgotten.
	Began time.Time
	// Still leaves the sweep out, so that all that was revoked is still there at the end.
	Still bool
	// Silent has no events written but those of revocations, so that issues and exchanges may take a shorter way.
	Silent bool
}

func options(silent bool) *tokenstore.Options {
	opts := Options()
	if silent {
		opts.Outbox = tokenstore.DefaultOutbox
	}
	return opts
}

// NewJob is a job that begins now.
func NewJob(workers int) Job {
	return Job{Workers: workers, Began: time.Now().Truncate(time.Second)} // not finer than what any backend keeps
}

// Work issues, exchanges, imports, revokes, sweeps, reads and trims from some goroutines, until one of them fails. It says
// what it is about to do, where [Heard] could not find out otherwise, and what has been acknowledged, each in one line that is
// written at once:
//
//	issued ID USER CLIENT SESSION SEQUENCE SECRET
//	imported ID USER CLIENT SESSION SEQUENCE, which is 0 if it was swept meanwhile
//	exchange ID
//	exchanged ID SECRET
//	gone ID: it was seen to be revoked
//	revoke REVOCATION KIND VALUE
//	revoked REVOCATION WATERMARK
//	trim NANOSECONDS: what is older may be forgotten
func Work(ctx context.Context, b store.Backend, job Job, said io.Writer) error {
	m, err := tokenstore.New(b, options(job.Silent))
	if err != nil {
		return err
	}
	s, err := b.Tenant(tenant)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var ended sync.WaitGroup
	defer ended.Wait()
	defer cancel()
	failed := make(chan error, job.Workers+1)
	if !job.Still {
		ended.Go(func() { failed <- m.Run(ctx) })
	}
	for range job.Workers {
		ended.Go(func() {
			w := worker{m: m, s: s, said: said, began: job.Began, secrets: map[ulid.ULID]tokenstore.Secret{}}
			for w.err == nil && ctx.Err() == nil {
				w.step(ctx)
			}
			failed <- w.err
		})
	}
	return <-failed
}

// worker exchanges only tokens of its own, so that no exchange is a replay.
type worker struct {
	m       *tokenstore.Manager
	s       store.Store
	said    io.Writer
	began   time.Time
	secrets map[ulid.ULID]tokenstore.Secret
	err     error
}

func (w *worker) say(format string, args ...any) {
	if _, err := fmt.Fprintf(w.said, format+"\n", args...); err != nil {
		w.err = err
	}
}

func (w *worker) step(ctx context.Context) {
	switch n := mathrand.IntN(100); {
	case n < 40:
		w.issue(ctx)
	case n < 45:
		w.importOne(ctx)
	case n < 83:
		w.exchange(ctx)
	case n < 85:
		w.trim(ctx)
	default:
		w.revoke(ctx)
	}
}

func (w *worker) issue(ctx context.Context) {
	user, client := fmt.Sprint("user-", mathrand.IntN(users)), fmt.Sprint("client-", mathrand.IntN(clients))
	session := "session-" + rand.Text()
	issued, err := w.m.Issue(ctx, tokenstore.IssueRequest{
		UserID: user, ClientID: client, SessionID: tokenstore.MustSessionID(session),
		ResourceServers: []tokenstore.ResourceServer{{Audience: fmt.Sprint("api-", mathrand.IntN(20)), Scopes: "read"}},
	})
	if err != nil {
		w.err = fmt.Errorf("issue: %w", err)
		return
	}
	w.secrets[issued.Token.ID] = issued.Secret
	w.say("issued %s %s %s %s %d %s", issued.Token.ID, user, client, session, issued.Token.Sequence, issued.Secret.Reveal())
}

func (w *worker) importOne(ctx context.Context) {
	token := tokenstore.RefreshToken{
		ID: ulid.Make(), UserID: fmt.Sprint("user-", mathrand.IntN(users)), ClientID: fmt.Sprint("client-", mathrand.IntN(clients)),
		SessionID: tokenstore.MustSessionID("session-" + rand.Text()), CreatedAt: time.Now(),
	}
	results, err := w.m.Import(ctx, []tokenstore.RefreshToken{token})
	if err != nil {
		w.err = fmt.Errorf("import: %w", err)
		return
	}
	if results[0].Outcome != tokenstore.Imported {
		return // a revocation since it was created
	}
	there, err := w.m.Get(ctx, token.ID, tokenstore.Eventual)
	if err != nil && !errors.Is(err, tokenstore.ErrNotFound) {
		w.err = fmt.Errorf("get: %w", err)
	}
	session, _ := token.SessionID.Get()
	w.say("imported %s %s %s %s %d", token.ID, token.UserID, token.ClientID, session, there.Sequence)
}

// trim forgets some of what is of rounds before.
func (w *worker) trim(ctx context.Context) {
	w.say("trim %d", w.began.UnixNano())
	_, err := w.s.Trim(ctx, store.Trim{Guards: w.began, History: w.began, Events: w.began, Limit: 1 + mathrand.IntN(20)})
	if err != nil {
		w.err = fmt.Errorf("trim: %w", err)
	}
}

func (w *worker) exchange(ctx context.Context) {
	for id, secret := range w.secrets { // the first one, which is any
		token, err := w.m.Get(ctx, id, tokenstore.Fenced)
		if errors.Is(err, tokenstore.ErrNotFound) {
			w.say("gone %s", id)
			delete(w.secrets, id)
			return
		}
		w.say("exchange %s", id)
		exchanged, err := w.m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: secret, ClientID: token.ClientID})
		switch {
		case errors.Is(err, tokenstore.ErrRevoked), errors.Is(err, tokenstore.ErrUnknownToken):
			w.say("gone %s", id)
			delete(w.secrets, id)
		case err != nil:
			w.err = fmt.Errorf("exchange: %w", err)
		default:
			w.secrets[id] = exchanged.Secret
			w.say("exchanged %s %s", id, exchanged.Secret.Reveal())
		}
		return
	}
}

func (w *worker) revoke(ctx context.Context) {
	kind, value := "user", fmt.Sprint("user-", mathrand.IntN(users))
	switch n := mathrand.IntN(100); {
	case n < 10:
		kind, value = "client", fmt.Sprint("client-", mathrand.IntN(clients))
	case n < 15:
		kind, value = "audience", fmt.Sprint("api-", mathrand.IntN(20))
	case n < 50:
		for id := range w.secrets {
			kind, value = "token", id.String()
			break
		}
	}
	id := ulid.Make()
	w.say("revoke %s %s %s", id, kind, value)
	receipt, err := w.m.Revoke(ctx, tokenstore.RevokeRequest{ID: id, Targets: []tokenstore.Target{target(kind, value)}})
	if err != nil {
		w.err = fmt.Errorf("revoke: %w", err)
		return
	}
	w.say("revoked %s %d", id, receipt.Status.Tombstone.Watermark)
}

func target(kind, value string) tokenstore.Target {
	switch kind {
	case "client":
		return tokenstore.Target{ClientID: value}
	case "audience":
		return tokenstore.Target{Audience: value}
	case "token":
		return tokenstore.Target{TokenID: ulid.MustParse(value)}
	}
	return tokenstore.Target{UserID: value}
}
