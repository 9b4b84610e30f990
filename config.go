// From options to libcontainer's configuration. Nothing here reads or changes
// the host, so that all of it is tested as a table.

package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// pidsLimit is how many tasks (threads count) a program's tree may have unless
// told otherwise, so that a fork bomb ends with EAGAIN inside and the host stays
// usable.
const pidsLimit = 4096

// grace is how long a program has to end by SIGTERM unless told otherwise.
const grace = 5 * time.Second

// sigPending is how many signals may be queued for the program.
const sigPending = 4096

// initCapabilities are those of pid1: what it needs to make the program, and what it
// is to leave that.
func initCapabilities(program capSet) *configs.Capabilities {
	names := (program | pid1CapSet).names()
	return &configs.Capabilities{Bounding: names, Effective: names, Permitted: names}
}

// maskedPaths show nothing and readonlyPaths cannot be written: Docker's defaults; and
// what tells of the host's memory page by page, and what makes a block device of the
// host's by being read. Those that a kernel does not have are skipped.
var maskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
	"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
	"/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	"/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags", "/sys/class/zram-control",
}

var readonlyPaths = []string{
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
}

// host is what the configuration depends on beside the options: facts about
// this machine and about contain's caller, read before anything is changed.
type host struct {
	rootfs      *rootfs
	cpus        hostCPUs
	cgroup      cgroupHost
	ipv6        bool // the kernel has IPv6
	timens      bool // and time namespaces
	umask       uint32
	coreHard    uint64             // the caller's RLIMIT_CORE, hard
	pendingHard uint64             // and RLIMIT_SIGPENDING
	orphaned    bool               // contain's process group is, see there
	affinity    unix.CPUSetDynamic // what the program may run on
	home        string             // of user 0 in the rootfs
	tty         ttyPlan
	lent        []lentTerminal
	netns       *os.File // to join; or nil
	bridge      bridge
	io          []ioLimit // resolved
	own         ownStatus // contain's
	caps        capSet    // of the program
	filter      []unix.SockFilter
	devices     []*devices.Device // that it gets beside the usual
}

// newConfig returns what libcontainer must do for opts on this host. The
// container's cgroup and hostname are named after id.
func newConfig(id string, opts options, h host) *configs.Config {
	config := &configs.Config{
		Rootfs:          "/", // for libcontainer to check; then it is where init.go mounts the rootfs
		RootPropagation: unix.MS_PRIVATE | unix.MS_REC,
		Umask:           &h.umask,
		Hostname:        hostname(id, opts),
		Namespaces: configs.Namespaces{
			{Type: configs.NEWNS}, {Type: configs.NEWPID}, {Type: configs.NEWIPC},
			{Type: configs.NEWUTS}, {Type: configs.NEWNET}, // and a cgroup namespace: pid1 makes it
		},
		Mounts:          append(mounts(), cgroupMounts(id, h.cgroup)...),
		Devices:         append(deviceNodes(), h.devices...),
		MaskPaths:       opts.without(masked(h.cpus)),
		ReadonlyPaths:   opts.without(readonlyPaths),
		Capabilities:    initCapabilities(h.caps),
		NoNewPrivileges: !opts.newPrivs,
		Rlimits: []configs.Rlimit{
			// Exactly 1 is the kernel's word for "no core file, and no core_pattern
			// program on the host either" (fs/coredump.c).
			{Type: unix.RLIMIT_CORE, Soft: min(1, h.coreHard), Hard: min(1, h.coreHard)},
		},
		Networks: []*configs.Network{{Type: "loopback"}},
		Sysctl:   sysctls(opts, h),
		Cgroups:  cgroupConfig(id, opts, h),
	}
	if opts.ids.wanted {
		config.Namespaces.Add(configs.NEWUSER, "")
		config.UIDMappings, config.GIDMappings = opts.ids.mappings(), opts.ids.mappings()
	}
	if h.timens {
		config.Namespaces.Add(configs.NEWTIME, "") // as Docker does; its clocks are the host's
	}
	shareNetwork(config, opts, h)
	return config
}

// hostname is what -hostname says, or the id: never the host's.
func hostname(id string, opts options) string {
	if opts.hostname != "" {
		return opts.hostname
	}
	return id
}

