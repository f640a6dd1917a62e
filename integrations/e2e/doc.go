// Package e2e has the end-to-end tests of the adapters for frameworks: an OpenID provider on each, and real clients, of which
// openid-client is installed first.
//
//	(cd nodeclient && npm ci)
//	GOWORK=off go test -count=1 .
package e2e
