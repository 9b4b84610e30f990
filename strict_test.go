package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	ownMAC   = "026301020304"
	otherMAC = "02630102ffff"
	everyone = "ffffffffffff"
	own4     = "0a000011" // 10.0.0.17
	other4   = "0a000012"
	own6     = "20010db8000000000000000000000017"
	other6   = "20010db8000000000000000000000018"
	none6    = "00000000000000000000000000000000"
)

// ip4 is a frame with an IPv4 header of that many words, in hexadecimal.
func ip4(mac, source, protocol string, words int, fragment, payload string) string {
	return everyone + mac + "0800" + string(rune('0'+4)) + string(rune('0'+words)) + "000000" + "0000" + fragment + "40" + protocol + "0000" +
		source + other4 + strings.Repeat("00000000", words-5) + payload
}

func ip4To(dest string) string {
	return everyone + ownMAC + "0800" + "4500000000000000" + "4006" + "0000" + own4 + dest + "12340050"
}

func ip6(mac, source, next, payload string) string {
	return everyone + mac + "86dd" + ip6Packet(len(payload)/2, source, other6, next, payload)
}

func ip6To(dest string) string {
	return everyone + ownMAC + "86dd" + ip6Packet(4, own6, dest, "06", "12340050")
}

func ip6Packet(length int, source, dest, next, payload string) string {
	return fmt.Sprintf("60000000%04x", length) + next + "ff" + source + dest + payload
}

// neighbour is an ICMPv6 message, which says that it is of that length.
func neighbour(length int, message string) string {
	return everyone + ownMAC + "86dd" + ip6Packet(length, own6, other6, "3a", message)
}

func arp(mac, sender, ip string) string {
	return everyone + mac + "0806" + "0001080006040001" + sender + ip + "000000000000" + other4
}

const rs, ns, na, sourceIs, targetIs = "8500000000000000", "8700000000000000", "8800000000000000", "0101", "0201"

