package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

const tenant = "bench"

// ours is a manager on one of our backends, and what its clients hold.
type ours struct {
	backend store.Backend
	store   store.Store
	manager *tokenstore.Manager

	held []held // of the loaded rows, in their order
	// read are their secrets as a server has read them off connections, where a call is too quick to read one; nil where each call does.
	read []tokenstore.Secret
}

// held is what a client holds. Its secret is no pointer, as little as those of a peer's clients.
type held struct {
	id     ulid.ULID
	client string
	text   [95]byte
}

// secret is what the client of the i-th row presents, as a server has read it off a connection.
func (o *ours) secret(i int) tokenstore.Secret {
	if o.read != nil {
		return o.read[i]
	}
	return tokenstore.NewSecret(string(o.held[i].text[:]))
}

// keep notes what the client presents from now on.
func (o *ours) keep(i int, secret tokenstore.Secret) {
	copy(o.held[i].text[:], secret.Reveal())
	if o.read != nil {
		o.read[i] = secret
	}
}

func newOurs(backend store.Backend, outbox tokenstore.Kinds) *ours {
	return &ours{
		backend: backend, store: must(backend.Tenant(tenant)),
		manager: must(tokenstore.New(backend, &tokenstore.Options{Tenant: tenant, Outbox: outbox})),
	}
}

func openBolt(path string) *boltstore.Backend { return must(boltstore.Open(path, nil)) }

// tokenstoreBolt is the manager on boltstore.
func tokenstoreBolt(dir, name string, outbox tokenstore.Kinds) *contender {
	backend := openBolt(filepath.Join(dir, fmt.Sprintf("tokenstore-%d.db", outbox)))
	c := newOurs(backend, outbox).contender(name, "synced in every commit")
	c.shared = backend.Stats
	return c
}

func tokenstoreMemory() *ours {
	o := newOurs(memstore.New(), tokenstore.NoOutbox)
	o.read = []tokenstore.Secret{}
	return o
}

func (o *ours) contender(name, durable string) *contender {
	return &contender{
		name: name, durable: durable,
		fill: o.fill, hold: o.hold, issue: o.issue, get: o.get, present: o.present, verify: o.verify, exchange: o.exchange,
		revoke:       func(ctx context.Context, i int) error { return o.end(ctx, tokenstore.Target{TokenID: o.held[i].id}) },
		revokeUser:   func(ctx context.Context, user string) error { return o.end(ctx, tokenstore.Target{UserID: user}) },
		getID:        o.getID,
		revokeTarget: func(ctx context.Context, target tokenstore.Target) error { return o.end(ctx, target) },
		close:        o.backend.Close,
	}
}

func (o *ours) hold(rows []row) {
	for i := range rows {
		h := held{id: rows[i].id, client: rows[i].client}
		o.held = append(o.held, h)
		secret := rows[i].credential().Secret()
		if o.read != nil {
			o.read = append(o.read, secret)
		}
		o.keep(len(o.held)-1, secret)
	}
}

func (o *ours) fill(ctx context.Context, rows []row) error {
	for len(rows) > 0 {
		n := min(len(rows), store.MaxBatch)
		batch := make([]store.Insertion, n)
		for i := range batch {
			batch[i].Token = rows[i].token()
			(*tokenstore.PepperRing)(nil).Seal(&batch[i].Token, rows[i].credential())
		}
		results, err := o.store.Insert(ctx, batch)
		if err != nil {
			return err
		}
		for _, r := range results {
			if r.Err != nil {
				return r.Err
			}
		}
		rows = rows[n:]
	}
	return nil
}

func (o *ours) issue(ctx context.Context, r *row) error {
	_, err := o.manager.Issue(ctx, tokenstore.IssueRequest{
		UserID: r.user, ClientID: r.client, SessionID: must(domain.NewSessionID(r.session)), Offline: true,
		Device: tokenstore.Device{InitialIP: "203.0.113.77", InitialUserAgent: agent},
	})
	return err
}

func (o *ours) get(ctx context.Context, i int) error {
	return o.getID(ctx, o.held[i].id)
}

func (o *ours) getID(ctx context.Context, id ulid.ULID) error {
	_, err := o.manager.Get(ctx, id, tokenstore.Eventual)
	return err
}

func (o *ours) present(i int) { seen(o.secret(i).Reveal()) }

func (o *ours) verify(ctx context.Context, i int) error {
	in, err := o.manager.Introspect(ctx, o.secret(i))
	if err == nil && !in.Active {
		err = in.Cause
	}
	return err
}

func (o *ours) exchange(ctx context.Context, i int) error {
	h := &o.held[i]
	next, err := o.manager.Exchange(ctx, tokenstore.ExchangeRequest{Secret: o.secret(i), ClientID: h.client})
	if err == nil && next.Retried {
		err = errors.New("one secret was exchanged twice at once")
	}
	if err == nil {
		o.keep(i, next.Secret)
	}
	return err
}

func (o *ours) end(ctx context.Context, targets ...tokenstore.Target) error {
	_, err := o.manager.Revoke(ctx, tokenstore.RevokeRequest{Targets: targets})
	return err
}
