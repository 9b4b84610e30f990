package test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
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

// The interface has the given addresses and no others: none is link-local, and IPv6
// is off where none is IPv6.
func TestOneInterfaceWithTheAddress(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, c := range []struct{ addresses, want []string }{
		{[]string{"172.17.0.99/24"}, []string{"eth0 up", "eth0 up 172.17.0.99/24", "lo up", "lo up 127.0.0.1/8"}},
		{[]string{"2001:db8:17::99/64"}, []string{"eth0 up", "eth0 up 2001:db8:17::99/64", "lo up", "lo up 127.0.0.1/8", "lo up ::1/128"}},
		{[]string{"172.17.0.99/24", "2001:db8:17::99/64"}, []string{"eth0 up", "eth0 up 172.17.0.99/24", "eth0 up 2001:db8:17::99/64",
			"lo up", "lo up 127.0.0.1/8", "lo up ::1/128"}},
		{nil, []string{"lo up", "lo up 127.0.0.1/8"}},
		{[]string{"172.17.0.99/24", "172.17.0.100/24", "2001:db8:17::99/64"}, []string{"eth0 up", "eth0 up 172.17.0.100/24",
			"eth0 up 172.17.0.99/24", "eth0 up 2001:db8:17::99/64", "lo up", "lo up 127.0.0.1/8", "lo up ::1/128"}},
	} {
		args := []string{"-chroot", root}
		for _, a := range c.addresses {
			args = append(args, "--network-address", a)
		}
		r := contain(t, append(args, "--", "probe", "addrs")...)
		got := lines(r.stdout)
		if r.code() != 0 || !slices.Equal(got, c.want) {
			t.Errorf("%q: status %d, interfaces %q, stderr %q; want %q", c.addresses, r.code(), got, r.stderr, c.want)
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
	bridge(t, "br-none", "172.19.0.1/24")
	down := bridge(t, "br-down", "172.18.0.1/24")
	if err := netlink.LinkSetDown(down); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ bridge, address, text, hint string }{
		{"absent0", "172.31.0.99/24", `-bridge "absent0": no such interface`,
			"hint: ip link add absent0 type bridge && ip address add 172.31.0.1/24 dev absent0 && ip link set absent0 up\n"},
		{"absent0", "172.17.0.99/24", `-bridge "absent0": no such interface`, "hint: -bridge docker0 is in 172.17.0.1/24\n"},
		{"lo", "172.17.0.99/24", `-bridge "lo": not a bridge`, "hint: "},
		{"br-down", "172.18.0.99/24", `-bridge "br-down": is down`, "hint: ip link set br-down up\n"},
		{bridgeName, "10.9.9.9/24", `-network-address "10.9.9.9/24": not in a network of docker0 (172.17.0.1/24`, "hint: "},
		{bridgeName, "172.17.0.1/24", `-network-address "172.17.0.1/24": is the address of docker0 itself`, ""},
		{bridgeName, "172.17.0.255/16", `-network-address "172.17.0.255/16": is the broadcast address of 172.17.0.0/24, a network of docker0`, ""},
		{"br-none", "172.17.0.99/24", `-network-address "172.17.0.99/24": not in a network of br-none (172.19.0.1/24)`, "hint: -bridge docker0 is in 172.17.0.1/24\n"},
		{"br-none", "172.17.0.1/24", `-network-address "172.17.0.1/24": is an address of "docker0" of this host`, ""},
		{"br-none", "10.9.9.9/24", `-network-address "10.9.9.9/24": not in a network of br-none`, "hint: choose an address in it, or add one"},
		{bridgeName, "172.17.0.255/24", `-network-address "172.17.0.255/24": is the broadcast address`, ""},
	} {
		r := contain(t, "-chroot", root, "-bridge", c.bridge, "-network-address", c.address, "--", "probe", "exit", "0")
		r.wantError(t, 125, c.text)
		if !strings.Contains(r.stderr, c.hint) {
			t.Errorf("%s on %s: stderr %q, want the hint %q", c.address, c.bridge, r.stderr, c.hint)
		}
	}
}

// defaultRoutes runs contain and returns the gateways that its program sees.
func defaultRoutes(t *testing.T, args ...string) (gateways []string) {
	t.Helper()
	r := contain(t, append(args, "--", "probe", "cat", "/proc/net/route", "/proc/net/ipv6_route")...)
	if r.code() != 0 || r.stderr != "" {
		t.Errorf("%q: status %d, stderr %q", args, r.code(), r.stderr)
	}
	none := strings.Repeat("0", 32)
	for line := range strings.Lines(r.stdout) {
		f := strings.Fields(line)
		var a []byte
		switch {
		case len(f) == 11 && f[1] == "00000000" && f[7] == "00000000":
			a, _ = hex.DecodeString(f[2])
			slices.Reverse(a)
		case len(f) == 10 && f[0] == none && f[1] == "00" && f[4] != none:
			a, _ = hex.DecodeString(f[4])
		default:
			continue
		}
		gateway, _ := netip.AddrFromSlice(a)
		gateways = append(gateways, gateway.String())
	}
	return gateways
}

// The default route is via the given gateways, and no others.
func TestGateway(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	const v4, v6 = "172.17.0.99/24", "2001:db8:17::99/64"
	for _, c := range []struct{ flags, want string }{
		{"-network-address " + v4, "172.17.0.1"},
		{"-network-address " + v4 + " -gateway 172.17.0.254", "172.17.0.254"},
		{"-network-address " + v4 + " -gateway none", ""},
		{"-network-address " + v6 + " -gateway 2001:db8:17::fe", "2001:db8:17::fe"},
		{"-network-address " + v6 + " -gateway none", ""},
		{"-network-address " + v4 + " -network-address " + v6, "172.17.0.1 2001:db8:17::1"},
		{"-network-address " + v4 + " -network-address " + v6 + " -gateway 2001:db8:17::fe -gateway 172.17.0.254", "172.17.0.254 2001:db8:17::fe"},
		{"-network-address " + v4 + " -network-address " + v6 + " -gateway 172.17.0.254", "172.17.0.254"},
		{"-network-address " + v4 + " -network-address " + v6 + " -gateway none", ""},
	} {
		if got := strings.Join(defaultRoutes(t, append([]string{"-chroot", root}, strings.Fields(c.flags)...)...), " "); got != c.want {
			t.Errorf("%s: gateways %q, want %q", c.flags, got, c.want)
		}
	}
}

// What lies behind a gateway can be reached, with the flag and not without it.
func TestGatewayIsUsed(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	bridge(t, "br-bare")
	ns := neighbour(t, "br-bare", "0e:00:00:00:00:01", "172.22.0.254/24", "10.77.0.1/32")
	listens(t, ns, "10.77.0.1:7")
	args := []string{"-chroot", root, "-bridge", "br-bare", "-network-address", "172.22.0.2/24"}
	program := []string{"--", "probe", "knock", "10.77.0.1", "7"}
	contain(t, slices.Concat(args, []string{"-gateway", "172.22.0.254"}, program)...).want(t, 0, "connected, 0 again\n")
	contain(t, slices.Concat(args, program)...).want(t, 1, "connect: Network is unreachable\n")
}

// The program's interface has the given name, hardware address and MTU, the latter
// at both ends.
func TestNameMACAndMTU(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	bridge(t, "br-flags", "172.26.0.1/24")
	for _, c := range []struct{ name, mac, mtu string }{
		{"net1", "0e:00:00:00:00:17", "1280"},
		{"ctn-123456789.0", "02:63:00:00:00:01", "1500"},
		{"...", "fe:63:00:00:00:02", "1499"},
		{"é", "00:00:00:00:00:01", "68"},
		{bridgeName, "0e:ff:ff:ff:ff:ff", "1500"},
	} {
		dir := "/sys/class/net/" + c.name
		p := start(t, "-chroot", root, "-bridge", "br-flags", "-network-address", "172.26.0.99/24", "-network-name", c.name, "-network-mac", strings.ToUpper(c.mac),
			"-network-mtu", c.mtu, "--", "probe", "cat", dir+"/address", dir+"/mtu")
		p.wait(t).want(t, 0, c.mac+"\n"+c.mtu+"\n")
		r := contain(t, "-chroot", root, "-bridge", "br-flags", "-network-address", "172.26.0.99/24", "-network-name", c.name, "--", "probe", "addrs")
		if got, want := lines(r.stdout), lines(c.name+" up\n"+c.name+" up 172.26.0.99/24\nlo up\nlo up 127.0.0.1/8"); !slices.Equal(got, want) {
			t.Errorf("interfaces %q, stderr %q; want %q", got, r.stderr, want)
		}
	}
}

// contain changes no bridge: a program's MTU is not for others, and least of all does
// a small one take the bridge's IPv6 addresses away.
func TestBridgeKeepsItsMTU(t *testing.T) {
	leavesNothing(t)
	link := bridge(t, "br-mtu", "172.26.0.1/24", "2001:db8:26::1/64")
	p := start(t, "-chroot", rootfs(t), "-bridge", "br-mtu", "-network-address", "172.26.0.2/24", "-network-mtu", "1000", "--", "probe", "wait")
	p.waitLine(t, "ready")
	now, err := netlink.LinkByIndex(link.Attrs().Index)
	if err != nil || now.Attrs().MTU != link.Attrs().MTU {
		t.Errorf("the bridge's MTU was %d, and is %d, %v", link.Attrs().MTU, now.Attrs().MTU, err)
	}
	addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if !slices.ContainsFunc(addresses, func(a netlink.Addr) bool { return a.IP.String() == "2001:db8:26::1" }) {
		t.Errorf("the bridge has the addresses %v, %v", addresses, err)
	}
}

// Flags of the interface that cannot be right are told of in one line.
func TestBadNetworkFlags(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, c := range []struct{ flags, text string }{
		{"-gateway 10.9.9.9", `-gateway "10.9.9.9": in no network of a -network-address`},
		{"-gateway 2001:db8:17::1", `-gateway "2001:db8:17::1": in no network of a -network-address`},
		{"-gateway 172.17.0.99", `-gateway "172.17.0.99": is the program's own address`},
		{"-gateway 172.17.0.1 -gateway 172.17.0.2", `-gateway "172.17.0.2": a second one of its family`},
		{"-gateway 172.17.0.1 -gateway none", "-gateway none and another -gateway exclude each other"},
		{"-gateway 172.17.0.1/24", `-gateway "172.17.0.1/24": not an address, or none`},
		{"-gateway 172.17.0.255", `-gateway "172.17.0.255": is the broadcast address of 172.17.0.0/24`},
		{"-network-name lo", `-network-name "lo": is the loopback interface`},
		{"-network-name eth%d", `-network-name "eth%d": not an interface name`},
		{"-network-name 1234567890123456", "longer than the 15 characters"},
		{"-network-mac 01:00:00:00:00:17", `-network-mac "01:00:00:00:00:17": is a multicast address`},
		{"-network-mac 00:00:00:00:00:00", `-network-mac "00:00:00:00:00:00": is no address`},
		{"-network-mac 0200.0000.0017", `-network-mac "0200.0000.0017": not a hardware address`},
		{"-network-name all", `-network-name "all": not an interface name`},
		{"-network-mac fe:63:00:00:00:01", `-network-mac "fe:63:00:00:00:01": is the hardware address of docker0, or of its ports`},
		{"-network-address 172.17.0.99/16", `-network-address "172.17.0.99/16": is given twice`},
		{"-network-mtu 1501", "-network-mtu 1501: above that of docker0, which is 1500"},
		{"-network-mtu 0", `-network-mtu "0": too small, the least is 68`},
		{"-network-mtu 67", `-network-mtu "67": too small, the least is 68`},
		{"-network-mtu 65536", `-network-mtu "65536": too large, the most is 65535`},
		{"-network-mtu 1k", `-network-mtu "1k": not a number of bytes`},
	} {
		args := slices.Concat([]string{"-chroot", root, "-network-address", "172.17.0.99/24"}, strings.Fields(c.flags), []string{"--", "probe", "exit", "0"})
		contain(t, args...).wantError(t, 125, c.text)
	}
	bridge(t, "br-flags")
	contain(t, "-chroot", root, "-bridge", "br-flags", "-network-address", "2001:db8:26::2/64", "-network-mtu", "1279", "--", "probe", "exit", "0").
		wantError(t, 125, "-network-mtu 1279: too small for an IPv6 address")
	for _, flag := range []string{"-gateway=none", "-network-name=net1", "-network-mac=02:00:00:00:00:17", "-network-mtu=1500"} {
		name, _, _ := strings.Cut(flag, "=")
		contain(t, "-chroot", root, flag, "--", "probe", "exit", "0").wantError(t, 125, name+" needs -network-address")
	}
}

// spanningTree makes a bridge run the spanning tree protocol, with the least delay
// that there is: its ports listen and learn for two seconds each.
func spanningTree(t *testing.T, link netlink.Link) {
	t.Helper()
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(link.Attrs().Index)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_BR_FORWARD_DELAY, nl.Uint32Attr(200))
	data.AddRtAttr(nl.IFLA_BR_STP_STATE, nl.Uint32Attr(1))
	request.AddData(message)
	request.AddData(info)
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		t.Fatal(err)
	}
}

