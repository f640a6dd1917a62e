package cluster

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// Network is what members reach each other through. The address that a member is known by to the others is the network's, which hands
// on what they send, and can cut a member off: what is sent to it or by it then waits, while no connection ends and none is refused.
type Network struct {
	listeners []net.Listener
	serving   sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond // of what follows
	cut     map[string]bool
	open    map[net.Conn]bool // nil once the network is closed
}

// NewNetwork puts a network between members that have not been started yet: their Peer becomes an address of the network.
func NewNetwork(nodes []Node) (*Network, error) {
	n := &Network{cut: map[string]bool{}, open: map[net.Conn]bool{}}
	n.changed.L = &n.mu
	for i := range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, n.Close())
		}
		n.listeners = append(n.listeners, l)
		nodes[i].Listen, nodes[i].Peer = nodes[i].Peer, l.Addr().String()
		n.serving.Go(func() { n.serve(l, nodes[i].Peer, nodes[i].Listen) })
	}
	introduce(nodes)
	return n, nil
}

// Cut cuts a member off from all others, which know it by the address and by the id in hexadecimal digits.
func (n *Network) Cut(peer, id string) { n.set(true, peer, id) }

// Heal has everything go on that waited.
func (n *Network) Heal(peer, id string) { n.set(false, peer, id) }

func (n *Network) set(cut bool, ends ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, end := range ends {
		n.cut[end] = cut
	}
	n.changed.Broadcast()
}

// Close ends all connections.
func (n *Network) Close() error {
	n.mu.Lock()
	for conn := range n.open {
		conn.Close()
	}
	n.open = nil
	n.changed.Broadcast()
	n.mu.Unlock()
	var err error
	for _, l := range n.listeners {
		err = errors.Join(err, l.Close())
	}
	n.serving.Wait()
	return err
}

// serve hands on what comes for the member of an address.
func (n *Network) serve(l net.Listener, peer, to string) {
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		n.serving.Go(func() { n.join(from, peer, to) })
	}
}

// join connects a connection with a member, in the name of whoever its first request says that it comes from.
func (n *Network) join(from net.Conn, peer, to string) {
	if !n.keep(from) {
		return
	}
	defer n.drop(from)
	var head strings.Builder
	request, err := http.ReadRequest(bufio.NewReaderSize(io.TeeReader(from, &head), 1)) // reads no further than it has to
	if err != nil {
		return
	}
	sender := request.Header.Get("X-Server-From")
	if !n.pass(sender, peer) {
		return
	}
	conn, err := net.Dial("tcp", to)
	if err != nil || !n.keep(conn) {
		return
	}
	defer n.drop(conn)
	if _, err := io.WriteString(conn, head.String()); err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { defer conn.Close(); n.copy(conn, from, sender, peer) })
	both.Go(func() { defer from.Close(); n.copy(from, conn, sender, peer) })
	both.Wait()
}

func (n *Network) copy(to io.Writer, from io.Reader, ends ...string) {
	buf := make([]byte, 64<<10)
	for {
		size, err := from.Read(buf)
		if size > 0 {
			if !n.pass(ends...) {
				return
			}
			if _, err := to.Write(buf[:size]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while one of the ends is cut off. It returns false once the network is closed.
func (n *Network) pass(ends ...string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.open != nil {
		cut := false
		for _, end := range ends {
			cut = cut || n.cut[end]
		}
		if !cut {
			return true
		}
		n.changed.Wait()
	}
	return false
}

// keep has a connection end with the network.
func (n *Network) keep(conn net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open == nil {
		conn.Close()
		return false
	}
	n.open[conn] = true
	return true
}

func (n *Network) drop(conn net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.open, conn)
	conn.Close()
}
