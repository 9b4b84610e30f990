// What is left of a run whose contain was killed by SIGKILL at any time: nothing that
// runs, and after the next start of contain nothing at all. "make chaos" does it more
// often, and with other tools.

package test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	chaosBatch    = 48 // runs that are killed before one looks what is left
	chaosParallel = 6
	chaosMeasured = 20 // batches until one measures again how long a run takes
	chaosShown    = 3  // leftovers of a kind
)

// chaosSettles is how long after a kill one looks what is left.
func chaosSettles() time.Duration { return loose(time.Second, 10*time.Second) }

// chaos kills runs, and counts.
type chaos struct {
	chaosTool
	victims  []victim
	siblings []*process
	dir      string
	before   leftovers // the siblings'

	mu      sync.Mutex
	runs    int
	met     map[string]int // how many were killed that had such a child
	killed  int
	both    int            // of which with the child
	failed  map[string]int // what has failed by itself
	atOnce  map[string]int // what was left a second later
	later   map[string]int // and after a further start
	slowest time.Duration  // until all processes had gone, or were still there
	latest  time.Duration  // that one looked what is left
	shown   map[string]int // of the leftovers, in full
}

// Runs of every kind are killed all the time from before the start till after the end,
// beside others that are not to notice. The processes go with contain, and with them
// namespaces and interfaces. The next start removes what is in the file systems.
func TestChaos(t *testing.T) {
	leavesNothing(t)
	name, times := os.Getenv("CONTAIN_TEST_CHAOS_TOOL"), often(300)
	if text := os.Getenv("CONTAIN_TEST_CHAOS"); text != "" {
		n, err := strconv.Atoi(text)
		must(t, err)
		times = n
	}
	runtime.LockOSThread() // PDEATHSIG is about the thread that forks
	defer runtime.UnlockOSThread()
	c := newChaos(t, cmp.Or(name, "contain"))
	limits := limitFiles(t)
	for i := 0; c.killed < times && c.runs < 10*times; i++ {
		if i%chaosMeasured == 0 { // the machine has other work, now more, now less
			c.measure(t)
			t.Log(c.killed, "killed, left a second later", c.atOnce, "and after a further start", c.later)
		}
		c.batch(t, min(chaosBatch, 2*times))
	}
	t.Log(c)
	for path, text := range limitFiles(t) {
		if limits[path] != text {
			t.Errorf("%s of a sibling has become %q, was %q", path, text, limits[path])
		}
	}
	c.wantTraffic(t)
	if c.name == "contain" {
		c.judge(t)
	}
}

// newChaos prepares the tests' namespaces and process, and starts the siblings.
func newChaos(t *testing.T, name string) *chaos {
	t.Helper()
	// As on most hosts: what is mounted in one namespace is seen in others.
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""))
	t.Cleanup(func() { must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")) })
	// Nothing that a run starts can leave the tests' tree of processes.
	must(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	t.Cleanup(func() { must(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)) })
	c := &chaos{
		chaosTool: newChaosTool(t, name), victims: victims(name), dir: t.TempDir(),
		shown: map[string]int{}, met: map[string]int{}, failed: map[string]int{}, atOnce: map[string]int{}, later: map[string]int{},
	}
	nothing := c.look(t)
	c.startSiblings(t)
	c.before = c.look(t)
	for _, kind := range leftoverKinds {
		blind := kind == "mounts" || kind == "systemd's units" && !underSystemd()
		if name == "contain" && !blind && len(without(c.before[kind], nothing[kind])) == 0 {
			t.Fatalf("no %s of the siblings are seen", kind)
		}
	}
	return c
}

// judge reports what contain must not leave, and must not do.
func (c *chaos) judge(t *testing.T) {
	t.Helper()
	for _, kind := range leftoverKinds {
		if c.later[kind] > 0 || c.atOnce[kind] > 0 && !slices.Contains(lastingKinds, kind) {
			t.Errorf("%s: %d were left, %d after a further start", kind, c.atOnce[kind], c.later[kind])
		}
	}
	for what, n := range c.failed {
		t.Errorf("%d times: %s", n, what)
	}
}

// startSiblings starts what is to live on undisturbed: two that talk to each other, and
// one that computes.
func (c *chaos) startSiblings(t *testing.T) {
	t.Helper()
	root := rootfs(t)
	for _, s := range []struct{ address, program, line string }{
		{"172.17.0.250/24", "serve 7", "ready"},
		{"172.17.0.251/24", "talk 172.17.0.250 7 2000000000", ""},
		{"172.17.0.252/24", "burn 0 2", ""},
	} {
		args := []string{"-chroot", root, "-network-address", s.address, "-memory-limit", "32M", "-cpus", "0.1", "-cpu-core-ids", firstCPU(t), "--", "probe"}
		cmd := exec.Command(containPath, append(args, strings.Fields(s.program)...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL} // if the tests are killed
		p := startCommand(t, cmd)
		if s.line != "" {
			p.waitLine(t, s.line)
		}
		c.siblings = append(c.siblings, p)
	}
	c.wantTraffic(t)
	waitFor(t, "the computing sibling's two processes", func() bool {
		burn := func(s stat) bool {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.pid))
			return strings.HasPrefix(string(text), "probe\x00burn\x00")
		}
		return len(slices.DeleteFunc(descendants(t), func(s stat) bool { return !burn(s) })) == 2
	})
}

