package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// The program finds its own limits where runtimes look for them, and can
// change nothing there.
func TestLimitsAreSeenInside(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	cpu := firstCPU(t)
	dirs, limit, cpus := []string{"/sys/fs/cgroup"}, "memory.max", "cpuset.cpus"
	if !unified() {
		dirs, limit, cpus = append(dirs, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpuset"), "memory/memory.limit_in_bytes", "cpuset/cpuset.cpus"
	}
	args := []string{"-chroot", root, "-memory-limit", "64M", "-cpu-core-ids", cpu, "--", "probe"}
	contain(t, append(args, "cat", "/sys/fs/cgroup/"+limit, "/sys/fs/cgroup/"+cpus)...).want(t, 0, "67108864\n"+cpu+"\n")
	contain(t, append(args, "open", "/sys/fs/cgroup/"+limit, "w")...).want(t, 1, "/sys/fs/cgroup/"+limit+": Read-only file system\n")
	for _, dir := range dirs {
		contain(t, append(args, "mkdir", dir+"/x")...).want(t, 1, dir+"/x: Read-only file system\n")
	}
	own := contain(t, append(args, "cat", "/proc/self/cgroup")...).stdout
	for line := range strings.Lines(own) {
		if !strings.HasSuffix(line, ":/\n") {
			t.Errorf("the program sees the host's cgroup in %q", line)
		}
	}
}

// The program is where its limits are, in every hierarchy; the init, which the
// program can make work, is not in those of memory and pids.
func TestCgroupsOfTheProgram(t *testing.T) {
	leavesNothing(t)
	p := start(t, "-chroot", rootfs(t), "-memory-limit", "64M", "-cpu-core-ids", firstCPU(t), "--", "probe", "wait")
	p.waitLine(t, "ready")
	pid := initPID(t)
	cgroupsOf := func(pid string) map[string]string {
		all, err := cgroups.ParseCgroupFile("/proc/" + pid + "/cgroup")
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	init := readStatus(t, pid)
	init = field(init, "PPid")
	for controller, dir := range cgroupsOf(itoa(pid)) {
		if in := containerCgroup.MatchString(dir); in != (controller != "" || unified()) {
			t.Errorf("the program's cgroup of %q is %s", controller, dir)
		}
	}
	for controller, dir := range cgroupsOf(init) {
		in := controller != "memory" && controller != "pids" && controller != ""
		if containerCgroup.MatchString(dir) != in {
			t.Errorf("the init's cgroup of %q is %s", controller, dir)
		}
	}
	text, err := os.ReadFile("/proc/" + init + "/status")
	if cpus := field(string(text), "Cpus_allowed_list"); err != nil || cpus != firstCPU(t) {
		t.Errorf("the init runs on CPUs %s", cpus)
	}
}

// A hierarchy that is no controller's, such as OpenRC's, is none of contain's.
func TestForeignHierarchy(t *testing.T) {
	if unified() {
		t.Skip("only cgroup v1 has named hierarchies")
	}
	leavesNothing(t)
	dir := t.TempDir()
	if err := unix.Mount("cgroup", dir, "cgroup", 0, "none,name=contain-test"); err != nil {
		t.Fatal(err)
	}
	contain(t, "-chroot", rootfs(t), "--", "probe", "exit", "7").want(t, 7, "")
	if err := unix.Unmount(dir, 0); err != nil {
		t.Error(err)
	}
}

// A controller that the parent withholds is named if it is needed, with the
// command that enables it, and is no matter if it is not.
func TestControllerThatIsWithheld(t *testing.T) {
	if !unified() || underSystemd() {
		t.Skip("only cgroup v2 withholds controllers, and systemd enables what is needed")
	}
	leavesNothing(t)
	parent := filepath.Dir(ownCgroup2(t))
	withheld := filepath.Join(parent, "withheld")
	for _, dir := range []string{withheld, filepath.Join(withheld, "caller")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := cgroups.RemovePath(dir); err != nil {
				t.Error(err)
			}
		})
	}
	for _, line := range []string{"-cpuset", "+memory"} {
		if err := cgroups.WriteFile(parent, "cgroup.subtree_control", line); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { cgroups.WriteFile(parent, "cgroup.subtree_control", "+cpuset") })
	root := rootfs(t)
	run := func(args ...string) result {
		cmd := exec.Command("sh", append([]string{"-c", `echo 0 > "$0"/caller/cgroup.procs && exec "$@"`, withheld, containPath, "-chroot", root}, args...)...)
		return startCommand(t, cmd).wait(t)
	}
	run("-cpu-core-ids", firstCPU(t), "--", "probe", "exit", "0").
		wantError(t, 125, "the cpuset cgroup controller is not enabled in "+parent+"/cgroup.subtree_control")
	r := run("-memory-limit", "64M", "--", "probe", "exit", "0")
	r.wantError(t, 125, "the memory cgroup controller is not enabled in "+withheld+"/cgroup.subtree_control")
	if hint := "hint: echo +memory > " + withheld + "/cgroup.subtree_control\n"; !strings.HasSuffix(r.stderr, hint) {
		t.Errorf("stderr %q, want the hint %q", r.stderr, hint)
	}
	run("--", "probe", "exit", "7").want(t, 7, "")
	if text, _ := os.ReadFile(filepath.Join(withheld, "cgroup.subtree_control")); len(text) > 1 {
		t.Errorf("contain enabled %q in a cgroup that is not its own", text)
	}
}

