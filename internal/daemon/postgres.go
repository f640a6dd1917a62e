package daemon

import (
	"context"
	"path/filepath"
	"syscall"
)

// Cluster is the folder of a PostgreSQL server: its data and its socket. It listens on that socket alone, so that no port is
// needed that another program could be given while the server is down.
type Cluster struct {
	Dir string // absolute, and short: a socket's path has at most 107 bytes
	As  *syscall.Credential
}

// NewCluster makes a cluster in an empty folder, with one user who needs no password.
func NewCluster(ctx context.Context, dir, user string) (*Cluster, error) {
	initdb, err := Find("initdb")
	if err != nil {
		return nil, err
	}
	as, err := Account(dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, As: as}
	// Without waiting for the disk: what is lost with the machine's power is made anew.
	return c, Run(ctx, dir, as, initdb, "-D", c.data(), "-U", user, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
}

func (c *Cluster) data() string { return filepath.Join(c.Dir, "data") }

// Backup copies a running cluster into an empty folder, as one that follows it under a name when it is started.
func (c *Cluster) Backup(ctx context.Context, dir, user, name string) (*Cluster, error) {
	program, err := Find("pg_basebackup")
	if err != nil {
		return nil, err
	}
	as, err := Account(dir)
	if err != nil {
		return nil, err
	}
	copied := &Cluster{Dir: dir, As: as}
	return copied, Run(ctx, dir, as, program, "-D", copied.data(), "-X", "stream", "-R", "-c", "fast", "--no-sync",
		"-d", "host="+c.Dir+" user="+user+" application_name="+name)
}

// Start starts the server, with settings as in postgresql.conf: "fsync=on". It may not answer yet.
func (c *Cluster) Start(settings ...string) (*Process, error) {
	postgres, err := Find("postgres")
	if err != nil {
		return nil, err
	}
	args := []string{"-D", c.data(), "-k", c.Dir, "-c", "listen_addresses="}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return Start(c.Dir, c.As, postgres, args...)
}