// Where the bridge's port has to listen and learn first, contain says that it waits,
// be it heard or not, and the program starts when it can be. A signal ends the wait.
func TestSpanningTree(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	spanningTree(t, bridge(t, "br-stp", "172.23.0.1/24"))
	here, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	listens(t, here, "172.23.0.1:7")
	const says = "contain: waiting for bridge br-stp to forward (spanning tree protocol?)\n"
	args := []string{"-chroot", root, "-bridge", "br-stp", "-network-address"}
	patient := start(t, append(args, "172.23.0.2/24", "--", "probe", "knock", "172.23.0.1", "7")...)
	unheard := exec.Command(containPath, append(args, "172.23.0.5/24", "--", "probe", "exit", "7")...)
	nobody, w, err := os.Pipe()
	must(t, err, nobody.Close())
	unheard.Stderr = w
	deaf := startCommand(t, unheard)
	w.Close()
	for sig, address := range map[syscall.Signal]string{syscall.SIGTERM: "172.23.0.3/24", syscall.SIGINT: "172.23.0.4/24"} {
		p := start(t, append(args, address, "--", "probe", "exit", "0")...)
		waitFor(t, "the message", func() bool { return p.stderr.String() == says })
		p.signal(t, sig)
		if r := p.wait(t); r.status.Signal() != sig || r.stderr != says {
			t.Errorf("status %d, stderr %q; want the death by %v", r.code(), r.stderr, sig)
		}
	}
	if r := patient.wait(t); r.code() != 0 || r.stdout != "connected, 0 again\n" || r.stderr != says {
		t.Errorf("status %d, stdout %q, stderr %q", r.code(), r.stdout, r.stderr)
	}
	deaf.wait(t).want(t, 7, "")
}

