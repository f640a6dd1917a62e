package tokenstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
)

// resourceLine is the resource of a token that was created so long before the rig's time.
func (r *rig) resourceLine(id, user, session string, age time.Duration) string {
	created := r.clock().Add(-age).Format(time.RFC3339)
	return fmt.Sprintf(`{"id":%q,"user_id":%q,"client_id":"app","session_id":%s,"created_at":%q}`, id, user, session, created) + "\n"
}

// ndjson imports lines and returns what was refused.
func (r *rig) ndjson(text string, opts tokenstore.ImportOptions) (tokenstore.ImportReport, []tokenstore.RefusedLine) {
	r.Helper()
	var refused []tokenstore.RefusedLine
	opts.Refused = func(l tokenstore.RefusedLine) { refused = append(refused, l) }
	report, err := r.ImportNDJSON(r.Context(), strings.NewReader(text), &opts)
	if err != nil || report.Refused != len(refused) {
		r.Fatalf("%+v, %d lines told, %v", report, len(refused), err)
	}
	return report, refused
}

const years = 365 * 24 * time.Hour

// Every line that is refused is told with its number, its id and the reason, and holds up no other.
func TestImportLines(t *testing.T) {
	onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
		r.run(r.revoke(tokenstore.Target{UserID: "gone"}))
		r.issue(request("ann"))
		text := "\n" + r.resourceLine("good", "ann", `"s"`, time.Hour) +
			"{\n" +
			r.resourceLine("revoked", "gone", `"s"`, time.Hour) +
			r.resourceLine("good", "ann", `"s"`, time.Hour) +
			r.resourceLine("good", "eve", `"s"`, time.Hour) +
			strings.Repeat("x", tokenstore.MaxLine+1) + "\n \r\n" +
			r.resourceLine("legacy", "ann", `"s"`, 4*years) +
			r.resourceLine("legacy too", "ann", "null", 4*years) +
			r.resourceLine(strings.Repeat("y", 10_000), "ann", `"s"`, time.Hour) +
			r.resourceLine("no session", "ann", "null", time.Hour) +
			"\xff\n" + strings.TrimSpace(r.resourceLine("last", "ann", `"s"`, time.Hour))
		report, refused := r.ndjson(text, tokenstore.ImportOptions{})
		if report.Lines != 14 || report.Imported != 3 || report.Unchanged != 1 || report.Bytes != int64(len(text)) {
			t.Errorf("%+v", report)
		}
		want := []struct {
			number int
			id     string
			is     error
			field  string
		}{
			{number: 3, field: "line"}, {number: 7, field: "line"}, {number: 13, field: "line"}, // told as they are met
			{number: 4, id: "revoked", is: tokenstore.ErrRevoked},
			{number: 6, id: "good", is: tokenstore.ErrExists},
			{number: 9, id: "legacy", field: "session_id"},
			{number: 11, field: "foreign_id"},
			{number: 12, id: "no session", field: "session_id"},
		}
		if len(refused) != len(want) {
			t.Fatalf("refused %+v", refused)
		}
		for i, w := range want {
			got := refused[i]
			if got.Number != w.number || got.ForeignID != w.id || w.is != nil && !errors.Is(got.Err, w.is) {
				t.Errorf("%+v, want %+v", got, w)
			}
			if w.field != "" {
				wantField(t, got.Err, w.field)
			}
		}
		// Again, from the start.
		again, _ := r.ndjson(text, tokenstore.ImportOptions{})
		if again.Imported != 0 || again.Unchanged != 4 || again.Refused != report.Refused {
			t.Errorf("again: %+v", again)
		}
		if _, err := r.ImportNDJSON(t.Context(), errorReader{}, nil); !errors.Is(err, errBroken) {
			t.Errorf("an input that fails: %v", err)
		}
		exported, _ := r.export(full)
		_, err := r.ImportNDJSON(t.Context(), strings.NewReader(exported), nil)
		wantField(t, err, "export")
	})
}

