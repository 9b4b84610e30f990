package test

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The escape corpus, see escape/README.md: which class of attack is shown where.

// must fails the test if something did not work that the test needs.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// escapeRoot is a rootfs with the attacks in it, and device nodes that an earlier
// program may have left: of drivers that nobody has, so that who is let through gets
// no such device.
func escapeRoot(t *testing.T) string {
	t.Helper()
	root := rootfs(t)
	copyFile(t, escapePath, filepath.Join(root, "bin", "escape"), 0o755)
	must(t, unix.Mknod(filepath.Join(root, "disk"), unix.S_IFBLK|0o666, int(unix.Mkdev(240, 0))),
		unix.Mknod(filepath.Join(root, "char"), unix.S_IFCHR|0o666, int(unix.Mkdev(240, 0))))
	return root
}

// held is how an attack may end, whatever it is; and what else one that begins so may
// come to.
var held = regexp.MustCompile(`^(Operation not permitted|Permission denied|Read-only file system|No such file or directory|nothing)$`)

var heldOtherwise = map[string]string{
	"socket ": "Address family not supported by protocol", "socket netlink": "Protocol not supported",
	"exchange ": "Device or resource busy", "clone3 ": "Function not implemented",
	"i386 ": "killed by signal 31", "x32 ": "killed by signal 31", "pid 1: enter": "Bad file descriptor",
}

// Nothing that escape.c tries succeeds, whatever else the program is given or denied.
func TestEscapeAttempts(t *testing.T) {
	leavesNothing(t)
	root := escapeRoot(t)
	for _, flags := range []string{"", "-init=false", "-user 1000", "-cap-drop ALL", "-read-only", "-network host", "-allow-new-privs"} {
		args := append([]string{"-chroot", root}, strings.Fields(flags)...)
		r := contain(t, append(args, "--", "escape", "attempts")...)
		if r.code() != 0 || r.stderr != "" || strings.Count(r.stdout, "\n") < 80 {
			t.Errorf("%s: status %d, stderr %q, after:\n%s", flags, r.code(), r.stderr, r.stdout)
		}
		for line := range strings.Lines(r.stdout) {
			at := strings.LastIndex(line, ": ")
			attack, outcome := line[:max(at, 0)], strings.TrimSuffix(line[at+2:], "\n")
			ok := held.MatchString(outcome)
			for prefix, other := range heldOtherwise {
				ok = ok || strings.HasPrefix(attack, prefix) && outcome == other
			}
			if !ok {
				t.Errorf("%s: %s", flags, line)
			}
		}
	}
}

// Beneath the root there is not the host's: not even who may unmount it gets there.
func TestEscapeBeneathTheRoot(t *testing.T) {
	leavesNothing(t)
	root, canary := escapeRoot(t), filepath.Join(t.TempDir(), "canary")
	must(t, os.WriteFile(canary, nil, 0o644))
	contain(t, "-chroot", root, "-cap-add", "SYS_ADMIN", "-seccomp", "none", "--", "escape", "peel", canary).want(t, 0, "nothing\n")
}

// canaries makes a directory of the host's with all that a container's init might
// mount over, make or remove in one of DIR's, and fails the test if it is not the same
// when that ends.
func canaries(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"pts", "shm", "mqueue", "sys", "fs", "bus", "irq", "kernel", "etc"} {
		must(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	for _, file := range []string{"ptmx", "null", "fd", "stdin", "hosts", "resolv.conf", "passwd", "etc/hosts", "etc/resolv.conf", "etc/passwd", "core_pattern"} {
		must(t, os.WriteFile(filepath.Join(dir, file), []byte("root:x:0:0::/canary:/\n"), 0o644))
	}
	before := treeOf(t, dir)
	t.Cleanup(func() {
		if after := treeOf(t, dir); !slices.Equal(before, after) {
			t.Errorf("the host's files are\n%s\nand were\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
		}
	})
	return dir
}

// treeOf describes all files below dir.
func treeOf(t *testing.T, dir string) (list []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		var text []byte
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			text, err = os.ReadFile(path)
		}
		list = append(list, fmt.Sprintf("%s %o %d:%d %d %d %x", path, st.Mode, st.Uid, st.Gid, st.Nlink, st.Ctim.Nano(), sha256.Sum256(text)))
		return err
	}))
	return list
}