// A neighbour that knows the hardware address of the last program with an address
// reaches the next one at once.
func TestNeighboursAreTold(t *testing.T) {
	leavesNothing(t)
	root, stale := rootfs(t), "0e:00:00:00:00:99"
	ns := neighbour(t, bridgeName, "0e:00:00:00:00:01", "172.17.0.150/24", "2001:db8:17::150/64")
	parent := pair(t, "172.17.1.1/24")
	here, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	for _, c := range []struct {
		flags, link string
		ns          netns.NsHandle
		addresses   []string
	}{
		{"", "seg0", ns, []string{"172.17.0.64/24", "2001:db8:17::64/64"}},
		{"-network-strict", "seg0", ns, []string{"2001:db8:17::64/64", "172.17.0.64/24", "172.17.0.65/24"}},
		{"-network macvlan:" + parent, "pair-b", here, []string{"172.17.1.64/24", "2001:db8:18::64/64"}},
	} {
		args := append([]string{"-chroot", root}, strings.Fields(c.flags)...)
		for _, a := range c.addresses {
			args = append(args, "-network-address", a)
			inside(t, c.ns, func() error { return know(c.link, a, stale) })
		}
		p := start(t, append(args, "--", "probe", "cat", "/sys/class/net/eth0/address", "/proc/self/comm")...)
		mac := strings.TrimSpace(strings.Split(p.wait(t).stdout, "\n")[0])
		for _, a := range c.addresses {
			inside(t, c.ns, func() error {
				if got := known(t, c.link, a); got != mac {
					t.Errorf("%s: the neighbour takes %s to be %s, the program's address is %s", c.flags, a, got, mac)
				}
				return nil
			})
		}
	}
}

