// Package browser tests the pages of the provider in headless Chromium, with axe-core, and makes the README's pictures of them.
//
//	npm ci && BROWSER=1 GOWORK=off go test -count=1 . [-update]
package browser
