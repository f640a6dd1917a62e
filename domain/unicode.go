package domain

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// ValidUnicode reports whether a JSON text is valid UTF-8 and escapes no half of a surrogate pair without the other one
// (RFC 8259 §8). encoding/json would put U+FFFD in the place of either, and two ids could become one. It does not ask
// whether the text is JSON otherwise.
func ValidUnicode(text []byte) bool {
	if !utf8.Valid(text) {
		return false
	}
	for len(text) > 0 {
		switch unit := escaped(text); {
		case utf16.IsSurrogate(unit):
			if utf16.DecodeRune(unit, escaped(text[6:])) == utf8.RuneError {
				return false
			}
			text = text[12:]
		case text[0] == '\\' && len(text) > 1:
			text = text[2:]
		default:
			text = text[1:]
		}
	}
	return true
}

// escaped is the UTF-16 code unit of a text that begins with \uXXXX, and 0 for any other.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(unit)
}
