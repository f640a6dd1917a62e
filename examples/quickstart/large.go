package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// importMore imports n generated tokens, a batch at a time, half of them of the user who is revoked.
func (t *tenant) importMore(ctx context.Context, out io.Writer, n int) error {
	if n == 0 {
		return nil
	}
	bar := newBar(n, "importing")
	created := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	for from := 0; from < n; from += 1000 {
		var batch []tokenstore.RefreshToken
		for i := from; i < min(n, from+1000); i++ {
			user := kiosk
			if i%2 == 0 {
				user = fmt.Sprintf("auth0|more-%d", i/20)
			}
			batch = append(batch, tokenstore.RefreshToken{
				ID: generated(created, i), UserID: user, ClientID: "web", CreatedAt: created,
				SessionID: tokenstore.MustSessionID(fmt.Sprintf("more_%d", i)),
			})
		}
		results, err := t.Import(ctx, batch)
		if err != nil {
			return err
		}
		for i, result := range results {
			if result.Outcome != tokenstore.Imported {
				return fmt.Errorf("generated token %d was not imported: %v", from+i, result.Err)
			}
			t.live[result.ID] = batch[i].UserID
		}
		bar.set(from + len(batch))
	}
	bar.done()
	fmt.Fprintf(out, "imported %d generated tokens\n", n)
	return nil
}

// generated is the id of the i-th generated token.
func generated(created time.Time, i int) (id ulid.ULID) {
	_ = id.SetTime(uint64(created.UnixMilli()))
	binary.BigEndian.PutUint64(id[8:], uint64(i))
	return id
}

// bar is a progress bar, on a terminal only, and only for what takes a while.
type bar struct{ *progressbar.ProgressBar }

func newBar(total int, what string) bar {
	if total < 10_000 || !term.IsTerminal(int(os.Stderr.Fd())) {
		return bar{}
	}
	return bar{progressbar.NewOptions(total, progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
		progressbar.OptionSetWriter(os.Stderr), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))}
}

func (b bar) set(n int) {
	if b.ProgressBar != nil {
		_ = b.Set(n)
	}
}

func (b bar) done() {
	if b.ProgressBar != nil {
		_ = b.Finish()
	}
}
