package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"github.com/ory/fosite"
	"github.com/ory/fosite/storage"
)

// memory is the store of a tenant below the manager: what fosite's MemoryStore is compared with, which also gets its inputs
// ready made.
func memory(o *ours, name string) *contender {
	now := time.Now()
	in := newIssuer(o.store)
	var credentials []domain.Credential
	var applications []string
	var salts atomic.Uint64
	return &contender{
		name: name, durable: "none: memory",
		hold: func(rows []row) {
			for i := range rows {
				credentials = append(credentials, rows[i].credential())
				applications = append(applications, rows[i].client)
			}
		},
		fill:    o.fill,
		issue:   in.issue,
		present: func(i int) { seen(credentials[i].Secret().Reveal()) },
		verify: func(ctx context.Context, i int) error {
			c := &credentials[i]
			view, err := o.store.Get(ctx, c.ID)
			if err != nil {
				return err
			}
			if refusal := c.Introspect(&view.Token, view.Revoked(), now, nil); refusal != "" {
				return refusal
			}
			return nil
		},
		exchange: func(ctx context.Context, i int) error {
			rule := domain.Exchange{Credential: credentials[i], Tenant: tenant, ClientID: applications[i], Now: now, Leeway: time.Minute}
			binary.BigEndian.PutUint64(rule.Salt[:], salts.Add(1))
			var last domain.Exchanged
			err := o.store.Update(ctx, rule.Credential.ID, func(view store.View) store.Decision {
				last = rule.Apply(view.Token, view.Revoked())
				if last.Refusal != "" {
					return store.Decision{Err: last.Refusal}
				}
				return store.Decision{Next: last.Next}
			})
			if err == nil {
				credentials[i], err = domain.ParseSecret(last.Secret)
			}
			return err
		},
	}
}

// fositeMemory is fosite's own store in memory. What it looks up is the signature in a secret's text, which it does not hash.
func fositeMemory() *contender {
	s := storage.NewMemoryStore()
	var signatures []string
	applications := map[string]*fosite.DefaultClient{}
	keep := func(ctx context.Context, r *row, client *fosite.DefaultClient) error {
		at := ulid.Time(r.id.Time())
		return s.CreateRefreshTokenSession(ctx, r.signature, "", &fosite.Request{
			ID: r.session, RequestedAt: at, Client: client, Form: url.Values{},
			RequestedScope: fosite.Arguments{"offline_access"}, GrantedScope: fosite.Arguments{"offline_access"},
			Session: &fosite.DefaultSession{
				Subject: r.user, Username: agent,
				ExpiresAt: map[fosite.TokenType]time.Time{fosite.RefreshToken: at.Add(30 * 24 * time.Hour)},
			},
		})
	}
	application := func(r *row) *fosite.DefaultClient {
		if applications[r.client] == nil {
			applications[r.client] = &fosite.DefaultClient{ID: r.client}
		}
		return applications[r.client]
	}
	return &contender{
		name: fositeName, durable: "none: memory",
		hold: func(rows []row) {
			for i := range rows {
				signatures = append(signatures, rows[i].signature)
			}
		},
		fill: func(ctx context.Context, rows []row) error {
			for i := range rows {
				if err := keep(ctx, &rows[i], application(&rows[i])); err != nil {
					return err
				}
			}
			return nil
		},
		issue: func(ctx context.Context, r *row) error {
			return keep(ctx, r, applications[r.client])
		},
		present: func(i int) { seen(signatures[i]) },
		verify: func(ctx context.Context, i int) error {
			_, err := s.GetRefreshTokenSession(ctx, signatures[i], nil)
			return err
		},
		// As its handler does it: three calls, of which another exchange or a revocation may come between any two.
		exchange: func(ctx context.Context, i int) error {
			there, err := s.GetRefreshTokenSession(ctx, signatures[i], nil)
			if err != nil {
				return err
			}
			if err := s.RotateRefreshToken(ctx, there.GetID(), signatures[i]); err != nil {
				return err
			}
			following := sha256.Sum256([]byte(signatures[i]))
			signatures[i] = hex.EncodeToString(following[:])
			return s.CreateRefreshTokenSession(ctx, signatures[i], "", there.Sanitize(nil))
		},
	}
}

// fositeFate is how a process ends that does what fositeCrash does, as the runtime says it; "" if it did not end so.
func fositeFate(ctx context.Context) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), childEnv+"="+fositeChild)
	out, _ := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "fatal error: ") {
			return strings.TrimSpace(line), nil
		}
	}
	return "", nil
}

// fositeCrash looks up tokens and revokes some of them at the same time, as a server does. It is run in a process of its own:
// the Go runtime ends it with "fatal error: concurrent map read and map write", which nothing can recover from.
func fositeCrash(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	s := storage.NewMemoryStore()
	const tokens = 1000
	p := newPopulation(1, 100)
	rows := p.rows(0, tokens)
	signatures := make([]string, tokens)
	for i := range rows {
		signatures[i] = rows[i].signature
		request := &fosite.Request{ID: rows[i].session, Client: &fosite.DefaultClient{}, Session: &fosite.DefaultSession{}}
		if err := s.CreateRefreshTokenSession(ctx, signatures[i], "", request); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, err := s.GetRefreshTokenSession(ctx, signatures[i%tokens], nil)
				if err != nil && !errors.Is(err, fosite.ErrInactiveToken) {
					return
				}
			}
		})
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if s.RevokeRefreshToken(ctx, rows[i%tokens].session) != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return nil
}
