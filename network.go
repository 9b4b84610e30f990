// The network: a veth pair whose one end is a port of an existing bridge and
// whose other end is the program's eth0. Netlink only, no ip(8).
//
// The program's network namespace belongs to its init and dies with it, and
// the pair dies with the namespace; see unplug.go for what keeps it.

package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// bridge is a bridge of contain's own network namespace.
type bridge struct {
	name    string
	index   int
	mtu     int
	mac     net.HardwareAddr
	address []netip.Prefix // none of them link-local
}

// findBridge looks up the program's bridge and checks that it can serve the program.
// It runs in contain's namespace and only reads.
func findBridge(n network) (bridge, error) {
	name := n.bridge
	link, err := netlink.LinkByName(name)
	var notFound netlink.LinkNotFoundError
	switch {
	case errors.As(err, &notFound):
		hint := otherBridge(n.address, 0)
		if hint == "" {
			hint = makeBridge(name, n.address...)
		}
		return bridge{}, withHint(fmt.Errorf("-bridge %s: no such interface", quoted(name)), hint)
	case err != nil:
		return bridge{}, fmt.Errorf("-bridge %s: %w", quoted(name), err)
	case link.Type() != "bridge":
		return bridge{}, withHint(fmt.Errorf("-bridge %s: not a bridge but of type %s", quoted(name), link.Type()),
			"list the bridges: ip link show type bridge")
	case link.Attrs().Flags&net.FlagUp == 0:
		return bridge{}, withHint(fmt.Errorf("-bridge %s: is down", quoted(name)), fmt.Sprintf("ip link set %s up", word(name)))
	}
	b, err := newBridge(link)
	if err != nil {
		return bridge{}, fmt.Errorf("-bridge %s: %w", quoted(name), err)
	}
	return b, b.check(n)
}

// newBridge reads what has to be known about a bridge, or what is in its place.
func newBridge(link netlink.Link) (bridge, error) {
	a := link.Attrs()
	b := bridge{name: a.Name, index: a.Index, mtu: a.MTU, mac: a.HardwareAddr}
	return b, b.readAddresses(link)
}

// check reports what the bridge cannot give the program.
func (b bridge) check(n network) error {
	if err := checkHostAddresses(n.address, b.index); err != nil {
		return err
	}
	if outside, err := b.serves(n.address); err != nil && outside {
		return withHint(err, b.remedy(n))
	} else if err != nil {
		return err
	}
	switch {
	case n.mtu > b.mtu:
		return fmt.Errorf("-network-mtu %d: above that of %s, which is %d", n.mtu, b.name, b.mtu)
	case n.mac != nil && (bytes.Equal(n.mac, b.mac) || bytes.Equal(n.mac, hostMAC)):
		return fmt.Errorf("-network-mac %s: is the hardware address of %s, or of its ports", quoted(n.mac.String()), b.name)
	}
	return nil
}

// remedy is the hint for an address that is in no network of the bridge.
func (b bridge) remedy(n network) string {
	if n.attach.kind != netBridge {
		return "choose an address in it"
	}
	if other := otherBridge(n.address, b.index); other != "" {
		return other
	}
	return "choose an address in it, or add one to the bridge: ip address add ADDRESS/PREFIX dev " + word(b.name)
}

// otherBridge names one that has the first address in a network of its own, but for
// that of the given index; or "".
func otherBridge(addresses []netip.Prefix, but int) string {
	links, err := unchanged(netlink.LinkList)
	if err != nil {
		return ""
	}
	for _, link := range links {
		if link.Type() != "bridge" || link.Attrs().Index == but || link.Attrs().Flags&net.FlagUp == 0 {
			continue
		}
		b, err := newBridge(link)
		for _, own := range b.address {
			if err == nil && own.Contains(addresses[0].Addr()) && isPlain(b.name) {
				return fmt.Sprintf("-bridge %s is in %s", b.name, own)
			}
		}
	}
	return ""
}

// readAddresses reads the addresses of the interface, but for link-local ones of IPv6.
func (b *bridge) readAddresses(link netlink.Link) error {
	found, err := unchanged(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("read its addresses: %w", err)
	}
	for _, a := range found {
		prefix, ok := toPrefix(a.IPNet)
		if ok && !prefix.Addr().IsLinkLocalUnicast() || ok && prefix.Addr().Is4() {
			b.address = append(b.address, prefix)
		}
	}
	return nil
}

