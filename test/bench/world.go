// The world that all runs happen in: mount, network and cgroup namespaces with a bridge,
// a cgroup that looks like the root, a root for the programs, and directories, all made
// for this benchmark and removed after it. The tools find /run empty, on a tmpfs, and no
// v2 hierarchy beside those of v1: crun refuses such a hybrid. That is so for all of them.

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices"
	"github.com/opencontainers/cgroups/manager"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	insideVariable  = "BENCH_INSIDE"  // the directory for files; not set: outside
	enteredVariable = "BENCH_ENTERED" // in the cgroup namespace, too
	bridgeName      = "docker0"
	gateway         = "10.198.0.1"
	memoryLimit     = 128 << 20
	// What contain makes and writes to is looked for here, as by its users.
	stateDir = "/run/contain"
)

// world is what the runs share.
type world struct {
	dir     string // for files
	root    string // of the programs: a static busybox
	cgroups []hierarchy
	unified bool
	cpus    string
	contain string
	limit   string
	filter  string
	jobs    string // the directory of the scripts
	runs    int    // so far: each has a name and an address of its own

	residents int // that were started and have not ended
}

// hierarchy is where a run's cgroup is to be made: in the directory dir. On v2 the only
// one is called unified.
type hierarchy struct{ controller, dir string }

// outside makes the cgroup and the directory, runs this binary again in new namespaces,
// and removes all that is left. It returns the exit status of that.
func outside() (status int, err error) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM) // the inner one ends of them
	dir, err := os.MkdirTemp("", "contain-bench-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	pids := int64(100000)
	m, err := manager.New(&cgroups.Cgroup{Path: filepath.Base(dir), Resources: &cgroups.Resources{PidsLimit: &pids}})
	if err != nil {
		return 1, fmt.Errorf("cgroup for the benchmark: %w", err)
	}
	defer func() { err = errors.Join(err, removeCgroups(m)) }()
	if err := m.Apply(-1); err != nil {
		return 1, fmt.Errorf("make the cgroup for the benchmark: %w", err)
	}
	runtime.LockOSThread() // PDEATHSIG is about the thread that forks
	cmd := exec.Command("/proc/self/exe")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideVariable+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	return runIn(m, cmd)
}

// runIn runs cmd to its end in the cgroup: cmd waits on a pipe until it is in.
func runIn(m cgroups.Manager, cmd *exec.Cmd) (status int, err error) {
	wait, in, err := os.Pipe()
	if err != nil {
		return 1, err
	}
	cmd.ExtraFiles = []*os.File{wait}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM) // a terminal's SIGINT goes to both
	go func() {
		for sig := range signals {
			cmd.Process.Signal(sig)
		}
	}()
	if err := m.AddPid("", cmd.Process.Pid); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return 1, fmt.Errorf("enter the cgroup for the benchmark: %w", err)
	}
	in.Close()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return cmd.ProcessState.ExitCode(), err
}

// removeCgroups kills what is left in the cgroup and those in it, and removes them.
func removeCgroups(m cgroups.Manager) error {
	dirs := slices.Compact(slices.Sorted(maps.Values(m.GetPaths())))
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var err error
		for _, dir := range dirs {
			filepath.WalkDir(dir, func(path string, d fs.DirEntry, walkErr error) error {
				if walkErr == nil && d.IsDir() {
					members, _ := cgroups.GetPids(path)
					for _, pid := range members {
						syscall.Kill(pid, syscall.SIGKILL)
					}
				}
				return nil
			})
			if removeErr := cgroups.RemovePath(dir); removeErr != nil {
				err = fmt.Errorf("remove the cgroup of the benchmark: %w", removeErr)
			}
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// enterCgroup waits until this process is in its cgroup, and executes itself again in a
// namespace in which that is the root.
func enterCgroup() error {
	io.Copy(io.Discard, os.NewFile(3, "released by runIn"))
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), enteredVariable+"=1"))
}