// shareNetwork leaves the program in contain's netns, or puts it into another that is
// there already: nothing is changed in such.
func shareNetwork(config *configs.Config, opts options, h host) {
	switch {
	case opts.attach.kind == netHost:
		config.Namespaces.Remove(configs.NEWNET)
	case h.netns != nil:
		config.Namespaces.Add(configs.NEWNET, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), h.netns.Fd()))
	default:
		return
	}
	config.Networks, config.Sysctl = nil, opts.sysctl
}

// mounts lists the file systems of every container. /dev and /dev/shm count
// against the memory limit. Pseudo terminals are few on a host, 4096 by default.
func mounts() []*configs.Mount {
	const hard = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV
	return []*configs.Mount{
		procMount(),
		{Source: "tmpfs", Destination: "/dev", Device: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_STRICTATIME, Data: "mode=755,size=65536k"},
		{Source: "devpts", Destination: "/dev/pts", Device: "devpts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Data: "newinstance,ptmxmode=0666,mode=0620,gid=5,max=256"},
		{Source: "shm", Destination: "/dev/shm", Device: "tmpfs", Flags: hard, Data: "mode=1777,size=65536k"},
		{Source: "mqueue", Destination: "/dev/mqueue", Device: "mqueue", Flags: hard},
		{Source: "sysfs", Destination: "/sys", Device: "sysfs", Flags: hard | unix.MS_RDONLY},
	}
}

// procMount is the procfs of every container.
func procMount() *configs.Mount {
	const hard = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV
	return &configs.Mount{Source: "proc", Destination: "/proc", Device: "proc", Flags: hard}
}

// mountOptions names the flags of a mount that keep something from the program.
func mountOptions(flags int) (names []string) {
	for _, o := range []struct {
		flag int
		name string
	}{{unix.MS_RDONLY, "ro"}, {unix.MS_NOSUID, "nosuid"}, {unix.MS_NODEV, "nodev"}, {unix.MS_NOEXEC, "noexec"}} {
		if flags&o.flag != 0 {
			names = append(names, o.name)
		}
	}
	return names
}

// cgroupMounts show the container's own cgroup, from which runtimes read their
// limits, where they look for it. In the cgroup namespace that the program gets
// it is the root.
func cgroupMounts(id string, h cgroupHost) []*configs.Mount {
	const hard = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV | unix.MS_RDONLY
	bind := func(dir, to string) *configs.Mount {
		return &configs.Mount{Source: dir, Destination: to, Device: "bind", Flags: unix.MS_BIND | hard}
	}
	if h.v2 {
		return []*configs.Mount{bind(cgroup2Dir(id, h), cgroup2Root)}
	}
	list := []*configs.Mount{{Source: "tmpfs", Destination: cgroup2Root, Device: "tmpfs", Flags: hard, Data: "mode=755,size=64k"}}
	for _, one := range h.v1 {
		list = append(list, bind(one.cgroup(id), cgroup2Root+"/"+one.name))
		for _, controller := range one.controllers {
			if controller != one.name { // elsewhere a symbolic link
				list = append(list, bind(one.cgroup(id), cgroup2Root+"/"+controller))
			}
		}
	}
	return list
}

// deviceNodes are the devices that exist in /dev. ptmx and the terminals come
// with devpts.
func deviceNodes() []*devices.Device {
	node := func(path string, major, minor int64) *devices.Device {
		return &devices.Device{Path: path, FileMode: 0o666, Rule: charDevice(major, minor)}
	}
	return []*devices.Device{
		node("/dev/null", 1, 3), node("/dev/zero", 1, 5), node("/dev/full", 1, 7),
		node("/dev/random", 1, 8), node("/dev/urandom", 1, 9), node("/dev/tty", 5, 0),
	}
}

// charDevice allows reading and writing; no rule allows mknod.
func charDevice(major, minor int64) devices.Rule {
	return devices.Rule{Type: devices.CharDevice, Major: major, Minor: minor, Permissions: "rw", Allow: true}
}

// deviceRules is the whole device access list, the first rule denying all. Not
// libcontainer's AllowedDevices: those allow mknod of everything and /dev/net/tun.
func deviceRules(more []*devices.Device) []*devices.Rule {
	rules := []*devices.Rule{{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm"}}
	for _, d := range append(deviceNodes(), more...) {
		rules = append(rules, &d.Rule)
	}
	ptmx, pts := charDevice(5, 2), charDevice(136, devices.Wildcard)
	return append(rules, &ptmx, &pts)
}

// masked adds to maskedPaths the files that exist once per CPU.
func masked(cpus hostCPUs) []string {
	paths := slices.Clone(maskedPaths)
	for _, cpu := range cpus.possible {
		paths = append(paths, fmt.Sprintf("/sys/devices/system/cpu/cpu%d/thermal_throttle", cpu))
	}
	return paths
}

// sysctls are set inside the container's network namespace before eth0
// appears in it: IPv6 is off unless asked for, and never autoconfigured; neighbours
// are told of a change of the hardware address (announce), and do not tell of routes.
func sysctls(opts options, h host) map[string]string {
	set := map[string]string{}
	if len(opts.address) > 0 {
		set["net.ipv4.conf.default.arp_notify"] = "1"
		set["net.ipv4.conf.all.accept_redirects"] = "0"
		set["net.ipv4.conf.default.accept_redirects"] = "0"
		set["net.ipv4.conf.all.accept_source_route"] = "0"
	}
	switch {
	case !h.ipv6:
	case opts.has(false):
		set["net.ipv6.conf.default.disable_ipv6"] = "0"
		set["net.ipv6.conf.default.accept_ra"] = "0"
		set["net.ipv6.conf.default.accept_redirects"] = "0"
		set["net.ipv6.conf.default.autoconf"] = "0"
		set["net.ipv6.conf.default.addr_gen_mode"] = "1" // no link-local one
		set["net.ipv6.conf.default.ndisc_notify"] = "1"
	default:
		// The kernel sets the default with it. Each costs its lock, and while others
		// hold that, writing spins (addrconf_disable_ipv6 in net/ipv6/addrconf.c).
		set["net.ipv6.conf.all.disable_ipv6"] = "1"
	}
	maps.Copy(set, opts.sysctl)
	return set
}

// cgroupConfig limits the container's cgroup, and names it for libcontainer.
func cgroupConfig(id string, opts options, host host) *cgroups.Cgroup {
	h, r := host.cgroup, &cgroups.Resources{Devices: deviceRules(host.devices)}
	for _, l := range host.io {
		limitIO(r, l)
	}
	if h.pidsLimit {
		limit := int64(pidsLimit)
		if opts.pids != 0 {
			limit = opts.pids
		}
		r.PidsLimit = &limit
	}
	if opts.cpus != nil {
		r.CpusetCpus = opts.cpus.String()
	}
	if r.Memory = opts.memory; r.Memory != 0 {
		if h.swapLimit {
			r.MemorySwap = opts.memory // memory and swap together
		}
		if h.v2 {
			r.Unified = map[string]string{"memory.oom.group": "1"}
		}
	}
	limitSoft(r, opts.memorySoft, h.v2)
	if opts.cpuQuota != 0 {
		r.CpuQuota, r.CpuPeriod = opts.cpuQuota, cpuPeriod
	}
	if h.v2 {
		r.CpuWeight = opts.cpuWeight
	} else if opts.cpuWeight != 0 {
		// Everybody's share is 1024, the least 2, and the most 2^18.
		r.CpuShares = min(max(opts.cpuWeight*1024/100, 2), 1<<18)
	}
	if !h.v2 {
		// Absolute, for libcontainer.Create would look up contain's own cgroup for each controller
		// otherwise: 0.4 ms. It is looked for there, for what is left or frozen; newCgroup1
		// knows where it is made.
		return &cgroups.Cgroup{Path: "/contain-" + id, Resources: r}
	}
	return &cgroups.Cgroup{Path: strings.TrimPrefix(cgroup2Dir(id, h), cgroup2Root), Resources: r}
}

// limitSoft sets the amount of memory above which a cgroup is reclaimed from: on v2
// at once, and held up; on v1 when the host is short of it.
func limitSoft(r *cgroups.Resources, size int64, v2 bool) {
	switch {
	case size == 0:
	case !v2:
		r.MemoryReservation = size
	case r.Unified == nil:
		r.Unified = map[string]string{"memory.high": strconv.FormatInt(size, 10)}
	default:
		r.Unified["memory.high"] = strconv.FormatInt(size, 10)
	}
}

// cgroup2Dir is the directory of the container's cgroup on a v2 host.
func cgroup2Dir(id string, h cgroupHost) string {
	if h.slice != "" {
		return h.parent + "/" + scopeName(id) + "/program"
	}
	return h.parent + "/contain-" + id
}
