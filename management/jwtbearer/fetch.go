package jwtbearer

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"time"

	"golang.org/x/time/rate"
)

const (
	maxAnswer  = 1 << 20          // maxAnswer is the longest key set or document that is read, in bytes.
	fetchEvery = 10 * time.Second // fetchEvery is how often keys are fetched in the long run.
	fetchBurst = 5                // fetchBurst is how often they may be fetched at once.
)

var (
	errFetchedLately = errors.New("jwtbearer: keys were fetched just now")
	errTooLong       = errors.New("jwtbearer: the answer is too long")
)

// limitedClient is the client with bounds on how often and how much it fetches: a token that names an unknown key has the
// keys fetched, and anyone can send one.
func limitedClient(client *http.Client) *http.Client {
	limited := *client
	limited.Transport = &limitedTransport{
		cmp.Or[http.RoundTripper](client.Transport, http.DefaultTransport), rate.NewLimiter(rate.Every(fetchEvery), fetchBurst),
	}
	return &limited
}

type limitedTransport struct {
	http.RoundTripper
	limiter *rate.Limiter
}

func (t *limitedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !t.limiter.Allow() {
		return nil, errFetchedLately
	}
	answer, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = &limitedBody{answer.Body, maxAnswer}
	return answer, nil
}

// limitedBody fails at its limit, rather than end there.
type limitedBody struct {
	io.ReadCloser
	left int
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooLong
	}
	return n, err
}