// obstacles are what can be put in the place of a directory or file that contain, or
// libcontainer, is going to mount on, open or make.
func obstacles(host, target string) map[string]func(path string) error {
	link := func(to string) func(string) error {
		return func(path string) error { return os.Symlink(to, path) }
	}
	return map[string]func(path string) error{
		"absolute": link(target), "relative": link(strings.Repeat("../", 20) + target[1:]), "dangling": link(filepath.Join(host, "absent")),
		"loop":   func(path string) error { return os.Symlink(filepath.Base(path), path) },
		"file":   func(path string) error { return os.WriteFile(path, nil, 0o644) },
		"fifo":   func(path string) error { return unix.Mkfifo(path, 0o644) },
		"device": func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o644, int(unix.Mkdev(240, 0))) },
		"socket": func(path string) error { return unix.Mknod(path, unix.S_IFSOCK|0o644, 0) },
	}
}

// Whatever lies in DIR where something will be mounted, made or read, nothing is
// touched or read outside of it: the program starts, or one line says why it does not.
func TestEscapeByFilesInDIR(t *testing.T) {
	leavesNothing(t)
	host := canaries(t)
	places := map[string]string{
		"proc": "", "sys": "", "dev": "", "dev/pts": "pts", "dev/shm": "shm", "dev/mqueue": "mqueue", "dev/ptmx": "ptmx", "dev/null": "null",
		"sys/fs/cgroup": "fs", "proc/sys": "sys", "proc/keys": "passwd", "tmp": "", "run": "", "etc": "etc",
		"etc/passwd": "passwd", "etc/hosts": "hosts", "etc/resolv.conf": "resolv.conf",
	}
	tried := 0
	for place, target := range places {
		for kind, put := range obstacles(host, filepath.Join(host, target)) {
			if tried++; leftOut(tried) {
				continue
			}
			root := rootfs(t)
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, place)), 0o755), put(filepath.Join(root, place)))
			for _, flags := range [][]string{{}, {"-dns", "192.0.2.1", "-hosts", "a:192.0.2.2"}, {"-read-only"}} {
				r := contain(t, slices.Concat([]string{"-chroot", root}, flags, []string{"--", "probe", "env"})...)
				if r.code() != 0 {
					r.wantError(t, 125, "")
				} else if r.stderr != "" || strings.Contains(r.stdout, "canary") {
					t.Errorf("%s is a %s: stdout %q, stderr %q", place, kind, r.stdout, r.stderr)
				}
			}
		}
	}
}

// None of the caller's descriptors is the program's, but 0 to 2; nor can it begin in
// one (CVE-2024-21626).
func TestEscapeByDescriptors(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	host, err := os.Open("/")
	must(t, err)
	defer host.Close()
	for _, init := range []string{"-init=true", "-init=false"} {
		run := func(args ...string) result {
			cmd := exec.Command(containPath, append([]string{"-chroot", root, init}, args...)...)
			cmd.ExtraFiles = slices.Repeat([]*os.File{host}, 50)
			return startCommand(t, cmd).wait(t)
		}
		if r := run("--", "probe", "fds"); !regexp.MustCompile(`^0 /dev/null\n1 pipe:\[\d+\]\n2 pipe:\[\d+\]\n$`).MatchString(r.stdout) || r.code() != 0 {
			t.Errorf("%s: the program's descriptors:\n%s%s", init, r.stdout, r.stderr)
		}
		for fd := range 60 {
			if !leftOut(fd) {
				run("-workdir", "/proc/self/fd/"+itoa(fd), "--", "probe", "cat", "etc/passwd").wantError(t, 125, `-workdir "/proc/self/fd/`)
			}
		}
	}
	for fd := range 3 {
		for flag, name := range map[int]string{unix.O_RDONLY: "a directory", unix.O_PATH: "a directory", -unix.O_PATH: "an O_PATH descriptor"} {
			path := "/"
			if flag < 0 {
				path, flag = probePath, -flag
			}
			file, err := unix.Open(path, flag|unix.O_CLOEXEC, 0)
			must(t, err)
			f, cmd := os.NewFile(uintptr(file), path), exec.Command(containPath, "-chroot", root, "--", "probe", "fds")
			switch fd {
			case 0:
				cmd.Stdin = f
			case 1:
				cmd.Stdout = f
			case 2:
				cmd.Stderr = f
			}
			r := startCommand(t, cmd).wait(t)
			f.Close()
			if r.code() != 125 || fd < 2 && !strings.Contains(r.stderr, name) {
				t.Errorf("%s as descriptor %d: status %d, stderr %q", name, fd, r.code(), r.stderr)
			}
		}
	}
}