// A program with a network of one address has a default route all the same, to a
// gateway that is behind the interface.
func TestGatewayOnTheLink(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	bridge(t, "br-bare")
	ns := neighbour(t, "br-bare", "0e:00:00:00:00:01", "172.22.0.254/24", "2001:db8:22::fe/64", "10.77.0.1/32")
	listens(t, ns, "10.77.0.1:7")
	args := []string{"-chroot", root, "-bridge", "br-bare", "-network-address", "172.22.0.2/32", "-gateway", "172.22.0.254"}
	contain(t, append(args, "--", "probe", "knock", "10.77.0.1", "7")...).want(t, 0, "connected, 0 again\n")
	args = []string{"-chroot", root, "-bridge", "br-bare", "-network-address", "2001:db8:22::2/128", "-gateway", "2001:db8:22::fe"}
	if got := strings.Join(defaultRoutes(t, args...), " "); got != "2001:db8:22::fe" {
		t.Errorf("gateways %q", got)
	}
}

// The first address of a family is the one that packets come from.
func TestFirstAddressIsPreferred(t *testing.T) {
	leavesNothing(t)
	args := []string{"-chroot", rootfs(t)}
	for _, a := range []string{"2001:db8:17::98/64", "172.17.0.98/24", "2001:db8:17::99/64", "172.17.0.99/24"} {
		args = append(args, "-network-address", a)
	}
	r := contain(t, append(args, "--", "probe", "cat", "/proc/net/if_inet6")...)
	if list := lines(r.stdout); r.code() != 0 || len(list) < 3 {
		t.Fatalf("%d, %q, %q", r.code(), r.stdout, r.stderr)
	}
	r = contain(t, append(args, "--", "probe", "addrs")...)
	var order []string
	for line := range strings.Lines(r.stdout) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "eth0" {
			order = append(order, f[2])
		}
	}
	if got, want := strings.Join(order, " "), "172.17.0.98/24 172.17.0.99/24 2001:db8:17::98/64 2001:db8:17::99/64"; got != want {
		t.Errorf("the kernel lists %q, want %q", got, want)
	}
}