// A line of the greatest length is read, and the one after it.
func TestImportLongLines(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	line := strings.TrimSpace(r.resourceLine("one", "ann", `"s"`, time.Hour))
	longest := line + strings.Repeat(" ", tokenstore.MaxLine-1-len(line)) + "\n"
	for text, want := range map[string]int{longest + longest: 0, " " + longest + longest: 1, longest + " " + longest + line: 1} {
		report, err := r.ImportNDJSON(t.Context(), iotest.OneByteReader(strings.NewReader(text)), nil)
		if err != nil || report.Refused != want || report.Imported+report.Unchanged+want != report.Lines {
			t.Errorf("%+v, %v; want %d refused", report, err, want)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// A line without end is passed over, and not kept.
func TestImportEndlessLine(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	var heap uint64
	_, err := r.ImportNDJSON(t.Context(), io.LimitReader(endless{}, 64<<20), &tokenstore.ImportOptions{Refused: func(tokenstore.RefusedLine) {
		heap = liveHeap()
	}})
	if err != nil || heap == 0 || heap > 32<<20 {
		t.Errorf("%v, the heap is %d MiB", err, heap>>20)
	}
}

// liveHeap is how much memory is in use.
func liveHeap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// A session that a legacy token had is left out on demand; what has revoked it refuses the token all the same.
func TestImportNullsLegacySessions(t *testing.T) {
	onBackends(t, tokenstore.Options{}, func(t *testing.T, r *rig) {
		for i, sweep := range []bool{false, true} {
			dead := fmt.Sprint("dead-", i)
			receipt := r.revoke(tokenstore.Target{SessionID: dead})
			if sweep {
				r.run(receipt)
			}
			text := r.resourceLine(fmt.Sprint("old-", i), "ann", `"alive"`, 4*years) + r.resourceLine("dead", "ann", `"`+dead+`"`, 4*years) +
				r.resourceLine(fmt.Sprint("new-", i), "ann", `"kept"`, time.Hour)
			for range 2 {
				report, refused := r.ndjson(text, tokenstore.ImportOptions{NullLegacySessions: true})
				if len(refused) != 1 || refused[0].ForeignID != "dead" || !errors.Is(refused[0].Err, tokenstore.ErrRevoked) {
					t.Errorf("refused %+v", refused)
				}
				if report.Nulled != report.Imported/2 || report.Imported+report.Unchanged != 2 {
					t.Errorf("%+v", report)
				}
			}
		}
		for _, token := range r.live("ann") {
			if id, has := token.SessionID.Get(); has != strings.HasPrefix(token.ForeignID, "new") || has && id != "kept" {
				t.Errorf("%s has the session %q", token.ForeignID, id)
			}
		}
	})
}

// What is beyond memory is let in on demand, and on record; what is remembered refuses it all the same.
func TestImportBeyondMemory(t *testing.T) {
	var log bytes.Buffer
	opts := tokenstore.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	onBackends(t, opts, func(t *testing.T, r *rig) {
		log.Reset()
		r.forgetAll()
		r.run(r.revoke(tokenstore.Target{UserID: "swept"}))
		r.revoke(tokenstore.Target{UserID: "pending"})
		text := r.resourceLine("a", "ann", `"s"`, 2*time.Hour) + r.resourceLine("b", "swept", `"s"`, 2*time.Hour) +
			r.resourceLine("c", "pending", `"s"`, 2*time.Hour) + r.resourceLine("d", "ann", `"s"`, time.Minute)
		report, refused := r.ndjson(text, tokenstore.ImportOptions{})
		if report.Imported != 1 || len(refused) != 3 || !errors.Is(refused[0].Err, tokenstore.ErrBeyondMemory) || log.Len() > 0 {
			t.Errorf("%+v, refused %+v", report, refused)
		}
		report, refused = r.ndjson(text, tokenstore.ImportOptions{BeyondMemory: true})
		if report.Imported != 1 || report.Overridden != 1 || report.Unchanged != 1 || len(refused) != 2 ||
			!errors.Is(refused[0].Err, tokenstore.ErrRevoked) || !errors.Is(refused[1].Err, tokenstore.ErrRevoked) {
			t.Errorf("overridden: %+v, refused %+v", report, refused)
		}
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, r.live("ann")[0].ID.String()) {
			t.Errorf("the log has %q", got)
		}
	})
}

// onWarning is a log that does something when it is written to.
type onWarning struct {
	slog.Handler
	do func()
}

func (h onWarning) Handle(context.Context, slog.Record) error { h.do(); return nil }

// What is revoked while a token is being let in on demand refuses it.
func TestImportBeyondMemoryMeanwhile(t *testing.T) {
	var revoke func()
	opts := tokenstore.Options{Logger: slog.New(onWarning{slog.NewTextHandler(io.Discard, nil), func() { revoke() }})}
	onBackends(t, opts, func(t *testing.T, r *rig) {
		r.forgetAll()
		revoke = func() { r.revoke(tokenstore.Target{UserID: "ann"}) }
		report, refused := r.ndjson(r.resourceLine("a", "ann", `"s"`, 2*time.Hour), tokenstore.ImportOptions{BeyondMemory: true})
		if report.Imported != 0 || len(refused) != 1 || !errors.Is(refused[0].Err, tokenstore.ErrRevoked) {
			t.Errorf("%+v, refused %+v", report, refused)
		}
	})
}

// forgetAll revokes somebody and forgets it, so that there is a horizon.
func (r *rig) forgetAll() {
	r.Helper()
	r.issue(request("forgotten"))
	r.run(r.revoke(tokenstore.Target{UserID: "forgotten"}))
	st, err := r.spy.Tenant("default")
	if err != nil {
		r.Fatal(err)
	}
	if _, err := st.Trim(r.Context(), store.Trim{Guards: r.clock().Add(1), History: r.clock().Add(1), Limit: 10}); err != nil {
		r.Fatal(err)
	}
	r.wait(time.Hour)
}

// manyLines yields lines without having them all.
type manyLines struct {
	r    *rig
	n, i int
	rest []byte
}

func (m *manyLines) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		if m.i == m.n {
			return 0, io.EOF
		}
		m.rest = []byte(m.r.resourceLine(fmt.Sprint("token-", m.i), fmt.Sprint("user-", m.i%1000), `"s"`, time.Duration(m.i)*time.Second))
		m.i++
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// An import tells how far it is, and needs no more memory for more lines. TOKENS=1000000 makes it a million.
func TestImportIsBounded(t *testing.T) {
	n := number(t, "TOKENS", 20_000)
	r := newRigOn(t, backends["boltstore"](t), tokenstore.Options{})
	var most uint64
	calls, last := 0, tokenstore.ImportReport{}
	began := time.Now()
	report, err := r.ImportNDJSON(t.Context(), &manyLines{r: r, n: n}, &tokenstore.ImportOptions{Progress: func(p tokenstore.ImportReport) {
		if calls++; p.Lines < last.Lines || p.Imported != p.Lines {
			t.Errorf("progress %+v after %+v", p, last)
		}
		last = p
		if calls%20 == 1 {
			most = max(most, liveHeap())
		}
	}})
	if err != nil || report.Imported != n || report.Refused != 0 || last != report || calls < n/store.MaxBatch {
		t.Fatalf("%+v, %v, %d calls of progress", report, err, calls)
	}
	t.Logf("%d tokens in %v, heap at most %d MiB", n, time.Since(began).Round(time.Second), most>>20)
	if most > 64<<20 {
		t.Errorf("the heap grew to %d MiB", most>>20)
	}
	var written counter
	most = 0
	exported, err := r.Export(t.Context(), &written, &tokenstore.ExportOptions{Full: true, Progress: func(p tokenstore.ExportReport) {
		if p.Tokens%20_000 == 0 {
			most = max(most, liveHeap())
		}
	}})
	if err != nil || exported.Tokens != n || most > 64<<20 {
		t.Errorf("export: %+v, %v, heap at most %d MiB", exported, err, most>>20)
	}
}

// number is what an environment variable says, or another.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s must be a positive number: got %q", name, text)
	}
	return n
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// FuzzImportNDJSON: whatever the input is, each line that is not blank has one outcome, and what is in comes out again.
func FuzzImportNDJSON(f *testing.F) {
	f.Add([]byte(tokenJSON))
	f.Add([]byte("\n{}\r\n[]\nnull\n" + tokenJSON + "\n" + tokenJSON))
	f.Add([]byte(`{"tokenstore_export":{"version":1,"tenant":"default"}}`))
	f.Fuzz(func(t *testing.T, input []byte) {
		r := newRig(t, tokenstore.Options{})
		told := 0
		report, err := r.ImportNDJSON(t.Context(), bytes.NewReader(input), &tokenstore.ImportOptions{Refused: func(l tokenstore.RefusedLine) {
			if told++; l.Err == nil || l.Number < 1 {
				t.Errorf("%+v", l)
			}
		}})
		if err != nil {
			return // of a full export
		}
		texts := 0
		for line := range bytes.SplitSeq(input, []byte("\n")) {
			if len(bytes.TrimSpace(line)) > 0 {
				texts++
			}
		}
		if report.Imported+report.Unchanged+report.Refused != texts || told != report.Refused || r.state().Tokens != report.Imported {
			t.Errorf("%d lines: %+v, %d told, %d tokens", texts, report, told, r.state().Tokens)
		}
		exported, _ := r.export(nil)
		if again, refused := r.ndjson(exported, tokenstore.ImportOptions{}); again.Unchanged != report.Imported {
			t.Errorf("what came out does not go in again: %+v, %+v", again, refused)
		}
	})
}

// FuzzImportFull: nothing but a full export is one, and whatever breaks it leaves a tenant that can be used.
func FuzzImportFull(f *testing.F) {
	const header = `{"tokenstore_export":{"version":1,"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","tenant":"default","sequence":"9","horizon_sequence":"0"}}` + "\n"
	f.Add([]byte(header + `{"guard":{"user_id":"ann","watermark":"3","time":"2026-01-01T00:00:00Z","through":"2026-01-01T00:00:00Z"}}` + "\n" + `{"end":{"guards":1,"tokens":0}}`))
	f.Add([]byte(header + `{"token":{"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","user_id":"ann","client_id":"app","session_id":"s","created_at":"2026-01-01T00:00:00Z","sequence":"1"}}`))
	f.Fuzz(func(t *testing.T, input []byte) {
		r := newRig(t, tokenstore.Options{})
		report, err := r.ImportFull(t.Context(), bytes.NewReader(input), nil)
		if got := r.state(); got.Tokens != report.Imported || err == nil && got.Guards > report.Guards {
			t.Errorf("%+v after %+v, %v", got, report, err)
		}
	})
}
