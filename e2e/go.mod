// The end-to-end tests: official SDKs against a real server process. They are a module of their own for the SDKs' sake.
module example.com/tokenstore/e2e

go 1.26.0

ignore ./nodesdk/node_modules

require (
	github.com/auth0/go-auth0 v1.20.0
	github.com/auth0/go-auth0/v2 v2.14.0
	github.com/auth0/go-auth0/v3 v3.0.0
	github.com/oklog/ulid/v2 v2.1.2
)

require (
	github.com/PuerkitoBio/rehttp v1.4.0 // indirect
	github.com/decred/dcrd/dcrec/secp256k1/v4 v4.4.1 // indirect
	github.com/goccy/go-json v0.10.6 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/lestrrat-go/blackmagic v1.0.4 // indirect
	github.com/lestrrat-go/httpcc v1.0.1 // indirect
	github.com/lestrrat-go/httprc v1.0.6 // indirect
	github.com/lestrrat-go/iter v1.0.2 // indirect
	github.com/lestrrat-go/jwx/v2 v2.1.7 // indirect
	github.com/lestrrat-go/option v1.0.1 // indirect
	github.com/segmentio/asm v1.2.1 // indirect
	golang.org/x/crypto v0.53.0 // indirect
	golang.org/x/oauth2 v0.36.0 // indirect
	golang.org/x/sys v0.46.0 // indirect
)
