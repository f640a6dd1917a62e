package boltstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"github.com/oklog/ulid/v2"
)

const (
	crashWorkers = 8
	crashUsers   = 24
	crashClients = 6
)

// crashOptions has a long leeway: a round in which the machine is slow must not turn a retry into a replay.
func crashOptions() *tokenstore.Options {
	return &tokenstore.Options{Leeway: 1 << 40, Lifetime: tokenstore.Never, IdleLifetime: tokenstore.Never, Outbox: tokenstore.AllKinds}
}

// crashChild works on the file in args[0] until it is killed. It says what it is about to do, where the parent could not
// find out otherwise, and what has been acknowledged, each in one unbuffered line:
//
//	issued ID USER CLIENT SESSION SEQUENCE SECRET
//	exchange ID
//	exchanged ID SECRET
//	revoke REVOCATION KIND VALUE
//	revoked REVOCATION WATERMARK
func crashChild(args []string) error {
	b, err := boltstore.Open(args[0], nil)
	if err != nil {
		return err
	}
	b.SettleEarly(16)
	m, err := tokenstore.New(b, crashOptions())
	if err != nil {
		return err
	}
	ctx := context.Background()
	failed := make(chan error, crashWorkers+1)
	go func() { failed <- m.Run(ctx) }()
	for range crashWorkers {
		go func() {
			w := crashWorker{m: m, secrets: map[ulid.ULID]tokenstore.Secret{}}
			for w.err == nil {
				w.step(ctx)
			}
			failed <- w.err
		}()
	}
	return <-failed
}

// crashWorker exchanges only tokens of its own, so that no exchange is a replay.
type crashWorker struct {
	m       *tokenstore.Manager
	secrets map[ulid.ULID]tokenstore.Secret
	err     error
}

func (w *crashWorker) say(format string, args ...any) {
	if _, err := fmt.Fprintf(os.Stdout, format+"\n", args...); err != nil {
		w.err = err
	}
}

func (w *crashWorker) step(ctx context.Context) {
	switch n := mathrand.IntN(100); {
	case n < 45:
		w.issue(ctx)
	case n < 85:
		w.exchange(ctx)
	default:
		w.revoke(ctx)
	}
}

func (w *crashWorker) issue(ctx context.Context) {
	user, client := fmt.Sprint("user-", mathrand.IntN(crashUsers)), fmt.Sprint("client-", mathrand.IntN(crashClients))
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

func (w *crashWorker) exchange(ctx context.Context) {
	for id, secret := range w.secrets { // the first one, which is any
		token, err := w.m.Get(ctx, id, tokenstore.Fenced)
		if errors.Is(err, tokenstore.ErrNotFound) {
			delete(w.secrets, id)
			return
		}
		w.say("exchange %s", id)
		exchanged, err := w.m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: secret, ClientID: token.ClientID})
		switch {
		case errors.Is(err, tokenstore.ErrRevoked), errors.Is(err, tokenstore.ErrUnknownToken):
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

func (w *crashWorker) revoke(ctx context.Context) {
	kind, value := "user", fmt.Sprint("user-", mathrand.IntN(crashUsers))
	switch n := mathrand.IntN(100); {
	case n < 10:
		kind, value = "client", fmt.Sprint("client-", mathrand.IntN(crashClients))
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
	receipt, err := w.m.Revoke(ctx, tokenstore.RevokeRequest{ID: id, Targets: []tokenstore.Target{crashTarget(kind, value)}})
	if err != nil {
		w.err = fmt.Errorf("revoke: %w", err)
		return
	}
	w.say("revoked %s %d", id, receipt.Status.Tombstone.Watermark)
}

func crashTarget(kind, value string) tokenstore.Target {
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
