// Package codec is how a backend that keeps bytes writes what the domain and the contract of stores are made of: one
// compact form for all of them. A backend adds the fields of what is its own.
package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// The errors of reading. A backend wraps them into its own.
var (
	// ErrCorrupt: a record is damaged.
	ErrCorrupt = errors.New("damaged")
	// ErrFormat: a record has a version that this program does not know.
	ErrFormat = errors.New("unknown version")
)

// Version is the first byte. A stored value is a version byte, the fields one after the other, and a CRC-32C of both. The fields of each kind of
// value stand in one function, which serves writing and reading alike, so the two can't disagree.
const Version = 1

// Coder writes or reads fields. After an error it does nothing more.
type Coder struct {
	buf     []byte // what has been written, or what is left to read
	texts   string // a copy of what is left to read, and of some that is not, which all texts are parts of; empty until the first of them
	reading bool
	err     error
}

// Encode writes a value.
func Encode[T any](value *T, fields func(*Coder, *T)) []byte {
	c := Coder{buf: append(make([]byte, 0, 512), Version)}
	fields(&c, value)
	return Sealed(c.buf)
}

// SealSize is how much longer data is once it is sealed.
const SealSize = 4

// Sealed returns data with its checksum behind it.
func Sealed(data []byte) []byte {
	return binary.BigEndian.AppendUint32(data, crc32.Checksum(data, castagnoli()))
}

// IsWhole reports whether what was sealed is as it was.
func IsWhole(data []byte) bool {
	n := len(data) - SealSize
	return n >= 1 && crc32.Checksum(data[:n], castagnoli()) == binary.BigEndian.Uint32(data[n:])
}

// Decode reads a value, and returns [ErrCorrupt] for one that is damaged and [ErrFormat] for one of another version.
func Decode[T any](data []byte, fields func(*Coder, *T)) (value T, err error) {
	err = DecodeInto(&value, data, fields)
	return value, err
}

// DecodeInto is [Decode] into a zero value of the caller's.
func DecodeInto[T any](value *T, data []byte, fields func(*Coder, *T)) error {
	if !IsWhole(data) {
		return fmt.Errorf("%w: a record's checksum is wrong", ErrCorrupt)
	}
	if data[0] != Version {
		return fmt.Errorf("%w: a record has version %d, this program knows %d", ErrFormat, data[0], Version)
	}
	return fieldsInto(value, data[1:len(data)-SealSize], fields)
}

// DecodeFields reads the fields alone, without version and checksum.
func DecodeFields[T any](data []byte, fields func(*Coder, *T)) (value T, err error) {
	err = fieldsInto(&value, data, fields)
	return value, err
}

func fieldsInto[T any](value *T, data []byte, fields func(*Coder, *T)) error {
	c := Coder{buf: data, reading: true}
	fields(&c, value)
	if len(c.buf) > 0 {
		c.Fail("has bytes to spare")
	}
	return c.err
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Fail ends reading: the record is damaged, and says how.
func (c *Coder) Fail(what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: a record %s", ErrCorrupt, what)
	}
	c.buf = nil
}

// Uint is a number, in as few bytes as it takes.
func (c *Coder) Uint(v *uint64) {
	if !c.reading {
		c.buf = binary.AppendUvarint(c.buf, *v)
		return
	}
	n := 0
	if *v, n = binary.Uvarint(c.buf); n <= 0 {
		c.Fail("ends within a number")
		return
	}
	c.buf = c.buf[n:]
}

// take returns the next n bytes, without copying them.
func (c *Coder) take(n uint64) []byte {
	if n > uint64(len(c.buf)) {
		c.Fail("ends within a text")
		return nil
	}
	taken := c.buf[:n]
	c.buf = c.buf[n:]
	return taken
}

// Fixed is as many bytes as v has.
func (c *Coder) Fixed(v []byte) {
	if !c.reading {
		c.buf = append(c.buf, v...)
		return
	}
	copy(v, c.take(uint64(len(v))))
}

// Text is a text after its length.
func (c *Coder) Text(v *string) {
	n := uint64(len(*v))
	c.Uint(&n)
	if !c.reading {
		c.buf = append(c.buf, *v...)
		return
	}
	if *v = ""; n == 0 {
		return
	}
	if c.texts == "" {
		c.texts = string(c.buf) // one copy for all: nothing that is handed out points into what was read
	}
	at := len(c.texts) - len(c.buf)
	if taken := c.take(n); taken != nil {
		*v = c.texts[at : at+len(taken)]
	}
}

// Bool is a truth value.
func (c *Coder) Bool(v *bool) {
	n := uint64(0)
	if *v {
		n = 1
	}
	c.Uint(&n)
	if n > 1 {
		c.Fail("has a truth value that is neither")
	}
	*v = n == 1
}

// Instant is 0 for the zero time, else seconds (signed, folded) plus one, and nanoseconds.
func (c *Coder) Instant(v *time.Time) {
	var s, ns uint64
	if !v.IsZero() {
		sec := v.Unix()
		s, ns = uint64(sec<<1^sec>>63)+1, uint64(v.Nanosecond())
	}
	c.Uint(&s)
	if s == 0 {
		*v = time.Time{}
		return
	}
	c.Uint(&ns)
	if c.reading {
		if ns >= 1e9 {
			c.Fail("has a time with too many nanoseconds")
			return
		}
		folded := s - 1
		*v = time.Unix(int64(folded>>1)^-int64(folded&1), int64(ns)).UTC()
	}
}

// Size is a count of things that follow; each takes a byte at least, so a damaged count can't ask for much memory.
func (c *Coder) Size(n int) int {
	v := uint64(n)
	c.Uint(&v)
	if c.reading && v > uint64(len(c.buf)) {
		c.Fail("has a count that is too large")
		return 0
	}
	return int(v)
}

// list is a count, and so many things.
func list[T any](c *Coder, all *[]T, fields func(*Coder, *T)) {
	n := c.Size(len(*all))
	for i := 0; i < n && c.err == nil; i++ {
		if c.reading {
			*all = append(*all, *new(T))
		}
		fields(c, &(*all)[i])
	}
}

// Small is a number of 32 bits.
func (c *Coder) Small(v *uint32) {
	wide := uint64(*v)
	c.Uint(&wide)
	if wide > 1<<32-1 {
		c.Fail("has a number that is too large")
	}
	*v = uint32(wide)
}

// Check ends reading where what was read breaks a limit.
func (c *Coder) Check(err error) {
	if err != nil {
		c.Fail("breaks a limit: " + err.Error())
	}
}
