package tokenstore_test

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
)

// Only a whole export of the same tenant is taken over, and only into an empty one.
func TestMoveRefused(t *testing.T) {
	from := newRig(t, tokenstore.Options{})
	from.liveThrough()
	text, exported := from.export(full)
	again, _ := from.export(full)
	lines := strings.SplitAfter(text, "\n")
	lines = lines[:len(lines)-1]
	last := len(lines) - 1
	whole := strings.Join(lines, "")
	for name, c := range map[string]struct {
		text  string
		field string
		is    error
	}{
		"nothing":           {"", "", io.ErrUnexpectedEOF},
		"a resource":        {tokenJSON, "export", nil},
		"no JSON":           {"x", "export", nil},
		"no header":         {strings.Join(lines[1:], ""), "export", nil},
		"no end":            {strings.Join(lines[:last], ""), "", io.ErrUnexpectedEOF},
		"a guard less":      {lines[0] + strings.Join(lines[2:], ""), "", io.ErrUnexpectedEOF},
		"a token less":      {strings.Join(lines[:last-1], "") + lines[last], "", io.ErrUnexpectedEOF},
		"more":              {whole + lines[last], "line", nil},
		"two":               {whole + whole, "line", nil},
		"a late guard":      {strings.Join(lines[:last], "") + lines[1] + lines[last], "line", nil},
		"another version":   {strings.Replace(whole, `"version":1`, `"version":2`, 1), "version", nil},
		"another tenant":    {strings.Replace(whole, `"tenant":"default"`, `"tenant":"other"`, 1), "tenant", nil},
		"a wrong guard":     {strings.Replace(whole, `"watermark":"`, `"watermark":"9999999`, 1), "watermark", nil},
		"an empty guard":    {lines[0] + `{"guard":{"watermark":"1"}}` + "\n" + strings.Join(lines[2:], ""), "target", nil},
		"broken UTF-8":      {strings.Replace(whole, `"user_id":"`, "\"user_id\":\"\xff", 1), "line", nil},
		"half a surrogate":  {strings.Replace(whole, `"user_id":"`, `"user_id":"\ud800`, 1), "line", nil},
		"too high a number": {strings.Replace(whole, fmt.Sprintf(`"sequence":"%d"`, exported.Sequence), `"sequence":"9223372036854775808"`, 1), "sequence", nil},
		"a broken guard":    {lines[0] + "{\n" + strings.Join(lines[2:], ""), "line", nil},
		"a horizon too far": {strings.Replace(whole, `"horizon_sequence":"`, `"horizon_sequence":"9999999`, 1), "horizon", nil},
	} {
		t.Run(name, func(t *testing.T) {
			to := newRig(t, tokenstore.Options{})
			_, err := to.ImportFull(t.Context(), strings.NewReader(c.text), nil)
			if c.field != "" {
				wantField(t, err, c.field)
			} else if !errors.Is(err, c.is) {
				t.Errorf("error %v, want %v", err, c.is)
			}
		})
	}
	to := newRig(t, tokenstore.Options{})
	to.at(from.clock())
	to.takeOver(text)
	lived := newRig(t, tokenstore.Options{})
	lived.issue(request("ann"))
	for name, r := range map[string]*rig{"of another export": to, "that was in use": lived, "of the export itself": from} {
		r.wantNoWrite(func() {
			if _, err := r.ImportFull(t.Context(), strings.NewReader(again), nil); !errors.Is(err, tokenstore.ErrOccupied) {
				t.Errorf("a tenant %s: %v", name, err)
			}
		})
	}
}

const tokenJSON = `{"id":"one","user_id":"ann","client_id":"app","session_id":"s","created_at":"2026-01-01T00:00:00Z"}`

// A bad token is refused on its own.
func TestMoveRefusesLines(t *testing.T) {
	from := newRig(t, tokenstore.Options{})
	from.issue(request("ann"))
	from.issue(request("bob"))
	text, _ := from.export(full)
	for field, spoil := range map[string][2]string{
		"sequence":      {`"sequence":"1","family`, `"sequence":"7","family`},
		"secret_digest": {`"secret_digest":"`, `"secret_digest":"AAAA`},
		"client_id":     {`"client_id":"app"`, `"client_id":""`},
		"session_id":    {`"session_id":"session-ann"`, `"session_id":null`},
	} {
		to := newRig(t, tokenstore.Options{})
		var refused []tokenstore.RefusedLine
		report, err := to.ImportFull(t.Context(), strings.NewReader(strings.Replace(text, spoil[0], spoil[1], 1)), &tokenstore.ImportOptions{
			Refused: func(l tokenstore.RefusedLine) { refused = append(refused, l) },
		})
		if err != nil || len(refused) != 1 || report.Refused != 1 || report.Imported != 1 {
			t.Fatalf("%s: %+v, %v, refused %+v", field, report, err, refused)
		}
		wantField(t, refused[0].Err, field)
	}
}

// A token loses nothing on the way, whatever is added to it.
func TestMoveKeepsEveryField(t *testing.T) {
	token := tokenstore.RefreshToken{}
	fill(t, reflect.ValueOf(&token).Elem(), 1)
	metadata, err := domain.NewMetadata(map[string]string{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	servers, err := domain.NewResourceServers(tokenstore.ResourceServer{Audience: "a", Scopes: "b c"})
	if err != nil {
		t.Fatal(err)
	}
	token.Metadata, token.ResourceServers, token.SessionID = metadata, servers, tokenstore.MustSessionID("s")
	token.Confirmation.Kind, token.Sequence = domain.ConfirmationJKT, 0
	backend := memstore.New()
	st, err := backend.Tenant("default")
	if err != nil {
		t.Fatal(err)
	}
	if in, err := st.Insert(t.Context(), []store.Insertion{{Token: token}}); err != nil || in[0].Err != nil {
		t.Fatal(err, in)
	}
	from, to := newRigOn(t, backend, tokenstore.Options{}), newRig(t, tokenstore.Options{})
	text, _ := from.export(full)
	to.takeOver(text)
	got, err := to.Get(t.Context(), token.ID, tokenstore.Fenced)
	if err != nil {
		t.Fatal(err)
	}
	got.Sequence = 0
	a, b := reflect.ValueOf(token), reflect.ValueOf(got)
	for i := range a.NumField() {
		name := a.Type().Field(i).Name
		if name != "Sequence" && a.Field(i).IsZero() {
			t.Errorf("the test does not fill %s", name)
		}
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			t.Errorf("%s has changed: %v became %v", name, a.Field(i), b.Field(i))
		}
	}
}

// fill gives every field of a struct a value.
func fill(t *testing.T, v reflect.Value, n int) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 1, 1, 0, 0, 0, 123456789+n, time.UTC)))
	case !v.CanSet():
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(t, v.Field(i), n+i)
			}
		}
	case v.Kind() == reflect.String:
		v.SetString("x" + string(rune('a'+n%26)))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(int64(n))
	case v.CanUint():
		v.SetUint(uint64(n))
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(n))
		}
	default:
		t.Fatalf("no value for %s", v.Type())
	}
}