// unchanged returns a list that the kernel gives in parts, read anew as long as it
// changes meanwhile (NLM_F_DUMP_INTR): other programs start at the same time.
func unchanged[T any](list func() ([]T, error)) ([]T, error) {
	for tries := 1; ; tries++ {
		found, err := list()
		if tries == listTries || !errors.Is(err, netlink.ErrDumpInterrupted) {
			return found, err
		}
	}
}

// isPlain tells whether a name means itself to a shell.
func isPlain(name string) bool {
	return name != "" && strings.Trim(name, wordCharacters+".@-") == "" && !strings.ContainsAny(name[:1], ".@-")
}

// word is a name as a word for a shell.
func word(name string) string {
	if isPlain(name) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// makeBridge returns the command line that would make a bridge for the addresses, with
// one of its own in the network of the first of each family.
func makeBridge(name string, addresses ...netip.Prefix) string {
	if !isPlain(name) {
		return "make the bridge first; its name is not one to paste into a shell"
	}
	add, done := "", map[bool]bool{}
	for _, a := range addresses {
		if a.IsSingleIP() || done[a.Addr().Is4()] { // no network for a bridge's address to be in
			continue
		}
		done[a.Addr().Is4()] = true
		add += fmt.Sprintf(" && ip address add %s/%d dev %s", besides(a), a.Bits(), name)
		if a.Addr().Is6() {
			add += " nodad" // usable at once
		}
	}
	return fmt.Sprintf("ip link add %[1]s type bridge%[2]s && ip link set %[1]s up", name, add)
}

// besides returns another address of a network.
func besides(a netip.Prefix) netip.Addr {
	first := a.Masked().Addr()
	switch {
	case first.Next() != a.Addr():
		return first.Next()
	case a.Bits() == a.Addr().BitLen()-1:
		return first // a network of two
	}
	return first.Next().Next()
}

// serves reports an address that cannot be used on the bridge, and whether that is for
// want of a network with it. A bridge without any address of a family is a plain layer-2
// segment and serves all.
func (b bridge) serves(addresses []netip.Prefix) (outside bool, err error) {
	for _, a := range addresses {
		networks, within := 0, false
		for _, own := range b.address {
			if own.Addr() == a.Addr() {
				return false, fmt.Errorf("-network-address %s: is the address of %s itself", quoted(a.String()), b.name)
			}
			if own.Addr().Is4() != a.Addr().Is4() {
				continue
			}
			networks++
			if !own.Contains(a.Addr()) {
				continue
			}
			within = true
			if err := checkHostPart(netip.PrefixFrom(a.Addr(), own.Bits())); err != nil {
				return false, fmt.Errorf("-network-address %s: %w, a network of %s", quoted(a.String()), err, b.name)
			}
		}
		if networks > 0 && !within {
			return true, fmt.Errorf("-network-address %s: not in a network of %s (%s)", quoted(a.String()), b.name, b.networks())
		}
	}
	return false, nil
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

// checkHostAddresses reports an address that this host has itself, on any interface but
// that of the given index.
func checkHostAddresses(addresses []netip.Prefix, but int) error {
	found, err := unchanged(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("read this host's addresses: %w", err)
	}
	for _, own := range found {
		prefix, ok := toPrefix(own.IPNet)
		for _, a := range addresses {
			if !ok || prefix.Addr() != a.Addr() || own.LinkIndex == but {
				continue
			}
			where := "this host"
			if link, err := netlink.LinkByIndex(own.LinkIndex); err == nil {
				where = quoted(link.Attrs().Name) + " of this host"
			}
			return fmt.Errorf("-network-address %s: is an address of %s", quoted(a.String()), where)
		}
	}
	return nil
}

// plugIn begins to make the program's interface, if it is to have one, and returns
// where it will be told how that ended. It waits for the init to have the network
// namespace ready, or to end, and goes on beside it: what it does takes 0.6 ms.
func (c *container) plugIn() <-chan error {
	done := make(chan error, 1)
	if len(c.network.address) == 0 {
		close(done)
		return done
	}
	go c.guard(func() {
		defer close(done) // after a panic: start looks for that
		pid, err := peerOf(c.report)
		if pid == 0 && err == nil {
			return // it has ended: libcontainer says why
		}
		var report pid1Report
		if err == nil {
			report, err = readReport(c.report)
		}
		if err == nil && report.kind != pid1Netns {
			err = fmt.Errorf("unexpected report %#x of the init", report.kind)
		}
		if err == nil {
			err = c.makeInterface(pid)
		}
		done <- err
	})
	return done
}

// makeInterface makes the interface in the network namespace of the init pid, still down,
// without addresses and with the other end attached to nothing. It runs in contain's
// namespaces, like what it calls.
func (c *container) makeInterface(pid int) error {
	ns, err := netns.GetFromPath(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err == nil && parentOf(pid) != os.Getpid() {
		err = then(os.ErrProcessDone, ns.Close()) // and the pid may be another's
	}
	if err != nil {
		return fmt.Errorf("open the network namespace: %w", err)
	}
	c.netns, c.counters = &ns, openCounters(pid)
	if c.network.attach.kind != netBridge {
		return createVlan(c.network, c.bridge, ns)
	}
	c.hostEnd, err = createVeth(c.id, c.network, c.bridge, ns)
	if err == nil && c.network.strict {
		err = c.network.guard(c.hostEnd)
	}
	return c.bridge.whyNot(err)
}

// connect gives the started container its addresses, if it is to have any, and returns
// when it can be heard with them. It may wait for the bridge; if it returns a signal,
// that came meanwhile, to end contain.
func (c *container) connect(sigs *signals) (unix.Signal, error) {
	if len(c.network.address) == 0 {
		return 0, nil
	}
	sig, err := c.question.check(sigs.soon)
	c.question.close()
	if err == nil && sig == 0 && c.hostEnd != 0 {
		err = attachTo(c.bridge, c.hostEnd)
	}
	if err == nil && sig == 0 {
		err = c.configure()
	}
	if err == nil && sig == 0 && c.hostEnd != 0 {
		sig, err = c.awaitForwarding(sigs)
	}
	if err == nil && sig == 0 {
		err = c.network.announce(*c.netns)
	}
	if c.hostEnd != 0 {
		err = c.bridge.whyNot(err)
	}
	return sig, err
}

// whyNot is the error of something that was to be done with a bridge: that it is gone,
// or down, since contain has looked at it, if that is so, else err.
func (b bridge) whyNot(err error) error {
	if err == nil {
		return nil
	}
	link, gone := netlink.LinkByIndex(b.index)
	switch {
	case errors.As(gone, &netlink.LinkNotFoundError{}):
		return fmt.Errorf("bridge %s has been removed meanwhile", quoted(b.name))
	case gone == nil && link.Attrs().Flags&net.FlagUp == 0:
		return fmt.Errorf("bridge %s has been set down meanwhile", quoted(b.name))
	}
	return err
}

var errBridgeIsDown = errors.New("the bridge is down")

// createVlan makes a macvlan or ipvlan of an interface of contain's netns, directly
// in ns.
func createVlan(n network, b bridge, ns netns.NsHandle) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.MTU, attrs.Namespace = n.name, b.index, n.mtu, netlink.NsFd(ns)
	var link netlink.Link = &netlink.IPVlan{LinkAttrs: attrs, Mode: netlink.IPVLAN_MODE_L2}
	if n.attach.kind == netMacvlan {
		attrs.HardwareAddr = n.mac
		link = &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}
	}
	err := netlink.LinkAdd(link)
	if errors.Is(err, unix.EBUSY) {
		err = errors.New("it has another use already, such as a port of a bridge, or the other of macvlan and ipvlan")
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("-network %s: this kernel has no %s (CONFIG_%s)", quoted(n.attach.kind+":"+n.attach.to), n.attach.kind, strings.ToUpper(n.attach.kind))
	}
	if err != nil {
		return fmt.Errorf("make an interface of type %s on %s: %w", n.attach.kind, b.name, err)
	}
	return nil
}

// createVeth makes the pair: the host end in contain's namespace, the other directly in
// ns, so that its name and address are never seen outside. It returns the index of the
// host end. Its undo is unplug, or attachTo's if that fails.
func createVeth(id string, n network, b bridge, ns netns.NsHandle) (int, error) {
	hostVeth := hostVethOf(id)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = hostVeth
	attrs.MTU = b.mtu // or it would lower the bridge's
	attrs.Flags = net.FlagUp
	attrs.HardwareAddr = hostMAC
	link := &netlink.Veth{
		LinkAttrs:        attrs,
		PeerName:         n.name,
		PeerMTU:          uint32(n.mtu),
		PeerHardwareAddr: n.mac,
		PeerNamespace:    netlink.NsFd(ns),
	}
	if err := netlink.LinkAdd(link); err != nil {
		return 0, fmt.Errorf("make veth %s: %w", hostVeth, err)
	}
	// The host gets no address there, and heeds no router. Docker does the same.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+hostVeth+"/disable_ipv6", []byte("1"), 0) // none: no IPv6
	return link.Index, nil
}

// attachTo makes an interface of contain's namespace, a veth's host end, a port of the
// bridge. That may change the bridge's hardware address, and then the kernel forgets what
// neighbours have said. If it fails, it removes the veth.
func attachTo(b bridge, index int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Index = index
	link := &netlink.Veth{LinkAttrs: attrs}
	err := netlink.LinkSetMasterByIndex(link, b.index)
	if errors.Is(err, unix.EXFULL) {
		err = errors.New("it has no free port (1023 are the most)")
	}
	if err != nil {
		err = fmt.Errorf("attach the veth to bridge %s: %w", b.name, err)
	} else if err = boundMulticast(index); err != nil {
		err = fmt.Errorf("limit the multicast groups of the bridge's port: %w", err)
	}
	if err != nil {
		return then(err, netlink.LinkDel(link))
	}
	return nil
}

// boundMulticast keeps what a program says of multicast groups to its own port: at the
// most that a bridge's table can hold the bridge would send all to all for good, and
// with a query the port would become one of a router. Of the groups beyond the limit
// the program gets nothing where the bridge knows who is in a group. Kernels without
// snooping, or before 6.3, ignore it.
func boundMulticast(index int) error {
	const groups = 256
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil)
	data.AddRtAttr(nl.IFLA_BRPORT_MULTICAST_ROUTER, []byte{0})
	data.AddRtAttr(nl.IFLA_BRPORT_MCAST_MAX_GROUPS, nl.Uint32Attr(groups))
	request.AddData(message)
	request.AddData(info)
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

func hostVethOf(id string) string { return "ctn" + id }

// hostMAC is the hardware address of every host end. A bridge without an address
// of its own takes the lowest of its ports' (br_stp_recalculate_bridge_id); were
// the ports' different, it would change as programs come and go, and their
// neighbours would lose the gateway. Ports may share an address (br_fdb.c).
var hostMAC = net.HardwareAddr{0xfe, 0x63, 0, 0, 0, 1}

// contMAC is how the hardware address of a program's interface begins.
var contMAC = [2]byte{0x02, 0x63} // 0x63: c, for contain

// mac returns the hardware address of the program's end, unicast and locally
// administered (IEEE 802: bit 1 of the first byte set, bit 0 clear), from id.
func mac(id string) net.HardwareAddr {
	var b [4]byte
	hex.Decode(b[:], []byte(id))
	return net.HardwareAddr{contMAC[0], contMAC[1], b[0], b[1], b[2], b[3]}
}

// configure sets up the program's interface in its namespace: addresses, link, default
// routes. The IPv6 addresses skip duplicate address detection, or they would stay
// unusable for a second or two after the program has started.
func (c *container) configure() error {
	n := c.network
	h, err := netlink.NewHandleAt(*c.netns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink in the network namespace: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(n.name)
	if err != nil {
		return fmt.Errorf("find %s: %w", n.name, err)
	}
	for _, a := range inKernelOrder(n.address) {
		addr := &netlink.Addr{IPNet: toIPNet(a)}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := h.AddrAdd(link, addr); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("give %s the address %s: %w", n.name, a, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", n.name, err)
	}
	if err := c.limits.bandwidth.limit(hostVethOf(c.id), h, link.Attrs().Index, n); err != nil {
		return err
	}
	for _, gateway := range n.routes(c.bridge) {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice()}
		if !n.reaches(gateway) {
			route.Flags = int(netlink.FLAG_ONLINK)
		}
		if err := h.RouteAdd(route); err != nil {
			return fmt.Errorf("add the default route via %s: %w", gateway, err)
		}
	}
	return awaitLocal(h, n.address)
}

// inKernelOrder puts addresses into an order to be given in, after which the first of
// each family is the one that the kernel prefers and lists first: of IPv4 it is the
// first given, of IPv6 the last (ipv6_link_dev_addr in net/ipv6/addrconf.c).
func inKernelOrder(addresses []netip.Prefix) (order []netip.Prefix) {
	for _, a := range addresses {
		if a.Addr().Is4() {
			order = append(order, a)
		}
	}
	for _, a := range slices.Backward(addresses) {
		if a.Addr().Is6() {
			order = append(order, a)
		}
	}
	return order
}

// awaitLocal waits until the kernel takes packets to the IPv6 addresses. It adds their
// local routes later, from a work queue (addrconf_dad_completed in net/ipv6/addrconf.c),
// even where it detects no duplicates: a program's first question for a neighbour could
// be out before, and the answer be dropped. The next is asked a second later.
func awaitLocal(h *netlink.Handle, addresses []netip.Prefix) error {
	began := time.Now()
	for _, a := range addresses {
		for a.Addr().Is6() {
			routes, err := h.RouteGet(a.Addr().AsSlice())
			if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
				break
			}
			waited := time.Since(began)
			if waited > addressIsLate {
				return then(fmt.Errorf("the kernel does not take packets to %s, after %s", a, addressIsLate), err)
			}
			time.Sleep(untilNextLook(waited))
		}
	}
	return nil
}

// announce tells the neighbours who has the addresses now: they may know the hardware
// address of a program that had them before, and would ask for another only after some
// seconds. The kernel does so when that of the interface is set, be it to what it is, by
// the sysctls for it (NETDEV_CHANGEADDR in net/ipv4/devinet.c and net/ipv6/ndisc.c). An
// ipvlan's cannot be set: it is the same for every program on an interface.
func (n network) announce(ns netns.NsHandle) error {
	if n.attach.kind == netIPvlan {
		return nil
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink in the network namespace: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(n.name)
	if err == nil {
		err = h.LinkSetHardwareAddr(link, n.mac)
	}
	if err != nil {
		return fmt.Errorf("announce the addresses of %s: %w", n.name, err)
	}
	return nil
}

// routes returns the gateways of the default routes, one of a family at most.
func (n network) routes(b bridge) (gateways []netip.Addr) {
	if n.noRoute || len(n.gateways) > 0 || n.attach.kind == netMacvlan || n.attach.kind == netIPvlan {
		return n.gateways
	}
	routed := map[bool]bool{}
	for _, a := range n.address {
		if gateway, ok := b.gateway(a); ok && !routed[a.Addr().Is4()] {
			routed[a.Addr().Is4()] = true
			gateways = append(gateways, gateway)
		}
	}
	return gateways
}

// awaitForwarding waits until the bridge passes on what comes from its port: the
// carrier is there, and with the spanning tree protocol it has listened and learned,
// for twice the forward delay (30 seconds by default, a minute at most).
func (c *container) awaitForwarding(sigs *signals) (unix.Signal, error) {
	b, began, told := c.bridge, time.Now(), false
	for {
		state, err := portState(c.hostEnd)
		switch waited := time.Since(began); {
		case err != nil:
			return 0, fmt.Errorf("read the state of the bridge's port: %w", err)
		case state == portForwarding:
			return 0, nil
		case state == portDisabled && waited > carrierComes && b.whyNot(errBridgeIsDown) != errBridgeIsDown:
			return 0, errBridgeIsDown
		case waited > bridgeForwards:
			return 0, fmt.Errorf("bridge %s does not forward for its port %s, after %s", b.name, hostVethOf(c.id), bridgeForwards)
		case waited > bridgeIsSlow && !told:
			told = true
			fmt.Fprintf(unread(2), "contain: waiting for bridge %s to forward (spanning tree protocol?)\n", oneLine(b.name))
		case told:
			if sig, ends := sigs.soon(); ends {
				return sig, nil
			}
		default:
			time.Sleep(untilNextLook(waited))
		}
	}
}

// untilNextLook is how long to wait before the kernel is asked again: the longer it has
// taken, the longer. Two hundred that ask all the time take the CPUs and the kernel's
// lock from what they wait for, for minutes.
func untilNextLook(waited time.Duration) time.Duration {
	return min(max(portChanges, waited/8), portIsLate)
}

const portDisabled, portForwarding = 0, 3 // BR_STATE_DISABLED and so on, linux/if_bridge.h

// portState returns the state of a bridge's port.
func portState(index int) (state byte, err error) {
	data, err := linkAttributes(index)
	if err != nil {
		return 0, err
	}
	for _, kind := range []uint16{unix.IFLA_LINKINFO, nl.IFLA_INFO_SLAVE_DATA, nl.IFLA_BRPORT_STATE} {
		data = attribute(data, kind)
	}
	if len(data) != 1 {
		return 0, errors.New("the kernel does not tell it")
	}
	return data[0], nil
}

// linkAttributes returns what the kernel says about an interface of contain's netns.
func linkAttributes(index int) ([]byte, error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	request.AddData(message)
	replies, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	} else if len(replies) == 0 {
		return nil, errors.New("no answer")
	}
	return replies[0][message.Len():], nil
}

// attribute returns the contents of a netlink attribute among others, or nil.
func attribute(data []byte, kind uint16) []byte {
	list, err := nl.ParseRouteAttr(data)
	if err != nil {
		return nil
	}
	for _, a := range list {
		if a.Attr.Type&nl.NLA_TYPE_MASK == kind {
			return a.Value
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
