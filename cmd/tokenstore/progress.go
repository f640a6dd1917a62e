package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bar shows on a terminal how much of the input has been read. Its zero value shows nothing.
type bar struct{ *progressbar.ProgressBar }

// newBar returns the bar of an input of so many bytes, or of -1 for not known.
func newBar(size int64) *bar {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return &bar{}
	}
	return &bar{progressbar.NewOptions64(size, progressbar.OptionSetDescription("importing"), progressbar.OptionShowBytes(true),
		progressbar.OptionSetWriter(os.Stderr), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))}
}

func (b *bar) reader(r io.Reader) io.Reader {
	if b.ProgressBar == nil {
		return r
	}
	return io.TeeReader(r, b.ProgressBar)
}

// over returns a writer of whole lines to the terminal that the bar is on.
func (b *bar) over(w io.Writer) io.Writer {
	if b.ProgressBar == nil {
		return w
	}
	return clearing{b, w}
}

type clearing struct {
	bar *bar
	to  io.Writer
}

func (c clearing) Write(p []byte) (int, error) {
	_ = c.bar.Clear()
	return c.to.Write(p)
}

func (b *bar) done() {
	if b.ProgressBar != nil {
		_ = b.Finish()
	}
}
