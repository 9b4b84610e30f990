package test

// The faults of faults.md: something is missing, full, frozen, replaced or killed,
// before or while a program runs. Whatever it is, contain ends as the program did, or
// with 125 and one line; nothing is left on the host; and nobody else's is touched.

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ranOrRefused fails the test unless the program has run and ended with 7, or contain
// has said in one line why it has not. It tells which.
func (r result) ranOrRefused(t *testing.T, what string) (ran bool) {
	t.Helper()
	if r.code() == 7 && r.stderr == "" {
		return true
	}
	line, rest, _ := strings.Cut(r.stderr, "\n")
	if r.code() != 125 || !strings.HasPrefix(line, "contain: ") || rest != "" && (!strings.HasPrefix(rest, "hint: ") || strings.Count(rest, "\n") != 1) {
		t.Errorf("%s: status %d, stderr %q; want 7, or 125 and one line", what, r.code(), cut(r.stderr))
	}
	return false
}

// cut shortens what a failed test prints.
func cut(s string) string { return s[:min(len(s), 2000)] }

// shell runs a script of bash with contain as its arguments, and to go with it exit7.
func shell(t *testing.T, script string, args ...string) result {
	t.Helper()
	return startCommand(t, exec.Command("bash", append([]string{"-c", script, containPath}, args...)...)).wait(t)
}

// noContainers fails the test if a container is left, also in what the test removes.
func noContainers(t *testing.T, what string) {
	t.Helper()
	entries, err := os.ReadDir(stateDir)
	if dirs := cgroupDirs(t); err != nil || len(entries)+len(dirs) > 0 {
		t.Errorf("%s: left are %v, %v", what, entries, dirs)
		killPrograms(t)
		sweep(t)
	}
}

// parentOfProgram is the host's pid of the init of the only container.
func parentOfProgram(t *testing.T) int {
	t.Helper()
	pid, err := strconv.Atoi(field(readStatus(t, initPID(t)), "PPid"))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// F3, F46: who kills the init kills the program; it is the program's end by SIGKILL.
func TestInitIsKilled(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, flags := range []string{"", "-network-address 172.17.0.99/24", "-memory-limit 64M -timeout 1h", "-tty always"} {
		p := start(t, slices.Concat([]string{"-chroot", root}, strings.Fields(flags), []string{"--", "probe", "wait"})...)
		waitFor(t, "the program to run", func() bool { return strings.HasPrefix(p.stdout.String(), "ready") })
		must(t, syscall.Kill(parentOfProgram(t), syscall.SIGKILL))
		if r := p.wait(t); r.status != syscall.WaitStatus(syscall.SIGKILL) || r.stderr != "" {
			t.Errorf("%s: wait status %#x, stderr %q", flags, r.status, r.stderr)
		}
		noContainers(t, flags)
	}
}

// F6: that nobody reads its stderr changes nothing in how contain ends.
func TestNobodyReadsStderr(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, c := range []struct {
		code int
		args string
	}{
		{125, "-nope"}, {125, "-chroot /nope -- probe"}, {127, "-chroot " + root + " -- nope"},
		{125, "-chroot " + root + " -state-dir /proc/nope -- probe wait"},
		{137, "-chroot " + root + " -memory-limit 16M -- probe hog 100000000"},
		{124, "-chroot " + root + " -timeout 10ms -- probe wait"}, {7, "-chroot " + root + " -- probe exit 7"},
	} {
		for _, limits := range []string{"", "ulimit -n 30; "} {
			nobody, w, err := os.Pipe()
			must(t, err, nobody.Close())
			cmd := exec.Command("bash", append([]string{"-c", limits + `exec "$0" "$@"`, containPath}, strings.Fields(c.args)...)...)
			cmd.Stderr = w
			p := startCommand(t, cmd)
			w.Close()
			want := c.code
			if limits != "" {
				want = 125
			}
			if r := p.wait(t); r.code() != want {
				t.Errorf("%s%s: status %d, want %d", limits, c.args, r.code(), want)
			}
		}
	}
}

// F9: to a device that is full the program gets its error, and contain its status.
func TestFullDevice(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for script, code := range map[string]int{
		`exec "$0" -chroot $1 -- probe fill 100000 >/dev/full`:          1,
		`exec "$0" -chroot $1 -- probe exit 7 >/dev/full 2>&1`:          7,
		`exec "$0" -chroot $1 -- nope >/dev/full 2>&1`:                  127,
		`exec "$0" -nope >/dev/full 2>&1`:                               125,
		`exec "$0" -h >/dev/full 2>&1`:                                  125,
		`exec "$0" -chroot $1 -tty always -- probe exit 7 >/dev/full`:   7,
		`exec "$0" -chroot $1 -timeout 10ms -- probe wait >/dev/full`:   124,
		`exec "$0" -chroot $1 -report /dev/full -- probe exit 7 2>&-`:   7,
		`exec "$0" -chroot $1 -print-config -- probe exit 7 >/dev/full`: 125,
	} {
		if r := shell(t, script, root); r.code() != code || code == 7 && r.stderr != "" {
			t.Errorf("%s: status %d, stderr %q; want %d", script, r.code(), r.stderr, code)
		}
	}
}

// F10: a state directory without room, for files or for what is in them.
func TestFullStateDir(t *testing.T) {
	leavesNothing(t)
	root, dir := rootfs(t), filepath.Join(t.TempDir(), "state")
	must(t, os.Mkdir(dir, 0o700))
	refused := map[string]int{}
	for _, options := range []string{
		"nr_inodes=1", "nr_inodes=2", "nr_inodes=3", "nr_inodes=4", "nr_inodes=5", "nr_inodes=6", "nr_inodes=12",
		"size=4k", "size=8k", "size=12k", "size=16k", "size=32k", "size=64k",
	} {
		for _, network := range [][]string{nil, {"-network-address", "172.17.0.99/24"}} {
			must(t, unix.Mount("none", dir, "tmpfs", 0, "mode=700,"+options))
			r := contain(t, slices.Concat([]string{"-chroot", root, "-state-dir", dir}, network, exit7)...)
			if !r.ranOrRefused(t, options) {
				kind, _, _ := strings.Cut(options, "=")
				refused[kind]++
				r.wantError(t, 125, "no space left on device")
				r.wantError(t, 125, dir)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%s: left are %v, %v", options, left, err)
			}
			must(t, unix.Unmount(dir, 0))
		}
	}
	if refused["size"] == 0 || refused["nr_inodes"] == 0 {
		t.Errorf("not one was too small: %v", refused)
	}
}

// F11: a state directory that is none, or that others than root could change.
func TestUnusableStateDir(t *testing.T) {
	leavesNothing(t)
	root, dir := rootfs(t), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.WriteFile(at("file"), nil, 0o600), os.Mkdir(at("real"), 0o700), os.Symlink("real", at("link")), os.Symlink("nowhere", at("dangling")),
		os.Mkdir(at("foreign"), 0o700), os.Mkdir(at("foreign/below"), 0o700), os.Chown(at("foreign"), 1000, 1000),
		os.Mkdir(at("open"), 0o700), os.Chmod(at("open"), 0o777), os.Mkdir(at("sticky"), 0o700), os.Chmod(at("sticky"), 0o777|os.ModeSticky),
		os.Mkdir(at("group"), 0o700), os.Chmod(at("group"), 0o770), os.Mkdir(at("readonly"), 0o700), unix.Mount("none", at("readonly"), "tmpfs", unix.MS_RDONLY, "mode=700"))
	t.Cleanup(func() { must(t, unix.Unmount(at("readonly"), 0)) })
	for name, text := range map[string]string{
		"file": "not a directory", "file/below": "not a directory", "link": "is a symbolic link", "dangling": "is a symbolic link",
		"foreign": "can be changed by user 1000, who owns it", "foreign/below": "can be changed by user 1000, who owns it",
		"open": "can be changed by everybody", "sticky": "can be changed by everybody", "group": "can be changed by group 0",
		"readonly": "read-only file system", "readonly/below": "read-only file system",
	} {
		for _, network := range [][]string{nil, {"-network-address", "172.17.0.99/24"}} {
			contain(t, slices.Concat([]string{"-chroot", root, "-state-dir", at(name)}, network, exit7)...).wantError(t, 125, text)
		}
	}
	contain(t, slices.Concat([]string{"-chroot", root, "-state-dir", at("new/and/below")}, exit7)...).want(t, 7, "")
	contain(t, slices.Concat([]string{"-chroot", root, "-state-dir", at("link/below")}, exit7)...).want(t, 7, "") // such as /var/run
	if left, err := filepath.Glob(at("*/*")); err != nil || len(left) != 4 {                                      // foreign/below, new/and, real/below, link/below
		t.Errorf("left are %q, %v", left, err)
	}
}

// box makes a cgroup of a controller for contain to be started in, and returns the
// directory whose limits hold there, and the file that takes a process in.
func box(t *testing.T, controller string) (dir, procs string) {
	t.Helper()
	if underSystemd() {
		t.Skip("needs cgroups that are the tests' own")
	}
	own, err := cgroups.GetOwnCgroupPath(controller)
	dir, procs = filepath.Join(own, "box"), filepath.Join(own, "box", "cgroup.procs")
	if unified() {
		dir, err = filepath.Join(filepath.Dir(ownCgroup2(t)), "box"), nil
		procs = filepath.Join(dir, "caller", "cgroup.procs")
	}
	must(t, err, os.MkdirAll(filepath.Dir(procs), 0o755))
	t.Cleanup(func() { must(t, cgroups.RemovePath(dir)) })
	if unified() {
		must(t, cgroups.WriteFile(dir, "cgroup.subtree_control", "+memory +pids"))
	}
	return dir, procs
}

// boxed is a command that runs contain in a box.
func boxed(procs string, args ...string) *exec.Cmd {
	return exec.Command("sh", append([]string{"-c", `echo 0 >"$0" && exec "$@"`, procs, containPath}, args...)...)
}

// F14: with any number of processes left for it, contain works or says that these are
// too few. It says so before it has changed anything, or the next start removes it.
func TestFewProcesses(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	dir, procs := box(t, "pids")
	first, last := -1, -1 // that works, that does not
	for n := range 48 {
		if testing.Short() && n%5 != 1 {
			continue
		}
		must(t, cgroups.WriteFile(dir, "pids.max", itoa(n+1)))
		for _, flags := range [][]string{nil, {"-network-address", "172.17.0.99/24", "-memory-limit", "64M"}} {
			r := startCommand(t, boxed(procs, slices.Concat([]string{"-chroot", root}, flags, exit7)...)).wait(t)
			if r.ranOrRefused(t, itoa(n)+" processes more") {
				if first < 0 {
					first = n
				}
			} else {
				last = n
				if !regexp.MustCompile("processes|temporarily unavailable").MatchString(r.stderr) {
					t.Errorf("%d: stderr %q", n, r.stderr)
				}
			}
			noContainers(t, itoa(n)+" processes more")
		}
	}
	t.Logf("it works with %d, and not with %d", first, last)
	if first < 0 || last < 0 || last > loose(40, 60) {
		t.Error("want both, and 40 to be enough")
	}
}

// F15: with any number of descriptors contain works or says that these are too few.
func TestFewDescriptors(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for n := 3; n < 64; n++ {
		if !leftOut(n) {
			shell(t, "ulimit -n "+itoa(n)+`; exec "$0" -chroot "$1" -- probe exit 7`, root).wantError(t, 125, "ulimit -n")
		}
	}
	for _, flags := range []string{"", "-init=false", "-memory-limit 64M -report /dev/null -tty always " +
		"-network-address 172.17.0.99/24 -network-address 2001:db8:17::99/64 -network-strict -cpu-time 60s -cpus 0.5 -network-bandwidth 10mbit"} {
		shell(t, `ulimit -n 64; exec "$0" -chroot "$@" -- probe exit 7`, append([]string{root}, strings.Fields(flags)...)...).want(t, 7, "")
	}
}

// A little memory around contain itself: it works, or is killed; and nothing of the
// program survives it.
func TestLittleMemoryForContain(t *testing.T) {
	root := rootfs(t)
	dir, procs := box(t, "memory")
	ends := map[string]int{}
	for _, megabytes := range []int{1, 2, 4, 5, 6, 7, 8, 12, 16, 24, 32, 64} {
		file := map[bool]string{true: "memory.max", false: "memory.limit_in_bytes"}[unified()]
		waitFor(t, "the limit to be set", func() bool { return cgroups.WriteFile(dir, file, itoa(megabytes)+"M") == nil })
		for _, program := range []string{"exit 7", "wait", "hog 100000000", "bomb"} {
			args := append([]string{"-chroot", root, "-pids-limit", "200", "-timeout", "500ms", "-grace", "0", "--", "probe"}, strings.Fields(program)...)
			r := startCommand(t, boxed(procs, args...)).wait(t)
			ends[itoa(r.code())]++
			if !slices.Contains([]int{0, 7, 124, 137, 125}, r.code()) || strings.Count(r.stderr, "\n") > 2 {
				t.Errorf("%d MB, %s: status %d, stderr %q", megabytes, program, r.code(), cut(r.stderr))
			}
			waitFor(t, "the program's end", func() bool { return len(programs(t)) == 0 })
			sweep(t)
		}
	}
	t.Log("ends:", ends)
	if ends["7"] == 0 || ends["137"] == 0 {
		t.Errorf("ends: %v", ends)
	}
}

// F19: controllers that are not there, or cannot be changed, are named.
func TestCgroupsThatAreMissing(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	in := func(script string, flags ...string) result {
		args := slices.Concat([]string{"-m", "sh", "-c", script + ` && exec "$@"`, "sh", containPath, "-chroot", root}, flags, exit7)
		return startCommand(t, exec.Command("unshare", args...)).wait(t)
	}
	limits := []string{"-memory-limit", "64M", "-cpu-core-ids", firstCPU(t)}
	for _, script := range []string{"umount -l /sys/fs/cgroup", "umount -R /sys/fs/cgroup", "mount -t tmpfs none /sys/fs/cgroup"} {
		if r := in(script, limits...); r.ranOrRefused(t, script) || !strings.Contains(r.stderr, "cgroup") {
			t.Errorf("%s: status %d, stderr %q", script, r.code(), r.stderr)
		}
		in(script).ranOrRefused(t, script)
	}
	readOnly := `for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mountpoint -q $d && mount -o remount,bind,ro $d; done; true`
	in(readOnly).wantError(t, 125, "read-only file system")
	in(readOnly, limits...).wantError(t, 125, "read-only file system")
	if unified() {
		return
	}
	for controller, flags := range map[string][]string{"memory": limits[:2], "cpuset": limits[2:], "pids": {"-pids-limit", "9"}, "cpu": {"-cpus", "0.5"}, "blkio": {"-io-max", "8:0:rbps=1M"}} {
		in("umount /sys/fs/cgroup/"+controller, flags...).wantError(t, 125, "the "+controller+" cgroup controller is not available")
		in("umount /sys/fs/cgroup/"+controller).ranOrRefused(t, "without "+controller)
	}
}

// stranger is a process that is none of contain's, moved into all of a container's
// cgroups.
func stranger(t *testing.T) *process {
	t.Helper()
	p := startCommand(t, exec.Command("sleep", "3600"))
	for _, dir := range cgroupDirs(t) {
		if !strings.Contains(dir, "cpuset") { // it has no CPUs without -cpu-core-ids
			must(t, cgroups.WriteFile(dir, "cgroup.procs", itoa(p.cmd.Process.Pid)))
		}
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

// F20: a process that somebody has moved into the program's cgroup is not contain's to
// kill. It is named, and the cgroup stays; how contain ends does not depend on it.
func TestStrangerInTheCgroup(t *testing.T) {
	if underSystemd() {
		t.Skip("systemd ends all that is in its scope")
	}
	leavesNothing(t)
	root := rootfs(t)
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		p := start(t, "-chroot", root, "-memory-limit", "64M", "--", "probe", "wait")
		p.waitLine(t, "ready")
		pid := initPID(t)
		s := stranger(t)
		must(t, syscall.Kill(pid, end))
		r := p.wait(t)
		if !r.status.Signaled() || r.status.Signal() != end {
			t.Errorf("wait status %#x, want the death by signal %d", r.status, end)
		}
		r.wantError(t, 128+int(end), "stays, for process "+itoa(s.cmd.Process.Pid)+" is in it")
		if len(cgroupDirs(t)) == 0 || s.ended.Load() || syscall.Kill(s.cmd.Process.Pid, 0) != nil {
			t.Error("the stranger is gone")
		}
		must(t, s.cmd.Process.Kill())
		s.wait(t)
		sweep(t)
	}
}

// freeze stops or resumes all that is in the program's cgroups.
func freeze(t *testing.T, frozen bool) {
	t.Helper()
	file, value := "freezer.state", map[bool]string{true: "FROZEN", false: "THAWED"}[frozen]
	if unified() {
		file, value = "cgroup.freeze", map[bool]string{true: "1", false: "0"}[frozen]
	}
	done := false
	for _, dir := range cgroupDirs(t) {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			must(t, cgroups.WriteFile(dir, file, value))
			done = true
		}
	}
	if !done {
		t.Skip("there is no freezer")
	}
}

// F20: what is frozen by somebody else waits, but ends when it has to.
func TestFrozenProgram(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, init := range []string{"-init=true", "-init=false"} {
		p := start(t, "-chroot", root, init, "-timeout", loose("1s", "8s"), "-grace", "100ms", "--", "probe", "crowd", "5")
		p.waitLine(t, "ready")
		freeze(t, true)
		p.wait(t).wantError(t, 124, "exceeded, ") // on v2 a frozen process dies of SIGTERM, too
		p = start(t, "-chroot", root, init, "--", "probe", "after", "10", "/bin/probe", "exit", "7")
		p.waitLine(t, "ready")
		freeze(t, true)
		p.signal(t, syscall.SIGUSR1)
		freeze(t, false)
		p.wait(t).want(t, 7, "ready\n")
	}
}

// F20: cgroups that somebody else has made inside the program's, with processes of the
// program in them, go with it; frozen or not.
func TestNestedCgroups(t *testing.T) {
	if underSystemd() {
		t.Skip("needs cgroups that are the tests' own")
	}
	leavesNothing(t)
	root := rootfs(t)
	for _, frozen := range []bool{false, true} {
		p := start(t, "-chroot", root, "-timeout", loose("1s", "8s"), "-grace", "0", "--", "probe", "crowd", "3")
		p.waitLine(t, "ready")
		pids := programs(t)
		for _, dir := range cgroupDirs(t) {
			must(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755))
			if !strings.Contains(dir, "cpuset") {
				must(t, cgroups.WriteFile(filepath.Join(dir, "a", "b"), "cgroup.procs", itoa(pids[len(pids)-1])))
			}
		}
		if frozen {
			freeze(t, true)
		}
		p.wait(t).wantError(t, 124, "exceeded, ")
		noContainers(t, "nested")
	}
}

// F21: somebody moves the processes out of the program's cgroup, and removes that.
func TestCgroupTakenAway(t *testing.T) {
	if underSystemd() {
		t.Skip("needs cgroups that are the tests' own")
	}
	leavesNothing(t)
	root := rootfs(t)
	for _, removed := range []bool{false, true} {
		for _, flags := range []string{"", "-memory-limit 64M -cpu-time 1h -cpus 0.5 -report /dev/null -network-address 172.17.0.99/24"} {
			p := start(t, slices.Concat([]string{"-chroot", root}, strings.Fields(flags), []string{"--", "probe", "signals", "2"})...)
			p.waitLine(t, "ready")
			dirs := cgroupDirs(t)
			for _, dir := range dirs {
				pids, err := cgroups.GetPids(dir)
				must(t, err)
				for _, pid := range pids {
					to := filepath.Dir(dir)
					if unified() {
						to = ownCgroup2(t)
					}
					must(t, cgroups.WriteFile(to, "cgroup.procs", itoa(pid)))
				}
				if removed {
					must(t, os.Remove(dir))
				}
			}
			p.signal(t, syscall.SIGUSR1)
			p.waitLine(t, "10")
			p.signal(t, syscall.SIGUSR2)
			if r := p.wait(t); r.code() != 0 || r.stderr != "" {
				t.Errorf("%q, removed %v: status %d, stderr %q", flags, removed, r.code(), r.stderr)
			}
			noContainers(t, flags)
		}
	}
}

// F22, F26: the bridge, or the host's end of the program's interface, goes while the
// program runs: it has no network any more, and ends as it likes.
func TestBridgeGoesWhileTheProgramRuns(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	var veth netlink.Link
	for what, do := range map[string]func(bridge netlink.Link) error{
		"bridge deleted":  netlink.LinkDel,
		"bridge down":     netlink.LinkSetDown,
		"bridge renamed":  func(b netlink.Link) error { return rename(b, "br-other") },
		"veth deleted":    func(netlink.Link) error { return netlink.LinkDel(veth) },
		"veth down":       func(netlink.Link) error { return netlink.LinkSetDown(veth) },
		"veth unplugged":  func(netlink.Link) error { return netlink.LinkSetNoMaster(veth) },
		"veth renamed":    func(netlink.Link) error { return rename(veth, "other") },
		"address flushed": func(b netlink.Link) error { return netlink.AddrDel(b, &netlink.Addr{IPNet: ipNet("172.27.0.1/24")}) },
	} {
		b := bridge(t, "br-goes", "172.27.0.1/24")
		p := start(t, "-chroot", root, "-bridge", "br-goes", "-network-address", "172.27.0.2/24", "-report", "/dev/null", "--", "probe", "signals", "1")
		p.waitLine(t, "ready")
		for _, l := range linkList(t) {
			if strings.HasPrefix(l.Attrs().Name, "ctn") {
				veth = l
			}
		}
		must(t, do(b))
		p.signal(t, syscall.SIGUSR1)
		if r := p.wait(t); r.code() != 0 || r.stderr != "" || r.stdout != "ready\n10\n" {
			t.Errorf("%s: status %d, stdout %q, stderr %q", what, r.code(), r.stdout, r.stderr)
		}
		netlink.LinkDel(b)
		noContainers(t, what)
	}
}

// rename renames an interface. Before Linux 6.2 it has to be down for that.
func rename(l netlink.Link, name string) error {
	return errors.Join(netlink.LinkSetDown(l), netlink.LinkSetName(l, name), netlink.LinkSetUp(l))
}

// ipNet parses an address with its prefix length.
func ipNet(s string) *net.IPNet {
	ip, n, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	n.IP = ip
	return n
}

// F23: the bridge goes, or gets another name, at any time while a program starts.
func TestBridgeGoesDuringTheStart(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	begin := time.Now()
	contain(t, slices.Concat([]string{"-chroot", root, "-network-address", "172.17.0.99/24"}, exit7)...).want(t, 7, "")
	window, ran, refused, rounds := time.Since(begin), 0, 0, races(60)
	for i := range rounds {
		b := bridge(t, "br-race", "172.27.0.1/24")
		p := start(t, slices.Concat([]string{"-chroot", root, "-bridge", "br-race", "-network-address", "172.27.0.2/24"}, exit7)...)
		time.Sleep(window * time.Duration(i) / time.Duration(rounds)) // the race
		if i%2 == 0 {
			must(t, netlink.LinkDel(b))
		} else {
			must(t, netlink.LinkSetDown(b), netlink.LinkSetName(b, "br-raced"))
		}
		if r := p.wait(t); r.ranOrRefused(t, "round "+itoa(i)) {
			ran++
		} else if refused++; !regexp.MustCompile("no such interface|is down|removed meanwhile|set down meanwhile").MatchString(r.stderr) {
			t.Errorf("round %d: stderr %q", i, r.stderr)
		}
		netlink.LinkDel(b)
		noContainers(t, "round "+itoa(i))
	}
	t.Logf("%d ran, %d were refused", ran, refused)
	if refused == 0 {
		t.Error("the bridge was there in every case")
	}
}

// F27: DIR is unmounted, read-only or full while the program runs; that finds out, and
// contain needs it no more.
func TestRootGoesWhileTheProgramRuns(t *testing.T) {
	leavesNothing(t)
	for what, c := range map[string]struct {
		do      func(root string) error
		program string
		code    int
		stdout  string
	}{
		"unmounted": {func(root string) error { return unix.Unmount(root, unix.MNT_DETACH) }, "create /file", 0, "755\n"},
		"read-only": {func(root string) error { return unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") }, "create /file", 1, "/file: Read-only file system\n"},
		"full":      {func(root string) error { return unix.Mount("", root, "", unix.MS_REMOUNT, "size=2M") }, "cache /file 9000000", 1, "write: No space left on device\n"},
		"renamed":   {func(root string) error { return os.Rename(filepath.Dir(root), filepath.Dir(root)+"x") }, "exit 7", 7, ""},
		"emptied":   {func(root string) error { return os.RemoveAll(filepath.Join(root, "bin")) }, "exit 7", 1, "/bin/probe: No such file or directory\n"},
	} {
		root := filepath.Join(t.TempDir(), "at", "root")
		must(t, os.MkdirAll(root, 0o755), unix.Mount("none", root, "tmpfs", 0, "mode=755,size=16M"))
		must(t, os.Mkdir(filepath.Join(root, "bin"), 0o755))
		copyFile(t, probePath, filepath.Join(root, "bin", "probe"), 0o755)
		args := []string{"-chroot", root, "--", "probe", "after", "10", "/bin/probe"}
		p := start(t, append(args, strings.Fields(c.program)...)...)
		p.waitLine(t, "ready")
		must(t, c.do(root))
		p.signal(t, syscall.SIGUSR1)
		p.wait(t).want(t, c.code, "ready\n"+c.stdout)
		noContainers(t, what)
		unix.Unmount(root, unix.MNT_DETACH)
		unix.Unmount(filepath.Dir(root)+"x/root", unix.MNT_DETACH)
	}
}

// F28: DIR is renamed or removed at any time while a program starts: it starts there,
// or not at all.
func TestRootGoesDuringTheStart(t *testing.T) {
	leavesNothing(t)
	base := rootfs(t)
	begin := time.Now()
	contain(t, slices.Concat([]string{"-chroot", base}, exit7)...).want(t, 7, "")
	window, ran, rounds := time.Since(begin), 0, races(60)
	for i := range rounds {
		root := filepath.Join(t.TempDir(), "root")
		must(t, os.CopyFS(root, os.DirFS(base)), os.WriteFile(filepath.Join(root, "mark"), []byte("right\n"), 0o600))
		p := start(t, "-chroot", root, "--", "probe", "cat", "/mark")
		time.Sleep(window * time.Duration(i) / time.Duration(rounds)) // the race
		if i%2 == 0 {
			must(t, os.Rename(root, root+"-moved"), os.CopyFS(root, os.DirFS(base)))
		} else {
			os.RemoveAll(root) // mount points are in use, in other namespaces
		}
		switch r := p.wait(t); {
		case r.code() == 0 && r.stdout == "right\n" && r.stderr == "":
			ran++
		case r.code() == 1 && r.stdout == "/mark: No such file or directory\n": // the other, or emptied
		default:
			if r.code() != 126 && r.code() != 127 {
				r.ranOrRefused(t, "round "+itoa(i))
			}
		}
		noContainers(t, "round "+itoa(i))
	}
	t.Logf("%d of %d ran", ran, rounds)
	if ran == 0 || ran == rounds {
		t.Errorf("%d of %d ran", ran, rounds)
	}
}

// F44: contain's own file is replaced, or removed, while it runs: nothing of it is
// needed any more, to stop and go on, or to end by a limit.
func TestBinaryIsReplaced(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for what, do := range map[string]func(path string) error{
		"removed": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+"-new", []byte("#!/bin/false\n"), 0o755), os.Rename(path+"-new", path))
		},
	} {
		path := filepath.Join(t.TempDir(), "contain")
		copyFile(t, containPath, path, 0o755)
		p := startCommand(t, exec.Command(path, "-chroot", root, "-network-address", "172.17.0.99/24", "-memory-limit", "64M", "--", "probe", "signals", "2"))
		p.waitLine(t, "ready")
		must(t, do(path))
		p.signal(t, syscall.SIGUSR1)
		p.waitLine(t, "10")
		p.signal(t, syscall.SIGSTOP)
		p.signal(t, syscall.SIGCONT)
		p.wait(t).want(t, 0, "ready\n10\n18\n")
		noContainers(t, what)
	}
}

// F34: where process ids are used again within moments, no signal of contain's reaches
// a process that is not its own.
func TestPidsAreUsedAgain(t *testing.T) {
	var name unix.Utsname
	must(t, unix.Uname(&name))
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil || major < 6 || major == 6 && minor < 14 {
		t.Skip("kernel.pid_max is the host's before Linux 6.14")
	}
	leavesNothing(t)
	script := `echo 400 >/proc/sys/kernel/pid_max
		exec 3>&1
		{ for i in $(seq $2); do
			"$0" -chroot "$1" -- probe crowd 3 & c=$!
			sleep 0.00$((i % 9)); sleep 0.0$((i % 4)); kill -TERM $c
			wait $c; s=$?; [ $s = 143 ] || echo "run $i: $s" >&3
		done; } >&2 2>/dev/null | "$3" churn; true`
	cmd := exec.Command("unshare", "-p", "-f", "--mount-proc", "bash", "-c", script, containPath, rootfs(t), itoa(often(60)), probePath)
	startCommand(t, cmd).wait(t).want(t, 0, "ready\n0 hurt\n")
}

// F35: contain is stopped for a while at any time during the start: nothing is given up.
func TestStoppedDuringTheStart(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	begin := time.Now()
	args := slices.Concat([]string{"-chroot", root, "-timeout", "1h", "-network-address"}, []string{"172.17.0.60/24"}, exit7)
	contain(t, args...).want(t, 7, "")
	window, rounds := 2*time.Since(begin), often(40)
	workers(4, rounds, func(_, i int) {
		mine := slices.Clone(args)
		mine[5] = fmt.Sprintf("172.17.0.%d/24", 60+i)
		p := start(t, mine...)
		time.Sleep(window * time.Duration(i) / time.Duration(rounds)) // the race
		p.cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(300 * time.Millisecond) // longer than any wait of the start's
		p.cmd.Process.Signal(syscall.SIGCONT)
		p.wait(t).want(t, 7, "")
	})
}

// F36: a daemon that the program leaves, which ignores what asks it to end and holds
// the pipes, goes with it.
func TestOrphanHoldsThePipes(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, init := range []string{"-init=true", "-init=false"} {
		contain(t, "-chroot", root, init, "--", "probe", "ignore", "1,2,3,13,15", "/bin/probe", "orphan").want(t, 5, "leader\n")
		noContainers(t, init)
	}
	// Who ignores SIGTERM lives on, and is killed at the end of the grace.
	contain(t, "-chroot", root, "-timeout", "10ms", "-grace", "100ms", "--", "probe", "ignore", "1,2,3,15", "/bin/probe", "crowd", "3").
		wantError(t, 124, "killed")
}

// peak is the most memory that a process has had, in KiB.
func peak(t *testing.T, pid int) (kib int) {
	t.Helper()
	if _, err := fmt.Sscan(field(readStatus(t, pid), "VmHWM"), &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

// F38: what the program prints does not pile up in contain, however slow its reader.
func TestFlood(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for tty, megabytes := range map[string]int{"never": often(1000), "always": often(100)} {
		r, w, err := os.Pipe()
		must(t, err)
		cmd := exec.Command(containPath, "-chroot", root, "-tty", tty, "--", "probe", "fill", itoa(megabytes)+mega)
		cmd.Stdout = w
		p := startCommand(t, cmd)
		w.Close()
		_, err = io.CopyN(io.Discard, r, int64(megabytes)*100000)
		must(t, err)
		first := peak(t, cmd.Process.Pid)
		_, err = io.CopyN(io.Discard, r, int64(megabytes)*890000)
		must(t, err)
		if last := peak(t, cmd.Process.Pid); last > first+2048 {
			t.Errorf("-tty %s: contain's memory has grown from %d to %d KiB", tty, first, last)
		}
		rest, err := io.Copy(io.Discard, r)
		must(t, err)
		if got := rest + int64(megabytes)*990000; p.wait(t).code() != 0 || got < int64(megabytes)*1000000 {
			t.Errorf("-tty %s: %d bytes", tty, got)
		}
	}
}

// F39: ten thousand dead children at once are reaped by the init.
func TestZombies(t *testing.T) {
	leavesNothing(t)
	contain(t, "-chroot", rootfs(t), "-pids-limit", "20000", "--", "probe", "orphans", itoa(often(10000))).want(t, 0, "gone\n")
}

// F40, F43: a kernel that lacks a system call, or refuses it: contain does without, or
// says what is missing.
func TestSystemCallsThatAreMissing(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	ran := map[string]bool{}
	for name, number := range map[string]int{
		"openat2": unix.SYS_OPENAT2, "pidfd_open": unix.SYS_PIDFD_OPEN, "pidfd_send_signal": unix.SYS_PIDFD_SEND_SIGNAL, "clone3": unix.SYS_CLONE3,
		"close_range": unix.SYS_CLOSE_RANGE, "seccomp": unix.SYS_SECCOMP, "memfd_create": unix.SYS_MEMFD_CREATE, "open_tree": unix.SYS_OPEN_TREE,
		"move_mount": unix.SYS_MOVE_MOUNT, "mount_setattr": unix.SYS_MOUNT_SETATTR, "fsopen": unix.SYS_FSOPEN, "fsmount": unix.SYS_FSMOUNT,
		"unshare": unix.SYS_UNSHARE, "setns": unix.SYS_SETNS, "pivot_root": unix.SYS_PIVOT_ROOT, "mount": unix.SYS_MOUNT, "umount2": unix.SYS_UMOUNT2,
		"prlimit64": unix.SYS_PRLIMIT64, "signalfd4": unix.SYS_SIGNALFD4, "socketpair": unix.SYS_SOCKETPAIR, "keyctl": unix.SYS_KEYCTL,
		"capset": unix.SYS_CAPSET, "setgroups": unix.SYS_SETGROUPS, "setresuid": unix.SYS_SETRESUID, "sethostname": unix.SYS_SETHOSTNAME,
		"sched_setaffinity": unix.SYS_SCHED_SETAFFINITY, "statx": unix.SYS_STATX, "faccessat2": unix.SYS_FACCESSAT2, "mkdirat": unix.SYS_MKDIRAT,
		"mknodat": unix.SYS_MKNODAT, "socket": unix.SYS_SOCKET, "fchdir": unix.SYS_FCHDIR, "flock": unix.SYS_FLOCK, "prctl": unix.SYS_PRCTL, "waitid": unix.SYS_WAITID,
	} {
		for errno, flags := range map[syscall.Errno]string{unix.ENOSYS: "", unix.EPERM: "-network-address 172.17.0.99/24 -memory-limit 64M"} {
			cmd := exec.Command(probePath, append([]string{"refuse", itoa(number), itoa(int(errno)), containPath, "-chroot", root}, append(strings.Fields(flags), exit7...)...)...)
			what := name + ": " + unix.ErrnoName(errno)
			if r := startCommand(t, cmd).wait(t); r.ranOrRefused(t, what) {
				ran[name] = true
			} else {
				t.Logf("%s: %s", what, strings.TrimSpace(r.stderr))
			}
			noContainers(t, what)
		}
	}
	for _, name := range []string{"prctl", "unshare", "pivot_root", "mount", "capset"} {
		if ran[name] {
			t.Errorf("a program was started without %s", name)
		}
	}
}

// F41: root that lacks a capability: contain does without it, or names it.
func TestEachCapabilityMissing(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for number := range 41 {
		if leftOut(number) {
			continue
		}
		name := "cap_" + itoa(number)
		cmd := exec.Command("setpriv", append([]string{"--bounding-set=-" + name, containPath, "-chroot", root,
			"-network-address", "172.17.0.99/24", "-memory-limit", "64M", "-cpu-core-ids", firstCPU(t)}, exit7...)...)
		if r := startCommand(t, cmd).wait(t); !r.ranOrRefused(t, name) {
			r.wantError(t, 125, "contain itself needs CAP_")
			if number == unix.CAP_SYS_RESOURCE {
				t.Error("contain does not work without CAP_SYS_RESOURCE")
			}
		}
		noContainers(t, name)
	}
}

// hung is a directory with a file system whose server does not answer: a FUSE one of
// the test's. The server dies with what is returned.
func hung(t *testing.T) (dir string, server *os.File) {
	t.Helper()
	server, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	dir = t.TempDir()
	if err := unix.Mount("hung", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server.Fd())); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { server.Close(); must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir, server
}

// F27, F29: DIR on a file system whose server hangs: nothing has been made yet, and
// SIGKILL ends contain; or dies: contain says so.
func TestServerOfTheRootHangs(t *testing.T) {
	leavesNothing(t)
	dir, server := hung(t)
	p := start(t, slices.Concat([]string{"-chroot", dir}, exit7)...)
	stack := func() string {
		text, _ := os.ReadFile("/proc/" + itoa(p.cmd.Process.Pid) + "/wchan")
		return string(text)
	}
	waitFor(t, "contain to hang", func() bool { return strings.Contains(stack(), "fuse") || p.stderr.String() != "" })
	p.signal(t, syscall.SIGKILL)
	if r := p.wait(t); r.status != syscall.WaitStatus(syscall.SIGKILL) || r.stderr != "" {
		t.Errorf("wait status %#x, stderr %q", r.status, r.stderr)
	}
	noContainers(t, "killed")
	p = start(t, slices.Concat([]string{"-chroot", dir}, exit7)...)
	waitFor(t, "contain to hang", func() bool { return strings.Contains(stack(), "fuse") || p.stderr.String() != "" })
	must(t, server.Close())
	p.wait(t).wantError(t, 125, "-chroot")
	noContainers(t, "the server is dead")
}

// F42: in odd places contain works, or says in one line why not; and mounts nothing
// where others can see it.
func TestOddPlaces(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	named := filepath.Join(t.TempDir(), "named")
	must(t, os.CopyFS(named, os.DirFS(root)), os.MkdirAll(filepath.Join(named, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(named, "etc", "resolv.conf"), nil, 0o644), os.WriteFile(filepath.Join(named, "etc", "hosts"), nil, 0o644))
	for _, propagation := range []string{"shared", "slave", "private"} {
		script := `a=$(cat /proc/self/mountinfo); "$0" -chroot "$1" -network-address 172.17.0.99/24 -dns 192.0.2.1 -hosts a:192.0.2.2 -- probe exit 7; s=$?
			[ "$a" = "$(cat /proc/self/mountinfo)" ] || echo other mounts; exit $s`
		cmd := exec.Command("unshare", "-m", "--propagation", propagation, "bash", "-c", script, containPath, named)
		startCommand(t, cmd).wait(t).want(t, 7, "")
		script = `cd "$1"; mount --bind "$2" "$1"; a=$(cat /proc/self/mountinfo); "$0" -chroot . -- probe exit 7; s=$?
			[ "$a" = "$(cat /proc/self/mountinfo)" ] || echo other mounts; exit $s`
		cmd = exec.Command("unshare", "-m", "--propagation", propagation, "bash", "-c", script, containPath, named, t.TempDir())
		if r := startCommand(t, cmd).wait(t); r.stdout != "" {
			t.Errorf("%s, something is mounted over DIR: status %d, stdout %q, stderr %q", propagation, r.code(), r.stdout, r.stderr)
		}
	}
	// A chroot, with or without a mount to pivot from, and with contain's own /proc.
	outer := filepath.Join(t.TempDir(), "outer")
	must(t, os.CopyFS(outer, os.DirFS(root)), os.CopyFS(filepath.Join(outer, "inner"), os.DirFS(root)))
	for _, dir := range []string{"proc", "sys", "dev", "run", "tmp"} {
		must(t, os.MkdirAll(filepath.Join(outer, dir), 0o755))
	}
	copyFile(t, containPath, filepath.Join(outer, "bin", "contain"), 0o755)
	for _, prepare := range []string{"", `mount --bind "$1" "$1"; cd "$1";`, "mount --rbind /proc $1/proc; mount --rbind /sys $1/sys;",
		"for d in proc sys dev; do mount --rbind /$d $1/$d; done;",
		`mount --bind "$1" "$1"; cd "$1"; for d in proc sys dev; do mount --rbind /$d $d; done; mount -t tmpfs none run;`} {
		cmd := exec.Command("unshare", "-m", "bash", "-c", prepare+` exec chroot "$1" /bin/contain -chroot /inner -- probe exit 7`, "bash", outer)
		r := startCommand(t, cmd).wait(t)
		if pivots := strings.Contains(prepare, "tmpfs"); r.ranOrRefused(t, "chroot, "+prepare) != pivots {
			t.Errorf("chroot, %s: status %d, stderr %q", prepare, r.code(), r.stderr)
		}
	}
	// contain in contain: by default, and with all that can be allowed.
	for _, flags := range []string{"", "-cap-add ALL -seccomp none -unmask ALL -allow-new-privs", "-userns"} {
		args := slices.Concat([]string{"-chroot", outer}, strings.Fields(flags), []string{"--", "/bin/contain", "-chroot", "/inner"}, exit7)
		r := contain(t, args...)
		r.ranOrRefused(t, "contain in contain "+flags)
	}
}
