package pgtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// socket is the name of a server's socket in its folder.
const socket = ".s.PGSQL.5432"

// Cut is where a connection is cut.
type Cut int

const (
	// BeforeCommit cuts before the server hears of the COMMIT: nothing of the transaction will ever be there.
	BeforeCommit Cut = iota + 1
	// AfterCommit cuts after the server has committed, and before the client hears of it.
	AfterCommit
)

// Proxy stands between clients and a server, and cuts their connections. To the client, both cuts look the same.
type Proxy struct {
	dir, to  string
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool // nil when it is closed
	until  int               // which commit, from now on, is held; 0: none
	held   chan struct{}     // closed when it is
	armed  Cut
	left   int  // how many commits are still to be cut
	ends   bool // with the next cut, all connections end, and no more can be made
	down   bool
	random *rand.Rand
	mean   int // of so many messages, one is cut; 0: none
	cuts   int
}

// Proxy starts a proxy in front of the server. It ends with the test.
func (s *Server) Proxy(t testing.TB) *Proxy {
	t.Helper()
	p := &Proxy{dir: folder(t), to: filepath.Join(s.cluster.Dir, socket), conns: map[net.Conn]bool{}}
	var err error
	p.listener, err = net.Listen("unix", filepath.Join(p.dir, socket))
	must(t, err)
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// DSN is the address of a database behind it.
func (p *Proxy) DSN(database string) string { return address(database, p.dir) }

// CutNext has the next commits cut, n of them, on whatever connections they come. Those of transactions that are declared to read
// only don't count.
func (p *Proxy) CutNext(n int, where Cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.armed = n, where
}

// CutOff has the next commit cut, and with it all connections. None can be made until Restore.
func (p *Proxy) CutOff(where Cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.armed, p.ends = 1, where, true
}

// Restore lets connections be made again.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends, p.down = false, false
}

// Hold has the n-th commit from now on not be forwarded, while its connection stays. The channel is closed when it has come.
func (p *Proxy) Hold(n int) (held <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until, p.held = n, make(chan struct{})
	return p.held
}

// CutAtRandom has one message in about so many be cut, before it or in the middle of it, from now on; 0 ends that.
func (p *Proxy) CutAtRandom(mean int, random *rand.Rand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mean, p.random = mean, random
}

// Cuts is how many connections were cut so far.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", p.to)
		if err != nil { // the server is down
			client.Close()
			continue
		}
		if !p.add(client, server) {
			continue
		}
		s := &session{proxy: p, client: client, server: server, statements: map[string]string{}}
		p.running.Go(func() { defer s.close(); s.requests() })
		p.running.Go(func() { defer s.close(); s.answers() })
	}
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.conns == nil || p.down {
			c.Close()
			continue
		}
		p.conns[c] = true
	}
	return p.conns != nil && !p.down
}

