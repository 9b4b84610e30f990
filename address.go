// Network addresses and interface names as users write them, checked as far
// as that goes without looking at the host.

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// parseAddress reads an address with its prefix length, such as
// 192.168.2.17/24 or 2001:db8::17/64, that a host can have.
func parseAddress(s string) (netip.Prefix, error) {
	none := netip.Prefix{}
	if s == "" {
		return none, errors.New("empty address")
	}
	host, bits, found := strings.Cut(s, "/")
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Zone() != "" {
		return none, errors.New("not an address, such as 192.168.2.17/24")
	}
	if !found {
		return none, fmt.Errorf("prefix length is missing, such as %s/%d", host, map[bool]int{true: 24, false: 64}[ip.Is4()])
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return none, fmt.Errorf("%s is not a prefix length of 1 to %d", quoted(bits), ip.BitLen())
	}
	switch {
	case ip.Is4In6():
		return none, errors.New("IPv4-mapped IPv6 address; write it as IPv4")
	case ip.IsUnspecified():
		return none, errors.New("is the unspecified address")
	case ip.IsLoopback():
		return none, errors.New("is a loopback address")
	case ip.IsMulticast():
		return none, errors.New("is a multicast address")
	case ip.Is6() && ip.IsLinkLocalUnicast():
		return none, errors.New("is a link-local address")
	case ip.Is4() && ip.As4()[0] >= 240:
		return none, errors.New("is a reserved address")
	case ip.Is4() && ip.As4()[0] == 0:
		return none, errors.New(`is an address of "this network"`)
	case prefix.Bits() == 0:
		return none, fmt.Errorf("prefix length 0 is not one of 1 to %d", ip.BitLen())
	}
	return prefix, checkHostPart(prefix)
}

// checkHostPart refuses the two addresses of an IPv4 network that no host can
// have. Networks of two (RFC 3021) and of one address have no such addresses;
// in IPv6 the first is the routers' anycast address (RFC 4291 section 2.6.1).
func checkHostPart(p netip.Prefix) error {
	if p.Bits() >= p.Addr().BitLen()-1 {
		return nil
	}
	switch p.Addr() {
	case p.Masked().Addr():
		if p.Addr().Is6() {
			return fmt.Errorf("is the router anycast address of %s", p.Masked())
		}
		return fmt.Errorf("is the network address of %s", p.Masked())
	case broadcast(p):
		if p.Addr().Is4() {
			return fmt.Errorf("is the broadcast address of %s", p.Masked())
		}
	}
	return nil
}

// broadcast returns the last address of p's network.
func broadcast(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// defaultInterface is the name of the program's interface.
const defaultInterface = "eth0"

// checkProgramInterface applies it to a name for the program's interface.
func checkProgramInterface(name string) error {
	if name == "lo" {
		return errors.New("is the loopback interface")
	}
	// A pattern (dev_alloc_name), and those that stand for all interfaces in /proc/sys.
	if strings.ContainsRune(name, '%') || name == "all" || name == "default" {
		return errors.New("not an interface name")
	}
	return checkInterfaceName(name)
}

// parseMAC reads a hardware address that one host can have.
func parseMAC(s string) (net.HardwareAddr, error) {
	mac, err := net.ParseMAC(s)
	switch {
	case err != nil || len(mac) != 6 || len(s) != 17 || s[2] != ':':
		return nil, errors.New("not a hardware address, such as 02:00:00:00:00:17")
	case mac[0]&1 != 0:
		return nil, errors.New("is a multicast address")
	case [6]byte(mac) == [6]byte{}:
		return nil, errors.New("is no address")
	}
	return mac, nil
}

// parseMTU reads the size of the largest packet, which for Ethernet is from 68 (RFC
// 791) to 65535.
func parseMTU(s string) (int, error) {
	n, err := parseCount(s, 65535, "a number of bytes, such as 1500")
	if isWhole(s) && strings.Trim(s, "0") == "" || err == nil && n < 68 {
		return 0, errors.New("too small, the least is 68")
	}
	return int(n), err
}

// parseGateway reads the address of a router.
func parseGateway(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.Addr{}, errors.New("not an address, or none")
	}
	if a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
		return netip.Addr{}, errors.New("not the address of a router")
	}
	return a, nil
}

// checkInterfaceName applies the kernel's rule, dev_valid_name() in
// net/core/dev.c, so that a mistake is named and not merely "not found".
func checkInterfaceName(name string) error {
	const most = 15 // IFNAMSIZ less the terminating zero
	switch {
	case name == "":
		return errors.New("empty interface name")
	case len(name) > most:
		return fmt.Errorf("longer than the %d characters of an interface name", most)
	case name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r\x00"),
		strings.IndexByte(name, 0xa0) >= 0: // a space of Latin-1, to the kernel; also in "à"
		return errors.New("not an interface name")
	}
	return nil
}
