package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// v1Host is a host as newConfig sees it.
func v1Host() host {
	return host{
		cpus:     hostCPUs{possible: cpuSet{0, 1}, online: cpuSet{0, 1}, available: cpuSet{0, 1}},
		cgroup:   v1Cgroups(true),
		umask:    0o027,
		coreHard: unix.RLIM_INFINITY, pendingHard: 100000, caps: defaultCapSet,
	}
}

// v1Cgroups is a host with three hierarchies, one of them of two controllers.
func v1Cgroups(swapLimit bool) cgroupHost {
	return cgroupHost{swapLimit: swapLimit, pidsLimit: true, v1: []hierarchy{
		{name: "memory", controllers: []string{"memory"}, parent: "/sys/fs/cgroup/memory/a"},
		{name: "cpu,cpuacct", controllers: []string{"cpu", "cpuacct"}, parent: "/sys/fs/cgroup/cpu,cpuacct/b"},
		{name: "systemd", controllers: []string{"systemd"}, parent: "/sys/fs/cgroup/systemd"},
	}}
}

// Nothing a user can ask for, and no host, changes what keeps the program in.
func TestConfigAlwaysConfines(t *testing.T) {
	ipv6 := v1Host()
	ipv6.ipv6, ipv6.cgroup = true, cgroupHost{v2: true, swapLimit: true, pidsLimit: true, parent: "/sys/fs/cgroup"}
	everything := defaults(func(o *options) {
		o.memory, o.cpus, o.address = 1<<20, cpuSet{1}, prefixes("10.0.0.2/24", "2001:db8::2/64")
	})
	for _, opts := range []options{defaults(nil), everything} {
		for _, h := range []host{v1Host(), ipv6} {
			config := newConfig("0a1b2c3d", opts, h)
			checkCapabilities(t, config.Capabilities)
			checkNamespaces(t, config.Namespaces)
			checkDevices(t, config)
			checkMounts(t, config, h.cgroup.v2)
			if !config.NoNewPrivileges {
				t.Error("no_new_privs is not set")
			}
			if config.NoPivotRoot || config.Readonlyfs || config.RootlessCgroups || config.NoNewKeyring {
				t.Errorf("unwanted: %+v", config)
			}
			if config.Rootfs != "/" || config.Hostname != "0a1b2c3d" || *config.Umask != 0o027 {
				t.Errorf("root %q, hostname %q, umask %o", config.Rootfs, config.Hostname, *config.Umask)
			}
			if config.RootPropagation != unix.MS_PRIVATE|unix.MS_REC {
				t.Errorf("root propagation %#x", config.RootPropagation)
			}
			// eth0 is contain's own work; libcontainer has none to make.
			if len(config.Networks) != 1 || config.Networks[0].Type != "loopback" || len(config.Routes) > 0 {
				t.Errorf("networks %+v", config.Networks)
			}
		}
	}
}

func checkCapabilities(t *testing.T, c *configs.Capabilities) {
	t.Helper()
	want := []string{ // pid1 drops CAP_SYS_ADMIN
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE",
		"CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SYS_CHROOT",
	}
	for name, set := range map[string][]string{"bounding": c.Bounding, "effective": c.Effective, "permitted": c.Permitted} {
		if !slices.Equal(slices.Sorted(slices.Values(set)), want) {
			t.Errorf("%s capabilities: %v", name, set)
		}
	}
	if len(c.Inheritable) > 0 || len(c.Ambient) > 0 {
		t.Errorf("inheritable %v, ambient %v", c.Inheritable, c.Ambient)
	}
	if got := defaultCapSet; got != 0x800425fb { // the same less one, in linux/capability.h
		t.Errorf("the program's capabilities are %#x", got)
	}
}

func checkNamespaces(t *testing.T, namespaces configs.Namespaces) {
	t.Helper()
	var got []string
	for _, ns := range namespaces {
		if ns.Path != "" {
			t.Errorf("namespace %s is joined at %s, not made", ns.Type, ns.Path)
		}
		got = append(got, string(ns.Type))
	}
	slices.Sort(got)
	want := []string{
		string(configs.NEWIPC), string(configs.NEWNET),
		string(configs.NEWNS), string(configs.NEWPID), string(configs.NEWUTS),
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("namespaces %v, want %v", got, want)
	}
}

