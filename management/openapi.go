package management

import "net/http"

type docPage struct{ text []byte }

func newDocPage() (docPage, error) { return docPage{}, nil }

func (h *handler) serveDocument(w http.ResponseWriter) { _, _ = w.Write(h.document) }

func (h *handler) servePage(w http.ResponseWriter) { _, _ = w.Write(h.page.text) }
