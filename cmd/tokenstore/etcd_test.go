package main

import (
	"net"
	"strings"
	"testing"
)

// A cluster that nobody reaches is said to be so in time, and by name, and without the password.
func TestNoMemberAnswers(t *testing.T) {
	var hosts []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, l.Addr().String())
		defer l.Close() // it accepts no connection, and the other one is refused
	}
	refuses, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuses.Close()
	const secret = "hunter2-of-the-tests"
	env := []string{"TOKENSTORE_ETCD_PASSWORD=" + secret}
	for name, c := range map[string]struct {
		hosts string
		args  []string
	}{
		"nobody listens":            {refuses.Addr().String(), nil},
		"nobody listens to a user":  {refuses.Addr().String(), []string{"--etcd-user", "u"}},
		"nobody answers":            {strings.Join(hosts, ","), nil},
		"nobody answers a user":     {strings.Join(hosts, ","), []string{"--etcd-user", "u"}},
		"one listens, none answers": {refuses.Addr().String() + "," + hosts[0], nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := command(t, env, append([]string{"serve", "--static-token", token + "=a", "--db", "etcd://" + c.hosts + "/", "--etcd-timeout", "300ms"}, c.args...)...)
			stdout := p.rest()
			if code, stderr := p.wait(), p.stderr.String(); code != 1 || stdout != "" || !strings.Contains(stderr, c.hosts) || !strings.Contains(stderr, "within 300ms") || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			} else if strings.Contains(stderr, secret) {
				t.Error("stderr has the password")
			}
		})
	}
}
