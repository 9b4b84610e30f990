// Cgroups: what this host offers, in which cgroup a container's own is made,
// and by whom. Nothing here changes anything.
//
// There are three worlds, detected and never configured: v1 (also hybrid, with
// a v2 tree beside the v1 controllers), v2, and either of them under systemd.
// Where systemd is the host's init a cgroup belongs to it unless it delegated
// it (systemd.io/CGROUP_DELEGATION): contain's is a scope that systemd makes.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices" // without it no cgroup manager can set device rules
	"github.com/opencontainers/cgroups/fscommon"
	"github.com/opencontainers/cgroups/systemd"
	"golang.org/x/sys/unix"
)

const cgroup2Root = "/sys/fs/cgroup"

// cgroupHost is what the cgroups of this host can do, and where a container's
// cgroup goes.
type cgroupHost struct {
	v2        bool        // one unified hierarchy, and no other
	v1        []hierarchy // or these
	swapLimit bool        // swap can be limited together with memory
	pidsLimit bool        // tasks can be limited
	own       string      // the directory of contain's own cgroup; v1: in the hierarchy of cpuset, or ""
	parent    string      // v2: the directory that the container's cgroup is made in
	slice     string      // made by systemd, as a scope in this slice; "": by contain
	enable    string      // v2: controllers to enable first around the cgroup, such as "+memory"
	wish      []string    // v2: others, if they can be had
}

// hierarchy is a mounted hierarchy of cgroup v1.
type hierarchy struct {
	name        string   // of its mount point, such as "cpu,cpuacct"
	controllers []string // or "systemd" for name=systemd, which has none
	parent      string   // the directory that the container's cgroup is made in
	inScope     bool     // of systemd's
}

// checkCgroups finds out what the host offers and reports a controller that
// opts need and that is not to be had.
func checkCgroups(opts options) (cgroupHost, error) {
	v2 := cgroups.IsCgroup2UnifiedMode()
	need := []string{}
	for controller, needed := range map[string]bool{
		"memory":  opts.memory != 0 || opts.memorySoft != 0,
		"cpuset":  opts.cpus != nil,
		"cpu":     opts.cpuQuota != 0 || opts.cpuWeight != 0,
		"cpuacct": opts.cpuTime != 0 && !v2, // on v2 every cgroup has it
		"pids":    opts.pids != 0,
		"devices": !v2, // on v2 they are limited by a filter
		"blkio":   len(opts.io) > 0 && !v2,
		"io":      len(opts.io) > 0 && v2,
	} {
		if needed {
			need = append(need, controller)
		}
	}
	slices.Sort(need)
	if v2 {
		wanted := []string{"pids"}
		if opts.report != "" { // for what they say about the program
			wanted = append(wanted, "memory", "cpu", "io")
		} else if len(opts.io) > 0 { // for whose the pages are that are written back
			wanted = append(wanted, "memory")
		}
		return checkCgroup2(need, wanted)
	}
	return checkCgroup1(need)
}

// checkCgroup1 finds the hierarchies of a v1 or hybrid host and contain's own
// cgroup in each: the container's is made in that, or in the slice around it if
// systemd manages the hierarchy. The v2 tree of a hybrid host has no controllers
// and is left alone.
func checkCgroup1(need []string) (h cgroupHost, err error) {
	mounts, err := cgroups.GetCgroupMounts(false)
	if err != nil {
		return h, fmt.Errorf("find the cgroup hierarchies: %w", err)
	}
	own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	if err != nil {
		return h, fmt.Errorf("find contain's own cgroups: %w", err)
	}
	slice := ""
	if systemd.IsRunningSystemd() {
		h.slice = sliceOf(own["name=systemd"])
		if slice, err = systemd.ExpandSlice(h.slice); err != nil {
			return h, fmt.Errorf("find the slice of cgroup %s: %w", quoted(own["name=systemd"]), err)
		}
	}
	found := map[string]string{}
	for _, m := range mounts {
		if _, named := own["name="+m.Subsystems[0]]; named && m.Subsystems[0] != "systemd" {
			continue // no controller, and nobody's but its maker's, such as OpenRC's
		}
		cgroup, err := m.GetOwnCgroup(own)
		if err == nil {
			cgroup, err = filepath.Rel(m.Root, cgroup) // what is mounted may be a part, in another container
		}
		if err != nil {
			return h, fmt.Errorf("find contain's own cgroup in %s: %w", quoted(m.Mountpoint), err)
		}
		one := hierarchy{name: filepath.Base(m.Mountpoint), controllers: m.Subsystems, parent: filepath.Join(m.Mountpoint, cgroup)}
		if h.slice != "" && slices.ContainsFunc(m.Subsystems, managedBySystemd) {
			one.parent, one.inScope = filepath.Join(m.Mountpoint, slice), true
		}
		h.v1 = append(h.v1, one)
		for _, controller := range m.Subsystems {
			found[controller] = filepath.Join(m.Mountpoint, cgroup)
		}
	}
	for _, controller := range need {
		if found[controller] == "" {
			return h, fmt.Errorf("the %s cgroup controller is not available: no hierarchy has it", controller)
		}
	}
	h.swapLimit = found["memory"] != "" && exists(found["memory"], "memory.memsw.limit_in_bytes")
	h.pidsLimit = found["pids"] != ""
	h.own = found["cpuset"]
	return h, checkRoom(found["pids"])
}

