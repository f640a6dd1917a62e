package gosdk

import (
	"encoding/json"
	"slices"
	"testing"

	"example.com/tokenstore/e2e/server"
)

// each runs a test with every version of the SDK, each against a server of its own.
func each(t *testing.T, test func(t *testing.T, s *side)) {
	for _, v := range sdks {
		t.Run(v.version, func(t *testing.T) {
			t.Parallel()
			test(t, newSide(t, v.open, server.Options{}))
		})
	}
}

// eachWhole is each for the newer versions.
func eachWhole(t *testing.T, test func(t *testing.T, s *side, api wholeSDK)) {
	for _, v := range sdks[1:] {
		t.Run(v.version, func(t *testing.T) {
			t.Parallel()
			s := newSide(t, v.open, server.Options{})
			test(t, s, s.admin.(wholeSDK))
		})
	}
}

// side is a server and the clients of it.
type side struct {
	server *server.Server
	seeds  []server.Token
	open   func(token string, c calls) sdk
	admin  sdk // admin may do all.
	fenced sdk // fenced is admin, with the fenced view.
}

func newSide(t *testing.T, open func(string, string, calls) (sdk, error), opts server.Options) *side {
	t.Helper()
	s := &side{server: start(t, opts), seeds: server.Seeds(opts.Region)}
	s.open = func(token string, c calls) sdk {
		t.Helper()
		api, err := open(s.server.Addr, token, c)
		if err != nil {
			t.Fatal(err)
		}
		return api
	}
	s.admin, s.fenced = s.open(server.Admin, calls{}), s.open(server.Admin, calls{fenced: true})
	return s
}

func (s *side) of(user string) []server.Token { return server.Of(s.seeds, user) }

func (s *side) ids(user string) []string { return ids(s.of(user)) }

func ids(tokens []server.Token) []string {
	var all []string
	for _, t := range tokens {
		all = append(all, t.ID)
	}
	return all
}

// equal fails the test if two values differ in their JSON.
func equal(t *testing.T, got, want any) {
	t.Helper()
	g, w := text(t, got), text(t, want)
	if g != w {
		t.Errorf("got and want differ\n got %s\nwant %s", g, w)
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A token has all its fields in the SDK's own types. Version 1 knows no metadata.
func TestView(t *testing.T) {
	each(t, func(t *testing.T, s *side) {
		for _, user := range []string{server.UserView, server.UserUpdate} {
			want := s.of(user)[0]
			if _, whole := s.admin.(wholeSDK); !whole {
				want.Metadata = nil
			}
			got, err := s.admin.get(t.Context(), want.ID)
			ok(t, err)
			equal(t, got, want)
		}
	})
}

func TestListOfUser(t *testing.T) {
	each(t, func(t *testing.T, s *side) {
		want := s.of(server.UserPages)
		for _, take := range []int{1, 50, 41, 100} { // 41 * 3 = 123: the last page is full
			got, err := s.admin.listUser(t.Context(), server.UserPages, take)
			ok(t, err)
			equal(t, got, want)
		}
		none, err := s.admin.listUser(t.Context(), "auth0|nobody", 50)
		ok(t, err)
		equal(t, len(none), 0)
	})
}

func TestList(t *testing.T) {
	eachWhole(t, func(t *testing.T, s *side, api wholeSDK) {
		all := s.of(server.UserPages)
		web := slices.DeleteFunc(slices.Clone(all), func(t server.Token) bool { return t.ClientID != server.Web })
		for _, test := range []struct {
			client string
			take   int
			want   []server.Token
		}{
			{"", 50, all},
			{"", 7, all},
			{server.Web, 50, web},
			{server.Web, 35, web}, // the last page is full
			{"nothing", 50, nil},
		} {
			got, err := api.list(t.Context(), query{user: server.UserPages, client: test.client, take: test.take})
			ok(t, err)
			equal(t, got, test.want)
		}
		got, err := api.list(t.Context(), query{user: server.UserView, take: 50, fields: "id,session_id"})
		ok(t, err)
		view := s.of(server.UserView)[0]
		equal(t, got, []server.Token{{ID: view.ID, SessionID: view.SessionID}})
	})
}

// Ids that must be escaped name who they should, in a path and in a query.
func TestOddUsers(t *testing.T) {
	each(t, func(t *testing.T, s *side) {
		for _, user := range server.OddUsers() {
			got, err := s.admin.listUser(t.Context(), user, 50)
			ok(t, err)
			equal(t, got, s.of(user))
			if api, whole := s.admin.(wholeSDK); whole {
				got, err := api.list(t.Context(), query{user: user, take: 50})
				ok(t, err)
				equal(t, got, s.of(user))
			}
		}
		for _, user := range server.OddUsers() {
			ok(t, s.admin.deleteUser(t.Context(), user))
		}
		for _, user := range server.OddUsers() {
			s.remain(t, user)
		}
		s.remain(t, server.UserAll, s.ids(server.UserAll)...)
	})
}

// A legacy token has no session id, by the rule of its region, and the member is there.
func TestLegacy(t *testing.T) {
	for _, region := range []server.Region{"", server.US3} {
		for _, v := range sdks {
			t.Run(v.version+string(region), func(t *testing.T) {
				t.Parallel()
				s := newSide(t, v.open, server.Options{Region: region})
				want := s.of(server.UserLegacy)
				got, err := s.admin.listUser(t.Context(), server.UserLegacy, 50)
				ok(t, err)
				equal(t, got, want)
				one, err := s.admin.get(t.Context(), want[0].ID)
				ok(t, err)
				equal(t, one.SessionID, nil)
				var raw map[string]json.RawMessage
				s.page(t, "/api/v2/refresh-tokens/"+want[0].ID, &raw)
				equal(t, string(raw["session_id"]), "null")
			})
		}
	}
}

func TestDevices(t *testing.T) {
	eachWhole(t, func(t *testing.T, s *side, api wholeSDK) {
		tokens := s.of(server.UserDevice)
		for kind, want := range map[string][]server.Token{
			"": tokens[1:], "refresh_token": tokens[1:], "rotating_refresh_token": tokens[:1], "public_key": nil,
		} {
			got, err := api.devices(t.Context(), server.UserDevice, kind)
			ok(t, err)
			if kind == "" {
				kind = "refresh_token"
			}
			var devices []device
			for _, token := range want {
				devices = append(devices, device{token.ID, "curl/8.0", kind, token.UserID, token.ClientID})
			}
			if !slices.Equal(got, devices) {
				t.Errorf("the device credentials of a type differ\ntype %s\n got %v\nwant %v", kind, got, devices)
			}
		}
		many, err := api.devices(t.Context(), server.UserPages, "")
		ok(t, err)
		equal(t, len(many), len(s.of(server.UserPages)))

		ok(t, api.deleteDevice(t.Context(), tokens[2].ID))
		s.remain(t, server.UserDevice, ids(tokens[:2])...)
	})
}
