package gosdk

import (
	"context"
	"encoding/json"
	"errors"

	"example.com/tokenstore/e2e/server"
)

// sdk is what every version of the SDK can do.
type sdk interface {
	get(ctx context.Context, id string) (server.Token, error)
	listUser(ctx context.Context, user string, take int) ([]server.Token, error)
	deleteOne(ctx context.Context, id string) error
	deleteUser(ctx context.Context, user string) error
	status(err error) int
}

// wholeSDK is what the newer versions can do too.
type wholeSDK interface {
	sdk
	list(ctx context.Context, q query) ([]server.Token, error)
	update(ctx context.Context, id string, metadata map[string]any) (server.Token, error)
	revoke(ctx context.Context, t target) error
	// revocationOf deletes a token and returns the name of its revocation.
	revocationOf(ctx context.Context, id string) (string, error)
	revokeSession(ctx context.Context, id string) error
	devices(ctx context.Context, user, kind string) ([]device, error)
	deleteDevice(ctx context.Context, id string) error
}

// sdks are the versions, as go.mod pins them.
var sdks = []struct {
	version string
	open    func(addr, token string, calls calls) (sdk, error)
}{{"v1", newV1}, {"v2", newV2}, {"v3", newV3}}

// calls say how an SDK is to make its calls.
type calls struct {
	fenced bool // fenced asks for the fenced view.
	once   bool // once is without retries.
}

type query struct {
	user, client, fields string
	take                 int
}

type target struct {
	ids                    []string
	user, client, audience string
}

type device struct{ id, name, kind, user, client string }

// endless is more than any list has; an SDK that gets so far is in a loop.
const endless = 1000

var errEndless = errors.New("the list has no end")

// toToken makes a token of an SDK's own type for it, by the names that the SDK gives its fields in JSON. A field that the SDK
// has not understood is not where it belongs then.
func toToken[T any](own T, err error) (server.Token, error) {
	var t server.Token
	if err != nil {
		return t, err
	}
	text, err := json.Marshal(own)
	if err != nil {
		return t, err
	}
	return t, json.Unmarshal(text, &t)
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