// wantTraffic waits until the siblings have talked, and reports those that have ended.
func (c *chaos) wantTraffic(t *testing.T) {
	t.Helper()
	talk := func() (pid int) {
		for _, pid := range programs(t) {
			if text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.HasPrefix(string(text), "probe\x00talk\x00") {
				return pid
			}
		}
		return 0
	}
	waitFor(t, "the talking sibling", func() bool { return talk() != 0 })
	file := fmt.Sprintf("/proc/%d/net/dev", talk())
	received := func() int {
		text, _ := os.ReadFile(file)
		_, counts, _ := strings.Cut(string(text), "eth0:")
		var bytes int
		fmt.Sscan(counts, &bytes)
		return bytes
	}
	before := received()
	waitFor(t, "the siblings to talk", func() bool { return received() > before+10000 })
}

// limitFiles reads the limits of all containers that run.
func limitFiles(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, dir := range cgroupDirs(t) {
		for _, name := range []string{"memory.limit_in_bytes", "memory.max", "cpuset.cpus", "cpu.cfs_quota_us", "cpu.max", "pids.max"} {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				texts[filepath.Join(dir, name)] = string(text)
			}
		}
	}
	return texts
}

// measure finds how long whole runs take, as many at a time as are killed, and leaves
// nothing.
func (c *chaos) measure(t *testing.T) {
	t.Helper()
	for i := range c.victims {
		v := c.victims[i]
		v.program = endsAtOnce
		times := often(10)
		var all time.Duration
		atATime(times, func(n int) {
			began := time.Now()
			cmd, said := c.start(t, v, n)
			cmd.Wait()
			took := time.Since(began)
			if text := said(); cmd.ProcessState.ExitCode() != 0 {
				t.Fatalf("%s, %s: %v: %s", c.name, v.name, cmd.ProcessState, text)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			all += took
		})
		c.victims[i].whole = all / time.Duration(times)
	}
	for deadline := time.Now().Add(3 * patience); ; time.Sleep(10 * time.Millisecond) {
		var left []string
		now := c.look(t)
		for _, kind := range leftoverKinds {
			left = append(left, without(now[kind], c.before[kind])...)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("whole runs have left %q", left)
		}
	}
}

// atATime calls f so many times, each on a thread that stays till its end, see PDEATHSIG.
func atATime(times int, f func(n int)) {
	workers(chaosParallel, times, func(_, n int) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		f(n)
	})
}