func checkDevices(t *testing.T, config *configs.Config) {
	t.Helper()
	nodes := map[string]string{
		"/dev/null": "c 1:3", "/dev/zero": "c 1:5", "/dev/full": "c 1:7",
		"/dev/random": "c 1:8", "/dev/urandom": "c 1:9", "/dev/tty": "c 5:0",
	}
	got := map[string]string{}
	for _, d := range config.Devices {
		got[d.Path] = fmt.Sprintf("%c %d:%d", d.Type, d.Major, d.Minor)
		if d.FileMode.Perm() != 0o666 || d.Uid != 0 || d.Gid != 0 {
			t.Errorf("%s: mode %v, owner %d:%d", d.Path, d.FileMode, d.Uid, d.Gid)
		}
	}
	if !maps.Equal(got, nodes) {
		t.Errorf("device nodes %v, want %v", got, nodes)
	}

	rules := config.Cgroups.Devices
	deny := devices.Rule{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm"}
	if len(rules) == 0 || *rules[0] != deny {
		t.Fatalf("the first device rule does not deny all: %+v", rules)
	}
	var allowed []string
	for _, rule := range rules[1:] {
		if !rule.Allow {
			t.Errorf("rule %s denies what is denied already", rule.CgroupString())
		}
		allowed = append(allowed, rule.CgroupString())
	}
	want := []string{"c 1:3 rw", "c 1:5 rw", "c 1:7 rw", "c 1:8 rw", "c 1:9 rw", "c 5:0 rw", "c 5:2 rw", "c 136:* rw"}
	slices.Sort(allowed)
	slices.Sort(want)
	if !slices.Equal(allowed, want) {
		t.Errorf("allowed devices %q, want %q", allowed, want)
	}
}

func checkMounts(t *testing.T, config *configs.Config, v2 bool) {
	t.Helper()
	var got []string
	for _, m := range config.Mounts {
		got = append(got, m.Device+" "+m.Destination)
		if m.Flags&(unix.MS_NOSUID|unix.MS_NOEXEC) != unix.MS_NOSUID|unix.MS_NOEXEC {
			t.Errorf("%s is not nosuid and noexec", m.Destination)
		}
		// Devices are in /dev and nowhere else.
		if hasDevices := m.Destination == "/dev" || m.Destination == "/dev/pts"; (m.Flags&unix.MS_NODEV == 0) != hasDevices {
			t.Errorf("%s: nodev is %v", m.Destination, m.Flags&unix.MS_NODEV != 0)
		}
		if readOnly := strings.HasPrefix(m.Destination, "/sys"); (m.Flags&unix.MS_RDONLY != 0) != readOnly {
			t.Errorf("%s: read-only is %v", m.Destination, m.Flags&unix.MS_RDONLY != 0)
		}
		if m.Device == "tmpfs" && !strings.Contains(m.Data, "size=") {
			t.Errorf("%s has no size limit: %q", m.Destination, m.Data)
		}
		if m.Device == "devpts" && !strings.Contains(m.Data, "newinstance") {
			t.Errorf("%s would show the host's terminals: %q", m.Destination, m.Data)
		}
		if m.Device == "bind" && !strings.Contains(m.Source, "/contain-0a1b2c3d") || m.Device != "bind" && m.Flags&unix.MS_BIND != 0 {
			t.Errorf("%s is bound from the host's %s", m.Destination, m.Source)
		}
	}
	want := []string{"proc /proc", "tmpfs /dev", "devpts /dev/pts", "tmpfs /dev/shm", "mqueue /dev/mqueue", "sysfs /sys"}
	if v2 {
		want = append(want, "bind /sys/fs/cgroup")
	} else {
		want = append(want, "tmpfs /sys/fs/cgroup", "bind /sys/fs/cgroup/memory", "bind /sys/fs/cgroup/cpu,cpuacct",
			"bind /sys/fs/cgroup/cpu", "bind /sys/fs/cgroup/cpuacct", "bind /sys/fs/cgroup/systemd")
	}
	if !slices.Equal(got, want) {
		t.Errorf("mounts %q, want %q", got, want)
	}
	for _, path := range []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
		"/sys/firmware", "/sys/devices/system/cpu/cpu0/thermal_throttle", "/sys/devices/system/cpu/cpu1/thermal_throttle",
	} {
		if !slices.Contains(config.MaskPaths, path) {
			t.Errorf("%s is not masked", path)
		}
	}
	for _, path := range []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"} {
		if !slices.Contains(config.ReadonlyPaths, path) {
			t.Errorf("%s is not read-only", path)
		}
	}
}

