//go:build race

package main

// Where the tests have the race detector, the program has it too.
func init() { buildFlags = append(buildFlags, "-race") }
