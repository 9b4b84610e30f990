// The network: a veth pair whose one end is a port of an existing bridge and
// whose other end is the program's eth0. Netlink only, no ip(8).
//
// The program's network namespace belongs to its init and dies with it, and
// the pair dies with the namespace: there is nothing to remove afterwards.

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// contVeth is the name of the program's interface.
const contVeth = "eth0"

// bridge is a bridge of contain's own network namespace.
type bridge struct {
	name    string
	index   int
	mtu     int
	address []netip.Prefix // none of them link-local
}

// findBridge looks up the bridge called name and checks that it can serve the
// given addresses. It runs in contain's namespace and only reads.
func findBridge(name string, addresses []netip.Prefix) (bridge, error) {
	link, err := netlink.LinkByName(name)
	var notFound netlink.LinkNotFoundError
	switch {
	case errors.As(err, &notFound):
		return bridge{}, withHint(fmt.Errorf("-bridge %s: no such interface", quoted(name)), makeBridge(name, addresses[0]))
	case err != nil:
		return bridge{}, fmt.Errorf("-bridge %s: %w", quoted(name), err)
	case link.Type() != "bridge":
		return bridge{}, withHint(fmt.Errorf("-bridge %s: not a bridge but of type %s", quoted(name), link.Type()),
			"list the bridges: ip link show type bridge")
	case link.Attrs().Flags&net.FlagUp == 0:
		return bridge{}, withHint(fmt.Errorf("-bridge %s: is down", quoted(name)), fmt.Sprintf("ip link set %s up", name))
	}
	b := bridge{name: name, index: link.Attrs().Index, mtu: link.Attrs().MTU}
	found, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return bridge{}, fmt.Errorf("-bridge %s: read its addresses: %w", quoted(name), err)
	}
	for _, a := range found {
		prefix, ok := toPrefix(a.IPNet)
		if ok && !prefix.Addr().IsLinkLocalUnicast() || ok && prefix.Addr().Is4() {
			b.address = append(b.address, prefix)
		}
	}
	return b, b.serves(addresses)
}

// plainName matches names that mean themselves to a shell.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]*$`)

// makeBridge returns the command line that would make a bridge for address.
func makeBridge(name string, address netip.Prefix) string {
	first := address.Masked().Addr()
	gateway := first.Next()
	switch {
	case gateway != address.Addr():
	case address.Bits() == address.Addr().BitLen()-1:
		gateway = first // a network of two
	default:
		gateway = gateway.Next()
	}
	if !plainName.MatchString(name) {
		return "make the bridge first; its name is not one to paste into a shell"
	}
	add := fmt.Sprintf(" && ip address add %s/%d dev %s", gateway, address.Bits(), name)
	switch {
	case address.IsSingleIP():
		add = "" // no network for a bridge's address to be in
	case address.Addr().Is6():
		add += " nodad" // usable at once
	}
	return fmt.Sprintf("ip link add %[1]s type bridge%[2]s && ip link set %[1]s up", name, add)
}

// serves reports an address that cannot be used on the bridge. A bridge
// without any address of a family is a plain layer-2 segment and serves all.
func (b bridge) serves(addresses []netip.Prefix) error {
	for _, a := range addresses {
		networks, within := 0, false
		for _, own := range b.address {
			if own.Addr() == a.Addr() {
				return fmt.Errorf("-network-address %s: is the address of %s itself", quoted(a.String()), b.name)
			}
			if own.Addr().Is4() == a.Addr().Is4() {
				networks++
				within = within || own.Contains(a.Addr())
			}
		}
		if networks > 0 && !within {
			return withHint(fmt.Errorf("-network-address %s: not in a network of %s (%s)", quoted(a.String()), b.name, b.networks()),
				fmt.Sprintf("choose an address in it, or add one to the bridge: ip address add ADDRESS/%d dev %s", a.Bits(), b.name))
		}
	}
	return nil
}

func (b bridge) networks() string {
	var text string
	for i, own := range b.address {
		if i > 0 {
			text += ", "
		}
		text += own.String()
	}
	return text
}

// gateway returns the bridge's address that a program with address a can reach
// directly, and whether there is one.
func (b bridge) gateway(a netip.Prefix) (netip.Addr, bool) {
	for _, own := range b.address {
		if own.Addr().Is4() == a.Addr().Is4() && a.Masked().Contains(own.Addr()) {
			return own.Addr(), true
		}
	}
	return netip.Addr{}, false
}

