// Code generated from v3_test.go by go generate. DO NOT EDIT.

package gosdk

import (
	"context"
	"errors"
	"net/url"
	"time"

	"example.com/tokenstore/e2e/server"
	"github.com/auth0/go-auth0/v2/management"
	"github.com/auth0/go-auth0/v2/management/client"
	"github.com/auth0/go-auth0/v2/management/core"
	"github.com/auth0/go-auth0/v2/management/option"
)

type v2 struct {
	api  *client.Management
	call []option.RequestOption
}

func newV2(addr, token string, calls calls) (sdk, error) {
	// The option for HTTP sets a token of its own if there is none yet, so it comes second.
	api, err := client.New(addr, option.WithToken(token), option.WithInsecure())
	c := &v2{api: api}
	if calls.fenced {
		c.call = append(c.call, option.WithQueryParameters(url.Values{"consistency": {"fenced"}}))
	}
	if calls.once {
		c.call = append(c.call, option.WithoutRetries())
	}
	return c, err
}

func (c *v2) get(ctx context.Context, id string) (server.Token, error) {
	t, err := c.api.RefreshTokens.Get(ctx, id, c.call...)
	return toTokenV2(t, err)
}

func (c *v2) listUser(ctx context.Context, user string, take int) ([]server.Token, error) {
	page, err := c.api.Users.RefreshToken.List(ctx, user, &management.ListRefreshTokensRequestParameters{Take: &take}, c.call...)
	if err != nil {
		return nil, err
	}
	return walkV2(ctx, page, toTokenV2)
}

func (c *v2) deleteOne(ctx context.Context, id string) error {
	return c.api.RefreshTokens.Delete(ctx, id, c.call...)
}

func (c *v2) deleteUser(ctx context.Context, user string) error {
	return c.api.Users.RefreshToken.Delete(ctx, user, c.call...)
}

func (c *v2) list(ctx context.Context, q query) ([]server.Token, error) {
	page, err := c.api.RefreshTokens.List(ctx, &management.GetRefreshTokensRequestParameters{
		UserID: q.user, ClientID: orNil(q.client), Take: &q.take, Fields: orNil(q.fields),
	}, c.call...)
	if err != nil {
		return nil, err
	}
	return walkV2(ctx, page, toTokenV2)
}

func (c *v2) update(ctx context.Context, id string, metadata map[string]any) (server.Token, error) {
	request := &management.UpdateRefreshTokenRequestContent{}
	if metadata == nil {
		request.SetRefreshTokenMetadata(nil) // sends null
	} else {
		request.SetRefreshTokenMetadata(&metadata)
	}
	t, err := c.api.RefreshTokens.Update(ctx, id, request, c.call...)
	return toTokenV2(t, err)
}

func (c *v2) revoke(ctx context.Context, t target) error {
	return c.api.RefreshTokens.Revoke(ctx, &management.RevokeRefreshTokensRequestContent{
		IDs: t.ids, UserID: orNil(t.user), ClientID: orNil(t.client), Audience: orNil(t.audience),
	}, c.call...)
}

func (c *v2) revocationOf(ctx context.Context, id string) (string, error) {
	response, err := c.api.RefreshTokens.WithRawResponse.Delete(ctx, id, c.call...)
	if err != nil {
		return "", err
	}
	return response.Header.Get("Tokenstore-Revocation"), nil
}

func (c *v2) revokeSession(ctx context.Context, id string) error {
	return c.api.Sessions.Revoke(ctx, id, c.call...)
}

func (c *v2) devices(ctx context.Context, user, kind string) ([]device, error) {
	request := &management.ListDeviceCredentialsRequestParameters{UserID: &user}
	if kind != "" {
		request.Type = management.DeviceCredentialTypeEnum(kind).Ptr()
	}
	page, err := c.api.DeviceCredentials.List(ctx, request, c.call...)
	if err != nil {
		return nil, err
	}
	return walkV2(ctx, page, func(d *management.DeviceCredential, err error) (device, error) {
		return device{d.GetID(), d.GetDeviceName(), string(d.GetType()), d.GetUserID(), d.GetClientID()}, err
	})
}

func (c *v2) deleteDevice(ctx context.Context, id string) error {
	return c.api.DeviceCredentials.Delete(ctx, id, c.call...)
}

// ownV2 is each of the SDK's types of a token.
type ownV2 interface {
	GetCreatedAt() management.RefreshTokenDate
	GetIdleExpiresAt() management.RefreshTokenDate
	GetExpiresAt() management.RefreshTokenDate
	GetLastExchangedAt() management.RefreshTokenDate
}

// toTokenV2 takes the times as the SDK has read them: it would write them without their milliseconds.
func toTokenV2[T ownV2](own T, err error) (server.Token, error) {
	t, err := toToken(own, err)
	if err != nil {
		return t, err
	}
	date := func(d management.RefreshTokenDate) *time.Time {
		if d.DateTime.IsZero() {
			return nil
		}
		return &d.DateTime
	}
	t.CreatedAt, t.IdleExpiresAt = date(own.GetCreatedAt()), date(own.GetIdleExpiresAt())
	t.ExpiresAt, t.LastExchangedAt = date(own.GetExpiresAt()), date(own.GetLastExchangedAt())
	return t, nil
}

// status is the status code of the SDK's error for it, or 0 for any other error.
func (c *v2) status(err error) int {
	if e, ok := errors.AsType[*management.BadRequestError](err); ok {
		return e.StatusCode
	}
	if e, ok := errors.AsType[*management.UnauthorizedError](err); ok {
		return e.StatusCode
	}
	if e, ok := errors.AsType[*management.ForbiddenError](err); ok {
		return e.StatusCode
	}
	if e, ok := errors.AsType[*management.NotFoundError](err); ok {
		return e.StatusCode
	}
	if e, ok := errors.AsType[*management.TooManyRequestsError](err); ok {
		return e.StatusCode
	}
	return 0
}

// walkV2 walks all pages by the SDK's own iterator.
func walkV2[C comparable, T, R, Own any](ctx context.Context, page *core.Page[C, T, R], own func(T, error) (Own, error)) ([]Own, error) {
	var all []Own
	items := page.Iterator()
	for items.Next(ctx) {
		one, err := own(items.Current(), nil)
		if err != nil {
			return nil, err
		}
		if all = append(all, one); len(all) > endless {
			return nil, errEndless
		}
	}
	return all, items.Err()
}
