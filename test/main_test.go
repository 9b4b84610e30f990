// Package test holds the integration tests: they drive the real binary as
// root, with one static program (probe/probe.c) as the whole rootfs, in a network
// and a mount namespace of their own, and compare the host before and after.
package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices"
	"github.com/opencontainers/cgroups/manager"
	"github.com/opencontainers/cgroups/systemd"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Paths of the binaries under test, set by TestMain. The altered contain takes any
// memory limit, and panics at a SIGUSR2; the resting one rests after a millisecond.
var containPath, alteredPath, restingPath, probePath, auditPath, escapePath string

// patience is how long a condition may take to come true.
var patience = func() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("CONTAIN_TEST_PATIENCE")); err == nil {
		return d
	}
	return 10 * time.Second
}()

const (
	stateDir   = "/run/contain"
	bridgeName = "docker0"
)

func TestMain(m *testing.M) {
	// What the tests' caller ignores (nohup), the programs would ignore too. The
	// runtime has handlers for all but these two, so others are not inherited.
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	if os.Getenv("CONTAIN_TEST_INSIDE") == "" {
		os.Exit(enterNamespaces())
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "prepare the tests:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// enterNamespaces runs this test binary again, in namespaces that die with it,
// and returns its exit status.
func enterNamespaces() int {
	if os.Geteuid() != 0 {
		fmt.Println("the integration tests must be run as root")
		if os.Getenv("CONTAIN_TEST_REQUIRED") != "" {
			return 1
		}
		return 0
	}
	dir, err := os.MkdirTemp("", "contain-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	cgroup, err := newTestCgroup()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer removeTestCgroup(cgroup)
	if err := os.Mkdir(stateDir, 0o700); err == nil {
		defer os.Remove(stateDir)
	}
	runtime.LockOSThread() // PDEATHSIG is about the thread that forks
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "CONTAIN_TEST_INSIDE="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:  unix.SIGKILL,
	}
	if err := runIn(cgroup, cmd); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() >= 0 {
			return exit.ExitCode()
		}
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// underSystemd tells whether systemd owns the host's cgroups.
func underSystemd() bool { return systemd.IsRunningSystemd() }

// newTestCgroup makes the cgroup that the tests run in, so that the cgroups of
// the containers they start are found below it and nowhere else. On systemd's
// territory it makes none: there they are where systemd puts them.
func newTestCgroup() (cgroups.Manager, error) {
	if underSystemd() {
		return nil, nil
	}
	limit := int64(100000)
	name := fmt.Sprintf("contain-test-%d", os.Getpid())
	if unified() {
		name = "/" + name + "/tests" // contain makes its cgroups beside its own
	}
	m, err := manager.New(&cgroups.Cgroup{Path: name, Resources: &cgroups.Resources{PidsLimit: &limit}})
	if err != nil {
		return nil, fmt.Errorf("cgroup for the tests: %w", err)
	}
	if err := m.Apply(-1); err != nil {
		return nil, fmt.Errorf("make the cgroup for the tests: %w", err)
	}
	return m, nil
}

// removeTestCgroup undoes newTestCgroup.
func removeTestCgroup(m cgroups.Manager) {
	if m == nil {
		return
	}
	dir := m.Path("")
	if err := m.Destroy(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if unified() {
		os.Remove(filepath.Dir(dir))
	}
}

// runIn runs cmd to its end in the cgroup: cmd waits on a pipe until it is in.
func runIn(cgroup cgroups.Manager, cmd *exec.Cmd) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.ExtraFiles = []*os.File{r}
	if err := cmd.Start(); err != nil {
		return err
	}
	if cgroup != nil {
		if err := cgroup.AddPid("", cmd.Process.Pid); err != nil {
			cmd.Process.Kill()
			cmd.Wait()
			return fmt.Errorf("enter the cgroup for the tests: %w", err)
		}
	}
	w.Close()
	return cmd.Wait()
}

// prepare waits to be moved into the tests' cgroup, then gives the namespaces a
// bridge and a state directory, and finds or builds the binaries.
func prepare() error {
	io.Copy(io.Discard, os.NewFile(3, "released by runIn"))
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("none", stateDir, "tmpfs", 0, "mode=700"); err != nil {
		return fmt.Errorf("mount %s: %w", stateDir, err)
	}
	if err := makeBridge(bridgeName, "172.17.0.1/24", "2001:db8:17::1/64"); err != nil {
		return err
	}
	dir := os.Getenv("CONTAIN_TEST_INSIDE")
	for _, b := range []struct {
		path  *string
		env   string
		build []string
	}{
		{&containPath, "CONTAIN", []string{"go", "build", "-o", dir + "/contain", ".."}},
		{&alteredPath, "CONTAIN_ALTERED", []string{"go", "build", "-ldflags", "-X main.minMemoryPages=1 -X main.panicOn=SIGUSR2", "-o", dir + "/contain_altered", ".."}},
		{&restingPath, "CONTAIN_RESTING", []string{"go", "build", "-ldflags", "-X main.restsAfter=1ms", "-o", dir + "/contain_resting", ".."}},
		{&probePath, "PROBE", []string{"gcc", "-O2", "-static", "-o", dir + "/probe", "probe/probe.c"}},
		{&auditPath, "AUDIT", []string{"probe/audit-build", "gcc", dir + "/audit"}},
		{&escapePath, "ESCAPE", []string{"gcc", "-O2", "-static", "-o", dir + "/escape", "escape/escape.c"}},
	} {
		if *b.path = os.Getenv(b.env); *b.path != "" {
			continue
		}
		if out, err := exec.Command(b.build[0], b.build[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(b.build, " "), err, out)
		}
		*b.path = filepath.Join(dir, strings.ToLower(b.env))
	}
	return nil
}

// makeBridge makes a bridge with addresses in the tests' network namespace.
func makeBridge(name string, addresses ...string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	link := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(link); err != nil {
		return fmt.Errorf("make bridge %s: %w", name, err)
	}
	// Its link-local address, from which a neighbour is asked, is usable at once.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_dad", []byte("0"), 0); err != nil {
		return err
	}
	for _, a := range addresses {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("give %s the address %s: %w", name, a, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// bridge makes a bridge that goes when the test ends.
func bridge(t *testing.T, name string, addresses ...string) netlink.Link {
	t.Helper()
	if err := makeBridge(name, addresses...); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(link) })
	return link
}

// rootfs makes a directory that holds the probe and nothing else.
func rootfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, probePath, filepath.Join(dir, "bin", "probe"), 0o755)
	return dir
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, mode); err != nil {
		t.Fatal(err)
	}
}