var strictFrames = []struct {
	name, frame string
	pass        bool
}{
	{"ARP", arp(ownMAC, ownMAC, own4), true},
	{"ARP, second address", arp(ownMAC, ownMAC, "0a0000fe"), true},
	{"ARP, another's hardware address in the frame", arp(otherMAC, ownMAC, own4), false},
	{"ARP, another's hardware address in the message", arp(ownMAC, otherMAC, own4), false},
	{"ARP, another's address", arp(ownMAC, ownMAC, other4), false},
	{"ARP, no address", arp(ownMAC, ownMAC, "00000000"), false},
	{"TCP", ip4(ownMAC, own4, "06", 5, "0000", "00430050"), true},
	{"TCP, another's address", ip4(ownMAC, other4, "06", 5, "0000", "12340050"), false},
	{"TCP, another's hardware address", ip4(otherMAC, own4, "06", 5, "0000", "12340050"), false},
	{"UDP", ip4(ownMAC, own4, "11", 5, "0000", "00440043"), true},
	{"DHCP server", ip4(ownMAC, own4, "11", 5, "0000", "00430044"), false},
	{"DHCP server, with options", ip4(ownMAC, own4, "11", 7, "0000", "00430044"), false},
	{"DHCP server, first fragment", ip4(ownMAC, own4, "11", 5, "2000", "00430044"), false},
	{"later fragment", ip4(ownMAC, own4, "11", 5, "0001", "00430044"), true},
	{"DHCP server, another source port", ip4(ownMAC, own4, "11", 5, "0000", "04010044"), false},
	{"DHCP server, another source port, with options", ip4(ownMAC, own4, "11", 7, "0000", "04010044"), false},
	{"DHCP server, another source port, first fragment", ip4(ownMAC, own4, "11", 5, "2000", "04010044"), false},
	{"DHCP server, for who knows no options", ip4(ownMAC, own4, "11", 6, "0000", "12345678")[:68] + "04010044" + "12345678", false},
	{"to port 68 by TCP", ip4(ownMAC, own4, "06", 5, "0000", "04010044"), true},
	{"UDP, cut off", ip4(ownMAC, own4, "11", 5, "0000", "123400"), false},
	{"UDP, without ports", ip4(ownMAC, own4, "11", 5, "0000", ""), false},
	{"ARP, cut off", arp(ownMAC, ownMAC, own4)[:82], false},
	{"ARP, without an address", arp(ownMAC, ownMAC, other4)[:62], false},
	{"nothing", everyone + ownMAC + "0806", false},
	{"ICMP", ip4(ownMAC, own4, "01", 5, "0000", "08000000"), true},
	{"ICMP, without a type", ip4(ownMAC, own4, "01", 5, "0000", ""), false},
	{"ICMP redirect", ip4(ownMAC, own4, "01", 5, "0000", "05010000"), false},
	{"ICMP redirect, with options", ip4(ownMAC, own4, "01", 6, "0000", "05010000"), false},
	{"ICMP redirect, first fragment", ip4(ownMAC, own4, "01", 5, "2000", "05010000"), false},
	{"ICMP, later fragment", ip4(ownMAC, own4, "01", 5, "0001", "05010000"), true},
	{"ICMP router advertisement", ip4(ownMAC, own4, "01", 5, "0000", "09000000"), false},
	{"IGMP general query", ip4(ownMAC, own4, "02", 5, "0000", "11640000"+"00000000"), false},
	{"IGMP query, router alert", ip4(ownMAC, own4, "02", 6, "0000", "11640000"+"e8000001"), false},
	{"IGMP query, first fragment", ip4(ownMAC, own4, "02", 6, "2000", "11640000"+"00000000"), false},
	{"IGMP router advertisement", ip4(ownMAC, own4, "02", 6, "0000", "30140000"+"00000000"), false},
	{"IGMP report", ip4(ownMAC, own4, "02", 6, "0000", "22000000"+"00000001"), true},
	{"IGMP report, version 2", ip4(ownMAC, own4, "02", 6, "0000", "16000000"+"e8000001"), true},
	{"IGMP leave", ip4(ownMAC, own4, "02", 6, "0000", "17000000"+"e8000001"), true},
	{"PIM", ip4(ownMAC, own4, "67", 5, "0000", "20000000"), false},
	{"PIM, later fragment", ip4(ownMAC, own4, "67", 5, "0001", "20000000"), false},
	{"GRE", ip4(ownMAC, own4, "2f", 5, "0000", "00000800"), true},
	{"to any", ip4To("08080808"), true},
	{"to loopback", ip4To("7f000001"), false},
	{"to all of loopback", ip4To("7f123456"), false},
	{"from loopback", ip4(ownMAC, "7f000001", "06", 5, "0000", "12340050"), false},

	{"TCP 6", ip6(ownMAC, own6, "06", "02230050"), true},
	{"TCP 6, another's address", ip6(ownMAC, other6, "06", "12340050"), false},
	{"TCP 6, no address", ip6(ownMAC, none6, "06", "12340050"), false},
	{"UDP 6", ip6(ownMAC, own6, "11", "02220223"), true},
	{"DHCPv6 server", ip6(ownMAC, own6, "11", "02230222"), false},
	{"DHCPv6 server, another source port", ip6(ownMAC, own6, "11", "04010222"), false},
	{"UDP 6, cut off", ip6(ownMAC, own6, "11", "040102"), false},
	{"UDP 6, without ports", ip6(ownMAC, own6, "11", ""), false},
	{"6 to any", ip6To("20010db8000000000000000100000001"), true},
	{"6 to loopback", ip6To("00000000000000000000000000000001"), false},
	{"listener report to loopback", everyone + ownMAC + "86dd" + ip6Packet(12, none6, "00000000000000000000000000000001", "00", "3a00050200000100"+"8f000000"), false},
	{"6 from loopback", ip6(ownMAC, "00000000000000000000000000000001", "06", "12340050"), false},
	{"ICMPv6, without a type", ip6(ownMAC, own6, "3a", ""), false},
	{"echo 6", ip6(ownMAC, own6, "3a", "8000000000000000"), true},
	{"solicitation", ip6(ownMAC, own6, "3a", ns+other6), true},
	{"solicitation, no address", ip6(ownMAC, none6, "3a", ns+other6), false},
	{"advertisement", ip6(ownMAC, own6, "3a", na+own6), true},
	{"advertisement, another's address", ip6(ownMAC, own6, "3a", na+other6), false},
	{"solicitation, own link-layer address", ip6(ownMAC, own6, "3a", ns+other6+sourceIs+ownMAC), true},
	{"solicitation, another's link-layer address", ip6(ownMAC, own6, "3a", ns+other6+sourceIs+otherMAC), false},
	{"solicitation, multicast link-layer address", ip6(ownMAC, own6, "3a", ns+other6+sourceIs+"333300000001"), false},
	{"solicitation, two link-layer addresses", ip6(ownMAC, own6, "3a", ns+other6+sourceIs+ownMAC+sourceIs+otherMAC), false},
	{"solicitation, another option", ip6(ownMAC, own6, "3a", ns+other6+"0e01"+ownMAC), false},
	{"solicitation, longer option", ip6(ownMAC, own6, "3a", ns+other6+"0102"+ownMAC), false},
	{"solicitation, half an option", ip6(ownMAC, own6, "3a", ns+other6+sourceIs+"0263"), false},
	{"solicitation, option cut off", neighbour(32, ns+other6+sourceIs+"0263"), false},
	{"solicitation, cut off", neighbour(24, ns+other6[:24]), false},
	{"solicitation, padded", neighbour(24, ns+other6+"000000000000000000000000"), true},
	{"solicitation, own address and padded", neighbour(32, ns+other6+sourceIs+ownMAC+"00000000"), true},
	{"solicitation, one option more than is seen", neighbour(40, ns+other6+sourceIs+ownMAC), false},
	{"advertisement, own link-layer address", ip6(ownMAC, own6, "3a", na+own6+targetIs+ownMAC), true},
	{"advertisement, another's link-layer address", ip6(ownMAC, own6, "3a", na+own6+targetIs+otherMAC), false},
	{"advertisement, another's as its first", ip6(ownMAC, own6, "3a", na+own6+targetIs+otherMAC+targetIs+ownMAC), false},
	{"advertisement, another's address, own link-layer address", ip6(ownMAC, own6, "3a", na+other6+targetIs+ownMAC), false},
	{"advertisement, cut off", neighbour(24, na+own6[:24]), false},
	{"advertisement, without a target", neighbour(24, na), false},
	{"router solicitation", ip6(ownMAC, own6, "3a", rs), true},
	{"router solicitation, own link-layer address", ip6(ownMAC, own6, "3a", rs+sourceIs+ownMAC), true},
	{"router solicitation, another's link-layer address", ip6(ownMAC, own6, "3a", rs+sourceIs+otherMAC), false},
	{"router solicitation, option cut off", neighbour(16, rs+sourceIs), false},
	{"multicast router advertisement", ip6(ownMAC, own6, "3a", "9714000000000000"), false},
	{"router advertisement", ip6(ownMAC, own6, "3a", "8600000000000000"), false},
	{"redirect", ip6(ownMAC, own6, "3a", "8900000000000000"), false},
	{"listener query", ip6(ownMAC, own6, "3a", "8200000000000000"), false},
	{"listener report", ip6(ownMAC, none6, "00", "3a00050200000100"+"8f000000"), true},
	{"listener report, cut off", ip6(ownMAC, own6, "00", "3a00050200000100"), false},
	{"TCP 6, hop-by-hop", ip6(ownMAC, own6, "00", "0600050200000100"+"12340050"), false},
	{"router advertisement, hop-by-hop", ip6(ownMAC, own6, "00", "3a00050200000100"+"86000000"), false},
	{"router advertisement, longer hop-by-hop", ip6(ownMAC, own6, "00", "3a01050200000100"+"8f00000000000000"+"86000000"), false},
	{"router advertisement, destination options", ip6(ownMAC, own6, "3c", "3a00010400000000"+"86000000"), false},
	{"router advertisement, fragment", ip6(ownMAC, own6, "2c", "3a00000100000000"+"86000000"), false},
	{"TCP 6, fragment", ip6(ownMAC, own6, "2c", "0600000100000000"+"12340050"), true},
	{"DHCPv6 server, fragment", ip6(ownMAC, own6, "2c", "1100000100000000"+"02230222"), false},
	{"DHCPv6 server, another source port, fragment", ip6(ownMAC, own6, "2c", "1100000100000000"+"04010222"), false},
	{"UDP 6, fragment, cut off", ip6(ownMAC, own6, "2c", "1100000100000000"+"040102"), false},
	{"UDP 6, fragment, without ports", ip6(ownMAC, own6, "2c", "1100000100000000"), false},
	{"IPv6, fragment, cut off", ip6(ownMAC, own6, "2c", "0600"), false},
	{"UDP 6, later fragment", ip6(ownMAC, own6, "2c", "1100000800000000"+"02230222"), true},

	{"second VLAN tag", everyone + ownMAC + "8100" + "0001" + "0800" + "45", false},
	{"spanning tree", "0180c2000000" + ownMAC + "0026" + "424203", false},
}

