package domain

import (
	"encoding/binary"

	"github.com/oklog/ulid/v2"
)

// noLetter is the value of what is none of [letters].
const noLetter = 0xff

// letterValues are as wide as what they are put together in: with nothing to convert, the compiler inlines [fiveBytes].
var letterValues = func() (values [256]uint64) {
	for i := range values {
		values[i] = noLetter
	}
	for value, letter := range []byte(letters) {
		values[letter] = uint64(value)
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
		a, b, c, d := v[text[0]], v[text[1]], v[text[2]], v[text[3]]
		e, f, g, h := v[text[4]], v[text[5]], v[text[6]], v[text[7]]
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
	id[0] = byte(high<<5 | low)
	ok = decodeLetters(id[1:], text[2:])
	return id, ok && high < 8 && low != noLetter
}

// decodeRandom reads the random parts out of the letters of a payload that was decoded before, and found to be good.
func decodeRandom(r *randomParts, text string) {
	v := &letterValues
	text = text[:payloadSize*8/5] // its bounds are checked once
	first, last := v[text[6]]<<5|v[text[7]], v[text[56]]<<5|v[text[57]]
	a, b, c := fiveBytes(text[8:16]), fiveBytes(text[16:24]), fiveBytes(text[24:32])
	d, e, f := fiveBytes(text[32:40]), fiveBytes(text[40:48]), fiveBytes(text[48:56])
	binary.BigEndian.PutUint64(r[0:], first<<56|a<<16|b>>24)
	binary.BigEndian.PutUint64(r[8:], b<<40|c)
	binary.BigEndian.PutUint64(r[16:], d<<24|e>>16)
	binary.BigEndian.PutUint64(r[24:], e<<48|f<<8|last>>2)
}

// fiveBytes reads eight letters.
func fiveBytes(text string) uint64 {
	v := &letterValues
	return v[text[0]]<<35 | v[text[1]]<<30 | v[text[2]]<<25 | v[text[3]]<<20 |
		v[text[4]]<<15 | v[text[5]]<<10 | v[text[6]]<<5 | v[text[7]]
}
