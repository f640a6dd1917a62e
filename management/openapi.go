package management

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
)

//go:embed openapi.json
var document string

//go:embed docs.html
var pageText string

//go:embed docs.css
var pageStyle string

// docPage is the page of documentation, made of the OpenAPI document once.
type docPage struct {
	text   []byte
	policy string // the Content-Security-Policy: nothing but the one style sheet
}

func (h *handler) serveDocument(w http.ResponseWriter) { _, _ = w.Write([]byte(document)) }

func (h *handler) servePage(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", h.page.policy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	_, _ = w.Write(h.page.text)
}

// described is what the page shows of a parameter or an answer. A reference is resolved within the document's components.
type described struct {
	Ref         string `json:"$ref"`
	Name        string `json:"name"`
	In          string `json:"in"`
	Required    bool   `json:"required"`
	Description string `json:"description"`
}

func (d described) resolve(in map[string]described) described {
	if d.Ref == "" {
		return d
	}
	return in[path.Base(d.Ref)]
}

// openAPI is the part of the document that the page shows.
type openAPI struct {
	Info struct {
		Title, Description string
	}
	Paths      map[string]map[string]operation
	Components struct {
		Parameters, Responses map[string]described
	}
}

type operation struct {
	Method, Path string `json:"-"`
	Summary      string
	Description  string
	Security     []map[string][]string
	Parameters   []described
	Responses    map[string]described
}

// Scopes are those that the operation demands.
func (o operation) Scopes() string {
	var all []string
	for _, s := range o.Security {
		all = append(all, s["bearer"]...)
	}
	return strings.Join(all, ", ")
}

func newDocPage() (docPage, error) {
	var doc openAPI
	if err := json.Unmarshal([]byte(document), &doc); err != nil {
		return docPage{}, err
	}
	t, err := template.New("docs").Parse(pageText)
	if err != nil {
		return docPage{}, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"Title": doc.Info.Title, "Description": doc.Info.Description, "Style": template.CSS(pageStyle), "Operations": doc.operations(),
	})
	digest := sha256.Sum256([]byte(pageStyle))
	return docPage{out.Bytes(), "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}, err
}

// operations lists all operations, by path and method.
func (doc *openAPI) operations() []operation {
	var all []operation
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for method, o := range doc.Paths[path] {
			o.Method, o.Path = strings.ToUpper(method), path
			for i := range o.Parameters {
				o.Parameters[i] = o.Parameters[i].resolve(doc.Components.Parameters)
			}
			for status := range o.Responses {
				o.Responses[status] = o.Responses[status].resolve(doc.Components.Responses)
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b operation) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Method, b.Method))
	})
	return all
}
