// The tools and the runs that TestChaos kills: contain's, and those of the runtimes of
// OCI bundles that it is compared with.

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// victim is a kind of run to be killed.
type victim struct {
	name    string
	flags   []string // contain's, with ADDRESS for an address
	program []string
	asked   bool // it gets a SIGTERM after the time of a whole run
	console bool // its stdin is a terminal
	whole   time.Duration
}

// The verbs of the probe for them.
var (
	endsAtOnce = []string{"exit", "0"}
	sleeps     = []string{"sleep", "60000"}
	spins      = []string{"burn", "60000", "1"}
	// It has children of a daemon in a session of its own, who ignore all signals.
	daemons = []string{"ignore", "all", "/bin/probe", "daemon", "1", "/bin/probe", "forks", "8"}
)

// victims are the kinds: first those that there are of every tool.
func victims(name string) []victim {
	network := []string{"-network-address", "ADDRESS"}
	list := []victim{
		{name: "ends at once", flags: network, program: endsAtOnce},
		{name: "spins", flags: network, program: spins},
		{name: "daemons", flags: network, program: daemons},
		{name: "asked to end", flags: network, program: sleeps, asked: true},
		{name: "daemons asked to end", flags: network, program: daemons, asked: true},
	}
	if name != "contain" {
		return list
	}
	with := func(more ...string) []string { return slices.Concat(network, more) }
	return append(list,
		victim{name: "PID 1", flags: with("-init=false"), program: sleeps},
		victim{name: "on a terminal", flags: with("-tty=always"), program: sleeps, console: true},
		victim{name: "in a user namespace", flags: with("-userns"), program: endsAtOnce},
		victim{name: "daemons in a user namespace", flags: with("-userns", "-init=false"), program: daemons},
		victim{name: "without a network", program: endsAtOnce},
	)
}

// chaosTool is what is killed: contain, runc or crun.
type chaosTool struct {
	name    string
	state   string // where it records what runs
	command func(v victim, n int) *exec.Cmd
}

const chaosMemory = 64 << 20

func newChaosTool(t *testing.T, name string) chaosTool {
	t.Helper()
	if name != "contain" {
		return newRival(t, name)
	}
	root, cpu := mappable(t), firstCPU(t)
	return chaosTool{name, stateDir, func(v victim, n int) *exec.Cmd {
		args := []string{"-chroot", root, "-memory-limit", itoa(chaosMemory), "-cpu-core-ids", cpu}
		for _, word := range v.flags {
			// One of its own each time: it may be a while until that of a killed one is free.
			args = append(args, strings.Replace(word, "ADDRESS", fmt.Sprintf("172.17.0.%d/24", 10+n%200), 1))
		}
		return exec.Command(containPath, append(append(args, "--", "probe"), v.program...)...)
	}}
}

// newRival is a runtime of OCI bundles: its own example of one, with the limits that
// contain's runs have, but neither an interface nor a system call filter.
func newRival(t *testing.T, name string) chaosTool {
	t.Helper()
	root, cpu, dir, parent := rootfs(t), firstCPU(t), t.TempDir(), rivalCgroup(t)
	hideControllers(t)
	spec := exec.Command(name, "spec")
	spec.Dir = dir
	if out, err := spec.CombinedOutput(); err != nil {
		t.Fatalf("%s spec: %v: %s", name, err, out)
	}
	example, err := os.ReadFile(filepath.Join(dir, "config.json"))
	must(t, err)
	return chaosTool{name, filepath.Join(dir, "state"), func(v victim, n int) *exec.Cmd {
		id := fmt.Sprintf("contain-%08x", n)
		bundle := filepath.Join(dir, id)
		var config map[string]any
		must(t, json.Unmarshal(example, &config))
		for path, value := range map[string]any{
			"process.terminal":             false,
			"process.args":                 append([]string{"probe"}, v.program...),
			"root.path":                    root,
			"linux.cgroupsPath":            filepath.Join(parent, id),
			"linux.resources.memory.limit": chaosMemory,
			"linux.resources.cpu.cpus":     cpu,
			"linux.resources.pids.limit":   4096,
		} {
			setJSON(config, path, value)
		}
		text, err := json.Marshal(config)
		must(t, err, os.MkdirAll(bundle, 0o755), os.WriteFile(filepath.Join(bundle, "config.json"), text, 0o644))
		return exec.Command(name, "--root", filepath.Join(dir, "state"), "run", "-b", bundle, id)
	}}
}

// setJSON sets a value of an object, made where it is missing.
func setJSON(object map[string]any, path string, value any) {
	name, rest, deeper := strings.Cut(path, ".")
	if !deeper {
		object[name] = value
		return
	}
	inner, _ := object[name].(map[string]any)
	if inner == nil {
		inner = map[string]any{}
		object[name] = inner
	}
	setJSON(inner, rest, value)
}

// rivalCgroup returns the cgroup that the rivals' are to be made in: where contain's are.
// They take it from the root of each hierarchy, and what of it is missing there goes when
// the test ends.
func rivalCgroup(t *testing.T) string {
	t.Helper()
	own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	must(t, err)
	parent, tops := own["memory"], []string{"/sys/fs/cgroup"}
	if unified() {
		parent = filepath.Dir(own[""])
	} else {
		tops, err = filepath.Glob("/sys/fs/cgroup/*")
		must(t, err)
	}
	var missing []string
	for _, top := range tops {
		for dir := parent; dir != "/"; dir = filepath.Dir(dir) {
			if _, err := os.Stat(top + dir); os.IsNotExist(err) {
				missing = append(missing, top+dir)
			}
		}
	}
	t.Cleanup(func() {
		for _, dir := range missing {
			os.Remove(dir)
		}
	})
	return parent
}

// hideControllers makes this mount namespace's hybrid host look as if its v2 hierarchy had
// no controllers: crun takes no other.
func hideControllers(t *testing.T) {
	t.Helper()
	const file = "/sys/fs/cgroup/unified/cgroup.controllers"
	if _, err := os.Stat(file); err != nil {
		return
	}
	none := filepath.Join(t.TempDir(), "none")
	must(t, os.WriteFile(none, nil, 0o644), unix.Mount(none, file, "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(file, 0)) })
}