// often is n, or with -short, for slow machines, a tenth of it.
func often(n int) int {
	if testing.Short() {
		return max(n/10, 1)
	}
	return n
}

// leftOut tells whether the i-th of many similar cases is left out: with -short
// all but each tenth.
func leftOut(i int) bool { return testing.Short() && i%10 != 3 }

// result is how a run of contain ended, as its parent saw it.
type result struct {
	stdout, stderr string
	status         syscall.WaitStatus
}

// code is the status as a shell reports it in $?.
func (r result) code() int {
	if r.status.Signaled() {
		return 128 + int(r.status.Signal())
	}
	return r.status.ExitStatus()
}

// want fails the test unless the run ended with code and printed stdout.
func (r result) want(t *testing.T, code int, stdout string) {
	t.Helper()
	if r.code() != code || r.stdout != stdout {
		t.Errorf("status %d, stdout %q, stderr %q; want status %d, stdout %q",
			r.code(), r.stdout, r.stderr, code, stdout)
	}
}

// wantError fails the test unless contain failed with code and one line, plus
// at most one hint, that holds text.
func (r result) wantError(t *testing.T, code int, text string) {
	t.Helper()
	line, rest, _ := strings.Cut(r.stderr, "\n")
	ok := r.code() == code && strings.HasPrefix(line, "contain: ") && strings.Contains(line, text)
	if rest != "" {
		ok = ok && strings.HasPrefix(rest, "hint: ") && strings.Count(rest, "\n") == 1
	}
	if !ok {
		t.Errorf("status %d, stderr %q; want status %d and one line with %q", r.code(), r.stderr, code, text)
	}
}

// contain runs the binary to its end.
func contain(t *testing.T, args ...string) result {
	t.Helper()
	return start(t, args...).wait(t)
}

// process is a contain that runs, and what it has written so far.
type process struct {
	cmd    *exec.Cmd
	stdout lockedBuffer
	stderr lockedBuffer
	ended  atomic.Bool
}

// lockedBuffer is a bytes.Buffer that is read while a process writes to it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs the binary. A program that still runs when the test ends is killed,
// and contain ends as after any death of its program.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startCommand(t, exec.Command(containPath, args...))
}

func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd}
	cmd.WaitDelay = patience // for what holds the pipes after the end
	if cmd.Stdout == nil {
		cmd.Stdout = &p.stdout
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.stderr
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.ended.Load() {
			killPrograms(t)
			p.wait(t)
		}
	})
	return p
}

