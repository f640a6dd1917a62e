package domain_test

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"example.com/tokenstore/domain"
)

const hiddenText = "[secret]"

// secretText is told apart from all else by every third of it, however it is printed.
const secretText = "swordfish-swordfish-swordfish"

// filler is the byte that all random parts of the credential under test are made of.
const filler = 0xa7

func newCredential() domain.Credential {
	return must(domain.NewCredential(ulid.ULID{15: 1}, bytes.NewReader(bytes.Repeat([]byte{filler}, 32))))
}

// needles are the forms in which the secret text or the credential's parts could show. A form of one byte is repeated, so
// that an address can't be taken for it.
func needles() []string {
	text := newCredential().Secret().Reveal()
	all := []string{"swordfish", hex.EncodeToString([]byte("sword")), strings.ToUpper(hex.EncodeToString([]byte("sword")))}
	all = append(all, text, text[len(text)-30:len(text)-10])
	all = append(all, "115 119 111", "163 167 157", "1110011 1110111 1101111") // "swo"
	for _, one := range []string{"%d", "%x", "%X", "%#x", "%#X", "%o", "%#o", "%O", "%b", "%#b", "%c", "%q", "%U", "%+q", "%#U"} {
		for _, between := range []string{" ", ", ", ""} {
			if shown := fmt.Sprintf(one, filler); len(shown) > 1 {
				all = append(all, strings.Join([]string{shown, shown, shown, shown, shown, shown, shown}, between))
			}
		}
	}
	return append(all, "\xa7\xa7\xa7", `\xa7\xa7\xa7`, "uint8=167", "p6enp6en") // the last in base 64
}

type public[T any] struct{ Value T }

type private[T any] struct{ value T }

// holders returns the value and all sorts of things that hold it.
func holders[T comparable](value T) map[string]any {
	pointer := &value
	return map[string]any{
		"value":                      value,
		"pointer":                    pointer,
		"pointer to pointer":         &pointer,
		"slice":                      []T{value, value},
		"slice of pointers":          []*T{pointer},
		"array":                      [2]T{value, value},
		"map value":                  map[string]T{"key": value},
		"map key":                    map[T]string{value: "value"},
		"any slice":                  []any{value, pointer},
		"exported field":             public[T]{value},
		"exported pointer field":     public[*T]{pointer},
		"exported any field":         public[any]{value},
		"unexported field":           private[T]{value},
		"unexported pointer field":   private[*T]{pointer},
		"unexported any field":       private[any]{value},
		"unexported any pointer":     private[any]{pointer},
		"unexported slice":           private[[]T]{[]T{value}},
		"unexported map":             private[map[string]T]{map[string]T{"key": value}},
		"unexported map key":         private[map[T]int]{map[T]int{value: 1}},
		"pointer to unexported":      &private[T]{value},
		"unexported in unexported":   private[private[T]]{private[T]{value}},
		"slice of unexported":        []private[T]{{value}},
		"slice of ptr to unexported": []*private[T]{{value}},
		"map of unexported":          map[string]private[T]{"key": {value}},
		"reflected":                  reflect.ValueOf(value),
		"reflected unexported":       reflect.ValueOf(private[T]{value}).Field(0),
	}
}

func allHolders() map[string]any {
	all := make(map[string]any)
	for name, holder := range holders(domain.NewSecret(secretText)) {
		all["Secret/"+name] = holder
	}
	for name, holder := range holders(newCredential()) {
		all["Credential/"+name] = holder
	}
	return all
}

// formats are all letters as a verb, with the flags that change how they print, but for %T, which shows no value.
func formats() []string {
	var all []string
	for _, flags := range []string{"", "+", "#", "+#", "-", " ", "0", "# ", "30", ".3", "-30.3"} {
		for verb := 'A'; verb <= 'z'; verb++ {
			if verb != 'T' && (verb <= 'Z' || verb >= 'a') {
				all = append(all, "%"+flags+string(verb))
			}
		}
	}
	return append(all, "%", "%!", "%[2]d", "%*d", "no verb")
}

func TestSecretRevealed(t *testing.T) {
	if got := domain.NewSecret(secretText).Reveal(); got != secretText {
		t.Errorf("Reveal: got %q, want the text", got)
	}
	if got := new(domain.Secret).Reveal(); got != "" {
		t.Errorf("zero value: got %q, want nothing", got)
	}
}

func TestNeedlesAreFound(t *testing.T) {
	// The tests below prove nothing unless they would see what shows.
	open := struct {
		text  string
		bytes []byte
	}{secretText, bytes.Repeat([]byte{filler}, 16)}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "% x", "%# x", "%z"} {
		if shown := fmt.Sprintf(format, open.bytes); !found(shown) {
			t.Errorf("%s of bytes is not recognised: %s", format, shown)
		}
		if shown := fmt.Sprintf(format, open); !found(shown) {
			t.Errorf("%s of a struct is not recognised: %s", format, shown)
		}
	}
}

func found(text string) bool {
	_, ok := holdsAny(text, needles())
	return ok
}

func TestSecretHidesFromFmt(t *testing.T) {
	needles := needles()
	for name, holder := range allHolders() {
		for _, format := range formats() {
			shown := fmt.Sprintf(format, holder)
			if needle, ok := holdsAny(shown, needles); ok {
				t.Errorf("%s with %s shows %q: %s", name, format, needle, shown)
				break
			}
		}
		shown := fmt.Sprint(holder) + fmt.Sprintln(holder) + fmt.Sprintf("%*d", holder, holder)
		if needle, ok := holdsAny(shown, needles); ok {
			t.Errorf("%s shows %q: %s", name, needle, shown)
		}
	}
}

