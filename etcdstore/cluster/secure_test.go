package cluster_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/etcdstore/cluster"
	"example.com/tokenstore/internal/servetest"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// A user who may do no more than read and write what is below the default prefix.
const guest, guestPassword = "tokens", "hunter2-of-the-tests"

// startGuarded starts a member that lets in whoever has a password.
func startGuarded(t *testing.T) *member {
	t.Helper()
	lone := startLone(t, "")
	root, err := cluster.Client(lone.Client)
	must(t, err)
	defer root.Close()
	ctx, prefix := t.Context(), "tokenstore/"
	for _, step := range []func() error{
		func() error { return second(root.RoleAdd(ctx, "root")) },
		func() error { return second(root.UserAdd(ctx, "root", "root")) },
		func() error { return second(root.UserGrantRole(ctx, "root", "root")) },
		func() error { return second(root.RoleAdd(ctx, "tokens")) },
		func() error { return second(root.UserAdd(ctx, guest, guestPassword)) },
		func() error { return second(root.UserGrantRole(ctx, guest, "tokens")) },
		func() error {
			return second(root.RoleGrantPermission(ctx, "tokens", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite)))
		},
		func() error { return second(root.AuthEnable(ctx)) },
	} {
		must(t, step())
	}
	return lone
}

func second[T any](_ T, err error) error { return err }

// serves has a server refuse what it has revoked, and returns what it has logged.
func serves(t *testing.T, client *clientv3.Client, env []string, args ...string) (log string) {
	t.Helper()
	backend, err := etcdstore.New(client, nil)
	must(t, err)
	m := manager(t, backend)
	issued, err := m.Issue(t.Context(), tokenstore.IssueRequest{UserID: "ann", ClientID: "web", SessionID: tokenstore.MustSessionID("session")})
	must(t, err)
	server := servetest.Start(t, command(t), env, args...)
	if !server.Active(issued.Secret) {
		t.Error("a token that nobody has revoked must be active")
	}
	if answer := server.Request("DELETE", "/api/v2/users/ann/refresh-tokens", servetest.Bearer, nil); answer.Status != http.StatusAccepted {
		t.Errorf("a revocation must be accepted: got %d %s", answer.Status, answer.Body)
	}
	if server.Active(issued.Secret) {
		t.Error("what has been revoked must be refused")
	}
	server.End()
	return server.Log()
}

// refused runs a command that must fail, and returns what it says.
func refused(t *testing.T, env []string, args ...string) string {
	t.Helper()
	code, stdout, stderr := servetest.Run(t, command(t), env, append([]string{"tenants", "--etcd-timeout=500ms"}, args...)...)
	if code != 1 || stdout != "" || !strings.Contains(stderr, "the cluster at") {
		t.Errorf("whom the cluster does not let in must be told: exit code %d, %q, %q", code, stdout, stderr)
	}
	return stderr
}

// TestServeByPassword: the cluster wants a user and a password, which comes from the environment, and is told to nobody.
func TestServeByPassword(t *testing.T) {
	lone := startGuarded(t)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{lone.Client}, Username: guest, Password: guestPassword, Logger: zap.NewNop()})
	must(t, err)
	defer client.Close()
	db := []string{"--db", "etcd://" + lone.Client + "/tokenstore"}
	user := append(db, "--etcd-user", guest)
	const wrong = "swordfish-of-the-tests"
	said := serves(t, client, []string{"TOKENSTORE_ETCD_PASSWORD=" + guestPassword}, append(user, "--log-level=debug")...)
	said += refused(t, nil, db...)
	said += refused(t, []string{"TOKENSTORE_ETCD_PASSWORD=" + wrong}, user...)
	said += refused(t, []string{"TOKENSTORE_ETCD_PASSWORD=" + guestPassword}, "--db", "etcd://"+lone.Client+"/others", "--etcd-user", guest)
	for _, password := range []string{guestPassword, wrong} {
		if strings.Contains(said, password) {
			t.Error("what is said and logged must not have a password")
		}
	}
}

