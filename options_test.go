package main

import (
	"errors"
	"flag"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	devices "github.com/opencontainers/cgroups/devices/config"
	"golang.org/x/sys/unix"
)

// defaults are the options of `contain -chroot /r -- p`, changed by change.
func defaults(change func(*options)) options {
	opts := options{rootfs: "/r", network: network{bridge: "docker0", name: "eth0", ask: true}, stateDir: "/run/contain", tty: "auto", init: true, argv: []string{"p"}, limits: limits{grace: 5 * time.Second}}
	if change != nil {
		change(&opts)
	}
	if opts.attach.kind == "" {
		opts.attach.kind = map[bool]string{true: netBridge, false: netNone}[len(opts.address) > 0]
	}
	return opts
}

func prefixes(list ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// The problem statement and the README of the first version have these.
func TestParseOptionsPublishedExamples(t *testing.T) {
	tests := []struct {
		args []string
		want options
	}{
		{
			[]string{"chroot", "/var/run/mytask", "--memory-limit", "1MB", "--cpu-coreids", "1,3",
				"--network-address", "192.168.2.17/24", "--", "someprogram", "arg1", "arg"},
			defaults(func(o *options) {
				o.rootfs, o.memory, o.cpus = "/var/run/mytask", 1<<20, cpuSet{1, 3}
				o.address, o.argv = prefixes("192.168.2.17/24"), []string{"someprogram", "arg1", "arg"}
			}),
		},
		{
			[]string{"-chroot", "/tmp/tmp.1", "--network-address", "172.17.0.99/24", "--bridge", "docker0",
				"--", "bash", "-c", "ip a ; ping -c 100 172.17.0.98"},
			defaults(func(o *options) {
				o.rootfs, o.address = "/tmp/tmp.1", prefixes("172.17.0.99/24")
				o.argv = []string{"bash", "-c", "ip a ; ping -c 100 172.17.0.98"}
			}),
		},
		{
			[]string{"-chroot", "/tmp/tmp.2", "--cpu-core-ids", "1,2", "--memory-limit", "128m",
				"--network-address", "172.17.0.98/24", "--bridge", "docker0",
				"--", "bash", "-c", "ip a ; ip ro sho 172.17.0.99/0 ; ping -c 5 172.17.0.99"},
			defaults(func(o *options) {
				o.rootfs, o.memory, o.cpus = "/tmp/tmp.2", 128<<20, cpuSet{1, 2}
				o.address = prefixes("172.17.0.98/24")
				o.argv = []string{"bash", "-c", "ip a ; ip ro sho 172.17.0.99/0 ; ping -c 5 172.17.0.99"}
			}),
		},
		{ // contain -chroot $ROOTFS [optflags] program [...args]
			[]string{"-chroot", "/tmp/tmp.1", "-cpu-core-ids", "3,5-7", "-memory-limit", "128MB", "program", "-a", "b"},
			defaults(func(o *options) {
				o.rootfs, o.memory, o.cpus = "/tmp/tmp.1", 128<<20, cpuSet{3, 5, 6, 7}
				o.argv = []string{"program", "-a", "b"}
			}),
		},
	}
	for _, test := range tests {
		got, err := parseOptions(test.args)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("parseOptions(%q)\n got %+v, %v\nwant %+v", test.args, got, err, test.want)
		}
	}
}

