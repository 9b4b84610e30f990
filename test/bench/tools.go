// The tools: how each is told to do a job. What a tool cannot do itself is done by hand,
// with the fewest commands that were found, in the scripts of jobs/.

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// tool is one way of doing a job.
type tool struct {
	name     string
	needs    []string // commands
	version  []string // prints it
	jobs     []string // that it is for; none: both
	prepare  func(*run) error
	command  func(*run) []string
	setUp    func(*world) error // once, before all runs
	tearDown func(*world) error
	subnet   string // the first half of its addresses, where that is not the bridge's
	keeps    string // a directory in which each run leaves something, which is then said
	note     string // what of the job is not its own, or is untypical
}

func (t *tool) does(job string) bool { return len(t.jobs) == 0 || slices.Contains(t.jobs, job) }

// missing tells why a tool cannot be tried, or "".
func (t *tool) missing() string {
	for _, command := range t.needs {
		if _, err := lookPath(command); err != nil {
			return command + " is not installed"
		}
	}
	return ""
}

// lookPath is exec.LookPath, also in the directories of system commands.
func lookPath(command string) (string, error) {
	path, err := exec.LookPath(command)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, command))
		}
	}
	return path, err
}

// script has a file of jobs/ do the job.
func script(name string, args ...string) func(*run) []string {
	return func(r *run) []string {
		return slices.Concat([]string{"/bin/sh", filepath.Join(r.w.jobs, name)}, args, r.program)
	}
}

const (
	byHand      = "cgroup by hand, in the hierarchies of cpuset and memory only; netns and veth by ip"
	bundleReady = "config.json is there before the clock starts"
)

var tools = []*tool{
	{
		name: "contain", version: []string{"contain", "-version"}, command: containCommand,
	},
	{
		name: "limit", command: limitCommand,
		note: "no tool: the same system calls in C (limit/limit.c), unchecked; no init, no signals, no undo",
	},
	{
		name: "crun-hook", needs: []string{"crun", "ip", "nsenter"}, version: []string{"crun", "--version"}, jobs: []string{"J"},
		prepare: bundle(true, "hook"), command: ociRun("crun"),
		note: bundleReady + "; veth by a createRuntime hook: two batches of ip",
	},
	{
		name: "crun-bare", needs: []string{"crun", "ip", "nsenter"}, version: []string{"crun", "--version"},
		prepare: bundle(false, "hook"), command: ociRun("crun"),
		note: "as crun-hook, without a seccomp filter: less than the job, the fastest that was found",
	},
	{
		name: "crun-ip", needs: []string{"crun", "ip"}, version: []string{"crun", "--version"}, jobs: []string{"J"},
		prepare: bundle(true, "netns"), command: script("oci-ip.sh", "crun"),
		note: bundleReady + "; netns and veth by single ip commands around it",
	},
	{
		name: "crun", needs: []string{"crun"}, version: []string{"crun", "--version"}, jobs: []string{"J0"},
		prepare: bundle(true, ""), command: ociRun("crun"), note: bundleReady,
	},
	{
		name: "runc-hook", needs: []string{"runc", "ip", "nsenter"}, version: []string{"runc", "--version"}, jobs: []string{"J"},
		prepare: bundle(true, "hook"), command: ociRun("runc"),
		note: bundleReady + "; veth by a createRuntime hook: two batches of ip",
	},
	{
		name: "runc-ip", needs: []string{"runc", "ip"}, version: []string{"runc", "--version"}, jobs: []string{"J"},
		prepare: bundle(true, "netns"), command: script("oci-ip.sh", "runc"),
		note: bundleReady + "; netns and veth by single ip commands around it",
	},
	{
		name: "runc", needs: []string{"runc"}, version: []string{"runc", "--version"}, jobs: []string{"J0"},
		prepare: bundle(true, ""), command: ociRun("runc"), note: bundleReady,
	},
	{
		name: "bwrap", needs: []string{"bwrap", "ip"}, version: []string{"bwrap", "--version"},
		command: script("bwrap.sh"), note: byHand,
	},
	{
		name: "unshare", needs: []string{"unshare", "ip"}, version: []string{"unshare", "--version"},
		command: script("unshare.sh"), note: byHand + "; chroot, /proc is the only mount",
	},
	{
		name: "lxc", needs: []string{"lxc-execute"}, version: []string{"lxc-execute", "--version"},
		prepare: lxcConfig, command: lxcCommand, keeps: "/run/lxc/lock",
		note: "lxc.conf is there before the clock starts; each name leaves a lock file",
	},
	{
		name: "nspawn", needs: []string{"systemd-nspawn", "ip"}, version: []string{"systemd-nspawn", "--version"},
		command: script("nspawn.sh"), note: byHand + "; it lies in the program's cgroup itself; --read-only, else it locks the root",
	},
	{
		name: "podman", needs: []string{"podman"}, version: []string{"podman", "--version"},
		subnet: "10.199", setUp: podmanSetUp, command: podmanCommand, tearDown: podmanTearDown, note: "conmon stays while the program runs",
	},
	{
		name: "docker", needs: []string{"docker"}, version: []string{"docker", "--version"},
		subnet: "10.199", setUp: dockerSetUp, command: dockerCommand, tearDown: dockerTearDown,
		note: "an image, not a directory; its daemon is outside: not in its CPU time and memory, its network not in this world",
	},
}

