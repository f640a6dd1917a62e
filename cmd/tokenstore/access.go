package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"example.com/tokenstore"
	"example.com/tokenstore/management"
	"example.com/tokenstore/management/jwtbearer"
	"example.com/tokenstore/oauth"
	"github.com/spf13/pflag"
)

// accessFlags say who is let in.
type accessFlags struct {
	static, clients credentials
	resourceServers []string
	tokens          jwtbearer.Options
}

func (f *accessFlags) register(flags *pflag.FlagSet) {
	f.static = credentials{name: "static-token", env: "TOKENSTORE_STATIC_TOKENS"}
	f.static.register(flags, "TOKEN=SCOPE,SCOPE", "let in who bears the token, with these scopes")
	f.clients = credentials{name: "oauth-client", env: "TOKENSTORE_OAUTH_CLIENTS"}
	f.clients.register(flags, "ID=SECRET", "serve /oauth/revoke and /oauth/introspect, to this client")
	flags.StringVar(&f.tokens.Issuer, "issuer", "", "let in who bears a JSON Web Token of the issuer `URL`, by its scopes")
	flags.StringVar(&f.tokens.Audience, "audience", "", "the `AUDIENCE` that such a token must have")
	flags.StringVar(&f.tokens.KeySetURL, "key-set-url", "", "where the issuer's keys are (default: what its discovery document says)")
	together(flags, "issuer", "audience")
	needs(flags, "key-set-url", "issuer")
	flags.StringArrayVar(&f.resourceServers, "oauth-resource-server", nil, "let the client `ID` introspect the tokens of all clients; may be repeated")
}

// access is who is let in. clients is nil if there are none.
type access struct {
	management management.Authorizer
	clients    oauth.Authenticator
	others     func(clientID string) bool
}

func (f *accessFlags) read(ctx context.Context, tenant string) (access, error) {
	var a access
	var err error
	if a.management, err = f.authorizer(ctx, tenant); err != nil {
		return access{}, err
	}
	secrets, err := f.secrets()
	if err != nil {
		return access{}, err
	}
	for _, id := range f.resourceServers {
		if _, known := secrets[id]; !known {
			return access{}, usage("--oauth-resource-server: %q is no --oauth-client", id)
		}
	}
	a.others = func(id string) bool { return slices.Contains(f.resourceServers, id) }
	if len(secrets) == 0 {
		return a, nil
	}
	if a.clients, err = oauth.NewClients(secrets); err != nil {
		return access{}, usage("--oauth-client: %w", err)
	}
	return a, nil
}

// authorizer lets in who bears a static token, and else who bears one of the issuer.
func (f *accessFlags) authorizer(ctx context.Context, tenant string) (management.Authorizer, error) {
	callers, err := f.callers(tenant)
	if err != nil {
		return nil, err
	}
	if len(callers) == 0 && f.tokens.Issuer == "" {
		return nil, usage("nobody is let in: give --static-token TOKEN=SCOPE,SCOPE, or --static-token-file, or --issuer and --audience")
	}
	static, err := management.NewStaticTokens(callers)
	if err != nil {
		return nil, usage("--static-token: %w", err)
	}
	if f.tokens.Issuer == "" {
		return static, nil
	}
	f.tokens.Tenant = tenant
	issued, err := jwtbearer.New(context.WithoutCancel(ctx), f.tokens) // keys are fetched until the last request is answered
	switch {
	case errors.Is(err, tokenstore.ErrInvalid):
		return nil, usage("--issuer: %w", err)
	case err != nil:
		return nil, fmt.Errorf("--issuer: %w", err)
	}
	return management.AuthorizerFunc(func(r *http.Request) (management.Caller, error) {
		if caller, err := static.Authorize(r); err == nil {
			return caller, nil
		}
		return issued.Authorize(r)
	}), nil
}

// callers reads TOKEN=SCOPE,SCOPE. A token may end in "=" (RFC 6750 §2.1), so the last one separates.
func (f *accessFlags) callers(tenant string) (map[string]management.Caller, error) {
	callers := map[string]management.Caller{}
	err := f.static.all(func(pair string) error {
		i := strings.LastIndexByte(pair, '=')
		if i < 1 {
			return errors.New("it must be TOKEN=SCOPE,SCOPE")
		}
		token, scopes := pair[:i], strings.FieldsFunc(pair[i+1:], func(r rune) bool { return r == ',' || r == ' ' }) // no scope holds a space
		if len(scopes) == 0 {
			return errors.New("a token needs at least one scope")
		}
		if _, twice := callers[token]; twice {
			return errors.New("the token is there already")
		}
		callers[token] = management.Caller{Actor: fmt.Sprintf("static token %d", len(callers)+1), Tenant: tenant, Scopes: scopes}
		return nil
	})
	return callers, err
}

// secrets reads ID=SECRET. A secret may hold any character, so the first "=" separates.
func (f *accessFlags) secrets() (map[string]string, error) {
	secrets := map[string]string{}
	err := f.clients.all(func(pair string) error {
		id, secret, ok := strings.Cut(pair, "=")
		if !ok || id == "" || secret == "" {
			return errors.New("it must be ID=SECRET")
		}
		if _, twice := secrets[id]; twice {
			return errors.New("the client is there already")
		}
		secrets[id] = secret
		return nil
	})
	return secrets, err
}