func TestParseOptions(t *testing.T) {
	tests := []struct {
		name   string
		args   []string
		change func(*options)
	}{
		{"least", []string{"-chroot", "/r", "--", "p"}, nil},
		{"gc only leads", []string{"-chroot", "/r", "gc"}, func(o *options) { o.argv = []string{"gc"} }},
		{"leading word", []string{"chroot", "/r", "p"}, nil},
		{"leading word is read once", []string{"chroot", "/r", "chroot", "/r"}, func(o *options) { o.argv = []string{"chroot", "/r"} }},
		{"leading word only leads", []string{"-chroot", "/r", "chroot"}, func(o *options) { o.argv = []string{"chroot"} }},
		{"leading word, then the flag", []string{"chroot", "/x", "-chroot", "/r", "p"}, nil},
		{"two hyphens", []string{"--chroot", "/r", "p"}, nil},
		{"equals sign", []string{"-chroot=/r", "p"}, nil},
		{"two hyphens, equals sign", []string{"--chroot=/r", "--memory-limit=128M", "p"}, func(o *options) { o.memory = 128 << 20 }},
		{"value with equals signs", []string{"-chroot=/a=b", "p"}, func(o *options) { o.rootfs = "/a=b" }},
		{"other spelling", []string{"-chroot", "/r", "-cpu-coreids", "0-1", "p"}, func(o *options) { o.cpus = cpuSet{0, 1} }},
		{"bridge", []string{"-chroot", "/r", "-bridge", "br0", "p"}, func(o *options) { o.bridge = "br0" }},
		{"bridge, two hyphens", []string{"-chroot", "/r", "--bridge", "br0", "p"}, func(o *options) { o.bridge = "br0" }},
		{"state directory", []string{"-chroot", "/r", "-state-dir", "/s", "p"}, func(o *options) { o.stateDir = "/s" }},
		{"state directory is not resolved", []string{"-chroot", "r", "-state-dir", "s", "p"}, func(o *options) { o.rootfs, o.stateDir = "r", "s" }},

		{"flags end at --", []string{"-chroot", "/r", "--", "-chroot", "/x"}, func(o *options) { o.argv = []string{"-chroot", "/x"} }},
		{"flags end at the program", []string{"-chroot", "/r", "p", "-memory-limit", "x", "-h"}, func(o *options) { o.argv = []string{"p", "-memory-limit", "x", "-h"} }},
		{"second -- is the program's", []string{"-chroot", "/r", "--", "p", "--", "a"}, func(o *options) { o.argv = []string{"p", "--", "a"} }},
		{"-- after the program is the program's", []string{"-chroot", "/r", "p", "--"}, func(o *options) { o.argv = []string{"p", "--"} }},
		{"single hyphen is a program", []string{"-chroot", "/r", "-"}, func(o *options) { o.argv = []string{"-"} }},
		{"empty program name", []string{"-chroot", "/r", ""}, func(o *options) { o.argv = []string{""} }},
		{"arguments are kept as they are", []string{"-chroot", "/r", "p", "", " ", "a\nb", "$(id)", `"`, "é", ""}, func(o *options) { o.argv = []string{"p", "", " ", "a\nb", "$(id)", `"`, "é", ""} }},

		{"last chroot", []string{"-chroot", "/x", "-chroot", "/r", "p"}, nil},
		{"last memory limit", []string{"-chroot", "/r", "-memory-limit", "1G", "-memory-limit", "2G", "p"}, func(o *options) { o.memory = 2 << 30 }},
		{"earlier memory limit is not looked at", []string{"-chroot", "/r", "-memory-limit", "bad", "-memory-limit", "2G", "p"}, func(o *options) { o.memory = 2 << 30 }},
		{"last CPUs", []string{"-chroot", "/r", "-cpu-core-ids", "0", "-cpu-core-ids", "1", "p"}, func(o *options) { o.cpus = cpuSet{1} }},
		{"last CPUs, other spelling", []string{"-chroot", "/r", "-cpu-core-ids", "0", "-cpu-coreids", "1", "p"}, func(o *options) { o.cpus = cpuSet{1} }},
		{"last CPUs, other spelling first", []string{"-chroot", "/r", "-cpu-coreids", "0", "-cpu-core-ids", "1", "p"}, func(o *options) { o.cpus = cpuSet{1} }},
		{"last bridge", []string{"-chroot", "/r", "-bridge", "a", "-bridge", "b", "p"}, func(o *options) { o.bridge = "b" }},
		{"last state directory", []string{"-chroot", "/r", "-state-dir", "/a", "-state-dir", "/b", "p"}, func(o *options) { o.stateDir = "/b" }},
		{"addresses add", []string{"-chroot", "/r", "-network-address", "10.0.0.2/24", "-network-address", "2001:db8::2/64", "p"},
			func(o *options) { o.address = prefixes("10.0.0.2/24", "2001:db8::2/64") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseOptions(test.args)
			if want := defaults(test.change); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("parseOptions(%q)\n got %+v, %v\nwant %+v", test.args, got, err, want)
			}
		})
	}
}

