package tokenstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

// TestIntrospect: it tells every cause, and whatever is asked, it never writes and never revokes. Nor does Recognise, which
// knows the token of every genuine secret.
func TestIntrospect(t *testing.T) {
	for _, c := range []struct {
		name    string
		cause   tokenstore.Refusal // "" for active
		prepare func(r *rig, out tokenstore.Issued) tokenstore.Secret
	}{
		{"current", "", func(r *rig, out tokenstore.Issued) tokenstore.Secret { return out.Secret }},
		{"current after a rotation", "", func(r *rig, out tokenstore.Issued) tokenstore.Secret { return r.exchange(out.Secret).Secret }},
		{"parent within the leeway", tokenstore.ErrReused, func(r *rig, out tokenstore.Issued) tokenstore.Secret {
			r.exchange(out.Secret)
			return out.Secret
		}},
		{"outdated", tokenstore.ErrReused, func(r *rig, out tokenstore.Issued) tokenstore.Secret {
			r.exchange(r.exchange(out.Secret).Secret)
			return out.Secret
		}},
		{"malformed", tokenstore.ErrMalformed, func(*rig, tokenstore.Issued) tokenstore.Secret { return tokenstore.NewSecret("rts_") }},
		{"forged", tokenstore.ErrUnknownToken, func(r *rig, out tokenstore.Issued) tokenstore.Secret { return forge(t, out.Token.ID, 0) }},
		{"no such token", tokenstore.ErrUnknownToken, func(*rig, tokenstore.Issued) tokenstore.Secret { return forge(t, ulid.Make(), 0) }},
		{"revoked", tokenstore.ErrRevoked, func(r *rig, out tokenstore.Issued) tokenstore.Secret {
			r.revoke(tokenstore.Target{TokenID: out.Token.ID})
			return out.Secret
		}},
		{"idle", tokenstore.ErrIdleExpired, func(r *rig, out tokenstore.Issued) tokenstore.Secret {
			r.wait(30 * 24 * time.Hour)
			return out.Secret
		}},
		{"expired", tokenstore.ErrExpired, func(r *rig, out tokenstore.Issued) tokenstore.Secret {
			r.wait(366 * 24 * time.Hour)
			return out.Secret
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, tokenstore.Options{})
			out := r.issue(request("ann"))
			secret := c.prepare(r, out)
			r.wantNoWrite(func() {
				for range 3 {
					got, err := r.Introspect(t.Context(), secret)
					if err != nil || got.Cause != c.cause || got.Active != (c.cause == "") || got.Active == got.Token.ID.IsZero() {
						t.Errorf("Introspect = %+v, %v; want the cause %q", got, err, c.cause)
					}
					want := out.Token.ID
					if c.cause == tokenstore.ErrMalformed || c.cause == tokenstore.ErrUnknownToken {
						want = ulid.ULID{}
					}
					got, err = r.Recognise(t.Context(), secret)
					if err != nil || got.Cause != c.cause || got.Active != (c.cause == "") || got.Token.ID != want {
						t.Errorf("Recognise = %+v, %v; want the cause %q and the token %v", got, err, c.cause, want)
					}
				}
			})
		})
	}
	r := newRig(t, tokenstore.Options{})
	out := r.issue(request("ann"))
	_ = r.spy.Close()
	if _, err := r.Introspect(t.Context(), out.Secret); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("Introspect = %v, want ErrClosed", err)
	}
	if _, err := r.Recognise(t.Context(), out.Secret); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("Recognise = %v, want ErrClosed", err)
	}
}

// names are the user ids of what a list shows.
func (r *rig) names(req tokenstore.ListRequest) string {
	r.Helper()
	var names []string
	for token, err := range r.All(r.Context(), req) {
		if err != nil {
			r.Fatal(err)
		}
		session, _ := token.SessionID.Get()
		names = append(names, token.UserID+"/"+token.ClientID+"/"+session)
	}
	return strings.Join(names, " ")
}

func TestLists(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	for _, spec := range []string{"ann/app/s1", "bob/app/s2", "ann/web/s1", "ann/app/s3", "bob/web/s1"} {
		part := strings.Split(spec, "/")
		r.wait(time.Millisecond) // so that the ids are in this order
		r.issue(tokenstore.IssueRequest{UserID: part[0], ClientID: part[1], SessionID: tokenstore.MustSessionID(part[2])})
	}
	for _, c := range []struct {
		req  tokenstore.ListRequest
		want string
	}{
		{tokenstore.ListRequest{}, "ann/app/s1 bob/app/s2 ann/web/s1 ann/app/s3 bob/web/s1"},
		{tokenstore.ListRequest{UserID: "ann"}, "ann/app/s1 ann/web/s1 ann/app/s3"},
		{tokenstore.ListRequest{UserID: "ann", ClientID: "app"}, "ann/app/s1 ann/app/s3"},
		{tokenstore.ListRequest{SessionID: "s1"}, "ann/app/s1 ann/web/s1 bob/web/s1"},
		{tokenstore.ListRequest{SessionID: "s1", UserID: "ann"}, "ann/app/s1 ann/web/s1"},
		{tokenstore.ListRequest{SessionID: "s1", ClientID: "web"}, "ann/web/s1 bob/web/s1"},
		{tokenstore.ListRequest{UserID: "eve"}, ""},
	} {
		for limit := range 4 {
			c.req.Limit = limit
			if got := r.names(c.req); got != c.want {
				t.Errorf("%+v: %q, want %q", c.req, got, c.want)
			}
		}
	}
	r.revoke(tokenstore.Target{UserID: "ann", ClientID: "app"})
	for c, want := range map[tokenstore.Consistency]string{
		tokenstore.Eventual: "ann/app/s1 ann/web/s1 ann/app/s3", tokenstore.Fenced: "ann/web/s1",
	} {
		for limit := range 3 {
			if got := r.names(tokenstore.ListRequest{UserID: "ann", Consistency: c, Limit: limit}); got != want {
				t.Errorf("consistency %d: %q, want %q", c, got, want)
			}
		}
	}
}

