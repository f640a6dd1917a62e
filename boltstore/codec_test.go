package boltstore

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// Generators of records with every field in use, or not.

func drawTime(t *rapid.T, label string) time.Time {
	if rapid.IntRange(0, 3).Draw(t, label+" is there") == 0 {
		return time.Time{}
	}
	return time.Unix(rapid.Int64Range(-62_135_596_800, 253_402_300_799).Draw(t, label), rapid.Int64Range(0, 999_999_999).Draw(t, label+" ns")).UTC()
}

func drawID(t *rapid.T, label string) (id ulid.ULID) {
	copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label))
	id[15] |= 1
	return id
}

func drawText(t *rapid.T, label string, least, most int) string {
	return rapid.StringOfN(rapid.RuneFrom([]rune("a|é漢\U0001F511 /%")), least, most, -1).Draw(t, label)
}

func drawToken(t *rapid.T) domain.RefreshToken {
	token := domain.RefreshToken{
		ID: drawID(t, "id"), ForeignID: drawText(t, "foreign id", 0, 255), UserID: drawText(t, "user", 1, 300),
		ClientID: drawText(t, "client", 1, 64), CreatedAt: drawTime(t, "created"), AuthenticatedAt: drawTime(t, "authenticated"),
		ExpiresAt: drawTime(t, "expires"), IdleExpiresAt: drawTime(t, "idle"), LastExchangedAt: drawTime(t, "exchanged"),
		IdleLifetime: domain.Lifetime(rapid.Int64Range(-1, 1<<62).Draw(t, "idle lifetime")),
		Device:       domain.Device{InitialIP: drawText(t, "ip", 0, 64), LastUserAgent: drawText(t, "agent", 0, 500)},
		Rotating:     rapid.Bool().Draw(t, "rotating"), Offline: rapid.Bool().Draw(t, "offline"),
		Confirmation: domain.Confirmation{Kind: "jkt", Value: drawText(t, "confirmation", 1, 128)},
		Sequence:     rapid.Uint64().Draw(t, "sequence"), Generation: rapid.Uint32().Draw(t, "generation"),
		RotatedAt: drawTime(t, "rotated"), Retries: rapid.Uint32().Draw(t, "retries"), PepperKeyID: drawText(t, "key", 0, 32),
	}
	if rapid.Bool().Draw(t, "has a session") {
		token.SessionID = domain.MustSessionID(drawText(t, "session", 1, 50))
	}
	copy(token.Salt[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "salt"))
	copy(token.FamilyDigest[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "family"))
	copy(token.SecretDigest[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "secret"))
	if rapid.Bool().Draw(t, "has a foreign digest") {
		token.ForeignWeak = rapid.Bool().Draw(t, "weak")
		copy(token.ForeignDigest[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "foreign"))
	}
	var servers []domain.ResourceServer
	for range rapid.IntRange(0, 3).Draw(t, "servers") {
		servers = append(servers, domain.ResourceServer{Audience: drawText(t, "audience", 1, 600), Scopes: drawText(t, "scopes", 0, 300)})
	}
	token.ResourceServers = must(domain.NewResourceServers(servers...))
	token.Metadata = must(domain.NewMetadata(rapid.MapOfN(rapid.StringMatching(`[A-Za-z0-9_-]{1,40}`), rapid.StringOfN(rapid.RuneFrom([]rune("aé漢 ")), 0, 40, -1), 0, 25).Draw(t, "metadata")))
	return token
}

func drawTarget(t *rapid.T) domain.Target {
	target := domain.Target{
		UserID: drawText(t, "user", 0, 300), ClientID: drawText(t, "client", 0, 64), SessionID: drawText(t, "session", 0, 50),
		Audience: drawText(t, "audience", 1, 600), IssuedBefore: drawTime(t, "before"), LegacyBefore: drawTime(t, "legacy"),
		Offline: domain.Offline(rapid.IntRange(0, 2).Draw(t, "offline")),
	}
	if rapid.Bool().Draw(t, "has an id") {
		target.TokenID = drawID(t, "token")
	}
	return target
}

func drawRevocation(t *rapid.T) revocation {
	r := revocation{
		status: store.Status{
			Tombstone: domain.Tombstone{
				ID: drawID(t, "id"), Watermark: rapid.Uint64().Draw(t, "watermark"), Time: drawTime(t, "time"), Through: drawTime(t, "through"),
				Reason: drawText(t, "reason", 0, 200), Actor: drawText(t, "actor", 0, 300),
			},
			Retired: rapid.Bool().Draw(t, "retired"), RetiredAt: drawTime(t, "retired at"), Examined: rapid.Uint64().Draw(t, "examined"),
			Swept: rapid.Uint64().Draw(t, "swept"), SupersededBy: drawID(t, "superseded"),
		},
		walks: rapid.Bool().Draw(t, "walks"), target: rapid.Uint32().Draw(t, "target"), after: drawID(t, "after"),
		joined: rapid.Bool().Draw(t, "joined"), from: drawID(t, "from"), ends: rapid.Uint32().Draw(t, "ends"),
	}
	for range rapid.IntRange(1, 5).Draw(t, "targets") {
		r.status.Tombstone.Targets = append(r.status.Tombstone.Targets, drawTarget(t))
	}
	return r
}