// The flags that set limits, each alone; of a repeated one the last counts, or each
// adds.
func TestParseOptionsLimits(t *testing.T) {
	const none = ^uint64(0)
	network := []string{"-network-address", "10.0.0.2/24"}
	tests := []struct {
		args   []string
		change func(*options)
	}{
		{[]string{"-memory-soft-limit", "64M"}, func(o *options) { o.memorySoft = 64 << 20 }},
		{[]string{"-memory-soft-limit", "bad", "-memory-soft-limit", "64M"}, func(o *options) { o.memorySoft = 64 << 20 }},
		{[]string{"-memory-soft-limit", "64M", "-memory-limit", "64M"}, func(o *options) { o.memory, o.memorySoft = 64<<20, 64<<20 }},
		{[]string{"-virtual-memory-limit", "1G"}, func(o *options) { o.rlimits = []rlimit{{"as", 1 << 30, 1 << 30}} }},
		{[]string{"-virtual-memory-limit", "1G", "-virtual-memory-limit", "2G"}, func(o *options) { o.rlimits = []rlimit{{"as", 2 << 30, 2 << 30}} }},
		{[]string{"-ulimit", "nofile=1:2", "-ulimit", "nproc=unlimited"}, func(o *options) { o.rlimits = []rlimit{{"nofile", 1, 2}, {"nproc", none, none}} }},
		{[]string{"-ulimit", "as=2G", "-virtual-memory-limit", "1G"}, func(o *options) { // -ulimit is behind, and counts
			o.rlimits = []rlimit{{"as", 2 << 30, 2 << 30}}
		}},
		{[]string{"-cpus", "1.5"}, func(o *options) { o.cpuQuota = 150000 }},
		{[]string{"-cpus", "x", "-cpus", "0.01"}, func(o *options) { o.cpuQuota = 1000 }},
		{[]string{"-cpu-weight", "50"}, func(o *options) { o.cpuWeight = 50 }},
		{[]string{"-cpu-weight", "0", "-cpu-weight", "10000"}, func(o *options) { o.cpuWeight = 10000 }},
		{[]string{"-pids-limit", "7"}, func(o *options) { o.pids = 7 }},
		{[]string{"-pids-limit", "0", "-pids-limit", "4194304"}, func(o *options) { o.pids = 4194304 }},
		{[]string{"-io-max", "8:0:rbps=5", "-io-max", "/a:wiops=2"}, func(o *options) { o.io = []ioLimit{{device: "8:0", rbps: 5}, {device: "/a", wiops: 2}} }},
		{append([]string{"-network-bandwidth", "1mbit/up"}, network...), func(o *options) {
			o.address, o.bandwidth = prefixes("10.0.0.2/24"), bandwidth{Up: 1_000_000}
		}},
		{append([]string{"-network-bandwidth", "1mbit/up", "-network-bandwidth", "2mbit/down"}, network...), func(o *options) {
			o.address, o.bandwidth = prefixes("10.0.0.2/24"), bandwidth{Down: 2_000_000}
		}},
		{append([]string{"-network-name", "lo", "-network-name", "net1"}, network...), func(o *options) { // of two the last
			o.address, o.name = prefixes("10.0.0.2/24"), "net1"
		}},
		{append([]string{"-network-mac", "x", "-network-mac", "0A:00:00:00:00:01"}, network...), func(o *options) {
			o.address, o.mac = prefixes("10.0.0.2/24"), net.HardwareAddr{10, 0, 0, 0, 0, 1}
		}},
		{append([]string{"-network-mtu", "1", "-network-mtu", "1280"}, network...), func(o *options) { o.address, o.mtu = prefixes("10.0.0.2/24"), 1280 }},
		{append([]string{"-gateway", "10.0.0.1"}, network...), func(o *options) { o.address, o.gateways = prefixes("10.0.0.2/24"), routers("10.0.0.1") }},
		{append([]string{"-gateway", "10.0.0.1", "-gateway", "2001:db8::1", "-network-address", "2001:db8::2/64"}, network...), func(o *options) { // each
			o.address, o.gateways = prefixes("2001:db8::2/64", "10.0.0.2/24"), routers("10.0.0.1", "2001:db8::1")
		}},
		{append([]string{"-gateway", "none", "-gateway=none"}, network...), func(o *options) { o.address, o.noRoute = prefixes("10.0.0.2/24"), true }},
		{[]string{"-check-address=false"}, func(o *options) { o.ask = false }},
		{[]string{"-check-address"}, nil},
		{[]string{"-timeout", "1.5h"}, func(o *options) { o.wall = 90 * time.Minute }},
		{[]string{"-timeout", "0", "-timeout", "1"}, func(o *options) { o.wall = time.Second }},
		{[]string{"-cpu-time", "1ms"}, func(o *options) { o.cpuTime = time.Millisecond }},
		{[]string{"-cpu-time", "x", "-cpu-time", "1d"}, func(o *options) { o.cpuTime = 24 * time.Hour }},
		{[]string{"-grace", "0"}, func(o *options) { o.grace = 0 }},
		{[]string{"-grace", "x", "-grace", "0.5ms"}, func(o *options) { o.grace = 500 * time.Microsecond }},
		{[]string{"-report", "fd:3"}, func(o *options) { o.report = "fd:3" }},
		{[]string{"-report", "fd:3", "-report", "/r.json"}, func(o *options) { o.report = "/r.json" }},
		{[]string{"-tty", "x", "-tty=never"}, func(o *options) { o.tty = "never" }},
		{[]string{"-init=false"}, func(o *options) { o.init = false }},
	}
	for _, test := range tests {
		args := append(append([]string{"-chroot", "/r"}, test.args...), "p")
		got, err := parseOptions(args)
		if want := defaults(test.change); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parseOptions(%q)\n got %+v, %v\nwant %+v", args, got, err, want)
		}
	}
}

