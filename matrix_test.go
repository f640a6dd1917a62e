package tokenstore_test

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

var update = flag.Bool("update", false, "write docs/matrix.md anew")

// kind is a token of the matrix. One that has a creation time is imported, any other is issued.
type kind struct {
	name, user, client, session, audiences string
	offline                                bool
	created                                string
}

var kinds = []kind{
	{name: "plain", user: "ann", client: "app", session: "s1", audiences: "api"},
	{name: "other user", user: "bob", client: "app", session: "s3", audiences: "api"},
	{name: "other client", user: "ann", client: "web", session: "s1", audiences: "api"},
	{name: "other session", user: "ann", client: "app", session: "s2", audiences: "api"},
	{name: "other audience", user: "ann", client: "app", session: "s1", audiences: "files"},
	{name: "two audiences", user: "ann", client: "app", session: "s1", audiences: "api files"},
	{name: "offline", user: "ann", client: "app", session: "s1", audiences: "api", offline: true},
	{name: "no session", user: "ann", client: "app", audiences: "api"},
	{name: "legacy", user: "ann", client: "app", audiences: "api", created: "2023-09-20"},
	{name: "legacy in US-3", user: "ann", client: "app", audiences: "api", created: "2024-02-21"},
	{name: "imported", user: "ann", client: "app", session: "s1", audiences: "api", created: "2023-12-01"},
}

// reach is a row of the matrix. before and after say which of the kinds it must reach, in their order: x for those that go,
// or that don't come in. They were written down from what the words of the targets mean.
type reach struct {
	name          string
	target        func(plain ulid.ULID) []tokenstore.Target
	before, after string
}

const (
	none = ". . . . . . . . . . ." // of the kinds, and below those that are imported with an old creation time
	old  = ". . . . . . . . x x x"
)

func date(text string) time.Time {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return t
}

// only is a revocation of one target.
func only(target tokenstore.Target) func(ulid.ULID) []tokenstore.Target {
	return func(ulid.ULID) []tokenstore.Target { return []tokenstore.Target{target} }
}

const elsewhere = "everything, in another tenant"

var reaches = []reach{
	{"id of the plain one", func(plain ulid.ULID) []tokenstore.Target { return []tokenstore.Target{{TokenID: plain}} },
		"x . . . . . . . . . .", none},
	{"id of the plain one, and user bob", func(plain ulid.ULID) []tokenstore.Target { return []tokenstore.Target{{TokenID: plain, UserID: "bob"}} },
		none, none},
	{"user ann", only(tokenstore.Target{UserID: "ann"}),
		"x . x x x x x x x x x", old},
	{"user ann, client app", only(tokenstore.Target{UserID: "ann", ClientID: "app"}),
		"x . . x x x x x x x x", old},
	{"user ann, client app, audience api", only(tokenstore.Target{UserID: "ann", ClientID: "app", Audience: "api"}),
		"x . . x . x x x x x x", old},
	{"user ann, audience files", only(tokenstore.Target{UserID: "ann", Audience: "files"}),
		". . . . x x . . . . .", none},
	{"user ann, session s1", only(tokenstore.Target{UserID: "ann", SessionID: "s1"}),
		"x . x . x x x . . . x", ". . . . . . . . . . x"},
	{"user ann, offline no", only(tokenstore.Target{UserID: "ann", Offline: tokenstore.OfflineNo}),
		"x . x x x x . x x x x", old},
	{"user bob, legacy only", only(tokenstore.Target{UserID: "bob", LegacyBefore: tokenstore.LegacyRule{}.At()}),
		none, none},
	{"client app", only(tokenstore.Target{ClientID: "app"}),
		"x x . x x x x x x x x", old},
	{"client app, issued before 2024-01-01", only(tokenstore.Target{ClientID: "app", IssuedBefore: date("2024-01-01")}),
		". . . . . . . . x . x", ". . . . . . . . x . x"},
	{"session s1", only(tokenstore.Target{SessionID: "s1"}),
		"x . x . x x x . . . x", "x . x . x x x . . . x"},
	{"session s1, offline no", only(tokenstore.Target{SessionID: "s1", Offline: tokenstore.OfflineNo}),
		"x . x . x x . . . . x", "x . x . x x . . . . x"},
	{"session s1, offline yes", only(tokenstore.Target{SessionID: "s1", Offline: tokenstore.OfflineYes}),
		". . . . . . x . . . .", ". . . . . . x . . . ."},
	{"session s1, client web", only(tokenstore.Target{SessionID: "s1", ClientID: "web"}),
		". . x . . . . . . . .", none},
	{"offline yes", only(tokenstore.Target{Offline: tokenstore.OfflineYes}),
		". . . . . . x . . . .", none},
	{"audience api", only(tokenstore.Target{Audience: "api"}),
		"x x x x . x x x x x x", old},
	{"issued before 2026-01-01", only(tokenstore.Target{IssuedBefore: date("2026-01-01")}),
		". . . . . . . . x x x", old},
	{"legacy only", only(tokenstore.Target{LegacyBefore: tokenstore.LegacyRule{}.At()}),
		". . . . . . . . x . .", ". . . . . . . . x . ."},
	{"legacy only, by the rule of US-3", only(tokenstore.Target{LegacyBefore: tokenstore.US3().At()}),
		". . . . . . . . x x .", ". . . . . . . . x x ."},
	{"everything", only(tokenstore.Target{Everything: true}),
		"x x x x x x x x x x x", old},
	{elsewhere, only(tokenstore.Target{Everything: true}),
		none, none},
	{"any of: id of the plain one; session s2; client web, offline no", func(plain ulid.ULID) []tokenstore.Target {
		return []tokenstore.Target{{TokenID: plain}, {SessionID: "s2"}, {ClientID: "web", Offline: tokenstore.OfflineNo}}
	}, "x . x x . . . . . . .", ". . . x . . . . . . ."},
}

