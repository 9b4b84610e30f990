// The container's cgroup: made by contain's rules, limited by libcontainer's,
// and entered by the program alone, as the last thing before it is executed.
//
// libcontainer would put its init there, by pid: that waits for an RCU grace
// period (7 ms in the mean when starts are spaced as in real use), charges the
// whole set-up to the limits, and so allows none below 2 MB. Its v2 manager also
// enables every controller in every cgroup from the root down
// (fs2.CreateCgroupPath), on systemd's territory too. It offers no way to bring
// another manager, so one is put into its container object. TestManagerIsReplaced
// fails when that stops working.

package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"
	"github.com/opencontainers/cgroups/fscommon"
	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// bystander is the manager that libcontainer gets: it lets it set the limits,
// and remove the cgroup, but keeps its init out.
type bystander struct{ cgroups.Manager }

func (bystander) Apply(int) error { return nil }

// newCgroup returns the manager of a cgroup that does not exist yet.
func newCgroup(id string, h cgroupHost, config *cgroups.Cgroup) (cgroups.Manager, error) {
	var s *scope
	if h.slice != "" {
		s = &scope{unit: "contain-" + id + ".scope", slice: h.slice, controllers: systemdControllers}
	}
	if !h.v2 {
		return newCgroup1(id, h, config, s)
	}
	dir := cgroup2Dir(id, h)
	limits, err := fs2.NewManager(config, dir)
	if err != nil {
		return nil, err
	}
	if s != nil {
		s.dir = filepath.Dir(dir)
		s.controllers = strings.Fields(strings.ReplaceAll(h.enable, "+", ""))
	}
	return &cgroup2{Manager: limits, dir: dir, enable: h.enable, scope: s}, nil
}

// cgroup2 is libcontainer's v2 manager, but for making and removing.
type cgroup2 struct {
	cgroups.Manager
	dir    string // of the program's cgroup
	enable string // written to cgroup.subtree_control around it first; may be empty
	scope  *scope // nil unless systemd owns the cgroups
}

// Apply makes the cgroup and puts nothing into it. Its undo, also of half of
// it, is Destroy.
func (m *cgroup2) Apply(int) error {
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
	return os.Mkdir(m.dir, 0o755)
}

// Destroy removes the cgroup; nothing may be in it any more.
func (m *cgroup2) Destroy() error {
	err := cgroups.RemovePath(m.dir)
	if m.scope != nil {
		err = then(err, m.scope.stop())
	}
	return err
}

// cgroup1 is libcontainer's v1 manager, and systemd's scope around it.
type cgroup1 struct {
	cgroups.Manager
	scope  *scope   // nil unless systemd owns the cgroups
	around []string // the directories of the scope that systemd may not remove
}

func newCgroup1(id string, h cgroupHost, config *cgroups.Cgroup, s *scope) (cgroups.Manager, error) {
	m := &cgroup1{scope: s}
	paths := map[string]string{}
	for _, one := range h.v1 {
		dir := one.cgroup(id)
		for _, controller := range one.controllers {
			if controller == "systemd" {
				controller = "name=systemd"
			}
			paths[controller] = dir
		}
		if one.inScope {
			m.around = append(m.around, filepath.Dir(dir))
		}
	}
	limits, err := fs.NewManager(config, paths)
	m.Manager = limits
	return m, err
}

// Apply makes the cgroup in every hierarchy, and puts nothing into it. Its undo,
// also of half of it, is Destroy.
func (m *cgroup1) Apply(int) error {
	if m.scope != nil {
		if err := m.scope.start(); err != nil {
			return err
		}
	}
	return m.Manager.Apply(-1)
}

// Destroy removes the cgroup; nothing may be in it any more.
func (m *cgroup1) Destroy() error {
	err := m.Manager.Destroy()
	if m.scope != nil {
		err = then(err, m.scope.stop())
	}
	for _, dir := range m.around {
		err = then(err, cgroups.RemovePath(dir))
	}
	return err
}

// entrances opens what leads into the cgroup m. On v2 that is the directory, for
// clone3(2), or if the process that is to enter exists already, its cgroup.procs:
// that takes longer. On v1 it is the file tasks of every hierarchy. The kernel
// looks at who has opened a file, not at who writes to it.
func entrances(m cgroups.Manager, exists bool) (files []*os.File, into bool, err error) {
	var paths []string
	flags := unix.O_WRONLY
	switch g := m.(type) {
	case *cgroup2:
		if paths = []string{g.dir}; exists {
			paths = []string{filepath.Join(g.dir, "cgroup.procs")}
		} else {
			flags, into = unix.O_RDONLY|unix.O_DIRECTORY, true
		}
	default:
		for _, dir := range m.GetPaths() {
			paths = append(paths, filepath.Join(dir, "tasks"))
		}
		slices.Sort(paths)
		paths = slices.Compact(paths)
	}
	for _, path := range paths {
		f, err := os.OpenFile(path, flags, 0)
		if err != nil {
			closeAll(files)
			return nil, false, err
		}
		files = append(files, f)
	}
	return files, into, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
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