// Each flag's own parser is tested with it; here, that it is that flag's, and what
// does not go together.
func TestParseOptionsRefusesLimits(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"-memory-soft-limit", "0"}, `-memory-soft-limit "0": must be greater than zero (leave the flag out for no limit)`},
		{[]string{"-memory-soft-limit", "1"}, `-memory-soft-limit "1": below one page of memory`},
		{[]string{"-memory-soft-limit", "128M", "-memory-limit", "64M"}, "-memory-soft-limit is above -memory-limit"},
		{[]string{"-memory-soft-limit", "67108865", "-memory-limit", "64M"}, "-memory-soft-limit is above -memory-limit"},
		{[]string{"-virtual-memory-limit", "unlimited"}, `-virtual-memory-limit "unlimited": not a size, such as 128M`},
		{[]string{"-virtual-memory-limit", "0"}, `-virtual-memory-limit "0": must be greater than zero (leave the flag out for no limit)`},
		{[]string{"-ulimit", "x", "-ulimit", "nofile=1"}, `-ulimit "x": not NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024`},
		{[]string{"-ulimit", "nofile=1", "-ulimit", "core=0"}, `-ulimit "core=0": core files are always off, see contain(8)`},
		{[]string{"-ulimit", "nofile=2:1"}, `-ulimit "nofile=2:1": the soft limit is above the hard one`},
		{[]string{"-cpus", "0"}, `-cpus "0": too small, the least is 0.01`},
		{[]string{"-cpus", "1", "-cpus", ""}, `-cpus "": not a number of CPUs, such as 1.5`},
		{[]string{"-cpu-weight", "0"}, `-cpu-weight "0": too small, the least is 1`},
		{[]string{"-cpu-weight", "10001"}, `-cpu-weight "10001": too large, the most is 10000`},
		{[]string{"-pids-limit", "0"}, `-pids-limit "0": too small, the least is 1`},
		{[]string{"-pids-limit", "-1"}, `-pids-limit "-1": not a number of tasks, such as 100`},
		{[]string{"-io-max", "/dev/sda"}, `-io-max "/dev/sda": not DEVICE:rbps=N,wbps=N,riops=N,wiops=N`},
		{[]string{"-io-max", "8:0:x=1", "-io-max", "8:0:rbps=5"}, `-io-max "8:0:x=1": "x" is not rbps, wbps, riops or wiops`},
		{[]string{"-network-bandwidth", "1mbit"}, "-network-bandwidth needs -network-address"},
		{[]string{"-network-bandwidth", "1mbit/up"}, "-network-bandwidth needs -network-address"},
		{[]string{"-network-bandwidth", "1"}, `-network-bandwidth "1": not a rate, such as 10mbit (units: bit, kbit, mbit, gbit)`},
		{[]string{"-network-name", "eth1"}, "-network-name needs -network-address"},
		{[]string{"-network-mac", "02:00:00:00:00:17"}, "-network-mac needs -network-address"},
		{[]string{"-network-mtu", "1500"}, "-network-mtu needs -network-address"},
		{[]string{"-gateway", "10.0.0.1"}, "-gateway needs -network-address"},
		{[]string{"-gateway", "none"}, "-gateway needs -network-address"},
		{[]string{"-network-name", "lo"}, `-network-name "lo": is the loopback interface`},
		{[]string{"-network-name", ""}, `-network-name "": empty interface name`},
		{[]string{"-network-name", "a%d"}, `-network-name "a%d": not an interface name`},
		{[]string{"-network-mac", "01:00:00:00:00:17"}, `-network-mac "01:00:00:00:00:17": is a multicast address`},
		{[]string{"-network-mac", "02:00"}, `-network-mac "02:00": not a hardware address, such as 02:00:00:00:00:17`},
		{[]string{"-network-mtu", "67"}, `-network-mtu "67": too small, the least is 68`},
		{[]string{"-network-mtu", ""}, `-network-mtu "": not a number of bytes, such as 1500`},
		{[]string{"-gateway", "x", "-gateway", "none"}, `-gateway "x": not an address, or none`},
		{[]string{"-gateway", "127.0.0.1"}, `-gateway "127.0.0.1": not the address of a router`},
		{[]string{"-network-address", "10.0.0.2/24", "-gateway", "none", "-gateway", "10.0.0.1"}, "-gateway none and another -gateway exclude each other"},
		{[]string{"-network-address", "10.0.0.2/24", "-gateway", "10.0.1.1"}, `-gateway "10.0.1.1": in no network of a -network-address`},
		{[]string{"-timeout", "0"}, `-timeout "0": too small, the least is 1ms (leave the flag out for no limit)`},
		{[]string{"-timeout", ""}, `-timeout "": not a time, such as 30s (units: ms, s, m, h, d)`},
		{[]string{"-cpu-time", "0.5ms"}, `-cpu-time "0.5ms": too small, the least is 1ms (leave the flag out for no limit)`},
		{[]string{"-cpu-time", "1m30s"}, `-cpu-time "1m30s": not a time, such as 30s (units: ms, s, m, h, d)`},
		{[]string{"-grace", "-1"}, `-grace "-1": not a time, such as 30s (units: ms, s, m, h, d)`},
		{[]string{"-grace", "36501d"}, `-grace "36501d": too large`},
		{[]string{"-tty", "yes"}, `-tty "yes": not auto, always or never`},
		{[]string{"-timeout", digits1M}, `-timeout "` + digits1M[:200] + `"...: too large`},
		// The first mistake, in the order of the usage text, is told.
		{[]string{"-cpu-time", "x", "-timeout", "x", "-cpus", "x"}, `-cpus "x": not a number of CPUs, such as 1.5`},
	}
	for _, test := range tests {
		args := append(append([]string{"-chroot", "/r"}, test.args...), "p")
		if _, err := parseOptions(args); text(err) != test.want || hint(err) != "" {
			t.Errorf("parseOptions(%.300q): %q, hint %q\nwant %q", args, text(err), hint(err), test.want)
		}
	}
	for _, name := range []string{"memory-soft-limit", "virtual-memory-limit", "ulimit", "cpus", "cpu-weight", "pids-limit", "io-max", "network-bandwidth", "network-name", "network-mac", "network-mtu", "gateway", "timeout", "grace", "cpu-time", "report", "tty"} {
		want := "flag needs an argument: -" + name
		if _, err := parseOptions([]string{"-chroot", "/r", "-" + name}); text(err) != want || hint(err) != usageHint {
			t.Errorf("-%s alone: %v, want %s", name, err, want)
		}
	}
}

