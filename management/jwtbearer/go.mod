// Authorization by JSON Web Tokens is a module of its own, for its dependencies.
module example.com/tokenstore/management/jwtbearer

go 1.26.0

require (
	example.com/tokenstore v0.0.0
	github.com/coreos/go-oidc/v3 v3.21.0
	github.com/go-jose/go-jose/v4 v4.1.9
	go.uber.org/goleak v1.3.0
	golang.org/x/time v0.16.0
)

require (
	github.com/oklog/ulid/v2 v2.1.2 // indirect
	golang.org/x/oauth2 v0.36.0 // indirect
)

replace example.com/tokenstore => ../..
