package test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/cgroups"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A list of what people and scripts get wrong, by number. Whatever it is, contain says
// so in one line that no foreign text can forge, and leaves nothing. Of what only looks
// wrong the program starts, and says nothing. What is not here is at the end.

// badValue is a row of values of one flag, and what contain says of each, after
// repeating flag and value; "": the program starts.
type badValue struct {
	row    int
	text   string
	values []string
}

// badLine is a row of whole command lines, less contain, and all that it says of each;
// "": the program ends with 7.
type badLine struct {
	row  int
	text string
	args []string
}

const usageHint = "hint: contain -h lists the flags; they go before the program"

var exit7 = []string{"--", "probe", "exit", "7"}

// refused fails the test unless contain ended with code and said text, whose end after
// an ellipsis is anyone's, and maybe a hint. One that is in the text must be there.
func (r result) refused(t *testing.T, code int, text string) {
	t.Helper()
	start := strings.TrimSuffix(text, "…")
	said := strings.TrimSuffix(r.stderr, "\n")
	if !strings.Contains(text, "\n") {
		said, _, _ = strings.Cut(said, "\n")
		r.wantError(t, code, start)
	}
	if r.code() != code || r.stdout != "" || !strings.HasPrefix(said, "contain: "+start) || start == text && said != "contain: "+text {
		t.Errorf("status %d, stdout %q, stderr %q; want status %d and %q", r.code(), r.stdout, r.stderr, code, text)
	}
	lines := strings.ReplaceAll(r.stderr, "\n", "")
	if len(lines) > 1000 || !utf8.ValidString(lines) || strings.ContainsFunc(lines, func(c rune) bool { return !unicode.IsPrint(c) }) {
		t.Errorf("stderr is not fit to print: %.2000q", r.stderr)
	}
}

// accepted fails the test unless the program ran, and contain said nothing.
func (r result) accepted(t *testing.T, code int, stdout string) {
	t.Helper()
	if r.code() != code || r.stdout != stdout || r.stderr != "" {
		t.Errorf("status %d, stdout %.300q, stderr %.300q; want status %d and stdout %q", r.code(), r.stdout, r.stderr, code, stdout)
	}
}

// judge is refused with 125, or without text accepted.
func (r result) judge(t *testing.T, text string) {
	t.Helper()
	if text == "" {
		r.accepted(t, 7, "")
		return
	}
	r.refused(t, 125, text)
}

// row runs f as the subtest of a row.
func row(t *testing.T, number int, f func(t *testing.T)) {
	t.Helper()
	t.Run("row "+itoa(number), f)
}

// quoted is a value as messages repeat it.
func quoted(value string) string {
	if len(value) > 200 {
		return fmt.Sprintf("%q...", value[:200])
	}
	return fmt.Sprintf("%q", value)
}

// tryValues gives the values to a flag, after other arguments.
func tryValues(t *testing.T, flag string, rows []badValue, before ...string) {
	t.Helper()
	for _, c := range rows {
		row(t, c.row, func(t *testing.T) {
			for _, v := range c.values {
				text := c.text
				if text != "" {
					text = flag + " " + quoted(v) + ": " + text
				}
				contain(t, slices.Concat(before, []string{flag, v}, exit7)...).judge(t, text)
			}
		})
	}
}

// tryLines gives the command lines.
func tryLines(t *testing.T, rows []badLine) {
	t.Helper()
	for _, c := range rows {
		row(t, c.row, func(t *testing.T) { contain(t, c.args...).judge(t, c.text) })
	}
}

// untouched fails the test if at its end a rootfs holds more than its programs.
func untouched(t *testing.T, root string) {
	t.Helper()
	t.Cleanup(func() {
		if entries, err := os.ReadDir(root); err != nil || len(entries) != 1 {
			t.Errorf("DIR holds %v, %v", entries, err)
		}
	})
}

const (
	notASize    = "not a size, such as 128M"
	unknownUnit = "unknown unit (known: B, K, M, G, T, P)"
	belowAPage  = "below one page of memory"
	tooLarge    = "too large"
)

func TestBadInputMemory(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	untouched(t, root)
	tryValues(t, "-memory-limit", []badValue{
		{1, "empty size", []string{""}},
		{2, "must be greater than zero (leave the flag out for no limit)", []string{"0", "0M", "0.0"}},
		{3, "must not be negative", []string{"-1", "-1M"}},
		{4, "below one byte", []string{"0.4"}},
		{5, tooLarge, []string{"9223372036854775807", "9223372036854775808", "18446744073709551615", "99999999P"}},
		{6, unknownUnit, []string{"8E", "128Q", "128MBB", "50%"}},
		{7, notASize, []string{"abc", "M", "max", "NaN", "Inf"}},
		{8, notASize, []string{"0x10", "1e3", "1_000", "+5M", ".5M", "1.", "12,5M", "1.2.3M"}},
		{9, notASize, []string{" 128M", "128M ", "128M\n", "١٢٨M", "128M\x1b[1m\xff"}},
		{11, belowAPage, []string{"1", "4095", "1K"}},
	}, "-chroot", root)
	tryLines(t, []badLine{
		{12, `-memory-limit "65536": too small, the least is 256KiB`, append([]string{"-chroot", root, "-memory-limit", "64K"}, exit7...)},
	})
}