func TestParseOptionsRefuses(t *testing.T) {
	with := func(args ...string) []string { return append([]string{"-chroot", "/r"}, args...) }
	tests := []struct {
		args []string
		want string
		hint string
	}{
		{nil, "-chroot is required", usageHint},
		{[]string{"--"}, "-chroot is required", usageHint},
		{[]string{"p"}, "-chroot is required", usageHint},
		{[]string{"init"}, "-chroot is required", usageHint},
		{[]string{"p", "-chroot", "/r"}, "-chroot is required", usageHint},
		{[]string{"--", "chroot", "/r", "p"}, "-chroot is required", usageHint},
		{[]string{"-memory-limit", "128M", "chroot", "/r", "p"}, "-chroot is required", usageHint},
		{[]string{"-chroot"}, "flag needs an argument: -chroot", usageHint},
		{[]string{"chroot"}, "flag needs an argument: -chroot", usageHint},
		{with("-memory-limit"), "flag needs an argument: -memory-limit", usageHint},
		{with("-cpu-coreids"), "flag needs an argument: -cpu-coreids", usageHint},
		{with("-network-address"), "flag needs an argument: -network-address", usageHint},
		{with("-bridge"), "flag needs an argument: -bridge", usageHint},
		{with("-foo", "p"), "flag provided but not defined: -foo", usageHint},
		{with("--foo=1", "p"), "flag provided but not defined: -foo", usageHint},
		{with("-m", "1G", "p"), "flag provided but not defined: -m", usageHint},
		{with("-memory", "1G", "p"), "flag provided but not defined: -memory", usageHint},
		{with("---bridge", "b", "p"), "bad flag syntax: ---bridge", usageHint},
		{with("-=x", "p"), "bad flag syntax: -=x", usageHint},
		{with("-check-address=maybe", "p"), `invalid boolean value "maybe" for -check-address: parse error`, usageHint},
		{with("-version=maybe"), `invalid boolean value "maybe" for -version: parse error`, usageHint},
		{with(), "no program given", usageHint},
		{with("--"), "no program given", usageHint},

		{[]string{"-chroot", "", "p"}, `-chroot "": empty`, ""},
		{[]string{"-chroot=", "p"}, `-chroot "": empty`, ""},
		{[]string{"-chroot", "/r", "-chroot", "", "p"}, `-chroot "": empty`, ""},
		{with("-state-dir", "", "p"), `-state-dir "": empty`, ""},
		{with("-report", "", "p"), `-report "": empty`, ""},
		{with("-memory-limit", "", "p"), `-memory-limit "": empty size`, ""},
		{with("-memory-limit", "0", "p"), `-memory-limit "0": must be greater than zero (leave the flag out for no limit)`, ""},
		{with("-memory-limit", "-1", "p"), `-memory-limit "-1": must not be negative`, ""},
		{with("-memory-limit", "1G", "-memory-limit", "8E", "p"), `-memory-limit "8E": unknown unit (known: B, K, M, G, T, P)`, ""},
		{with("-memory-limit", "128M\n", "p"), `-memory-limit "128M\n": not a size, such as 128M`, ""},
		{with("-cpu-core-ids", "3-1", "p"), `-cpu-core-ids "3-1": range 3-1 is reversed`, ""},
		{with("-cpu-coreids", "", "p"), `-cpu-core-ids "": empty list`, ""},
		{with("-cpu-core-ids", "0\n1", "p"), `-cpu-core-ids "0\n1": not a list of CPUs, such as 1,3 or 0-7`, ""},
		{with("-network-address", "", "p"), `-network-address "": empty address`, ""},
		{with("-network-address", "172.17.0.99", "p"), `-network-address "172.17.0.99": prefix length is missing, such as 172.17.0.99/24`, ""},
		{with("-network-address", "x", "-network-address", "10.0.0.2/24", "p"), `-network-address "x": not an address, such as 192.168.2.17/24`, ""},
		{with("-bridge", "", "p"), `-bridge "": empty interface name`, ""},
		{with("-bridge", "a/b", "p"), `-bridge "a/b": not an interface name`, ""},
		{with("-bridge", "1234567890123456", "p"), `-bridge "1234567890123456": longer than the 15 characters of an interface name`, ""},
	}
	for _, test := range tests {
		_, err := parseOptions(test.args)
		if text(err) != test.want || hint(err) != test.hint {
			t.Errorf("parseOptions(%q): %q, hint %q\nwant %q, hint %q", test.args, text(err), hint(err), test.want, test.hint)
		}
	}
}