// The way of CVE-2019-5736: a program that is the container's init, whose file would
// be contain. It is a copy of pid1 at most, in memory and sealed.
func TestEscapeByOwnExecutable(t *testing.T) {
	leavesNothing(t)
	root := escapeRoot(t)
	dir := t.TempDir()
	own := filepath.Join(dir, "contain")
	copyFile(t, containPath, own, 0o755)
	before := treeOf(t, dir)
	script := func(interpreter string) {
		must(t, os.WriteFile(filepath.Join(root, "bin", "script"), []byte("#!"+interpreter+"\n"), 0o755))
	}
	for _, interpreter := range []string{"/proc/self/exe", "/proc/self/exe attempts", "/proc/1/exe", "/proc/self/fd/4", "/link"} {
		script(interpreter)
		for _, init := range []string{"-init=true", "-init=false"} {
			for range often(20) {
				r := startCommand(t, exec.Command(own, "-chroot", root, init, "--", "script")).wait(t)
				contains := r.code() == 125 && r.stderr != "" // what pid1 ends with has no line
				if contains || r.stdout != "" || r.stderr == "" && r.code() != 0 && r.code() != 125 {
					t.Errorf("%s, %s: status %d, stdout %q, stderr %q", interpreter, init, r.code(), r.stdout, r.stderr)
				}
			}
		}
		must(t, errors.Join(os.RemoveAll(filepath.Join(root, "link")), os.Symlink("/proc/self/exe", filepath.Join(root, "link"))))
	}
	if after := treeOf(t, dir); !slices.Equal(before, after) {
		t.Errorf("contain is now\n%s\nand was\n%s", after, before)
	}
}

// fileCaps is the extended attribute of a file with these capabilities, effective.
func fileCaps(bits uint32) []byte {
	data := binary.LittleEndian.AppendUint32(nil, 0x02000001) // VFS_CAP_REVISION_2
	data = binary.LittleEndian.AppendUint32(data, bits)       // permitted
	return append(data, make([]byte, 12)...)
}

// Set-user-ID files and file capabilities give nobody anything, unless that is asked
// for: else this would show nothing.
func TestEscapeByPrivilegedFiles(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	suid, capable := filepath.Join(root, "bin", "suid"), filepath.Join(root, "bin", "capable")
	copyFile(t, probePath, suid, 0o755)
	copyFile(t, probePath, capable, 0o755)
	must(t, unix.Chmod(suid, 0o6755), unix.Setxattr(capable, "security.capability", fileCaps(1<<unix.CAP_CHOWN|1<<unix.CAP_SETUID), 0))
	const none, two = "0000000000000000", "0000000000000081"
	for _, c := range []struct{ flags, program, uid, caps string }{
		{"-user 1000", "suid", "1000\t1000\t1000\t1000", none},
		{"-user 1000", "capable", "1000\t1000\t1000\t1000", none},
		{"-user 1000 -allow-new-privs", "suid", "1000\t0\t0\t0", "00000000800425fb"},
		{"-user 1000 -allow-new-privs", "capable", "1000\t1000\t1000\t1000", two},
	} {
		for _, by := range []string{"/bin/", "probe repeat 1 /bin/"} { // by contain, and by a program
			args := fmt.Sprintf("-chroot %s %s -- %s%s cat /proc/self/status", root, c.flags, by, c.program)
			r := contain(t, strings.Fields(args)...)
			for name, want := range map[string]string{"Uid": c.uid, "CapPrm": c.caps, "CapEff": c.caps, "CapInh": none, "CapAmb": none, "Groups": ""} {
				if got := field(r.stdout, name); got != want {
					t.Errorf("%s %s%s: %s is %q, want %q (%s)", c.flags, by, c.program, name, got, want, r.stderr)
				}
			}
		}
	}
}

