// Fuzz tests of everything that is read from users and from DIR. The oracles are
// the kernel where it can be asked, else a second reading of the text: by regular
// expressions, exact arithmetic, net/netip and debug/elf.
//
//	go test -fuzz '^FuzzSize$' -fuzztime 75s .

package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// addAll seeds a fuzz target of one string, with some that are wrong for each.
func addAll(f *testing.F, seeds ...string) {
	for _, s := range append(seeds, "", "-1", "0", "\n", "\x00", "\xff", "x y", "１", strings.Repeat("9", 41)) {
		f.Add(s)
	}
}

// wantClean checks the text of an error: what is foreign in it is quoted and cut.
func wantClean(t *testing.T, err error) {
	t.Helper()
	s := text(err)
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) || len(s) > 1500 {
		t.Errorf("error of %d bytes: %s", len(s), quoted(s))
	}
}

var (
	two52    = new(big.Rat).SetInt64(1 << 52)
	sizeText = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(?: ?(?:([kKmMgGtTpP])(?:[iI]?[bB])?|[bB]))?$`)
)

// exactly multiplies a number without sign by unit; nil is no number, or one too long.
func exactly(number string, unit int64) *big.Rat {
	v, ok := new(big.Rat).SetString(number)
	if !ok || len(number) > 40 {
		return nil
	}
	return v.Mul(v, new(big.Rat).SetInt64(unit))
}

// exactSize reads a size, or returns nil.
func exactSize(s string) *big.Rat {
	m := sizeText.FindStringSubmatch(s)
	if m == nil {
		return nil
	}
	power := 0
	if m[2] != "" {
		power = 1 + strings.Index("KMGTP", strings.ToUpper(m[2]))
	}
	return exactly(m[1], 1<<(10*power))
}

// between tells whether v is in the range, and whether a float64 can tell.
func between(v *big.Rat, least, most int64) (in, sure bool) {
	if v == nil {
		return false, true
	}
	sure = true
	for _, n := range []int64{least, most} {
		limit := new(big.Rat).SetInt64(n)
		diff := new(big.Rat).Sub(v, limit)
		sure = sure && (diff.Sign() == 0 || diff.Abs(diff).Cmp(limit.Quo(limit, two52)) > 0)
	}
	return v.Cmp(new(big.Rat).SetInt64(least)) >= 0 && v.Cmp(new(big.Rat).SetInt64(most)) <= 0, sure
}

// cutTo tells whether got is v without its fraction, as far as a float64 can tell.
// A whole number that fits into one must be exact.
func cutTo(got int64, v *big.Rat) bool {
	diff := new(big.Rat).Sub(v, new(big.Rat).SetInt64(got))
	if v.IsInt() && v.Cmp(two52) < 0 {
		return diff.Sign() == 0
	}
	precision := new(big.Rat).Quo(v, two52)
	one := new(big.Rat).SetInt64(1)
	return diff.Cmp(new(big.Rat).Neg(precision)) >= 0 && diff.Cmp(one.Add(one, precision)) < 0
}

// wantNumber compares what a parser made of s with its value v.
func wantNumber(t *testing.T, s string, got int64, err error, v *big.Rat, least, most int64) {
	t.Helper()
	wantClean(t, err)
	in, sure := between(v, least, most)
	switch {
	case in != (err == nil) && sure:
		t.Errorf("%q: %d, %v; it is %v", s, got, err, v)
	case err != nil && got != 0:
		t.Errorf("%q: %d with error %v", s, got, err)
	case err == nil && (got < least || got > most || !cutTo(got, v)):
		t.Errorf("%q: %d, want %v", s, got, v)
	}
}

func FuzzSize(f *testing.F) {
	addAll(f, "128M", "128 MiB", "1.5G", "65536", "0.4", "0.5B", "1B", "4095", "4096", "4095.9999999999999999", "0.99999999999999999999",
		"9223372036854775807", "9223372036854775808", "18446744073709551615", "99999999P", "1024P", "1024.0000000000001P", "1152921504606846977",
		"1025P", "2048P", "8E", "128Q", "128Mi", "128iB", "128MBB", "50%", "128 ", "128  M", "abc", "M", "max", "NaN", "Inf", "0x10", "1e3", "1_000", "+5M", ".5M", "1.", "12,5M", "1.2.3M",
		" 128M", "128M\n", "١٢٨M", "128\u212a", "128\x00M", "-1M", "-0", "0.0P", "0 B", "9007199254740993", "0.1T", "123456789.123456789G")
	page := int64(os.Getpagesize())
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseSize(s)
		wantNumber(t, s, got, err, exactSize(s), 1, maxSize)
		memory, memoryErr := parseMemory(s)
		if fits := err == nil && got >= page; fits != (memoryErr == nil) || fits && memory != got || !fits && memory != 0 {
			t.Errorf("parseMemory(%q) = %d, %v; parseSize: %d, %v", s, memory, memoryErr, got, err)
		}
	})
}

// kernelCPUs makes a cpuset of the test's own, where one is to be had, and returns
// its parent's CPUs and a function that writes to it and reads it back.
func kernelCPUs(f *testing.F) (cpus cpuSet, ask func(string) (string, error)) {
	for parent, name := range map[string]string{"/sys/fs/cgroup/cpuset": "cpuset.effective_cpus", "/sys/fs/cgroup": "cpuset.cpus.effective"} {
		list, err := os.ReadFile(filepath.Join(parent, name))
		if err != nil {
			continue
		}
		dir := filepath.Join(parent, fmt.Sprintf("contain-fuzz-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		f.Cleanup(func() { _ = os.Remove(dir) })
		// Only v1 has it: the machine's scheduler has nothing to do with this.
		_ = os.WriteFile(filepath.Join(dir, "cpuset.sched_load_balance"), []byte("0"), 0)
		at := filepath.Join(dir, "cpuset.cpus")
		ask = func(s string) (string, error) {
			if err := os.WriteFile(at, []byte(s), 0); err != nil {
				return "", err
			}
			got, err := os.ReadFile(at)
			return strings.TrimSuffix(string(got), "\n"), err
		}
		cpus, _ = parseCPUs(strings.TrimSpace(string(list)))
		if got, err := ask(cpus.String()); err == nil && got == cpus.String() {
			return cpus, ask
		}
	}
	f.Log("no cpuset to compare with")
	return nil, nil
}

var listElement = regexp.MustCompile(`^([0-9]+)(?:-([0-9]+))?$`)

// exactCPUs reads a list, or returns nil.
func exactCPUs(s string) cpuSet {
	var set cpuSet
	for _, element := range strings.Split(s, ",") {
		m := listElement.FindStringSubmatch(element)
		if m == nil {
			return nil
		}
		if m[2] == "" {
			m[2] = m[1]
		}
		low, _ := new(big.Int).SetString(m[1], 10)
		high, _ := new(big.Int).SetString(m[2], 10)
		if high.Cmp(low) < 0 || high.Cmp(big.NewInt(maxCPU)) > 0 {
			return nil
		}
		for cpu := int(low.Int64()); cpu <= int(high.Int64()); cpu++ {
			set = append(set, cpu)
		}
	}
	slices.Sort(set)
	return slices.Compact(set)
}

func FuzzCPUList(f *testing.F) {
	addAll(f, "1,3", "0-7", "3,5-7", "0,0,1,0-1", "1,0", "99", "0,99", "3-1", "1-0", "1-", "0--1", "1-2-3", ",", "0,,1", "0,", ",0", "0 1", "0;1", "0, 1", "0\n1",
		"all", "N", "0-N", "none", "0-1:1/2", "0x1", "1.0", "+1", "1e0", "4294967296", "4294967297", "18446744073709551616", "01", "00-0001", "0-1\n", "8191", "8192",
		strings.Repeat("0", 400)+"1", strings.Repeat("0,1,", 1100)+"0")
	cpus, ask := kernelCPUs(f)
	f.Fuzz(func(t *testing.T, s string) {
		set, err := parseCPUs(s)
		wantClean(t, err)
		if want := exactCPUs(s); !slices.Equal(set, want) || (err == nil) != (len(want) > 0) {
			t.Errorf("parseCPUs(%q) = %v, %v; want %v", s, set, err, want)
		}
		if ask != nil && err == nil && len(set.minus(cpus)) == 0 {
			got, err := ask(set.String())
			if err != nil || got != set.String() {
				t.Errorf("parseCPUs(%q): the kernel makes %q, %v of %q", s, got, err, set)
			}
			// It reads no more than some hundred characters (cpuset_write_resmask's file).
			if got, err := ask(s); !errors.Is(err, unix.E2BIG) && len(s) < 4096 && (err != nil || got != set.String()) {
				t.Errorf("parseCPUs(%q) = %s, the kernel: %q, %v", s, set, got, err)
			}
		}
		var any cpuSet // the bits of s
		for i := range min(8*len(s), maxCPU+1) {
			if s[i/8]>>(i%8)&1 != 0 {
				any = append(any, i)
			}
		}
		for _, set := range []cpuSet{set, any} {
			if again, err := parseCPUs(set.String()); len(set) > 0 && (err != nil || !slices.Equal(again, set)) {
				t.Errorf("%q is read as %v, %v, not %v", set, again, err, []int(set))
			}
		}
	})
}

// kind tells by arithmetic what an address is.
func kind(a netip.Addr) string {
	n := new(big.Int).SetBytes(a.AsSlice())
	top := func(bits int) uint64 { return new(big.Int).Rsh(n, uint(a.BitLen()-bits)).Uint64() }
	switch {
	case n.Sign() == 0:
		return "unspecified"
	case a.BitLen() == 32 && top(8) == 127, a.BitLen() == 128 && n.IsUint64() && n.Uint64() == 1:
		return "loopback"
	case a.BitLen() == 32 && top(4) == 14, a.BitLen() == 128 && top(8) == 0xff:
		return "multicast"
	case a.BitLen() == 32 && (top(8) == 0 || top(4) == 15):
		return "reserved"
	case a.BitLen() == 128 && top(10) == 0x3fa:
		return "link-local"
	case a.BitLen() == 128 && top(32) == 0 && top(64) == 0 && top(96) == 0xffff:
		return "mapped"
	}
	return "host"
}

// place tells by arithmetic which address of its network one is.
func place(p netip.Prefix) string {
	if p.Addr().BitLen()-p.Bits() < 2 {
		return "host"
	}
	size := new(big.Int).Lsh(big.NewInt(1), uint(p.Addr().BitLen()-p.Bits()))
	n := new(big.Int).SetBytes(p.Addr().AsSlice())
	n.Mod(n, size)
	switch {
	case n.Sign() == 0:
		return "first"
	case n.Add(n, big.NewInt(1)).Cmp(size) == 0 && p.Addr().Is4():
		return "broadcast"
	}
	return "host"
}

// wantRouters compares what two parsers make of s with net/netip.
func wantRouters(t *testing.T, s string) (netip.Addr, error) {
	t.Helper()
	a, err := netip.ParseAddr(s)
	is := "nothing"
	if err == nil && a.Zone() == "" {
		is = kind(a)
	}
	one := slices.Contains([]string{"host", "reserved", "link-local"}, is)
	router, err := parseGateway(s)
	wantClean(t, err)
	if one != (err == nil) || one && router != a {
		t.Errorf("parseGateway(%q) = %v, %v; is %s", s, router, err, is)
	}
	server, serverErr := parseServer(s)
	wantClean(t, serverErr)
	if one := one || is == "loopback"; one != (serverErr == nil) || one && server != a {
		t.Errorf("parseServer(%q) = %v, %v; is %s", s, server, serverErr, is)
	}
	return router, err
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"192.168.2.17/24", "172.17.0.99", "172.17.0.99/", "172.17.0.99/33", "172.17.0.99/-1", "172.17.0.99/24/24", "172.17.0.99/255.255.255.0",
		"172.17.0.99/024", "300.1.1.1/24", "1.2.3/24", "172.017.0.9/24", "0xac.1.1.1/8", " 10.0.0.1/8", "10.0.0.1/8\n", "10.0.0.1/8,10.0.0.2/8", "172.17.0.0/24",
		"172.17.0.255/24", "10.0.0.0/30", "10.0.0.3/30", "10.0.0.0/31", "10.0.0.1/31", "10.0.0.1/32", "10.0.0.1/0", "0.0.0.0/24", "0.1.2.3/8", "255.255.255.255/24", "127.0.0.1/8", "224.0.0.1/4",
		"240.0.0.1/4", "169.254.1.1/16", "2001:db8::5/64", "2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff/64", "fe80::1/64", "::/0", "::1/128", "::2/127", "ff02::1/16",
		"fe80::1%eth0/64", "::ffff:172.17.0.9/120", "::1.2.3.4/96", "1::/128", ""} {
		host, _, _ := strings.Cut(s, "/")
		f.Add(s, host)
		f.Add(s, "172.17.0.255")
		f.Add("172.17.0.99/24", host)
	}
	f.Fuzz(func(t *testing.T, s, router string) {
		want, err := netip.ParsePrefix(s)
		good := err == nil && want.Bits() > 0 && kind(want.Addr()) == "host" && place(want) == "host"
		got, err := parseAddress(s)
		wantClean(t, err)
		if good != (err == nil) || good && got != want {
			t.Fatalf("parseAddress(%q) = %v, %v; net/netip: %v", s, got, err, want)
		}
		if good && got.Addr().Is4() && got.String() != s { // which has one form only
			t.Errorf("parseAddress(%q) = %v", s, got)
		}
		gateway, err := wantRouters(t, router)
		if !good || err != nil {
			return
		}
		at := place(netip.PrefixFrom(gateway, want.Bits()))
		reached := want.Masked().Contains(gateway) && (at == "host" || gateway.Is6())
		if want.IsSingleIP() { // it is on the link
			reached = gateway.Is4() == want.Addr().Is4()
		}
		reached = reached && gateway != want.Addr()
		err = (&network{address: []netip.Prefix{want}, gateways: []netip.Addr{gateway}}).checkGateways()
		wantClean(t, err)
		if reached != (err == nil) {
			t.Errorf("%s via %s: %v", s, router, err)
		}
	})
}

// exactRlimit reads a value of a limit, or returns nil.
func exactRlimit(s string, size bool) *big.Rat {
	infinity := new(big.Rat).SetInt(new(big.Int).SetUint64(unix.RLIM_INFINITY))
	if s == "unlimited" || s == "-1" {
		return infinity
	}
	if s != "" && strings.Trim(s, "0123456789") == "" {
		v, _ := new(big.Rat).SetString(s)
		if v.Cmp(new(big.Rat).SetInt64(1<<63-1)) > 0 {
			return nil
		}
		return v
	}
	v := exactSize(s)
	if in, sure := between(v, 1, maxSize); !size || !in && sure {
		return nil
	}
	return v
}

func FuzzRlimit(f *testing.F) {
	addAll(f, "nofile=1024", "nofile=1024:4096", "nofile=01", "nproc=10:unlimited", "nproc=-1", "as=128M", "as=4096:1.5G", "fsize=0", "as=9223372036854775807",
		"as=9223372036854775808", "as=18446744073709551615", "as=0.4", "as=0B", "nofile=1K", "nofile=2:1", "as=1G:1M", "core=0", "NOFILE=1", "nofile=1:2:3", "nofile=",
		"nofile=:", "nofile=1:", "nofile=+1", "nofile=-2", "nofile=1e3", "as=1 M", "as=1024P", "as=1152921504606846977B", "=1", "nofile=1\n")
	const sized = " as data fsize memlock msgqueue rss stack "
	const counted = " cpu locks nice nofile nproc rtprio rttime sigpending "
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseRlimit(s)
		wantClean(t, err)
		name, values, _ := strings.Cut(s, "=")
		soft, hard, both := strings.Cut(values, ":")
		if !both {
			hard = soft
		}
		size := strings.Contains(sized, " "+name+" ")
		known := strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") == "" && name != "" && (size || strings.Contains(counted, " "+name+" "))
		low, high := exactRlimit(soft, size), exactRlimit(hard, size)
		if err != nil {
			if known && low != nil && high != nil && low.Cmp(high) <= 0 {
				_, sureLow := between(low, 1, maxSize)
				_, sureHigh := between(high, 1, maxSize)
				// Nor can a float64 tell the order of two that are nearly the same.
				gap := new(big.Rat).Sub(high, low)
				if sureLow && sureHigh && (soft == hard || gap.Mul(gap, two52).Cmp(high) > 0) {
					t.Errorf("parseRlimit(%q): %v", s, err)
				}
			}
			return
		}
		if !known || low == nil || high == nil || got.name != name || got.soft > got.hard {
			t.Fatalf("parseRlimit(%q) = %+v; want %v to %v", s, got, low, high)
		}
		for n, v := range map[uint64]*big.Rat{got.soft: low, got.hard: high} {
			if n == unix.RLIM_INFINITY && v.FloatString(0) != fmt.Sprint(n) || n != unix.RLIM_INFINITY && !cutTo(int64(n), v) {
				t.Errorf("parseRlimit(%q) = %+v; want %v to %v", s, got, low, high)
			}
		}
		if again, err := parseRlimit(name + "=" + got.String()); again != got || err != nil {
			t.Errorf("parseRlimit(%q): %s is read as %+v, %v", s, got, again, err)
		}
	})
}

// ioText writes a limit as the user would.
func ioText(l ioLimit) string {
	var parts []string
	for _, one := range []struct {
		key string
		n   uint64
	}{{"rbps", l.rbps}, {"wbps", l.wbps}, {"riops", l.riops}, {"wiops", l.wiops}} {
		if one.n != 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", one.key, one.n))
		}
	}
	return l.device + ":" + strings.Join(parts, ",")
}

var ioPart = regexp.MustCompile(`^(?s:([rw])(bps|iops)=(.*))$`)

func FuzzIOLimit(f *testing.F) {
	addAll(f, "/dev/sda:wbps=10M", "8:0:rbps=2,wbps=1.5G,riops=2,wiops=4294967295", "8:0", "8:0:", ":rbps=2", "/a:rbps", "/a:rbps=", "/a:rbps=1", "/a:riops=1", "/a:riops=4294967296",
		"/a:riops=10K", "/a:bps=2", "/a:rbps=2,", "/a:,rbps=2", "/a:rbps=2,rbps=3", "/a:rbps=0.4", "/a:rbps=99999999P", "/a\n:rbps=2", "\xff:rbps=2", "/a:RBPS=2", "/a:riops=02", "4096:0:rbps=2")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseIOLimit(s)
		wantClean(t, err)
		split := strings.LastIndex(s, ":")
		good, certain := split > 0, true
		want := map[string]*big.Rat{}
		for _, part := range strings.Split(s[split+1:], ",") {
			m, most := ioPart.FindStringSubmatch(part), int64(1<<32-1)
			if m == nil {
				good = false
				break
			}
			v := exactSize(m[3])
			if m[2] == "bps" {
				most = maxSize
			} else if strings.Trim(m[3], "0123456789") != "" {
				v = nil
			} else if v == nil && m[3] != "" { // any number of zeros
				v, _ = new(big.Rat).SetString(m[3])
			}
			in, sure := between(v, 2, most)
			good, certain = good && (in || !sure), certain && sure
			want[m[1]+m[2]] = v
		}
		if good != (err == nil) && certain || !good && err == nil {
			t.Fatalf("parseIOLimit(%q) = %+v, %v; want %v", s, got, err, want)
		}
		if err != nil {
			return
		}
		for key, n := range map[string]uint64{"rbps": got.rbps, "wbps": got.wbps, "riops": got.riops, "wiops": got.wiops} {
			if v := want[key]; v == nil && n != 0 || v != nil && (n < 2 || !cutTo(int64(n), v)) {
				t.Errorf("parseIOLimit(%q) = %+v; want %v", s, got, want)
			}
		}
		if again, err := parseIOLimit(ioText(got)); again != got || err != nil || got.device != s[:split] {
			t.Errorf("parseIOLimit(%q): %+v is read as %+v, %v", s, got, again, err)
		}
	})
}

var numbersText = regexp.MustCompile(`^[0-9]+:[0-9]+$`)

// Of MAJOR:MINOR, dev_t has 12 and 20 bits.
func FuzzNumbers(f *testing.F) {
	addAll(f, "8:0", "08:00", "4095:1048575", "4096:0", "0:1048576", "8", ":", "8:", ":0", "8:0:0", "8:0\n", "+8:0", "-8:0", "8:0x1", "18446744073709551617:0", "1_0:0")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseNumbers(s)
		wantClean(t, err)
		var major, minor big.Int
		good := numbersText.MatchString(s)
		if good {
			first, second, _ := strings.Cut(s, ":")
			major.SetString(first, 10)
			minor.SetString(second, 10)
			good = major.BitLen() <= 12 && minor.BitLen() <= 20
		}
		if good != (err == nil) || good && (uint64(unix.Major(got)) != major.Uint64() || uint64(unix.Minor(got)) != minor.Uint64()) {
			t.Errorf("parseNumbers(%q) = %#x, %v", s, got, err)
		}
	})
}

// rateText writes a bandwidth as the user would.
func rateText(b bandwidth) string {
	var parts []string
	if b.Down != 0 {
		parts = append(parts, fmt.Sprintf("%dbit/down", b.Down))
	}
	if b.Up != 0 {
		parts = append(parts, fmt.Sprintf("%dbit/up", b.Up))
	}
	return strings.Join(parts, ":")
}

var rateForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([kKmMgG]?)bit(/down|/up|)$`)

