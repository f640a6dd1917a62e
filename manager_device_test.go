package tokenstore_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
)

// Where a device is, and what two policies keep of it.
var (
	first = tokenstore.Device{InitialIP: "203.0.113.77", InitialASN: "AS64496", InitialUserAgent: "browser"}
	later = tokenstore.Device{LastIP: "2001:db8:1:2:3:4:5:6", LastASN: "AS64497", LastUserAgent: "phone"}

	keptOf = map[tokenstore.DevicePolicy]tokenstore.Device{
		tokenstore.DeviceAsGiven: {
			InitialIP: first.InitialIP, InitialASN: first.InitialASN, InitialUserAgent: "browser",
			LastIP: later.LastIP, LastASN: later.LastASN, LastUserAgent: "phone",
		},
		tokenstore.DeviceTruncated: {
			InitialIP: "203.0.113.0", InitialASN: first.InitialASN, InitialUserAgent: "browser",
			LastIP: "2001:db8:1::", LastASN: later.LastASN, LastUserAgent: "phone",
		},
		tokenstore.DeviceLeftOut: {InitialUserAgent: "browser", LastUserAgent: "phone"},
	}
)

// use issues two tokens, exchanges the second and imports one more, with full addresses. It returns what is stored of them.
func use(t *testing.T, m *tokenstore.Manager, now time.Time) (issued, exchanged, imported tokenstore.Device) {
	t.Helper()
	get := func(id [16]byte) tokenstore.Device {
		token, err := m.Get(t.Context(), id, tokenstore.Eventual)
		if err != nil {
			t.Fatal(err)
		}
		return token.Device
	}
	req := request("ann")
	req.Device = first
	one, err := m.Issue(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.Issue(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: out.Secret, ClientID: "app", Device: later}); err != nil {
		t.Fatal(err)
	}
	copied := foreign("f", "bob", now)
	copied.Device = keptOf[tokenstore.DeviceAsGiven]
	results, err := m.Import(t.Context(), []tokenstore.RefreshToken{copied})
	if err != nil || results[0].Outcome != tokenstore.Imported {
		t.Fatal(results, err)
	}
	return get(one.Token.ID), get(out.Token.ID), get(results[0].ID)
}

// TestDevicePolicy: at issue, exchange and import, by the options and by a tenant's own; and the file never held more.
func TestDevicePolicy(t *testing.T) {
	for policy, want := range keptOf {
		for _, ofTenant := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "tokens.db")
			backend, err := boltstore.Open(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			options := tokenstore.Options{Device: policy}
			if ofTenant {
				options.Device = tokenstore.DeviceLeftOut - policy // another one, or the same
			}
			r := newRigOn(t, backend, options)
			m := r.Manager
			if ofTenant {
				if m, err = r.Tenant("b", &tokenstore.TenantOptions{Device: &policy}); err != nil {
					t.Fatal(err)
				}
			}
			issued, exchanged, imported := use(t, m, r.now)
			atIssue := want
			atIssue.LastIP, atIssue.LastASN, atIssue.LastUserAgent = want.InitialIP, want.InitialASN, want.InitialUserAgent
			if issued != atIssue || exchanged != want || imported != want {
				t.Errorf("policy %d: issued %+v, exchanged %+v, imported %+v; want %+v", policy, issued, exchanged, imported, want)
			}
			if err := backend.Close(); err != nil {
				t.Fatal(err)
			}
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, address := range []string{first.InitialIP, later.LastIP} {
				if held, wanted := bytes.Contains(file, []byte(address)), policy == tokenstore.DeviceAsGiven; held != wanted {
					t.Errorf("policy %d: the file holds %s: %t", policy, address, held)
				}
			}
		}
	}
}

// TestDevicePolicyReachesOldRecords: what was stored under another policy is brought to the new one when it is exchanged.
func TestDevicePolicyReachesOldRecords(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	for _, policy := range []tokenstore.DevicePolicy{tokenstore.DeviceTruncated, tokenstore.DeviceLeftOut} {
		stricter, err := r.Tenant("default", &tokenstore.TenantOptions{Device: &policy})
		if err != nil {
			t.Fatal(err)
		}
		req := request("ann")
		req.Device = first
		secret := r.exchange(r.issue(req).Secret).Secret
		out, err := stricter.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: "app", Device: later})
		if err != nil || out.Token.Device != keptOf[policy] {
			t.Errorf("policy %d: %+v, %v; want %+v", policy, out.Token.Device, err, keptOf[policy])
		}
		secret = out.Secret
		out, err = stricter.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: "app"})
		if err != nil || out.Token.Device != keptOf[policy] {
			t.Errorf("policy %d, and nothing of the device: %+v, %v", policy, out.Token.Device, err)
		}
	}
}

func TestDevicePolicyIsChecked(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	wrong := tokenstore.DevicePolicy(3)
	_, err := tokenstore.New(r.spy, &tokenstore.Options{Device: wrong})
	wantField(t, err, "device")
	_, err = r.Tenant("b", &tokenstore.TenantOptions{Device: &wrong})
	wantField(t, err, "device")

	// A text that is too long is an error also where nothing of it would be kept.
	left := newRig(t, tokenstore.Options{Device: tokenstore.DeviceLeftOut})
	long := tokenstore.Device{InitialIP: string(make([]byte, 65)), LastIP: string(make([]byte, 65))}
	out := left.issue(request("ann"))
	left.wantNoWrite(func() {
		req := request("ann")
		req.Device = long
		_, err := left.Issue(t.Context(), req)
		wantField(t, err, "initial_ip")
		_, err = left.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: out.Secret, ClientID: "app", Device: long})
		wantField(t, err, "initial_ip")
		token := foreign("f", "ann", left.now)
		token.Device = long
		wantField(t, left.bring(token)[0].Err, "initial_ip")
	})
}