// start starts the n-th run, with no output but to its stderr, which the returned
// function reads.
func (c *chaos) start(t *testing.T, v victim, n int) (cmd *exec.Cmd, said func() string) {
	t.Helper()
	stderr, err := os.CreateTemp(c.dir, "")
	must(t, err)
	files := []*os.File{stderr}
	cmd = c.command(v, n)
	cmd.Stderr, cmd.SysProcAttr = stderr, &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL} // if the tests are killed
	if v.console {
		master, slave := newPty(t)
		files = append(files, master, slave)
		cmd.Stdin, cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = slave, true, true
	}
	must(t, cmd.Start())
	return cmd, func() string {
		text, err := os.ReadFile(stderr.Name())
		must(t, err, os.Remove(stderr.Name()))
		for _, f := range files {
			f.Close()
		}
		return string(text)
	}
}

// trial starts a run and kills it at a random time, before the double of what a whole
// one takes.
func (c *chaos) trial(t *testing.T) {
	c.mu.Lock()
	n := c.runs
	c.runs++
	c.mu.Unlock()
	v := c.victims[n%len(c.victims)]
	cmd, said := c.start(t, v, n)
	wait := time.Duration(rand.Int64N(int64(2 * v.whole)))
	if v.asked && wait > v.whole {
		time.Sleep(v.whole)
		cmd.Process.Signal(syscall.SIGTERM)
		wait -= v.whole
	}
	time.Sleep(wait)
	child, both := strike(cmd.Process, rand.IntN(4) == 0)
	cmd.Wait()
	text := said()
	st := cmd.ProcessState.Sys().(syscall.WaitStatus)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch hit := st.Signaled() && st.Signal() == syscall.SIGKILL; {
	case text != "":
		c.failed[v.name+": "+text]++
	case hit:
		c.killed++
		c.met[child]++
		c.both += both
	case c.name != "contain" || st == 0 || v.asked && st.Signaled() && st.Signal() == syscall.SIGTERM:
	default:
		c.failed[fmt.Sprint(v.name, ": ", cmd.ProcessState)]++
	}
}

// strike kills a process, or its children with it, and says what it had as a child and
// whether that was killed too.
func strike(p *os.Process, alsoChildren bool) (child string, both int) {
	child = "none"
	var handles []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.Pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(text)) {
			pid, _ := strconv.Atoi(field)
			handle, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				continue
			}
			defer unix.Close(handle)
			// That it is a child now means that it was this process which was opened.
			if s, ok := readStat(pid); ok && s.parent == p.Pid {
				handles = append(handles, handle)
				child = cmp.Or(s.exe, "ended")
			}
		}
	}
	p.Kill()
	if alsoChildren {
		for _, handle := range handles {
			unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0)
			both = 1
		}
	}
	return child, both
}

// batch kills some runs, and looks twice what is left of them.
func (c *chaos) batch(t *testing.T, n int) {
	t.Helper()
	atATime(n, func(int) { c.trial(t) })
	last := time.Now()
	for len(without(c.processes(t), c.before["processes"])) > 0 && time.Since(last) < chaosSettles() {
		time.Sleep(2 * time.Millisecond)
	}
	c.slowest = max(c.slowest, time.Since(last))
	time.Sleep(time.Until(last.Add(chaosSettles())))
	c.latest = max(c.latest, time.Since(last))
	c.count(t, c.atOnce, "a second later")
	if out, err := c.command(victim{program: endsAtOnce}, 1<<20+c.runs).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("a further start: %v: %s", err, out)
	}
	c.count(t, c.later, "after a further start")
	if c.name == "contain" && c.later["state entries"] > 0 {
		r := contain(t, "gc") // says why
		t.Logf("gc: status %d, %s%s", r.code(), r.stdout, r.stderr)
	}
	c.clear(t)
}

// leftovers are what can be left on the host, by kind.
type leftovers map[string][]string

var leftoverKinds = []string{"processes", "links", "namespaces", "mounts", "cgroup directories", "state entries", "systemd's units"}

// lastingKinds are those that stay until the next start.
var lastingKinds = []string{"cgroup directories", "state entries", "systemd's units"}

