// Package openapitest holds the test that the management API answers as its OpenAPI document says.
package openapitest
