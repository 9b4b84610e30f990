// Ways to connect: what -network means, and the looks at the host for each.

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The kinds of -network.
const (
	netNone    = "none"    // loopback only
	netBridge  = "bridge"  // a veth to a bridge
	netHost    = "host"    // contain's own netns
	netJoin    = "netns"   // an existing one
	netMacvlan = "macvlan" // on an interface of the host, with a hardware address of its own
	netIPvlan  = "ipvlan"  // or with that of the interface
)

// attachment is the value of -network: a kind, and for some what to attach to.
type attachment struct{ kind, to string }

// parseAttachment reads a value of -network.
func parseAttachment(s string) (attachment, error) {
	kind, to, given := strings.Cut(s, ":")
	a := attachment{kind, to}
	switch kind {
	case netNone, netBridge, netHost:
		if given {
			return a, fmt.Errorf("%s takes no argument", kind)
		}
		return a, nil
	case netJoin:
		if to == "" {
			return a, errors.New("which network namespace? such as netns:/run/netns/blue")
		}
		return a, nil
	case netMacvlan, netIPvlan:
		return a, checkInterfaceName(to)
	}
	return a, errors.New("not none, host, bridge, netns:PATH, macvlan:INTERFACE or ipvlan:INTERFACE")
}

// checkAttachment reports flags that do not go with -network, and completes it.
func (o *options) checkAttachment(given map[string]bool) error {
	if o.attach.kind == "" {
		o.attach.kind = netNone
		if len(o.address) > 0 {
			o.attach.kind = netBridge
		}
	}
	has := len(o.address) > 0
	switch o.attach.kind {
	case netBridge, netMacvlan, netIPvlan:
		if !has {
			return fmt.Errorf("-network %s needs -network-address", o.attach.kind)
		}
	default:
		if has {
			return fmt.Errorf("-network %s and -network-address exclude each other", o.attach.kind)
		}
	}
	switch {
	case given["bridge"] && given["network"] && o.attach.kind != netBridge:
		return fmt.Errorf("-network %s and -bridge exclude each other", o.attach.kind)
	case given["network-mac"] && o.attach.kind == netIPvlan:
		return errors.New("-network ipvlan and -network-mac exclude each other: it has that of the interface")
	case o.strict && o.attach.kind != netBridge:
		return errors.New("-network-strict needs -network-address, on a bridge")
	case o.bandwidth.Down != 0 && o.attach.kind != netBridge:
		return errors.New("-network-bandwidth: only /up goes with -network " + o.attach.kind)
	}
	return nil
}

// find looks at what a program is to be attached to. It runs in contain's netns and
// only reads.
func (n network) find() (bridge, error) {
	switch n.attach.kind {
	case netBridge:
		return findBridge(n)
	case netMacvlan, netIPvlan:
		return findInterface(n)
	}
	return bridge{}, nil
}

// findInterface looks up the interface for a macvlan or ipvlan.
func findInterface(n network) (bridge, error) {
	flag := fmt.Sprintf("-network %s", quoted(n.attach.kind+":"+n.attach.to))
	link, err := netlink.LinkByName(n.attach.to)
	var notFound netlink.LinkNotFoundError
	switch {
	case errors.As(err, &notFound):
		return bridge{}, withHint(fmt.Errorf("%s: no such interface", flag), "list the interfaces: ip link show")
	case err != nil:
		return bridge{}, fmt.Errorf("%s: %w", flag, err)
	case link.Attrs().Flags&net.FlagLoopback != 0:
		return bridge{}, fmt.Errorf("%s: is a loopback interface", flag)
	case link.Attrs().Flags&net.FlagUp == 0:
		return bridge{}, withHint(fmt.Errorf("%s: is down", flag), fmt.Sprintf("ip link set %s up", word(n.attach.to)))
	case link.Attrs().RawFlags&unix.IFF_LOWER_UP == 0:
		return bridge{}, fmt.Errorf("%s: has no carrier", flag)
	}
	b, err := newBridge(link)
	if err != nil {
		return b, fmt.Errorf("%s: %w", flag, err)
	}
	if n.attach.kind == netIPvlan {
		links, err := unchanged(netlink.LinkList)
		if err == nil {
			err = otherMode(links, b.index)
		}
		if err != nil {
			return b, fmt.Errorf("%s: %w", flag, err)
		}
	}
	return b, b.check(n)
}

// otherMode reports an ipvlan on an interface that contain's would switch to its mode:
// all on one have one (ipvlan_set_port_mode, drivers/net/ipvlan/ipvlan_main.c). Those in
// other network namespaces are not seen.
func otherMode(links []netlink.Link, parent int) error {
	for _, link := range links {
		mode := netlink.IPVLAN_MODE_L2
		switch l := link.(type) {
		case *netlink.IPVlan:
			mode = l.Mode
		case *netlink.IPVtap:
			mode = l.Mode
		}
		a := link.Attrs()
		if mode != netlink.IPVLAN_MODE_L2 && a.ParentIndex == parent && a.NetNsID < 0 {
			return fmt.Errorf("its ipvlan %s is not in mode l2, and would be switched to it", quoted(a.Name))
		}
	}
	return nil
}

const ipNetns = "/run/netns/" // of ip-netns(8)

// openNetns opens the network namespace to join, or returns nil.
func (n network) openNetns() (*os.File, error) {
	if n.attach.kind != netJoin {
		return nil, nil
	}
	flag := fmt.Sprintf("-network %s", quoted(netJoin+":"+n.attach.to))
	fd, err := unix.Open(n.attach.to, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		err = fmt.Errorf("%s: %w", flag, err)
		if isPlain(n.attach.to) && exists(ipNetns, n.attach.to) {
			err = withHint(err, "-network netns:"+ipNetns+n.attach.to)
		}
		return nil, err
	}
	f := os.NewFile(uintptr(fd), n.attach.to)
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		f.Close()
		return nil, fmt.Errorf("%s: is not a network namespace", flag)
	}
	return f, nil
}
