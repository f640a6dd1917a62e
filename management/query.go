package management

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
)

// query are the parameters of a request. The first error of any of them stays. Those that nobody asks for are ignored.
type query struct {
	values url.Values
	err    error
}

func (c *call) query() *query {
	values, err := url.ParseQuery(c.URL.RawQuery)
	q := &query{values: values}
	if err != nil {
		q.fail(&tokenstore.FieldError{Field: "query", Limit: "well formed", Size: len(c.URL.RawQuery)})
	}
	return q
}

func (q *query) fail(err error) {
	if q.err == nil {
		q.err = coded(codeQuery, err)
	}
}

// get returns a parameter, and whether it is there.
func (q *query) get(name string) (string, bool) {
	given := q.values[name]
	switch len(given) {
	case 0:
		return "", false
	case 1:
	default:
		q.fail(&tokenstore.FieldError{Field: name, Limit: "given once", Size: len(given)})
	}
	return given[0], true
}

func (q *query) text(name string, check func(string) error) string {
	text, ok := q.get(name)
	if ok {
		if err := check(text); err != nil {
			q.fail(err)
		}
	}
	return text
}

func (q *query) number(name string, least, most, otherwise int) int {
	text, ok := q.get(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		q.fail(&tokenstore.FieldError{Field: name, Limit: strconv.Itoa(least) + ".." + strconv.Itoa(most), Size: n})
	}
	return n
}

func (q *query) flag(name string, otherwise bool) bool {
	return q.choice(name, strconv.FormatBool(otherwise), "true", "false") == "true"
}

func (q *query) choice(name, otherwise string, allowed ...string) string {
	text, ok := q.get(name)
	if !ok {
		return otherwise
	}
	for _, a := range allowed {
		if text == a {
			return text
		}
	}
	q.fail(&tokenstore.FieldError{Field: name, Limit: strings.Join(allowed, " or "), Size: len(text)})
	return otherwise
}

func (q *query) take() int { return q.number("take", 1, 100, 50) }

func (q *query) clientID() string { return q.text("client_id", domain.CheckClientID) }

// userID returns the parameter user_id, which must be there.
func (q *query) userID() string {
	if _, ok := q.get("user_id"); !ok {
		q.fail(problem{status: http.StatusBadRequest, message: "Missing required 'user_id' parameter."})
	}
	return q.text("user_id", domain.CheckUserID)
}

// consistency is the one extension of reads: fenced hides what is revoked and not yet swept.
func (q *query) consistency() tokenstore.Consistency {
	if q.choice("consistency", "eventual", "eventual", "fenced") == "fenced" {
		return tokenstore.Fenced
	}
	return tokenstore.Eventual
}

// selection says which fields of a resource are shown.
type selection struct {
	names   []string
	exclude bool
}

func (q *query) selection() selection {
	s := selection{exclude: !q.flag("include_fields", true)}
	if text, _ := q.get("fields"); text != "" {
		for name := range strings.SplitSeq(text, ",") {
			s.names = append(s.names, strings.TrimSpace(name))
		}
	}
	return s
}

// of returns the resource with the selected fields only.
func (s selection) of(resource any) (json.RawMessage, error) {
	whole, err := json.Marshal(resource)
	if err != nil || len(s.names) == 0 {
		return whole, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(whole, &members); err != nil {
		return nil, err
	}
	chosen := map[string]json.RawMessage{}
	if s.exclude {
		chosen = members
	}
	for _, name := range s.names {
		if s.exclude {
			delete(chosen, name)
		} else if value, ok := members[name]; ok {
			chosen[name] = value
		}
	}
	return json.Marshal(chosen)
}

// all is of for a list, which is never null.
func all[T any](s selection, list []T) ([]json.RawMessage, error) {
	shown := make([]json.RawMessage, len(list))
	var errs error
	for i := range list {
		one, err := s.of(list[i])
		errs = errors.Join(errs, err)
		shown[i] = one
	}
	return shown, errs
}