// Through the filter goes what is the program's own, and nothing that takes another's
// address, says to be a router or serves addresses.
func TestStrictFilter(t *testing.T) {
	mac, _ := hex.DecodeString(ownMAC)
	prog := strictProgram(t, network{mac: mac, address: prefixes("10.0.0.17/24", "10.0.0.254/24", "2001:db8::17/64")})
	for _, test := range strictFrames {
		if got := passes(t, prog, test.frame); got != test.pass {
			t.Errorf("%s: passes %v, want %v", test.name, got, test.pass)
		}
		header := map[string]int{"0800": 20, "86dd": 40}[test.frame[offEtherType*2:offBody*2]] // the kernel tests none without
		for end := offBody + header; end < len(test.frame)/2 && !test.pass; end++ {
			if passes(t, prog, test.frame[:end*2]) {
				t.Errorf("%s: passes if cut off after %d bytes", test.name, end)
			}
		}
	}
}

// What cannot be shown by a test of the program alone: the kernel takes a VLAN tag off
// only where a frame arrives at an interface, and tests none with half an IP header.
func TestStrictFilterAtInterface(t *testing.T) {
	runtime.LockOSThread() // for good: the thread and the network namespace go with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); errors.Is(err, unix.EPERM) && os.Getenv("CONTAIN_TEST_REQUIRED") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	mac, _ := hex.DecodeString(ownMAC)
	err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "program"}, PeerName: "host"})
	if err != nil {
		t.Fatal(err)
	}
	program := packetSocket(t, "program", unix.ETH_P_ALL)
	host4, host6 := packetSocket(t, "host", unix.ETH_P_IP), packetSocket(t, "host", unix.ETH_P_IPV6)
	end, err := net.InterfaceByName("host")
	if err == nil {
		err = network{mac: mac, address: prefixes("10.0.0.17/24", "2001:db8::17/64")}.guard(end.Index)
	}
	if err != nil {
		t.Fatal(err)
	}
	frame4, frame6 := ip4(ownMAC, own4, "06", 5, "0000", "12340050"), ip6(ownMAC, own6, "06", "12340050")
	last := ip4(ownMAC, own4, "06", 5, "0000", "12340051")
	awaitPath(t, program, host4, last)
	for name, frame := range map[string]string{
		"VLAN tag":                 frame4[:24] + "81000001" + frame4[24:],
		"VLAN tag, priority only":  frame4[:24] + "81000000" + frame4[24:],
		"VLAN tag, of a provider":  frame4[:24] + "88a80001" + frame4[24:],
		"VLAN tag, IPv6":           frame6[:24] + "81000001" + frame6[24:],
		"IPv4, cut off":            frame4[:66],
		"IPv4, without an address": frame4[:58],
		"IPv4, without a header":   frame4[:28],
		"IPv6, cut off":            frame6[:106],
		"IPv6, without an address": frame6[:70],
		"IPv6, without a header":   frame6[:28],
	} {
		for _, f := range []string{frame, last} {
			data, _ := hex.DecodeString(f)
			if _, err := unix.Write(program, data); err != nil {
				t.Fatal(name, err)
			}
		}
		buf := make([]byte, 100)
		for got := ""; got != last; {
			n, _, err := unix.Recvfrom(host4, buf, 0)
			if err != nil {
				t.Fatal(name, err)
			}
			if got = hex.EncodeToString(buf[:n]); got != last {
				t.Errorf("%s: passes, as %s", name, got)
			}
		}
		if n, _, err := unix.Recvfrom(host6, buf, unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("%s: passes, as %x (%v)", name, buf[:max(n, 0)], err)
		}
	}
}

