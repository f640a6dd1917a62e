package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
)

// second is the rest of the story, with another engine on the same database.
func second(ctx context.Context, backend store.Backend, h *handover, out io.Writer) error {
	bar := newBar(h.Total, "sweeping")
	acme, us3, err := open(backend, 500, func(s tokenstore.Status) { bar.set(int(s.Swept)) })
	if err != nil {
		return err
	}
	acme.live, acme.revoked = h.Acme.live, h.Acme.revoked
	us3.live, us3.revoked = h.US3.live, h.US3.revoked

	// Nothing sweeps yet, and nothing that was acknowledged is lost.
	if err := h.exchangeAll(ctx, acme); err != nil {
		return fmt.Errorf("after the restart: %w", err)
	}
	fmt.Fprintln(out, "opened the file again: what was revoked is still refused, the others' latest secrets are good")
	if err := h.lags(ctx, acme, out); err != nil {
		return fmt.Errorf("after the restart: %w", err)
	}

	// A login after the revocation is none of its business.
	if _, err := acme.login(ctx, kiosk); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s logged in again: the new token is exchanged\n", kiosk)

	stop := sweeping(ctx, acme.Manager)
	defer stop()
	s, err := acme.Wait(ctx, h.Receipt)
	if err != nil {
		return fmt.Errorf("waiting for the sweep: %w", err)
	}
	bar.done()
	if int(s.Swept) != h.Total {
		return fmt.Errorf("%d tokens swept, want %d", s.Swept, h.Total)
	}
	fmt.Fprintf(out, "the second run has finished the sweep: %d of %d\n", s.Swept, h.Total)

	// What was revoked does not come back.
	if err := acme.importAgain(ctx, out, "tokens.ndjson"); err != nil {
		return err
	}
	if err := errors.Join(acme.compare(ctx), us3.compare(ctx)); err != nil {
		return err
	}
	fmt.Fprintf(out, "compared with our own list: %d revoked tokens are gone, %d others are there\n",
		len(acme.revoked)+len(us3.revoked), len(acme.live)+len(us3.live))
	fmt.Fprintln(out, "converged")
	return nil
}
