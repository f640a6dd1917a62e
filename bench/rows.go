package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

const (
	// valueSize is how many bytes of a token the peers keep beside its digest, user, session and client: 320 in all, as many
	// as our own record has.
	valueSize = 222
	clients   = 100
)

// epoch is when the first token of a population was made.
var epoch = time.Now().Add(-24 * time.Hour).UTC().Truncate(time.Millisecond)

// row is a token, for all contenders alike. What takes long to make is made before it is measured.
type row struct {
	id                    ulid.ULID
	user, session, client string
	secret                [32]byte // what a peer's client presents
	digest                [32]byte // its SHA-256
	signature             string   // the same as a text, by which fosite knows a token
	value                 []byte
}

// population makes rows. It is deterministic: the i-th row is the same for every contender.
type population struct {
	seed  uint64
	users int
	// sequential has users and sessions ascend as ids do, so that many can be kept quickly; the measures don't depend on it.
	sequential bool
	pool       []byte // what values are cut from: they must not compress
}

func newPopulation(seed uint64, users int) *population {
	pool := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), 7}).Read(pool)
	return &population{seed: seed, users: max(users, 1), pool: pool}
}

func (p *population) row(i int) row {
	random := rand.New(rand.NewPCG(p.seed, uint64(i)))
	r := row{
		user:    userID(p.seed, random.IntN(p.users)),
		session: fmt.Sprintf("session-%016x", random.Uint64()),
		client:  fmt.Sprintf("client-%02d", random.IntN(clients)),
	}
	if p.sequential {
		r.user, r.session = userID(p.seed, i/10), fmt.Sprintf("session-%016x", i)
	}
	_ = r.id.SetTime(ulid.Timestamp(epoch) + uint64(i)) // so ids ascend
	binary.BigEndian.PutUint16(r.id[6:], uint16(random.Uint32()))
	binary.BigEndian.PutUint64(r.id[8:], random.Uint64())
	for at := 0; at < len(r.secret); at += 8 {
		binary.BigEndian.PutUint64(r.secret[at:], random.Uint64())
	}
	r.digest = sha256.Sum256(r.secret[:])
	r.signature = hex.EncodeToString(r.digest[:])
	at := random.IntN(len(p.pool) - valueSize)
	r.value = p.pool[at : at+valueSize]
	return r
}

// rows makes the rows from..to-1. Their texts are parts of a single one, of which the collection of garbage takes no time.
func (p *population) rows(from, to int) []row {
	rows := make([]row, to-from)
	var all strings.Builder
	for i := range rows {
		r := p.row(from + i)
		for _, text := range []string{r.user, r.session, r.client, r.signature} {
			all.WriteString(text)
		}
		rows[i] = r
	}
	left := all.String()
	for i := range rows {
		for _, text := range []*string{&rows[i].user, &rows[i].session, &rows[i].client, &rows[i].signature} {
			*text, left = left[:len(*text)], left[len(*text):]
		}
	}
	return rows
}

func userID(seed uint64, i int) string { return fmt.Sprintf("auth0|%06x%018x", seed, i) }

const agent = "Mozilla/5.0 (Linux) Firefox/140.0"

// credential is the secret of a token of ours.
func (r *row) credential() domain.Credential {
	return must(domain.NewCredential(r.id, &reader{r.secret[:]}))
}

// token is the record that a manager makes of an issue, of about as many bytes as the peers store.
func (r *row) token() domain.RefreshToken {
	at := ulid.Time(r.id.Time()).UTC()
	return domain.RefreshToken{
		ID: r.id, UserID: r.user, ClientID: r.client, SessionID: must(domain.NewSessionID(r.session)),
		CreatedAt: at, ExpiresAt: at.Add(365 * 24 * time.Hour), IdleLifetime: idle, IdleExpiresAt: at.Add(30 * 24 * time.Hour),
		Device: domain.Device{
			InitialIP: "203.0.113.77", LastIP: "203.0.113.77", InitialUserAgent: agent, LastUserAgent: agent,
		},
		Rotating: true, Offline: true,
	}
}

const idle = domain.Lifetime(30 * 24 * time.Hour)

type reader struct{ left []byte }

func (r *reader) Read(p []byte) (int, error) {
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// must is for what can't fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