func FuzzBandwidth(f *testing.F) {
	addAll(f, "10mbit", "10mbit/down", "10mbit/down:1mbit/up", "1mbit/up:1mbit/up", "10mbit:1mbit", "10mbit:1mbit/up", "/", ":", "10mbit/down:", "8kbit", "7999bit", "7999.9999999999999999bit",
		"1000gbit", "1000.0000000000001Gbit", "1001gbit", "10", "10mbps", "1e4bit", "-8kbit", "10MBIT", "10mbit/", "10mbit/down/up", "1mbit/up:2mbit/down:3mbit/up", "10mbit\n", "10 mbit", "0.29gbit", "2.01gbit", "1mbit/down:2mbit/down")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseBandwidth(s)
		wantClean(t, err)
		parts := strings.Split(s, ":")
		good, certain := true, true
		want := map[string]*big.Rat{}
		for _, part := range parts {
			m := rateForm.FindStringSubmatch(part)
			if m == nil || want[m[3]] != nil || m[3] == "" && len(parts) > 1 {
				good = false
				break
			}
			v := exactly(m[1], map[string]int64{"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[strings.ToLower(m[2])])
			in, sure := between(v, 8000, 1e12)
			good, certain = good && (in || !sure), certain && sure
			want[m[3]] = v
		}
		if good != (err == nil) && certain || !good && err == nil {
			t.Fatalf("parseBandwidth(%q) = %+v, %v", s, got, err)
		}
		if err != nil {
			return
		}
		if both := want[""]; both != nil {
			want["/down"], want["/up"] = both, both
		}
		// Of 2.01gbit one bit is lost: 2.01 is no float64.
		for direction, n := range map[string]uint64{"/down": got.Down, "/up": got.Up} {
			if v := want[direction]; v == nil && n != 0 || v != nil && (n < 8000 || n > 1e12 || !cutTo(int64(n), v) && !(strings.Contains(s, ".") && cutTo(int64(n)+1, v))) {
				t.Errorf("parseBandwidth(%q) = %+v; want %v", s, got, want)
			}
		}
		if again, err := parseBandwidth(rateText(got)); again != got || err != nil {
			t.Errorf("parseBandwidth(%q): %+v is read as %+v, %v", s, got, again, err)
		}
	})
}

