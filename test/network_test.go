package test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func lines(text string) []string {
	l := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(l)
	return l
}

func TestWithoutAddressThereIsLoopbackOnly(t *testing.T) {
	leavesNothing(t)
	r := contain(t, "-chroot", rootfs(t), "-bridge", "absent0", "--", "probe", "addrs")
	r.want(t, 0, "lo up\nlo up 127.0.0.1/8\n")
}

func TestOneInterfaceWithTheAddress(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, c := range []struct{ addresses, want []string }{
		{[]string{"172.17.0.99/24"}, []string{"eth0 up", "eth0 up 172.17.0.99/24", "lo up", "lo up 127.0.0.1/8"}},
		{[]string{"2001:db8:17::99/64"}, []string{"eth0 up", "eth0 up 2001:db8:17::99/64", "lo up", "lo up 127.0.0.1/8", "lo up ::1/128"}},
		{[]string{"172.17.0.99/24", "172.17.0.100/24", "2001:db8:17::99/64"}, []string{"eth0 up", "eth0 up 172.17.0.100/24",
			"eth0 up 172.17.0.99/24", "eth0 up 2001:db8:17::99/64", "lo up", "lo up 127.0.0.1/8", "lo up ::1/128"}},
	} {
		args := []string{"-chroot", root}
		for _, a := range c.addresses {
			args = append(args, "--network-address", a)
		}
		r := contain(t, append(args, "--", "probe", "addrs")...)
		got := slices.DeleteFunc(lines(r.stdout), func(l string) bool { return strings.Contains(l, " fe80:") })
		if r.code() != 0 || !slices.Equal(got, c.want) {
			t.Errorf("%q: status %d, interfaces %q, stderr %q; want %q", c.addresses, r.code(), got, r.stderr, c.want)
		}
		if len(c.addresses) == 1 && !strings.Contains(c.addresses[0], ":") && strings.Contains(r.stdout, "fe80") {
			t.Errorf("IPv6 is on although no IPv6 address was given: %q", r.stdout)
		}
	}
}

func TestDefaultRouteIsTheBridge(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	route := contain(t, "-chroot", root, "-network-address", "172.17.0.99/24", "--", "probe", "cat", "/proc/net/route").stdout
	if !regexp.MustCompile(`(?m)^eth0\s+00000000\s+010011AC\s`).MatchString(route) {
		t.Errorf("no default route via 172.17.0.1:\n%s", route)
	}
	route = contain(t, "-chroot", root, "-network-address", "2001:db8:17::99/64", "--", "probe", "cat", "/proc/net/ipv6_route").stdout
	if !regexp.MustCompile(`(?m)^0{32} 00 0{32} 00 20010db8001700000000000000000001 .* eth0$`).MatchString(route) {
		t.Errorf("no default route via 2001:db8:17::1:\n%s", route)
	}
}

func TestHardwareAddressIsLawful(t *testing.T) {
	leavesNothing(t)
	r := contain(t, "-chroot", rootfs(t), "-network-address", "172.17.0.99/24", "--", "probe", "cat", "/sys/class/net/eth0/address")
	if !regexp.MustCompile(`^02(:[0-9a-f]{2}){5}\n$`).MatchString(r.stdout) {
		t.Errorf("eth0 has the address %q", r.stdout)
	}
}

func TestMTUIsTheBridges(t *testing.T) {
	leavesNothing(t)
	link := bridge(t, "br-small", "172.21.0.1/24")
	if err := netlink.LinkSetMTU(link, 1400); err != nil {
		t.Fatal(err)
	}
	contain(t, "-chroot", rootfs(t), "-bridge", "br-small", "-network-address", "172.21.0.2/24", "--",
		"probe", "cat", "/sys/class/net/eth0/mtu").want(t, 0, "1400\n")
}

func TestTwoProgramsOnOneBridge(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, pair := range [][2]string{
		{"172.17.0.98/24", "172.17.0.99/24"},
		{"172.17.0.99/24", "172.17.0.98/24"},
		{"2001:db8:17::98/64", "2001:db8:17::99/64"},
	} {
		server := start(t, "-chroot", root, "-network-address", pair[0], "--", "probe", "serve", "7")
		server.waitLine(t, "ready")
		host, _, _ := strings.Cut(pair[0], "/")
		contain(t, "-chroot", root, "-network-address", pair[1], "--", "probe", "talk", host, "7", "1000").
			want(t, 0, "1000 messages\n")
		server.wait(t).want(t, 0, "ready\n")
	}
}

func TestHostEndIsAPortOfTheBridgeWhileTheProgramRuns(t *testing.T) {
	leavesNothing(t)
	p := start(t, "-chroot", rootfs(t), "-network-address", "172.17.0.99/24", "--", "probe", "wait")
	p.waitLine(t, "ready")
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		t.Fatal(err)
	}
	ports := 0
	for _, l := range linkList(t) {
		if l.Attrs().MasterIndex == bridge.Attrs().Index && regexp.MustCompile(`^ctn[0-9a-f]{8}$`).MatchString(l.Attrs().Name) {
			ports++
		}
	}
	if ports != 1 {
		t.Errorf("%d ports of the bridge are host ends, want 1", ports)
	}
}

// A bridge without an address of its own takes one from its ports. It must not
// change under the programs that have it for a gateway.
func TestBridgeKeepsItsHardwareAddress(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	bridge(t, "br-bare", "172.20.0.1/24")
	seen := map[string]bool{}
	first := start(t, "-chroot", root, "-bridge", "br-bare", "-network-address", "172.20.0.2/24", "--", "probe", "wait")
	first.waitLine(t, "ready")
	for range 6 {
		for _, verb := range [][]string{{"exit", "0"}, {"addrs"}} {
			contain(t, append([]string{"-chroot", root, "-bridge", "br-bare", "-network-address", "172.20.0.3/24", "--", "probe"}, verb...)...)
			link, err := netlink.LinkByName("br-bare")
			if err != nil {
				t.Fatal(err)
			}
			seen[link.Attrs().HardwareAddr.String()] = true
		}
	}
	if len(seen) != 1 {
		t.Errorf("the bridge has had the addresses %v", seen)
	}
}

func TestBridgesThatCannotServe(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	down := bridge(t, "br-down", "172.18.0.1/24")
	if err := netlink.LinkSetDown(down); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ bridge, address, text, hint string }{
		{"absent0", "172.17.0.99/24", `-bridge "absent0": no such interface`,
			"hint: ip link add absent0 type bridge && ip address add 172.17.0.1/24 dev absent0 && ip link set absent0 up\n"},
		{"lo", "172.17.0.99/24", `-bridge "lo": not a bridge`, "hint: "},
		{"br-down", "172.18.0.99/24", `-bridge "br-down": is down`, "hint: ip link set br-down up\n"},
		{bridgeName, "10.9.9.9/24", `-network-address "10.9.9.9/24": not in a network of docker0 (172.17.0.1/24`, "hint: "},
		{bridgeName, "172.17.0.1/24", `-network-address "172.17.0.1/24": is the address of docker0 itself`, ""},
		{bridgeName, "172.17.0.255/24", `-network-address "172.17.0.255/24": is the broadcast address`, ""},
	} {
		r := contain(t, "-chroot", root, "-bridge", c.bridge, "-network-address", c.address, "--", "probe", "exit", "0")
		r.wantError(t, 125, c.text)
		if !strings.Contains(r.stderr, c.hint) {
			t.Errorf("%s on %s: stderr %q, want the hint %q", c.address, c.bridge, r.stderr, c.hint)
		}
	}
}
