package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
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
		{"the bridge's broadcast address", []string{v4}, []string{"172.17.255.255/8"},
			`-network-address "172.17.255.255/8": is the broadcast address of 172.17.0.0/16, a network of br0`},
		{"the bridge's network address", []string{v4}, []string{"172.17.0.0/8"},
			`-network-address "172.17.0.0/8": is the network address of 172.17.0.0/16, a network of br0`},
		{"the bridge's router anycast address", []string{v6}, []string{"2001:db8::/48", "2001:db8:0:0::/32"},
			`-network-address "2001:db8::/48": is the router anycast address of 2001:db8::/64, a network of br0`},
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
			outside, err := b.serves(prefixes(test.address...))
			if text(err) != test.want || outside != strings.Contains(test.want, "not in a network") {
				t.Errorf("serves: %v, %q, want %q", outside, text(err), test.want)
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

// routers are gateways as they are in a network, or in a test's table.
func routers(list ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range list {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

// The default routes go where the user wants them; else to the bridge, one of each
// family at most.
func TestRoutes(t *testing.T) {
	const v4, v6 = "172.17.0.1/16", "2001:db8::1/64"
	tests := []struct {
		name    string
		bridge  []string
		network network
		want    []netip.Addr
	}{
		{"the bridge", []string{v4, v6}, network{address: prefixes("172.17.0.9/16")}, routers("172.17.0.1")},
		{"the bridge, IPv6", []string{v4, v6}, network{address: prefixes("2001:db8::9/64")}, routers("2001:db8::1")},
		{"both families", []string{v4, v6}, network{address: prefixes("2001:db8::9/64", "172.17.0.9/16")}, routers("2001:db8::1", "172.17.0.1")},
		{"two addresses, one route", []string{v4, v6}, network{address: prefixes("172.17.0.9/16", "172.17.0.10/16", "2001:db8::9/64", "2001:db8::10/64")}, routers("172.17.0.1", "2001:db8::1")},
		{"two networks, the first", []string{v4, "10.0.0.1/8"}, network{address: prefixes("10.0.0.9/8", "172.17.0.9/16")}, routers("10.0.0.1")},
		{"the second can", []string{v4}, network{address: prefixes("172.17.5.9/24", "172.17.0.10/24")}, routers("172.17.0.1")},
		{"not to be reached", []string{v4}, network{address: prefixes("172.17.5.9/24")}, nil},
		{"bridge without an address", nil, network{address: prefixes("172.17.0.9/16", "2001:db8::9/64")}, nil},
		{"none", []string{v4, v6}, network{address: prefixes("172.17.0.9/16", "2001:db8::9/64"), noRoute: true}, nil},
		{"given", []string{v4}, network{address: prefixes("172.17.0.9/16"), gateways: routers("172.17.0.254")}, routers("172.17.0.254")},
		{"given, bridge without an address", nil, network{address: prefixes("172.17.0.9/16"), gateways: routers("172.17.0.254")}, routers("172.17.0.254")},
		{"one given, none of the other family", []string{v4, v6}, network{address: prefixes("172.17.0.9/16", "2001:db8::9/64"), gateways: routers("172.17.0.254")}, routers("172.17.0.254")},
		{"both given", []string{v4, v6}, network{address: prefixes("172.17.0.9/16", "2001:db8::9/64"), gateways: routers("2001:db8::fe", "172.17.0.254")}, routers("2001:db8::fe", "172.17.0.254")},
		{"no address", []string{v4, v6}, network{}, nil},
		{"macvlan", []string{v4, v6}, network{address: prefixes("172.17.0.9/16", "2001:db8::9/64"), attach: attachment{netMacvlan, "lan0"}}, nil},
		{"ipvlan", []string{v4, v6}, network{address: prefixes("172.17.0.9/16", "2001:db8::9/64"), attach: attachment{netIPvlan, "lan0"}}, nil},
		{"macvlan, given", []string{v4}, network{address: prefixes("172.17.0.9/16"), attach: attachment{netMacvlan, "lan0"}, gateways: routers("172.17.0.254")}, routers("172.17.0.254")},
		{"bridge, by name", []string{v4}, network{address: prefixes("172.17.0.9/16"), attach: attachment{netBridge, ""}}, routers("172.17.0.1")},
	}
	for _, test := range tests {
		if got := test.network.routes(bridge{address: prefixes(test.bridge...)}); !slices.Equal(got, test.want) {
			t.Errorf("%s: routes %v, want %v", test.name, got, test.want)
		}
	}
}

// A gateway that the program could not reach, or that would be one too many, is a
// mistake in the command line.
func TestCheckGateways(t *testing.T) {
	both := prefixes("172.17.0.9/16", "2001:db8::9/64")
	tests := []struct {
		network network
		want    string
	}{
		{network{address: both}, ""},
		{network{address: both, noRoute: true}, ""},
		{network{address: both, gateways: routers("172.17.255.254")}, ""},
		{network{address: both, gateways: routers("2001:db8::1", "172.17.0.1")}, ""},
		{network{address: prefixes("10.0.0.1/31"), gateways: routers("10.0.0.0")}, ""},
		{network{address: prefixes("10.0.0.1/24", "10.0.1.1/24"), gateways: routers("10.0.1.2")}, ""},
		{network{address: both, noRoute: true, gateways: routers("172.17.0.1")}, "-gateway none and another -gateway exclude each other"},
		{network{address: both, gateways: routers("172.18.0.1")}, `-gateway "172.18.0.1": in no network of a -network-address`},
		{network{address: both, gateways: routers("2001:db8:1::1")}, `-gateway "2001:db8:1::1": in no network of a -network-address`},
		{network{address: both[:1], gateways: routers("2001:db8::1")}, `-gateway "2001:db8::1": in no network of a -network-address`},
		{network{address: both, gateways: routers("fe80::1")}, `-gateway "fe80::1": in no network of a -network-address`},
		{network{address: prefixes("10.0.0.1/32"), gateways: routers("10.0.0.2")}, ""}, // on the link
		{network{address: prefixes("10.0.0.1/32", "2001:db8::9/128"), gateways: routers("2001:db8:1::1")}, ""},
		{network{address: prefixes("10.0.0.1/32"), gateways: routers("2001:db8::1")}, `-gateway "2001:db8::1": in no network of a -network-address`},
		{network{address: both, gateways: routers("172.17.255.255")}, `-gateway "172.17.255.255": is the broadcast address of 172.17.0.0/16`},
		{network{address: both, gateways: routers("172.17.0.0")}, `-gateway "172.17.0.0": is the network address of 172.17.0.0/16`},
		{network{address: both, gateways: routers("2001:db8::")}, ""}, // of all routers there
		{network{address: both, gateways: routers("172.17.0.9")}, `-gateway "172.17.0.9": is the program's own address`},
		{network{address: prefixes("10.0.0.1/24", "10.0.0.2/24"), gateways: routers("10.0.0.2")}, `-gateway "10.0.0.2": is the program's own address`},
		{network{address: both, gateways: routers("2001:db8::9")}, `-gateway "2001:db8::9": is the program's own address`},
		{network{address: both, gateways: routers("172.17.0.1", "172.17.0.2")}, `-gateway "172.17.0.2": a second one of its family`},
		{network{address: both, gateways: routers("172.17.0.1", "2001:db8::1", "2001:db8::1")}, `-gateway "2001:db8::1": a second one of its family`},
	}
	for _, test := range tests {
		if got := text(test.network.checkGateways()); got != test.want {
			t.Errorf("%v, %v: %q, want %q", test.network.address, test.network.gateways, got, test.want)
		}
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
		if _, err := b.serves([]netip.Prefix{address}); err != nil {
			t.Errorf("the bridge of the hint for %s: %v", test.address, err)
		}
		if _, ok := b.gateway(address); !ok {
			t.Errorf("the bridge of the hint for %s is no gateway", test.address)
		}
	}
}

// The hint for a bridge has an address for each family.
func TestMakeBridgeOfBothFamilies(t *testing.T) {
	const want = "ip link add br0 type bridge && ip address add 10.0.0.1/24 dev br0 && ip address add 2001:db8::1/64 dev br0 nodad && ip link set br0 up"
	if got := makeBridge("br0", prefixes("10.0.0.9/32", "10.0.0.17/24", "2001:db8::17/64", "10.0.1.17/24")...); got != want {
		t.Errorf("makeBridge:\n got %s\nwant %s", got, want)
	}
}

// The same address twice is a mistake, whatever the prefix.
func TestAddressTwice(t *testing.T) {
	n := network{address: prefixes("10.0.0.1/24", "2001:db8::1/64", "10.0.0.1/16")}
	if got, want := text(n.checkTwice()), `-network-address "10.0.0.1/16": is given twice`; got != want {
		t.Errorf("checkTwice: %q, want %q", got, want)
	}
	n.address = prefixes("10.0.0.1/24", "10.0.0.2/24")
	if err := n.checkTwice(); err != nil {
		t.Error(err)
	}
}

// The kernel lists the last IPv6 address first, and the first IPv4 one.
func TestKernelOrder(t *testing.T) {
	got := inKernelOrder(prefixes("2001:db8::1/64", "10.0.0.1/24", "2001:db8::2/64", "10.0.0.2/24"))
	if want := prefixes("10.0.0.1/24", "10.0.0.2/24", "2001:db8::2/64", "2001:db8::1/64"); !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
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

// A list that changed while it was read is read again, but not for ever.
func TestUnchanged(t *testing.T) {
	reads := 0
	changing := func(times int) func() ([]int, error) {
		reads = 0
		return func() ([]int, error) {
			if reads++; reads <= times {
				return []int{1}, fmt.Errorf("read: %w", netlink.ErrDumpInterrupted)
			}
			return []int{1, 2}, nil
		}
	}
	if got, err := unchanged(changing(3)); err != nil || len(got) != 2 || reads != 4 {
		t.Errorf("%v, %v after %d reads", got, err, reads)
	}
	if _, err := unchanged(changing(listTries)); !errors.Is(err, netlink.ErrDumpInterrupted) || reads != listTries {
		t.Errorf("%v after %d reads", err, reads)
	}
	if _, err := unchanged(func() ([]int, error) { reads = 0; return nil, unix.EPERM }); !errors.Is(err, unix.EPERM) || reads != 0 {
		t.Errorf("%v", err)
	}
}

// Where the kernel does not tell what TCP has still to deliver, that gets its time.
func TestConnections(t *testing.T) {
	sockets := func(states ...uint8) (all [][]byte) {
		for _, s := range states {
			all = append(all, []byte{unix.AF_INET, s})
		}
		return all
	}
	for _, test := range []struct {
		name             string
		four, six        [][]byte
		err              error // for IPv6
		some, unfinished bool
	}{
		{"none", nil, nil, nil, false, false},
		{"of a living process", sockets(netlink.TCP_ESTABLISHED, netlink.TCP_CLOSE_WAIT), nil, nil, true, false},
		{"has delivered all", nil, sockets(netlink.TCP_TIME_WAIT, netlink.TCP_FIN_WAIT2), nil, true, false},
		{"has not", sockets(netlink.TCP_FIN_WAIT1), nil, nil, true, true},
		{"has not, IPv6", nil, sockets(netlink.TCP_LAST_ACK), nil, true, true},
		{"has not, closing", sockets(netlink.TCP_CLOSING, netlink.TCP_TIME_WAIT), nil, nil, true, true},
		{"the kernel does not tell", nil, nil, unix.ENOENT, true, true},
	} {
		some, unfinished := connections(func(family byte) ([][]byte, error) {
			if family == unix.AF_INET {
				return test.four, nil
			}
			return test.six, test.err
		})
		if some != test.some || unfinished != test.unfinished {
			t.Errorf("%s: some %v, unfinished %v", test.name, some, unfinished)
		}
	}
}

// An ipvlan does not change those that are there already: all of an interface are in
// one mode.
func TestOtherMode(t *testing.T) {
	attrs := func(parent, nsid int) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name, a.ParentIndex, a.NetNsID = "ipv0", parent, nsid
		return a
	}
	const text = `its ipvlan "ipv0" is not in mode l2, and would be switched to it`
	for _, test := range []struct {
		name string
		link netlink.Link
		want string
	}{
		{"l2", &netlink.IPVlan{LinkAttrs: attrs(7, -1), Mode: netlink.IPVLAN_MODE_L2}, ""},
		{"l3", &netlink.IPVlan{LinkAttrs: attrs(7, -1), Mode: netlink.IPVLAN_MODE_L3}, text},
		{"l3s", &netlink.IPVlan{LinkAttrs: attrs(7, -1), Mode: netlink.IPVLAN_MODE_L3S}, text},
		{"ipvtap", &netlink.IPVtap{IPVlan: netlink.IPVlan{LinkAttrs: attrs(7, -1), Mode: netlink.IPVLAN_MODE_L3}}, text},
		{"of another interface", &netlink.IPVlan{LinkAttrs: attrs(8, -1), Mode: netlink.IPVLAN_MODE_L3}, ""},
		{"of one in another netns", &netlink.IPVlan{LinkAttrs: attrs(7, 0), Mode: netlink.IPVLAN_MODE_L3}, ""},
		{"macvlan", &netlink.Macvlan{LinkAttrs: attrs(7, -1)}, ""},
	} {
		dummy := &netlink.Dummy{LinkAttrs: attrs(0, -1)}
		if err := otherMode([]netlink.Link{dummy, test.link}, 7); (err != nil) != (test.want != "") || err != nil && err.Error() != test.want {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
