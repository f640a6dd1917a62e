package etcdstore

import (
	"slices"
	"testing"
)

// While nothing is written a call reads the token alone. One that finds that something was written asks for the mark before it answers, and
// then all do again, until nothing was written for long. Who has written something himself asks for both at once.
func TestCalmReads(t *testing.T) {
	meetToInsert(t, nil, func(m *meeting) {
		read := func(parts ...func(*call) []string) {
			m.Helper()
			one := m.calling(1)
			for _, part := range parts {
				if want := part(one[0]); len(m.kv.sent) != 1 || !slices.Equal(m.kv.sent[0].keys, want) {
					m.Fatalf("got %d requests, the first for %q; want one, for %q", len(m.kv.sent), m.kv.sent[0].keys, want)
				}
				m.answer(0, nil)
			}
			m.wantGood(one...)
		}
		alone := func(c *call) []string { return []string{c.key} }
		mark := func(*call) []string { return []string{m.mark} }
		both := func(c *call) []string { return []string{c.key, m.mark} }
		for range 2 * calmReads {
			read(both)
		}
		for range 3 {
			m.kv.calm = true
			for range calmReads - 1 { // beside the last one before
				read(both)
			}
			for range 3 {
				read(alone)
			}
			m.kv.calm = false
			read(alone, mark)
			for range 2 * calmReads {
				read(both)
			}
		}
		m.kv.calm = true
		for range calmReads - 1 {
			read(both)
		}
		read(alone)
		m.kv.calm = false
		m.inserting(1)
		m.answer(0, nil)
		m.kv.calm = true
		read(both)
	})
}

// calmDown has nobody write until a lone reader would spare the mark.
func (m *meeting) calmDown() {
	m.Helper()
	m.kv.calm = true
	for range calmReads {
		m.calling(1)
		m.answer(0, nil)
	}
}

// Those who read at the same time share the look at the mark too, so that a write has none of them ask again.
func TestCalmReadersWhoMeet(t *testing.T) {
	meet(t, nil, func(m *meeting) {
		m.calmDown()
		m.calling(1)
		m.calling(100)
		m.kv.calm = false
		requests := 0
		for ; len(m.kv.sent) > 0; requests++ {
			if keys := m.kv.sent[0].keys; len(keys) > 2 && !slices.Contains(keys, m.mark) {
				m.Fatal("a request of several must hold the mark")
			}
			m.answer(0, nil)
		}
		m.wantGood(m.calls...)
		if requests > 6 { // the lone one and its mark, the second, and the others
			m.Errorf("got %d requests for 101 calls, want fewer", requests)
		}
	})
}

// A mark is noted as of the revision of the snapshot, though the cluster has moved on meanwhile.
func TestMarkOfAnEarlierSnapshot(t *testing.T) {
	meet(t, nil, func(m *meeting) {
		m.calmDown()
		m.kv.calm = false
		m.calling(1)
		m.answer(0, nil) // the token; the mark is yet to be read
		early := m.kv.revision
		m.calling(1)
		m.kv.marked = early + 1
		m.answer(1, nil)
		late := m.kv.revision
		m.kv.marked = 0          // as it was then
		for len(m.kv.sent) > 0 { // the later one also reads what is pending
			m.answer(0, nil)
		}
		m.wantGood(m.calls...)
		marks := &m.store.(*tenant).backend.marks
		if put, known := marks.of("tenant", early); put != 0 || !known {
			m.Errorf("of the earlier revision, got a mark of %d, known %t; want none, and that it is known", put, known)
		}
		if put, known := marks.of("tenant", late); known && put != early+1 {
			m.Errorf("of the later revision, got a mark of %d; want %d, or that it is not known", put, early+1)
		}
	})
}

func TestMarks(t *testing.T) {
	m := marks{seen: map[string]mark{}}
	want := func(name string, revision, put int64, known bool) {
		t.Helper()
		if gotPut, gotKnown := m.of(name, revision); gotKnown != known || known && gotPut != put {
			t.Errorf("mark of %s as of %d: got %d, known %t; want %d, known %t", name, revision, gotPut, gotKnown, put, known)
		}
	}
	want("a", 0, 0, false) // before anything was read
	m.note("a", 3, 10)
	want("a", 10, 3, true)
	want("a", 9, 0, false)
	want("a", 11, 0, false)
	want("b", 10, 0, false)
	m.note("a", 12, 12)
	want("a", 12, 12, true)
	want("a", 10, 0, false)
	m.note("a", 3, 11) // an answer that was overtaken
	want("a", 11, 3, true)
	want("a", 12, 0, false)
	for range calmReads {
		if m.isCalm("a", 12) {
			t.Fatal("few readings of one revision must not be taken for calm")
		}
		m.note("a", 12, 12)
	}
	if !m.isCalm("a", 12) || m.isCalm("a", 13) || m.isCalm("b", 12) {
		t.Error("it must be calm for that tenant alone, until a later revision is seen")
	}
	m.note("a", 12, 13)
	if m.isCalm("a", 13) {
		t.Error("another revision must end the calm")
	}
}