// look lists all that is there of runs, of the siblings too.
func (c *chaos) look(t *testing.T) leftovers {
	t.Helper()
	found := leftovers{"processes": c.processes(t), "cgroup directories": cgroupDirs(t), "namespaces": namespaces(t), "systemd's units": units(t)}
	for _, l := range linkList(t) {
		found["links"] = append(found["links"], l.Attrs().Name)
	}
	own, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(own)) {
		found["mounts"] = append(found["mounts"], strings.TrimSpace(line))
	}
	outside, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", os.Getppid()))
	must(t, err)
	for line := range strings.Lines(string(outside)) {
		if strings.Contains(line, c.state) || strings.Contains(line, c.dir) {
			found["mounts"] = append(found["mounts"], "outside: "+strings.TrimSpace(line))
		}
	}
	entries, err := os.ReadDir(c.state)
	if !os.IsNotExist(err) {
		must(t, err)
	}
	for _, e := range entries {
		found["state entries"] = append(found["state entries"], e.Name())
	}
	return found
}

// units lists the scopes of containers that systemd knows.
func units(t *testing.T) (list []string) {
	t.Helper()
	if !underSystemd() {
		return nil
	}
	out, err := exec.Command("systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", "contain-*.scope").Output()
	must(t, err)
	for line := range strings.Lines(string(out)) {
		list = append(list, strings.Fields(line)[0])
	}
	return list
}

// processes lists those that descend from the tests', which is a subreaper: whatever a run
// has started, if it has not ended. Of those that have it reaps its own.
func (c *chaos) processes(t *testing.T) (list []string) {
	t.Helper()
	for _, s := range descendants(t) {
		switch {
		case s.state != "Z" && s.state != "X":
			list = append(list, fmt.Sprintf("%d of %d, %s", s.pid, s.parent, s.exe))
		case s.parent == os.Getpid() && !slices.ContainsFunc(c.siblings, func(p *process) bool { return p.cmd.Process.Pid == s.pid }):
			syscall.Wait4(s.pid, nil, syscall.WNOHANG|unix.WALL, nil)
		}
	}
	return list
}

// stat is what is known of a process.
type stat struct {
	pid, parent int
	state       string
	exe         string // its base name; "": it has ended
}

func readStat(pid int) (s stat, ok bool) {
	dir := fmt.Sprintf("/proc/%d", pid)
	text, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return s, false
	}
	s.pid = pid
	if exe, err := os.Readlink(dir + "/exe"); err == nil {
		s.exe = filepath.Base(exe)
	}
	_, err = fmt.Sscan(string(text[strings.LastIndexByte(string(text), ')')+1:]), &s.state, &s.parent)
	return s, err == nil
}

// descendants returns the processes below the tests' own.
func descendants(t *testing.T) (list []stat) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	children := map[int][]stat{}
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if s, ok := readStat(pid); ok {
			children[s.parent] = append(children[s.parent], s)
		}
	}
	list = slices.Clone(children[os.Getpid()])
	for i := 0; i < len(list); i++ {
		list = append(list, children[list[i].pid]...)
	}
	return list
}