func TestParseOptionsHelp(t *testing.T) {
	for _, args := range [][]string{
		{"-h"}, {"--h"}, {"-help"}, {"--help"}, {"-chroot", "/r", "-h"}, {"-memory-limit", "bad", "-h", "p"}, {"-h", "-foo"},
	} {
		if _, err := parseOptions(args); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("parseOptions(%q): %v, want flag.ErrHelp", args, err)
		}
	}
}

// -version needs nothing else and no other flag can spoil it.
func TestParseOptionsVersion(t *testing.T) {
	for _, args := range [][]string{{"-version"}, {"--version"}, {"-version=true"}, {"-version", "p"}, {"-memory-limit", "bad", "-version"}} {
		if opts, err := parseOptions(args); !opts.version || err != nil {
			t.Errorf("parseOptions(%q): version %v, %v", args, opts.version, err)
		}
	}
	opts, err := parseOptions([]string{"-version=false", "-chroot", "/r", "p"})
	if opts.version || err != nil {
		t.Errorf("-version=false: version %v, %v", opts.version, err)
	}
}

func TestQuoted(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", `""`},
		{"a b", `"a b"`},
		{"a\nb\x1b[31m\"\xff", `"a\nb\x1b[31m\"\xff"`},
		{"é", `"é"`},
		{strings.Repeat("x", 200), `"` + strings.Repeat("x", 200) + `"`},
		{strings.Repeat("x", 201), `"` + strings.Repeat("x", 200) + `"...`},
		{strings.Repeat("x", 1<<20), `"` + strings.Repeat("x", 200) + `"...`},
	}
	for _, test := range tests {
		if got := quoted(test.in); got != test.want {
			t.Errorf("quoted(%.20q) = %s, want %s", test.in, got, test.want)
		}
	}
}

