package tokenstore

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// MaxLine is the longest line of an import, in bytes: a token at all of its limits fits, however it is escaped.
const MaxLine = 4 << 20

func errTooLong() error {
	return &FieldError{Field: "line", Limit: fmt.Sprintf("at most %d bytes", MaxLine)}
}

// line is one line of input. Its text is good until the next one, and has no space around it.
type line struct {
	text    []byte
	tooLong bool
	err     error
}

// lines walks the lines of r with their numbers, from 1. One that is too long is passed over without being kept. An
// error of r is the last.
func lines(r io.Reader) iter.Seq2[int, line] {
	return func(yield func(int, line) bool) {
		in := bufio.NewReaderSize(r, 1<<16)
		var text []byte
		for n := 1; ; n++ {
			var tooLong bool
			var err error
			text, tooLong, err = readLine(in, text[:0])
			switch {
			case err != nil && err != io.EOF:
				yield(n, line{err: err})
				return
			case err == io.EOF && len(text) == 0 && !tooLong:
				return
			case !yield(n, line{text: bytes.TrimSpace(text), tooLong: tooLong}), err == io.EOF:
				return
			}
		}
	}
}

// readLine appends the next line to text, unless it is too long.
func readLine(in *bufio.Reader, text []byte) (_ []byte, tooLong bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if tooLong = tooLong || len(text)+len(part) > MaxLine; tooLong {
			text = text[:0]
		} else {
			text = append(text, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, tooLong, err
		}
	}
}
