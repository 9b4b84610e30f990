package test

import (
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// inside runs f in a network namespace, or for -1 in a new one, on a thread that ends
// with it.
func inside(t *testing.T, ns netns.NsHandle, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := error(nil)
		if ns.IsOpen() {
			err = netns.Set(ns)
		} else {
			_, err = netns.New()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// newNetns makes a network namespace that goes when the test ends.
func newNetns(t *testing.T) (ns netns.NsHandle) {
	t.Helper()
	inside(t, netns.None(), func() (err error) {
		ns, err = netns.Get()
		return err
	})
	t.Cleanup(func() { ns.Close() })
	return ns
}

// neighbour is another host on the segment of a bridge: a network namespace with an
// interface that has a hardware address and others.
func neighbour(t *testing.T, bridge, mac string, addresses ...string) netns.NsHandle {
	t.Helper()
	ns := newNetns(t)
	port, err := netlink.LinkByName(bridge)
	if err != nil {
		t.Fatal(err)
	}
	hardware, _ := net.ParseMAC(mac)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex, attrs.Flags = "nb-"+strings.ReplaceAll(mac[9:], ":", ""), port.Attrs().Index, net.FlagUp
	link := &netlink.Veth{LinkAttrs: attrs, PeerName: "seg0", PeerHardwareAddr: hardware, PeerNamespace: netlink.NsFd(ns)}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(link) })
	inside(t, ns, func() error {
		peer, err := netlink.LinkByName("seg0")
		if err == nil {
			err = netlink.LinkSetUp(peer)
		}
		for _, a := range addresses {
			addr, _ := netlink.ParseAddr(a)
			addr.Flags = unix.IFA_F_NODAD
			if err == nil {
				err = netlink.AddrAdd(peer, addr)
			}
		}
		return err
	})
	waitFor(t, "the neighbour's carrier", func() bool {
		l, err := netlink.LinkByName(attrs.Name)
		return err == nil && l.Attrs().OperState == netlink.OperUp
	})
	awaitLinkLocal(t, port)
	return ns
}

// awaitLinkLocal waits until a bridge can ask for IPv6 neighbours: it gets its
// link-local address when it gets its first port.
func awaitLinkLocal(t *testing.T, bridge netlink.Link) {
	t.Helper()
	waitFor(t, "the bridge's link-local address", func() bool {
		addresses, err := netlink.AddrList(bridge, netlink.FAMILY_V6)
		return err == nil && slices.ContainsFunc(addresses, func(a netlink.Addr) bool {
			return a.IP.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0
		})
	})
}

// listens accepts TCP connections at an address in a network namespace.
func listens(t *testing.T, ns netns.NsHandle, address string) {
	t.Helper()
	var listener net.Listener
	inside(t, ns, func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(io.Discard, c) // a client's port is free when it ends
				c.Close()
			}()
		}
	}()
}

// workers runs f so many times, at most some at a time, and tells it which worker and
// which time it is.
func workers(count, times int, f func(worker, i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for worker := range count {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < times; i = int(next.Add(1)) - 1 {
				f(worker, i)
			}
		})
	}
	all.Wait()
}

// either is the host's part of an address of docker0's networks, in one of the two
// families by turns, and its prefix length.
func either(i, host int) (address, bits string) {
	if i%2 == 0 {
		return fmt.Sprint("172.17.0.", host), "/24"
	}
	return fmt.Sprint("2001:db8:17::", host), "/64"
}

// race starts two programs with one address at the same time: one starts, the other
// is told which contain has it.
func race(t *testing.T, root, address string) {
	args := []string{"-chroot", root, "-network-address", address, "--", "probe", "wait"}
	both := [2]*process{start(t, args...), start(t, args...)}
	results, ends := [2]result{}, make(chan int, 2)
	for i, p := range both {
		go func() {
			results[i] = p.wait(t)
			ends <- i
		}()
	}
	var loser int
	select {
	case loser = <-ends:
	case <-time.After(patience):
		t.Errorf("two have the address %s", address)
		killPrograms(t)
		<-ends
		<-ends
		return
	}
	winner := 1 - loser
	results[loser].wantError(t, 125, fmt.Sprintf(`-network-address "%s": is in use by another contain, process %d`, address, both[winner].cmd.Process.Pid))
	both[winner].cmd.Process.Signal(syscall.SIGUSR1) // kept until the program runs
	<-ends
	if r := results[winner]; r.code() != 128+int(syscall.SIGUSR1) || r.stderr != "" {
		t.Errorf("the other with %s: status %d, stderr %q", address, r.code(), r.stderr)
	}
}

