// The container's cgroup: made by contain's rules, limited by libcontainer's.
//
// libcontainer's own v2 manager enables every controller in every cgroup from
// the root down (fs2.CreateCgroupPath), on systemd's territory too: a change of
// the host that nothing undoes and that the administrator may have meant
// otherwise. It offers no way to bring another manager, so one is put into its
// container object. TestManagerIsReplaced fails when that stops working.

package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"
	"github.com/opencontainers/cgroups/fscommon"
	"github.com/opencontainers/runc/libcontainer"
)

// cgroup2 is libcontainer's v2 manager, but for making and removing.
type cgroup2 struct {
	cgroups.Manager
	dir    string // of the program's cgroup
	enable string // written to cgroup.subtree_control around it first; may be empty
	scope  *scope // nil unless systemd owns the cgroups
}

// newCgroup2 returns the manager of a cgroup that does not exist yet.
func newCgroup2(id string, h cgroupHost, config *cgroups.Cgroup) (cgroups.Manager, error) {
	dir := filepath.Join(cgroup2Root, config.Path)
	limits, err := fs2.NewManager(config, dir)
	if err != nil {
		return nil, err
	}
	m := &cgroup2{Manager: limits, dir: dir, enable: h.enable}
	if h.slice != "" {
		controllers := strings.Fields(strings.ReplaceAll(h.enable, "+", ""))
		m.scope = &scope{unit: "contain-" + id + ".scope", slice: h.slice, dir: filepath.Dir(dir), controllers: controllers}
	}
	return m, nil
}

// Apply makes the cgroup and puts the process pid into it. Its undo, also of
// half of it, is Destroy.
func (m *cgroup2) Apply(pid int) error {
	if m.scope != nil {
		if err := m.scope.start(); err != nil {
			return err
		}
	}
	if m.enable != "" {
		if err := cgroups.WriteFile(filepath.Dir(m.dir), "cgroup.subtree_control", m.enable); err != nil {
			return err
		}
	}
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		return err
	}
	return cgroups.WriteCgroupProc(m.dir, pid)
}

// kill kills every process of the cgroup at once, where the kernel can (5.14).
func (m *cgroup2) kill() error {
	return cgroups.WriteFile(m.dir, "cgroup.kill", "1")
}

// Destroy removes the cgroup, with what is still in it.
func (m *cgroup2) Destroy() error {
	_ = m.kill() // gone already, or too old a kernel: then there is init's death
	err := cgroups.RemovePath(m.dir)
	if m.scope != nil {
		err = then(err, m.scope.stop())
	}
	return err
}

// newCgroup1 returns libcontainer's v1 manager, with one of its paths mended:
// on a hybrid host it makes the container's cgroup in the v2 tree at its root,
// where contain's own cgroup there no longer holds.
func newCgroup1(config *cgroups.Cgroup, paths map[string]string) (cgroups.Manager, error) {
	paths = maps.Clone(paths)
	if hybrid, ok := paths[""]; ok {
		own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
		if err != nil {
			return nil, err
		}
		paths[""] = filepath.Join(filepath.Dir(hybrid), own[""], config.Path)
	}
	return fs.NewManager(config, paths)
}

// managerOf returns where lib keeps the manager of its cgroup, to be read, or
// to be set before lib is started.
func managerOf(lib *libcontainer.Container) (*cgroups.Manager, error) {
	field := reflect.ValueOf(lib).Elem().FieldByName("cgroupManager")
	if !field.IsValid() || field.Type() != reflect.TypeFor[cgroups.Manager]() {
		return nil, errors.New("this version of libcontainer keeps its cgroup manager elsewhere")
	}
	return (*cgroups.Manager)(unsafe.Pointer(field.UnsafeAddr())), nil
}

// oomReport is what a cgroup says about its want of memory.
type oomReport struct {
	killed bool   // the kernel has killed a process of it for that
	own    bool   // for its own limit, not that of a cgroup around it or the host's
	peak   uint64 // the most memory it has used, bytes; 0: unknown (v2 before 5.19)
}

func readOOM(m cgroups.Manager) (r oomReport) {
	kills, err := m.OOMKillCount()
	if err != nil || kills == 0 {
		return r
	}
	r.killed = true
	dir := m.Path("memory")
	if cgroups.IsCgroup2UnifiedMode() {
		n, err := fscommon.GetValueByKey(dir, "memory.events", "oom")
		r.own = err == nil && n > 0
	} else {
		// memory.failcnt stays 0 in new kernels (6.18). Charges come in batches:
		// the peak need not be the limit to the byte.
		const batch = 512 << 10
		for _, counter := range []string{"memory.", "memory.memsw."} {
			limit, err1 := fscommon.GetCgroupParamUint(dir, counter+"limit_in_bytes")
			most, err2 := fscommon.GetCgroupParamUint(dir, counter+"max_usage_in_bytes")
			r.own = r.own || err1 == nil && err2 == nil && most+min(batch, limit/8) >= limit
		}
	}
	if stats, err := m.Stats(&cgroups.StatsOptions{Controllers: cgroups.Memory}); err == nil {
		r.peak = stats.MemoryStats.Usage.MaxUsage
	}
	return r
}

// comfortable is the limit below which what setting up has left matters.
const comfortable = 4 << 20

// shrink has the kernel take back from the cgroup what nobody uses any more:
// pages of ended processes, and those that each CPU holds in store for the next
// charge. It comes back when no more than goal bytes are in use, or a little
// later: some of it is freed behind the kernel's back (RCU, work queues).
// Without it 3 starts of 400 under a limit of 1 MiB failed.
func shrink(m cgroups.Manager, goal uint64) {
	dir, usage, reclaim := m.Path("memory"), "memory.usage_in_bytes", "memory.force_empty"
	if cgroups.IsCgroup2UnifiedMode() {
		usage, reclaim = "memory.current", "memory.reclaim"
	}
	for range 20 {
		_ = cgroups.WriteFile(dir, reclaim, strconv.Itoa(comfortable)) // EAGAIN: not as much as that
		if n, err := fscommon.GetCgroupParamUint(dir, usage); err != nil || n <= goal {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// forgetPeak makes the peak of the cgroup's memory its present use, on v1. (v2
// has no such thing before Linux 6.12, and needs none: see readOOM.)
func forgetPeak(m cgroups.Manager) error {
	if cgroups.IsCgroup2UnifiedMode() {
		return nil
	}
	for _, counter := range []string{"memory.", "memory.memsw."} {
		err := cgroups.WriteFile(m.Path("memory"), counter+"max_usage_in_bytes", "0")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