func TestBadInputMemoryAccepted(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	tryValues(t, "-memory-limit", []badValue{
		{12, "", []string{"1MB"}},
		{13, "", []string{"1023T"}}, // more than this machine has
	}, "-chroot", root)
	limit := "/sys/fs/cgroup/memory.max"
	if !unified() {
		limit = "/sys/fs/cgroup/memory/memory.limit_in_bytes"
	}
	row(t, 10, func(t *testing.T) {
		for _, size := range []string{"128M", "128m", "128MB", "128MiB", "128 M"} {
			contain(t, "-chroot", root, "-memory-limit", size, "--", "probe", "cat", limit).accepted(t, 0, "134217728\n")
		}
	})
	row(t, 15, func(t *testing.T) { // the last one counts, so that wrappers can have defaults
		contain(t, "-chroot", root, "-memory-limit", "1", "-memory-limit", "64M", "--", "probe", "cat", limit).accepted(t, 0, "67108864\n")
	})
}

// narrowed makes a cgroup in the tests' own where a file of a controller has a value,
// and returns what runs contain in it.
func narrowed(t *testing.T, controller, file, value string) func(args ...string) result {
	t.Helper()
	own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("/sys/fs/cgroup", controller, own[controller], "narrow")
	dirs := []string{dir}
	if unified() {
		dir = filepath.Join(filepath.Dir(ownCgroup2(t)), "narrow")
		dirs = []string{dir, filepath.Join(dir, "caller")} // contain makes its cgroups beside its own
	}
	for _, d := range dirs {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := cgroups.RemovePath(d); err != nil {
				t.Error(err)
			}
		})
	}
	files := [][2]string{{file, value}}
	switch {
	case unified():
		files = append(files, [2]string{"cgroup.subtree_control", "+memory +pids +cpuset"})
	case controller == "cpuset":
		files = append([][2]string{{"cpuset.mems", "0"}}, files...)
	}
	for _, f := range files {
		if err := cgroups.WriteFile(dir, f[0], f[1]); err != nil {
			t.Fatal(err)
		}
	}
	return func(args ...string) result {
		t.Helper()
		command := append([]string{"-c", `echo 0 > "$0"/cgroup.procs && exec "$@"`, dirs[len(dirs)-1], containPath}, args...)
		return startCommand(t, exec.Command("sh", command...)).wait(t)
	}
}

// The cgroup that contain is started in may allow less than the machine has.
func TestBadInputParents(t *testing.T) {
	if underSystemd() {
		t.Skip("there the cgroups are where systemd puts them")
	}
	leavesNothing(t)
	root := rootfs(t)
	row(t, 14, func(t *testing.T) {
		file := "memory.max"
		if !unified() {
			file = "memory.limit_in_bytes"
		}
		run := narrowed(t, "memory", file, "67108864")
		run(append([]string{"-chroot", root, "-memory-limit", "1G"}, exit7...)...).accepted(t, 7, "")
	})
	row(t, 20, func(t *testing.T) {
		online, err := os.ReadFile("/sys/devices/system/cpu/online")
		if err != nil {
			t.Fatal(err)
		}
		cpu := firstCPU(t)
		run := narrowed(t, "cpuset", "cpuset.cpus", cpu)
		run(append([]string{"-chroot", root, "-cpu-core-ids", cpu}, exit7...)...).accepted(t, 7, "")
		if strings.Trim(string(online), "0123456789\n") == "" {
			t.Skip("this machine has one CPU")
		}
		last := strings.TrimSpace(string(online[bytes.LastIndexAny(online, ",-")+1:]))
		run(append([]string{"-chroot", root, "-cpu-core-ids", last}, exit7...)...).
			refused(t, 125, fmt.Sprintf(`-cpu-core-ids "%s": CPU %[1]s is not available to contain (available: %s)`, last, cpu))
	})
}

const (
	notCPUs      = "not a list of CPUs, such as 1,3 or 0-7"
	emptyElement = "empty element in the list"
	largeCPU     = "CPU number too large (at most 8191)"
)

func TestBadInputCPUs(t *testing.T) {
	leavesNothing(t)
	root, cpu := rootfs(t), firstCPU(t)
	untouched(t, root)
	tryValues(t, "-cpu-core-ids", []badValue{
		{16, "empty list", []string{""}},
		{17, "CPU 8191 does not exist (available: …", []string{"8191"}},
		{18, "CPU 8191 does not exist (available: …", []string{cpu + ",8191"}},
		{21, "range 3-1 is reversed", []string{"3-1"}},
		{22, notCPUs, []string{"1-", "-1", "0--1", "1-2-3"}},
		{23, emptyElement, []string{",", "0,,1", "0,", ",0"}},
		{24, notCPUs, []string{"0 1", "0;1", "0, 1"}},
		{25, notCPUs, []string{"0\n1"}},
		{26, notCPUs, []string{"all", "N", "0-N", "none", "0-1:1/2"}},
		{27, notCPUs, []string{"0x1", "１", "1.0", "+1", "1e0"}},
		// The kernel takes no argument of 1 MB.
		{28, largeCPU, []string{"4294967296", strings.Repeat("4", 40), strings.Repeat("4", 131000)}},
	}, "-chroot", root)
}

