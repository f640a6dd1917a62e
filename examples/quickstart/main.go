// Command quickstart is tokenstore's main job on real input. It imports some 1,300 refresh tokens of two tenants, issues
// and exchanges a few more, revokes all of one user's, and shows that they are refused at once while their records are
// still being swept. At the end it compares what is there with its own list of what it revoked.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, memstore.New(), os.Stdout); err != nil {
		log.Fatalf("quickstart: %v", err)
	}
}

const (
	kiosk = "auth0|kiosk"   // has hundreds of tokens in one tenant, and dozens in the other
	other = "auth0|user-01" // is never revoked
)

// run writes its report to out. Nothing is written that has not been seen to be true; what is not is the error.
func run(ctx context.Context, backend store.Backend, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	// Small slices, and a halt after each until we have looked: so the lag of the sweep is there to be seen.
	slice := make(chan tokenstore.Status, 1)
	looking, looked := context.WithCancel(ctx)
	defer looked()
	swept := func(_ string, s tokenstore.Status) {
		select {
		case slice <- s:
		default:
		}
		<-looking.Done()
	}
	manager, err := tokenstore.New(backend, &tokenstore.Options{
		Tenant: "acme",
		Engine: revocation.Options{MaxSlice: 40, Events: revocation.Events{Swept: swept}},
	})
	if err != nil {
		return err
	}
	rule := tokenstore.US3()
	managerUS3, err := manager.Tenant("acme-us-3", &rule)
	if err != nil {
		return err
	}
	acme, us3 := newTenant(manager), newTenant(managerUS3)

	// New has started nothing. Run sweeps, for all tenants, until its context ends.
	ended := make(chan error, 1)
	go func() { ended <- manager.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	// Tokens from elsewhere: in one region those from before 2023-09-21 have no session id, in US-3 up to 2024-02-22.
	if err := acme.importFile(ctx, out, "tokens.ndjson"); err != nil {
		return err
	}
	if err := us3.importFile(ctx, out, "tokens-us-3.ndjson"); err != nil {
		return err
	}

	// Tokens of our own: each is issued, and its secret exchanged for the next one.
	var kiosks, others []client
	for range 3 {
		k, err := acme.login(ctx, kiosk)
		if err != nil {
			return err
		}
		o, err := acme.login(ctx, other)
		if err != nil {
			return err
		}
		kiosks, others = append(kiosks, k), append(others, o)
	}
	fmt.Fprintf(out, "issued and exchanged %d tokens\n", len(kiosks)+len(others))

	// A client that lost the answer asks again, with the secret that it still has.
	lost := others[0]
	first, err := acme.exchange(ctx, &lost)
	if err != nil {
		return err
	}
	second, err := acme.exchange(ctx, &others[0])
	if err != nil {
		return err
	}
	if !second.Retried || first.Secret.Reveal() != second.Secret.Reveal() {
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
	total := acme.noteRevoked(kiosk)
	for _, c := range kiosks {
		if _, err := acme.exchange(ctx, &c); !errors.Is(err, tokenstore.ErrRevoked) {
			return fmt.Errorf("exchange after the revocation: got %v, want %v", err, tokenstore.ErrRevoked)
		}
	}
	for i := range others {
		if _, err := acme.exchange(ctx, &others[i]); err != nil {
			return fmt.Errorf("exchange of another user's token: %w", err)
		}
	}
	fmt.Fprintf(out, "revoked %s in acme: its exchanges are refused at once, others are not\n", kiosk)

	// The records go later: the sweep has come no further than its first slice.
	var s tokenstore.Status
	select {
	case s = <-slice:
	case <-ctx.Done():
		return fmt.Errorf("nothing has been swept: %w", ctx.Err())
	}
	eventual, err := acme.count(ctx, tokenstore.ListRequest{UserID: kiosk})
	if err != nil {
		return err
	}
	fenced, err := acme.count(ctx, tokenstore.ListRequest{UserID: kiosk, Consistency: tokenstore.Fenced})
	if err != nil {
		return err
	}
	if n := int(s.Swept); n < 1 || n >= total || eventual != total-n || fenced != 0 {
		return fmt.Errorf("the view does not lag as it should: %d of %d swept, %d listed, %d by a fenced list", n, total, eventual, fenced)
	}
	fmt.Fprintf(out, "the view lags: %d of %d swept, %d still listed, %d by a fenced list\n", s.Swept, total, eventual, fenced)

	// A login after the revocation is none of its business.
	if _, err := acme.login(ctx, kiosk); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s logged in again: the new token is exchanged\n", kiosk)

	looked()
	if s, err = acme.Wait(ctx, receipt); err != nil {
		return fmt.Errorf("waiting for the sweep: %w", err)
	}
	if int(s.Swept) != total {
		return fmt.Errorf("%d tokens swept, want %d", s.Swept, total)
	}
	fmt.Fprintf(out, "swept %d of %d\n", s.Swept, total)

	// What was revoked does not come back.
	if err := acme.importAgain(ctx, out, "tokens.ndjson"); err != nil {
		return err
	}

	for _, t := range []*tenant{acme, us3} {
		if err := t.compare(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "compared with our own list: %d revoked tokens are gone, %d others are there\n",
		len(acme.revoked)+len(us3.revoked), len(acme.live)+len(us3.live))
	fmt.Fprintln(out, "converged")
	return nil
}