func TestConfigMasksEveryCPU(t *testing.T) {
	before := slices.Clone(maskedPaths)
	got := masked(hostCPUs{possible: cpuSet{0, 3}, online: cpuSet{0}})
	want := append(slices.Clone(before),
		"/sys/devices/system/cpu/cpu0/thermal_throttle", "/sys/devices/system/cpu/cpu3/thermal_throttle")
	if !slices.Equal(got, want) {
		t.Errorf("masked: %q", got)
	}
	if !slices.Equal(maskedPaths, before) {
		t.Error("masked has changed maskedPaths")
	}
}

func TestConfigCgroup(t *testing.T) {
	const limit = 128 << 20
	v1, noSwap := v1Cgroups(true), v1Cgroups(false)
	v2 := cgroupHost{v2: true, swapLimit: true, pidsLimit: true, parent: "/sys/fs/cgroup/a"}
	scope := cgroupHost{v2: true, swapLimit: true, pidsLimit: true, parent: "/sys/fs/cgroup/a.slice", slice: "a.slice"}
	limited := defaults(func(o *options) { o.memory = limit })
	oneCPU := defaults(func(o *options) { o.cpus = cpuSet{1, 2, 3, 5} })
	tests := []struct {
		name string
		opts options
		host cgroupHost
		want cgroups.Resources // without Devices and PidsLimit
	}{
		{"systemd, memory", limited, scope, cgroups.Resources{Memory: limit, MemorySwap: limit, Unified: map[string]string{"memory.oom.group": "1"}}},
		{"v1, no limits", defaults(nil), v1, cgroups.Resources{}},
		{"v1 without swap accounting, no limits", defaults(nil), noSwap, cgroups.Resources{}},
		{"v2, no limits", defaults(nil), v2, cgroups.Resources{}},
		{"v1, memory", limited, v1, cgroups.Resources{Memory: limit, MemorySwap: limit}},
		{"v1 without swap accounting, memory", limited, noSwap, cgroups.Resources{Memory: limit}},
		{"v2, memory", limited, v2, cgroups.Resources{Memory: limit, MemorySwap: limit, Unified: map[string]string{"memory.oom.group": "1"}}},
		{"v1, CPUs", oneCPU, v1, cgroups.Resources{CpusetCpus: "1-3,5"}},
		{"v2, CPUs", oneCPU, v2, cgroups.Resources{CpusetCpus: "1-3,5"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cgroup := cgroupConfig("0a1b2c3d", test.opts, host{cgroup: test.host})
			path := map[string]string{"/sys/fs/cgroup/a": "/a/contain-0a1b2c3d", "/sys/fs/cgroup/a.slice": "/a.slice/contain-0a1b2c3d.scope/program"}[test.host.parent]
			if path == "" {
				path = "/contain-0a1b2c3d"
			}
			if cgroup.Path != path || cgroup.Systemd || cgroup.Rootless {
				t.Errorf("cgroup %+v", cgroup)
			}
			got := *cgroup.Resources
			if got.PidsLimit == nil || *got.PidsLimit != 4096 {
				t.Errorf("pids limit %v, want 4096", got.PidsLimit)
			}
			if got.SkipDevices || got.OomKillDisable {
				t.Errorf("SkipDevices %v, OomKillDisable %v", got.SkipDevices, got.OomKillDisable)
			}
			got.Devices, got.PidsLimit = nil, nil
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("\n got %+v\nwant %+v", got, test.want)
			}
		})
	}
}