// In a container of another make, with a cgroup namespace of its own, the root
// cgroup holds processes and so cannot have limited children: the hint is what
// that container's init would have to do.
func TestInsideAnotherContainer(t *testing.T) {
	if !unified() || underSystemd() {
		t.Skip("needs a cgroup v2 tree that is the tests' own")
	}
	leavesNothing(t)
	box := filepath.Join(filepath.Dir(ownCgroup2(t)), "box")
	if err := os.Mkdir(box, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cgroups.RemovePath(box); err != nil {
			t.Error(err)
		}
	})
	root := rootfs(t)
	inside := func(command string) result {
		script := `echo 0 > "$0"/cgroup.procs && exec unshare --cgroup --mount sh -c '
			umount -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && ` + command + `' "$@"`
		return startCommand(t, exec.Command("sh", "-c", script, box, containPath, "-chroot", root,
			"-memory-limit", "64M", "--", "probe", "exit", "7")).wait(t)
	}
	r := inside(`exec "$0" "$@"`)
	r.wantError(t, 125, "the memory cgroup controller is not enabled in /sys/fs/cgroup/cgroup.subtree_control")
	_, hint, ok := strings.Cut(r.stderr, "hint: ")
	if !ok || strings.Contains(hint, "'") {
		t.Fatalf("stderr %q has no hint", r.stderr)
	}
	inside(strings.TrimSpace(hint)+`; exec "$0" "$@"`).want(t, 7, "")
}

// systemd runs a command with systemd-run and returns what came back.
func systemdRun(t *testing.T, options []string, args ...string) result {
	t.Helper()
	command := append(append(options, "--quiet", "--", containPath), args...)
	return startCommand(t, exec.Command("systemd-run", command...)).wait(t)
}

func TestInsideUnitsOfSystemd(t *testing.T) {
	if !underSystemd() {
		t.Skip("systemd is not the host's init")
	}
	leavesNothing(t)
	limit := "/sys/fs/cgroup/memory.max"
	if !unified() {
		limit = "/sys/fs/cgroup/memory/memory.limit_in_bytes"
	}
	args := []string{"-chroot", rootfs(t), "-memory-limit", "64M", "-cpu-core-ids", firstCPU(t), "--", "probe", "cat", limit}
	for _, options := range [][]string{
		{"--scope"}, {"--scope", "-p", "Delegate=yes"}, {"--pipe", "--wait"}, {"--pipe", "--wait", "-p", "Delegate=yes"},
	} {
		if r := systemdRun(t, options, args...); r.code() != 0 || !strings.HasSuffix(r.stdout, "67108864\n") {
			t.Errorf("%q: status %d, stdout %q, stderr %q", options, r.code(), r.stdout, r.stderr)
		}
	}
}

// In a subtree that systemd has delegated, contain makes its cgroup itself.
func TestInsideADelegatedSubtree(t *testing.T) {
	if !underSystemd() || !unified() {
		t.Skip("systemd with cgroup v2 is not the host's init")
	}
	leavesNothing(t)
	script := `d=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)
		mkdir $d/caller && echo 0 > $d/caller/cgroup.procs && "$0" "$@" && echo $d/contain-*`
	cmd := exec.Command("systemd-run", "--quiet", "--scope", "-p", "Delegate=yes", "--", "sh", "-c", script,
		containPath, "-chroot", rootfs(t), "-memory-limit", "64M", "-cpu-core-ids", firstCPU(t), "--",
		"probe", "cat", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cgroup.controllers")
	r := startCommand(t, cmd).wait(t)
	if r.code() != 0 || !strings.HasPrefix(r.stdout, "67108864\ncpuset memory pids\n") || !strings.HasSuffix(r.stdout, "/contain-*\n") {
		t.Errorf("status %d, stdout %q, stderr %q", r.code(), r.stdout, r.stderr)
	}
}

// systemd writes the limits of its units again when it reloads.
func TestDaemonReloadChangesNoLimit(t *testing.T) {
	if !underSystemd() {
		t.Skip("systemd is not the host's init")
	}
	leavesNothing(t)
	cpu := firstCPU(t)
	p := start(t, "-chroot", rootfs(t), "-memory-limit", "64M", "-cpu-core-ids", cpu, "--", "probe", "wait")
	p.waitLine(t, "ready")
	files := []string{"memory.max", "memory.swap.max", "memory.oom.group", "cpuset.cpus", "pids.max"}
	if !unified() {
		files = []string{"memory.limit_in_bytes", "cpuset.cpus", "pids.max", "devices.list"}
	}
	limits := func() (text string) {
		for _, file := range files {
			for _, dir := range cgroupDirs(t) {
				if value, err := os.ReadFile(filepath.Join(dir, file)); err == nil && filepath.Base(dir) != "keeper" {
					text += file + "=" + string(value)
				}
			}
		}
		return text
	}
	before := limits()
	if !strings.Contains(before, files[0]+"=67108864\n") || !strings.Contains(before, "cpuset.cpus="+cpu+"\n") {
		t.Errorf("the limits are %q", before)
	}
	for range 2 {
		if out, err := exec.Command("systemctl", "daemon-reload").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if after := limits(); after != before {
			t.Errorf("the limits were %q, after daemon-reload they are %q", before, after)
		}
	}
}
