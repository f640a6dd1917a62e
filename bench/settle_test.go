package main

import "testing"

// The kernel's figures are read: without them no turn would wait for quiet.
func TestProcessors(t *testing.T) {
	spent, err := processors()
	if err != nil {
		t.Fatal(err)
	}
	if spent.idle < 0 || spent.all <= spent.idle { // something has run, this for one
		t.Errorf("got %+v", spent)
	}
}
