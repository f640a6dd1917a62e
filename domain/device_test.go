package domain_test

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

func TestDeviceTruncated(t *testing.T) {
	for _, c := range []struct{ name, address, want string }{
		{"none", "", ""},
		{"IPv4", "203.0.113.77", "203.0.113.0"},
		{"IPv4, all bits", "255.255.255.255", "255.255.255.0"},
		{"IPv4 of a network already", "203.0.113.0", "203.0.113.0"},
		{"IPv6", "2001:db8:1234:5678:9abc:def0:1234:5678", "2001:db8:1234::"},
		{"IPv6, all bits", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff::"},
		{"IPv6, other spelling", "2001:0DB8:0:0::1", "2001:db8::"},
		{"IPv6, loopback", "::1", "::"},
		{"IPv6 with a zone", "fe80::1234:5678%eth0", "fe80::"},
		{"IPv4-mapped IPv6", "::ffff:203.0.113.77", "203.0.113.0"},
		{"IPv4-mapped IPv6, in hexadecimal", "::ffff:cb00:714d", "203.0.113.0"},
		{"IPv4-mapped IPv6 with a zone", "::ffff:203.0.113.77%eth0", "203.0.113.0"},
		{"IPv4-translated IPv6", "64:ff9b::203.0.113.77", "64:ff9b::"},
		{"6to4", "2002:cb00:714d:1::1", "2002:cb00:7100::"},
		{"not quite 6to4", "2003:cb00:714d:1::1", "2003:cb00:714d::"},
		{"a port", "203.0.113.77:443", ""},
		{"a port of IPv6", "[2001:db8::1]:443", ""},
		{"a network", "203.0.113.77/32", ""},
		{"a list", "203.0.113.77, 198.51.100.1", ""},
		{"space", " 203.0.113.77", ""},
		{"octal", "0203.000.0113.077", ""},
		{"an IPv4 zone", "203.0.113.77%eth0", ""},
		{"too few parts", "203.0.113", ""},
		{"too large a part", "203.0.113.256", ""},
		{"a name", "host.example", ""},
		{"garbage", "\xff\x00%", ""},
	} {
		in := domain.Device{
			InitialIP: c.address, InitialASN: "AS64496", InitialUserAgent: "first",
			LastIP: c.address, LastASN: "AS64497", LastUserAgent: "last",
		}
		want := in
		want.InitialIP, want.LastIP = c.want, c.want
		if got := domain.DeviceTruncated.Keep(in); got != want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, want)
		}
	}
}

func TestDevicePolicies(t *testing.T) {
	in := domain.Device{
		InitialIP: "not an address", InitialASN: "AS64496", InitialUserAgent: "first",
		LastIP: "203.0.113.77", LastASN: "AS64497", LastUserAgent: "last",
	}
	if got := domain.DeviceAsGiven.Keep(in); got != in {
		t.Errorf("as given: %+v", got)
	}
	if got := domain.DeviceLeftOut.Keep(in); got != (domain.Device{InitialUserAgent: "first", LastUserAgent: "last"}) {
		t.Errorf("left out: %+v", got)
	}
	for _, p := range []domain.DevicePolicy{domain.DeviceAsGiven, domain.DeviceTruncated, domain.DeviceLeftOut} {
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
	}
	wantField(t, domain.DevicePolicy(3).Validate(), "device")
}

// TestDeviceTruncatedTellsNoHosts: addresses that differ behind their network can't be told apart, what was truncated is
// not changed again, and no text makes the rule let one through as it is.
func TestDeviceTruncatedTellsNoHosts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`[0-9a-f:.%]{0,40}`),
			rapid.Custom(func(t *rapid.T) string {
				b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "IPv4")
				return netip.AddrFrom4([4]byte(b)).String()
			}),
			rapid.Custom(func(t *rapid.T) string {
				b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "IPv6")
				return netip.AddrFrom16([16]byte(b)).String() + rapid.SampledFrom([]string{"", "%eth0"}).Draw(t, "zone")
			}),
		).Draw(t, "address")
		once := domain.DeviceTruncated.Keep(domain.Device{LastIP: text})
		if domain.DeviceTruncated.Keep(once) != once {
			t.Fatalf("what was truncated is changed again")
		}
		addr, err := netip.ParseAddr(text)
		if err != nil {
			if once != (domain.Device{}) {
				t.Fatalf("a text that is no address is kept")
			}
			return
		}
		bytes := addr.As16() // the last 8 bits of either kind are behind its network
		bytes[15] ^= rapid.Byte().Draw(t, "bits")
		neighbour := netip.AddrFrom16(bytes).String()
		t.Logf("%s and %s", text, neighbour)
		if domain.DeviceTruncated.Keep(domain.Device{LastIP: neighbour}) != once {
			t.Fatalf("two hosts of a network are told apart")
		}
	})
}
