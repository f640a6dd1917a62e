package tokenstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"os"
	"path/filepath"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
)

// The copy of a feed in docs/getting-started.md.

// copyFeed appends what is revoked to a file, each event synced. It goes on after the last whole line; a new file begins with the events
// that there are.
func copyFeed(ctx context.Context, name string, events func(context.Context, uint64) iter.Seq2[tokenstore.Event, error]) error {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_SYNC, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	if len(text) > 0 && text[0] != '{' {
		return errors.New("no copy of a feed")
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1] // a crash may have left half a line
	last := uint64(0)
	for event, err := range tokenstore.ReadEvents(bytes.NewReader(text)) {
		if err != nil {
			return err
		}
		last = event.Number
	}
	if _, err := file.Seek(int64(len(text)), io.SeekStart); err != nil {
		return err
	}
	if err := file.Truncate(int64(len(text))); err != nil {
		return err
	}
	for {
		err := tokenstore.WriteEvents(file, events(ctx, last))
		var gone *tokenstore.CursorGoneError
		if at, seek := file.Seek(0, io.SeekCurrent); !errors.As(err, &gone) || at > 0 || seek != nil {
			return errors.Join(err, seek)
		}
		last = gone.Resume
	}
}

// What was revoked since the backup stays revoked, by a copy of the feed that was kept elsewhere.
func ExampleRestore() {
	dir, err := os.MkdirTemp("", "tokenstore-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	ctx := context.Background()
	copied, backup := filepath.Join(dir, "feed.ndjson"), filepath.Join(dir, "backup.db")

	backend, err := boltstore.Open(filepath.Join(dir, "tokens.db"), nil)
	check(err)
	tokens, err := tokenstore.New(backend, nil)
	check(err)
	secrets := map[string]tokenstore.Secret{}
	for _, user := range []string{"ann", "ben", "cid"} {
		issued, err := tokens.Issue(ctx, tokenstore.IssueRequest{UserID: user, ClientID: "web", SessionID: tokenstore.MustSessionID(user)})
		check(err)
		secrets[user] = issued.Secret
	}
	check(backend.Backup(ctx, backup))
	for _, user := range []string{"ben", "cid"} {
		_, err = tokens.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: user}}})
		check(err)
		check(copyFeed(ctx, copied, tokens.Events)) // a server has tokens.Follow here, which waits for more
		file, err := os.OpenFile(copied, os.O_APPEND|os.O_WRONLY, 0)
		check(err)
		_, err = file.WriteString(`{"number":"`) // as a crash leaves it
		check(errors.Join(err, file.Close()))
	}
	check(copyFeed(ctx, copied, tokens.Events))
	check(backend.Close())

	// The disk is lost.
	events, err := os.Open(copied)
	check(err)
	defer events.Close()
	restored := filepath.Join(dir, "restored.db")
	check(boltstore.Restore(ctx, backup, restored, func(ctx context.Context, b *boltstore.Backend) error {
		_, err := tokenstore.Restore(ctx, b, tokenstore.RestoreRequest{Events: map[string]io.ReadSeeker{"default": events}})
		return err
	}))
	backend, err = boltstore.Open(restored, nil)
	check(err)
	tokens, err = tokenstore.New(backend, nil)
	check(err)
	fmt.Println("the old copy ends:", errors.Is(copyFeed(ctx, copied, tokens.Events), tokenstore.ErrCursorGone))
	check(copyFeed(ctx, filepath.Join(dir, "feed-2.ndjson"), tokens.Events))
	for _, user := range []string{"ann", "ben", "cid"} {
		_, err := tokens.Exchange(ctx, tokenstore.ExchangeRequest{Secret: secrets[user], ClientID: "web"})
		fmt.Println(user, err)
	}
	check(backend.Close())
	// Output:
	// the old copy ends: true
	// ann <nil>
	// ben tokenstore: refused: revoked
	// cid tokenstore: refused: revoked
}
