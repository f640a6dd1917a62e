package domain

import "net/netip"

// Device is where a token was issued to, and where it was last exchanged from. All fields may be empty.
type Device struct {
	InitialIP        string `json:"initial_ip,omitempty"`
	InitialASN       string `json:"initial_asn,omitempty"`
	InitialUserAgent string `json:"initial_user_agent,omitempty"`
	LastIP           string `json:"last_ip,omitempty"`
	LastASN          string `json:"last_asn,omitempty"`
	LastUserAgent    string `json:"last_user_agent,omitempty"`
}

// Validate checks the limits of every field, and returns a [FieldError] for the first that is broken.
func (d Device) Validate() error {
	return checkAll(
		checkText("initial_ip", d.InitialIP, 0, MaxIP),
		checkText("initial_asn", d.InitialASN, 0, MaxASN),
		checkText("initial_user_agent", d.InitialUserAgent, 0, MaxUserAgent),
		checkText("last_ip", d.LastIP, 0, MaxIP),
		checkText("last_asn", d.LastASN, 0, MaxASN),
		checkText("last_user_agent", d.LastUserAgent, 0, MaxUserAgent),
	)
}

func (d Device) seen(last Device) Device {
	if last.LastIP != "" {
		d.LastIP = last.LastIP
	}
	if last.LastASN != "" {
		d.LastASN = last.LastASN
	}
	if last.LastUserAgent != "" {
		d.LastUserAgent = last.LastUserAgent
	}
	return d
}

// DevicePolicy says how much of a device's addresses is kept. User agents are kept by all of them.
type DevicePolicy uint8

// The policies on addresses.
const (
	DeviceAsGiven DevicePolicy = iota // DeviceAsGiven keeps everything.
	// DeviceTruncated keeps the network that an address is in: the first 24 bits of IPv4, the first 48 of IPv6, all others 0
	// and without a zone. An IPv4 address that is written as an IPv6 one counts as IPv4; of a 6to4 address (RFC 3056), which
	// holds one, the first 40 bits are kept. A text that is no address, such as one with a port, is left out.
	DeviceTruncated
	// DeviceLeftOut keeps neither addresses nor autonomous system numbers.
	DeviceLeftOut
)

// Validate returns a [FieldError] for a policy that there is not.
func (p DevicePolicy) Validate() error {
	if p > DeviceLeftOut {
		return &FieldError{Field: "device", Limit: "as given, truncated or left out", Size: int(p)}
	}
	return nil
}

// Keep returns what the policy keeps of a device. What has been kept once is kept again as it is.
func (p DevicePolicy) Keep(d Device) Device {
	switch p {
	case DeviceTruncated:
		d.InitialIP, d.LastIP = truncate(d.InitialIP), truncate(d.LastIP)
	case DeviceLeftOut:
		d.InitialIP, d.InitialASN, d.LastIP, d.LastASN = "", "", "", ""
	}
	return d
}

func truncate(text string) string {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	addr = addr.Unmap()
	bits := 48
	switch bytes := addr.As16(); {
	case addr.Is4():
		bits = 24
	case bytes[0] == 0x20 && bytes[1] == 0x02: // 2002::/16, and after it the 32 bits of an IPv4 address
		bits = 16 + 24
	}
	network, _ := addr.Prefix(bits) // without the zone; no address of either kind is shorter
	return network.Addr().String()
}