// A device that is given twice is one, with the permissions of both.
func TestGiveDevice(t *testing.T) {
	var h host
	for _, d := range []deviceOption{{"/dev/a", "r"}, {"/dev/b", "m"}, {"/dev/a", "rw"}} {
		h.give(&devices.Device{Path: d.path, Rule: devices.Rule{Permissions: devices.Permissions(d.permissions)}})
	}
	if len(h.devices) != 2 || h.devices[0].Permissions != "rw" || h.devices[1].Permissions != "m" {
		t.Errorf("%+v", h.devices)
	}
}

// What the flags about privileges and surroundings take, and what they refuse.
func TestParsePrivileges(t *testing.T) {
	notANumber := "not UID or UID:GID, numbers up to 2147483647"
	noPermissions, notADevice := "the part behind : is not made of r, w and m", "not a path below /dev"
	notTheirs := "is contain's own matter"
	notOwn := "is not of the container alone: net.*, fs.mqueue.* and kernel.{msg*,sem,shm*} are"
	notAHost, noSysctl := "not a host name: letters, digits, hyphens and dots", "not a name such as net.core.somaxconn"
	for flag, values := range map[string]map[string]string{
		"user": {"0": "", "0:7": "", "2147483647:0": "", "2147483648": notANumber, "1000:": notANumber, ":5": notANumber, "root": notANumber,
			"-1": notANumber, "+1": notANumber, "01": notANumber, "1:2:3": notANumber, "": notANumber, "4294967296": notANumber},
		"cap-add":  {"chown": "", "CAP_Sys_Admin": "", "ALL": "", "": "no capability of this name, see capabilities(7)", "40": "no capability of this name, see capabilities(7)"},
		"cap-drop": {"CAP_ALL": "", "CHOWN,KILL": "no capability of this name, see capabilities(7)"},
		"device": {"/dev/a": "", "/dev/a/b:r": "", "/dev/a:rwm": "", "/dev/a:": noPermissions, "/dev/a:x": noPermissions, "/dev/a:rwmr": noPermissions,
			"/dev": notADevice, "/dev/": notADevice, "/dev/../etc/passwd": notADevice, "/dev//a": notADevice, "/dev/.": notADevice, "dev/a": notADevice,
			"/dev/null": notTheirs, "/dev/ptmx:r": notTheirs, "/dev/pts/0": notTheirs, "/dev/mqueue/a": notTheirs, "/dev/ptsa": ""},
		"sysctl": {"net.core.somaxconn=1": "", "kernel.sem=1 2 3 4": "", "fs.mqueue.msg_max=9": "", "net.a=b=c": "", "net.a": "not NAME=VALUE", "net.a=": "not NAME=VALUE",
			"net.a=1\n2": "not NAME=VALUE", "kernel.core_pattern=x": notOwn, "kernel.hostname=x": notOwn, "vm.overcommit_memory=1": notOwn, "=1": notOwn,
			"net./../kernel/core_pattern=x": noSysctl, "net...kernel.core_pattern=x": noSysctl, "net.ipv4/ip_forward=1": noSysctl},
		"hostname": {"a": "", strings.Repeat("a", 64): "", strings.Repeat("a", 65): "longer than 64 characters", "": notAHost, "-a": notAHost, "a b": notAHost, "a\n": notAHost, "é": notAHost},
		"env":      {"A=": "", "A=b=c": "", "": "no name of a variable", "=b": "no name of a variable"},
		"workdir":  {"/": "", "etc": "not an absolute path", "": "not an absolute path"},
	} {
		for value, want := range values {
			_, err := parseOptions([]string{"-chroot", "/r", "-" + flag, value, "p"})
			if want != "" {
				want = "-" + flag + " " + quoted(value) + ": " + want
			}
			if text(err) != want {
				t.Errorf("-%s %q: %v\nwant %s", flag, value, err, want)
			}
		}
	}
	for value, want := range map[string]idRange{"": {wanted: true}, "=true": {wanted: true}, "=false": {}, "=1:4294967294": {true, 1, 4294967294}, "=100000:65536": {true, 100000, 65536}} {
		if opts, err := parseOptions([]string{"-chroot", "/r", "-userns" + value, "p"}); err != nil || opts.ids != want {
			t.Errorf("-userns%s: %+v, %v", value, opts.ids, err)
		}
	}
	for _, value := range []string{"0:1", "1", "1:", ":1", "1:0", "1:4294967295", "01:1", "1:1:1", "-1:1", "4294967295:1", ""} {
		if _, err := parseOptions([]string{"-chroot", "/r", "-userns=" + value, "p"}); err == nil {
			t.Errorf("-userns=%s is taken", value)
		}
	}
}