// newWorld furnishes this process's namespaces.
func newWorld(dir string) (*world, error) {
	w := &world{
		dir: dir, root: filepath.Join(dir, "root"), unified: cgroups.IsCgroup2UnifiedMode(),
		contain: os.Getenv("CONTAIN"), limit: os.Getenv("LIMIT"), filter: os.Getenv("FILTER"), jobs: os.Getenv("JOBS"),
	}
	// Whoever of the tools' processes loses its parent is waited for, and counted, here.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	for _, step := range []func() error{w.mount, w.findCPUs, makeBridge, w.makeRoot} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// mount gives the world a /run of its own, and a /sys of its namespaces.
func (w *world) mount() error {
	const hard = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	var hierarchies []cgroups.Mount
	if !w.unified {
		var err error
		if hierarchies, err = cgroups.GetCgroupMounts(false); err != nil {
			return err
		}
	}
	run := filepath.Join(w.dir, "run")
	if err := os.Mkdir(run, 0o755); err != nil {
		return err
	}
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"/run", run, "", unix.MS_BIND},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV},
		{"sysfs", "/sys", "sysfs", hard},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for _, dir := range []string{"/run/netns", "/run/lock", stateDir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink(filepath.Join(run, "docker.sock"), "/run/docker.sock"); err != nil {
		return err
	}
	if w.unified {
		return w.mountUnified()
	}
	return w.mountHierarchies(hierarchies)
}

// mountUnified mounts the v2 hierarchy. This process goes into a cgroup beside which
// contain makes those of its programs: in theirs no process may be.
func (w *world) mountUnified() error {
	const top = "/sys/fs/cgroup"
	if err := unix.Mount("cgroup2", top, "cgroup2", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", top, err)
	}
	w.cgroups = []hierarchy{{"unified", top}}
	own := filepath.Join(top, "bench")
	if err := os.Mkdir(own, 0o755); err != nil {
		return err
	}
	if err := cgroups.WriteFile(own, "cgroup.procs", "0"); err != nil {
		return err
	}
	return cgroups.WriteFile(top, "cgroup.subtree_control", "+cpu +cpuset +memory +pids")
}

// mountHierarchies mounts those of v1 as they were.
func (w *world) mountHierarchies(list []cgroups.Mount) error {
	const top = "/sys/fs/cgroup"
	if err := unix.Mount("tmpfs", top, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", top, err)
	}
	own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	for _, m := range list {
		dir := filepath.Join(top, filepath.Base(m.Mountpoint))
		options := strings.Join(m.Subsystems, ",")
		if _, named := own["name="+options]; named {
			options = "none,name=" + options
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("cgroup", dir, "cgroup", 0, options); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
		for _, controller := range m.Subsystems {
			if controller != filepath.Base(dir) {
				if err := os.Symlink(filepath.Base(dir), filepath.Join(top, controller)); err != nil {
					return err
				}
			}
		}
		w.cgroups = append(w.cgroups, hierarchy{m.Subsystems[0], dir})
	}
	return nil
}

// findCPUs reads which CPUs this process may use: the jobs get all of these.
func (w *world) findCPUs() error {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			w.cpus = strings.TrimSpace(list)
		}
	}
	return nil
}

func makeBridge() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridgeName
	link := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(link); err != nil {
		return fmt.Errorf("make the bridge: %w", err)
	}
	addr, err := netlink.ParseAddr(gateway + "/16")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("give the bridge its address: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetUp(link), netlink.LinkSetUp(lo))
}

// makeRoot makes the programs' root. The directories are those that one tool or another
// wants to find.
func (w *world) makeRoot() error {
	for _, dir := range []string{"bin", "dev", "proc", "sys", "tmp", "run", "usr", "etc", "root", "var"} {
		if err := os.MkdirAll(filepath.Join(w.root, dir), 0o755); err != nil {
			return err
		}
	}
	path, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	for name, file := range map[string]string{"busybox": path, "load": os.Getenv("LOAD")} {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(w.root, "bin", name), data, 0o755); err != nil {
			return err
		}
	}
	for _, applet := range []string{"true", "sh", "sleep"} {
		if err := os.Symlink("busybox", filepath.Join(w.root, "bin", applet)); err != nil {
			return err
		}
	}
	release := "ID=bench\n" // what systemd-nspawn knows a root by
	return os.WriteFile(filepath.Join(w.root, "etc/os-release"), []byte(release), 0o644)
}

// state is all that a run could leave in the world.
func (w *world) state() (found []string, err error) {
	for {
		links, err := netlink.LinkList()
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		} else if err != nil {
			return nil, err
		}
		for _, l := range links {
			found = append(found, "link "+l.Attrs().Name)
		}
		break
	}
	list := func(kind, top string) {
		filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && (kind != "cgroup" || d.IsDir()) {
				found = append(found, kind+" "+path)
			}
			return nil
		})
	}
	for _, h := range w.cgroups {
		list("cgroup", h.dir)
	}
	list("file", "/run")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		found = append(found, "mount "+strings.Fields(line)[4])
	}
	for _, pid := range descendants() {
		found = append(found, fmt.Sprintf("process %d (%s)", pid, strings.Join(commandLine(pid), " ")))
	}
	slices.Sort(found)
	return found, nil
}

// without returns what of a is not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