func TestSecretFmtText(t *testing.T) {
	for name, value := range map[string]any{
		"secret": domain.NewSecret(secretText), "zero secret": domain.Secret{},
		"credential": newCredential(), "zero credential": domain.Credential{},
	} {
		for _, format := range formats() {
			verb := format[len(format)-1]
			if len(format) < 2 || strings.ContainsAny(format, "!*[") || format == "no verb" || verb == 'p' || verb == 'w' {
				continue // fmt itself writes about what is wrong with these
			}
			if got := fmt.Sprintf(format, value); got != hiddenText {
				t.Errorf("%s with %s: got %q, want %q", name, format, got, hiddenText)
			}
		}
	}
}

func TestSecretHidesFromErrors(t *testing.T) {
	needles := needles()
	for name, holder := range allHolders() {
		for _, format := range []string{"%v %w", "%w %v", "%w: %s", "%+v %w"} {
			err := errors.Join(fmt.Errorf(format, holder, domain.ErrMalformed), fmt.Errorf(format, domain.ErrMalformed, holder))
			shown := err.Error() + fmt.Sprintf("%+v %#v", err, err)
			if needle, ok := holdsAny(shown, needles); ok {
				t.Errorf("%s in an error of %q shows %q: %s", name, format, needle, shown)
			}
		}
	}
}

func TestSecretHidesFromSlog(t *testing.T) {
	needles := needles()
	for name, holder := range allHolders() {
		var out bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			logger := slog.New(handler)
			logger.Info("attribute", "key", holder)
			logger.Info("group", slog.Group("group", slog.Any("key", holder)))
			logger.With("key", holder).Info("with")
		}
		if needle, ok := holdsAny(out.String(), needles); ok {
			t.Errorf("%s shows %q in the log: %s", name, needle, out.String())
		}
	}
}

func TestSecretLogValue(t *testing.T) {
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "s", domain.NewSecret(secretText), "c", newCredential())
	if got := out.String(); !strings.HasSuffix(got, "s=[secret] c=[secret]\n") {
		t.Errorf("text log: got %q", got)
	}
}

func TestSecretResolves(t *testing.T) {
	// What a handler of whatever kind gets to see.
	for _, value := range []any{domain.NewSecret(secretText), newCredential(), domain.Secret{}, new(domain.Secret)} {
		got := slog.AnyValue(value).Resolve()
		if got.Kind() != slog.KindString || got.String() != hiddenText {
			t.Errorf("%T resolves to %s of kind %s, want %q", value, got, got.Kind(), hiddenText)
		}
	}
}

func TestSecretHidesFromEncoders(t *testing.T) {
	needles := needles()
	for name, holder := range allHolders() {
		// Some holders can't be encoded, which is as good.
		asJSON, _ := json.Marshal(holder)
		asXML, _ := xml.Marshal(holder)
		var asGob bytes.Buffer
		_ = gob.NewEncoder(&asGob).Encode(holder)
		if needle, ok := holdsAny(string(asJSON)+string(asXML)+asGob.String(), needles); ok {
			t.Errorf("%s shows %q when encoded", name, needle)
		}
	}
}

func TestSecretEncodings(t *testing.T) {
	type pair struct {
		S domain.Secret
		C domain.Credential
	}
	value := pair{domain.NewSecret(secretText), newCredential()}
	if got := string(must(json.Marshal(value))); got != `{"S":"[secret]","C":"[secret]"}` {
		t.Errorf("JSON: got %s", got)
	}
	if got := string(must(xml.Marshal(value))); got != `<pair><S>[secret]</S><C>[secret]</C></pair>` {
		t.Errorf("XML: got %s", got)
	}
	for name, value := range map[string]any{
		"secret": value.S, "credential": value.C, "field": value, "pointer": &value.S, "slice": []domain.Secret{value.S},
	} {
		if err := gob.NewEncoder(new(bytes.Buffer)).Encode(value); err == nil {
			t.Errorf("gob: %s was encoded, want an error", name)
		}
	}
}

// panicEnv makes the test binary panic in the way it names.
const panicEnv = "TOKENSTORE_TEST_PANIC"

var panics = map[string]func(domain.Secret, domain.Credential){
	"secret":             func(s domain.Secret, _ domain.Credential) { panic(s) },
	"secret pointer":     func(s domain.Secret, _ domain.Credential) { panic(&s) },
	"secret in a struct": func(s domain.Secret, _ domain.Credential) { panic(private[domain.Secret]{s}) },
	"credential":         func(_ domain.Secret, c domain.Credential) { panic(c) },
	"error":              func(s domain.Secret, c domain.Credential) { panic(fmt.Errorf("%v %v", s, c)) },
	"text": func(s domain.Secret, c domain.Credential) {
		panic(fmt.Sprintf("%+v %#v", private[domain.Secret]{s}, private[domain.Credential]{c}))
	},
	"again": func(s domain.Secret, _ domain.Credential) {
		defer func() { panic(recover()) }() // the runtime prints both
		panic(s)
	},
}

func TestSecretHidesFromPanics(t *testing.T) {
	if how, ok := os.LookupEnv(panicEnv); ok {
		panics[how](domain.NewSecret(secretText), newCredential())
		return
	}
	needles := needles()
	for how := range panics {
		t.Run(how, func(t *testing.T) {
			child := exec.Command(os.Args[0], "-test.run=^TestSecretHidesFromPanics$")
			child.Env = append(os.Environ(), panicEnv+"="+how, "GOTRACEBACK=all")
			output, err := child.CombinedOutput()
			if err == nil || !bytes.Contains(output, []byte("panic: ")) {
				t.Fatalf("the child did not panic: %v\n%s", err, output)
			}
			if needle, ok := holdsAny(string(output), needles); ok {
				t.Errorf("the panic shows %q:\n%s", needle, output)
			}
		})
	}
}
