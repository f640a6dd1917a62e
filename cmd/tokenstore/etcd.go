package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/store"
	"github.com/spf13/pflag"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// etcdPasswordEnv has the password of --etcd-user, which nobody reads in the process list.
const etcdPasswordEnv = "TOKENSTORE_ETCD_PASSWORD"

const (
	etcdTimeout   = 10 * time.Second // defaults --etcd-timeout
	etcdKeepAlive = 5 * time.Second  // a member that is silent for so long is asked whether it is there, and given up after as long again
)

// etcdFlags say how a cluster of etcd is reached.
type etcdFlags struct {
	user          string
	tls           bool
	ca, cert, key string
	timeout       time.Duration
}

func (f *etcdFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.user, "etcd-user", "", "the `USER` of the cluster, whose password comes from "+etcdPasswordEnv)
	flags.BoolVar(&f.tls, "etcd-tls", false, "reach the cluster by TLS, and trust the authorities that this machine does. --etcd-ca and --etcd-cert imply TLS")
	flags.StringVar(&f.ca, "etcd-ca", "", "trust the authorities in `FILE`, and no others")
	flags.StringVar(&f.cert, "etcd-cert", "", "the certificate of this client, in `FILE`, together with --etcd-key")
	flags.StringVar(&f.key, "etcd-key", "", "the key of this client, in `FILE`")
	together(flags, "etcd-cert", "etcd-key")
	flags.DurationVar(&f.timeout, "etcd-timeout", 0, "give up if the cluster has not answered within this time of the start (default 10s)")
}

// etcdAddress takes an address apart: etcd://HOST:PORT,HOST:PORT/PREFIX.
func etcdAddress(address string) (endpoints []string, prefix string, err error) {
	rest, is := strings.CutPrefix(address, "etcd://")
	if !is {
		return nil, "", errors.New("not etcd://")
	}
	if strings.Contains(rest, "?") {
		return nil, "", usage("--db: etcd:// has no parameters: see --etcd-user, --etcd-ca and the like")
	}
	hosts, prefix, _ := strings.Cut(rest, "/")
	for endpoint := range strings.SplitSeq(hosts, ",") {
		if host, port, err := net.SplitHostPort(endpoint); err != nil || host == "" || port == "" || strings.Contains(endpoint, "@") {
			return nil, "", usage("--db: etcd:// is followed by HOST:PORT, or several with commas between, and by /PREFIX")
		}
		endpoints = append(endpoints, endpoint)
	}
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return endpoints, prefix, nil
}

func (f *etcdFlags) check(address string) error {
	if f.user != "" && os.Getenv(etcdPasswordEnv) == "" {
		return usage("--etcd-user needs a password in " + etcdPasswordEnv)
	}
	if f.timeout < 0 {
		return usage("--etcd-timeout must be positive")
	}
	_, _, err := etcdAddress(address)
	return err
}

// etcdDatabase is a backend that also closes its client.
type etcdDatabase struct {
	*etcdstore.Backend
	client *clientv3.Client
}

func (d etcdDatabase) Close() error { return errors.Join(d.Backend.Close(), d.client.Close()) }

// open opens a part of a cluster, and asks it for something, so that what can't be reached is known at once.
func (f *etcdFlags) open(ctx context.Context, address string) (store.Backend, error) {
	endpoints, prefix, err := etcdAddress(address)
	if err != nil {
		return nil, err
	}
	timeout := cmp.Or(f.timeout, etcdTimeout)
	config := clientv3.Config{
		Endpoints: endpoints, Username: f.user, Password: os.Getenv(etcdPasswordEnv), Logger: zap.NewNop(),
		DialTimeout: timeout, DialKeepAliveTime: etcdKeepAlive, DialKeepAliveTimeout: etcdKeepAlive,
	}
	if f.user == "" {
		config.Password = ""
	}
	if f.tls || cmp.Or(f.ca, f.cert) != "" {
		if config.TLS, err = (transport.TLSInfo{TrustedCAFile: f.ca, CertFile: f.cert, KeyFile: f.key}).ClientConfig(); err != nil {
			return nil, fmt.Errorf("--etcd-ca, --etcd-cert and --etcd-key can't be used: %w", err)
		}
	}
	asked, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	failed := func(err error) error {
		at := strings.Join(endpoints, ",")
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return fmt.Errorf("no member of the cluster at %s has answered within %v: %w", at, timeout, err)
		}
		return fmt.Errorf("the cluster at %s can't be reached, or refuses: %w", at, err)
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, failed(err)
	}
	backend, err := etcdstore.New(client, &etcdstore.Options{Prefix: prefix})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	database := etcdDatabase{backend, client}
	switch _, err := database.Tenants(asked, "", 1); {
	case errors.Is(err, etcdstore.ErrFormat):
		return nil, errors.Join(fmt.Errorf("the database can't be opened: %w", err), database.Close())
	case err != nil:
		return nil, errors.Join(failed(err), database.Close())
	}
	return database, nil
}