func TestPages(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	for range 130 {
		r.issue(request("ann"))
	}
	req := tokenstore.ListRequest{UserID: "ann"}
	var sizes []int
	for {
		page, err := r.List(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(page.Tokens))
		if req.After = page.Next; page.Next.IsZero() {
			break
		}
	}
	if fmt.Sprint(sizes) != "[50 50 30]" {
		t.Errorf("pages of %v, want 50 by default", sizes)
	}
	for field, req := range map[string]tokenstore.ListRequest{
		"limit": {Limit: 101}, "client_id": {ClientID: "app"}, "user_id": {UserID: strings.Repeat("x", 301)},
	} {
		_, err := r.List(t.Context(), req)
		wantField(t, err, field)
	}
	_, err := r.List(t.Context(), tokenstore.ListRequest{Limit: -1})
	wantField(t, err, "limit")
	seen := 0
	for range r.All(t.Context(), tokenstore.ListRequest{Limit: 7}) {
		if seen++; seen == 10 {
			break // a walk may be left
		}
	}
	_ = r.spy.Close()
	errs := 0
	for _, err := range r.All(t.Context(), tokenstore.ListRequest{}) {
		if errs++; !errors.Is(err, tokenstore.ErrClosed) {
			t.Errorf("All = %v, want ErrClosed", err)
		}
	}
	if errs != 1 {
		t.Errorf("%d errors, want one at the end", errs)
	}
}

func TestGet(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	out := r.issue(request("ann"))
	get := func(c tokenstore.Consistency, want error) {
		t.Helper()
		if token, err := r.Get(t.Context(), out.Token.ID, c); !errors.Is(err, want) || err == nil && token.ID != out.Token.ID {
			t.Errorf("Get(%d) = %+v, %v; want %v", c, token, err, want)
		}
	}
	get(tokenstore.Eventual, nil)
	get(tokenstore.Fenced, nil)
	receipt := r.revoke(tokenstore.Target{TokenID: out.Token.ID})
	get(tokenstore.Eventual, nil)
	get(tokenstore.Fenced, tokenstore.ErrNotFound)
	r.run(receipt)
	get(tokenstore.Eventual, tokenstore.ErrNotFound)
}

func TestUpdateMetadata(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	req := request("ann")
	req.Metadata = map[string]string{"a": "1", "b": "2"}
	out := r.issue(req)
	for _, next := range []map[string]string{{"b": "3", "c": ""}, {}, {"d": "4"}, nil} {
		token, err := r.UpdateMetadata(t.Context(), out.Token.ID, next)
		if err != nil || token.Metadata.Len() != len(next) {
			t.Fatalf("%+v, %v; want %v", token.Metadata, err, next)
		}
		stored, err := r.Get(t.Context(), out.Token.ID, tokenstore.Fenced)
		for key, value := range next {
			if got, ok := stored.Metadata.Get(key); err != nil || !ok || got != value {
				t.Errorf("%s = %q, %v, %v; want %q", key, got, ok, err, value)
			}
		}
	}
	r.wantNoWrite(func() {
		_, err := r.UpdateMetadata(t.Context(), out.Token.ID, map[string]string{"": "x"})
		wantField(t, err, "refresh_token_metadata")
		if _, err = r.UpdateMetadata(t.Context(), ulid.Make(), nil); !errors.Is(err, tokenstore.ErrNotFound) {
			t.Errorf("no such token: %v, want ErrNotFound", err)
		}
	})
	next := r.exchange(out.Secret)
	if _, err := r.UpdateMetadata(t.Context(), out.Token.ID, map[string]string{"e": "5"}); err != nil {
		t.Fatal(err)
	}
	if again := r.exchange(out.Secret); again.Secret.Reveal() != next.Secret.Reveal() {
		t.Error("metadata came in between a rotation and its retry")
	}
	r.revoke(tokenstore.Target{UserID: "ann"})
	r.wantNoWrite(func() {
		_, err := r.UpdateMetadata(t.Context(), out.Token.ID, nil)
		wantRefusal(t, err, tokenstore.ErrRevoked)
	})
}
