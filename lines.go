package tokenstore

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
)

// MaxLine is the longest line of an import, in bytes: a token at all of its limits fits, however it is escaped.
const MaxLine = 4 << 20

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
		in := bufio.NewReaderSize(r, MaxLine)
		for n := 1; ; n++ {
			text, err := in.ReadSlice('\n')
			tooLong := errors.Is(err, bufio.ErrBufferFull)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
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