func drawEvent(t *rapid.T) store.Event {
	e := store.Event{
		Number: rapid.Uint64().Draw(t, "number"), Kind: 1 << rapid.IntRange(0, 8).Draw(t, "kind"), Time: drawTime(t, "time"),
		Sequence: rapid.Uint64().Draw(t, "sequence"), Revocation: drawID(t, "revocation"), Reason: drawText(t, "reason", 0, 200),
		Actor: drawText(t, "actor", 0, 300), Erases: rapid.Bool().Draw(t, "erases"), Count: rapid.Uint64().Draw(t, "count"),
		Retired: rapid.Bool().Draw(t, "retired"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "tokens") {
		e.Tokens = append(e.Tokens, store.EventToken{
			ID: drawID(t, "token"), UserID: drawText(t, "user", 1, 300), ClientID: drawText(t, "client", 1, 64), SessionID: drawText(t, "session", 0, 50),
		})
	}
	for range rapid.IntRange(0, 3).Draw(t, "targets") {
		e.Targets = append(e.Targets, drawTarget(t))
	}
	return e
}

// roundTrip expects that what is written is read, and nothing else is.
func roundTrip[T any](t *rapid.T, value T, fields func(*codec.Coder, *T)) {
	data := encode(&value, fields)
	read := bytes.Clone(data)
	back, err := decode(read, fields)
	clear(read) // which nothing that was read may point into
	if err != nil || !reflect.DeepEqual(back, value) {
		t.Logf("wrote %+v, read %+v, error %v", value, back, err)
		t.Fatal("a record must be read as it was written")
	}
	cut := rapid.IntRange(0, len(data)-1).Draw(t, "cut")
	if _, err := decode(data[:cut], fields); !errors.Is(err, ErrCorrupt) {
		t.Fatal("a record that is cut short must be refused")
	}
	body := data[:len(data)-codec.SealSize]
	for n := max(1, len(body)-20); n < len(body); n++ {
		if _, err := decode(codec.Sealed(bytes.Clone(body[:n])), fields); !errors.Is(err, ErrCorrupt) {
			t.Logf("%d bytes of %d: %v", n, len(body), err)
			t.Fatal("a record that ends too early must be refused, though its checksum is right")
		}
	}
	if _, err := decode(codec.Sealed(append(bytes.Clone(body), 0)), fields); !errors.Is(err, ErrCorrupt) {
		t.Fatal("a record with a byte to spare must be refused, though its checksum is right")
	}
	flipped := bytes.Clone(data)
	flipped[rapid.IntRange(0, len(data)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	if _, err := decode(flipped, fields); !errors.Is(err, ErrCorrupt) {
		t.Fatal("a record with another bit must be refused")
	}
}

func TestRecords(t *testing.T) {
	t.Run("token", rapid.MakeCheck(func(t *rapid.T) { roundTrip(t, drawToken(t), codec.Token) }))
	t.Run("revocation", rapid.MakeCheck(func(t *rapid.T) { roundTrip(t, drawRevocation(t), revocationFields) }))
	t.Run("event", rapid.MakeCheck(func(t *rapid.T) { roundTrip(t, drawEvent(t), codec.Event) }))
	t.Run("guard", rapid.MakeCheck(func(t *rapid.T) {
		roundTrip(t, domain.Guard{Target: drawTarget(t), Watermark: rapid.Uint64().Draw(t, "watermark"), Time: drawTime(t, "time"), Through: drawTime(t, "through")}, codec.Guard)
	}))
	t.Run("meta", rapid.MakeCheck(func(t *rapid.T) {
		roundTrip(t, meta{
			sequence: rapid.Uint64().Draw(t, "sequence"), latest: drawTime(t, "latest"), walk: drawID(t, "walk"),
			horizon: domain.Horizon{Sequence: rapid.Uint64().Draw(t, "horizon"), Time: drawTime(t, "horizon time")},
			tokens:  rapid.Uint64().Draw(t, "tokens"), pending: 1, open: 2, guards: 3, history: 4,
		}, metaFields)
	}))
}

// A token without a foreign secret has no room for one in its record.
func TestRecordWithoutForeignSecret(t *testing.T) {
	token := domain.RefreshToken{ID: ulid.ULID{1}, UserID: "u", ClientID: "c"}
	without := len(encode(&token, codec.Token))
	token.ForeignDigest = domain.Digest{1}
	if with := len(encode(&token, codec.Token)); with != without+len(token.ForeignDigest) {
		t.Errorf("%d bytes with a digest, %d without", with, without)
	}
}

// A record of a version that this program does not know is told from a damaged one.
func TestRecordVersion(t *testing.T) {
	value := meta{sequence: 1}
	data := encode(&value, metaFields)
	data[0] = codec.Version + 1
	data = codec.Sealed(data[:len(data)-4])
	if _, err := decode(data, metaFields); !errors.Is(err, ErrFormat) {
		t.Errorf("another version must be ErrFormat: got %v", err)
	}
}

// A number that its field has no room for is damage, however whole the record is.
func TestNumbersOutOfRange(t *testing.T) {
	for _, c := range []struct {
		number uint64
		whole  bool
	}{{0, true}, {math.MaxUint32, true}, {math.MaxUint32 + 1, false}, {math.MaxUint32 + 2, false}, {math.MaxUint64, false}} {
		data := encode(&c.number, (*codec.Coder).Uint)
		if got, err := decode(data, (*codec.Coder).Small); c.whole && (err != nil || uint64(got) != c.number) || !c.whole && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d is read as %d: %v", c.number, got, err)
		}
	}
	for ns, whole := range map[uint64]bool{0: true, 999_999_999: true, 1_000_000_000: false, math.MaxUint64: false} {
		data := encode(&ns, func(c *codec.Coder, ns *uint64) { second := uint64(1); c.Uint(&second); c.Uint(ns) })
		if got, err := decode(data, (*codec.Coder).Instant); whole && (err != nil || uint64(got.Nanosecond()) != ns) || !whole && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d ns are read as %v: %v", ns, got, err)
		}
	}
	for number, whole := range map[uint64]bool{0: true, 1: true, 2: false} {
		data := encode(&number, (*codec.Coder).Uint)
		if got, err := decode(data, (*codec.Coder).Bool); whole && (err != nil || got != (number == 1)) || !whole && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d is read as %t: %v", number, got, err)
		}
	}
}