// The values of each flag together.
func TestPrivilegesAddUp(t *testing.T) {
	opts, err := parseOptions([]string{"-chroot", "/r", "-user", "5", "-env", "PATH=/a", "-env", "PATH=/b", "-env", "A=1", "-env", "HOME=/h", "-workdir", "/w", "./p"})
	if err != nil || opts.user != (programUser{5, 5}) || opts.searchPath() != "/b" || opts.program() != "/w/./p" {
		t.Errorf("%+v, %q, %q, %v", opts.user, opts.searchPath(), opts.program(), err)
	}
	if got, want := opts.environment([]string{"PATH=/x", "HOME=/"}), []string{"PATH=/b", "HOME=/h", "A=1"}; !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
	own := capsOf(unix.CAP_CHOWN, unix.CAP_KILL, unix.CAP_NET_ADMIN)
	for args, want := range map[string]struct {
		set capSet
		err string
	}{
		"":                                  {set: capsOf(unix.CAP_CHOWN, unix.CAP_KILL)},
		"-cap-add NET_ADMIN":                {set: own},
		"-cap-add ALL":                      {set: own},
		"-cap-add ALL -cap-drop KILL":       {set: capsOf(unix.CAP_CHOWN, unix.CAP_NET_ADMIN)},
		"-cap-add CHOWN -cap-drop CHOWN":    {set: capsOf(unix.CAP_KILL)},
		"-cap-drop ALL":                     {},
		"-cap-drop ALL -cap-add NET_ADMIN":  {set: capsOf(unix.CAP_NET_ADMIN)},
		"-cap-drop ALL -cap-drop KILL":      {},
		"-cap-drop ALL -cap-add ALL":        {err: "-cap-add ALL and -cap-drop ALL exclude each other"},
		"-cap-add SYS_TIME":                 {err: "-cap-add CAP_SYS_TIME: contain itself does not have it"},
		"-cap-drop ALL -cap-add CAP_FOWNER": {err: "-cap-add CAP_FOWNER: contain itself does not have it"},
	} {
		opts, err := parseOptions(append(append([]string{"-chroot", "/r"}, strings.Fields(args)...), "p"))
		if err != nil {
			t.Fatal(err)
		}
		if set, err := opts.capabilities(own); set != want.set || text(err) != want.err {
			t.Errorf("%s: %v, %v; want %v, %s", args, set.names(), err, want.set.names(), want.err)
		}
	}
}

func TestParseGC(t *testing.T) {
	opts, err := parseOptions([]string{"gc", "-state-dir", "/s"})
	if err != nil || !opts.gc || opts.stateDir != "/s" {
		t.Errorf("%v, %+v", err, opts)
	}
	for _, args := range [][]string{{"gc", "x"}, {"gc", "-chroot", "/"}, {"gc", "-state-dir", ""}, {"gc", "-nope"}, {"gc", "gc"}} {
		if _, err := parseOptions(args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

// What reading a command line costs is counted, as test/counts.tsv does for a whole start.
func TestParseAllocations(t *testing.T) {
	const baseline, grown = 137, 5 // per cent
	args := []string{"-chroot", "/r", "-memory-limit", "128M", "-memory-soft-limit", "64M", "-cpu-core-ids", "0-3,7", "-cpus", "1.5", "-cpu-weight", "50",
		"-pids-limit", "100", "-network-address", "192.168.2.17/24", "-network-address", "fd00::2/64", "-network-bandwidth", "10mbit", "-gateway", "192.168.2.1",
		"-dns", "1.1.1.1", "-hosts", "a:10.0.0.1", "-ulimit", "nofile=1024", "-user", "5:7", "-cap-add", "NET_ADMIN", "-env", "A=b", "-timeout", "30s", "p", "q"}
	if _, err := parseOptions(args); err != nil {
		t.Fatal(err)
	}
	got := testing.AllocsPerRun(100, func() { parseOptions(args) })
	if got > baseline*(100+grown)/100 {
		t.Errorf("%.0f allocations, were %d: worth it? Then change the number", got, baseline)
	}
}
