// Package filetest has a history of every call that writes to a file, and what must be true of a file after a crash. It is for
// tests only.
package filetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Host is what uses a file: it opens it, and holds it open.
type Host struct {
	Path    string
	Backend *boltstore.Backend
	Store   store.Store
}

// Step is a call. It may be repeated if it failed, and says of what kind the error must be.
type Step struct {
	Name string
	Run  func(context.Context, *Host) error
	Errs []error // one of which it must be
}

// base is when everything begins.
func base() time.Time { return time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC) }

// History is short, and has every call that writes.
func History() []Step {
	ofWriting := []error{store.ErrNotCommitted, store.ErrUnknownOutcome}
	ofFiles := []error{boltstore.ErrUnusable, boltstore.ErrFull}
	return []Step{
		{"create", Open, ofFiles},
		{"insert", Insert(1, 2, 3, 4, 5, 6, 7), ofWriting},
		{"update", Update(2), ofWriting},
		{"update another", Update(5), ofWriting},
		{"update a third", Update(6), ofWriting},
		{"revoke", Revoke(100, domain.Target{UserID: "user-1"}), ofWriting},
		{"sweep", sweep(100), ofWriting},
		{"snapshot", snapshot, ofFiles},
		{"expire", expire, ofWriting},
		{"close", Close, nil},
		{"open", Open, ofFiles},
		{"insert more", Insert(8, 9), ofWriting},
		{"update more", Update(8), ofWriting},
		{"update the last", Update(9), ofWriting},
		{"revoke more", Revoke(101, domain.Target{SessionID: "session-9"}), ofWriting},
		{"trim", trim, ofWriting},
	}
}

// ID is that of the token, or the revocation, of a number.
func ID(n int) (id ulid.ULID) {
	id[15] = byte(n)
	return id
}

// Open opens the file, and creates it.
func Open(_ context.Context, h *Host) (err error) {
	if h.Backend, err = boltstore.Open(h.Path, nil); err != nil {
		return err
	}
	h.Store, err = h.Backend.Tenant("acme")
	return err
}

// Close releases the file, whatever the error.
func Close(_ context.Context, h *Host) error {
	_ = h.Backend.Close()
	return nil
}

// Insert inserts those of some tokens that are not there.
func Insert(numbers ...int) func(context.Context, *Host) error {
	return func(ctx context.Context, h *Host) error {
		var rows []store.Insertion
		for _, n := range numbers {
			rows = append(rows, store.Insertion{Emit: store.AllKinds, Token: domain.RefreshToken{
				ID: ID(n), UserID: fmt.Sprint("user-", n%3), ClientID: "client", CreatedAt: base(),
				SessionID: domain.MustSessionID(fmt.Sprint("session-", n)), ExpiresAt: base().Add(time.Hour * time.Duration(n)),
			}})
		}
		results, err := h.Store.Insert(ctx, rows)
		for _, r := range results {
			if err == nil && r.Err != nil && !errors.Is(r.Err, store.ErrExists) {
				err = r.Err
			}
		}
		return err
	}
}

// Update writes a note on a token.
func Update(n int) func(context.Context, *Host) error {
	return func(ctx context.Context, h *Host) error {
		return h.Store.Update(ctx, ID(n), func(v store.View) store.Decision {
			next := v.Token
			metadata, err := domain.NewMetadata(map[string]string{"note": "seen"})
			next.Metadata = metadata
			return store.Decision{Next: &next, Err: err}
		})
	}
}

// Revoke revokes under the id of a number.
func Revoke(n int, target domain.Target) func(context.Context, *Host) error {
	return func(ctx context.Context, h *Host) error {
		_, err := h.Store.Revoke(ctx, store.Revocation{
			ID: ID(n), Targets: []domain.Target{target}, Time: base().Add(time.Hour), Emit: store.KindRevoked,
		})
		return err
	}
}

func sweep(n int) func(context.Context, *Host) error {
	return func(ctx context.Context, h *Host) error {
		_, err := h.Store.Apply(ctx, []ulid.ULID{ID(n)}, store.Bounds{Visit: 100, Remove: 100, Now: base().Add(time.Hour)})
		return err
	}
}

func snapshot(ctx context.Context, h *Host) error {
	var copied bytes.Buffer
	return h.Backend.Snapshot(ctx, &copied)
}

func expire(ctx context.Context, h *Host) error {
	_, err := h.Store.Expire(ctx, store.Bounds{Visit: 100, Remove: 100, Now: base().Add(3 * time.Hour)})
	return err
}

func trim(ctx context.Context, h *Host) error {
	end := base().Add(24 * time.Hour)
	_, err := h.Store.Trim(ctx, store.Trim{Guards: end, History: end, Events: base().Add(time.Minute), Limit: 100})
	return err
}

// Dump is what the store holds, if the file is in order.
func (h *Host) Dump(ctx context.Context) (string, error) {
	findings, err := h.Backend.Check(ctx)
	if err == nil && len(findings) > 0 {
		err = fmt.Errorf("the file must be in order: found %q", findings)
	}
	if err != nil {
		return "", err
	}
	return h.Contents(ctx)
}

// Contents is what the store holds.
func (h *Host) Contents(ctx context.Context) (string, error) {
	state, err := h.Store.State(ctx)
	if err != nil {
		return "", err
	}
	tokens, err := h.Store.List(ctx, store.Query{Limit: store.MaxPage})
	if err != nil {
		return "", err
	}
	revocations, err := h.Store.Revocations(ctx, store.RevocationQuery{Limit: store.MaxPage, Retired: true})
	if err != nil {
		return "", err
	}
	text, err := json.Marshal([]any{state, tokens, revocations})
	return string(text), err
}

// Dumps plays the history and returns the dump after each step; a step that closes the file leaves that of the one before.
func (h *Host) Dumps(ctx context.Context) (dumps []string, err error) {
	for _, s := range History() {
		if err := s.Run(ctx, h); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		if s.Name == "close" {
			dumps = append(dumps, dumps[len(dumps)-1])
			continue
		}
		dump, err := h.Dump(ctx)
		if err != nil {
			return nil, fmt.Errorf("after %s: %w", s.Name, err)
		}
		dumps = append(dumps, dump)
	}
	return dumps, h.Backend.Close()
}
