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
