package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
)

// first is the first half of the story, up to the middle of the sweep. halt is called there, and has what the second half
// must know; the sweep goes on only when it returns.
func first(ctx context.Context, backend store.Backend, n int, out io.Writer, halt func(*handover) error) error {
	// Small slices, and a halt after the first of them: so the lag of the sweep is there to be seen.
	slice := make(chan tokenstore.Status)
	looking, looked := context.WithCancel(ctx)
	acme, us3, err := open(backend, 40, func(s tokenstore.Status) {
		select {
		case slice <- s:
			<-looking.Done()
		case <-looking.Done():
		}
	})
	if err != nil {
		looked()
		return err
	}
	// New has started nothing. Run sweeps, for all tenants, until its context ends.
	stop := sweeping(ctx, acme.Manager)
	defer stop()
	defer looked()

	// Tokens from elsewhere.
	if err := errors.Join(acme.importFile(ctx, out, "tokens.ndjson"), us3.importFile(ctx, out, "tokens-us-3.ndjson")); err != nil {
		return err
	}
	if err := acme.importMore(ctx, out, n); err != nil {
		return err
	}

	// Tokens of our own: each is issued, and its secret exchanged for the next one.
	h := &handover{Acme: acme, US3: us3}
	for range 3 {
		k, err := acme.login(ctx, kiosk)
		if err != nil {
			return err
		}
		o, err := acme.login(ctx, other)
		if err != nil {
			return err
		}
		h.Kiosks, h.Others = append(h.Kiosks, k), append(h.Others, o)
	}
	fmt.Fprintf(out, "issued and exchanged %d tokens\n", len(h.Kiosks)+len(h.Others))

	// A client that lost the answer asks again, with the secret that it still has.
	lost := h.Others[0]
	one, err := acme.exchange(ctx, &lost)
	if err != nil {
		return err
	}
	two, err := acme.exchange(ctx, &h.Others[0])
	if err != nil {
		return err
	}
	if !two.Retried || one.Secret.Reveal() != two.Secret.Reveal() {
		return errors.New("the retry of a lost answer got another secret")
	}
	fmt.Fprintln(out, "lost an answer and asked again: the secret is identical")

	// The revocation: one write, whatever it reaches. From here on every exchange is refused.
	receipt, err := acme.Revoke(ctx, tokenstore.RevokeRequest{
		Targets: []tokenstore.Target{{UserID: kiosk}}, Reason: "stolen", Actor: "quickstart",
	})
	if err != nil {
		return err
	}
	h.Receipt, h.Total = receipt, acme.noteRevoked(kiosk)
	if err := h.exchangeAll(ctx, acme); err != nil {
		return err
	}
	fmt.Fprintf(out, "revoked %s in acme: its exchanges are refused at once, others are not\n", kiosk)

	// The records go later: the sweep has come no further than its first slice.
	select {
	case <-slice:
	case <-ctx.Done():
		return fmt.Errorf("nothing has been swept: %w", ctx.Err())
	}
	if err := h.lags(ctx, acme, out); err != nil {
		return err
	}
	return halt(h)
}

// exchangeAll has all clients use their secrets: those of the kiosk are refused, the others are not.
func (h *handover) exchangeAll(ctx context.Context, acme *tenant) error {
	for _, c := range h.Kiosks {
		if _, err := acme.exchange(ctx, &c); !errors.Is(err, tokenstore.ErrRevoked) {
			return fmt.Errorf("exchange of a revoked token: got %v, want %v", err, tokenstore.ErrRevoked)
		}
	}
	for i := range h.Others {
		if _, err := acme.exchange(ctx, &h.Others[i]); err != nil {
			return fmt.Errorf("exchange of another user's token: %w", err)
		}
	}
	return nil
}

// lags shows how far the view is behind the revocation.
func (h *handover) lags(ctx context.Context, acme *tenant, out io.Writer) error {
	s, err := acme.Revocation(ctx, h.Receipt.ID())
	if err != nil {
		return err
	}
	eventual, err := acme.count(ctx, tokenstore.ListRequest{UserID: kiosk})
	if err != nil {
		return err
	}
	fenced, err := acme.count(ctx, tokenstore.ListRequest{UserID: kiosk, Consistency: tokenstore.Fenced})
	if err != nil {
		return err
	}
	if n := int(s.Swept); n < 1 || n >= h.Total || eventual != h.Total-n || fenced != 0 {
		return fmt.Errorf("the view does not lag as it should: %d of %d swept, %d listed, %d by a fenced list", n, h.Total, eventual, fenced)
	}
	fmt.Fprintf(out, "the view lags: %d of %d swept, %d still listed, %d by a fenced list\n", s.Swept, h.Total, eventual, fenced)
	return nil
}
