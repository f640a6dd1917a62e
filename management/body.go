package management

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
)

// members reads the members of the request's JSON object. Where form says so, it also takes a form, whose values become strings,
// and those of the names in lists become arrays.
func (c *call) members(form bool, lists ...string) (map[string]json.RawMessage, error) {
	mediaType, err := c.mediaType(form)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(c.Body)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, problem{status: http.StatusRequestEntityTooLarge, message: "The body is too large."}
	}
	isJSON := mediaType == "application/json"
	if err != nil || !utf8.Valid(text) || isJSON && !domain.ValidUnicode(text) {
		return nil, badBody("The body must be complete and valid UTF-8.")
	}
	if isJSON {
		return objectMembers(text)
	}
	return formMembers(string(text), lists)
}

func badBody(message string) problem {
	return problem{status: http.StatusBadRequest, code: codeBody, message: message}
}

// mediaType is the type of the request's body; one that is not named is JSON.
func (c *call) mediaType(form bool) (string, error) {
	unsupported := problem{status: http.StatusUnsupportedMediaType, message: "The body must be application/json."}
	if form {
		unsupported.message = "The body must be application/json or application/x-www-form-urlencoded."
	}
	if coding := c.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return "", unsupported
	}
	header := c.Header.Get("Content-Type")
	if header == "" {
		return "application/json", nil
	}
	mediaType, params, err := mime.ParseMediaType(header)
	if charset := params["charset"]; err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return "", unsupported
	}
	if mediaType == "application/json" || form && mediaType == "application/x-www-form-urlencoded" {
		return mediaType, nil
	}
	return "", unsupported
}

// objectMembers takes one JSON object apart. Unlike encoding/json it tells the case of names, and refuses a name that
// comes twice: which of the two was meant?
func objectMembers(text []byte) (map[string]json.RawMessage, error) {
	notObject := badBody("The body must be one JSON object.")
	dec := json.NewDecoder(bytes.NewReader(text))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, notObject
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, notObject
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, notObject
		}
		if _, twice := members[name.(string)]; twice {
			return nil, badBody("The body must have each property once.")
		}
		members[name.(string)] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, notObject
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, notObject
	}
	return members, nil
}

func formMembers(text string, lists []string) (map[string]json.RawMessage, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, badBody("The body must be a form.")
	}
	members := map[string]json.RawMessage{}
	for _, name := range slices.Sorted(maps.Keys(values)) { // so that of several errors it is always the same one
		given := values[name]
		if !utf8.ValidString(name + strings.Join(given, "")) {
			return nil, badBody("The body must be complete and valid UTF-8.")
		}
		var value any = given
		if !slices.Contains(lists, name) {
			if len(given) > 1 {
				return nil, badBody("The body must have each property once.")
			}
			value = given[0]
		}
		if members[name], err = json.Marshal(value); err != nil {
			return nil, err
		}
	}
	return members, nil
}

// only refuses properties other than the named ones.
func only(members map[string]json.RawMessage, names ...string) error {
	for name := range members {
		if !slices.Contains(names, name) {
			return badBody("The body may have these properties only: " + strings.Join(names, ", ") + ".")
		}
	}
	return nil
}

// text reads a member that is a string, if it is there.
func text(members map[string]json.RawMessage, name string, check func(string) error) (string, error) {
	raw, ok := members[name]
	if !ok {
		return "", nil
	}
	var value *string
	if err := json.Unmarshal(raw, &value); err != nil || value == nil {
		return "", coded(codeBody, &tokenstore.FieldError{Field: name, Limit: "a string", Size: len(raw)})
	}
	if err := check(*value); err != nil {
		return "", coded(codeBody, err)
	}
	return *value, nil
}
