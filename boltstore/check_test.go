package boltstore

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
)

// lived is a file with a tenant that has a little of everything, whose index has not settled.
func lived(t *testing.T) *Backend {
	t.Helper()
	b, s := rig(t)
	for n := range byte(3) {
		insertOne(t, s, n+1, "ann")
	}
	session := domain.RefreshToken{ID: ulid.ULID{15: 4}, UserID: "bob", ClientID: "client", CreatedAt: instant, SessionID: domain.MustSessionID("session")}
	if _, err := s.Insert(t.Context(), []store.Insertion{{Token: session}}); err != nil {
		t.Fatal(err)
	}
	for n, target := range []domain.Target{
		{UserID: "carl"}, {UserID: "carl"}, {UserID: "dora"}, // 1 is superseded by 2, both and 3 are retired
		{UserID: "ann", ClientID: "other"}, {IssuedBefore: instant}, // 4 and 5 are pending, the second without an anchor
	} {
		r := store.Revocation{ID: ulid.ULID{14: 1, 15: byte(n + 1)}, Targets: []domain.Target{target}, Time: instant.Add(time.Duration(n))}
		if _, err := s.Revoke(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	retireAll(t, s, revocationID(2), revocationID(3))
	return b
}

func tokenID(n byte) ulid.ULID      { return ulid.ULID{15: n} }
func revocationID(n byte) ulid.ULID { return ulid.ULID{14: 1, 15: n} }

// rewrite changes a value of a bucket.
func rewrite[T any](b *bbolt.Bucket, key []byte, fields func(*codec.Coder, *T), change func(*T)) error {
	value, err := decode(b.Get(key), fields)
	if err != nil {
		return err
	}
	change(&value)
	return b.Put(key, encode(&value, fields))
}

// move puts a value under another key.
func move(b *bbolt.Bucket, from, to []byte) error {
	return errors.Join(b.Put(to, bytes.Clone(b.Get(from))), b.Delete(from))
}

// Where one record is damaged, few entries of the index are looked up: of so many that a look-up for each would take many times as long as
// the rest of the check.
func TestCheckLooksUpFew(t *testing.T) {
	const tokens = 1000
	b, s := rig(t)
	rows := make([]store.Insertion, tokens)
	for i := range rows {
		rows[i].Token = domain.RefreshToken{ID: ulid.ULID{0: 1, 14: byte(i >> 8), 15: byte(i)}, UserID: strconv.Itoa(i), ClientID: "client", CreatedAt: instant}
	}
	if _, err := s.Insert(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	err := b.db.Update(func(tx *bbolt.Tx) error {
		root := tx.Bucket(bucketTenants).Bucket([]byte("acme"))
		if err := root.Bucket(bucketTokens).Put(rows[7].Token.ID[:], []byte("damaged")); err != nil {
			return err
		}
		var named int
		c := checker{
			ctx: t.Context(), records: &records{txn: &txn{tx: tx}, name: "acme", root: root}, seed: maphash.MakeSeed(),
			yield: func(string) bool { named++; return true },
		}
		c.records.meta = must(decode(root.Get(keyMeta), metaFields))
		if c.tokens(); named != 1 {
			t.Errorf("%d records were found to be damaged", named)
		}
		if c.index(); named != 2 { // that there are too many entries
			t.Errorf("%d findings", named)
		}
		for _, index := range [][]byte{bucketFresh, bucketRuns} { // now none is in it, and each that is looked up is missing
			if root.Bucket(index) == nil {
				continue
			}
			if err := root.DeleteBucket(index); err != nil {
				return err
			}
			if _, err := root.CreateBucket(index); err != nil {
				return err
			}
		}
		named = 0
		if c.missing(); named > tokens/20 {
			t.Errorf("%d entries were looked up, of %d tokens", named, tokens)
		}
		return errors.New("as it was")
	})
	if err == nil || err.Error() != "as it was" {
		t.Error(err)
	}
}

// TestCheckFinds damages a tenant in every way that can be told, and has Check tell it.
func TestCheckFinds(t *testing.T) {
	type damage func(pending, root *bbolt.Bucket) error
	in := func(bucket []byte, f func(b *bbolt.Bucket) error) damage {
		return func(_, root *bbolt.Bucket) error { return f(root.Bucket(bucket)) }
	}
	token := func(change func(*record)) damage {
		id := tokenID(2)
		return in(bucketTokens, func(b *bbolt.Bucket) error { return rewrite(b, id[:], recordFields, change) })
	}
	known := func(change func(*meta)) damage {
		return func(_, root *bbolt.Bucket) error { return rewrite(root, keyMeta, metaFields, change) }
	}
	spoilt := func(bucket, key []byte) damage {
		return in(bucket, func(b *bbolt.Bucket) error { return b.Put(key, []byte("damaged")) })
	}
	firstGone := func(bucket []byte) damage {
		return in(bucket, func(b *bbolt.Bucket) error { k, _ := b.Cursor().First(); return b.Delete(bytes.Clone(k)) })
	}
	extra := func(bucket, key []byte) damage {
		return in(bucket, func(b *bbolt.Bucket) error { return b.Put(key, nil) })
	}
	one, other := tokenID(1), tokenID(99)
	retired, live, elsewhere := revocationID(2), revocationID(4), revocationID(99)
	guard := guardKey(&domain.Guard{Target: domain.Target{UserID: "dora"}})
	for _, c := range []struct {
		what, want string
		damage     damage
	}{
		{"nothing", "", func(_, _ *bbolt.Bucket) error { return nil }},
		{"a token is not to be read", "token 00000000000000000000000001: boltstore: file is corrupt: damaged: a record's checksum is wrong", spoilt(bucketTokens, one[:])},
		{"a token is elsewhere", "token 00000000000000000000000001 is stored as 00000000000000000000000033", in(bucketTokens, func(b *bbolt.Bucket) error { return move(b, one[:], other[:]) })},
		{"a token is gone", "it counts 4 tokens, and has 3", in(bucketTokens, func(b *bbolt.Bucket) error { return b.Delete(one[:]) })},
		{"a token is gone, and not from the index", "the index has 5 entries for 4 of the records", in(bucketTokens, func(b *bbolt.Bucket) error { return b.Delete(one[:]) })},
		{"a token has no number", "sequence out of range", token(func(r *record) { r.token.Sequence = 0 })},
		{"a token has a number to come", "sequence out of range", token(func(r *record) { r.token.Sequence = 1000 })},
		{"a token is too young", "created after the latest", token(func(r *record) { r.token.CreatedAt = instant.Add(1) })},
		{"a token is of no client", "token 00000000000000000000000002: tokenstore: client_id", token(func(r *record) { r.token.ClientID = "" })},
		{"a token is another user's", "is not in the index", token(func(r *record) { r.token.UserID = "zoe" })},
		{"too many tokens are counted", "it counts 5 tokens, and has 4", known(func(m *meta) { m.tokens++ })},
		{"too many without a session", "it counts 4 tokens without a session, and has 3", known(func(m *meta) { m.sessionless++ })},
		{"too many pending", "it counts 3 pending revocations, and has 2", known(func(m *meta) { m.pending++ })},
		{"too many without an anchor", "it counts 2 pending revocations without anchor, and has 1", known(func(m *meta) { m.open++ })},
		{"too many guards", "it counts 3 guards, and has 2", known(func(m *meta) { m.guards++ })},
		{"too long a history", "it counts 4 retired revocations, and has 3", known(func(m *meta) { m.history++ })},
		{"too many events", "it counts 1 events, and has 0", known(func(m *meta) { m.events++ })},
		{"too many are fresh", "entries of the index are fresh, and should be", known(func(m *meta) { m.fresh++ })},
		{"a pending one is not to be read", "revocation 00000000000000000000000084: boltstore", spoilt(bucketLive, live[:])},
		{"a pending one is elsewhere", "is stored as", in(bucketLive, func(b *bbolt.Bucket) error { return move(b, live[:], elsewhere[:]) })},
		{"it is not in the fence", "is not in the fence", firstGone(bucketFence)},
		{"too much is in the fence", "the fence has 3 entries for 2 anchors", extra(bucketFence, append(anchorKey(domain.Anchor{}), elsewhere[:]...))},
		{"one does not walk", "there are 0 walkers for 1", firstGone(bucketWalkers)},
		{"too many walk", "there are 2 walkers for 1", extra(bucketWalkers, elsewhere[:])},
		{"a retired one is not to be read", "checksum is wrong", spoilt(bucketRetired, retired[:])},
		{"a retired one is elsewhere", "retired revocation 000000000000000000000000B3 is another's record", in(bucketRetired, func(b *bbolt.Bucket) error { return move(b, retired[:], elsewhere[:]) })},
		{"a retired one is not", "is not retired", in(bucketRetired, func(b *bbolt.Bucket) error {
			return rewrite(b, retired[:], revocationFields, func(r *revocation) { r.status.Retired = false })
		})},
		{"one has no age", "is wrong in the order of age", firstGone(bucketHistory)},
		{"one has an age of another time", "is wrong in the order of age", in(bucketHistory, func(b *bbolt.Bucket) error {
			first := revocationID(1)
			return b.Put(ageKey(instant.Add(1), first[:]), nil) // it leads to one that is still there
		})},
		{"too many have an age", "history has 3 entries, and should have 2", extra(bucketHistory, ageKey(instant, elsewhere[:]))},
		{"a guard is not to be read", "checksum is wrong", spoilt(bucketGuards, guard)},
		{"a guard is elsewhere", "guard 656c73657768657265 is another's record", in(bucketGuards, func(b *bbolt.Bucket) error { return move(b, guard, []byte("elsewhere")) })},
		{"a guard has no age", "is not in the order of age", firstGone(bucketAges)},
		{"too many guards have an age", "ages has 3 entries, and should have 2", extra(bucketAges, ageKey(instant, []byte("none")))},
		{"it is not named as pending", "it is listed as pending: false, with 2", func(pending, _ *bbolt.Bucket) error { return pending.Delete([]byte("acme")) }},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := lived(t)
			err := b.db.Update(func(tx *bbolt.Tx) error {
				return c.damage(tx.Bucket(bucketPending), tx.Bucket(bucketTenants).Bucket([]byte("acme")))
			})
			if err != nil {
				t.Fatal(err)
			}
			findings, err := b.Check(t.Context())
			if got := strings.Join(findings, "\n"); err != nil || (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("found %q, error %v, want %q", got, err, c.want)
			}
		})
	}
}

// Of much damage a part is told, and the next tenant's is not left out for that of one before.
func TestCheckGivesUp(t *testing.T) {
	for _, damaged := range []int{1, maxFindings - 1, maxFindings, maxFindings + 1, 3 * maxFindings} {
		b, s := rig(t)
		rows := make([]store.Insertion, damaged)
		for i := range rows {
			rows[i].Token = domain.RefreshToken{ID: ulid.ULID{14: byte(i >> 8), 15: byte(i), 0: 1}, UserID: "ann", ClientID: "client", CreatedAt: instant}
		}
		if _, err := s.Insert(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
		err := b.db.Update(func(tx *bbolt.Tx) error {
			tokens := tx.Bucket(bucketTenants).Bucket([]byte("acme")).Bucket(bucketTokens)
			for _, row := range rows {
				if err := rewrite(tokens, row.Token.ID[:], recordFields, func(r *record) { r.token.Sequence = 0 }); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		findings, err := b.Check(t.Context())
		if want := min(damaged, maxFindings); err != nil || len(findings) != want {
			t.Errorf("%d findings of %d, error %v, want %d", len(findings), damaged, err, want)
		}
	}
}

// Pages that are neither in use nor free, or both, are told, and no more than so many: here because bbolt's list of free pages, in memory,
// is of another file.
func TestCheckComparesFreePages(t *testing.T) {
	for want, as := range map[string]int{"are listed so": 0, "reachable freed": 1, "unreachable unfreed": 2} {
		for _, pages := range []int{1, 3 * maxFindings} {
			b, s := rig(t)
			insertOne(t, s, 1, "ann")
			ballast := []byte("ballast")
			load := func(tx *bbolt.Tx) error {
				bucket, err := tx.CreateBucket(ballast)
				for n := range uint64(3 * pages) {
					err = errors.Join(err, bucket.Put(numberKey(n), make([]byte, tx.DB().Info().PageSize/3)))
				}
				return err
			}
			var files [][]byte // as they were before each of these
			for _, change := range []func(*bbolt.Tx) error{load, func(tx *bbolt.Tx) error { return tx.DeleteBucket(ballast) }, load} {
				files = append(files, readFile(t, b.db.Path()))
				if as == 2 || len(files) < 3 { // the pages of the ballast are free in the end, or in use again
					if err := b.db.Update(change); err != nil {
						t.Fatal(err)
					}
				}
			}
			file, err := os.OpenFile(b.db.Path(), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = file.WriteAt(files[as], 0)
			if err := errors.Join(err, file.Close()); err != nil {
				t.Fatal(err)
			}
			findings, err := b.Check(t.Context())
			got := strings.Join(findings, "\n")
			if err != nil || !strings.Contains(got, want) || len(findings) > maxFindings || pages > maxFindings && as > 0 && len(findings) < maxFindings {
				t.Errorf("want %q: %d findings, error %v: %s", want, len(findings), err, got)
			}
		}
	}
}

// ending is a context that ends when it is asked for the n-th time, and counts how often it is.
type ending struct {
	context.Context
	after, asked int
}

func (e *ending) Err() error {
	if e.asked++; e.asked > e.after {
		return context.Canceled
	}
	return nil
}

// A check ends once its context has, wherever it is, without anything that it takes for damage, and leaves the file to others. It asks at each
// page and each record.
func TestCheckEnds(t *testing.T) {
	path := wealthy(t)
	b, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	s, err := b.Tenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	closed := writeFile(t, readFile(t, path))
	cases := 0
	for what, c := range map[string]func(ctx context.Context) ([]string, error){
		"Check":     b.Check,
		"CheckFile": func(ctx context.Context) ([]string, error) { return CheckFile(ctx, closed, nil) },
	} {
		all := &ending{Context: t.Context(), after: math.MaxInt}
		if findings, err := c(all); err != nil || len(findings) > 0 {
			t.Fatalf("%s: found %q, error %v", what, findings, err)
		}
		if all.asked < 200 { // there are 80 tokens, their entries in the index, and all that is remembered
			t.Errorf("%s asks its context %d times only", what, all.asked)
		}
		for after := range all.asked {
			ctx := &ending{Context: t.Context(), after: after}
			findings, err := c(ctx)
			if !errors.Is(err, context.Canceled) || len(findings) > 0 {
				t.Errorf("%s: ended at %d of %d: found %q, error %v", what, after, all.asked, findings, err)
			}
			if more := ctx.asked - after; more > 20 {
				t.Errorf("%s: ended at %d of %d, it asks %d times more", what, after, all.asked, more)
			}
			cases++
		}
		t.Logf("%s asks its context %d times", what, all.asked)
	}
	data := readFile(t, closed)
	for after := range 10 {
		ctx := &ending{Context: t.Context(), after: after}
		if err := inspect(ctx, bytes.NewReader(data), int64(len(data)), scope{whole: true}); !errors.Is(err, context.Canceled) || ctx.asked != after+1 {
			t.Errorf("what looks at the pages must end at the %d-th: it asked %d times, error %v", after, ctx.asked, err)
		}
	}
	if findings, err := b.Check(t.Context()); err != nil || len(findings) > 0 {
		t.Errorf("a Check that was cancelled must leave the file to the next: found %q, error %v", findings, err)
	}
	insertOne(t, s, 200, "ann")
	t.Attr("cases", strconv.Itoa(cases))
}
