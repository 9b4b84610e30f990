package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestBridgeServes(t *testing.T) {
	const v4, v6 = "172.17.0.1/16", "2001:db8::1/64"
	tests := []struct {
		name    string
		bridge  []string
		address []string
		want    string
	}{
		{"same network", []string{v4}, []string{"172.17.0.99/16"}, ""},
		{"longer prefix than the bridge's", []string{v4}, []string{"172.17.0.99/24"}, ""},
		{"longer prefix, gateway outside", []string{v4}, []string{"172.17.5.99/24"}, ""},
		{"shorter prefix", []string{v4}, []string{"172.17.0.99/8"}, ""},
		{"/32", []string{v4}, []string{"172.17.0.99/32"}, ""},
		{"/31 with the bridge", []string{"10.0.0.0/31"}, []string{"10.0.0.1/31"}, ""},
		{"link-local", []string{"169.254.0.1/16"}, []string{"169.254.1.1/16"}, ""},
		{"second network", []string{v4, "10.1.0.1/24"}, []string{"10.1.0.5/24"}, ""},
		{"two addresses in two networks", []string{v4, "10.1.0.1/24"}, []string{"10.1.0.5/24", "172.17.0.5/16"}, ""},
		{"IPv6", []string{v4, v6}, []string{"2001:db8::5/64"}, ""},
		{"both", []string{v4, v6}, []string{"172.17.0.5/16", "2001:db8::5/64"}, ""},
		{"bridge without an address", nil, []string{"10.9.9.9/24", "2001:db8::5/64"}, ""},
		{"bridge without an IPv6 address", []string{v4}, []string{"2001:db8::5/64"}, ""},
		{"bridge without an IPv4 address", []string{v6}, []string{"10.9.9.9/24"}, ""},

		{"other network", []string{v4}, []string{"10.9.9.9/24"},
			`-network-address "10.9.9.9/24": not in a network of br0 (172.17.0.1/16)`},
		{"none of two networks", []string{v4, "10.1.0.1/24"}, []string{"10.2.0.5/24"},
			`-network-address "10.2.0.5/24": not in a network of br0 (172.17.0.1/16, 10.1.0.1/24)`},
		{"the second address is in none", []string{v4}, []string{"172.17.0.5/16", "10.9.9.9/24"},
			`-network-address "10.9.9.9/24": not in a network of br0 (172.17.0.1/16)`},
		{"other IPv6 network", []string{v4, v6}, []string{"2001:db8:1::5/64"},
			`-network-address "2001:db8:1::5/64": not in a network of br0 (172.17.0.1/16, 2001:db8::1/64)`},
		{"the bridge's own", []string{v4}, []string{"172.17.0.1/16"},
			`-network-address "172.17.0.1/16": is the address of br0 itself`},
		{"the bridge's own, other prefix", []string{v4}, []string{"172.17.0.1/24"},
			`-network-address "172.17.0.1/24": is the address of br0 itself`},
		{"the bridge's own, IPv6", []string{v4, v6}, []string{"2001:db8::1/64"},
			`-network-address "2001:db8::1/64": is the address of br0 itself`},
		{"the bridge's second in one network", []string{v4, "172.17.0.2/16"}, []string{"172.17.0.2/16"},
			`-network-address "172.17.0.2/16": is the address of br0 itself`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := bridge{name: "br0", address: prefixes(test.bridge...)}
			err := b.serves(prefixes(test.address...))
			if text(err) != test.want {
				t.Errorf("serves: %q, want %q", text(err), test.want)
			}
			if outside := strings.Contains(test.want, "not in a network"); (hint(err) != "") != outside {
				t.Errorf("hint %q", hint(err))
			}
		})
	}
}

func TestBridgeGateway(t *testing.T) {
	tests := []struct {
		name    string
		bridge  []string
		address string
		want    string // "" for none
	}{
		{"same network", []string{"172.17.0.1/16"}, "172.17.0.99/16", "172.17.0.1"},
		{"longer prefix than the bridge's", []string{"172.17.0.1/16"}, "172.17.0.99/24", "172.17.0.1"},
		{"longer prefix, gateway outside", []string{"172.17.0.1/16"}, "172.17.5.99/24", ""},
		{"second address", []string{"10.1.0.1/24", "172.17.0.1/16"}, "172.17.0.99/16", "172.17.0.1"},
		{"first of two in one network", []string{"172.17.0.3/16", "172.17.0.1/16"}, "172.17.0.99/16", "172.17.0.3"},
		{"/31", []string{"10.0.0.0/31"}, "10.0.0.1/31", "10.0.0.0"},
		{"/32", []string{"172.17.0.1/16"}, "172.17.0.99/32", ""},
		{"IPv6", []string{"172.17.0.1/16", "2001:db8::1/64"}, "2001:db8::5/64", "2001:db8::1"},
		{"no IPv6 address", []string{"172.17.0.1/16"}, "2001:db8::5/64", ""},
		{"no address", nil, "172.17.0.99/16", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := bridge{address: prefixes(test.bridge...)}.gateway(netip.MustParsePrefix(test.address))
			if ok != (test.want != "") || ok && got.String() != test.want {
				t.Errorf("gateway %v, %v; want %q", got, ok, test.want)
			}
		})
	}
}

