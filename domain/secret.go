package domain

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Secret is the text that a client holds and exchanges, ours or a foreign one. It shows nothing of itself: fmt with any
// verb, slog, JSON, text and panics see "[secret]", gob refuses it. [Secret.Reveal] is the one way to the text. The zero
// value is the empty secret. Secrets are not meant to be compared.
type Secret struct {
	hidden
	text *string // behind a pointer: what prints a struct by reflection then finds an address, not the text
}

// NewSecret wraps a text that a client presented. Any text is taken; whether it is a secret is seen at its use.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal returns the text, to be handed to the client and to nobody else.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// hidden gives the types that embed it a form that says nothing.
type hidden struct{}

const hiddenText = "[secret]"

// Format writes "[secret]" for every verb.
func (hidden) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, hiddenText) }

// LogValue is "[secret]".
func (hidden) LogValue() slog.Value { return slog.StringValue(hiddenText) }

// MarshalText writes "[secret]", which JSON and XML use too.
func (hidden) MarshalText() ([]byte, error) { return []byte(hiddenText), nil }

// GobEncode refuses: what can't be read back must not look as if it had been stored.
func (hidden) GobEncode() ([]byte, error) {
	return nil, errors.New("tokenstore: a secret does not encode; reveal it explicitly")
}