// No bytes, whatever they are, make a decoder panic or ask for much memory; what it reads it writes again so that it
// reads the same.
func fuzzFields[T any](f *testing.F, fields func(*codec.Coder, *T), seeds ...T) {
	for i := range seeds {
		data := encode(&seeds[i], fields)
		f.Add(data[1 : len(data)-4])
	}
	f.Add([]byte(strings.Repeat("\xff", 40)))
	f.Fuzz(func(t *testing.T, data []byte) {
		value, err := codec.DecodeFields(data, fields)
		if err != nil {
			return
		}
		again, err := decode(encode(&value, fields), fields)
		if err != nil || !reflect.DeepEqual(again, value) {
			t.Fatalf("what was read must be written and read again: %+v, %+v, error %v", value, again, err)
		}
	})
}

func FuzzDecodeToken(f *testing.F) {
	fuzzFields(f, codec.Token, domain.RefreshToken{ID: ulid.ULID{1}, UserID: "u", ClientID: "c"})
}

func FuzzDecodeRevocation(f *testing.F) {
	fuzzFields(f, revocationFields, revocation{status: store.Status{Tombstone: domain.Tombstone{
		ID: ulid.ULID{1}, Targets: []domain.Target{{UserID: "u"}, {SessionID: "s", Offline: domain.OfflineNo}},
	}}})
}

func FuzzDecodeGuard(f *testing.F) {
	fuzzFields(f, codec.Guard, domain.Guard{Target: domain.Target{Everything: true}, Watermark: 7})
}

// No key of one text is the beginning of another's, whatever the texts are: so no user, session or tenant reaches another's
// rows.
func FuzzKeys(f *testing.F) {
	f.Add("a", "ab")
	f.Add("", "\x00")
	f.Add(strings.Repeat("a", 127), strings.Repeat("a", 128))
	f.Fuzz(func(t *testing.T, a, b string) {
		if a == b {
			return
		}
		if underUser(a) == underUser(b) || underSession(a) == underSession(b) || underUser(a) == underSession(a) {
			t.Fatal("a text's prefix is another's")
		}
		for kind := domain.AnchorToken; kind <= domain.AnchorNone; kind++ {
			for other := domain.AnchorToken; other <= domain.AnchorNone; other++ {
				if bytes.HasPrefix(anchorKey(domain.Anchor{Kind: kind, Value: a}), anchorKey(domain.Anchor{Kind: other, Value: b})) {
					t.Fatal("an anchor's key begins with another's")
				}
			}
		}
	})
}