// checkQuota reports a share of CPU time that cgroup v1 does not take, because a
// cgroup around has less (tg_cfs_schedulable_down, kernel/sched/core.c). v2 does.
func (h cgroupHost) checkQuota(quota int64) error {
	for _, one := range h.v1 {
		if !slices.Contains(one.controllers, "cpu") {
			continue
		}
		for dir := one.parent; len(dir) > len(cgroup2Root); dir = filepath.Dir(dir) {
			theirs, err1 := fscommon.GetCgroupParamInt(dir, "cpu.cfs_quota_us")
			period, err2 := fscommon.GetCgroupParamInt(dir, "cpu.cfs_period_us")
			if err1 == nil && err2 == nil && theirs > 0 && quota*period > theirs*cpuPeriod {
				return fmt.Errorf("more than %s has: %g", dir, float64(theirs)/float64(period))
			}
		}
	}
	return nil
}

// systemdControllers are those that systemd delegates to a scope on v1.
var systemdControllers = []string{"cpu", "cpuacct", "blkio", "memory", "devices", "pids"}

// managedBySystemd tells whether systemd makes its units' cgroups in the v1
// hierarchy of this controller.
func managedBySystemd(controller string) bool {
	return controller == "systemd" || slices.Contains(systemdControllers, controller)
}

// cgroup is the directory of the container's cgroup in the hierarchy.
func (h hierarchy) cgroup(id string) string {
	if h.inScope {
		return filepath.Join(h.parent, scopeName(id), "program")
	}
	return filepath.Join(h.parent, "contain-"+id)
}

// checkCgroup2 chooses the parent cgroup on a v2 host. It is the parent of
// contain's own, because a cgroup with processes in it cannot have children
// with limits (cgroups(7), "no internal processes"); at the top it is the root.
// Under systemd that holds only in a subtree that systemd has delegated.
func checkCgroup2(need, wanted []string) (cgroupHost, error) {
	h := cgroupHost{v2: true, swapLimit: true}
	own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	if err != nil {
		return h, fmt.Errorf("find contain's own cgroup: %w", err)
	}
	if strings.HasPrefix(own[""], "/..") {
		return h, errors.New("contain's own cgroup is outside of its cgroup namespace")
	}
	h.own = filepath.Join(cgroup2Root, own[""])
	h.parent = filepath.Join(cgroup2Root, path.Dir(own[""]))
	if systemd.IsRunningSystemd() && !delegated(h.parent) {
		err = h.inScope(own[""], need, wanted)
	} else {
		err = h.beside(need, wanted)
	}
	if err == nil {
		err = checkRoom(h.own)
	}
	return h, err
}

// inScope plans for a scope that systemd makes, in the slice of the cgroup own.
func (h *cgroupHost) inScope(own string, need, wanted []string) error {
	h.slice = sliceOf(own)
	expanded, err := systemd.ExpandSlice(h.slice)
	if err != nil {
		return fmt.Errorf("find the slice of cgroup %s: %w", quoted(own), err)
	}
	h.parent = filepath.Join(cgroup2Root, expanded)
	for _, controller := range wanted {
		switch {
		case !has(cgroup2Root, "cgroup.controllers", controller) || slices.Contains(need, controller):
		case controller == "pids":
			need = append(need, controller)
		default:
			h.wish = append(h.wish, controller)
		}
	}
	h.pidsLimit = slices.Contains(need, "pids")
	// In the scope itself; on the way down systemd enables what it delegates.
	h.enable = enabling(need)
	return missingController(cgroup2Root, need)
}

// beside plans for a cgroup that contain makes in h.parent. It gets what is wanted
// where it can be had.
func (h *cgroupHost) beside(need, wanted []string) error {
	if err := missingController(h.parent, need); err != nil {
		return err
	}
	ours := delegated(h.parent)
	for _, controller := range wanted {
		enabled := has(h.parent, "cgroup.subtree_control", controller)
		switch {
		case slices.Contains(need, controller):
		case controller == "pids" && (enabled || ours && has(h.parent, "cgroup.controllers", controller)):
			need = append(need, controller)
		case controller != "pids" && !enabled && ours:
			h.wish = append(h.wish, controller)
		}
	}
	h.pidsLimit = slices.Contains(need, "pids")
	var enable []string
	for _, controller := range need {
		if has(h.parent, "cgroup.subtree_control", controller) {
			continue
		}
		if !ours {
			return notEnabled(h.parent, controller)
		}
		enable = append(enable, controller)
	}
	h.enable = enabling(enable)
	return nil
}