// wait waits for the process to end.
func (p *process) wait(t *testing.T) result {
	t.Helper()
	timer := time.AfterFunc(2*patience, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	err := p.cmd.Wait()
	p.ended.Store(true)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{p.stdout.String(), p.stderr.String(), p.cmd.ProcessState.Sys().(syscall.WaitStatus)}
}

// waitLine waits until the program has printed a line.
func (p *process) waitLine(t *testing.T, line string) {
	t.Helper()
	waitFor(t, "the line "+line, func() bool {
		return slices.Contains(strings.Split(p.stdout.String(), "\n"), line)
	})
}

// signal sends a signal to contain.
func (p *process) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("send signal %d: %v", sig, err)
	}
}

// waitFor waits until a condition is true.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// leavesNothing compares the host at the end of the test with what it is now:
// links, mounts, cgroups, state entries, contained processes.
func leavesNothing(t *testing.T) {
	t.Helper()
	before := hostState(t)
	t.Cleanup(func() {
		// A network namespace is dismantled by a kernel thread, soon after its
		// last process has gone.
		var more, less []string
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			after := hostState(t)
			if more, less = without(after, before), without(before, after); len(more)+len(less) == 0 {
				return
			}
		}
		t.Errorf("left on the host:\n%s\ngone from the host:\n%s", strings.Join(more, "\n"), strings.Join(less, "\n"))
	})
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

func hostState(t *testing.T) (state []string) {
	for _, l := range linkList(t) {
		state = append(state, "link "+l.Attrs().Name)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		state = append(state, "mount "+strings.TrimSpace(line))
	}
	entries, err := os.ReadDir(stateDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		state = append(state, "state "+e.Name())
	}
	for _, dir := range cgroupDirs(t) {
		state = append(state, "cgroup "+dir)
	}
	// systemd enables and disables controllers at its own pace.
	for dir := ownCgroup2(t); len(dir) > len("/sys/fs") && !underSystemd(); dir = filepath.Dir(dir) {
		text, _ := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
		state = append(state, "controllers of "+dir+": "+string(text))
	}
	exes, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, exe := range exes {
		if target, err := os.Readlink(exe); err == nil && (target == "/bin/probe" || target == "/bin/escape") && contained(exe) {
			state = append(state, "process "+exe)
		}
	}
	slices.Sort(state)
	return state
}

// inTests tells whether a cgroup path is that of a container that the tests
// have started, or lies in one.
func inTests(path string) bool {
	switch {
	case !containerCgroup.MatchString(path):
		return false
	case underSystemd():
		return true
	}
	return strings.Contains(path, fmt.Sprintf("/contain-test-%d/", os.Getppid()))
}

var containerCgroup = regexp.MustCompile(`/contain-[0-9a-f]{8}(\.scope)?(/|\n|$)`)

// contained tells whether a process, given by a file of its directory in
// /proc, runs in a container of the tests.
func contained(file string) bool {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup"))
	return err == nil && inTests(string(text))
}

// linkList returns all links of the tests' network namespace.
func linkList(t *testing.T) []netlink.Link {
	t.Helper()
	for {
		links, err := netlink.LinkList()
		if err == nil {
			return links
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) { // another came or went
			t.Fatal(err)
		}
	}
}

// cgroupDirs returns the cgroups of the tests' containers, in every hierarchy.
func cgroupDirs(t *testing.T) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && inTests(path) {
			dirs = append(dirs, path)
		}
		return nil // one that vanishes meanwhile is no error
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// ownCgroup2 returns the directory of the tests' own cgroup on a v2 host.
func ownCgroup2(t *testing.T) string {
	t.Helper()
	if !unified() {
		return ""
	}
	own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join("/sys/fs/cgroup", own[""])
}

// unified tells whether the host has cgroup v2 only.
func unified() bool { return cgroups.IsCgroup2UnifiedMode() }

// programs returns the host's pids of all contained processes.
func programs(t *testing.T) (pids []int) {
	t.Helper()
	for _, dir := range cgroupDirs(t) {
		members, _ := cgroups.GetPids(dir)
		for _, pid := range members {
			exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
			if err == nil && (exe == "/bin/probe" || exe == "/bin/escape") && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// killPrograms kills every contained process.
func killPrograms(t *testing.T) {
	t.Helper()
	for _, pid := range programs(t) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// initPID returns the host's pid of the program in the only container.
func initPID(t *testing.T) int {
	t.Helper()
	pids := programs(t)
	if len(pids) == 0 {
		t.Fatal("no container is running")
	}
	return pids[0]
}
