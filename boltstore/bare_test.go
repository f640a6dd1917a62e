package boltstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
)

// BenchmarkAgainstBare measures an issue and an exchange against commits of the bare record: the same bytes under the same ids, in
// one bucket, with the same grouping, and no index, fence or counter. Turns of both follow one another. It reports the ratio of
// times, and what is written for an operation, in runs of pages.
func BenchmarkAgainstBare(b *testing.B) {
	for _, op := range []string{"issue", "exchange"} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprint(op, "/", callers), func(b *testing.B) {
				p := newPair(b)
				fresh := [2][][]domain.RefreshToken{}
				var ratios []float64
				var all [2]time.Duration
				var pages [2]int64
				turns := 0
				for b.Loop() {
					for which := range fresh {
						fresh[which] = p.tokens(callers, 1+64/callers)
					}
					var took [2]time.Duration
					for i := range 2 {
						which := (i + turns) % 2
						before := p.backends[which].PagesWritten()
						took[which] = p.turn(b, op, which, fresh[which])
						pages[which] += p.backends[which].PagesWritten() - before
					}
					turns++
					all[0], all[1] = all[0]+took[0], all[1]+took[1]
					ratios = append(ratios, float64(took[0])/float64(took[1]))
				}
				b.ReportMetric(float64(all[0])/float64(all[1]), "x-of-bare-in-all") // a turn with a merge weighs as much as it took
				slices.Sort(ratios)
				ops := float64(turns * callers * (1 + 64/callers))
				b.ReportMetric(ratios[len(ratios)/2], "x-of-bare")
				b.ReportMetric(float64(pages[0])/ops, "writes/op")
				b.ReportMetric(float64(pages[1])/ops, "bare-writes/op")
			})
		}
	}
}

// pair is a store, and a file of bare records.
type pair struct {
	backends [2]*Backend // the store's, and that of the bare records
	store    store.Store
	held     []domain.RefreshToken
	source   *ulid.MonotonicEntropy
	at       time.Time
	turns    int
}

var bareBucket = []byte("bare")

func newPair(b *testing.B) *pair {
	b.Helper()
	p := &pair{source: ulid.Monotonic(rand.Reader, 0), at: instant}
	for i := range p.backends {
		var err error
		if p.backends[i], err = Open(filepath.Join(b.TempDir(), "tokens.db"), nil); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = p.backends[i].Close() })
	}
	var err error
	if p.store, err = p.backends[0].Tenant("acme"); err != nil {
		b.Fatal(err)
	}
	if err := p.backends[1].db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(bareBucket); return err }); err != nil {
		b.Fatal(err)
	}
	for range 20 {
		batch := p.tokens(1, 1000)
		p.held = append(p.held, batch[0]...)
		rows := make([]store.Insertion, len(batch[0]))
		for i := range rows {
			rows[i].Token = batch[0][i]
		}
		if _, err := p.store.Insert(context.Background(), rows); err != nil {
			b.Fatal(err)
		}
		p.bare(b, batch[0]...)
	}
	return p
}

// tokens makes so many tokens for each caller.
func (p *pair) tokens(callers, each int) [][]domain.RefreshToken {
	all := make([][]domain.RefreshToken, callers)
	for range each {
		for c := range all {
			p.at = p.at.Add(time.Millisecond)
			id := ulid.MustNew(ulid.Timestamp(p.at), p.source)
			all[c] = append(all[c], domain.RefreshToken{
				ID: id, UserID: "auth0|" + rand.Text(), ClientID: "client-of-twenty-characters", CreatedAt: p.at,
				SessionID: domain.MustSessionID(rand.Text()), ExpiresAt: p.at.Add(720 * time.Hour), IdleExpiresAt: p.at.Add(168 * time.Hour),
				Device:       domain.Device{InitialIP: "203.0.113.7", InitialUserAgent: "Mozilla/5.0 (X11; Linux)"},
				FamilyDigest: domain.Digest([]byte(rand.Text() + rand.Text())[:32]), Rotating: true,
				SecretDigest: domain.Digest{1}, // so that an exchange changes no size
			})
		}
	}
	return all
}

// bare commits records and nothing else.
func (p *pair) bare(b *testing.B, tokens ...domain.RefreshToken) {
	encoded := make([][]byte, len(tokens)) // before the commit, as an exchange has it
	for i := range tokens {
		encoded[i] = encode(&record{token: tokens[i]}, recordFields)
	}
	err := p.backends[1].update(context.Background(), func(x *txn) error {
		x.dirty = true
		bucket := x.tx.Bucket(bareBucket)
		bucket.FillPercent = fillTokens
		for i := range tokens {
			check(bucket.Put(tokens[i].ID[:], encoded[i]))
		}
		return nil
	})
	if err != nil {
		b.Error(err)
	}
}

// turn has all callers issue their tokens, or exchange as many that are held, and returns how long it took.
func (p *pair) turn(b *testing.B, op string, which int, tokens [][]domain.RefreshToken) time.Duration {
	var wg sync.WaitGroup
	p.turns++
	first := p.turns / 2 * len(tokens) * len(tokens[0]) // of those that are held: in the next turn of the same it is others
	began := time.Now()
	for c, mine := range tokens {
		wg.Go(func() {
			for i := range mine {
				held := &p.held[(first+c*len(mine)+i)*7919%len(p.held)]
				switch {
				case which == 1 && op == "issue":
					p.bare(b, mine[i])
				case which == 1:
					p.bare(b, *held)
				case op == "issue":
					if _, err := p.store.Insert(context.Background(), []store.Insertion{{Token: mine[i]}}); err != nil {
						b.Error(err)
					}
				default:
					err := p.store.Update(context.Background(), held.ID, func(v store.View) store.Decision {
						v.Token.Generation++
						v.Token.SecretDigest = mine[i].FamilyDigest
						return store.Decision{Next: &v.Token}
					})
					if err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}
