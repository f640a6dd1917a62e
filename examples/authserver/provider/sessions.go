package provider

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"time"

	"example.com/tokenstore"
)

// session is a browser in which a person has signed in. Sessions are in memory: after a restart people sign in again,
// while the applications go on with their refresh tokens.
type session struct {
	id       string // the sid of ID tokens and refresh tokens. It is public; the cookie is not.
	user     string
	sequence uint64 // the tokenstore's, as it was when the person proved who she is
	began    time.Time
	used     time.Time
	device   tokenstore.Device
	stale    bool // it has been revoked since: the next application asks for the password
}

const (
	sessionLife = 12 * time.Hour
	maxSessions = 100_000
)

type sessions struct {
	live   *expiring[session] // by the digest of the cookie
	now    func() time.Time
	cookie http.Cookie
}

func newSessions(now func() time.Time, https bool) *sessions {
	s := &sessions{live: newExpiring[session](now, maxSessions), now: now, cookie: http.Cookie{
		Name: "session", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: https,
	}}
	if https {
		s.cookie.Name = "__Host-session"
	}
	return s
}

// begin starts a session under a new id and a new cookie, whatever the browser had before, so that nobody can plant one.
func (s *sessions) begin(w http.ResponseWriter, r *http.Request, user string, sequence uint64) (session, bool) {
	if old, err := r.Cookie(s.cookie.Name); err == nil {
		s.live.take(digest(old.Value))
	}
	now := s.now()
	ip, agent := caller(r)
	began := session{
		id: rand.Text(), user: user, sequence: sequence, began: now, used: now,
		device: tokenstore.Device{InitialIP: ip, InitialUserAgent: agent},
	}
	cookie := s.cookie
	cookie.Value = rand.Text()
	cookie.MaxAge = int(sessionLife.Seconds())
	if !s.live.put(digest(cookie.Value), began, sessionLife) {
		return session{}, false
	}
	http.SetCookie(w, &cookie)
	return began, true
}

// of returns the session of a request, and notes that it is in use.
func (s *sessions) of(r *http.Request) (session, bool) {
	cookie, err := r.Cookie(s.cookie.Name)
	if err != nil {
		return session{}, false
	}
	now := s.now()
	return s.live.change(digest(cookie.Value), func(live *session) { live.used = now })
}

// end ends the session of an id, of this user only.
func (s *sessions) end(user, id string) {
	s.live.update(func(live *session) bool { return live.user != user || live.id != id })
}

// endAll ends the sessions of a user but the one that she asks from, in which she has to prove anew who she is before
// anything is issued.
func (s *sessions) endAll(user, but string) {
	s.live.update(func(live *session) bool {
		if live.user != user {
			return true
		}
		live.stale = true
		return live.id == but
	})
}

// distrust has the session of an id ask for the password.
func (s *sessions) distrust(id string) {
	s.live.update(func(live *session) bool {
		live.stale = live.stale || live.id == id
		return true
	})
}

func (s *sessions) ofUser(user string) (found []session) {
	s.live.update(func(live *session) bool {
		if live.user == user {
			found = append(found, *live)
		}
		return true
	})
	return found
}

// alive says whether what was issued in a session is still good.
func (s *sessions) alive(user, id string) bool {
	for _, live := range s.ofUser(user) {
		if live.id == id {
			return !live.stale
		}
	}
	return false
}

func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return string(sum[:])
}