// Each limit is in the fields of its own and in no others.
func TestConfigLimits(t *testing.T) {
	const size, soft = 128 << 20, 64 << 20
	both := func(v1, v2 cgroups.Resources) map[bool]cgroups.Resources {
		return map[bool]cgroups.Resources{false: v1, true: v2}
	}
	same := func(r cgroups.Resources) map[bool]cgroups.Resources { return both(r, r) }
	tests := []struct {
		name   string
		change func(*options)
		want   map[bool]cgroups.Resources // v2 or not; without Devices and PidsLimit
	}{
		{"quota", func(o *options) { o.cpuQuota = 150000 }, same(cgroups.Resources{CpuQuota: 150000, CpuPeriod: 100000})},
		{"least quota", func(o *options) { o.cpuQuota = 1000 }, same(cgroups.Resources{CpuQuota: 1000, CpuPeriod: 100000})},
		{"weight", func(o *options) { o.cpuWeight = 50 }, both(cgroups.Resources{CpuShares: 512}, cgroups.Resources{CpuWeight: 50})},
		{"everybody's weight", func(o *options) { o.cpuWeight = 100 }, both(cgroups.Resources{CpuShares: 1024}, cgroups.Resources{CpuWeight: 100})},
		{"least weight", func(o *options) { o.cpuWeight = 1 }, both(cgroups.Resources{CpuShares: 10}, cgroups.Resources{CpuWeight: 1})},
		{"most weight", func(o *options) { o.cpuWeight = 10000 }, both(cgroups.Resources{CpuShares: 102400}, cgroups.Resources{CpuWeight: 10000})},
		{"soft limit", func(o *options) { o.memorySoft = soft },
			both(cgroups.Resources{MemoryReservation: soft}, cgroups.Resources{Unified: map[string]string{"memory.high": "67108864"}})},
		{"soft and hard limit", func(o *options) { o.memory, o.memorySoft = size, soft },
			both(cgroups.Resources{Memory: size, MemorySwap: size, MemoryReservation: soft},
				cgroups.Resources{Memory: size, MemorySwap: size, Unified: map[string]string{"memory.oom.group": "1", "memory.high": "67108864"}})},
		// Times, limits of each process and of the network are not the cgroup's.
		{"others", func(o *options) {
			o.wall, o.cpuTime, o.rlimits, o.bandwidth = 1, 1, []rlimit{{"as", 1, 1}}, bandwidth{1, 1}
		}, same(cgroups.Resources{})},
	}
	for _, test := range tests {
		for v2, want := range test.want {
			h := host{cgroup: v1Cgroups(true)}
			if v2 {
				h.cgroup = cgroupHost{v2: true, swapLimit: true, pidsLimit: true, parent: "/sys/fs/cgroup/a"}
			}
			got := *cgroupConfig("0a1b2c3d", defaults(test.change), h).Resources
			got.Devices, got.PidsLimit = nil, nil
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s, v2 %v:\n got %+v\nwant %+v", test.name, v2, got, want)
			}
		}
	}
}

func TestConfigPidsLimit(t *testing.T) {
	for _, test := range []struct {
		asked      int64
		controller bool
		want       int64
	}{{0, true, 4096}, {1, true, 1}, {4194304, true, 4194304}, {0, false, 0}, {7, false, 0}} {
		for _, v2 := range []bool{false, true} {
			opts := defaults(func(o *options) { o.pids = test.asked })
			got := cgroupConfig("0a1b2c3d", opts, host{cgroup: cgroupHost{v2: v2, pidsLimit: test.controller}}).PidsLimit
			if (got != nil) != test.controller || got != nil && *got != test.want {
				t.Errorf("%+v, v2 %v: %v", test, v2, got)
			}
		}
	}
}

// The resolved devices count, not those that were asked for.
func TestConfigIO(t *testing.T) {
	opts := defaults(func(o *options) { o.io = []ioLimit{{device: "/dev/sda1", rbps: 9}} })
	want := cgroups.Resources{
		BlkioThrottleReadBpsDevice:   []*cgroups.ThrottleDevice{cgroups.NewThrottleDevice(8, 0, 1)},
		BlkioThrottleWriteBpsDevice:  []*cgroups.ThrottleDevice{cgroups.NewThrottleDevice(8, 16, 2)},
		BlkioThrottleReadIOPSDevice:  []*cgroups.ThrottleDevice{cgroups.NewThrottleDevice(8, 16, 3)},
		BlkioThrottleWriteIOPSDevice: []*cgroups.ThrottleDevice{cgroups.NewThrottleDevice(8, 0, 4), cgroups.NewThrottleDevice(8, 16, 5)},
	}
	for _, cgroup := range []cgroupHost{v1Cgroups(true), {v2: true, swapLimit: true, pidsLimit: true, parent: "/sys/fs/cgroup/a"}} {
		h := host{cgroup: cgroup, io: []ioLimit{{rbps: 1, wiops: 4, number: unix.Mkdev(8, 0)}, {wbps: 2, riops: 3, wiops: 5, number: unix.Mkdev(8, 16)}}}
		got := *cgroupConfig("0a1b2c3d", opts, h).Resources
		got.Devices, got.PidsLimit = nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("v2 %v:\n got %+v\nwant %+v", cgroup.v2, got, want)
		}
	}
}