func containCommand(r *run) []string {
	argv := []string{r.w.contain, "-chroot", r.w.root, "-memory-limit", "128M", "-cpu-core-ids", r.w.cpus}
	if r.address != "" {
		argv = append(argv, "-network-address", r.address, "-bridge", bridgeName)
	}
	return slices.Concat(argv, []string{"--"}, r.program)
}

func limitCommand(r *run) []string {
	address := r.address
	if address == "" {
		address = "-"
	}
	argv := []string{r.w.limit, r.w.root, r.name, r.w.cpus, fmt.Sprint(memoryLimit), r.w.filter, address, gateway, bridgeName}
	for _, h := range r.w.cgroups {
		argv = append(argv, h.controller+"="+h.dir)
	}
	return slices.Concat(argv, []string{"--"}, r.program)
}

// ociRun runs a bundle. The runtime is not told to be quiet about anything.
func ociRun(runtime string) func(*run) []string {
	return func(r *run) []string { return []string{runtime, "run", "--bundle", r.dir, r.name} }
}

// bundle writes the configuration for an OCI runtime, as near to what contain does as
// its specification allows; filter: with Docker's own; network: by a hook, in a netns that
// is there, or "".
func bundle(filter bool, network string) func(*run) error {
	return func(r *run) error {
		spec := ociSpec(r)
		if filter {
			profile, err := seccomp.GetDefaultProfile(spec)
			if err != nil {
				return err
			}
			spec.Linux.Seccomp = profile
		}
		switch {
		case r.address == "":
		case network == "hook":
			spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{
				Path: "/bin/sh", Args: []string{"sh", filepath.Join(r.w.jobs, "oci-hook.sh")}, Env: r.environment(),
			}}}
		case network == "netns":
			for i, ns := range spec.Linux.Namespaces {
				if ns.Type == specs.NetworkNamespace {
					spec.Linux.Namespaces[i].Path = "/run/netns/" + r.name
				}
			}
		}
		data, err := json.Marshal(spec)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(r.dir, "config.json"), data, 0o644)
	}
}

