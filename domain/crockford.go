package domain

import (
	"encoding/binary"

	"github.com/oklog/ulid/v2"
)

// noLetter is the value of what is none of [letters].
const noLetter = 0xff

var letterValues = func() (values [256]byte) {
	for i := range values {
		values[i] = noLetter
	}
	for value, letter := range []byte(letters) {
		values[letter] = byte(value)
	}
	return values
}()

// decodeLetters reads 5 bytes out of every 8 letters, until dst is full; there have to be as many. It takes exactly one spelling of
// them: neither lower case, nor the aliases that people may write, nor line breaks, which the usual decoders pass over. So what it
// takes need not be encoded again to be compared.
func decodeLetters(dst []byte, text string) (ok bool) {
	v := &letterValues
	seen := uint64(0)
	for len(dst) > 0 {
		a, b, c, d := uint64(v[text[0]]), uint64(v[text[1]]), uint64(v[text[2]]), uint64(v[text[3]])
		e, f, g, h := uint64(v[text[4]]), uint64(v[text[5]]), uint64(v[text[6]]), uint64(v[text[7]])
		seen |= a | b | c | d | e | f | g | h
		bits := a<<35 | b<<30 | c<<25 | d<<20 | e<<15 | f<<10 | g<<5 | h
		dst[0] = byte(bits >> 32)
		binary.BigEndian.PutUint32(dst[1:], uint32(bits))
		dst, text = dst[5:], text[8:]
	}
	return seen != noLetter
}

// decodeID reads the text of a ULID: the first byte has two letters of its own.
func decodeID(text string) (id ulid.ULID, ok bool) {
	high, low := letterValues[text[0]], letterValues[text[1]]
	id[0] = high<<5 | low
	ok = decodeLetters(id[1:], text[2:])
	return id, ok && high < 8 && low != noLetter
}