// Of two that want one address at the same time, exactly one gets it.
func TestOneAddressForOneProgram(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	workers(2, often(200), func(worker, i int) {
		host, bits := either(i, 60+worker)
		race(t, root, host+bits)
	})
}

// An address is one of a segment: on another bridge somebody else can have it.
func TestOneAddressOnTwoBridges(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	bridge(t, "br-two")
	for _, address := range []string{"172.17.0.60/24", "2001:db8:17::60/64"} {
		for _, b := range []string{bridgeName, "br-two"} {
			start(t, "-chroot", root, "-bridge", b, "-network-address", address, "--", "probe", "wait").waitLine(t, "ready")
		}
		killPrograms(t)
	}
}

// Two bridges can be one segment: then whoever has an address on one of them has it
// for the other too.
func TestOneAddressOnJoinedBridges(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "join-a"
	join := &netlink.Veth{LinkAttrs: attrs, PeerName: "join-b"}
	if err := netlink.LinkAdd(join); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(join) })
	for _, c := range []struct{ bridge, port, v4, v6 string }{
		{"br-a", "join-a", "172.30.0.1/24", "2001:db8:30::1/64"},
		{"br-b", "join-b", "172.30.0.2/24", "2001:db8:30::2/64"},
	} {
		b := bridge(t, c.bridge, c.v4, c.v6)
		port, err := netlink.LinkByName(c.port)
		if err == nil {
			err = netlink.LinkSetMaster(port, b)
		}
		if err == nil {
			err = netlink.LinkSetUp(port)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"br-a", "br-b"} {
		b, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		awaitLinkLocal(t, b)
	}
	for _, address := range []string{"172.30.0.60/24", "2001:db8:30::60/64"} {
		start(t, "-chroot", root, "-bridge", "br-a", "-network-address", address, "--", "probe", "wait").waitLine(t, "ready")
		contain(t, "-chroot", root, "-bridge", "br-b", "-network-address", address, "--", "probe", "exit", "0").
			wantError(t, 125, fmt.Sprintf(`-network-address "%s": is in use by a neighbour with the hardware address 02:63:`, address))
		killPrograms(t)
	}
}

// An administrator's entry for an address in the bridge's table of neighbours says who
// has it, and stays. Of contain's questions nothing is left there.
func TestEntriesOfNeighbours(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	link := bridge(t, "br-table", "172.28.0.1/24", "2001:db8:28::1/64")
	// Or it would take the lowest of its ports', and the kernel forgets all entries then.
	if err := netlink.LinkSetHardwareAddr(link, net.HardwareAddr{0x0e, 0, 0, 0, 0, 0xbb}); err != nil {
		t.Fatal(err)
	}
	neighbour(t, "br-table", "0e:00:00:00:00:01", "172.28.0.150/24")
	const pinned = "0e:00:00:00:00:aa"
	mac, _ := net.ParseMAC(pinned)
	for _, ip := range []string{"172.28.0.70", "2001:db8:28::70"} {
		if err := netlink.NeighAdd(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: net.ParseIP(ip), State: netlink.NUD_PERMANENT, HardwareAddr: mac}); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"-chroot", root, "-bridge", "br-table", "-network-address"}
	program := []string{"--", "probe", "exit", "7"}
	for _, address := range []string{"172.28.0.70/24", "2001:db8:28::70/64"} {
		contain(t, slices.Concat(args, []string{address}, program)...).
			wantError(t, 125, fmt.Sprintf(`-network-address "%s": is in use by a neighbour with the hardware address %s`, address, pinned))
		contain(t, slices.Concat(args, []string{address, "-network-mac", pinned}, program)...).want(t, 7, "")
	}
	contain(t, slices.Concat(args, []string{"172.28.0.71/24", "-network-address", "2001:db8:28::71/64"}, program)...).want(t, 7, "")
	contain(t, slices.Concat(args, []string{"172.28.0.150/24"}, program)...).wantError(t, 125, "is in use by a neighbour")
	entries, err := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if !e.IP.IsMulticast() {
			got = append(got, fmt.Sprint(e.IP, " ", e.HardwareAddr, " ", e.State == netlink.NUD_PERMANENT))
		}
	}
	slices.Sort(got)
	if want := []string{"172.28.0.70 " + pinned + " true", "2001:db8:28::70 " + pinned + " true"}; !slices.Equal(got, want) {
		t.Errorf("the table has %q, want %q", got, want)
	}
}