func TestBadInputCPUsAccepted(t *testing.T) {
	leavesNothing(t)
	root, cpu := rootfs(t), firstCPU(t)
	for number, lists := range map[int][]string{
		29:  {"0" + cpu, "00" + cpu},
		30:  {fmt.Sprintf("%s,%[1]s,%[1]s-%[1]s", cpu)},
		122: {cpu}, // the problem statement spells the flag so
	} {
		row(t, number, func(t *testing.T) {
			for _, list := range lists {
				r := contain(t, "-chroot", root, "-cpu-coreids", list, "--", "probe", "cat", "/proc/self/status")
				if got := field(r.stdout, "Cpus_allowed_list"); got != cpu || r.stderr != "" {
					t.Errorf("%s: CPUs %q, stderr %q", list, got, r.stderr)
				}
			}
		})
	}
}

const notAnAddress = "not an address, such as 192.168.2.17/24"

func TestBadInputAddress(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	untouched(t, root)
	long := strings.Repeat("1", 131000) // of 1 MB the kernel takes none
	tryValues(t, "-network-address", []badValue{
		{31, "empty address", []string{""}},
		{32, "prefix length is missing, such as 172.17.0.99/24", []string{"172.17.0.99"}},
		{35, notAnAddress, []string{"300.1.1.1/24", "1.2.3/24", "172.017.0.9/24", "0xac.1.1.1/8"}},
		{36, notAnAddress, []string{" 172.17.0.9/24", "172.17.0.9 /24", "172.17.0.9\n", "172.17.0.9,172.17.0.8/24", "\x1b[1m/\xff"}},
		{37, "is the network address of 172.17.0.0/24", []string{"172.17.0.0/24"}},
		{38, "is the broadcast address of 172.17.0.0/24", []string{"172.17.0.255/24"}},
		{41, "prefix length 0 is not one of 1 to 32", []string{"172.17.0.9/0"}},
		{42, "is the unspecified address", []string{"0.0.0.0/24"}},
		{42, "is a reserved address", []string{"255.255.255.255/24"}},
		{43, "is a loopback address", []string{"127.0.0.1/8"}},
		{44, "is a multicast address", []string{"224.0.0.1/4"}},
		{45, "is a reserved address", []string{"240.0.0.1/4"}},
		{46, "not in a network of docker0 (172.17.0.1/24, …", []string{"169.254.1.1/16"}},
		{47, "not in a network of docker0 (172.17.0.1/24, …", []string{"10.9.9.9/24"}},
		{49, "is the address of docker0 itself", []string{"172.17.0.1/24", "2001:db8:17::1/64"}},
		{55, "is a link-local address", []string{"fe80::1/64"}},
		{55, "is the unspecified address", []string{"::/0"}},
		{55, "is a loopback address", []string{"::1/128"}},
		{55, "is a multicast address", []string{"ff02::1/16"}},
		{55, notAnAddress, []string{"fe80::1%eth0/64"}},
		{56, "IPv4-mapped IPv6 address; write it as IPv4", []string{"::ffff:172.17.0.9/120"}},
		{57, notAnAddress, []string{long}},
	}, "-chroot", root)
	for number, ends := range map[int][]string{
		33: {"", "33", "-1", "abc", "24/24", "255.255.255.0"},
		34: {"024"},
		36: {"24\n", "24 x", "24,172.17.0.8/24"},
		57: {long},
	} {
		row(t, number, func(t *testing.T) {
			for _, bits := range ends {
				contain(t, append([]string{"-chroot", root, "-network-address", "172.17.0.99/" + bits}, exit7...)...).
					refused(t, 125, fmt.Sprintf("-network-address %s: %s is not a prefix length of 1 to 32", quoted("172.17.0.99/"+bits), quoted(bits)))
			}
		})
	}
}

