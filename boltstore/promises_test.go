package boltstore_test

import (
	"testing"

	"example.com/tokenstore/tokenstoretest"
)

func TestPromises(t *testing.T) {
	c := config()
	tokenstoretest.Run(t, tokenstoretest.Config{New: c.New, Reopen: c.Reopen})
}
