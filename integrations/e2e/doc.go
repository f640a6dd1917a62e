// Package e2e has the end-to-end tests of the adapters for frameworks: an authorization server on each, and real clients.
package e2e