func (p *Proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

func (p *Proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	for c := range p.conns { // the answers of each session end, and with them the session
		c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.running.Wait()
	os.Remove(filepath.Join(p.dir, socket))
}

// session is a client's connection, and the one to the server that stands for it.
type session struct {
	proxy          *Proxy
	client, server net.Conn
	statements     map[string]string // by the names that they were prepared under
	open           bool              // a transaction has begun
	readOnly       bool              // it is declared to read only
	writes         atomic.Bool       // what was said last may commit what is written
}

func (s *session) close() {
	s.client.Close()
	s.server.Close()
	s.proxy.remove(s.client, s.server)
}

// requests forwards what a client says, until a connection ends or is cut. What it says before it waits for an answer is forwarded
// at once.
func (s *session) requests() {
	first, err := startup(s.client)
	if err != nil {
		return
	}
	if _, err := s.server.Write(first); err != nil {
		return
	}
	var said message
	commits := false
	for {
		m, err := read(s.client)
		if err != nil {
			return
		}
		switch m.kind() {
		case 'Q':
			commits = s.commits(m.text(0)) || commits
		case 'P':
			s.statements[m.text(0)] = m.text(1)
		case 'B':
			commits = s.commits(s.statements[m.text(1)]) || commits
		}
		said = append(said, m...)
		if strings.IndexByte("PBDEC", m.kind()) >= 0 { // more is to come
			continue
		}
		if commits && s.proxy.holds() {
			_, _ = io.Copy(io.Discard, s.client) // until one of the two gives up
			return
		}
		s.writes.Store(commits)
		if !s.proxy.forward(s.server, said, commits, BeforeCommit) {
			return
		}
		said, commits = nil, false
	}
}

// commits reports whether a statement ends a transaction that may have written something, or is one by itself.
func (s *session) commits(statement string) bool {
	statement = strings.ToLower(strings.TrimSpace(statement))
	switch {
	case strings.HasPrefix(statement, "begin"):
		s.open, s.readOnly = true, strings.Contains(statement, "read only")
	case strings.HasPrefix(statement, "commit"):
		s.open = false
		return !s.readOnly
	case strings.HasPrefix(statement, "rollback"):
		s.open = false
	case !s.open:
		return writing.MatchString(statement)
	}
	return false
}

var writing = regexp.MustCompile(`\b(insert into|update|delete from)\s`)

// answers forwards what the server says, until a connection ends or is cut. What has been committed is followed by the word that the
// server is ready for more, outside of a transaction.
func (s *session) answers() {
	failed := false
	for {
		m, err := read(s.server)
		if err != nil {
			return
		}
		committed := false
		switch m.kind() {
		case 'E':
			failed = true
		case 'C':
			committed = m.text(0) == "COMMIT" && s.writes.Load()
		case 'Z':
			committed = m[5] == 'I' && !failed && s.writes.Load()
			failed = false
		}
		if committed {
			s.writes.Store(false)
		}
		if !s.proxy.forward(s.client, m, committed, AfterCommit) {
			return
		}
	}
}

// forward forwards what was said, or a part of it if the connection is cut there.
func (p *Proxy) forward(to net.Conn, m message, commits bool, where Cut) bool {
	part, whole := p.fate(len(m), commits, where)
	_, err := to.Write(m[:part])
	return err == nil && whole
}

// holds reports whether a commit is the one to be held.
func (p *Proxy) holds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until == 0 {
		return false
	}
	if p.until--; p.until > 0 {
		return false
	}
	close(p.held)
	return true
}

// fate is how much of so many bytes is forwarded before the connection is cut.
func (p *Proxy) fate(n int, commits bool, where Cut) (part int, whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case commits && p.armed == where && p.left > 0:
		p.left--
		p.cuts++
		if p.ends {
			p.down = true
			for c := range p.conns {
				c.Close()
			}
		}
		return 0, false
	case p.mean > 0 && p.random.IntN(p.mean) == 0:
		p.cuts++
		return p.random.IntN(n), false
	}
	return n, true
}

// message is one of the protocol's: a letter, the length of the rest, and the rest.
type message []byte

const maxMessage = 1 << 26

var errNoMessage = errors.New("not a message of the protocol")

func read(from io.Reader) (message, error) {
	head := make(message, 5)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	return rest(from, head, 1)
}

// startup reads what a client says first: it has no letter. Encryption is not spoken here.
func startup(from io.Reader) (message, error) {
	head := make(message, 4)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	return rest(from, head, 0)
}

// rest reads what follows the length, which stands at an offset and counts itself.
func rest(from io.Reader, head message, at int) (message, error) {
	n := int(binary.BigEndian.Uint32(head[at:])) - 4
	if n < 0 || n > maxMessage {
		return nil, fmt.Errorf("%w: %d bytes", errNoMessage, n)
	}
	m := append(head, make([]byte, n)...)
	_, err := io.ReadFull(from, m[len(head):])
	return m, err
}

func (m message) kind() byte { return m[0] }

// text is the n-th of the texts that a message begins with, each of which ends with a zero.
func (m message) text(n int) string {
	texts := bytes.SplitN(m[5:], []byte{0}, n+2)
	if n >= len(texts) {
		return ""
	}
	return string(texts[n])
}
