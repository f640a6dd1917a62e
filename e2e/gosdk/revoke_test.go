package gosdk

import (
	"slices"
	"testing"

	"example.com/tokenstore/e2e/server"
)

// polls is how often a list is read until the sweep has caught up with it.
const polls = 10_000

// remain fails the test unless these are a user's tokens: at once in a fenced list, and in others after a while, in which
// nothing comes back.
func (s *side) remain(t *testing.T, user string, want ...string) {
	t.Helper()
	got, err := s.fenced.listUser(t.Context(), user, 50)
	ok(t, err)
	equal(t, ids(got), want)
	before := s.ids(user)
	for range polls {
		got, err := s.admin.listUser(t.Context(), user, 50)
		ok(t, err)
		now := ids(got)
		for _, id := range now {
			if !slices.Contains(before, id) {
				t.Fatalf("a token came back, %s", id)
			}
		}
		if before = now; slices.Equal(now, want) {
			return
		}
	}
	t.Errorf("the list has not converged in %d requests; it has %v, want %v", polls, before, want)
}

func TestDeleteOne(t *testing.T) {
	each(t, func(t *testing.T, s *side) {
		id := s.ids(server.UserDelete)
		ok(t, s.admin.deleteOne(t.Context(), id[0]))
		_, err := s.fenced.get(t.Context(), id[0])
		equal(t, s.admin.status(err), 404)
		s.remain(t, server.UserDelete, id[1])
		_, err = s.admin.get(t.Context(), id[0])
		equal(t, s.admin.status(err), 404)
		ok(t, s.admin.deleteOne(t.Context(), id[0])) // again, and what never was
		ok(t, s.admin.deleteOne(t.Context(), "01ARZ3NDEKTSV4RRFFQ69G5FAV"))
		ok(t, s.admin.deleteOne(t.Context(), "a/b %"))
		s.remain(t, server.UserDelete, id[1])
	})
}

func TestDeleteAllOfUser(t *testing.T) {
	each(t, func(t *testing.T, s *side) {
		for _, user := range []string{server.UserAll, server.UserPages, "auth0|nobody"} {
			ok(t, s.admin.deleteUser(t.Context(), user))
			s.remain(t, user)
		}
		s.remain(t, server.UserDelete, s.ids(server.UserDelete)...)
	})
}

func TestRevoke(t *testing.T) {
	eachWhole(t, func(t *testing.T, s *side, api wholeSDK) {
		for _, test := range []struct {
			user   string
			target target
			remain []int
		}{
			{server.UserIDs, target{ids: []string{s.ids(server.UserIDs)[0], s.ids(server.UserIDs)[2], "unknown"}}, []int{1}},
			{server.UserRevoke, target{user: server.UserRevoke}, nil},
			{server.UserClient, target{user: server.UserClient, client: server.IOS}, []int{0}},
			{server.UserAudience, target{user: server.UserAudience, client: server.Web, audience: server.Billing}, []int{0, 2}},
			{server.UserPages, target{ids: s.ids(server.UserPages)[:100]}, numbers(100, 123)},
		} {
			ok(t, api.revoke(t.Context(), test.target))
			var want []string
			for _, i := range test.remain {
				want = append(want, s.ids(test.user)[i])
			}
			s.remain(t, test.user, want...)
		}
		s.remain(t, server.UserAll, s.ids(server.UserAll)...)
	})
}

func numbers(from, to int) []int {
	var all []int
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

func TestRevokeSession(t *testing.T) {
	eachWhole(t, func(t *testing.T, s *side, api wholeSDK) {
		ok(t, api.revokeSession(t.Context(), "session-1"))
		s.remain(t, server.UserSession, s.ids(server.UserSession)[2])
		ok(t, api.revokeSession(t.Context(), "session/2?"))
		s.remain(t, server.UserSession, s.ids(server.UserSession)[2])
	})
}

// The header that an unmodified client ignores names the revocation, whose page tells how far it has come.
func TestRevocationIsNamed(t *testing.T) {
	eachWhole(t, func(t *testing.T, s *side, api wholeSDK) {
		id := s.ids(server.UserNamed)[0]
		name, err := api.revocationOf(t.Context(), id)
		ok(t, err)
		var page struct {
			ID, State string
			Swept     int
			Targets   []map[string]string
		}
		for range polls {
			if s.page(t, "/api/v2/revocations/"+name, &page); page.State == "retired" {
				break
			}
		}
		equal(t, page.ID, name)
		equal(t, page.State, "retired")
		equal(t, page.Swept, 1)
		equal(t, page.Targets, []map[string]string{{"refresh_token_id": id}})
	})
}

func TestUpdate(t *testing.T) {
	eachWhole(t, func(t *testing.T, s *side, api wholeSDK) {
		want := s.of(server.UserUpdate)[0]
		for _, metadata := range []map[string]any{
			{"device": "Zoë's phone", "b": ""}, {"other": "1"}, {}, {"again": "2"}, nil,
		} {
			want.Metadata = nil
			for key, value := range metadata {
				if want.Metadata == nil {
					want.Metadata = map[string]string{}
				}
				want.Metadata[key] = value.(string)
			}
			got, err := api.update(t.Context(), want.ID, metadata)
			ok(t, err)
			equal(t, got, want)
			got, err = api.get(t.Context(), want.ID)
			ok(t, err)
			equal(t, got, want)
		}
	})
}
