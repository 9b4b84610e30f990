package main

import (
	"encoding/hex"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
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

func ip6(mac, source, next, payload string) string {
	return everyone + mac + "86dd" + "60000000" + "0020" + next + "ff" + source + other6 + payload
}

func arp(mac, sender, ip string) string {
	return everyone + mac + "0806" + "0001080006040001" + sender + ip + "000000000000" + other4
}

// Through the filter goes what is the program's own, and nothing that takes another's
// address, says to be a router or serves addresses.
func TestStrictFilter(t *testing.T) {
	na := func(target string) string { return "8800000000000000" + target }
	tests := []struct {
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
		{"UDP, cut off", ip4(ownMAC, own4, "11", 5, "0000", ""), true},
		{"ICMP", ip4(ownMAC, own4, "01", 5, "0000", "08000000"), true},

		{"TCP 6", ip6(ownMAC, own6, "06", "02230050"), true},
		{"TCP 6, another's address", ip6(ownMAC, other6, "06", "12340050"), false},
		{"TCP 6, no address", ip6(ownMAC, none6, "06", "12340050"), false},
		{"UDP 6", ip6(ownMAC, own6, "11", "02220223"), true},
		{"DHCPv6 server", ip6(ownMAC, own6, "11", "02230222"), false},
		{"echo 6", ip6(ownMAC, own6, "3a", "8000000000000000"), true},
		{"solicitation", ip6(ownMAC, own6, "3a", "8700000000000000"+other6), true},
		{"solicitation, no address", ip6(ownMAC, none6, "3a", "8700000000000000"+other6), false},
		{"advertisement", ip6(ownMAC, own6, "3a", na(own6)), true},
		{"advertisement, another's address", ip6(ownMAC, own6, "3a", na(other6)), false},
		{"router advertisement", ip6(ownMAC, own6, "3a", "8600000000000000"), false},
		{"redirect", ip6(ownMAC, own6, "3a", "8900000000000000"), false},
		{"listener query", ip6(ownMAC, own6, "3a", "8200000000000000"), false},
		{"listener report", ip6(ownMAC, none6, "00", "3a00050200000100"+"8f000000"), true},
		{"TCP 6, hop-by-hop", ip6(ownMAC, own6, "00", "0600050200000100"+"12340050"), false},
		{"router advertisement, hop-by-hop", ip6(ownMAC, own6, "00", "3a00050200000100"+"86000000"), false},
		{"router advertisement, longer hop-by-hop", ip6(ownMAC, own6, "00", "3a01050200000100"+"8f00000000000000"+"86000000"), false},
		{"router advertisement, destination options", ip6(ownMAC, own6, "3c", "3a00010400000000"+"86000000"), false},
		{"router advertisement, fragment", ip6(ownMAC, own6, "2c", "3a00000100000000"+"86000000"), false},
		{"TCP 6, fragment", ip6(ownMAC, own6, "2c", "0600000100000000"+"12340050"), true},
		{"DHCPv6 server, fragment", ip6(ownMAC, own6, "2c", "1100000100000000"+"02230222"), false},
		{"UDP 6, later fragment", ip6(ownMAC, own6, "2c", "1100000800000000"+"02230222"), true},

		{"VLAN tag", everyone + ownMAC + "8100" + "0001" + "0800" + "45", false},
		{"spanning tree", "0180c2000000" + ownMAC + "0026" + "424203", false},
	}
	mac, _ := hex.DecodeString(ownMAC)
	prog := strictProgram(t, network{mac: mac, address: prefixes("10.0.0.17/24", "10.0.0.254/24", "2001:db8::17/64")})
	for _, test := range tests {
		if got := passes(t, prog, test.frame); got != test.pass {
			t.Errorf("%s: passes %v, want %v", test.name, got, test.pass)
		}
	}
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
