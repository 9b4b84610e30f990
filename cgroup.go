// Cgroups: what this host offers, and what a container's cgroup says when it
// ends. libcontainer makes, sets and removes the cgroup itself.

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices" // without it no cgroup manager can set device rules
	"github.com/opencontainers/cgroups/manager"
)

// cgroupHost is what the cgroups of this host can do.
type cgroupHost struct {
	v2        bool // one unified hierarchy, and no other
	swapLimit bool // swap can be limited together with memory
}

// checkCgroups finds out what the host offers and reports a controller that
// opts need and that is not there. It changes nothing.
func checkCgroups(opts options) (cgroupHost, error) {
	h := cgroupHost{v2: cgroups.IsCgroup2UnifiedMode()}
	if h.v2 {
		h.swapLimit = true // libcontainer skips it where the kernel has no swap
	}
	need := map[string]bool{"memory": opts.memory != 0, "cpuset": opts.cpus != nil}
	for _, controller := range []string{"memory", "cpuset"} {
		dir, err := parentCgroup(controller)
		if err != nil && need[controller] {
			return h, fmt.Errorf("the %s cgroup controller is not available: %w", controller, err)
		}
		if controller == "memory" && !h.v2 {
			_, err := os.Stat(filepath.Join(dir, "memory.memsw.limit_in_bytes"))
			h.swapLimit = err == nil
		}
	}
	return h, nil
}

// parentCgroup returns the directory in which libcontainer will make the
// container's cgroup for a controller: contain's own cgroup on v1, and its
// parent on v2, where a cgroup with processes cannot have limited children
// (cgroups(7), "no internal processes").
func parentCgroup(controller string) (string, error) {
	if !cgroups.IsCgroup2UnifiedMode() {
		return cgroups.GetOwnCgroupPath(controller)
	}
	own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	root, err := cgroups.ReadFile("/sys/fs/cgroup", "cgroup.controllers")
	if err != nil {
		return "", err
	}
	dir := filepath.Join("/sys/fs/cgroup", filepath.Dir(own[""]))
	for name := range strings.FieldsSeq(root) {
		if name == controller {
			return dir, nil
		}
	}
	return "", fmt.Errorf("the kernel lists only: %s", strings.TrimSpace(root))
}

// readHostCPUs reads which CPUs there are and which a container may be given.
func readHostCPUs() (h hostCPUs, err error) {
	read := func(path string) (cpuSet, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		return parseCPUs(strings.TrimSpace(string(text)))
	}
	if h.possible, err = read("/sys/devices/system/cpu/possible"); err != nil {
		return h, err
	}
	if h.online, err = read("/sys/devices/system/cpu/online"); err != nil {
		return h, err
	}
	h.available = h.online
	dir, err := parentCgroup("cpuset")
	if err != nil {
		return h, nil // no cpuset controller: nothing narrows the set
	}
	for _, file := range []string{"cpuset.effective_cpus", "cpuset.cpus.effective"} {
		set, err := read(filepath.Join(dir, file))
		if err == nil {
			h.available = h.online.intersect(set)
			break
		}
		if !errors.Is(err, os.ErrNotExist) {
			return h, err
		}
	}
	return h, nil
}

// oomKills returns how many processes of the cgroup the kernel has killed for
// want of memory, and the most memory that the cgroup has used, in bytes.
func oomKills(cg *cgroups.Cgroup, paths map[string]string) (kills, peak uint64, err error) {
	m, err := manager.NewWithPaths(cg, paths)
	if err != nil {
		return 0, 0, err
	}
	if kills, err = m.OOMKillCount(); err != nil || kills == 0 {
		return kills, 0, err
	}
	if stats, err := m.Stats(&cgroups.StatsOptions{Controllers: cgroups.Memory}); err == nil {
		peak = stats.MemoryStats.Usage.MaxUsage
	}
	return kills, peak, nil
}