// Two programs on a bridge do not have one hardware address.
func TestOneHardwareAddressForOneProgram(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	bridge(t, "br-two", "172.25.0.1/24")
	run := func(bridge, address, mac string) result {
		return contain(t, "-chroot", root, "-bridge", bridge, "-network-address", address, "-network-mac", mac, "--", "probe", "exit", "7")
	}
	const mac = "0e:00:00:00:00:17"
	first := start(t, "-chroot", root, "-network-address", "172.17.0.99/24", "-network-mac", mac, "--", "probe", "wait")
	first.waitLine(t, "ready")
	run(bridgeName, "172.17.0.98/24", mac).wantError(t, 125, fmt.Sprintf(`-network-mac "%s": is in use by another contain, process %d`, mac, first.cmd.Process.Pid))
	link, err := netlink.LinkByName(bridgeName) // has one by its port
	if err != nil {
		t.Fatal(err)
	}
	own := link.Attrs().HardwareAddr.String()
	run(bridgeName, "172.17.0.98/24", own).wantError(t, 125, fmt.Sprintf(`-network-mac "%s": is the hardware address of docker0`, own))
	run("br-two", "172.25.0.98/24", mac).want(t, 7, "")
	first.signal(t, syscall.SIGTERM)
	first.wait(t)
	run(bridgeName, "172.17.0.98/24", mac).want(t, 7, "")

	start(t, "-chroot", root, "-network-address", "172.17.0.99/24", "--", "probe", "wait").waitLine(t, "ready")
	waitFor(t, "the last one's host end to go", func() bool { return len(hostEnds(t)) == 1 })
	id := strings.TrimPrefix(hostEnds(t)[0], "ctn")
	derived := fmt.Sprintf("02:63:%s:%s:%s:%s", id[:2], id[2:4], id[4:6], id[6:])
	run(bridgeName, "172.17.0.98/24", derived).wantError(t, 125, fmt.Sprintf(`-network-mac "%s": is in use by another contain`, derived))
}

// know has the kernel know the hardware address of a neighbour.
func know(link, address, mac string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	ip, _, _ := net.ParseCIDR(address)
	hardware, _ := net.ParseMAC(mac)
	return netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: ip, HardwareAddr: hardware, State: netlink.NUD_REACHABLE})
}