// TestServeByTLS: the cluster is reached by TLS alone, and lets in who has a certificate of an authority that it trusts.
func TestServeByTLS(t *testing.T) {
	dir := t.TempDir()
	ours, others := newAuthority(t, dir, "ours"), newAuthority(t, dir, "others")
	lone, err := cluster.Alone(t.TempDir())
	must(t, err)
	lone.TLS = ours.issue(t, "server")
	running := &member{Node: lone}
	running.start(t)
	defer running.stop()

	mine, stranger := ours.issue(t, "client"), others.issue(t, "client")
	config, err := transport.TLSInfo{TrustedCAFile: mine.CA, CertFile: mine.Cert, KeyFile: mine.Key}.ClientConfig()
	must(t, err)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{lone.Client}, TLS: config, Logger: zap.NewNop()})
	must(t, err)
	defer client.Close()
	db := []string{"--db", "etcd://" + lone.Client + "/tokenstore"}
	serves(t, client, nil, append(db, "--etcd-ca", mine.CA, "--etcd-cert", mine.Cert, "--etcd-key", mine.Key)...)
	refused(t, nil, db...)
	refused(t, nil, append(db, "--etcd-ca", mine.CA)...)
	refused(t, nil, append(db, "--etcd-ca", mine.CA, "--etcd-cert", stranger.Cert, "--etcd-key", stranger.Key)...)
	refused(t, nil, append(db, "--etcd-ca", stranger.CA, "--etcd-cert", mine.Cert, "--etcd-key", mine.Key)...)
}

// TestServeByTLSOfTheMachine: a cluster whose certificate is of an authority that the machine trusts needs no more than to be reached by TLS.
func TestServeByTLSOfTheMachine(t *testing.T) {
	ours := newAuthority(t, t.TempDir(), "ours")
	lone, err := cluster.Alone(t.TempDir())
	must(t, err)
	server := ours.issue(t, "server")
	lone.TLS = &cluster.TLS{Cert: server.Cert, Key: server.Key}
	running := &member{Node: lone}
	running.start(t)
	defer running.stop()

	config, err := transport.TLSInfo{TrustedCAFile: server.CA}.ClientConfig()
	must(t, err)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{lone.Client}, TLS: config, Logger: zap.NewNop()})
	must(t, err)
	defer client.Close()
	db := []string{"--db", "etcd://" + lone.Client + "/tokenstore"}
	trusting := []string{"SSL_CERT_FILE=" + server.CA} // how crypto/x509 is told of the machine's authorities
	serves(t, client, trusting, append(db, "--etcd-tls")...)
	refused(t, trusting, db...)
	refused(t, nil, append(db, "--etcd-tls")...)
	refused(t, trusting, append(db, "--etcd-ca", newAuthority(t, t.TempDir(), "others").file("ca", "cert"))...)
}

// authority issues certificates, and has its own in a file.
type authority struct {
	dir, name string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	a := &authority{dir: dir, name: name}
	a.cert, a.key = a.sign(t, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue makes a certificate for this machine, both as a server and as a client.
func (a *authority) issue(t *testing.T, name string) *cluster.TLS {
	t.Helper()
	a.sign(t, name, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return &cluster.TLS{CA: a.file("ca", "cert"), Cert: a.file(name, "cert"), Key: a.file(name, "key")}
}

func (a *authority) file(name, kind string) string {
	return filepath.Join(a.dir, a.name+"-"+name+"-"+kind+".pem")
}

// sign makes a key and a certificate, by the authority's own key if it has one yet, and writes both to files.
func (a *authority) sign(t *testing.T, name string, cert *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	cert.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	cert.Subject = pkix.Name{CommonName: a.name + " " + name}
	cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	by, byKey := a.cert, a.key
	if by == nil {
		by, byKey = cert, key
	}
	data, err := x509.CreateCertificate(rand.Reader, cert, by, &key.PublicKey, byKey)
	must(t, err)
	secret, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(a.file(name, "cert"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: data}), 0o600))
	must(t, os.WriteFile(a.file(name, "key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), 0o600))
	parsed, err := x509.ParseCertificate(data)
	must(t, err)
	return parsed, key
}