// What only looks wrong of an address, and the default route that comes of it. A bridge
// without an address of the family is a segment as good as any.
func TestBadInputAddressAccepted(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for name, addresses := range map[string][]string{
		"br-odd": {"172.28.1.0/31"}, "br-even": {"172.28.1.3/31"}, "br-ll": {"169.254.0.1/16"}, "br-many": {"172.28.2.1/24", "172.28.3.1/24"},
		"br-none": nil, "br-four": {"172.28.4.1/24"}, "br-six": {"2001:db8:28::1/64"},
	} {
		bridge(t, name, addresses...)
	}
	for _, c := range []struct {
		row                      int
		bridge, address, gateway string
	}{
		{39, "br-odd", "172.28.1.1/31", "172.28.1.0"},
		{39, "br-even", "172.28.1.2/31", "172.28.1.3"},
		{40, bridgeName, "172.17.0.99/32", ""}, // reaches nobody, as asked for
		{46, "br-ll", "169.254.1.1/16", "169.254.0.1"},
		{48, bridgeName, "172.17.0.99/16", "172.17.0.1"},
		{48, bridgeName, "172.17.0.99/28", ""}, // the bridge is not in it: no route
		{51, "br-many", "172.28.3.9/24", "172.28.3.1"},
		{52, "br-none", "172.28.5.9/24", ""},
		{53, bridgeName, "2001:db8:17::5/64", "2001:db8:17::1"},
		{54, "br-four", "2001:db8:28::5/64", ""},
		{54, "br-six", "172.28.6.9/24", ""},
	} {
		row(t, c.row, func(t *testing.T) {
			if got := strings.Join(defaultRoutes(t, "-chroot", root, "-bridge", c.bridge, "-network-address", c.address), " "); got != c.gateway {
				t.Errorf("%s on %s: gateway %q, want %q", c.address, c.bridge, got, c.gateway)
			}
		})
	}
	tryLines(t, []badLine{
		{60, "", append([]string{"-chroot", root, "-network-address", "172.17.0.99/24", "-network-address", "172.17.0.98/24"}, exit7...)}, // both count
		{61, "", append([]string{"-chroot", root}, exit7...)},
		{71, "", append([]string{"-chroot", root, "-bridge", "absent0"}, exit7...)},
	})
}

// Addresses that somebody has.
func TestBadInputAddressInUse(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	untouched(t, root)
	bridge(t, "br-none")
	row(t, 50, func(t *testing.T) {
		contain(t, append([]string{"-chroot", root, "-bridge", "br-none", "-network-address", "172.17.0.1/24"}, exit7...)...).
			refused(t, 125, `-network-address "172.17.0.1/24": is an address of "docker0" of this host`)
	})
	row(t, 58, func(t *testing.T) {
		p := start(t, "-chroot", rootfs(t), "-network-address", "172.17.0.60/24", "--", "probe", "wait")
		p.waitLine(t, "ready")
		contain(t, append([]string{"-chroot", root, "-network-address", "172.17.0.60/24"}, exit7...)...).
			refused(t, 125, fmt.Sprint(`-network-address "172.17.0.60/24": is in use by another contain, process `, p.cmd.Process.Pid))
	})
	row(t, 59, func(t *testing.T) {
		neighbour(t, bridgeName, "0e:00:00:00:00:01", "172.17.0.150/24")
		contain(t, append([]string{"-chroot", rootfs(t), "-network-address", "172.17.0.150/24"}, exit7...)...).
			refused(t, 125, `-network-address "172.17.0.150/24": is in use by a neighbour with the hardware address 0e:00:00:00:00:01`)
	})
}