// TestMatrix: each target on each kind of token, by what happens to the tokens: on every backend as expected, and as
// docs/matrix.md says.
func TestMatrix(t *testing.T) {
	const file = "docs/matrix.md"
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			backend := open(t)
			var seen [2][][]string // before and after
			for i, row := range reaches {
				r := newRigOn(t, backend, tokenstore.Options{
					Tenant: fmt.Sprint("row ", i), Legacy: tokenstore.LegacyRule{AllowNoSession: true},
				})
				before, after := r.reach(row)
				for j := range kinds {
					for _, cell := range []struct{ when, got, want string }{
						{"before", before[j], strings.Fields(row.before)[j]}, {"after", after[j], strings.Fields(row.after)[j]},
					} {
						if cell.got != cell.want {
							t.Errorf("%s, of a token %q %s it: %s, want %s", row.name, kinds[j].name, cell.when, cell.got, cell.want)
						}
					}
				}
				seen[0], seen[1] = append(seen[0], before), append(seen[1], after)
			}
			text := matrixText(seen[0], seen[1])
			if *update && !t.Failed() {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if readText(t, file) != text {
				t.Errorf("%s differs; \"go test . -run TestMatrix -update\" writes it anew. It should be\n%s", file, text)
			}
		})
	}
}

// held is a token of the matrix, as its client has it.
type held struct {
	id     ulid.ULID
	secret tokenstore.Secret
	client string
}