// A bridge takes the lowest hardware address of its ports for its own. That of a new
// port may be lower, and when its own changes the kernel forgets what neighbours said.
func TestNeighbourOnABridgeThatChangesItsAddress(t *testing.T) {
	leavesNothing(t)
	bridge(t, "br-plain", "172.29.0.1/24")
	neighbour(t, "br-plain", "0e:00:00:00:00:05", "172.29.0.50/24")
	port, err := netlink.LinkByName("nb-000005")
	must(t, err)
	must(t, netlink.LinkSetHardwareAddr(port, net.HardwareAddr{0xfe, 0xff, 0, 0, 0, 5}))
	args := []string{"-chroot", rootfs(t), "-bridge", "br-plain", "-network-address"}
	contain(t, append(args, "172.29.0.50/24", "--", "probe", "exit", "7")...).wantError(t, 125, "is in use by a neighbour")
	link, err := netlink.LinkByName("br-plain")
	must(t, err)
	if got := link.Attrs().HardwareAddr.String(); got != "fe:ff:00:00:00:05" {
		t.Errorf("the bridge's address is %s: this shows nothing", got)
	}
	contain(t, append(args, "172.29.0.51/24", "--", "probe", "exit", "7")...).want(t, 7, "")
}

// The address of a contain that was killed is free at once, and the next one removes
// the file that it has left.
func TestAddressOfAKilledContainIsFree(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for i := range often(20) {
		host, bits := either(i, 61)
		p := start(t, "-chroot", root, "-network-address", host+bits, "--", "probe", "wait")
		p.waitLine(t, "ready")
		p.signal(t, syscall.SIGKILL)
		p.wait(t)
		contain(t, "-chroot", root, "-network-address", host+bits, "--", "probe", "exit", "7").want(t, 7, "")
		if _, err := os.Stat(stateDir + "/addresses"); !os.IsNotExist(err) {
			t.Errorf("the file of addresses is there: %v", err)
		}
		waitFor(t, "the programs' end", func() bool { return len(programs(t)) == 0 })
	}
	sweep(t)
}

// One program after the other can have an address, though the last one's network
// namespace lives on for some milliseconds and answers; also where the hardware
// address does not say that it is contain's.
func TestAddressIsReused(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	flags := [][]string{{}, {}, {"-network-mac", "0e:00:00:00:00:61"}, {"-network-mac", "0e:00:00:00:00:61"}}
	for i := range often(100) {
		host, bits := either(i, 61)
		args := append([]string{"-chroot", root, "-network-address", host + bits}, flags[i%4]...)
		r := contain(t, append(args, "--", "probe", "exit", "7")...)
		if r.code() != 7 || r.stderr != "" {
			t.Fatalf("start %d, %v: status %d, stderr %q", i, flags[i%4], r.code(), r.stderr)
		}
	}
}

// An address that a neighbour has is refused, with the neighbour's hardware address,
// unless nobody is to be asked.
func TestAddressOfANeighbour(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	neighbour(t, bridgeName, "0e:00:00:00:00:01", "172.17.0.150/24", "2001:db8:17::150/64")
	neighbour(t, bridgeName, "0e:00:00:00:00:02", "172.17.0.151/24")
	cases := []struct{ addresses, taken, mac string }{
		{"172.17.0.150/24", "172.17.0.150/24", "0e:00:00:00:00:01"},
		{"2001:db8:17::150/64", "2001:db8:17::150/64", "0e:00:00:00:00:01"},
		{"172.17.0.62/24 2001:db8:17::62/64 172.17.0.151/24", "172.17.0.151/24", "0e:00:00:00:00:02"},
	}
	workers(len(cases), len(cases), func(_, i int) {
		c := cases[i]
		args := []string{"-chroot", root}
		for _, a := range strings.Fields(c.addresses) {
			args = append(args, "-network-address", a)
		}
		program := []string{"--", "probe", "exit", "7"}
		contain(t, slices.Concat(args, program)...).
			wantError(t, 125, fmt.Sprintf(`-network-address "%s": is in use by a neighbour with the hardware address %s`, c.taken, c.mac))
		contain(t, slices.Concat(args, []string{"-check-address=false"}, program)...).want(t, 7, "")
	})
	contain(t, "-chroot", root, "-network-address", "172.17.0.62/24", "-network-address", "2001:db8:17::62/64", "--", "probe", "exit", "7").want(t, 7, "")
}

