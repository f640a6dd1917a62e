package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bar shows on a terminal how far something has come. Its zero value shows nothing.
type bar struct{ *progressbar.ProgressBar }

// newBar returns the bar of so many things to be done, or of -1 for not known.
func newBar(doing string, size int64, options ...progressbar.Option) *bar {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return &bar{}
	}
	options = append(options, progressbar.OptionSetDescription(doing), progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
	return &bar{progressbar.NewOptions64(size, options...)}
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

// reach shows how much has been done so far.
func (b *bar) reach(n int64) {
	if b.ProgressBar != nil {
		_ = b.Set64(n)
	}
}

func (b *bar) done() {
	if b.ProgressBar != nil {
		_ = b.Finish()
	}
}