// The caller's supplementary groups stay with the caller (CVE-2022-36109), and no
// number of a user is taken for another (CVE-2024-40635).
func TestEscapeByUsersAndGroups(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, flags := range [][]string{{}, {"-user", "1000"}, {"-user", "0:7"}} {
		for _, init := range []string{"-init=true", "-init=false"} {
			cmd := exec.Command(containPath, slices.Concat([]string{"-chroot", root, init}, flags, []string{"--", "probe", "cat", "/proc/self/status"})...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{4, 27, 1000}}}
			r := startCommand(t, cmd).wait(t)
			if r.code() != 0 || field(r.stdout, "Groups") != "" || field(r.stdout, "CapInh") != "0000000000000000" {
				t.Errorf("%s %s: status %d, groups %q, stderr %q", flags, init, r.code(), field(r.stdout, "Groups"), r.stderr)
			}
		}
	}
	must(t, os.Mkdir(filepath.Join(root, "etc"), 0o755), os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("1000:x:0:0::/:/\nweb:x:0:0::/:/\n"), 0o644))
	r := contain(t, "-chroot", root, "-user", "1000", "--", "probe", "cat", "/proc/self/status")
	if uid := field(r.stdout, "Uid"); uid != "1000\t1000\t1000\t1000" {
		t.Errorf("-user 1000, which is also the name of user 0: %q, %s", uid, r.stderr)
	}
	for _, user := range []string{"4294967296", "4294967295", "2147483648", "18446744073709551616", "-1", "+0", "00", "0x0", "web", "", "1:", ":1",
		"1:4294967296", "1:-1", "1:2147483648", " 1", "1 "} {
		contain(t, "-chroot", root, "-user", user, "--", "probe", "exit", "0").wantError(t, 125, "-user "+strconv.Quote(user))
	}
}

// A contain that is set-user-ID, by an administrator's mistake, does not serve
// everybody.
func TestEscapeBySetUserID(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	dir := t.TempDir()
	copyFile(t, containPath, filepath.Join(dir, "contain"), 0o755)
	must(t, unix.Chmod(filepath.Join(dir, "contain"), 0o4755), os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(filepath.Dir(root), 0o755))
	report := filepath.Join(dir, "report")
	cmd := exec.Command(filepath.Join(dir, "contain"), "-report", report, "-chroot", root, "--", "probe", "exit", "0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	startCommand(t, cmd).wait(t).wantError(t, 125, "must not be set-user-ID")
	if _, err := os.Lstat(report); err == nil {
		t.Error("it made a file for another user")
	}
}

// contain opens no abstract socket (CVE-2020-15257), and the host's are out of reach
// unless the network is shared.
func TestEscapeBySockets(t *testing.T) {
	leavesNothing(t)
	root := escapeRoot(t)
	name := fmt.Sprintf("contain-canary-%d", os.Getpid())
	listener, err := net.Listen("unix", "@"+name)
	must(t, err)
	defer listener.Close()
	abstract := func() (found []string) {
		text, err := os.ReadFile("/proc/self/net/unix")
		must(t, err)
		for line := range strings.Lines(string(text)) {
			if at := strings.IndexByte(line, '@'); at >= 0 {
				found = append(found, line[at:])
			}
		}
		return found
	}
	before := abstract()
	p := start(t, "-chroot", root, "--", "probe", "wait")
	p.waitLine(t, "ready")
	if more := without(abstract(), before); len(more) > 0 {
		t.Errorf("abstract sockets: %q", more)
	}
	killPrograms(t)
	p.wait(t)
	contain(t, "-chroot", root, "--", "escape", "reach", name).want(t, 0, "Connection refused\n")
	contain(t, "-chroot", root, "-network", "host", "--", "escape", "reach", name).want(t, 0, "reached\n")
}

// The session keyring is the program's own, also where no filter keeps it from keys.
func TestEscapeByKeyring(t *testing.T) {
	leavesNothing(t)
	root := escapeRoot(t)
	outside, err := exec.Command(escapePath, "keyring").Output()
	must(t, err)
	r := contain(t, "-chroot", root, "-seccomp", "none", "--", "escape", "keyring")
	if r.code() != 0 || r.stdout == string(outside) || strings.HasPrefix(r.stdout, "-") {
		t.Errorf("status %d, the program's keyring is %q, the host's %q", r.code(), r.stdout, outside)
	}
	contain(t, "-chroot", root, "--", "escape", "keyring").want(t, 0, "-1\n")
}

// No cgroup can be written to, or made: each mount is read-only, also the one of v1
// that the others are in (CVE-2022-0492, CVE-2023-25809).
func TestEscapeByCgroups(t *testing.T) {
	leavesNothing(t)
	r := contain(t, "-chroot", rootfs(t), "--", "probe", "cat", "/proc/self/mountinfo")
	n := 0
	for line := range strings.Lines(r.stdout) {
		f := strings.Fields(line)
		if !strings.HasPrefix(f[4], "/sys/fs/cgroup") {
			continue
		}
		if n++; !strings.HasPrefix(f[5], "ro,") || !strings.Contains(f[5], "nosuid,nodev,noexec") {
			t.Errorf("%s is %s", f[4], f[5])
		}
		if strings.Contains(line, " - cgroup") && !strings.HasPrefix(f[3], "/") {
			t.Errorf("%s shows %s of the hierarchy", f[4], f[3])
		}
	}
	if n == 0 {
		t.Errorf("no cgroups in\n%s%s", r.stdout, r.stderr)
	}
}

// At no time does the host itself have the program's address, or one more of its own.
func TestEscapeOfAddresses(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	updates, done := make(chan netlink.AddrUpdate, 1000), make(chan struct{})
	must(t, netlink.AddrSubscribe(updates, done))
	defer close(done)
	for range often(20) {
		contain(t, "-chroot", root, "-network-address", "172.17.0.77/24", "-network-address", "2001:db8:17::77/64", "--", "probe", "exit", "0").want(t, 0, "")
	}
	// The last of the updates is one of the test's own.
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	last := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(127, 9, 9, 9), Mask: net.CIDRMask(32, 32)}}
	must(t, netlink.AddrAdd(lo, last))
	defer netlink.AddrDel(lo, last)
	for u := range updates {
		if u.LinkAddress.IP.Equal(last.IP) {
			break
		}
		t.Errorf("the host has the address %v", u.LinkAddress)
	}
}

