package management_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

	"example.com/tokenstore/management"
)

// TestReadAfterRevoke is a revocation as a client sees it: acknowledged, refused at once, shown until it has been swept unless
// asked for the fenced view, swept, and reported.
func TestReadAfterRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, management.Options{})
		doomed, kept := r.issue(r.manager, "alice", "app"), r.issue(r.manager, "bob", "app")
		one := "/api/v2/refresh-tokens/" + doomed.Token.ID.String()
		list := "/api/v2/refresh-tokens?user_id=alice"

		got := r.want(http.StatusAccepted, "DELETE", one, "")
		if got.text != "{}" {
			t.Errorf("the body of a 202 is %q, want {}", got.text)
		}
		page := "/api/v2/revocations/" + got.header.Get(management.HeaderRevocation)
		if r.exchangeable(r.manager, doomed) {
			t.Error("a token is exchanged after its revocation was acknowledged")
		}
		if !r.exchangeable(r.manager, kept) {
			t.Error("another user's token is refused")
		}
		r.want(http.StatusOK, "GET", one, "") // eventually consistent
		if n := len(r.want(http.StatusOK, "GET", list, "").list(t, "refresh_tokens")); n != 1 {
			t.Errorf("before the sweep the list has %d tokens, want 1", n)
		}
		r.want(http.StatusNotFound, "GET", one+"?consistency=fenced", "")
		if n := len(r.want(http.StatusOK, "GET", list+"&consistency=fenced", "").list(t, "refresh_tokens")); n != 0 {
			t.Errorf("the fenced list has %d tokens, want none", n)
		}
		status := r.want(http.StatusOK, "GET", page, "").object(t)
		if status["state"] != "pending" || status["retired_at"] != nil || status["actor"] != "admin" || status["reason"] != "management api" {
			t.Errorf("the revocation's page is %v, want a pending one of admin", status)
		}

		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- r.manager.Run(ctx) }()
		synctest.Wait()
		r.want(http.StatusNotFound, "GET", one, "")
		if n := len(r.want(http.StatusOK, "GET", list, "").list(t, "refresh_tokens")); n != 0 {
			t.Errorf("after the sweep the list has %d tokens, want none", n)
		}
		status = r.want(http.StatusOK, "GET", page, "").object(t)
		if status["state"] != "retired" || status["retired_at"] == nil || status["swept"] != 1.0 {
			t.Errorf("the revocation's page is %v, want a retired one that swept 1", status)
		}
		r.want(http.StatusAccepted, "DELETE", one, "") // again, of what is gone
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}