func TestBadInputBridge(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	untouched(t, root)
	inside(t, newNetns(t), func() error { return makeBridge("br-away", "172.31.0.1/24") })
	index := bridge(t, "br-none").Attrs().Index
	for _, name := range []string{"br-down", "d;\x1b[1m"} {
		if err := netlink.LinkSetDown(bridge(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	const absent, notAName = "no such interface", "not an interface name"
	const noPaste = absent + "\nhint: make the bridge first; its name is not one to paste into a shell"
	tryValues(t, "-bridge", []badValue{
		{62, absent, []string{"absent0"}},
		{63, "not a bridge but of type device\nhint: list the bridges: ip link show type bridge", []string{"lo"}},
		{63, "not a bridge but of type veth\nhint: list the bridges: ip link show type bridge", []string{pair(t, "10.5.0.1/24")}},
		{64, "is down\nhint: ip link set br-down up", []string{"br-down"}},
		{64, `is down
hint: ip link set 'd;\x1b[1m' up`, []string{"d;\x1b[1m"}},
		{65, "longer than the 15 characters of an interface name", []string{"1234567890123456", strings.Repeat("é", 8), strings.Repeat("b", 131000)}},
		{66, "empty interface name", []string{""}},
		{66, notAName, []string{".", "..", "a/b", "a b", "a:b", "a\nb"}},
		{67, noPaste, []string{"$(reboot)", ";id", "-x", "é;$(id)", "a\x1b[1m\xff"}},
		{68, absent, []string{itoa(index)}},
		{70, absent, []string{"br-away"}},
	}, "-chroot", root, "-network-address", "172.30.0.99/24")
}

func TestBadInputBridgeAccepted(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	args := []string{"-chroot", root, "-network-address", "172.30.0.99/24"}
	row(t, 67, func(t *testing.T) { // a legal name, which meets no shell and no terminal
		const name, printed = "é;$(id)\x1b", `é;$(id)\x1b`
		link := bridge(t, name, "172.30.0.1/24")
		tryValues(t, "-bridge", []badValue{{67, "", []string{name}}}, args...)
		run := func(address string) []string {
			return append([]string{"-chroot", root, "-bridge", name, "-network-address", address}, exit7...)
		}
		contain(t, run("172.30.0.1/24")...).refused(t, 125, `-network-address "172.30.0.1/24": is the address of `+printed+" itself")
		contain(t, run("10.9.9.9/24")...).refused(t, 125, `-network-address "10.9.9.9/24": not in a network of `+printed+
			" (172.30.0.1/24)\nhint: choose an address in it, or add one to the bridge: ip address add ADDRESS/PREFIX dev '"+printed+"'")
		spanningTree(t, link)
		p := start(t, run("172.30.0.98/24")...)
		waitFor(t, "the message", func() bool { return strings.HasSuffix(p.stderr.String(), "\n") })
		p.signal(t, syscall.SIGTERM)
		p.wait(t).refused(t, 128+int(syscall.SIGTERM), "waiting for bridge "+printed+" to forward (spanning tree protocol?)")
	})
	row(t, 68, func(t *testing.T) { // the kernel knows it by this name, too
		if err := netlink.LinkAddAltName(bridge(t, "br-alt"), "other-name"); err != nil {
			t.Skip("no alternative names: ", err)
		}
		tryValues(t, "-bridge", []badValue{{68, "", []string{"other-name"}}}, args...)
	})
	row(t, 69, func(t *testing.T) {
		if err := netlink.BridgeSetVlanFiltering(bridge(t, "br-vlan", "172.30.0.1/24"), true); err != nil {
			t.Skip("no VLANs: ", err)
		}
		tryValues(t, "-bridge", []badValue{{69, "", []string{"br-vlan"}}}, args...)
	})
}

// badRoots makes the files that the next test gives for DIR.
func badRoots(t *testing.T) (base string) {
	t.Helper()
	base = t.TempDir()
	path := func(name string) string { return filepath.Join(base, name) }
	errs := []error{
		os.WriteFile(path("file"), nil, 0o755), unix.Mkfifo(path("fifo"), 0o600), unix.Mknod(path("socket"), unix.S_IFSOCK|0o600, 0),
		os.Symlink("loop", path("loop")), os.Symlink("nowhere", path("dangling")), os.MkdirAll(path("closed/root"), 0o755),
		os.Mkdir(path("gone"), 0o755), os.Chown(path("closed"), 65534, 65534), os.Chmod(path("closed"), 0o700),
	}
	for _, mounted := range []string{"proc", "sys", "dev"} {
		errs = append(errs, os.Mkdir(path("link-"+mounted), 0o755), os.Symlink("/", path("link-"+mounted+"/"+mounted)),
			os.Mkdir(path("file-"+mounted), 0o755), os.WriteFile(path("file-"+mounted+"/"+mounted), nil, 0o644))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return base
}

func TestBadInputRoot(t *testing.T) {
	leavesNothing(t)
	base := badRoots(t)
	under := func(names ...string) (paths []string) {
		for _, name := range names {
			paths = append(paths, base+"/"+name)
		}
		return paths
	}
	const absent, pseudo = "no such file or directory", "is in a pseudo file system of the kernel, not usable as a root"
	tryValues(t, "-chroot", []badValue{
		{73, "empty", []string{""}},
		{74, absent, under("absent", "absent/root")},
		{75, "not a directory", append(under("file", "file/x", "fifo", "socket"), "/dev/null")},
		{77, "too many levels of symbolic links", under("loop", "loop/x")},
		{78, absent, under("dangling")},
		{80, "is the host's own /, not usable as a root", []string{"/", "//", "/.."}},
		{81, pseudo, []string{"/proc", "/sys", "/proc/self"}},
		{81, "is the host's own /dev, not usable as a root", []string{"/dev"}},
		{81, "is the host's own /, not usable as a root", []string{"/proc/self/root"}},
		{81, "…", []string{"/proc/1/root"}}, // who may follow that link is another matter
		{86, absent, under("new\nline", "tab\t", "\x1b[31m", "\u202e")},
		{87, absent, under("\xff\xfe")},
		{88, "file name too long", append(under(strings.Repeat("n", 256)), strings.Repeat("/d", 2100), strings.Repeat("x", 131000))},
		{93, "proc in it is not a directory (it is mounted over)", under("link-proc", "file-proc")},
		{93, "sys in it is not a directory (it is mounted over)", under("link-sys", "file-sys")},
		{93, "dev in it is not a directory (it is mounted over)", under("link-dev", "file-dev")},
	})
	row(t, 82, func(t *testing.T) { // root, but as NFS sees it
		args := append([]string{"--bounding-set=-dac_override,-dac_read_search", containPath, "-chroot", base + "/closed/root"}, exit7...)
		startCommand(t, exec.Command("setpriv", args...)).wait(t).refused(t, 125, "-chroot "+quoted(base+"/closed/root")+": permission denied")
	})
	row(t, 83, func(t *testing.T) {
		empty := t.TempDir()
		contain(t, append([]string{"-chroot", empty}, exit7...)...).refused(t, 127, `program "probe": not found in /bin:/usr/bin:/sbin:/usr/sbin`)
		if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
			t.Errorf("DIR holds %v, %v", entries, err)
		}
	})
	row(t, 90, func(t *testing.T) {
		cmd := exec.Command("sh", "-c", `rmdir ../gone && exec "$0" -chroot . -- probe`, containPath)
		cmd.Dir = base + "/gone"
		startCommand(t, cmd).wait(t).refused(t, 125, `-chroot ".": no such file or directory`)
	})
}

// mounted is a rootfs on a file system of its own, mounted with flags.
func mounted(t *testing.T, flags uintptr, directories ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	for _, name := range append(directories, "bin") {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, probePath, filepath.Join(dir, "bin", "probe"), 0o755)
	if err := unix.Mount("none", dir, "", unix.MS_REMOUNT|flags, ""); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBadInputMounts(t *testing.T) {
	leavesNothing(t)
	row(t, 84, func(t *testing.T) {
		tryValues(t, "-chroot", []badValue{
			{84, "has no directory proc, and is read-only\nhint: make the directories proc, sys and dev in it", []string{mounted(t, unix.MS_RDONLY)}},
			{84, "", []string{mounted(t, unix.MS_RDONLY, "proc", "sys", "dev")}},
		})
	})
	row(t, 85, func(t *testing.T) {
		tryValues(t, "-chroot", []badValue{{85, "", []string{mounted(t, unix.MS_NODEV|unix.MS_NOSUID)}}})
		contain(t, append([]string{"-chroot", mounted(t, unix.MS_NOEXEC)}, exit7...)...).
			refused(t, 126, `program "/bin/probe": permission denied (its file system is mounted noexec)`)
	})
}

func TestBadInputRootAccepted(t *testing.T) {
	leavesNothing(t)
	root, base := rootfs(t), t.TempDir()
	link := filepath.Join(base, "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	called := func(names ...string) (dirs []string) {
		for _, name := range names {
			dir := filepath.Join(base, name)
			if err := os.MkdirAll(dir+"/bin", 0o755); err != nil {
				t.Fatal(err)
			}
			copyFile(t, probePath, dir+"/bin/probe", 0o755)
			dirs = append(dirs, dir)
		}
		return dirs
	}
	tryValues(t, "-chroot", []badValue{
		{76, "", []string{link}},
		{79, "", []string{root + "/", "/" + strings.ReplaceAll(root, "/", "//") + "//", root + "/bin/.."}},
		{86, "", called("new\nline", "tab\tESC\x1b[31m")},
		{87, "", called("\xff\xfe")},
		{89, "", called(`a:b,c=d\e`)},
	})
	for number, dirs := range map[int][]string{79: {".", "./", "bin/..", "./bin/../bin/..", "../" + filepath.Base(root)}, 81: {"/proc/self/cwd"}} { // the latter is .
		row(t, number, func(t *testing.T) {
			for _, dir := range dirs {
				cmd := exec.Command(containPath, append([]string{"-chroot", dir}, exit7...)...)
				cmd.Dir = root
				startCommand(t, cmd).wait(t).accepted(t, 7, "")
			}
		})
	}
	tryLines(t, []badLine{{92, "", append([]string{"-chroot", base + "/absent", "-chroot", root}, exit7...)}}) // the last one counts
}

// elfFile is an executable for a machine, with a loader.
func elfFile(machine uint16, loader string) string {
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01")
	b.Write(make([]byte, 9))
	binary.Write(&b, binary.LittleEndian, []uint16{2, machine, 1, 0})
	binary.Write(&b, binary.LittleEndian, []uint64{0, 64, 0})
	binary.Write(&b, binary.LittleEndian, []uint16{0, 0, 64, 56, 1, 0, 0, 0})
	size := uint64(len(loader) + 1)
	binary.Write(&b, binary.LittleEndian, []uint32{3, 4}) // PT_INTERP
	binary.Write(&b, binary.LittleEndian, []uint64{120, 0, 0, size, size, 1})
	return b.String() + loader + "\x00"
}

// badPrograms makes a rootfs with programs that do not start.
func badPrograms(t *testing.T) (root string) {
	t.Helper()
	root = rootfs(t)
	probe, err := os.ReadFile(probePath)
	if err != nil {
		t.Fatal(err)
	}
	own := binary.LittleEndian.Uint16(probe[18:])
	for name, text := range map[string]string{
		"arch": elfFile(0xfffe, "/no"), "garbage": "garbage\n", "empty": "", "script": "#!/nope\n", "noline": "echo\n",
		"dynamic": elfFile(own, "/lib64/ld-nope.so.2"), "crlf": "#!/bin/sh\r\necho\r\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, probePath, filepath.Join(root, "mode"), 0o644)
	// There is such a file, but not in DIR.
	if err := os.Symlink(containPath, filepath.Join(root, "outside")); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestBadInputProgram(t *testing.T) {
	leavesNothing(t)
	root := badPrograms(t)
	const absent, notInPath = "no such file or directory", "not found in /bin:/usr/bin:/sbin:/usr/sbin"
	long := strings.Repeat("n", 5000)
	for _, c := range []struct {
		row, code     int
		program, text string
	}{
		{95, 127, "", `program "": ` + notInPath},
		{96, 127, "foo", `program "foo": ` + notInPath},
		{97, 127, "/bin/foo", `program "/bin/foo": ` + absent},
		{98, 126, "/mode", `program "/mode": permission denied (no execute bit is set)`},
		{99, 126, "/bin", `program "/bin": is a directory`},
		// Why, only if the kernel is not to be asked: it may have handlers for such files.
		{100, 126, "/arch", `program "/arch": exec format error…`},
		{101, 126, "/garbage", `program "/garbage": exec format error…`},
		{102, 126, "/empty", `program "/empty": exec format error…`},
		{103, 127, "/script", `interpreter "/nope" of program "/script": ` + absent},
		{104, 126, "/noline", `program "/noline": exec format error…`},
		{105, 127, "/dynamic", `loader "/lib64/ld-nope.so.2" of program "/dynamic": ` + absent},
		{106, 127, "/crlf", `interpreter "/bin/sh\r" of program "/crlf": ` + absent},
		{107, 127, "/outside", `program "/outside": is a symbolic link to ` + quoted(containPath) + ", which is not in DIR"},
		{109, 127, "-x", `program "-x": ` + notInPath},
		{110, 127, "a\nb\x1b[1m\xff", `program "a\nb\x1b[1m\xff": ` + notInPath},
		{110, 126, long, "program " + quoted("/bin/"+long) + ": file name too long"},
		{110, 126, "/" + long, "program " + quoted("/"+long) + ": file name too long"},
	} {
		row(t, c.row, func(t *testing.T) { contain(t, "-chroot", root, "--", c.program).refused(t, c.code, c.text) })
	}
	row(t, 94, func(t *testing.T) {
		contain(t, "-chroot", root).refused(t, 125, "no program given\n"+usageHint)
		contain(t, "-chroot", root, "--").refused(t, 125, "no program given\n"+usageHint)
	})
	row(t, 108, func(t *testing.T) {
		for _, program := range []string{"../../bin/probe", "./bin/probe", "bin/probe"} {
			contain(t, "-chroot", root, "--", program, "exit", "7").accepted(t, 7, "")
		}
	})
}

// A program gains nothing by its file's owner or capabilities, and what the kernel says
// at the last moment is told of.
func TestBadInputProgramFile(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	path := func(name string) string { return filepath.Join(root, "bin", name) }
	for _, name := range []string{"setuid", "caps", "busy"} {
		copyFile(t, probePath, path(name), 0o755)
	}
	if err := errors.Join(os.Chown(path("setuid"), 65534, 65534), unix.Chmod(path("setuid"), 0o6755)); err != nil {
		t.Fatal(err)
	}
	row(t, 111, func(t *testing.T) {
		r := contain(t, "-chroot", root, "--", "setuid", "cat", "/proc/self/status")
		if ids := field(r.stdout, "Uid"); ids != "0\t0\t0\t0" || r.stderr != "" {
			t.Errorf("user IDs %q, stderr %q", ids, r.stderr)
		}
		// VFS_CAP_REVISION_2, effective: CAP_SYS_ADMIN, which it could not have.
		caps := binary.LittleEndian.AppendUint32(nil, 0x02000001)
		caps = binary.LittleEndian.AppendUint32(caps, 1<<unix.CAP_SYS_ADMIN)
		if err := unix.Setxattr(path("caps"), "security.capability", append(caps, make([]byte, 12)...), 0); err != nil {
			t.Skip("no file capabilities: ", err)
		}
		contain(t, "-chroot", root, "--", "caps", "exit", "7").refused(t, 126, `program "caps": operation not permitted`)
	})
	row(t, 113, func(t *testing.T) {
		file, err := os.OpenFile(path("busy"), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if bare := exec.Command(path("busy"), "exit", "7").Run(); !errors.Is(bare, unix.ETXTBSY) { // Linux 6.11
			t.Skip("this kernel executes a file that is written to: ", bare)
		}
		contain(t, "-chroot", root, "--", "busy", "exit", "7").refused(t, 126, `program "busy": text file busy`)
	})
}

func TestBadInputArguments(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for number, args := range map[int][]string{
		114: {strings.Repeat("\xff", 131000)}, // the caller's own execve takes no 128 KiB
		115: arguments(1900000),
		117: slices.Repeat([]string{""}, 10000),
		118: {"\xff\xfe", "\n", "\t", `"`, "'", "$(reboot)", "`id`", everyByte()},
	} {
		row(t, number, func(t *testing.T) {
			cmd := exec.Command(containPath, slices.Concat([]string{"-chroot", root, "--", "probe", "sum"}, args)...)
			cmd.Env = []string{}
			startCommand(t, cmd).wait(t).accepted(t, 0, sumOf(args))
		})
	}
	row(t, 127, func(t *testing.T) {
		contain(t, "-chroot", root, "probe", "args", "-x", "--", "-chroot").accepted(t, 0, "2:-x\n2:--\n7:-chroot\n")
	})
}

// Callers may set anything, and call contain anything.
func TestBadInputCaller(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	copyFile(t, probePath, filepath.Join(root, "bin", "init"), 0o755)
	run := func(argv0 string, env []string, args ...string) result {
		cmd := exec.Command(containPath, args...)
		cmd.Args[0], cmd.Env = argv0, env
		return startCommand(t, cmd).wait(t)
	}
	row(t, 119, func(t *testing.T) {
		for _, env := range [][]string{
			{}, {"HOME=", "PATH="}, {"LANG=\xff", "LC_ALL=\n", "=x", "novalue"}, {"GOMAXPROCS=x", "GODEBUG=x=y", "GOGC=x", "GOTRACEBACK=crash"},
			{"_LIBCONTAINER_INITPIPE=0", "_LIBCONTAINER_SYNCPIPE=1", "_LIBCONTAINER_INITTYPE=standard", "_LIBCONTAINER_LOGPIPE=2", "_LIBCONTAINER_FIFOFD=x"},
		} {
			run("contain", env, append([]string{"-chroot", root}, exit7...)...).accepted(t, 7, "")
		}
	})
	row(t, 120, func(t *testing.T) {
		run("contain", []string{"_LIBCONTAINER_INITPIPE=0"}, "init").refused(t, 125, "-chroot is required\n"+usageHint)
		run("init", nil).refused(t, 125, "-chroot is required\n"+usageHint)
		run("init", nil, "-chroot", root, "--", "init", "exit", "7").accepted(t, 7, "")
	})
	row(t, 121, func(t *testing.T) {
		file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		p, err := os.StartProcess(containPath, []string{}, &os.ProcAttr{Files: []*os.File{nil, nil, file}})
		if err != nil {
			t.Fatal(err)
		}
		state, err := p.Wait()
		said, err2 := os.ReadFile(file.Name())
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		result{"", string(said), state.Sys().(syscall.WaitStatus)}.refused(t, 125, "-chroot is required\n"+usageHint)
	})
}

func TestBadInputFlags(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	in := []string{"-chroot", root}
	hinted := func(text string) string { return text + "\n" + usageHint }
	tryLines(t, []badLine{
		{72, hinted("-chroot is required"), exit7},
		{122, hinted("flag provided but not defined: -foo"), append([]string{"-foo"}, in...)},
		{122, hinted(`flag provided but not defined: -f\n\x1b[1m`), append([]string{"-f\n\x1b[1m"}, in...)},
		{122, "flag provided but not defined: -xxx…", append([]string{"-" + strings.Repeat("x", 131000)}, in...)},
		{122, hinted("bad flag syntax: ---chroot"), append([]string{"-" + "--chroot"}, root)},
		{123, hinted("flag needs an argument: -chroot"), []string{"-chroot"}},
		{123, hinted("flag needs an argument: -memory-limit"), append(in, "-memory-limit")},
		{124, `-chroot "-bridge": no such file or directory`, append([]string{"-chroot", "-bridge"}, exit7...)}, // such a directory could be meant
		{125, `-chroot "": empty`, append([]string{"-chroot="}, exit7...)},
		{125, "", append([]string{"--chroot=" + root}, exit7...)},
		{125, "", append([]string{"--chroot", root}, exit7...)},
		{126, hinted("flag provided but not defined: -v"), append(in, "-v=maybe")},
		{126, hinted(`invalid boolean value "maybe" for -init: parse error`), append(in, "-init=maybe")},
		{126, `invalid boolean value "xxx…`, append(in, "-init="+strings.Repeat("x", 131000))},
		{128, hinted("-chroot is required"), append([]string{"probe"}, in...)},
		{129, "", append([]string{"chroot", root}, exit7...)}, // as the problem statement writes it
	})
	row(t, 130, func(t *testing.T) {
		for _, flag := range []string{"-h", "-help", "--help", "-version", "--version"} {
			if r := contain(t, flag); r.code() != 0 || r.stderr != "" || !strings.HasSuffix(r.stdout, "\n") {
				t.Errorf("%s: status %d, stdout %q, stderr %q", flag, r.code(), r.stdout, r.stderr)
			}
		}
	})
}

func TestBadInputIdentityAndStdio(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	untouched(t, root)
	row(t, 131, func(t *testing.T) {
		cmd := exec.Command(containPath, append([]string{"-chroot", root}, exit7...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		startCommand(t, cmd).wait(t).refused(t, 125, "must be run as root")
	})
	row(t, 133, func(t *testing.T) {
		disk := filepath.Join(t.TempDir(), "disk")
		if err := unix.Mknod(disk, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0))); err != nil {
			t.Fatal(err)
		}
		for path, text := range map[string]string{
			root: "standard input is a directory, through which the program could leave its root",
			disk: "standard input is a block device, which would be open to the program",
		} {
			// O_PATH: not every machine has the device.
			fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(containPath, append([]string{"-chroot", root}, exit7...)...)
			stdin := os.NewFile(uintptr(fd), path)
			cmd.Stdin = stdin
			startCommand(t, cmd).wait(t).refused(t, 125, text)
			stdin.Close()
		}
	})
}

// Not here:
//   - 19, a CPU that is offline: it would be the machine's (TestCPUSetCheck)
//   - 69: a full bridge is in TestBridgeWithoutAFreePort; Open vSwitch, and a bridge
//     that is itself a port, are not everywhere, and nothing of contain's own
//   - 113, EIO and ENOMEM: nothing here fails so at will
//   - 116: in TestTooManyArguments
//   - 121 before Linux 5.18, which gives contain an empty name
//   - 132: controllers are in TestControllerThatIsWithheld, the rest needs other kernels
