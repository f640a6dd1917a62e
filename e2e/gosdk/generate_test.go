package gosdk

import (
	"os"
	"strings"
	"testing"
)

// The two newer versions have the same methods on types of their own, so one file is made of the other.
//
//go:generate sh -c "(echo '// Code generated from v3_test.go by go generate. DO NOT EDIT.'; echo; sed 's/v3/v2/g; s/V3/V2/g' v3_test.go) >v2_test.go"

func TestV2IsGenerated(t *testing.T) {
	v3, err := os.ReadFile("v3_test.go")
	if err != nil {
		t.Fatal(err)
	}
	v2, err := os.ReadFile("v2_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if _, body, _ := strings.Cut(string(v2), "\n\n"); body != strings.NewReplacer("v3", "v2", "V3", "V2").Replace(string(v3)) {
		t.Error("v2_test.go is out of date; run go generate ./gosdk")
	}
}