// reach revokes, and returns a cell for each kind: x for one that is reached, a dot for one that is not, else what was seen.
func (r *rig) reach(row reach) (before, after []string) {
	r.Helper()
	var there []*held
	for _, k := range kinds {
		h, seen := r.hold(k)
		if seen != "live " {
			r.Fatalf("a token %q is %sbefore anything is revoked", k.name, seen)
		}
		there = append(there, h)
	}
	revoker := r.Manager
	if row.name == elsewhere {
		var err error
		if revoker, err = r.Tenant("elsewhere", nil); err != nil {
			r.Fatal(err)
		}
	}
	targets := row.target(there[0].id)
	preview, err := revoker.Preview(r.Context(), targets, 100)
	if err != nil || !preview.Complete {
		r.Errorf("%s: preview %+v, %v", row.name, preview, err)
	}
	r.wait(time.Minute)
	receipt, err := revoker.Revoke(r.Context(), tokenstore.RevokeRequest{Targets: targets})
	if err != nil {
		r.Fatal(err)
	}
	r.wait(time.Minute)
	before, after = make([]string, len(kinds)), make([]string, len(kinds))
	later := make([]*held, len(kinds))
	for i, k := range kinds {
		before[i] = r.see(there[i])
		later[i], after[i] = r.hold(k)
	}
	swept := r.run(receipt)[0].Swept
	reached := 0
	for i, k := range kinds {
		if before[i] += r.see(there[i]); before[i] == "refused gone " {
			before[i] = "x"
			reached++
		}
		if later[i] != nil {
			after[i] += r.see(later[i])
		}
		_, seen := r.hold(k)
		after[i] += seen
		for _, cell := range []*string{&before[i], &after[i]} {
			switch *cell {
			case "live live ", "live live live ":
				*cell = "."
			case "not let in not let in ":
				*cell = "x"
			}
		}
	}
	if preview.Matched != reached || int(swept) != reached {
		r.Errorf("%s: %d tokens by the preview, %d swept, %d seen to go", row.name, preview.Matched, swept, reached)
	}
	return before, after
}

// hold issues or imports a token, and sees how it stands; nil for one that is not let in.
func (r *rig) hold(k kind) (*held, string) {
	r.Helper()
	req := tokenstore.IssueRequest{UserID: k.user, ClientID: k.client, Offline: k.offline}
	if k.session != "" {
		req.SessionID = tokenstore.MustSessionID(k.session)
	}
	for _, audience := range strings.Fields(k.audiences) {
		req.ResourceServers = append(req.ResourceServers, tokenstore.ResourceServer{Audience: audience})
	}
	if k.created == "" {
		out, err := r.Issue(r.Context(), req)
		return r.held(&held{out.Token.ID, out.Secret, k.client}, err)
	}
	id := ulid.Make()
	credential, err := domain.NewCredential(id, rand.Reader)
	if err != nil {
		r.Fatal(err)
	}
	servers, err := domain.NewResourceServers(req.ResourceServers...)
	if err != nil {
		r.Fatal(err)
	}
	result := r.bring(tokenstore.RefreshToken{
		ID: id, UserID: k.user, ClientID: k.client, SessionID: req.SessionID, CreatedAt: date(k.created), Rotating: true,
		ResourceServers: servers, FamilyDigest: credential.FamilyDigest(), SecretDigest: credential.SecretDigest(),
	})[0]
	return r.held(&held{id, credential.Secret(), k.client}, result.Err)
}

func (r *rig) held(h *held, err error) (*held, string) {
	r.Helper()
	switch {
	case errors.Is(err, tokenstore.ErrRevoked):
		return nil, "not let in "
	case err != nil:
		r.Fatal(err)
	}
	return h, r.see(h)
}

// see says how a token stands: by introspection, by an exchange, and by whether it is there.
func (r *rig) see(h *held) string {
	r.Helper()
	seen, err := r.Introspect(r.Context(), h.secret)
	if err != nil {
		r.Fatal(err)
	}
	out, exchange := r.Exchange(r.Context(), tokenstore.ExchangeRequest{Secret: h.secret, ClientID: h.client})
	_, get := r.Get(r.Context(), h.id, tokenstore.Eventual)
	switch {
	case seen.Active && exchange == nil && get == nil:
		h.secret = out.Secret
		return "live "
	case seen.Cause == tokenstore.ErrRevoked && errors.Is(exchange, tokenstore.ErrRevoked) && get == nil:
		return "refused "
	case seen.Cause == tokenstore.ErrUnknownToken && errors.Is(exchange, tokenstore.ErrUnknownToken) && errors.Is(get, tokenstore.ErrNotFound):
		return "gone "
	}
	return fmt.Sprintf("(introspected %v %q, exchanged %v, got %v) ", seen.Active, seen.Cause, exchange, get)
}
