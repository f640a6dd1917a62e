package management

import "context"

// Directory says what exists beside tokens. With one, the API tells unknown users, clients and resource servers from those
// without tokens. An error is answered by 500, or by 503 if it matches one of the store's errors that say so. It must be safe
// for concurrent use.
type Directory interface {
	// UserExists reports whether the tenant has the user.
	UserExists(ctx context.Context, tenant, userID string) (bool, error)
	// ClientExists reports whether the tenant has the client.
	ClientExists(ctx context.Context, tenant, clientID string) (bool, error)
	// ResourceServerExists reports whether the tenant has an API of this audience.
	ResourceServerExists(ctx context.Context, tenant, audience string) (bool, error)
}

// known refuses what the directory does not know; what is empty is not asked for.
func (c *call) known(status int, userID, clientID, audience string) error {
	directory := c.opts.Directory
	if directory == nil {
		return nil
	}
	for _, one := range []struct {
		id     string
		exists func(ctx context.Context, tenant, id string) (bool, error)
		problem
	}{
		{userID, directory.UserExists, problem{status, "inexistent_user", "The user does not exist."}},
		{clientID, directory.ClientExists, problem{status, "inexistent_client", "The client does not exist."}},
		{audience, directory.ResourceServerExists, problem{status, "inexistent_resource_server", "The resource server does not exist."}},
	} {
		if one.id == "" {
			continue
		}
		ok, err := one.exists(c.context(), c.caller.Tenant, one.id)
		if err != nil {
			return err
		}
		if !ok {
			return one.problem
		}
	}
	return nil
}
