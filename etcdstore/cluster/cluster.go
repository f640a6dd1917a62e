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

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
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
	Patient bool   // it waits longer for a leader, and for a commit, than is usual: for machines that have much else to do
}

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
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = client, client
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = peer, peer
	if n.Listen != "" {
		cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: n.Listen}}
	}
	cfg.InitialCluster = n.Initial
	cfg.QuotaBackendBytes = n.Quota
	if n.Patient {
		cfg.TickMs, cfg.ElectionMs = 500, 5000
	}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	return embed.StartEtcd(cfg)
}

// Cluster is a cluster whose members live in this process.
type Cluster struct {
	Nodes   []Node
	Members []*embed.Etcd
	dir     string
}

// New starts a cluster whose data lies in a temporary folder, and waits until it is ready. Ports that somebody else has taken
// meanwhile have it begin anew.
func New() (c *Cluster, err error) {
	for range 5 {
		if c, err = start(); err == nil {
			return c, nil
		}
	}
	return nil, err
}

func start() (*Cluster, error) {
	dir, err := os.MkdirTemp("", "etcdstore-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir}
	if c.Nodes, err = Nodes(dir); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	for i := range c.Nodes {
		c.Nodes[i].Patient = true
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

// ClientWith returns a client whose requests go through an interceptor, unless that is nil.
func ClientWith(intercept grpc.UnaryClientInterceptor, endpoints ...string) (*clientv3.Client, error) {
	config := clientv3.Config{
		Endpoints: endpoints, Logger: zap.NewNop(), DialTimeout: 5 * time.Second,
		DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: 2 * time.Second,
	}
	if intercept != nil {
		config.DialOptions = []grpc.DialOption{grpc.WithChainUnaryInterceptor(intercept)}
	}
	return clientv3.New(config)
}

// Close ends all members and removes their data.
func (c *Cluster) Close() error {
	for _, member := range c.Members {
		member.Close()
	}
	return os.RemoveAll(c.dir)
}
