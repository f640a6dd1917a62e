package domain

import (
	"encoding/binary"
	"hash/crc32"
)

// checksum is the CRC-32 of what stands before it in a secret: its text up to the payload, and the payload. It is that of
// hash/crc32, which would have a text that is only looked at copied to the heap.
func checksum(text string, payload *[payloadSize]byte) uint32 {
	// What the first three letters do is known, and the rest is made of eights.
	const known = 3
	var rest [payloadAt - known + sumAt]byte
	copy(rest[:], text[known:payloadAt])
	copy(rest[payloadAt-known:], payload[:])
	t, crc := &slices8, prefixSum
	for i := 0; i < len(rest); i += 8 {
		low, high := crc^binary.LittleEndian.Uint32(rest[i:]), binary.LittleEndian.Uint32(rest[i+4:])
		crc = t[7][byte(low)] ^ t[6][byte(low>>8)] ^ t[5][byte(low>>16)] ^ t[4][low>>24] ^
			t[3][byte(high)] ^ t[2][byte(high>>8)] ^ t[1][byte(high>>16)] ^ t[0][high>>24]
	}
	return ^crc
}

var prefixSum = ^crc32.ChecksumIEEE([]byte(secretPrefix)[:3])

// slices8 has what a byte does to the checksum when none to seven others come after it.
var slices8 = func() (t [8]crc32.Table) {
	t[0] = *crc32.IEEETable
	for i := range 7 {
		for b, crc := range t[i] {
			t[i+1][b] = t[0][byte(crc)] ^ crc>>8
		}
	}
	return t
}()
