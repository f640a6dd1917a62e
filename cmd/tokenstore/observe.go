package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"runtime/debug"
	"time"
)

// newLogger logs to stderr. Every line of a request has the request's id.
func newLogger(format string, level slog.Level) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if format == "text" {
		return slog.New(withRequestID{slog.NewTextHandler(os.Stderr, opts)})
	}
	return slog.New(withRequestID{slog.NewJSONHandler(os.Stderr, opts)})
}

type requestIDKey struct{}

// withRequestID adds the request's id, which the context has, to what is logged.
type withRequestID struct{ slog.Handler }

func (h withRequestID) Handle(ctx context.Context, r slog.Record) error {
	const key = "request_id"
	id, there := ctx.Value(requestIDKey{}).(string)
	r.Attrs(func(a slog.Attr) bool {
		there = there && a.Key != key
		return there
	})
	if there {
		r.AddAttrs(slog.String(key, id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h withRequestID) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withRequestID{h.Handler.WithAttrs(attrs)}
}

func (h withRequestID) WithGroup(name string) slog.Handler {
	return withRequestID{h.Handler.WithGroup(name)}
}

// sane is a request id that is taken over: none that could be a secret of ours, or break a log.
var sane = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// identify gives every request an id: that of the header X-Request-Id, if it is sane, or a new one. The answer has it too.
func identify(next http.Handler) http.Handler {
	const header = "X-Request-Id"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(header)
		if !sane.MatchString(id) {
			id = rand.Text()
		}
		w.Header().Set(header, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))
	})
}

// route is the route that has answered a request. What is none is "other", so that there are few.
func route(r *http.Request) string { return cmp.Or(r.Pattern, "other") }

// logged logs and counts every request by its route. Paths and queries are not logged: a client may have put a secret
// there. A panic is answered by 500, and logged by where it happened.
func logged(next http.Handler, m *measures, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		answer := &recorder{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			p, cut := recover(), answer.began
			switch {
			case p == http.ErrAbortHandler:
				panic(p)
			case p != nil:
				logger.ErrorContext(r.Context(), "panic", "stack", string(debug.Stack()))
				if !cut {
					http.Error(answer, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
				}
			}
			took := time.Since(began)
			m.request(route(r), r.Method, answer.status, took)
			logger.InfoContext(r.Context(), "request", "method", method(r.Method), "route", route(r), "status", answer.status, "seconds", took.Seconds())
			if p != nil && cut { // the client must not take for whole what it has got
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(answer, r)
	})
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	began  bool
}

func (r *recorder) WriteHeader(status int) {
	if !r.began {
		r.status, r.began = status, true
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	r.began = true
	return r.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