func TestMakeBridge(t *testing.T) {
	tests := []struct{ address, gateway string }{
		{"192.168.2.17/24", "192.168.2.1/24"},
		{"192.168.2.1/24", "192.168.2.2/24"},
		{"10.200.3.4/8", "10.0.0.1/8"},
		{"10.0.0.1/30", "10.0.0.2/30"},
		{"10.0.0.2/30", "10.0.0.1/30"},
		{"10.0.0.0/31", "10.0.0.1/31"},
		{"10.0.0.1/31", "10.0.0.0/31"},
		{"2001:db8::17/64", "2001:db8::1/64"},
		{"2001:db8::1/64", "2001:db8::2/64"},
		{"2001:db8::1/127", "2001:db8::/127"},
	}
	for _, test := range tests {
		address := netip.MustParsePrefix(test.address)
		nodad := ""
		if address.Addr().Is6() {
			nodad = " nodad"
		}
		want := fmt.Sprintf("ip link add br0 type bridge && ip address add %s dev br0%s && ip link set br0 up", test.gateway, nodad)
		got := makeBridge("br0", address)
		if got != want {
			t.Errorf("makeBridge for %s:\n got %s\nwant %s", test.address, got, want)
			continue
		}
		// A user who does as told must get further.
		b := bridge{name: "br0", address: prefixes(test.gateway)}
		if err := b.serves([]netip.Prefix{address}); err != nil {
			t.Errorf("the bridge of the hint for %s: %v", test.address, err)
		}
		if _, ok := b.gateway(address); !ok {
			t.Errorf("the bridge of the hint for %s is no gateway", test.address)
		}
	}
}

func TestMAC(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range []string{"00000000", "0a1b2c3d", "ffffffff", newID(), newID()} {
		got := mac(id)
		if want := fmt.Sprintf("02:63:%s:%s:%s:%s", id[:2], id[2:4], id[4:6], id[6:]); got.String() != want {
			t.Errorf("mac(%q) = %v, want %s", id, got, want)
		}
		seen[got.String()] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d different addresses of 5", len(seen))
	}
	for _, a := range []net.HardwareAddr{mac("ffffffff"), hostMAC} {
		if a[0]&1 != 0 || a[0]&2 == 0 {
			t.Errorf("%v is not unicast and locally administered", a)
		}
	}
}

// The host's end of the pair is called ctn and the id.
func TestNewIDFitsAnInterfaceName(t *testing.T) {
	id := newID()
	if err := checkInterfaceName("ctn" + id); err != nil || len(id) != 8 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Errorf("newID() = %q: %v", id, err)
	}
	if id == newID() {
		t.Errorf("newID() gives %q twice", id)
	}
}

func TestIPNet(t *testing.T) {
	for _, s := range []string{"172.17.0.99/24", "10.0.0.1/32", "1.2.3.4/1", "2001:db8::17/64", "2001:db8::/127"} {
		ipnet := toIPNet(netip.MustParsePrefix(s))
		if ipnet.String() != s {
			t.Errorf("toIPNet(%s) = %v", s, ipnet)
		}
		if back, ok := toPrefix(ipnet); !ok || back.String() != s {
			t.Errorf("toPrefix(%v) = %v, %v", ipnet, back, ok)
		}
	}
	// net keeps IPv4 addresses in 16 bytes as often as not.
	long := &net.IPNet{IP: net.ParseIP("172.17.0.1").To16(), Mask: net.CIDRMask(16, 32)}
	if got, ok := toPrefix(long); !ok || got.String() != "172.17.0.1/16" {
		t.Errorf("toPrefix of 16 bytes = %v, %v", got, ok)
	}
	if got, ok := toPrefix(&net.IPNet{}); ok {
		t.Errorf("toPrefix of nothing = %v", got)
	}
}