func ociSpec(r *run) *specs.Spec {
	limit, pids := int64(memoryLimit), int64(4096)
	caps := []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",
		"CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	}
	return &specs.Spec{
		Version:  "1.0.2",
		Root:     &specs.Root{Path: r.w.root},
		Hostname: r.name,
		Mounts:   ociMounts(),
		Process: &specs.Process{
			Cwd: "/", Args: r.program, Env: []string{"PATH=/bin", "HOME=/"}, NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Permitted: caps, Effective: caps},
		},
		Linux: &specs.Linux{
			CgroupsPath: "/" + r.name,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.CgroupNamespace},
			},
			Resources: &specs.LinuxResources{
				Memory:  &specs.LinuxMemory{Limit: &limit, Swap: &limit},
				CPU:     &specs.LinuxCPU{Cpus: r.w.cpus},
				Pids:    &specs.LinuxPids{Limit: &pids},
				Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
			},
			MaskedPaths:   []string{"/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

func ociMounts() (list []specs.Mount) {
	for _, m := range [][3]string{
		{"/proc", "proc", "nosuid,noexec,nodev"},
		{"/dev", "tmpfs", "nosuid,noexec,strictatime,mode=755,size=65536k"},
		{"/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5,max=256"},
		{"/dev/shm", "tmpfs", "nosuid,noexec,nodev,mode=1777,size=65536k"},
		{"/dev/mqueue", "mqueue", "nosuid,noexec,nodev"},
		{"/sys", "sysfs", "nosuid,noexec,nodev,ro"},
		{"/sys/fs/cgroup", "cgroup", "nosuid,noexec,nodev,ro"},
	} {
		list = append(list, specs.Mount{Destination: m[0], Type: m[1], Source: m[1], Options: strings.Split(m[2], ",")})
	}
	return list
}

func lxcConfig(r *run) error {
	lines := []string{
		"lxc.rootfs.path = dir:" + r.w.root, "lxc.uts.name = " + r.name, "lxc.autodev = 1", "lxc.pty.max = 16",
		"lxc.mount.auto = proc:mixed sys:ro", "lxc.cgroup.relative = 1",
	}
	prefix, memory := "lxc.cgroup.", "memory.limit_in_bytes"
	if r.w.unified {
		prefix, memory = "lxc.cgroup2.", "memory.max"
	}
	lines = append(lines, prefix+"cpuset.cpus = "+r.w.cpus, fmt.Sprintf("%s%s = %d", prefix, memory, memoryLimit))
	if r.address == "" {
		lines = append(lines, "lxc.net.0.type = empty", "lxc.net.0.flags = up")
	} else {
		lines = append(lines, "lxc.net.0.type = veth", "lxc.net.0.link = "+bridgeName, "lxc.net.0.flags = up", "lxc.net.0.name = eth0",
			"lxc.net.0.ipv4.address = "+r.address, "lxc.net.0.ipv4.gateway = "+gateway)
	}
	return os.WriteFile(filepath.Join(r.dir, "lxc.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

func lxcCommand(r *run) []string {
	return slices.Concat([]string{"lxc-execute", "-n", r.name, "-P", r.dir, "-f", filepath.Join(r.dir, "lxc.conf"), "--"}, r.program)
}

const networkName = "contain-bench"

// limits are the flags that docker and podman share.
func limits(r *run) []string {
	argv := []string{"--rm", "--name", filepath.Base(r.w.dir) + "-" + r.name, "--memory", "128m", "--cpuset-cpus", r.w.cpus}
	if r.address == "" {
		return append(argv, "--network", "none")
	}
	address, _, _ := strings.Cut(r.address, "/")
	return append(argv, "--network", networkName, "--ip", address)
}

// Their networks have a bridge of their own: they do not attach to one that is there.
func podmanSetUp(w *world) error {
	_ = podmanTearDown(w) // of one that was killed
	return command("podman", "network", "create", "--subnet", "10.199.0.0/16", networkName)
}

func podmanTearDown(*world) error {
	return command("podman", "network", "rm", "--force", networkName)
}

func podmanCommand(r *run) []string {
	return slices.Concat([]string{"podman", "run"}, limits(r), []string{"--rootfs", r.w.root}, r.program)
}

func dockerSetUp(w *world) error {
	if err := command("docker", "info"); err != nil {
		return err
	}
	_ = dockerTearDown(w) // of one that was killed
	tar := fmt.Sprintf("tar -C '%s' -c . | docker import - %s", w.root, networkName)
	if err := command("sh", "-c", tar); err != nil {
		return err
	}
	return command("docker", "network", "create", "--subnet", "10.199.0.0/16", networkName)
}

func dockerTearDown(*world) error {
	return errors.Join(command("docker", "network", "rm", networkName), command("docker", "image", "rm", networkName))
}

func dockerCommand(r *run) []string {
	return slices.Concat([]string{"docker", "run"}, limits(r), []string{networkName}, r.program)
}

// command runs one of those to its end; its error says what it has printed.
func command(argv ...string) error {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s: %w: %s", strings.Join(argv[:2], " "), err, lines[len(lines)-1])
	}
	return nil
}
