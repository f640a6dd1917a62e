package gosdk

import (
	"context"
	"errors"

	"example.com/tokenstore/e2e/server"
	"github.com/auth0/go-auth0/management"
)

type v1 struct {
	api  *management.Management
	call []management.RequestOption
}

func newV1(addr, token string, calls calls) (sdk, error) {
	// The option for HTTP replaces the token, so it comes first.
	options := []management.Option{management.WithInsecure(), management.WithStaticToken(token)}
	if calls.once {
		options = append(options, management.WithNoRetries())
	}
	api, err := management.New(addr, options...)
	c := &v1{api: api}
	if calls.fenced {
		c.call = append(c.call, management.Parameter("consistency", "fenced"))
	}
	return c, err
}

func (c *v1) get(ctx context.Context, id string) (server.Token, error) {
	t, err := c.api.RefreshToken.Read(ctx, id, c.call...)
	return toToken(t, err)
}

func (c *v1) listUser(ctx context.Context, user string, take int) ([]server.Token, error) {
	var all []server.Token
	options := append([]management.RequestOption{management.Take(take)}, c.call...)
	for {
		page, err := c.api.User.ListRefreshTokens(ctx, user, options...)
		if err != nil {
			return nil, err
		}
		for _, t := range page.Tokens {
			one, err := toToken(t, nil)
			if err != nil {
				return nil, err
			}
			if all = append(all, one); len(all) > endless {
				return nil, errEndless
			}
		}
		if !page.HasNext() {
			return all, nil
		}
		options = append([]management.RequestOption{management.Take(take), management.From(page.Next)}, c.call...)
	}
}

func (c *v1) deleteOne(ctx context.Context, id string) error {
	return c.api.RefreshToken.Delete(ctx, id, c.call...)
}

func (c *v1) deleteUser(ctx context.Context, user string) error {
	return c.api.User.DeleteRefreshTokens(ctx, user, c.call...)
}

// status is the status code of the SDK's error for it, or 0 for any other error.
func (c *v1) status(err error) int {
	if e, ok := errors.AsType[management.Error](err); ok {
		return e.Status()
	}
	return 0
}