func TestConfigSysctls(t *testing.T) {
	off := map[string]string{"net.ipv6.conf.all.disable_ipv6": "1"}
	ipv4 := map[string]string{
		"net.ipv4.conf.default.arp_notify":       "1",
		"net.ipv4.conf.all.accept_redirects":     "0",
		"net.ipv4.conf.default.accept_redirects": "0",
		"net.ipv4.conf.all.accept_source_route":  "0",
	}
	ipv4Only, quiet := maps.Clone(ipv4), maps.Clone(ipv4)
	maps.Copy(ipv4Only, off)
	maps.Copy(quiet, map[string]string{
		"net.ipv6.conf.default.disable_ipv6":     "0",
		"net.ipv6.conf.default.accept_ra":        "0",
		"net.ipv6.conf.default.accept_redirects": "0",
		"net.ipv6.conf.default.autoconf":         "0",
		"net.ipv6.conf.default.addr_gen_mode":    "1",
		"net.ipv6.conf.default.ndisc_notify":     "1",
	})
	tests := []struct {
		name    string
		ipv6    bool
		address []string
		want    map[string]string
	}{
		{"no address", true, nil, off},
		{"IPv4 address", true, []string{"10.0.0.2/24"}, ipv4Only},
		{"IPv6 address", true, []string{"2001:db8::2/64"}, quiet},
		{"both", true, []string{"10.0.0.2/24", "2001:db8::2/64"}, quiet},
		{"no IPv6 in the kernel", false, nil, nil},
		{"no IPv6 in the kernel, IPv4 address", false, []string{"10.0.0.2/24"}, ipv4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := v1Host()
			h.ipv6 = test.ipv6
			opts := defaults(func(o *options) { o.address = prefixes(test.address...) })
			if got := newConfig("0a1b2c3d", opts, h).Sysctl; !maps.Equal(got, test.want) {
				t.Errorf("sysctls %v, want %v", got, test.want)
			}
		})
	}
}

// Raising a hard limit is a privilege that contain need not have, and that the
// caller may have given up on purpose.
func TestConfigCoreLimit(t *testing.T) {
	for hard, want := range map[uint64]uint64{0: 0, 1: 1, 2: 1, 4096: 1, unix.RLIM_INFINITY: 1} {
		h := v1Host()
		h.coreHard = hard
		got := newConfig("0a1b2c3d", defaults(nil), h).Rlimits
		if !slices.Equal(got[:1], []configs.Rlimit{{Type: unix.RLIMIT_CORE, Soft: want, Hard: want}}) {
			t.Errorf("hard limit %d: %+v, want %d", hard, got, want)
		}
	}
}

func TestConfigIsPure(t *testing.T) {
	h := v1Host()
	opts := defaults(func(o *options) { o.memory, o.cpus = 1<<20, cpuSet{0} })
	first := newConfig("0a1b2c3d", opts, h)
	if again := newConfig("0a1b2c3d", opts, h); !reflect.DeepEqual(first, again) {
		t.Errorf("two different configurations:\n%+v\n%+v", first, again)
	}
	*first.Umask = 0
	*first.Cgroups.PidsLimit = 0
	if second := newConfig("0a1b2c3d", opts, h); *second.Umask != 0o027 || *second.Cgroups.PidsLimit != 4096 {
		t.Error("a configuration shares values with another")
	}
}

// -print-config shows what was asked for, each list as one.
func TestPrintConfig(t *testing.T) {
	opts := defaults(func(o *options) {
		o.readOnly, o.workdir, o.user, o.ids, o.calls.profile = true, "/w", programUser{5, 7}, idRange{wanted: true}, "none"
		o.attach.kind = netHost
	})
	h := v1Host()
	h.affinity, h.home = nil, "/h"
	var out strings.Builder
	if err := printConfig(&out, opts, h); err != nil {
		t.Fatal(err)
	}
	var e effective
	if err := json.Unmarshal([]byte(out.String()), &e); err != nil {
		t.Fatal(err)
	}
	if !e.ReadOnly || e.Workdir != "/w" || e.UID != 5 || e.GID != 7 || len(e.Capabilities) > 0 || e.Seccomp.Profile != "none" || e.NewPrivs ||
		e.IDs == nil || e.IDs.First != nil || e.IDs.Count != 65536 || e.Network.Kind != netHost {
		t.Errorf("%s", out.String())
	}
	if want := []string{"cgroup", "ipc", "mnt", "pid", "user", "uts"}; !slices.Equal(e.Namespaces, want) {
		t.Errorf("namespaces %q, want %q", e.Namespaces, want)
	}
	for _, m := range e.Mounts {
		if want := map[string][]string{"/sys": {"ro", "nosuid", "nodev", "noexec"}, "/proc": {"nosuid", "nodev", "noexec"}}[m.At]; want != nil && !slices.Equal(m.Options, want) {
			t.Errorf("%s: %q, want %q", m.At, m.Options, want)
		}
	}
}
