package gosdk

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"example.com/tokenstore/e2e/server"
)

// refusal is a call that the server must refuse.
type refusal struct {
	name   string
	status int
	says   string // says is what the error tells.
	call   func(ctx context.Context, s *side) error
}

// Each refusal is the SDK's own error for its status.
func TestErrors(t *testing.T) {
	each(t, func(t *testing.T, s *side) {
		refusals := []refusal{
			{"take", 400, "take must be 1..100", func(ctx context.Context, s *side) error {
				_, err := s.admin.listUser(ctx, server.UserAll, 101)
				return err
			}},
			{"bad credentials", 401, "Invalid token", func(ctx context.Context, s *side) error {
				_, err := s.open(server.Nobody, calls{}).listUser(ctx, server.UserAll, 50)
				return err
			}},
			{"scope", 403, "Insufficient scope, expected: delete:refresh_tokens", func(ctx context.Context, s *side) error {
				return s.open(server.Reader, calls{}).deleteOne(ctx, s.ids(server.UserAll)[0])
			}},
			{"scope for a user", 403, "Insufficient scope, expected: delete:refresh_tokens", func(ctx context.Context, s *side) error {
				return s.open(server.Reader, calls{}).deleteUser(ctx, server.UserAll)
			}},
			{"unknown token", 404, "The refresh token does not exist.", func(ctx context.Context, s *side) error {
				_, err := s.admin.get(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
				return err
			}},
			{"no id of ours", 404, "The refresh token does not exist.", func(ctx context.Context, s *side) error {
				_, err := s.admin.get(ctx, "a/b %")
				return err
			}},
		}
		if api, whole := s.admin.(wholeSDK); whole {
			refusals = append(refusals, wholeRefusals(api)...)
		}
		for _, r := range refusals {
			err := r.call(t.Context(), s)
			if s.admin.status(err) != r.status || !strings.Contains(err.Error(), r.says) {
				t.Errorf("%s: got the wrong error\n got %v (%T)\nwant %d, saying %s", r.name, err, err, r.status, r.says)
			}
		}
		s.remain(t, server.UserAll, s.ids(server.UserAll)...)
	})
}

func wholeRefusals(api wholeSDK) []refusal {
	revoke := func(target target) func(context.Context, *side) error {
		return func(ctx context.Context, _ *side) error { return api.revoke(ctx, target) }
	}
	update := func(as string, id string, metadata map[string]any) func(context.Context, *side) error {
		return func(ctx context.Context, s *side) error {
			_, err := s.open(as, calls{}).(wholeSDK).update(ctx, id, metadata)
			return err
		}
	}
	const combinations = "The body must have exactly one of"
	const unknown = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	return []refusal{
		{"no user", 400, "user_id", func(ctx context.Context, _ *side) error {
			_, err := api.list(ctx, query{take: 50})
			return err
		}},
		{"take", 400, "take must be 1..100", func(ctx context.Context, _ *side) error {
			_, err := api.list(ctx, query{user: server.UserAll, take: 101})
			return err
		}},
		{"nothing to revoke", 400, combinations, revoke(target{})},
		{"a client alone", 400, combinations, revoke(target{client: server.Web})},
		{"ids and a user", 400, combinations, revoke(target{ids: []string{unknown}, user: server.UserAll})},
		{"an audience without client", 400, combinations, revoke(target{user: server.UserAll, audience: server.API})},
		{"too many ids", 400, "1..100", revoke(target{ids: strings.Fields(strings.Repeat(unknown+" ", 101))})},
		{"metadata of a wrong type", 400, "refresh_token_metadata", update(server.Admin, unknown, map[string]any{"a": 1})},
		{"a key of metadata", 400, "refresh_token_metadata", update(server.Admin, unknown, map[string]any{"a b": "1"})},
		{"update by a reader", 403, "Insufficient scope, expected: update:refresh_tokens", update(server.Reader, unknown, nil)},
		{"update of an unknown token", 404, "The refresh token does not exist.", update(server.Admin, unknown, map[string]any{"a": "1"})},
		{"session by a reader", 403, "Insufficient scope, expected: delete:sessions", func(ctx context.Context, s *side) error {
			return s.open(server.Reader, calls{}).(wholeSDK).revokeSession(ctx, "session-1")
		}},
		{"devices by a reader", 403, "Insufficient scope, expected: read:device_credentials", func(ctx context.Context, s *side) error {
			_, err := s.open(server.Reader, calls{}).(wholeSDK).devices(ctx, server.UserDevice, "")
			return err
		}},
		{"devices by nobody", 401, "Invalid token", func(ctx context.Context, s *side) error {
			return s.open(server.Nobody, calls{}).(wholeSDK).deleteDevice(ctx, unknown)
		}},
	}
}

// A caller over the limit gets the SDK's error for it; one that may retry waits as the headers say, and succeeds.
func TestRateLimit(t *testing.T) {
	for _, v := range sdks {
		t.Run(v.version, func(t *testing.T) {
			t.Parallel()
			s := newSide(t, v.open, server.Options{Args: server.Limited()})
			once := s.open(server.Admin, calls{once: true})
			id := s.ids(server.UserView)[0]
			var err error
			for range polls { // more than five, on a machine that is slow
				if _, err = once.get(t.Context(), id); err != nil {
					break
				}
			}
			if once.status(err) != http.StatusTooManyRequests {
				t.Errorf("over the limit the error is %v (%T), want 429", err, err)
			}
			_, err = s.admin.get(t.Context(), id)
			ok(t, err)
		})
	}
}

// page reads what the API shows at a path, as an administrator.
func (s *side) page(t *testing.T, path string, into any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.server.Addr+path, nil)
	ok(t, err)
	request.Header.Set("Authorization", "Bearer "+server.Admin)
	response, err := http.DefaultClient.Do(request)
	ok(t, err)
	defer response.Body.Close()
	equal(t, response.StatusCode, http.StatusOK)
	ok(t, json.NewDecoder(response.Body).Decode(into))
}