// validName is dev_valid_name() of net/core/dev.c, where isspace() is that of
// lib/ctype.c: of Latin-1.
func validName(name string) bool {
	if name == "" || len(name) >= unix.IFNAMSIZ || name == "." || name == ".." {
		return false
	}
	for _, c := range []byte(name) {
		if c == '/' || c == ':' || c >= '\t' && c <= '\r' || c == ' ' || c == 0xa0 || c == 0 {
			return false
		}
	}
	return true
}

// attachText writes an attachment as the user would.
func attachText(a attachment) string {
	if a.kind == netJoin || a.kind == netMacvlan || a.kind == netIPvlan {
		return a.kind + ":" + a.to
	}
	return a.kind
}

func FuzzAttachment(f *testing.F) {
	addAll(f, "none", "none:", "host", "bridge", "bridge:docker0", "netns:", "netns:/run/netns/blue", "netns:\n\xff", "netns:a:b", "macvlan:eth0", "macvlan:", "ipvlan:a/b", "ipvlan:a b", "macvlan:..",
		"macvlan:-x", "macvlan:é;$(id)", "macvlan:à", "macvlan:sixteen-letters-", "macvlan:fifteen-letters", "macvlan", "NONE", "container:x", "lo", "a%d", "eth0")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseAttachment(s)
		wantClean(t, err)
		kind, to, given := strings.Cut(s, ":")
		var good bool
		switch kind {
		case "none", "host", "bridge":
			good = !given
		case "netns":
			good = to != ""
		case "macvlan", "ipvlan":
			good = validName(to)
		}
		if good != (err == nil) || good && attachText(got) != s {
			t.Errorf("parseAttachment(%q) = %+v, %v", s, got, err)
		}
		for _, name := range []string{s, to} {
			if err := checkInterfaceName(name); validName(name) != (err == nil) {
				t.Errorf("checkInterfaceName(%q): %v", name, err)
			}
			if err := checkProgramInterface(name); (validName(name) && name != "lo" && !strings.Contains(name, "%")) != (err == nil) {
				t.Errorf("checkProgramInterface(%q): %v", name, err)
			}
		}
	})
}

