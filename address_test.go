package main

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	tests := []struct{ in, want string }{
		{"192.168.2.17/24", "192.168.2.17/24"},
		{"172.17.0.99/24", "172.17.0.99/24"},
		{"172.17.1.0/16", "172.17.1.0/16"},
		{"10.0.0.1/8", "10.0.0.1/8"},
		{"1.2.3.4/1", "1.2.3.4/1"},
		{"169.254.1.1/16", "169.254.1.1/16"},
		{"10.0.0.0/31", "10.0.0.0/31"},
		{"10.0.0.1/31", "10.0.0.1/31"},
		{"10.0.0.1/30", "10.0.0.1/30"},
		{"10.0.0.2/30", "10.0.0.2/30"},
		{"10.0.0.0/32", "10.0.0.0/32"},
		{"10.0.0.255/32", "10.0.0.255/32"},
		{"192.168.1.0/16", "192.168.1.0/16"},
		{"192.168.1.255/16", "192.168.1.255/16"},
		{"2001:db8::17/64", "2001:db8::17/64"},
		{"2001:DB8:0:0:0:0:0:17/64", "2001:db8::17/64"},
		{"2001:db8::ffff:ffff:ffff:ffff/64", "2001:db8::ffff:ffff:ffff:ffff/64"},
		{"2001:db8::/127", "2001:db8::/127"},
		{"2001:db8::/128", "2001:db8::/128"},
		{"fd00::1/8", "fd00::1/8"},
	}
	for _, test := range tests {
		got, err := parseAddress(test.in)
		if got.String() != test.want || err != nil {
			t.Errorf("parseAddress(%q) = %v, %v; want %s", test.in, got, err, test.want)
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	tests := []struct {
		want   string
		inputs []string
	}{
		{"empty address", []string{""}},
		{"not an address, such as 192.168.2.17/24", []string{
			"300.1.1.1/24", "1.2.3/24", "1.2.3.4.5/24", "172.017.0.9/24", "0xac.1.1.1/8", "2886729737/24",
			" 172.17.0.9/24", "172.17.0.9 /24", "172.17.0.9\n/24", "/24", "/", "eth0", "localhost/8",
			"10.0.0.1,10.0.0.2/24", "172.17.0.9\x00/24", "１０.0.0.1/8", "\xff/24",
			"2001:db8::17%eth0/64", "fe80::1%eth0/64", "fe80::1%1", "2001:db8:::1/64", "2001:db8::1::2/64", "[2001:db8::1]/64", "12345::/16",
			strings.Repeat("1", 1<<20), strings.Repeat("1", 1<<20) + "/24",
		}},
		{"prefix length is missing, such as 172.17.0.99/24", []string{"172.17.0.99"}},
		{`"" is not a prefix length of 1 to 32`, []string{"172.17.0.99/"}},
		{`"33" is not a prefix length of 1 to 32`, []string{"172.17.0.99/33"}},
		{`"-1" is not a prefix length of 1 to 32`, []string{"172.17.0.99/-1"}},
		{`"+24" is not a prefix length of 1 to 32`, []string{"172.17.0.99/+24"}},
		{`"024" is not a prefix length of 1 to 32`, []string{"172.17.0.99/024"}},
		{`"00" is not a prefix length of 1 to 32`, []string{"172.17.0.99/00"}},
		{`"abc" is not a prefix length of 1 to 32`, []string{"172.17.0.99/abc"}},
		{`"24/24" is not a prefix length of 1 to 32`, []string{"172.17.0.99/24/24"}},
		{`"24 " is not a prefix length of 1 to 32`, []string{"172.17.0.99/24 "}},
		{`"24\n" is not a prefix length of 1 to 32`, []string{"172.17.0.99/24\n"}},
		{`"24x" is not a prefix length of 1 to 32`, []string{"172.17.0.99/24x"}},
		{`"24,10.0.0.1/8" is not a prefix length of 1 to 32`, []string{"172.17.0.99/24,10.0.0.1/8"}},
		{`"255.255.255.0" is not a prefix length of 1 to 32`, []string{"172.17.0.99/255.255.255.0"}},
		{`"129" is not a prefix length of 1 to 128`, []string{"2001:db8::17/129"}},
		{"prefix length 0 is not one of 1 to 32", []string{"172.17.0.99/0"}},
		{"prefix length 0 is not one of 1 to 128", []string{"2001:db8::17/0"}},
		{"IPv4-mapped IPv6 address; write it as IPv4", []string{"::ffff:172.17.0.9/120", "::ffff:ac11:9/120", "::ffff:127.0.0.1/128"}},
		{"is the unspecified address", []string{"0.0.0.0/24", "0.0.0.0/0", "0.0.0.0/32", "::/0", "::/64", "::/128"}},
		{"is a loopback address", []string{"127.0.0.1/8", "127.255.0.1/32", "::1/128", "::1/64"}},
		{"is a multicast address", []string{"224.0.0.1/4", "239.255.255.255/32", "ff02::1/16", "ff00::/8"}},
		{"is a link-local address", []string{"fe80::1/64", "fe80::/64", "febf::1/10"}},
		{"is a reserved address", []string{"240.0.0.1/4", "255.255.255.255/24", "255.255.255.255/32"}},
		{`is an address of "this network"`, []string{"0.0.0.1/8", "0.1.2.3/24"}},
		{"is the network address of 172.17.0.0/24", []string{"172.17.0.0/24"}},
		{"is the network address of 10.0.0.4/30", []string{"10.0.0.4/30"}},
		{"is the broadcast address of 172.17.0.0/24", []string{"172.17.0.255/24"}},
		{"is the broadcast address of 172.16.0.0/15", []string{"172.17.255.255/15"}},
		{"is the broadcast address of 10.0.0.4/30", []string{"10.0.0.7/30"}},
		{"is the router anycast address of 2001:db8::/64", []string{"2001:db8::/64"}},
		{"is the router anycast address of 2001:db8::4/126", []string{"2001:db8::4/126"}},
	}
	for _, test := range tests {
		for _, in := range test.inputs {
			_, err := parseAddress(in)
			if text(err) != test.want {
				t.Errorf("parseAddress(%s): %q, want %q", quoted(in), text(err), test.want)
			}
		}
	}
}

func TestParseAddressErrorIsShort(t *testing.T) {
	_, err := parseAddress("10.0.0.1/" + strings.Repeat("1", 1<<20))
	if err == nil || len(err.Error()) > 500 {
		t.Errorf("no error, or one of %d bytes", len(text(err)))
	}
}

func TestCheckInterfaceName(t *testing.T) {
	tests := []struct {
		want  string
		names []string
	}{
		{"", []string{"docker0", "br-0a1b2c3d4e5f", "123456789012345", "a", "...", "-x", ";id", "$(reboot)", "é", "0", "a%b"}},
		{"empty interface name", []string{""}},
		{"longer than the 15 characters of an interface name", []string{"1234567890123456", strings.Repeat("x", 1<<20), strings.Repeat("/", 16)}},
		{"not an interface name", []string{".", "..", "a/b", "/", "a b", " ", "a:b", "eth0:1", "a\tb", "a\n", "a\vb", "a\fb", "a\rb", "a\x00b"}},
	}
	for _, test := range tests {
		for _, name := range test.names {
			if got := text(checkInterfaceName(name)); got != test.want {
				t.Errorf("checkInterfaceName(%s): %q, want %q", quoted(name), got, test.want)
			}
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"192.168.2.17/24", "2001:db8::17/64", "10.0.0.0/31", "10.0.0.255/24", "fe80::1%eth0/64", "::ffff:1.2.3.4/120", "1.2.3.4/024", "0.0.0.0/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseAddress(s)
		if err != nil {
			return
		}
		want, err := netip.ParsePrefix(s)
		if err != nil || got != want {
			t.Fatalf("parseAddress(%q) = %v, net/netip: %v, %v", s, got, want, err)
		}
		ip := got.Addr()
		if !ip.IsGlobalUnicast() && !(ip.Is4() && ip.IsLinkLocalUnicast()) || ip.Is4In6() || got.Bits() == 0 {
			t.Errorf("parseAddress(%q) = %v: no address of a host", s, got)
		}
		host := ip.BitLen() - got.Bits()
		if host > 1 && ip == got.Masked().Addr() {
			t.Errorf("parseAddress(%q) = %v: the network's own address", s, got)
		}
		if next := ip.Next(); host > 1 && ip.Is4() && !got.Contains(next) {
			t.Errorf("parseAddress(%q) = %v: the broadcast address", s, got)
		}
	})
}

// A hardware address is taken as ip(8) prints it, if one host can have it.
func TestParseMAC(t *testing.T) {
	tests := []struct {
		want   string // the address, or the error
		inputs []string
	}{
		{"02:00:00:00:00:17", []string{"02:00:00:00:00:17"}},
		{"0a:1b:2c:3d:4e:5f", []string{"0a:1b:2c:3d:4e:5f", "0A:1B:2C:3D:4E:5F", "0a:1B:2c:3D:4e:5F"}},
		{"00:00:00:00:00:01", []string{"00:00:00:00:00:01"}},
		{"fe:ff:ff:ff:ff:ff", []string{"fe:ff:ff:ff:ff:ff"}},
		{"not a hardware address, such as 02:00:00:00:00:17", []string{
			"", "02", "02-00-00-00-00-17", "0200.0000.0017", "02:00:00:00:00:17:", "02:00:00:00:00:17\n", " 02:00:00:00:00:17",
			"2:0:0:0:0:17", "02:00:00:00:17", "02:00:00:00:00:00:00:17", "02:00:5e:10:00:00:00:01", "0g:00:00:00:00:17", "172.17.0.1",
			"00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01", "02:00:00:00:00:1７", strings.Repeat("02:", 1<<18) + "02",
		}},
		{"is a multicast address", []string{"01:00:5e:00:00:01", "33:33:00:00:00:01", "ff:ff:ff:ff:ff:ff", "03:00:00:00:00:00"}},
		{"is no address", []string{"00:00:00:00:00:00"}},
	}
	for _, test := range tests {
		for _, in := range test.inputs {
			mac, err := parseMAC(in)
			got := mac.String()
			if err != nil {
				got = err.Error()
			}
			if got != test.want || (err == nil) != (len(mac) == 6) {
				t.Errorf("parseMAC(%s) = %v, %v; want %s", quoted(in), mac, err, test.want)
			}
		}
	}
}

// An MTU is one that an Ethernet interface can have.
func TestParseMTU(t *testing.T) {
	const not, large = "not a number of bytes, such as 1500", "too large, the most is 65535"
	tests := []struct {
		in   string
		want int
		err  string
	}{
		{"68", 68, ""}, {"576", 576, ""}, {"1500", 1500, ""}, {"9000", 9000, ""}, {"65535", 65535, ""},
		{"67", 0, "too small, the least is 68"}, {"0", 0, "too small, the least is 68"}, {"1", 0, "too small, the least is 68"},
		{"65536", 0, large}, {strings.Repeat("9", 1<<20), 0, large},
		{"", 0, not}, {"-1500", 0, not}, {"+1500", 0, not}, {"1500.0", 0, not}, {"1.5k", 0, not}, {"0x5dc", 0, not}, {" 1500", 0, not}, {"1500\n", 0, not}, {"1_500", 0, not},
	}
	for _, test := range tests {
		got, err := parseMTU(test.in)
		if got != test.want && err == nil || text(err) != test.err {
			t.Errorf("parseMTU(%s) = %d, %v; want %d, %q", quoted(test.in), got, err, test.want, test.err)
		}
	}
}

// A gateway is one address that a router can have, without a prefix length.
func TestParseGateway(t *testing.T) {
	const not, never = "not an address, or none", "not the address of a router"
	for in, want := range map[string]string{
		"172.17.0.1": "", "10.0.0.0": "", "2001:db8::1": "", "169.254.1.1": "", "fe80::1": "",
		"": not, "172.17.0.1/24": not, "NONE": not, " none": not, "none ": not, "172.017.0.1": not, "fe80::1%eth0": not, "::ffff:172.17.0.1": not,
		"router": not, "1.2.3": not, "2001:db8::1\n": not, strings.Repeat("1", 1<<20): not,
		"0.0.0.0": never, "::": never, "127.0.0.1": never, "::1": never, "224.0.0.1": never, "ff02::2": never,
	} {
		got, err := parseGateway(in)
		if text(err) != want || err == nil && got.String() != in {
			t.Errorf("parseGateway(%s) = %v, %v; want %q", quoted(in), got, err, want)
		}
	}
}

// The program's interface can have any name that the kernel takes as it is, save that
// of the loopback one.
func TestCheckProgramInterface(t *testing.T) {
	for name, want := range map[string]string{
		"eth0": "", "net": "", "lo0": "", "Lo": "", "a": "", "123456789012345": "", "-x": "", "...": "", "é": "",
		"lo":  "is the loopback interface",
		"all": "not an interface name", "default": "not an interface name",
		"a%b": "not an interface name", "eth%d": "not an interface name", "%": "not an interface name",
		"":    "empty interface name",
		"a/b": "not an interface name", ".": "not an interface name", "..": "not an interface name", "a b": "not an interface name", "eth0:1": "not an interface name", "a\x00": "not an interface name",
		"1234567890123456": "longer than the 15 characters of an interface name",
	} {
		if got := text(checkProgramInterface(name)); got != want {
			t.Errorf("checkProgramInterface(%q): %q, want %q", name, got, want)
		}
	}
}