// known returns which hardware address the kernel takes a neighbour to have.
func known(t *testing.T, link, address string) string {
	t.Helper()
	l, err := netlink.LinkByName(link)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := netlink.NeighList(l.Attrs().Index, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	ip, _, _ := net.ParseCIDR(address)
	for _, e := range entries {
		if e.IP.Equal(ip) {
			return e.HardwareAddr.String()
		}
	}
	return "unknown"
}

// A program's multicast groups do not fill the bridge's table of them, and it is no
// router for the others'.
func TestMulticastIsBounded(t *testing.T) {
	leavesNothing(t)
	p := start(t, "-chroot", rootfs(t), "-network-address", "172.17.0.99/24", "--", "probe", "wait")
	p.waitLine(t, "ready")
	name := hostEnds(t)[0]
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if router := portAttribute(t, link.Attrs().Index, nl.IFLA_BRPORT_MULTICAST_ROUTER); len(router) != 1 {
		t.Skip("this kernel has no snooping")
	} else if router[0] != 0 {
		t.Errorf("multicast_router is %d", router[0])
	}
	most := portAttribute(t, link.Attrs().Index, nl.IFLA_BRPORT_MCAST_MAX_GROUPS)
	if most == nil {
		t.Skip("before Linux 6.3 there is no such limit")
	} else if n := binary.NativeEndian.Uint32(most); n != 256 {
		t.Errorf("the port can have %d groups", n)
	}
}

// portAttribute returns what the kernel says about a bridge's port, or nil.
func portAttribute(t *testing.T, index int, kind uint16) []byte {
	t.Helper()
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	request.AddData(message)
	replies, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		t.Fatal(err)
	}
	data := replies[0][message.Len():]
	for _, next := range []uint16{unix.IFLA_LINKINFO, nl.IFLA_INFO_SLAVE_DATA, kind} {
		list, err := nl.ParseRouteAttr(data)
		if err != nil {
			t.Fatal(err)
		}
		data = nil
		for _, a := range list {
			if a.Attr.Type&nl.NLA_TYPE_MASK == next {
				data = a.Value
			}
		}
	}
	return data
}

// What a router or a sender says about routes does not count in the program's netns.
func TestRedirectsAreRefused(t *testing.T) {
	leavesNothing(t)
	const dir = "/proc/sys/net/ipv4/conf/"
	contain(t, "-chroot", rootfs(t), "-network-address", "172.17.0.99/24", "--", "probe", "cat", dir+"all/accept_redirects",
		dir+"eth0/accept_redirects", dir+"all/accept_source_route").want(t, 0, "0\n0\n0\n")
	// The kernel changes these where it begins or ceases to forward.
	for _, forward := range []string{"0", "1", "0"} {
		contain(t, "-chroot", rootfs(t), "-network-address", "172.17.0.99/24", "-sysctl", "net.ipv4.ip_forward="+forward, "--", "probe", "cat",
			dir+"all/accept_redirects", "/proc/sys/net/ipv4/ip_forward").want(t, 0, "0\n"+forward+"\n")
	}
}

// fillBridge makes a bridge in the network namespace of the thread, and gives it all
// the ports that it can have: both ends of pairs.
func fillBridge(name string) error {
	if err := makeBridge(name, "172.24.0.1/16"); err != nil {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for i := 0; i < 1023; i += 2 {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MasterIndex = fmt.Sprint("p", i), link.Attrs().Index
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: fmt.Sprint("p", i+1)}); err != nil {
			return err
		}
		if i == 1022 {
			return nil
		}
		peer, err := netlink.LinkByName(fmt.Sprint("p", i+1))
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMaster(peer, link); err != nil {
			return err
		}
	}
	return nil
}

// A bridge that is full is told of, and of the pair that contain made nothing is left.
func TestBridgeWithoutAFreePort(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	ns := newNetns(t) // takes the links with it, which one by one would take long
	inside(t, ns, func() error {
		if err := fillBridge("br-full"); err != nil {
			return err
		}
		before, _ := netlink.LinkList()
		cmd := exec.Command(containPath, "-chroot", root, "-bridge", "br-full", "-network-address", "172.24.0.2/16", "--", "probe", "exit", "0")
		p := startCommand(t, cmd) // by this thread
		r := p.wait(t)
		r.wantError(t, 125, "it has no free port (1023 are the most)")
		after, err := netlink.LinkList()
		if len(after) != len(before) {
			t.Errorf("%d links before, %d after", len(before), len(after))
		}
		return err
	})
}