// enabling is what enables controllers, written to a cgroup.subtree_control.
func enabling(controllers []string) string {
	if len(controllers) == 0 {
		return ""
	}
	return "+" + strings.Join(controllers, " +")
}

// missingController reports a needed controller that dir itself lacks: some
// ancestor withholds it, or the kernel has none.
func missingController(dir string, need []string) error {
	for _, controller := range need {
		if has(dir, "cgroup.controllers", controller) {
			continue
		}
		for len(dir) > len(cgroup2Root) {
			if dir = filepath.Dir(dir); has(dir, "cgroup.controllers", controller) {
				return notEnabled(dir, controller)
			}
		}
		return fmt.Errorf("the %s cgroup controller is not available: this kernel does not have it for cgroup v2 (it may be bound to v1 or disabled on the kernel command line)", controller)
	}
	return nil
}

// notEnabled says that dir does not hand a controller on to its children, and
// which command would have it do so.
func notEnabled(dir, controller string) error {
	file := filepath.Join(dir, "cgroup.subtree_control")
	err := fmt.Errorf("the %s cgroup controller is not enabled in %s", controller, file)
	if procs, readErr := os.ReadFile(filepath.Join(dir, "cgroup.procs")); readErr == nil && len(procs) > 0 && exists(dir, "cgroup.type") {
		return withHint(err, fmt.Sprintf("mkdir %[1]s/init && for p in $(cat %[1]s/cgroup.procs); do echo $p > %[1]s/init/cgroup.procs; done; echo +%[2]s > %[3]s", dir, controller, file))
	}
	return withHint(err, fmt.Sprintf("echo +%s > %s", controller, file))
}

// ownTasks is how many processes and threads contain still needs, when it looks at the
// host: its own threads, the init's, and the program.
const ownTasks = 24

// checkRoom reports a cgroup, dir or one around it, that has not room for these: without
// a thread the Go runtime could not even undo what was done.
func checkRoom(dir string) error {
	for ; len(dir) > len(cgroup2Root); dir = filepath.Dir(dir) {
		most, err := fscommon.GetCgroupParamUint(dir, "pids.max")
		if err != nil || most == math.MaxUint64 {
			continue
		}
		if now, err := fscommon.GetCgroupParamUint(dir, "pids.current"); err == nil && now+ownTasks > most {
			return fmt.Errorf("cgroup %s has room for %d more processes: too few, contain itself needs %d",
				quoted(dir), max(most, now)-now, ownTasks)
		}
	}
	return nil
}

// has tells whether a file of a cgroup directory lists a word.
func has(dir, file, word string) bool {
	text, err := os.ReadFile(filepath.Join(dir, file))
	return err == nil && slices.Contains(strings.Fields(string(text)), word)
}

func exists(dir, file string) bool {
	_, err := os.Stat(filepath.Join(dir, file))
	return err == nil
}

// delegated tells whether systemd has given the cgroup dir, or one above it, to
// the program that runs in it (Delegate=, systemd.resource-control(5)): then it
// carries this attribute.
func delegated(dir string) bool {
	for ; len(dir) > len(cgroup2Root); dir = filepath.Dir(dir) {
		var value [8]byte
		for _, name := range []string{"trusted.delegate", "user.delegate"} {
			if n, err := unix.Getxattr(dir, name, value[:]); err == nil && bytes.Equal(value[:n], []byte("1")) {
				return true
			}
		}
	}
	return false
}

// sliceOf returns the innermost slice that a cgroup path lies in: the same
// limits hold there as around contain itself, but for those of its own unit.
func sliceOf(cgroup string) string {
	for ; cgroup != "/" && cgroup != "."; cgroup = path.Dir(cgroup) {
		if name := path.Base(cgroup); strings.HasSuffix(name, ".slice") {
			return name
		}
	}
	return "system.slice"
}

// readHostCPUs reads which CPUs there are and which a container may be given.
func readHostCPUs(cg cgroupHost) (h hostCPUs, err error) {
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
	dir, file := cg.own, "cpuset.cpus.effective"
	if !cg.v2 {
		file = "cpuset.effective_cpus" // without the controller nothing narrows the set
	}
	// A v2 cgroup without the controller has the set of the next one above.
	for ; len(dir) >= len(cgroup2Root); dir = filepath.Dir(dir) {
		set, err := read(filepath.Join(dir, file))
		if err == nil {
			h.available = h.online.intersect(set)
			return h, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return h, err
		}
	}
	return h, nil
}
