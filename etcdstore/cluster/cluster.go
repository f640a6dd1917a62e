// Package cluster starts clusters of etcd for the tests of etcdstore: of members within the process, or of processes of their
// own. It is a module of its own, so that no user of etcdstore has to do with the server's dependencies.
package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Size is how many members a cluster has.
const Size = 3

// Node is what a member is started with.
type Node struct {
	Name    string
	Dir     string // where its data lies
	Client  string // the address for clients, host:port
	Peer    string // the address for the other members
	Listen  string // where it listens for them, if there is a network between; else empty
	Initial string // all members, as --initial-cluster
	Quota   int64  // the size at which it takes no more writes; 0 for etcd's own
	TLS     *TLS   // how clients reach it; nil for plainly

	// Tick is how often a leader is heard of; after ten without one, another is elected. Defaults to etcd's own, 100 ms.
	Tick time.Duration
	// Careless has it not wait for its disk: for a member that is never killed.
	Careless bool
}

// TLS are files in PEM: whom to trust, and one's own certificate and its key. A member that trusts nobody asks clients for no certificate.
type TLS struct{ CA, Cert, Key string }

// Nodes returns the members of a new cluster, with ports that were free a moment ago.
func Nodes(dir string) ([]Node, error) {
	nodes := make([]Node, Size)
	for i := range nodes {
		n := &nodes[i]
		n.Name = fmt.Sprintf("n%d", i)
		n.Dir = filepath.Join(dir, n.Name)
		for _, addr := range []*string{&n.Client, &n.Peer} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			defer l.Close() // all at once at the end, so that no two are the same
			*addr = l.Addr().String()
		}
	}
	introduce(nodes)
	return nodes, nil
}

// Alone returns a member that is alone in its cluster, and quick. It is never to be killed.
func Alone(dir string) (*Node, error) {
	nodes, err := Nodes(dir)
	if err != nil {
		return nil, err
	}
	n := &nodes[0]
	introduce(nodes[:1])
	n.Tick, n.Careless = 10*time.Millisecond, true
	return n, nil
}

// introduce tells each member the addresses of all.
func introduce(nodes []Node) {
	var all []string
	for i := range nodes {
		all = append(all, nodes[i].Name+"=http://"+nodes[i].Peer)
	}
	for i := range nodes {
		nodes[i].Initial = strings.Join(all, ",")
	}
}

// Start starts a member in this process. It is ready once the others are there.
func (n *Node) Start() (*embed.Etcd, error) {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = n.Name, n.Dir
	client, peer := []url.URL{{Scheme: "http", Host: n.Client}}, []url.URL{{Scheme: "http", Host: n.Peer}}
	if n.TLS != nil {
		client[0].Scheme = "https"
		cfg.ClientTLSInfo = transport.TLSInfo{TrustedCAFile: n.TLS.CA, CertFile: n.TLS.Cert, KeyFile: n.TLS.Key, ClientCertAuth: n.TLS.CA != ""}
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = client, client
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = peer, peer
	if n.Listen != "" {
		cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: n.Listen}}
	}
	cfg.InitialCluster = n.Initial
	cfg.QuotaBackendBytes = n.Quota
	if n.Tick > 0 {
		cfg.TickMs = uint(n.Tick.Milliseconds())
		cfg.ElectionMs = 10 * cfg.TickMs
	}
	cfg.UnsafeNoFsync = n.Careless
	cfg.EnableGRPCGateway = false
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	return embed.StartEtcd(cfg)
}

// Cluster is a cluster whose members live in this process.
type Cluster struct {
	Nodes   []Node
	Members []*embed.Etcd
	dir     string
}

// New starts a cluster whose data lies in a temporary folder, and waits until it is ready. Its members wait for their disks unless they are
// careless. Ports that somebody else has taken meanwhile have it begin anew.
func New(careless bool) (c *Cluster, err error) {
	for range 5 {
		if c, err = start(careless); err == nil {
			return c, nil
		}
	}
	return nil, err
}

func start(careless bool) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "etcdstore-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir}
	if c.Nodes, err = Nodes(dir); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	for i := range c.Nodes {
		c.Nodes[i].Tick = 500 * time.Millisecond // the machine may have much else to do
		c.Nodes[i].Careless = careless
		member, err := c.Nodes[i].Start()
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.Members = append(c.Members, member)
	}
	for _, member := range c.Members {
		select {
		case <-member.Server.ReadyNotify():
		case err := <-member.Err():
			return nil, errors.Join(err, c.Close())
		case <-time.After(time.Minute):
			return nil, errors.Join(errors.New("the cluster does not become ready"), c.Close())
		}
	}
	return c, nil
}

// Endpoints are the addresses for clients.
func Endpoints(nodes []Node) (all []string) {
	for i := range nodes {
		all = append(all, nodes[i].Client)
	}
	return all
}

// Client returns a client of members.
func Client(endpoints ...string) (*clientv3.Client, error) { return ClientWith(nil, endpoints...) }

// ClientWith returns a client whose connections have options. It tries often to reach a member that has come back.
func ClientWith(options []grpc.DialOption, endpoints ...string) (*clientv3.Client, error) {
	soon := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}
	soon.Backoff.BaseDelay, soon.Backoff.MaxDelay = 20*time.Millisecond, 200*time.Millisecond
	options = append(options, grpc.WithConnectParams(soon))
	return clientv3.New(clientv3.Config{
		Endpoints: endpoints, Logger: zap.NewNop(), DialTimeout: 5 * time.Second,
		DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: 2 * time.Second, DialOptions: options,
	})
}

// Close ends all members and removes their data.
func (c *Cluster) Close() error {
	for _, member := range c.Members {
		member.Close()
	}
	return os.RemoveAll(c.dir)
}
