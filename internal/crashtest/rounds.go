package crashtest

import (
	"os"
	"strconv"
	"testing"
)

// Rounds is how often to try: the number in a variable of the environment, or else all; 20 where tests are to be short.
func Rounds(t testing.TB, variable string, all int) int {
	t.Helper()
	text := os.Getenv(variable)
	switch {
	case text == "" && testing.Short():
		return 20
	case text == "":
		return all
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s must be a positive number: got %q", variable, text)
	}
	return n
}