// advertise sends a router's advertisement, with a prefix, to all on the segment of a
// neighbour.
func advertise(t *testing.T, liar netns.NsHandle) {
	t.Helper()
	message := []byte{134, 0, 0, 0, 64, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0, 0}
	message = append(message, net.ParseIP("2001:db8:bad::").To16()...)
	inside(t, liar, func() error {
		link, err := netlink.LinkByName("seg0")
		must(t, err)
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		must(t, err)
		defer unix.Close(fd)
		must(t, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255))
		to := &unix.SockaddrInet6{Addr: [16]byte(net.ParseIP("ff02::1")), ZoneId: uint32(link.Attrs().Index)}
		_ = unix.Sendto(fd, message, 0, to) // an error: it has no address yet
		return nil
	})
}

// ipv6Of lists the IPv6 routes and addresses of a process's network namespace, on
// interfaces whose name begins so.
func ipv6Of(t *testing.T, process, name string) (list []string) {
	t.Helper()
	for _, file := range []string{"ipv6_route", "if_inet6"} {
		text, err := os.ReadFile(filepath.Join("/proc", process, "net", file))
		must(t, err)
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if at := f[len(f)-1]; strings.HasPrefix(at, name) { // not all fields: some are counts
				list = append(list, strings.Join([]string{process, file, f[0], f[1], f[4], at}, " "))
			}
		}
	}
	return list
}

// Nobody on the segment gives a program routes or addresses (CVE-2020-10749), with
// IPv6 or without (CVE-2024-32473), nor the host's end of its veth.
func TestEscapeByRouterAdvertisements(t *testing.T) {
	leavesNothing(t)
	bridge(t, "br-ra", "172.29.0.1/24", "2001:db8:29::1/64")
	liar, naive := neighbour(t, "br-ra", "0e:00:00:00:00:11"), neighbour(t, "br-ra", "0e:00:00:00:00:12")
	root := rootfs(t)
	for _, flags := range []string{"-network-address 172.29.0.98/24", "-network-address 172.29.0.99/24 -network-address 2001:db8:29::99/64"} {
		start(t, slices.Concat([]string{"-chroot", root, "-bridge", "br-ra"}, strings.Fields(flags), []string{"--", "probe", "wait"})...).waitLine(t, "ready")
	}
	six := func() []string {
		list := ipv6Of(t, "thread-self", "ctn") // the host ends
		for _, pid := range programs(t) {
			list = append(list, ipv6Of(t, itoa(pid), "")...)
		}
		return list
	}
	before := six()
	waitFor(t, "somebody to heed the router", func() (heeded bool) {
		advertise(t, liar)
		inside(t, naive, func() error {
			routes, err := netlink.RouteList(nil, netlink.FAMILY_V6)
			heeded = slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Gw != nil })
			return err
		})
		return heeded
	})
	if more := without(six(), before); len(more) > 0 {
		t.Errorf("new:\n%s\nbefore:\n%s", strings.Join(more, "\n"), strings.Join(before, "\n"))
	}
}

// races is how often a race is run: CONTAIN_TEST_RACES, else n.
func races(n int) int {
	if wanted, err := strconv.Atoi(os.Getenv("CONTAIN_TEST_RACES")); err == nil {
		return wanted
	}
	return often(n)
}

// mountsOf is what /proc/self/mountinfo says, less numbers that differ from run to run.
func mountsOf(text string) string {
	text = regexp.MustCompile(`(?m)^\d+ \d+ \d+:\d+ `).ReplaceAllString(text, "")
	return regexp.MustCompile(`contain-[0-9a-f]{8}`).ReplaceAllString(text, "contain-ID")
}

// settled is mountinfo in which every mount has the name that it was made under. A
// rename moves a mount with all that is mounted in it, at any time, also while this is
// read: a mount in /proc is one whose parents say so.
func settled(text string) string {
	names := map[string]string{"proc": "/proc", "sysfs": "/sys", "tmpfs": "/dev"}
	top, root := map[string]string{}, "" // by mount ID; and the ID of the root
	var lines []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch id, parent := f[0], f[1]; {
		case root == "":
			root = id
		case parent == root:
			top[id] = names[f[slices.Index(f, "-")+1]]
		default:
			top[id] = top[parent]
		}
		if f[0] != root {
			_, below, _ := strings.Cut(f[4][1:], "/")
			f[4] = filepath.Join(cmp.Or(top[f[0]], "/elsewhere"), below)
		}
		lines = append(lines, strings.Join(f, " ")+"\n")
	}
	return mountsOf(strings.Join(lines, ""))
}

// exchanger runs another user's program, which exchanges pairs of entries of root,
// until stopped.
func exchanger(t *testing.T, root string, pause int, pairs ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(filepath.Join(root, "bin", "escape"), append([]string{"flip", itoa(pause)}, pairs...)...)
	cmd.Dir = root
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	p := startCommand(t, cmd)
	p.waitLine(t, "ready")
	return func() {
		p.signal(t, syscall.SIGKILL)
		p.wait(t)
	}
}