// The segment is asked while the container is being made: that takes no time.
func TestQuestionTakesNoTime(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	neighbour(t, bridgeName, "0e:00:00:00:00:01", "172.17.0.150/24", "2001:db8:17::150/64")
	took := map[string][]time.Duration{}
	for i := range 20 {
		host := fmt.Sprint(20 + i) // another each time: the last one's netns may still answer
		check := fmt.Sprint(i%2 == 0)
		began := time.Now()
		contain(t, "-chroot", root, "-check-address="+check, "-network-address", "172.17.0."+host+"/24", "-network-address", "2001:db8:17::"+host+"/64", "--", "probe", "exit", "7").want(t, 7, "")
		took[check] = append(took[check], time.Since(began))
	}
	median := func(check string) time.Duration {
		slices.Sort(took[check])
		return took[check][5]
	}
	if with, without := median("true"), median("false"); float64(with) > 1.5*float64(without) {
		t.Errorf("a start takes %v with the question, %v without", with, without)
	}
}

// An address of this host is refused, whichever interface has it.
func TestAddressOfThisHost(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	bridge(t, "br-other", "172.25.0.1/24")
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"172.17.0.77/32", "2001:db8:17::77/128"} {
		addr, _ := netlink.ParseAddr(a)
		if err := netlink.AddrAdd(lo, addr); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { netlink.AddrDel(lo, addr) })
	}
	bridge(t, "br-none")
	for _, c := range []struct{ bridge, address, name string }{
		{bridgeName, "172.17.0.77/24", "lo"},
		{bridgeName, "2001:db8:17::77/64", "lo"},
		{"br-none", "172.25.0.1/24", "br-other"},
		{"br-none", "172.17.0.1/16", bridgeName},
	} {
		r := contain(t, "-chroot", root, "-bridge", c.bridge, "-check-address=false", "-network-address", c.address, "--", "probe", "exit", "0")
		r.wantError(t, 125, fmt.Sprintf(`-network-address "%s": is an address of "%s" of this host`, c.address, c.name))
	}
}

// A program's first system call can be a connect: nothing that it sends is lost.
func TestFirstPacket(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	ns := neighbour(t, bridgeName, "0e:00:00:00:00:01", "172.17.0.150/24", "2001:db8:17::150/64")
	listens(t, ns, "172.17.0.150:7")
	listens(t, ns, "[2001:db8:17::150]:7")
	workers(4, often(1000), func(_, i int) {
		host, bits := either(i, 20+i%100)
		to, _ := either(i, 150)
		r := contain(t, "-chroot", root, "-network-address", host+bits, "--", "probe", "knock", to, "7")
		r.want(t, 0, "connected, 0 again\n")
	})
}

// monitor collects what RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR and RTNLGRP_IPV6_IFADDR say,
// as ip-monitor(8) does.
type monitor struct {
	mu    sync.Mutex
	lines []string
}

func watch(t *testing.T) *monitor {
	t.Helper()
	m, done := &monitor{}, make(chan struct{})
	links, addrs := make(chan netlink.LinkUpdate), make(chan netlink.AddrUpdate)
	failed := func(err error) { m.add("failed: " + err.Error()) }
	if err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: failed, ReceiveBufferSize: 8 << 20, ReceiveBufferForceSize: true}); err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{ErrorCallback: failed, ReceiveBufferSize: 8 << 20, ReceiveBufferForceSize: true}); err != nil {
		t.Fatal(err)
	}
	go func() {
		for l := range links {
			m.add(fmt.Sprintf("link %d %s", l.Header.Type, l.Attrs().Name))
		}
	}()
	go func() {
		for a := range addrs {
			m.add("address " + a.LinkAddress.IP.String())
		}
	}()
	t.Cleanup(func() { close(done) })
	return m
}

func (m *monitor) add(line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, line)
}

// matches returns what was said that matches a pattern.
func (m *monitor) matches(pattern string) (found []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range m.lines {
		if regexp.MustCompile(pattern).MatchString(line) {
			found = append(found, line)
		}
	}
	return found
}

