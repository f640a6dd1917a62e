package tokenstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math/bits"

	"example.com/tokenstore/domain"
)

// WriteEvents writes events, one JSON object a line, as docs/feed.md describes it: those that [Manager.Events] or
// [Manager.Follow] walk. Each line is one call of w's Write. It ends after the first error, that of the events or that of w.
func WriteEvents(w io.Writer, events iter.Seq2[Event, error]) error {
	for event, err := range events {
		if err != nil {
			return err
		}
		text, err := json.Marshal(event)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(text, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// ReadEvents walks what [WriteEvents] has written, as it is: whether numbers are missing or come twice is for the caller to see. Empty
// lines are passed over. It ends after the first error, which names the line: that of r, or a [FieldError] for a line that is no
// event, or has a member that this version does not know.
func ReadEvents(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for n, line := range lines(r) {
			if line.err == nil && !line.tooLong && len(line.text) == 0 {
				continue
			}
			event, err := line.event()
			if err != nil {
				yield(Event{}, fmt.Errorf("tokenstore: line %d: %w", n, err))
				return
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}

func (l *line) event() (Event, error) {
	switch {
	case l.err != nil:
		return Event{}, l.err
	case l.tooLong:
		return Event{}, errTooLong()
	case !domain.ValidUnicode(l.text): // encoding/json would replace what is not
		return Event{}, &FieldError{Field: "line", Limit: "valid UTF-8", Size: len(l.text)}
	}
	in := json.NewDecoder(bytes.NewReader(l.text))
	in.DisallowUnknownFields()
	var e Event
	if err := in.Decode(&e); err != nil {
		return Event{}, lineError(err, l.text)
	}
	e.Time = e.Time.UTC()
	switch {
	case in.InputOffset() != int64(len(l.text)):
		return Event{}, &FieldError{Field: "line", Limit: "one JSON object", Size: len(l.text)}
	case e.Number == 0:
		return Event{}, &FieldError{Field: "number", Limit: "at least 1"}
	case bits.OnesCount16(uint16(e.Kind)) != 1:
		return Event{}, &FieldError{Field: "kind", Limit: "one kind"}
	case e.Time.IsZero():
		return Event{}, &FieldError{Field: "time", Limit: "set"}
	}
	return e, nil
}