// connect gives the started container its eth0, if it is to have one. It runs
// in contain's namespace.
func (c *container) connect(addresses []netip.Prefix, b bridge) error {
	if len(addresses) == 0 {
		return nil
	}
	pid, err := c.process.Pid()
	if err != nil {
		return fmt.Errorf("connect the network: %w", err)
	}
	ns, err := netns.GetFromPath(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("open the network namespace: %w", reason(err))
	}
	if c.reported {
		c.netns = &ns
	} else {
		defer ns.Close()
	}
	if err := createVeth(c.id, b, ns); err != nil {
		return err
	}
	return c.configureVeth(addresses, b, ns)
}

// createVeth makes the pair: the host end as a port of the bridge, in contain's
// namespace, the other directly in ns, so that its name and address are never
// seen outside. It undoes itself when it fails.
func createVeth(id string, b bridge, ns netns.NsHandle) error {
	hostVeth := hostVethOf(id)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = hostVeth
	attrs.MTU = b.mtu
	attrs.Flags = net.FlagUp
	attrs.HardwareAddr = hostMAC
	link := &netlink.Veth{
		LinkAttrs:        attrs,
		PeerName:         contVeth,
		PeerHardwareAddr: mac(id),
		PeerNamespace:    netlink.NsFd(ns),
	}
	if err := netlink.LinkAdd(link); err != nil {
		return fmt.Errorf("make veth %s: %w", hostVeth, err)
	}
	if err := netlink.LinkSetMasterByIndex(link, b.index); err != nil {
		err = fmt.Errorf("attach veth %s to bridge %s: %w", hostVeth, b.name, err)
		return then(err, netlink.LinkDel(link))
	}
	return nil
}

func hostVethOf(id string) string { return "ctn" + id }

// networkUse reads what has passed the host end of the veth, which lives as long as
// the netns that contain holds. It lets go of that. Nil: there is no eth0.
func (c *container) networkUse() *netUse {
	if c.netns == nil {
		return nil
	}
	defer c.netns.Close()
	link, err := netlink.LinkByName(hostVethOf(c.id))
	if err != nil || link.Attrs().Statistics == nil {
		return nil
	}
	s := link.Attrs().Statistics // of the other end
	return &netUse{ReceivedBytes: s.TxBytes, SentBytes: s.RxBytes, ReceivedPackets: s.TxPackets, SentPackets: s.RxPackets}
}

// hostMAC is the hardware address of every host end. A bridge without an address
// of its own takes the lowest of its ports' (br_stp_recalculate_bridge_id); were
// the ports' different, it would change as programs come and go, and their
// neighbours would lose the gateway. Ports may share an address (br_fdb.c).
var hostMAC = net.HardwareAddr{0xfe, 0x63, 0, 0, 0, 1}

// mac returns the hardware address of the program's end, unicast and locally
// administered (IEEE 802: bit 1 of the first byte set, bit 0 clear), from id.
func mac(id string) net.HardwareAddr {
	var b [4]byte
	hex.Decode(b[:], []byte(id))
	return net.HardwareAddr{0x02, 0x63, b[0], b[1], b[2], b[3]} // 0x63: c, for contain
}

// configureVeth sets up eth0 inside ns: addresses, link, default routes. The
// IPv6 addresses skip duplicate address detection, or they would stay unusable
// for a second or two after the program has started.
func (c *container) configureVeth(addresses []netip.Prefix, b bridge, ns netns.NsHandle) error {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink in the network namespace: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(contVeth)
	if err != nil {
		return fmt.Errorf("find %s: %w", contVeth, err)
	}
	for _, a := range addresses {
		addr := &netlink.Addr{IPNet: toIPNet(a)}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := h.AddrAdd(link, addr); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("give %s the address %s: %w", contVeth, a, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", contVeth, err)
	}
	if err := c.limits.bandwidth.limit(hostVethOf(c.id), h, link.Attrs().Index, b.mtu); err != nil {
		return err
	}
	routed := map[bool]bool{}
	for _, a := range addresses {
		gateway, ok := b.gateway(a)
		if !ok || routed[a.Addr().Is4()] {
			continue
		}
		routed[a.Addr().Is4()] = true
		if err := h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice()}); err != nil {
			return fmt.Errorf("add the default route via %s: %w", gateway, err)
		}
	}
	return nil
}

func toIPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func toPrefix(n *net.IPNet) (netip.Prefix, bool) {
	ip, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), bits), ok
}