// see waits until the monitor has seen an address that the host gets now: then it has
// seen all that was before.
func (m *monitor) see(t *testing.T, address string) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := netlink.ParseAddr(address + "/32")
	if err := netlink.AddrAdd(lo, addr); err != nil {
		t.Fatal(err)
	}
	defer netlink.AddrDel(lo, addr)
	waitFor(t, "news of "+address, func() bool { return len(m.matches("^address "+address+"$")) > 0 })
}

// Many programs start at once on one bridge: nothing that the first of them sends is
// lost, and those that live at the same time have different hardware addresses. Of
// their interfaces and addresses the host's namespace never hears.
func TestProgramsInParallel(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	ns := neighbour(t, bridgeName, "0e:00:00:00:00:01", "172.17.0.150/24", "2001:db8:17::150/64")
	listens(t, ns, "172.17.0.150:7")
	listens(t, ns, "[2001:db8:17::150]:7")
	m := watch(t)
	const atOnce = 8
	started := 0
	for ; started < often(200); started += atOnce {
		macs := map[string]bool{}
		var all [atOnce]*process
		for i := range all {
			host, bits := either(i, 70+i)
			to, _ := either(i, 150)
			all[i] = start(t, "-chroot", root, "-network-address", host+bits, "--", "probe", "knock", to, "7", "/sys/class/net/eth0/address")
		}
		for _, p := range all {
			p.waitLine(t, "ready")
		}
		for _, p := range all {
			p.signal(t, syscall.SIGTERM)
			out := strings.Split(p.wait(t).stdout, "\n")
			if len(out) != 4 || out[0] != "connected, 0 again" || macs[out[1]] {
				t.Errorf("a program says %q, and %v are there", out, macs)
			}
			macs[out[1]] = true
		}
	}
	m.see(t, "172.29.0.1")
	waitFor(t, "news of the host ends", func() bool { return len(m.matches(`^link 16 ctn[0-9a-f]{8}$`)) >= started })
	if wrong := m.matches(`failed| eth0$|^address 172\.17\.|^address 2001:`); len(wrong) > 0 {
		t.Errorf("seen outside: %q", wrong)
	}
}

// A program's end is that of its interface, though the kernel still has to close a TCP
// connection whose other end is gone, and keeps the network namespace for that: the
// address is free, and nobody else answers for it.
func TestUnfinishedConnection(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	ns := neighbour(t, bridgeName, "0e:00:00:00:00:01", "172.17.0.150/24")
	listens(t, ns, "172.17.0.150:7")
	args := []string{"-chroot", root, "-network-address", "172.17.0.63/24", "-network-mac", "0e:00:00:00:00:63"}
	p := start(t, append(args, "--", "probe", "knock", "172.17.0.150", "7", "/proc/self/comm")...)
	p.waitLine(t, "ready")
	port, err := netlink.LinkByName("nb-000001")
	if err == nil {
		err = netlink.LinkSetDown(port)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGTERM)
	p.wait(t)
	waitFor(t, "the end of the interface", func() bool {
		return !slices.ContainsFunc(linkList(t), func(l netlink.Link) bool { return strings.HasPrefix(l.Attrs().Name, "ctn") })
	})
	contain(t, append(args, "--", "probe", "exit", "7")...).want(t, 7, "")
}

// What a program has written just before its end arrives, though the other end takes its
// time to read it.
func TestLastWordsToASlowReader(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	ns := neighbour(t, bridgeName, "0e:00:00:00:00:01", "172.17.0.150/24")
	var listener net.Listener
	inside(t, ns, func() (err error) {
		config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
		}}
		listener, err = config.Listen(t.Context(), "tcp", "172.17.0.150:7")
		return err
	})
	defer listener.Close()
	const bytes = 100000
	got := make(chan int64, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		time.Sleep(300 * time.Millisecond)
		c.SetReadDeadline(time.Now().Add(patience / 2))
		n, _ := io.Copy(io.Discard, c)
		got <- n
	}()
	contain(t, "-chroot", root, "-network-address", "172.17.0.64/24", "--", "probe", "blurt", "172.17.0.150", "7", fmt.Sprint(bytes)).want(t, 0, "")
	if n := <-got; n != bytes {
		t.Errorf("%d bytes of %d have arrived", n, bytes)
	}
}
