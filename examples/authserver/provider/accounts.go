package provider

import (
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/time/rate"
)

// Account is a person who can sign in.
type Account struct {
	ID       string // ID is the subject of tokens; it never changes.
	Username string
	Name     string
	Password []byte // Password is a bcrypt hash.
}

// maxPassword is the longest password that bcrypt takes, in bytes.
const maxPassword = 72

// accounts check passwords. Whether a name is known can't be told from the time that takes, nor from being slowed down.
type accounts struct {
	byName  map[string]Account
	byID    map[string]Account
	nobody  []byte // a hash that is compared with where there is no account
	now     func() time.Time
	guesses [256]*rate.Limiter // by the digest of the name, known or not
}

func newAccounts(all []Account, now func() time.Time) (*accounts, error) {
	a := &accounts{byName: map[string]Account{}, byID: map[string]Account{}, now: now}
	for i := range a.guesses {
		a.guesses[i] = rate.NewLimiter(rate.Every(5*time.Second), 10)
	}
	for _, account := range all {
		a.byName[account.Username], a.byID[account.ID] = account, account
		a.nobody = account.Password
	}
	if a.nobody == nil {
		var err error
		a.nobody, err = bcrypt.GenerateFromPassword([]byte("nobody"), bcrypt.DefaultCost)
		return a, err
	}
	return a, nil
}

// check returns the account of a name and its password. slow says that too many were tried in a short time.
func (a *accounts) check(name, password string) (found Account, ok, slow bool) {
	account, known := a.byName[name]
	if !a.mayGuess(name) {
		return Account{}, false, true
	}
	hash := account.Password
	if !known {
		hash = a.nobody
	}
	matches := len(password) <= maxPassword && bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
	if !known || !matches {
		return Account{}, false, false
	}
	return account, true, false
}

// mayGuess allows ten tries at once for a name, and those few that share its place, and then one every five seconds.
func (a *accounts) mayGuess(name string) bool {
	return a.guesses[digest(name)[0]].AllowN(a.now(), 1)
}
