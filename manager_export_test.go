package tokenstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
)

// A full export has no secret, and none has what is revoked.
func TestExportTellsNoSecret(t *testing.T) {
	onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
		e := r.liveThrough()
		id := r.introspected(e.pending)
		for _, opts := range []*tokenstore.ExportOptions{nil, full} {
			text, report := r.export(opts)
			for _, secret := range []tokenstore.Secret{e.rotating, e.static, e.bound, e.parent, e.child, e.pending, e.swept, e.outdated} {
				if payload := secret.Reveal()[31:]; strings.Contains(text, payload) {
					t.Error("an export must not have a secret")
				}
			}
			if strings.Contains(text, id) || strings.Contains(text, `"user_id":"erin"`) {
				t.Error("an export must not have what is revoked or erased")
			}
			if lines := strings.Count(text, "\n"); opts == nil && (lines != report.Tokens || strings.Contains(text, "digest")) || opts != nil && lines != report.Tokens+report.Guards+2 {
				t.Errorf("%d lines for %+v", lines, report)
			}
		}
	})
}

// introspected is the id that a secret names.
func (r *rig) introspected(s tokenstore.Secret) string { return s.Reveal()[4:30] }

// A full export is of one moment, or has no end.
func TestExportAtRest(t *testing.T) {
	onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
		r.issue(request("ann"))
		for name, meanwhile := range map[string]func(){
			"issue":  func() { r.issue(request("bob")) },
			"revoke": func() { r.revoke(tokenstore.Target{UserID: "carl"}) },
		} {
			var out bytes.Buffer
			once := meanwhile
			_, err := r.Export(t.Context(), &out, &tokenstore.ExportOptions{Full: true, Progress: func(tokenstore.ExportReport) {
				if once != nil {
					once()
					once = nil
				}
			}})
			if !errors.Is(err, tokenstore.ErrChanged) || strings.Contains(out.String(), `"end"`) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := r.Erase(t.Context(), tokenstore.EraseRequest{UserID: "ann"}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Export(t.Context(), io.Discard, full); !errors.Is(err, tokenstore.ErrChanged) {
			t.Errorf("during an erasure: %v", err)
		}
	})
}

// unmoving is a backend whose stores are nothing but stores.
type unmoving struct{ store.Backend }

func (b unmoving) Tenant(name string) (store.Store, error) {
	s, err := b.Backend.Tenant(name)
	return struct{ store.Store }{s}, err
}

// Without a store that can move there is no full export, and none is taken over.
func TestExportNeedsAMover(t *testing.T) {
	m, err := tokenstore.New(unmoving{memstore.New()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Export(t.Context(), io.Discard, full); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("export: %v", err)
	}
	if _, err := m.ImportFull(t.Context(), strings.NewReader(""), nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("import: %v", err)
	}
	if _, err := m.Export(t.Context(), io.Discard, nil); err != nil {
		t.Errorf("resources: %v", err)
	}
}

// A full disk, or a reader that has gone, ends an export with its error.
func TestExportToABrokenWriter(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	r.issue(request("ann"))
	for _, opts := range []*tokenstore.ExportOptions{nil, full} {
		if _, err := r.Export(t.Context(), brokenWriter{}, opts); !errors.Is(err, errBroken) {
			t.Errorf("%v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Export(ctx, io.Discard, full); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }
