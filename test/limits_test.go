package test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whichever process takes too much, and in whatever form, the whole tree is gone
// at once, and what is told is the memory limit.
func TestOutOfMemoryTakesTheTree(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, init := range []string{"-init=true", "-init=false"} {
		for _, program := range []string{"hog", "childhog", "daemon 60 /bin/probe hog", "shmhog", "daemon 60 /bin/probe shmhog"} {
			t.Run(init+" "+program, func(t *testing.T) {
				args := append([]string{"-chroot", root, init, "-memory-limit", "32M", "--", "probe"}, strings.Fields(program)...)
				r, rep := reported(t, append(args, "60"+mega)...)
				r.wantError(t, 137, "memory limit of 32MiB exceeded, killed (peak 32MiB, OOM kills: ")
				rep.wantEnd(t, "run", "oom", 137, -1, 9)
				if !r.status.Signaled() || strings.Contains(r.stdout, "survived") || len(programs(t)) > 0 {
					t.Errorf("wait status %#x, stdout %q, processes %v", r.status, r.stdout, programs(t))
				}
				if told := fmt.Sprintf("OOM kills: %v)", value(rep.OOMKills)); !strings.Contains(r.stderr, told) || !(value(rep.OOMKills) >= 1) {
					t.Errorf("stderr %q, report %v", r.stderr, value(rep.OOMKills))
				}
			})
		}
	}
	for _, program := range []string{"hog", "daemon 0 /bin/probe hog", "shmhog"} {
		args := append([]string{"-chroot", root, "-memory-limit", "32M", "--", "probe"}, strings.Fields(program)...)
		r, rep := reported(t, append(args, "29"+mega)...)
		rep.wantEnd(t, "run", "exited", 0, 0, -1)
		if r.stderr != "" || !strings.HasPrefix(r.stdout, "touched\n") || value(rep.OOMKills) != 0 {
			t.Errorf("%s just below the limit: status %d, stdout %q, stderr %q", program, r.code(), r.stdout, r.stderr)
		}
	}
}

// A SIGKILL that somebody sends is no memory limit, however near that is.
func TestKillIsNoMemoryLimit(t *testing.T) {
	leavesNothing(t)
	p := startReporting(t, "-chroot", rootfs(t), "-memory-limit", "32M", "--", "probe", "hold", "29"+mega)
	p.waitLine(t, "ready")
	if err := syscall.Kill(initPID(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r, rep := p.end(t)
	rep.wantEnd(t, "run", "signal", 137, -1, 9)
	if r.status != syscall.WaitStatus(syscall.SIGKILL) || r.stderr != "" || value(rep.OOMKills) != 0 {
		t.Errorf("wait status %#x, stderr %q, %v kills", r.status, r.stderr, value(rep.OOMKills))
	}
}

// Page cache counts, but is reclaimed: a file of four times the limit is no reason
// to kill.
func TestPageCacheNeverKills(t *testing.T) {
	leavesNothing(t)
	root, _ := diskRootfs(t)
	r, rep := reported(t, "-chroot", root, "-memory-limit", "16M", "--", "probe", "cache", "/file", "67108864")
	r.want(t, 0, "read\n")
	if value(rep.OOMKills) != 0 || r.stderr != "" {
		t.Errorf("%v kills, stderr %q", value(rep.OOMKills), r.stderr)
	}
}

// Above the soft limit a program goes on; the kernel has seen it there.
func TestMemorySoftLimit(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	p := startReporting(t, "-chroot", root, "-memory-soft-limit", "32M", "--", "probe", "hold", "34"+mega)
	p.waitLine(t, "ready")
	if unified() {
		var high int
		for _, dir := range cgroupDirs(t) {
			text, _ := os.ReadFile(filepath.Join(dir, "memory.events"))
			if _, after, ok := strings.Cut(string(text), "high "); ok {
				fmt.Sscan(after, &high)
			}
		}
		if high == 0 {
			t.Error("memory.events counts no memory above memory.high")
		}
	}
	syscall.Kill(initPID(t), syscall.SIGTERM)
	r, rep := p.end(t)
	rep.wantEnd(t, "run", "signal", 143, -1, 15)
	file := map[bool]string{true: "memory.high", false: "memory.soft_limit_in_bytes"}[unified()]
	if rep.Applied[file] != "33554432" || !(value(rep.Memory) > 33554432) || r.stderr != "" {
		t.Errorf("%s is %q, peak %v, stderr %q", file, rep.Applied[file], value(rep.Memory), r.stderr)
	}
	contain(t, "-chroot", root, "-memory-soft-limit", "32M", "--", "probe", "hog", "30"+mega).want(t, 0, "touched\n")
}

func TestVirtualMemoryLimit(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, c := range []struct {
		flags, bytes string
		code         int
		stdout       string
	}{
		{"-virtual-memory-limit 256M", "300" + mega, 1, "mmap: Cannot allocate memory\n"},
		{"-virtual-memory-limit 256M", "260" + mega, 0, "ok\n"},
		{"-ulimit as=256M", "300" + mega, 1, "mmap: Cannot allocate memory\n"},
		{"", "300" + mega, 0, "ok\n"},
	} {
		args := append([]string{"-chroot", root}, strings.Fields(c.flags)...)
		contain(t, append(args, "--", "probe", "reserve", c.bytes)...).want(t, c.code, c.stdout)
	}
	// Nothing is killed, and the limit is one of each process.
	contain(t, "-chroot", root, "-virtual-memory-limit", "64M", "--", "probe", "hog", "100"+mega).want(t, 1, "mmap: Cannot allocate memory\n")
}

// A program gets its CPUs' worth of time, whether it is one process or many.
func TestCPUQuota(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, processes := range []string{"1", "2"} {
		_, rep := reported(t, "-chroot", root, "-cpus", "0.5", "--", "probe", "burn", loose("2000", "6000"), processes)
		near(t, "CPUs used by "+processes, rep.cpu()/rep.wall(), 0.5, loose(0.05, 0.15))
		if !(value(rep.Throttled) > 0) {
			t.Errorf("throttled for %v us", value(rep.Throttled))
		}
	}
	_, rep := reported(t, "-chroot", root, "-cpus", "2", "--", "probe", "burn", "500", "1")
	if value(rep.Throttled) != 0 {
		t.Errorf("below the limit it was throttled for %v us", value(rep.Throttled))
	}
}

// Where two programs want one CPU, their weights divide it.
func TestCPUWeight(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	var ps []reporting
	var gates []io.Closer
	for _, weight := range []string{"100", "300"} {
		file := filepath.Join(t.TempDir(), "report")
		cmd := exec.Command(containPath, "-report", file, "-chroot", root, "-cpu-weight", weight, "-cpu-core-ids", firstCPU(t), "--",
			"probe", "gate", "/bin/probe", "burn", loose("2500", "10000"), "1")
		gate, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		p := reporting{startCommand(t, cmd), file}
		p.waitLine(t, "ready")
		ps, gates = append(ps, p), append(gates, gate)
	}
	for _, gate := range gates {
		gate.Close()
	}
	var used [2]float64
	for i, p := range ps {
		_, rep := p.end(t)
		used[i] = rep.cpu()
	}
	share := used[1] / used[0]
	t.Logf("%.2f s and %.2f s, 1:%.2f", used[0], used[1], share)
	if !(share > loose(2.2, 1.6) && share < loose(4.0, 5.0)) {
		t.Errorf("weights of 100 and 300 share a CPU as 1:%.2f", share)
	}
}

// The limit is exact, for processes and threads; the init does not count.
func TestPidsLimit(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, c := range []struct{ limit, program, stdout string }{
		{"20", "forks 20", "19 Resource temporarily unavailable\n"}, {"20", "forks 19", "19 ok\n"},
		{"20", "threads 20", "19 Resource temporarily unavailable\n"}, {"20", "threads 19", "19 ok\n"},
		{"20", "bomb", "20 Resource temporarily unavailable\n"}, {"300", "bomb", "300 Resource temporarily unavailable\n"},
		{"1", "forks 1", "0 Resource temporarily unavailable\n"}, {"1", "forks 0", "0 ok\n"},
	} {
		for _, init := range []string{"-init=true", "-init=false"} {
			args := append([]string{"-chroot", root, init, "-pids-limit", c.limit, "--", "probe"}, strings.Fields(c.program)...)
			r, rep := reported(t, args...)
			r.want(t, 0, c.stdout)
			if rep.Applied["pids.max"] != c.limit {
				t.Errorf("pids.max is %q, want %s", rep.Applied["pids.max"], c.limit)
			}
		}
	}
	contain(t, "-chroot", root, "--", "probe", "threads", "5000").want(t, 0, "4095 Resource temporarily unavailable\n")
}

// limitsOf returns the soft and the hard limit of that name in /proc/self/limits.
func limitsOf(limits, name string) string {
	for line := range strings.Lines(limits) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.Join(strings.Fields(rest)[:2], ":")
		}
	}
	return ""
}

func TestUlimit(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	r := contain(t, "-chroot", root, "-ulimit", "nofile=64:128", "-ulimit", "stack=1M:unlimited", "-ulimit", "nproc=77", "--",
		"probe", "cat", "/proc/self/limits")
	for name, want := range map[string]string{"Max open files": "64:128", "Max stack size": "1048576:unlimited", "Max processes": "77:77"} {
		if got := limitsOf(r.stdout, name); got != want {
			t.Errorf("%s: %s, want %s; stderr %q", name, got, want, r.stderr)
		}
	}
	contain(t, "-chroot", root, "-ulimit", "nofile=64:128", "--", "probe", "dups").want(t, 0, "64 Too many open files\n")
	contain(t, "-chroot", root, "-ulimit", "fsize=1M", "--", "probe", "cache", "/file", "2097152").want(t, 128+int(syscall.SIGXFSZ), "")
	contain(t, "-chroot", root, "-ulimit", "fsize=1M", "--", "probe", "cache", "/file", "1048576").want(t, 0, "read\n")
}

// Of a limit given twice the last counts, for a caller without privileges too,
// and of -virtual-memory-limit and -ulimit as the latter.
func TestUlimitGivenTwice(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, c := range []struct{ flags, name, want string }{
		{"-ulimit nofile=90:100 -ulimit nofile=80", "Max open files", "80:80"},
		{"-ulimit nofile=9 -ulimit nofile=64:128", "Max open files", "64:128"},
		{"-ulimit as=1G -virtual-memory-limit 256M", "Max address space", "1073741824:1073741824"},
		{"-ulimit sigpending=5000", "Max pending signals", "5000:5000"},
	} {
		args := append([]string{"--bounding-set=-sys_resource", containPath, "-chroot", root}, strings.Fields(c.flags)...)
		r := startCommand(t, exec.Command("setpriv", append(args, "--", "probe", "cat", "/proc/self/limits")...)).wait(t)
		if got := limitsOf(r.stdout, c.name); got != c.want {
			t.Errorf("%s: %s is %q, want %s; stderr %q", c.flags, c.name, got, c.want, r.stderr)
		}
	}
}

// A limit above contain's own can be had by a caller who may raise his.
func TestUlimitAboveTheCallers(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	run := func(limit string, before ...string) result {
		script := `ulimit -n 100 && exec "$@"`
		args := append([]string{"-c", script, "sh"}, before...)
		args = append(args, containPath, "-chroot", root, "-ulimit", "nofile="+limit, "--", "probe", "cat", "/proc/self/limits")
		return startCommand(t, exec.Command("sh", args...)).wait(t)
	}
	without := []string{"setpriv", "--bounding-set=-sys_resource"}
	run("101", without...).wantError(t, 125, `-ulimit "nofile=101:101": above contain's own hard limit, 100, which it may not raise: it lacks CAP_SYS_RESOURCE`)
	cases := map[string]result{"100:100": run("100", without...), "70:90": run("70:90", without...), "80:80": run("80")}
	if mayRaise, _ := strconv.ParseUint(field(readStatus(t, os.Getpid()), "CapEff"), 16, 64); mayRaise>>unix.CAP_SYS_RESOURCE&1 == 1 {
		cases["200:300"] = run("200:300")
	}
	for want, r := range cases {
		if got := limitsOf(r.stdout, "Max open files"); got != want || r.code() != 0 {
			t.Errorf("the limits are %s, want %s; status %d, stderr %q", got, want, r.code(), r.stderr)
		}
	}
}

// diskRootfs makes a rootfs on a block device of its own: a loop device with an
// ext4 without a journal, over a file in memory. It returns the device's node too.
func diskRootfs(t *testing.T) (root, node string) {
	t.Helper()
	dir := t.TempDir()
	mount := func(source, target, kind, data string) {
		if err := unix.Mount(source, target, kind, 0, data); err != nil {
			t.Fatalf("mount %s: %v", kind, err)
		}
		t.Cleanup(func() {
			waitFor(t, "unmounting "+target, func() bool { return unix.Unmount(target, 0) == nil })
		})
	}
	mount("none", dir, "tmpfs", "")
	root, file := filepath.Join(dir, "root"), filepath.Join(dir, "disk")
	if err := errors.Join(os.Mkdir(root, 0o755), os.WriteFile(file, make([]byte, 128<<20), 0o600)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=0,nodiscard", file).CombinedOutput()
	if err != nil {
		t.Fatalf("mke2fs (Debian: e2fsprogs): %v\n%s", err, out)
	}
	node = loopDevice(t, dir, file)
	mount(node, root, "ext4", "")
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, probePath, filepath.Join(root, "bin", "probe"), 0o755)
	unix.Sync()
	return root, node
}

// loopDevice attaches a file to a loop device, until that is no longer used, and
// returns a node of it, in dir.
func loopDevice(t *testing.T, dir, file string) string {
	t.Helper()
	if _, err := os.Stat("/sys/module/loop"); err != nil {
		exec.Command("modprobe", "loop").Run()
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	back, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	for range 20 { // another may take the free one first
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Fatal(err)
		}
		var number string
		text, err := os.ReadFile(fmt.Sprintf("/sys/block/loop%d/dev", n))
		if _, minor, ok := strings.Cut(strings.TrimSpace(string(text)), ":"); ok {
			number = minor
		}
		minor, err2 := strconv.Atoi(number)
		node := filepath.Join(dir, fmt.Sprintf("loop%d", n))
		if err := errors.Join(err, err2, unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(minor))))); err != nil {
			t.Fatal(err)
		}
		device, err := os.OpenFile(node, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		config := unix.LoopConfig{Fd: uint32(back.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			t.Cleanup(func() { device.Close() })
			return node
		}
		device.Close()
		os.Remove(node)
		if err != unix.EBUSY {
			t.Fatal(err)
		}
	}
	t.Fatal("no loop device is free")
	return ""
}

// ioRun is a program that reads or writes size bytes past the page cache.
type ioRun struct {
	flag, way   string
	size, block int
	reporting
}

// rates runs all at once and returns how many bytes a second each has moved.
func rates(t *testing.T, root string, runs []ioRun) (rates []float64) {
	t.Helper()
	for i, run := range runs {
		args := []string{"-chroot", root}
		if run.flag != "" {
			args = append(args, "-io-max", run.flag)
		}
		file := "/file"
		if run.way == "w" {
			file += itoa(i)
		}
		runs[i].reporting = startReporting(t, append(args, "--", "probe", "direct", run.way, file, itoa(run.size), itoa(run.block))...)
	}
	for _, run := range runs {
		r, rep := run.end(t)
		us, err := strconv.ParseFloat(strings.TrimSpace(r.stdout), 64)
		if err != nil || r.code() != 0 || rep.IO == nil {
			t.Fatalf("%s: status %d, stdout %q, stderr %q, io %v", run.flag, r.code(), r.stdout, r.stderr, rep.IO)
		}
		moved := map[string]float64{"r": rep.IO.ReadBytes, "w": rep.IO.WriteBytes}[run.way]
		near(t, run.flag+" "+run.way+": the report's bytes", moved, float64(run.size), 0.05)
		rates = append(rates, float64(run.size)/us*1e6)
	}
	return rates
}

// Reads and writes are held to their limits, however the device is named.
func TestIOMax(t *testing.T) {
	leavesNothing(t)
	root, node := diskRootfs(t)
	var st unix.Stat_t
	if err := unix.Stat(node, &st); err != nil {
		t.Fatal(err)
	}
	numbers := fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	const size = 20 << 20
	contain(t, "-chroot", root, "--", "probe", "cache", "/file", itoa(size)).want(t, 0, "read\n")
	unix.Sync()
	held := []ioRun{
		{flag: node + ":wbps=10M,rbps=1G", way: "w", size: size, block: 1 << 18},
		{flag: root + ":rbps=10M", way: "r", size: size, block: 1 << 18},
		{flag: numbers + ":wbps=10M", way: "w", size: size, block: 1 << 18},
		{flag: node + ":riops=100", way: "r", size: 200 << 12, block: 1 << 12},
		{flag: node + ":wiops=100", way: "w", size: 200 << 12, block: 1 << 12},
	}
	for i, rate := range rates(t, root, held) {
		want := 10 * float64(1<<20)
		if held[i].block == 1<<12 {
			want = 100 << 12
		}
		near(t, held[i].flag+" "+held[i].way+", bytes a second", rate, want, loose(0.1, 0.2))
	}
	// On v1 Linux 6.10 counts from the first limit on that a disk has had.
	free := rates(t, root, []ioRun{{way: "w", size: size, block: 1 << 18}})
	free = append(free, rates(t, root, []ioRun{{way: "r", size: size, block: 1 << 18}})...)
	t.Logf("without a limit %.0f MB/s written, %.0f read", free[0]/1e6, free[1]/1e6)
	// A program that waits for the disk can be ended all the same.
	if r, _ := startReporting(t, "-chroot", root, "-io-max", node+":rbps=2", "-timeout", soon(), "-grace", "0", "--",
		"probe", "direct", "r", "/file", itoa(size), itoa(1<<18)).endWithin(t, seconds(t, soon())+5); r.code() != 124 {
		t.Errorf("a program that waits for the disk: status %d, stderr %q", r.code(), r.stderr)
	}
	// Far above what is used, and for the other direction: no limit.
	for i, rate := range rates(t, root, []ioRun{
		{flag: node + ":wbps=100G", way: "w", size: size, block: 1 << 18}, {flag: node + ":wbps=1M", way: "r", size: size, block: 1 << 18},
	}) {
		if rate < 20<<20 || free[i] < 20<<20 {
			t.Errorf("without a limit %.0f bytes a second, with one that is none %.0f", free[i], rate)
		}
	}
}

// transfer is a TCP connection between a program and the tests, on the bridge.
type transfer struct {
	flag  string  // of -network-bandwidth; "" is none
	up    bool    // from the program
	rate  float64 // bits a second expected; 0: faster than any
	busy  bool    // the machine is too slow for it: it may be less
	bytes int
	reporting
	seen chan float64 // the rate, where the tests receive
}

// begin starts the transfer with the n-th address.
func (x *transfer) begin(t *testing.T, root string, n int) {
	t.Helper()
	listener, err := net.Listen("tcp4", "172.17.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	x.seen = make(chan float64, 1)
	go x.serve(listener)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	args := []string{"-chroot", root, "-network-address", "172.17.0." + itoa(n+100) + "/24"}
	if x.flag != "" {
		args = append(args, "-network-bandwidth", x.flag)
	}
	verb := []string{"receive", "172.17.0.1", port, itoa(x.skip())}
	if x.up {
		verb = []string{"send", "172.17.0.1", port, itoa(x.bytes)}
	}
	x.reporting = startReporting(t, append(append(args, "--", "probe"), verb...)...)
}

// skip is how many bytes come before the rate is measured: TCP may lose the burst
// that it starts with, and wait.
func (x *transfer) skip() int { return 1 }

// serve is the tests' end. What receives measures.
func (x *transfer) serve(listener net.Listener) {
	defer close(x.seen)
	c, err := listener.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	buf := make([]byte, 1<<16)
	if !x.up {
		for left := x.bytes; left > 0 && err == nil; left -= len(buf) {
			_, err = c.Write(buf[:min(left, len(buf))])
		}
		return
	}
	var n, total int
	var began time.Time
	for got := 0; got < x.skip() && err == nil; got += n {
		n, err = c.Read(buf)
	}
	for began = time.Now(); err == nil; total += n {
		n, err = c.Read(buf)
	}
	x.seen <- float64(total) * 8 / time.Since(began).Seconds()
}

// name is for messages.
func (x *transfer) name() string {
	return fmt.Sprintf("%q, %s", x.flag, map[bool]string{true: "up", false: "down"}[x.up])
}

// measure waits for the end, checks the report's bytes and returns the rate.
func (x *transfer) measure(t *testing.T) (rate float64) {
	t.Helper()
	r, rep := x.end(t)
	rate = <-x.seen
	if !x.up {
		var bytes, us float64
		fmt.Sscan(r.stdout, &bytes, &us)
		rate = bytes * 8 / us * 1e6
	}
	if r.code() != 0 || rep.Network == nil {
		t.Fatalf("%s: status %d, stdout %q, stderr %q, network %v", x.name(), r.code(), r.stdout, r.stderr, rep.Network)
	}
	passed := rep.Network.Received
	if x.up {
		passed = rep.Network.Sent
	}
	// Up to 66 bytes of headers go with 1448 of data.
	near(t, x.name()+": the report's bytes", passed, 1.022*float64(x.bytes), 0.05)
	return rate
}

// transferAll runs transfers at once and checks their rates.
func transferAll(t *testing.T, xs ...*transfer) {
	t.Helper()
	root := rootfs(t)
	for i, x := range xs {
		x.begin(t, root, i)
	}
	for _, x := range xs {
		rate := x.measure(t)
		for try := 1; try < 3 && !x.busy && x.rate != 0 && math.Abs(rate/(0.965*x.rate)-1) > 0.05; try++ {
			t.Logf("%s: %.6g bits a second; again, the machine may be busy", x.name(), rate)
			x.begin(t, root, len(xs)+try)
			rate = x.measure(t)
		}
		t.Logf("%s: %.6g bits a second", x.name(), rate)
		switch want := 0.965 * x.rate; {
		case x.rate == 0 && rate < 2e7:
			t.Errorf("%s: it is limited", x.name())
		case x.busy && !(rate > 0.5*want && rate < 1.05*want):
			t.Errorf("%s: %.6g bits a second, want %.6g or less", x.name(), rate, want)
		case x.rate != 0 && !x.busy:
			near(t, x.name()+": bits a second", rate, want, 0.05)
		}
	}
}

// What a program receives and sends is held to its bandwidth, each by itself.
func TestNetworkBandwidth(t *testing.T) {
	leavesNothing(t)
	of := func(flag string, up bool, rate float64) *transfer {
		x := &transfer{flag: flag, up: up, rate: rate, bytes: 10 << 20}
		if rate != 0 {
			x.bytes = int(rate / 8 * 2.5)
		}
		return x
	}
	if testing.Short() { // emulated: its timers are some milliseconds late, and tbf loses these
		for _, flag := range []string{"10mbit", "10mbit/down:1mbit/up"} {
			slow := of(flag, false, 1e7)
			slow.busy = true
			transferAll(t, slow)
		}
		slow := of("10mbit", true, 1e7)
		slow.busy = true
		transferAll(t, slow)
		transferAll(t, of("1mbit", true, 1e6))
		transferAll(t, of("1mbit/down", false, 1e6))
		transferAll(t, of("10mbit/down", true, 0))
		return
	}
	transferAll(t, of("10mbit", true, 1e7), of("10mbit", false, 1e7), of("10mbit/down", false, 1e7))
	transferAll(t, of("10mbit/down", true, 0), of("10mbit/up", false, 0), of("", true, 0), of("1000gbit", false, 0))
	transferAll(t, of("1mbit", true, 1e6), of("1mbit/down:20mbit/up", false, 1e6), of("100mbit/down:10mbit/up", true, 1e7),
		of("100mbit", true, 1e8), of("100mbit", false, 1e8))
	transferAll(t, of("1gbit", true, 1e9))
	transferAll(t, of("1gbit", false, 1e9))
}