var nameForm = regexp.MustCompile(`^[0-9A-Z_a-z](?:[-.0-9A-Z_a-z]*[0-9A-Z_a-z])?$`)

func FuzzHostName(f *testing.F) {
	addAll(f, "db:192.168.2.18", "db:2001:db8::1", "db", "db:", ":1.2.3.4", "a b:1.2.3.4", "a\nb:1.2.3.4", "db:1.2.3.4\n", "-a:1.2.3.4", "a-:1.2.3.4", "a.:1.2.3.4", "a..b:1.2.3.4", "é:1.2.3.4",
		"db:fe80::1%eth0", "db:::ffff:1.2.3.4", "db:127.0.0.1", "db:0.0.0.0", "db:224.0.0.1", "db:01.2.3.4", strings.Repeat("a", 254)+":::1", strings.Repeat("a", 255)+":::1")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseHostName(s)
		wantClean(t, err)
		name, address, _ := strings.Cut(s, ":")
		a, badAddress := netip.ParseAddr(address)
		good := nameForm.MatchString(name) && len(name) <= 254 && badAddress == nil && a.Zone() == "" &&
			slices.Contains([]string{"host", "reserved", "link-local", "loopback"}, kind(a))
		if good != (err == nil) || good && (got.name != name || got.ip != a) {
			t.Fatalf("parseHostName(%q) = %+v, %v", s, got, err)
		}
		if !good {
			return
		}
		if again, err := parseHostName(got.name + ":" + got.ip.String()); again != got || err != nil {
			t.Errorf("parseHostName(%q): %+v is read as %+v, %v", s, got, again, err)
		}
		lines := strings.Split(string(network{hosts: []hostName{got}}.contents()[1]), "\n")
		if len(lines) != 4 || !slices.Equal(strings.Fields(lines[2]), []string{got.ip.String(), name}) {
			t.Errorf("parseHostName(%q): the file is %q", s, lines)
		}
	})
}

var timeForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|)$`)

// timeText writes a time as the user would.
func timeText(d time.Duration) string { return fmt.Sprintf("%d.%06dms", d/1e6, d%1e6) }

// sameTime compares two times, as far as a float64 can tell.
func sameTime(a, b time.Duration) bool { return (a - b).Abs() <= a>>51 }

func FuzzDuration(f *testing.F) {
	addAll(f, "30s", "1.5m", "90", "0.5ms", "1ms", "0.9999999ms", "0.0009999999", "36500d", "36501d", "36500.00000000001d", "1m30s", "1e9", "30S", "1.2.3h", "9223372036854775808ms", "0.0000000004s",
		"0.0000000005s", "+1", ".5s", "1.", "1 s", "1s\n", "0x1", "1_0s", "1us", "1ns", "infinity", "NaN", "8.0400000005")
	units := map[string]int64{"ms": 1e6, "": 1e9, "s": 1e9, "m": 60e9, "h": 3600e9, "d": 86400e9}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseDuration(s)
		wantClean(t, err)
		var v *big.Rat
		if m := timeForm.FindStringSubmatch(s); m != nil {
			v = exactly(m[1], units[m[2]])
		}
		good, sure := between(v, 0, int64(maxDuration))
		if good != (err == nil) && sure || err != nil && got != 0 {
			t.Fatalf("parseDuration(%q) = %d, %v; is %v", s, got, err, v)
		}
		limit, limitErr := parseTimeLimit(s)
		wantClean(t, limitErr)
		if fits := err == nil && got >= time.Millisecond; fits != (limitErr == nil) || fits && limit != got || !fits && limit != 0 {
			t.Errorf("parseTimeLimit(%q) = %d, %v; parseDuration: %d, %v", s, limit, limitErr, got, err)
		}
		if err != nil {
			return
		}
		v.Add(v, big.NewRat(1, 2)) // it is rounded, and a half either way
		if got < 0 || got > maxDuration || !cutTo(int64(got), v) && !(v.IsInt() && cutTo(int64(got)+1, v)) {
			t.Errorf("parseDuration(%q) = %d, want %v", s, got, v)
		}
		if again, err := parseDuration(timeText(got)); err != nil && got < maxDuration || err == nil && !sameTime(again, got) {
			t.Errorf("parseDuration(%q): %s is read as %d, %v", s, timeText(got), again, err)
		}
	})
}

// render writes options as a command line.
func render(o options) []string {
	args := []string{"-chroot=" + o.rootfs, "-state-dir=" + o.stateDir, "-tty=" + o.tty,
		fmt.Sprintf("-check-address=%v", o.ask), fmt.Sprintf("-network-strict=%v", o.strict), fmt.Sprintf("-init=%v", o.init)}
	add := func(given bool, flag string, value any) {
		if given {
			args = append(args, flag, fmt.Sprint(value))
		}
	}
	add(o.report != "", "-report", o.report)
	add(o.memory != 0, "-memory-limit", o.memory)
	add(o.memorySoft != 0, "-memory-soft-limit", o.memorySoft)
	add(o.cpus != nil, "-cpu-core-ids", o.cpus)
	add(o.cpuQuota != 0, "-cpus", fmt.Sprintf("%d.%05d", o.cpuQuota/cpuPeriod, o.cpuQuota%cpuPeriod))
	add(o.cpuWeight != 0, "-cpu-weight", o.cpuWeight)
	add(o.pids != 0, "-pids-limit", o.pids)
	for _, l := range o.rlimits {
		add(true, "-ulimit", l.name+"="+l.String())
	}
	for _, l := range o.io {
		add(true, "-io-max", ioText(l))
	}
	add(o.bandwidth != bandwidth{}, "-network-bandwidth", rateText(o.bandwidth))
	add(o.wall != 0, "-timeout", timeText(o.wall))
	add(true, "-grace", timeText(o.grace))
	add(o.cpuTime != 0, "-cpu-time", timeText(o.cpuTime))
	add(o.attach.kind != netNone, "-network", attachText(o.attach))
	add(o.bridge != "docker0", "-bridge", o.bridge)
	for _, a := range o.address {
		add(true, "-network-address", a)
	}
	for _, a := range o.gateways {
		add(true, "-gateway", a)
	}
	add(o.noRoute, "-gateway", "none")
	add(o.mac != nil, "-network-mac", o.mac)
	add(o.mtu != 0, "-network-mtu", o.mtu)
	add(o.name != defaultInterface, "-network-name", o.name)
	for _, a := range o.dns {
		add(true, "-dns", a)
	}
	for _, h := range o.hosts {
		add(true, "-hosts", h.name+":"+h.ip.String())
	}
	return append(append(append(args, renderPrivileges(o)...), "--"), o.argv...)
}

// renderPrivileges returns the flags of privileges and surroundings.
func renderPrivileges(o options) (args []string) {
	add := func(given bool, flag, value string) {
		if given {
			args = append(args, flag+"="+value)
		}
	}
	for flag, c := range map[string]capChange{"-cap-add": o.capAdd, "-cap-drop": o.capDrop} {
		for _, name := range c.set.names() {
			add(!c.all, flag, name)
		}
		add(c.all, flag, "all")
	}
	add(o.calls.profile != "", "-seccomp", o.calls.profile)
	add(o.calls.compat, "-allow-32bit", "true")
	add(o.newPrivs, "-allow-new-privs", "true")
	add(o.readOnly, "-read-only", "true")
	add(o.untrusted, "-allow-untrusted-root", "true")
	add(o.print, "-print-config", "true")
	add(true, "-user", fmt.Sprintf("%d:%d", o.user.uid, o.user.gid))
	add(o.idsText != "", "-userns", string(o.idsText))
	for _, d := range o.devices {
		add(true, "-device", d.path+":"+d.permissions)
	}
	for _, path := range o.unmask {
		add(true, "-unmask", path)
	}
	for name, value := range o.sysctl {
		add(true, "-sysctl", name+"="+value)
	}
	for _, v := range o.env {
		add(true, "-env", v)
	}
	add(o.workdir != "", "-workdir", o.workdir)
	add(o.hostname != "", "-hostname", o.hostname)
	return args
}

// optionSeeds are command lines, with spaces for the NULs between arguments.
var optionSeeds = []string{
	"-chroot / p", "chroot / p -x", "-chroot=/ -- -x", "-chroot / --", "-chroot", "-chroot= p", "--chroot / --memory-limit=1G p", "-chroot / -memory-limit 99999999P p", "-chroot / -memory-limit 1M -memory-limit 128M p",
	"-chroot / -memory-limit 1G -memory-soft-limit 2G p", "-chroot / -cpu-coreids 1,0 -cpu-core-ids 0\n1 p", "-chroot / -cpus 0.01 -cpu-weight 100 -pids-limit 4194304 p", "-chroot / -cpus 1e3 p",
	"-chroot / -ulimit nofile=1:2 -ulimit nofile=3 -virtual-memory-limit 1G -ulimit as=1:2 p", "-chroot / -io-max 8:0:rbps=2 -io-max /a:wiops=5 p", "-chroot / -timeout 30s -grace 0 -cpu-time 1.5h p",
	"-chroot / -network-address 10.0.0.2/24 -gateway 10.0.0.1 -network-name a -network-mac 02:00:00:00:00:17 -network-mtu 1280 -network-bandwidth 10mbit/down p", "-chroot / -gateway 10.0.0.1 p",
	"-chroot / -network-address 10.0.0.2/24 -gateway 10.0.0.255 p", "-chroot / -network-address 10.0.0.2/24 -gateway none -network-strict -bridge br9 -check-address=false p", "-chroot / -network-address 2001:db8::2/64 -network-mtu 1279 p",
	"-chroot / -network macvlan:eth0 -network-address 10.0.0.2/24 -network-bandwidth 8kbit/up p", "-chroot / -network netns:/a p", "-chroot / -network host -bridge b p", "-chroot / -bridge é;$(id) p", "-chroot / -bridge $(reboot)\x1b[31m p",
	"-chroot / -dns 10.0.0.1 -dns ::2 -hosts db:10.0.0.3 p", "-chroot / -tty maybe p", "-chroot / -tty=always -init=false -report fd:3 p", "-chroot / -init=maybe\n p", "-report x -foo -chroot", "-foo\nbar\xff", "-=x", "---", "-h", "-version x",
	"init", "-foo -report", "-chroot / -state-dir  p", "-chroot -bridge p",
}

func FuzzOptions(f *testing.F) {
	for _, s := range []string{"-chroot / -user 5 -read-only -cap-add SYS_NICE -cap-drop ALL -userns=7:70000 -device /dev/fuse:r -env A=b -env PATH=/x -workdir /y -hostname h p",
		"-chroot / -seccomp none -allow-32bit -allow-new-privs -allow-untrusted-root -print-config -unmask ALL -sysctl net.a=1 -cap-add all p", "-chroot / -user 1:2 -userns p"} {
		f.Add(strings.ReplaceAll(s, " ", "\x00"))
	}
	for _, s := range optionSeeds {
		f.Add(strings.ReplaceAll(s, " ", "\x00"))
	}
	f.Add("-" + strings.Repeat("x", 5000))
	f.Add("-" + strings.Repeat("\x1b", 5000)) // becomes longer
	f.Add("-init=" + strings.Repeat("\xff", 5000))
	f.Add("-chroot\x00/\x00-bridge\x00" + strings.Repeat("\x1b", 5000) + "\x00p")
	f.Fuzz(func(t *testing.T, s string) {
		args := strings.Split(s, "\x00")
		opts, err := parseOptions(args)
		again, errAgain := parseOptions(args)
		if text(err) != text(errAgain) || !reflect.DeepEqual(opts, again) || strings.Join(args, "\x00") != s {
			t.Errorf("%q: %+v, %v\nthen: %+v, %v", args, opts, err, again, errAgain)
		}
		if err != nil {
			wantReport(t, err)
			return
		}
		if opts.version {
			return
		}
		if opts.rootfs == "" || len(opts.argv) == 0 || !slices.Equal(opts.argv, args[len(args)-len(opts.argv):]) {
			t.Errorf("%q: %+v", args, opts)
		}
		again, err = parseOptions(render(opts))
		for _, times := range [][2]*time.Duration{{&opts.wall, &again.wall}, {&opts.grace, &again.grace}, {&opts.cpuTime, &again.cpuTime}} {
			if sameTime(*times[0], *times[1]) {
				*times[1] = *times[0]
			}
		}
		if err != nil || !reflect.DeepEqual(opts, again) {
			t.Errorf("%q: %+v\n%q: %+v, %v", args, opts, render(opts), again, err)
		}
	})
}

// wantReport checks what the user sees of an error: a line, perhaps another with a
// hint, of characters that a terminal only prints.
func wantReport(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	var b strings.Builder
	report(&b, err)
	lines := strings.Split(b.String(), "\n")
	var h *hintError
	most := 2
	if errors.As(err, &h) {
		most = 3
	} else {
		wantClean(t, err) // contain's own quotes what is foreign
	}
	if len(lines) != most || lines[most-1] != "" || !strings.HasPrefix(lines[0], "contain: ") || most == 3 && !strings.HasPrefix(lines[1], "hint: ") {
		t.Errorf("report: %q", b.String())
	}
	for _, line := range lines {
		wantClean(t, errors.New(line))
	}
}

// programDir makes a DIR with a good program /bin/p and other files, for a file /p
// to be tried. ask tells execve(2)'s error for that, and whether it got to the
// first instruction, before which it is killed; nil where it cannot be asked.
func programDir(f *testing.F) (root *rootfs, write func(t *testing.T, data []byte), ask func(t *testing.T) (bool, error)) {
	dir := f.TempDir()
	for name, entry := range map[string]entry{
		"bin": directory(), "bin/p": program, "bin/u": unreadable, "d": directory(), "q": link("bin/p"), "out": link("../../../bin/p"), "circle": link("circle"), "fifo": fifo(),
		"s1": file(0o755, "#!/bin/p x\n"), "s2": file(0o755, "#! /s1\n"), "s3": file(0o755, "#!/s2"), "p": file(0o755, ""),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			f.Fatal(err)
		}
		if err := entry(path); err != nil && !(name == "bin" && errors.Is(err, os.ErrExist)) {
			f.Fatal(err)
		}
	}
	root, err := openRootfs(dir, false)
	if err != nil {
		f.Skip(err) // an emulator without openat2
	}
	f.Cleanup(root.close)
	write = func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, "p"), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if started, err := tryExec(dir, "/bin/p"); !started || otherFormats() {
		f.Logf("execve cannot be asked: %v", err)
		return root, write, nil
	}
	return root, write, func(t *testing.T) (bool, error) { return tryExec(dir, "/p") }
}

// tryExec executes a file in a chroot, traced, and kills it before it does anything.
func tryExec(dir, file string) (started bool, err error) {
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	pid, err := syscall.ForkExec(file, []string{file}, &syscall.ProcAttr{Dir: "/", Sys: &syscall.SysProcAttr{Chroot: dir, Ptrace: true}})
	if err != nil {
		return false, err
	}
	var ws syscall.WaitStatus
	_, err = syscall.Wait4(pid, &ws, 0, nil)
	if err == nil && !ws.Stopped() {
		return false, errors.New("died in execve")
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	_, _ = syscall.Wait4(pid, nil, 0, nil)
	return err == nil, err
}

// wantVerdict compares checkProgram's verdict with the kernel's: the same is not
// found, and nothing is refused that starts. Else execve refuses, with 126.
func wantVerdict(t *testing.T, got error, ask func(*testing.T) (bool, error)) {
	t.Helper()
	wantClean(t, got)
	if ask == nil {
		return
	}
	started, err := ask(t)
	code := kernelCode(err)
	if left := got == nil && code == exitCannotExec; !left && statusOf(got).code != code {
		t.Errorf("%d, %v; the kernel: %v, %v", statusOf(got).code, got, started, err)
	}
}

// readSoFar is how many bytes this thread has read.
func readSoFar() (n int) {
	text, err := os.ReadFile("/proc/thread-self/io")
	if err == nil {
		_, _ = fmt.Sscanf(string(text), "rchar: %d", &n)
	}
	return n
}

// wantBoundedReads runs do, which may read so many bytes.
func wantBoundedReads(t *testing.T, most int, do func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := readSoFar()
	do()
	if n := readSoFar() - before; n > most {
		t.Errorf("%d bytes were read, at most %d may be", n, most)
	}
}

// scriptInterpreter is load_script() of fs/binfmt_script.c, step by step. ok is
// whether it gets as far as to open the interpreter.
func scriptInterpreter(data string) (name string, ok bool) {
	var buf [256]byte
	copy(buf[:], data)
	blank := func(c byte) bool { return c == ' ' || c == '\t' }
	skip := func(from, last int) int { // next_non_spacetab
		for ; from <= last; from++ {
			if !blank(buf[from]) {
				return from
			}
		}
		return -1
	}
	terminator := func(from, last int) int { // next_terminator
		for ; from <= last; from++ {
			if blank(buf[from]) || buf[from] == 0 {
				return from
			}
		}
		return -1
	}
	end := bytes.IndexAny(buf[:], "\x00\n") // strnchr stops at a NUL
	if end < 0 || buf[end] == 0 {
		if end = skip(2, 255); end < 0 || terminator(end, 255) < 0 {
			return "", false
		}
		end = 255
	}
	for blank(buf[end-1]) {
		end--
	}
	start := skip(2, end)
	if start < 0 || start == end {
		return "", false
	}
	if stop := terminator(start, end); stop >= 0 {
		end = stop
	}
	return string(buf[start:end]), true
}

func FuzzShebang(f *testing.F) {
	long := strings.Repeat("x", 300)
	addAll(f, "/bin/p\n", "/bin/p", " \t/bin/p \t\n", "/bin/p x y\n", "/bin/p\r\n", "/bin/p\x00x\n", "\x00/bin/p\n", " \x00\n", "/nope\n", "/p\n", "/s1", "/s3\n", "/q\n", "/out\n", "/circle\n", "/d\n", "/fifo\n", "/bin/u\n",
		"bin/p\n", "p\n", "/../../bin/p\n", "/bin/p/\n", "/bin/p/x\n", "/bin/p "+long, "/"+long+"\n", strings.Repeat("/", 247)+"bin/p\n", strings.Repeat("/", 248)+"bin/p\n", strings.Repeat("/", 249)+"bin/p\n",
		strings.Repeat(" ", 248)+"/bin/p\n", strings.Repeat(" ", 254), strings.Repeat("/x", 126)+"/", "\n/bin/p\n", "\t\n", "/proc/self/exe\n", "./bin/p\n", "/bin/p\v\n", "/bin/\xff\n")
	root, write, ask := programDir(f)
	f.Fuzz(func(t *testing.T, s string) {
		write(t, []byte("#!"+s))
		var got error
		wantBoundedReads(t, 16<<10, func() { got = checkProgram(usual(root), "/p") })
		name, ok := scriptInterpreter("#!" + s)
		if strings.Contains(name, "proc") || strings.Contains(name, "sys") || strings.Contains(name, "dev") {
			return // what is there is not DIR's
		}
		if !ok || name == "" { // the kernel says of an empty name that it does not exist
			if code := statusOf(got).code; code != exitCannotExec {
				t.Errorf("%d, %v; there is no interpreter", code, got)
			}
			return
		}
		if statusOf(got).code == exitNotFound && !strings.HasPrefix(got.Error(), "interpreter "+quoted(name)+` of program "/p": `) {
			t.Errorf("%v; the interpreter is %q", got, name)
		}
		wantVerdict(t, got, ask)
	})
}

// wantLoader compares elfLoader with debug/elf, for files that are fit for both.
func wantLoader(t *testing.T, data []byte) {
	t.Helper()
	e, err := elf.NewFile(bytes.NewReader(data))
	if err != nil || e.Class != elf.ELFCLASS64 || e.ByteOrder != binary.LittleEndian {
		return
	}
	want, bad := "", false
	for _, p := range e.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name := make([]byte, min(p.Filesz, elfMaxInterp+1))
		if _, err := p.ReadAt(name, 0); err != nil || len(name) < 2 || len(name) > elfMaxInterp || name[len(name)-1] != 0 {
			bad = true
		}
		before, _, _ := bytes.Cut(name, []byte{0})
		want = string(before)
		break
	}
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	got, err := elfLoader(f, binary.LittleEndian.Uint64(data[32:]), len(e.Progs))
	if bad != (err != nil) || !bad && got != want {
		t.Errorf("elfLoader: %q, %v; debug/elf: %q, %v", got, err, want, bad)
	}
}

func FuzzELF(f *testing.F) {
	change := func(interp string, change func(*elf.Header64)) { f.Add([]byte(buildELF(interp, change))) }
	for _, interp := range []string{"", "/bin/p\x00", "/nope\x00", "/bin/u\x00", "/d\x00", "/q\x00", "/out\x00", "/fifo\x00", "/p\x00", "bin/p\x00", "/nope", "/bin/p\x00x\x00", "/nope\x00x", "\x00\x00", "\x00",
		"/bin/p/x\x00", "/proc/x\x00", strings.Repeat("/", elfMaxInterp-1) + "\x00", strings.Repeat("/", elfMaxInterp) + "\x00"} {
		change(interp, nil)
	}
	for _, typ := range []elf.Type{elf.ET_NONE, elf.ET_REL, elf.ET_DYN, elf.ET_CORE} {
		change("/nope\x00", func(h *elf.Header64) { h.Type = uint16(typ) })
	}
	change("", machine(otherMachine()))
	change("", func(h *elf.Header64) { h.Ident[elf.EI_CLASS] = 1 })
	change("/nope\x00", func(h *elf.Header64) { h.Ident[elf.EI_CLASS], h.Phentsize = 1, 32 })
	change("", func(h *elf.Header64) { h.Ident[elf.EI_DATA] = 2 })
	change("", func(h *elf.Header64) { h.Ident[elf.EI_VERSION], h.Version = 7, 7 })
	change("", func(h *elf.Header64) { h.Phoff = 1 << 63 })
	change("/nope\x00", func(h *elf.Header64) { h.Phnum = 0xffff })
	change("/nope\x00", func(h *elf.Header64) { h.Phnum = elfMaxPhdrs })
	for _, n := range []int{4, 40, 64, 100} {
		f.Add([]byte(buildELF("/nope\x00", nil)[:n]))
	}
	for _, s := range []string{"", "#", "garbage", "MZ\x90\x00", "echo hello\n", "\ufeff#!/bin/p\n"} {
		f.Add([]byte(s))
	}
	root, write, ask := programDir(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.HasPrefix(data, []byte("#!")) {
			return // see FuzzShebang
		}
		write(t, data)
		var got error
		wantBoundedReads(t, 80<<10, func() { got = checkProgram(usual(root), "/p") })
		wantLoader(t, data)
		for _, s := range []string{"proc", "sys", "dev"} {
			if bytes.Contains(data, []byte(s)) {
				return // what is there is not DIR's
			}
		}
		if strings.Contains(text(got), "is a 32-bit program") {
			return // which the kernel may allow, and the filter does not
		}
		wantVerdict(t, got, ask)
	})
}

// The home directory becomes a part of the environment.
func FuzzHome(f *testing.F) {
	addAll(f, "root:x:0:0:root:/root:/bin/sh\n", "root:x:0:0:root:/root", "a:x:1:0::/a:\nroot:x:0:0::/r:\n", "root:x:00:0::/a:\nroot:x:0:0::b:\n:x:0:0::/c\n", "root:x:0:0:", ":::::", "::0:::/", "x::0:::/a\r\n", "x::0:::/a\r",
		"::0:::/a\x00LD_PRELOAD=/x:/bin/sh\n", "::0:::/\xff\x1b\n", "\n\n::0:::/a\n")
	dir := f.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		f.Fatal(err)
	}
	root, err := openRootfs(dir, false)
	if err != nil {
		f.Skip(err)
	}
	f.Cleanup(root.close)
	f.Fuzz(func(t *testing.T, s string) {
		if err := os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		got, want := root.home(0), "/"
		for line := range strings.SplitSeq(s, "\n") {
			if len(line) >= 1<<16-1 { // no line of a passwd
				break
			}
			m := passwdLine.FindStringSubmatch(strings.TrimSuffix(line, "\r"))
			if m != nil && !strings.Contains(m[1], "\x00") {
				want = m[1]
				break
			}
		}
		if got != want {
			t.Errorf("home is %q, want %q", got, want)
		}
	})
}

var passwdLine = regexp.MustCompile(`^(?s:[^:]*:[^:]*:0:[^:]*:[^:]*:(/[^:]*)(?::.*)?)$`)

// Any profile is refused with one line, or becomes a filter that the kernel takes, which
// answers what contain itself needs and refuses what it itself refuses.
func FuzzSeccomp(f *testing.F) {
	for _, s := range []string{`{`, `{}`, `null`, `[]`, `{"defaultAction":"SCMP_ACT_ALLOW"}`, `{"defaultAction":"SCMP_ACT_LOG","architectures":["SCMP_ARCH_X86"]}`,
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["kill","kill","nosuch"],"action":"SCMP_ACT_KILL","args":[{"index":0,"value":18446744073709551615,"valueTwo":1,"op":"SCMP_CMP_MASKED_EQ"},{"index":5,"op":"SCMP_CMP_LT"}]}]}`,
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"ptrace","action":"SCMP_ACT_ERRNO","errnoRet":0,"includes":{"caps":["CAP_SYS_PTRACE"],"arches":["amd64"],"minKernel":"4.8"}}]}`,
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["execve"],"action":"SCMP_ACT_ALLOW"}]}`} {
		f.Add(s)
	}
	file := filepath.Join(f.TempDir(), "profile")
	f.Fuzz(func(t *testing.T, text string) {
		direct, compat := len(text)%2 == 0, len(text)%3 == 0
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, err := filterOptions{profile: file, compat: compat}.syscallFilter(defaultCaps(), direct)
		if wantClean(t, err); err != nil {
			return
		}
		if again, _ := (filterOptions{profile: file, compat: compat}).syscallFilter(defaultCaps(), direct); !slices.Equal(code, again) {
			t.Error("the same profile becomes another filter")
		}
		if len(code) > unix.BPF_MAXINSNS {
			t.Fatalf("%d instructions", len(code))
		}
		numbers := nativePlatform.numbers()
		for _, name := range neededCalls {
			if got := judge(t, code, sysCall{number: numbers[name], arch: nativePlatform.audit}); got != unix.SECCOMP_RET_ALLOW {
				t.Errorf("%s: %x", name, got)
			}
		}
		for number := range uint32(500) { // every path has an end
			judge(t, code, sysCall{number: number, arch: nativePlatform.audit, args: [6]uint64{1, 2, math.MaxUint64}})
			judge(t, code, sysCall{number: number, arch: compatPlatform.audit, args: [6]uint64{16}})
		}
		if got := judge(t, code, sysCall{number: numbers["socket"], arch: nativePlatform.audit, args: [6]uint64{unix.AF_PACKET}}); got == unix.SECCOMP_RET_ALLOW {
			t.Error("a packet socket is allowed")
		}
	})
}