// exchangedRoot is a rootfs of another user's, with what that may put in the place of
// proc, sys and dev.
func exchangedRoot(t *testing.T) string {
	t.Helper()
	host, root := canaries(t), escapeRoot(t)
	must(t, os.Chmod(filepath.Dir(root), 0o755), os.Chown(root, 1000, 1000))
	for _, dir := range []string{"proc", "sys", "dev", "a", "b/sys/kernel", "b/irq", "b/bus", "b/fs", "c"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	must(t, os.Symlink(host, filepath.Join(root, "away")), os.Symlink("b", filepath.Join(root, "near")))
	return root
}

// exchanges are what to exchange, with pauses of up to so many thousandths of the time
// that a start takes here.
var exchanges = []struct {
	pause int
	pairs []string
}{
	{50000, []string{"proc", "b"}},
	{5000, []string{"proc", "b"}}, {1500, []string{"proc", "b"}}, {500, []string{"proc", "b"}}, {50, []string{"proc", "b"}}, {0, []string{"proc", "b"}},
	{1500, []string{"proc", "b", "sys", "a", "dev", "c"}}, {1500, []string{"proc", "sys", "dev", "c"}}, {1500, []string{"sys", "a", "dev", "c"}},
	{50000, []string{"proc", "near"}}, {1500, []string{"proc", "away", "sys", "away", "dev", "away"}}, {250, []string{"proc", "away"}},
}

// Another user exchanges what DIR has as proc, sys and dev for other directories and
// symbolic links while programs start: each that runs has every mount and every mask,
// and for each that does not there is one line. (libcontainer, which makes them with
// -userns, skips masks that it does not find.) What the user does when all is mounted
// moves mounts, but opens none.
func TestRootExchanged(t *testing.T) {
	leavesNothing(t)
	root := exchangedRoot(t)
	args := []string{"-chroot", root, "-allow-untrusted-root", "--", "escape", "mounts", "/proc", "/b", "/sys", "/near", "/away"}
	begin := time.Now()
	undisturbed := contain(t, args...)
	start := time.Since(begin)
	want := mountsOf(undisturbed.stdout)
	if undisturbed.code() != 0 || !strings.Contains(want, " /proc/sys ") || settled(undisturbed.stdout) != want {
		t.Fatalf("status %d, mounts:\n%s%s", undisturbed.code(), want, undisturbed.stderr)
	}
	var ran, shifted, refused, deviating atomic.Int32
	times := races(200)
	for _, e := range exchanges {
		stop := exchanger(t, root, int(start.Microseconds())*e.pause/1000, e.pairs...)
		workers(2, (times+len(exchanges)-1)/len(exchanges), func(int, int) {
			r := contain(t, args...)
			switch {
			case r.code() == 125:
				refused.Add(1)
				r.wantError(t, 125, "")
			case r.code() == 0 && mountsOf(r.stdout) == want:
				ran.Add(1)
			case r.code() == 0 && settled(r.stdout) == want:
				shifted.Add(1)
			default:
				if n := deviating.Add(1); n <= 3 {
					t.Errorf("exchanging %s: status %d, stderr %q, mounts:\n%swant:\n%s", e.pairs, r.code(), r.stderr, r.stdout, want)
				}
			}
		})
		stop()
	}
	text := fmt.Sprintf("ran %d, and with moved mounts %d; refused %d; deviating %d", ran.Load(), shifted.Load(), refused.Load(), deviating.Load())
	t.Log(text)
	if ran.Load() == 0 || refused.Load() == 0 || deviating.Load() > 0 {
		t.Error(text)
	}
}

// A program exchanges all that it can of its root while others start in the same.
func TestEscapeFromASharedRoot(t *testing.T) {
	leavesNothing(t)
	host, root := canaries(t), escapeRoot(t)
	for _, dir := range []string{"proc", "sys", "dev", "etc", "run", "tmp", "a"} {
		must(t, os.Mkdir(filepath.Join(root, dir), 0o755))
	}
	for _, file := range []string{"etc/hosts", "etc/resolv.conf", "etc/passwd"} {
		must(t, os.WriteFile(filepath.Join(root, file), nil, 0o644))
	}
	must(t, os.Symlink(strings.Repeat("../", 20)+host[1:]+"/etc", filepath.Join(root, "away")),
		os.Symlink(filepath.Join(host, "resolv.conf"), filepath.Join(root, "etc", "away")),
		os.Symlink(filepath.Join(host, "passwd"), filepath.Join(root, "etc", "leak")))
	args := []string{"-chroot", root, "-dns", "192.0.2.1", "-hosts", "a:192.0.2.2", "--", "probe", "cat", "/proc/self/mountinfo"}
	own := regexp.MustCompile(`(?m)^/(hosts|resolv\.conf) .*\n`) // wherever they were moved to
	table := func(r result) string { return own.ReplaceAllString(mountsOf(r.stdout), "") }
	want := table(contain(t, args...))
	start(t, "-chroot", root, "--", "escape", "flip", "4000", "/etc", "/away", "/etc/resolv.conf", "/etc/away", "/etc/passwd", "/etc/leak",
		"/dev/pts", "/a", "/dev/shm", "/dev/mqueue", "/proc", "/a", "/sys", "/a", "/dev", "/a", "/run", "/tmp").waitLine(t, "ready")
	var ran, refused atomic.Int32
	workers(2, races(200), func(int, int) {
		r := contain(t, args...)
		if r.code() == 125 {
			refused.Add(1)
			r.wantError(t, 125, "")
		} else if ran.Add(1); r.code() != 0 || table(r) != want {
			t.Errorf("status %d, stderr %q, mounts:\n%swant:\n%s", r.code(), r.stderr, table(r), want)
		}
	})
	killPrograms(t)
	t.Logf("ran %d, refused %d", ran.Load(), refused.Load())
	if !testing.Short() && (ran.Load() == 0 || refused.Load() == 0) { // emulated, each start takes too long
		t.Errorf("ran %d, refused %d: this shows nothing", ran.Load(), refused.Load())
	}
}
