package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// nodeVariable has the program be a member of a cluster, and nothing else.
const nodeVariable = "ETCDSTORE_NODE"

// BeNode is for the first line of a test binary's TestMain: if the process was started as a member, it is one until it is killed.
func BeNode() {
	text := os.Getenv(nodeVariable)
	if text == "" {
		return
	}
	var n Node
	err := json.Unmarshal([]byte(text), &n)
	if err == nil {
		_, err = n.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until whoever started it is gone, however it went
	os.Exit(0)
}

// Processes is a cluster of which each member is a process of its own. A method that is told of a member takes its place in Nodes.
type Processes struct {
	Nodes    []Node
	network  *Network    // between them
	commands []*exec.Cmd // nil for one that was killed
	dir      string
}

// StartProcesses starts a cluster of processes of this program, and waits until it takes writes.
func StartProcesses(ctx context.Context, quota int64) (*Processes, error) {
	dir, err := os.MkdirTemp("", "etcdstore-")
	if err != nil {
		return nil, err
	}
	p := &Processes{dir: dir, commands: make([]*exec.Cmd, Size)}
	if p.Nodes, err = Nodes(dir); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if p.network, err = NewNetwork(p.Nodes); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	for i := range p.Nodes {
		p.Nodes[i].Quota = quota
		if err := p.Start(i); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	if err := p.Ready(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Start starts a member that does not run.
func (p *Processes) Start(member int) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := json.Marshal(p.Nodes[member])
	if err != nil {
		return err
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), nodeVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // it ends with this process
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.commands[member] = cmd
	return nil
}

// Kill kills a member with SIGKILL.
func (p *Processes) Kill(member int) {
	if cmd := p.commands[member]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		p.commands[member] = nil
	}
}

// Signal sends a signal to a member.
func (p *Processes) Signal(member int, signal syscall.Signal) error {
	return p.commands[member].Process.Signal(signal)
}

// Cut cuts a member off from the others, though not from clients, until heal is called.
func (p *Processes) Cut(ctx context.Context, member int) (heal func(), err error) {
	s, err := p.status(ctx, member)
	if err != nil {
		return nil, err
	}
	peer, id := p.Nodes[member].Peer, strconv.FormatUint(s.Header.MemberId, 16)
	p.network.Cut(peer, id)
	return func() { p.network.Heal(peer, id) }, nil
}

// Leader is the member that leads by its own word. One that is cut off may believe so for a while, and need not be asked.
func (p *Processes) Leader(ctx context.Context, unasked ...int) (int, error) {
	for i := range p.Nodes {
		if slices.Contains(unasked, i) {
			continue
		}
		if s, err := p.status(ctx, i); err == nil && s.Leader == s.Header.MemberId {
			return i, nil
		}
	}
	return 0, errors.New("no member leads")
}

func (p *Processes) status(ctx context.Context, member int) (*clientv3.StatusResponse, error) {
	client, err := Client(p.Nodes[member].Client)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return client.Status(ctx, p.Nodes[member].Client)
}

// Ready waits until the cluster takes writes.
func (p *Processes) Ready(ctx context.Context) error {
	client, err := Client(Endpoints(p.Nodes)...)
	if err != nil {
		return err
	}
	defer client.Close()
	return Await(ctx, func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := client.Txn(ctx).Then(clientv3.OpPut("ready", "")).Commit()
		return err == nil
	})
}

// Close kills all members and removes their data.
func (p *Processes) Close() error {
	for i := range p.commands {
		p.Kill(i)
	}
	var err error
	if p.network != nil {
		err = p.network.Close()
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}