// awaitPath waits until frames arrive: until the kernel has noticed the carrier they are
// dropped.
func awaitPath(t *testing.T, from, to int, frame string) {
	t.Helper()
	data, _ := hex.DecodeString(frame)
	buf := make([]byte, 100)
	for range 10000 {
		if _, err := unix.Write(from, data); err != nil {
			t.Fatal(err)
		}
		if _, _, err := unix.Recvfrom(to, buf, unix.MSG_DONTWAIT); err == nil {
			for ; err == nil; _, _, err = unix.Recvfrom(to, buf, unix.MSG_DONTWAIT) {
			}
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no frame arrives")
}

// packetSocket brings an interface up and binds a packet socket to it.
func packetSocket(t *testing.T, name string, protocol uint16) int {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol<<8 | protocol>>8, Ifindex: link.Attrs().Index}),
	); err != nil {
		t.Fatal(err)
	}
	return fd
}

// Of a family that the program has no address of, nothing passes.
func TestStrictFilterOfOneFamily(t *testing.T) {
	mac, _ := hex.DecodeString(ownMAC)
	frame4, frame6 := arp(ownMAC, ownMAC, own4), ip6(ownMAC, own6, "06", "12340050")
	prog := strictProgram(t, network{mac: mac, address: prefixes("10.0.0.17/24")})
	if !passes(t, prog, frame4) || passes(t, prog, frame6) {
		t.Error("IPv4 only")
	}
	prog = strictProgram(t, network{mac: mac, address: prefixes("2001:db8::17/64")})
	if passes(t, prog, frame4) || passes(t, prog, ip4(ownMAC, own4, "06", 5, "0000", "")) || !passes(t, prog, frame6) {
		t.Error("IPv6 only")
	}
}

// A hardware address with high bits is compared as it is.
func TestStrictFilterOfAnyMAC(t *testing.T) {
	for _, mac := range []string{"fe63ffffffff", "0200000080ff", "aabbccddeeff"} {
		address, _ := hex.DecodeString(mac)
		prog := strictProgram(t, network{mac: net.HardwareAddr(address), address: prefixes("192.168.255.250/24")})
		if !passes(t, prog, arp(mac, mac, "c0a8fffa")) || passes(t, prog, arp(mac, mac, "c0a8fffb")) {
			t.Errorf("%s", mac)
		}
	}
}

func strictProgram(t *testing.T, n network) *ebpf.Program {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: n.filter()})
	if (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) && os.Geteuid() != 0) && os.Getenv("CONTAIN_TEST_REQUIRED") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })
	return prog
}

// passes has the kernel run the filter on a frame.
func passes(t *testing.T, prog *ebpf.Program, frame string) bool {
	t.Helper()
	data, err := hex.DecodeString(frame)
	if err != nil {
		t.Fatal(err)
	}
	verdict, _, err := prog.Test(data)
	if err != nil {
		t.Fatal(err)
	}
	return verdict == uint32(tcPass)
}
