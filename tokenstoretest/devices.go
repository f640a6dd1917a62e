package tokenstoretest

import (
	"example.com/tokenstore"
	"pgregory.net/rapid"
)

// networks are the addresses that devices may have, each with the network that it is in.
var networks = map[string]string{
	"": "", "192.0.2.77": "192.0.2.0", "2001:db8:1:2::7": "2001:db8:1::", "no address": "",
	"192.0.2.0": "192.0.2.0", "2001:db8:1::": "2001:db8:1::", // what has been kept is kept again
}

// drawDevice draws where a token is issued to, or exchanged from.
func drawDevice(t *rapid.T) tokenstore.Device {
	ip := pick(t, "ip", "", "192.0.2.77", "2001:db8:1:2::7", "no address")
	if ip == "" {
		return tokenstore.Device{}
	}
	return tokenstore.Device{InitialIP: ip, InitialASN: "64500", InitialUserAgent: "browser"}
}

// issuedTo is the device of a token that has just been issued to one.
func issuedTo(d tokenstore.Device) tokenstore.Device {
	d.LastIP, d.LastASN, d.LastUserAgent = d.InitialIP, d.InitialASN, d.InitialUserAgent
	return d
}

// exchangedFrom is what an exchange from a device brings.
func exchangedFrom(d tokenstore.Device) tokenstore.Device {
	return tokenstore.Device{LastIP: d.InitialIP, LastASN: d.InitialASN, LastUserAgent: d.InitialUserAgent}
}

// seen is a device after an exchange from another. Those that are drawn have all their fields, or none.
func seen(d, last tokenstore.Device) tokenstore.Device {
	if last != (tokenstore.Device{}) {
		d.LastIP, d.LastASN, d.LastUserAgent = last.LastIP, last.LastASN, last.LastUserAgent
	}
	return d
}

// kept is what is kept of a device.
func (m *machine) kept(d tokenstore.Device) tokenstore.Device {
	switch m.options.Device {
	case tokenstore.DeviceTruncated:
		d.InitialIP, d.LastIP = networks[d.InitialIP], networks[d.LastIP]
	case tokenstore.DeviceLeftOut:
		d.InitialIP, d.InitialASN, d.LastIP, d.LastASN = "", "", "", ""
	}
	return d
}
