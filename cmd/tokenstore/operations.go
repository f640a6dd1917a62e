package main

import (
	"context"
	"errors"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// watch counts what is asked of a backend.
func (m *measures) watch(b store.Backend) store.Backend { return &watched{b, m} }

type watched struct {
	store.Backend
	measures *measures
}

func (w *watched) Tenant(name string) (store.Store, error) {
	s, err := w.Backend.Tenant(name)
	if err != nil {
		return nil, err
	}
	return &watchedStore{s, w.measures}, nil
}

// watchedStore counts the operations of a store by what came of them.
type watchedStore struct {
	store.Store
	measures *measures
}

func (s *watchedStore) count(operation string, err error) {
	s.measures.operations.WithLabelValues(operation, outcome(err)).Inc()
}

// outcome is what came of an operation, in one word.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, store.ErrNotFound):
		return "not_found"
	case errors.Is(err, tokenstore.ErrInvalidGrant), errors.Is(err, store.ErrCovered):
		return "refused"
	case errors.Is(err, tokenstore.ErrInvalid), errors.Is(err, store.ErrConflict):
		return "invalid"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "canceled"
	}
	return "failed"
}

func (s *watchedStore) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	out, err := s.Store.Insert(ctx, rows)
	s.count("insert", err)
	return out, err
}

func (s *watchedStore) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	out, err := s.Store.Get(ctx, id)
	s.count("get", err)
	return out, err
}

func (s *watchedStore) List(ctx context.Context, q store.Query) (store.Page, error) {
	out, err := s.Store.List(ctx, q)
	s.count("list", err)
	return out, err
}

func (s *watchedStore) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	err := s.Store.Update(ctx, id, decide)
	s.count("update", err)
	return err
}

func (s *watchedStore) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	out, err := s.Store.Revoke(ctx, r)
	s.count("revoke", err)
	return out, err
}

func (s *watchedStore) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	out, err := s.Store.Apply(ctx, ids, bounds)
	s.count("sweep", err)
	return out, err
}

func (s *watchedStore) Expire(ctx context.Context, bounds store.Bounds) (store.Expired, error) {
	out, err := s.Store.Expire(ctx, bounds)
	s.count("expire", err)
	return out, err
}

func (s *watchedStore) Trim(ctx context.Context, t store.Trim) (store.Trimmed, error) {
	out, err := s.Store.Trim(ctx, t)
	s.count("trim", err)
	return out, err
}
