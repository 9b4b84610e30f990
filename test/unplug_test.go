package test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// holdNetns opens the network namespace of the program that runs, as another process
// can to which it was passed.
func holdNetns(t *testing.T) netns.NsHandle {
	t.Helper()
	ns, err := netns.GetFromPath(fmt.Sprintf("/proc/%d/ns/net", initPID(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// hostEnds returns the names of the veths on the host.
func hostEnds(t *testing.T) (names []string) {
	t.Helper()
	for _, l := range linkList(t) {
		if strings.HasPrefix(l.Attrs().Name, "ctn") {
			names = append(names, l.Attrs().Name)
		}
	}
	return names
}

// The host end goes with the program, also if somebody else holds the network
// namespace.
func TestHostEndOfAHeldNetns(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, extra := range [][]string{{}, {"-report", "/dev/null"}} {
		p := start(t, append(append([]string{"-chroot", root, "-network-address", "172.17.0.63/24"}, extra...), "--", "probe", "wait")...)
		p.waitLine(t, "ready")
		began := time.Now()
		holdNetns(t)
		// Of a shorter program it cannot be told soon (netnsSettles).
		waitFor(t, "it to be no short program", func() bool { return time.Since(began) > 60*time.Millisecond })
		p.signal(t, syscall.SIGTERM)
		p.wait(t)
		if names := hostEnds(t); len(names) > 0 {
			t.Errorf("%q: %v are there", extra, names)
		}
	}
}

// deaf accepts TCP connections, and never reads from them.
func deaf(t *testing.T, ns netns.NsHandle, address string) {
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
			defer c.Close()
		}
	}()
}

// connections returns the TCP sockets in a network namespace that hold memory.
func connections(t *testing.T, ns netns.NsHandle) (list []*netlink.Socket) {
	t.Helper()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_INET_DIAG)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		all, err := h.SocketDiagTCP(family)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, all...)
	}
	return slices.DeleteFunc(list, func(s *netlink.Socket) bool { return s.State == netlink.TCP_TIME_WAIT })
}

// What a program has sent and nobody takes is not kept for minutes after its end.
func TestUnsentDataGoesWithTheProgram(t *testing.T) {
	leavesNothing(t)
	if !linuxSince(t, 6, 11) {
		t.Skip("before Linux 6.11 an orphan cannot be aborted")
	}
	root := rootfs(t)
	ns := neighbour(t, bridgeName, "0e:00:00:00:00:01", "172.17.0.150/24", "2001:db8:17::150/64")
	deaf(t, ns, "172.17.0.150:7")
	deaf(t, ns, "[2001:db8:17::150]:7")
	for i := range 4 {
		address, bits := either(i, 63)
		to, _ := either(i, 150)
		limit := []string{}
		if i >= 2 {
			limit = []string{"-timeout", "1s"}
		}
		p := start(t, slices.Concat([]string{"-chroot", root, "-network-address", address + bits}, limit, []string{"--", "probe", "send", to, "7", "100000000"})...)
		waitFor(t, "the program's start", func() bool { return len(programs(t)) > 0 })
		held := holdNetns(t)
		waitFor(t, "a full buffer", func() bool {
			return slices.ContainsFunc(connections(t, held), func(s *netlink.Socket) bool { return s.WQueue > 0 })
		})
		if i < 2 {
			p.signal(t, syscall.SIGTERM)
		}
		p.wait(t)
		for _, s := range connections(t, held) {
			t.Errorf("%s: a socket in state %d with %d bytes is there", address, s.State, s.WQueue)
		}
		held.Close()
	}
}

// linuxSince tells whether the kernel is of that version or a later one.
func linuxSince(t *testing.T, major, minor int) bool {
	t.Helper()
	var name unix.Utsname
	var a, b int
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &a, &b)
	return a > major || a == major && b >= minor
}