// namespaces lists those that processes below the tests' own are in, and the network
// namespaces that an interface of the tests' has had its peer in: also one that is held
// by no process.
func namespaces(t *testing.T) (list []string) {
	t.Helper()
	for _, s := range append(descendants(t), stat{pid: os.Getpid()}) {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/ns/*", s.pid))
		for _, link := range links {
			if name, err := os.Readlink(link); err == nil && !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return append(list, netnsIDs(t)...)
}

// netnsIDs lists the numbers that the tests' network namespace has given to others.
func netnsIDs(t *testing.T) (list []string) {
	t.Helper()
	request := nl.NewNetlinkRequest(unix.RTM_GETNSID, unix.NLM_F_DUMP)
	request.AddData(nl.NewRtGenMsg())
	replies, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNSID)
	must(t, err)
	for _, reply := range replies {
		attributes, err := nl.ParseRouteAttr(reply[unix.NLMSG_ALIGNTO:])
		must(t, err)
		for _, a := range attributes {
			if a.Attr.Type == netlink.NETNSA_NSID {
				list = append(list, fmt.Sprint("netns ", nl.NativeEndian().Uint32(a.Value)))
			}
		}
	}
	return list
}

// count adds what is left, and reports what of the siblings' has gone.
func (c *chaos) count(t *testing.T, into map[string]int, when string) {
	t.Helper()
	now := c.look(t)
	for _, kind := range leftoverKinds {
		left := without(now[kind], c.before[kind])
		into[kind] += len(left)
		for _, what := range left {
			if c.shown[when+kind]++; c.shown[when+kind] <= chaosShown {
				t.Logf("left %s: of %s: %s%s", when, kind, what, doing(what))
			}
		}
		if gone := without(c.before[kind], now[kind]); len(gone) > 0 {
			t.Fatalf("gone from the siblings: of %s: %q", kind, gone)
		}
	}
}

// doing says what a process of the list does, and where in the kernel it is.
func doing(listed string) string {
	pid, _, ok := strings.Cut(listed, " of ")
	command, err := os.ReadFile("/proc/" + pid + "/cmdline")
	if !ok || err != nil {
		return ""
	}
	stack, _ := os.ReadFile("/proc/" + pid + "/stack")
	return fmt.Sprintf(": %q\n%s", command, stack)
}

// clear removes what is left, so that it is counted once.
func (c *chaos) clear(t *testing.T) {
	t.Helper()
	for _, dir := range without(cgroupDirs(t), c.before["cgroup directories"]) {
		cgroups.WriteFile(dir, "freezer.state", string(cgroups.Thawed)) // runc freezes to kill
	}
	c.await(t, "processes", func(what string) {
		pid, _ := strconv.Atoi(strings.Fields(what)[0])
		syscall.Kill(pid, syscall.SIGKILL)
	})
	c.await(t, "cgroup directories", func(dir string) { cgroups.RemovePath(dir) })
	c.await(t, "systemd's units", func(unit string) { exec.Command("systemctl", "stop", unit).Run() })
	c.await(t, "state entries", func(name string) { os.RemoveAll(filepath.Join(c.state, name)) })
	c.await(t, "mounts", func(line string) { syscall.Unmount(strings.Fields(line)[4], syscall.MNT_DETACH) })
	c.await(t, "links", func(name string) {
		if link, err := netlink.LinkByName(name); err == nil {
			netlink.LinkDel(link)
		}
	})
}

// await removes leftovers of a kind until there are none.
func (c *chaos) await(t *testing.T, kind string, remove func(what string)) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(2 * patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if left = without(c.look(t)[kind], c.before[kind]); len(left) == 0 {
			return
		}
		for _, what := range left {
			remove(what)
		}
	}
	for i, what := range left {
		left[i] += doing(what)
	}
	t.Fatalf("%s that cannot be removed: %q", kind, left)
}

// String is the table of what was left.
func (c *chaos) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d runs, %d killed before their end, of these %d with their child, which was\n", c.name, c.runs, c.killed, c.both)
	for _, child := range slices.Sorted(maps.Keys(c.met)) {
		fmt.Fprintf(&b, "%8d  %s\n", c.met[child], child)
	}
	b.WriteString("A whole run takes:\n")
	for _, v := range c.victims {
		fmt.Fprintf(&b, "%8v  %s\n", v.whole.Round(time.Millisecond), v.name)
	}
	if c.name != "contain" {
		b.WriteString("Without a network.\n")
	}
	fmt.Fprintf(&b, "After the last kill of %d one looked for processes until there were none, at most %v, and for all at most %v later.\n",
		chaosBatch, c.slowest.Round(time.Millisecond), c.latest.Round(time.Millisecond))
	fmt.Fprintf(&b, "%-20s%12s%24s%28s\n", "left", "at +"+chaosSettles().String(), "after a further start", "95 % bound of that, a kill")
	for _, kind := range leftoverKinds {
		bound := "-"
		if c.later[kind] == 0 {
			bound = fmt.Sprintf("%.1g", 3/float64(c.killed)) // the rule of three
		}
		fmt.Fprintf(&b, "%-20s%12d%24d%28s\n", kind, c.atOnce[kind], c.later[kind], bound)
	}
	return b.String()
}
