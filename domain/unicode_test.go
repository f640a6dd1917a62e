package domain_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"example.com/tokenstore/domain"
)

func TestValidUnicode(t *testing.T) {
	for text, want := range map[string]bool{
		``: true, `"a"`: true, `"ž😀"`: true, `"\ufffd\u0000\n\\"`: true, `"\ud83d\ude00"`: true, `"\uD83D\uDE00\uD83D\uDE00"`: true, `"\\ud800"`: true,
		`\`: true, `\u`: true, `\uzzzz`: true, "\"\xff\"": false, `"\ud800"`: false, `"\uDFFF"`: false, `"\ud800\\udc00"`: false, `"\ud83dx\ude00"`: false,
		`"\ude00\ud83d"`: false, `"\ud83d\ud83d\ude00"`: false, `\ud83d`: false, `\ud83d\ude0`: false, `"\\\ud800"`: false,
	} {
		if got := domain.ValidUnicode([]byte(text)); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
}

// A token whose text would be read as another one is refused.
func TestTokensOfInvalidUnicode(t *testing.T) {
	for _, user := range []string{"\xff", `\ud800`} {
		var token domain.RefreshToken
		err := json.Unmarshal([]byte(strings.Replace(golden, `"auth0|`, `"`+user, 1)), &token)
		if field, ok := errors.AsType[*domain.FieldError](err); !ok || field.Limit != "valid UTF-8" {
			t.Errorf("%q: %v", user, err)
		}
	}
}
