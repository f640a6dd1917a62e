package provider

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Keys sign ID tokens and encrypt access tokens.
type Keys struct {
	signing    *ecdsa.PrivateKey
	id         string
	encryption [32]byte
}

// LoadKeys reads the keys from a file, and makes one that only its owner can read if there is none.
func LoadKeys(path string) (*Keys, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createKeys(path)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s is no private key in PEM", path)
	}
	return keysOf(block.Bytes)
}

func createKeys(path string) (*Keys, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	err = pem.Encode(file, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return keysOf(der)
}

func keysOf(der []byte) (*Keys, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the private key is not one on P-256")
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(public)
	encryption, err := hkdf.Key(sha256.New, der, nil, "encryption of access tokens", 32)
	return &Keys{key, hex.EncodeToString(sum[:8]), [32]byte(encryption)}, err
}

// signingKey and publicKey are the two halves, as op asks for them.
type (
	signingKey struct{ *Keys }
	publicKey  struct{ *Keys }
)

func (k signingKey) ID() string                                  { return k.id }
func (k signingKey) Key() any                                    { return k.signing }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }

func (k publicKey) ID() string                         { return k.id }
func (k publicKey) Key() any                           { return &k.signing.PublicKey }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k publicKey) Use() string                        { return "sig" }

var (
	_ op.SigningKey = signingKey{}
	_ op.Key        = publicKey{}
)
