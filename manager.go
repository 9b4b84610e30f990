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
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"
	"github.com/opencontainers/cgroups/fscommon"
	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// bystander is the manager that libcontainer gets: it lets it have the limits set,
// and remove the cgroup, but keeps its init out.
type bystander struct {
	cgroups.Manager
	resources *cgroups.Resources
}

// Apply sets the limits, beside the init's own start, instead of putting that into the
// cgroup. When libcontainer would have them set, the init waits for it: 0.3 ms.
func (b bystander) Apply(int) error {
	if err := b.Manager.Set(b.resources); err != nil {
		return fmt.Errorf("set the limits: %w", err)
	}
	return nil
}

func (bystander) Set(*cgroups.Resources) error { return nil }

// newCgroup returns the manager of a cgroup that does not exist yet.
func newCgroup(id string, h cgroupHost, config *cgroups.Cgroup) (cgroups.Manager, error) {
	var s *scope
	if h.slice != "" {
		s = &scope{unit: scopeName(id), slice: h.slice, controllers: systemdControllers}
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
		s.controllers = append(strings.Fields(strings.ReplaceAll(h.enable, "+", "")), h.wish...)
	}
	return &cgroup2{Manager: limits, dir: dir, enable: h.enable, wish: h.wish, scope: s}, nil
}

// cgroup2 is libcontainer's v2 manager, but for making and removing.
type cgroup2 struct {
	cgroups.Manager
	dir    string   // of the program's cgroup
	enable string   // written to cgroup.subtree_control around it first; may be empty
	wish   []string // controllers to enable there if possible
	scope  *scope   // nil unless systemd owns the cgroups
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
	for _, controller := range m.wish {
		_ = cgroups.WriteFile(filepath.Dir(m.dir), "cgroup.subtree_control", "+"+controller)
	}
	return os.Mkdir(m.dir, 0o755)
}

// Destroy removes the cgroup; nothing may be in it any more.
func (m *cgroup2) Destroy() error {
	err := remove(m.dir)
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

// Set sets the limits. The buffers of TCP and UDP sockets have a counter of their
// own on v1, and without a limit take from the host's: 32M of memory held 1.9 GB
// of them.
func (m *cgroup1) Set(r *cgroups.Resources) error {
	if err := m.Manager.Set(r); err != nil || r.Memory <= 0 {
		return err
	}
	err := cgroups.WriteFile(m.Path("memory"), "memory.kmem.tcp.limit_in_bytes", strconv.FormatInt(r.Memory, 10))
	if errors.Is(err, os.ErrNotExist) {
		return nil // a kernel without CONFIG_INET
	}
	return err
}

// oomEvents returns what can be read from when a process of the cgroup is about to
// be killed for want of memory, its own limit's or another's around it
// (cgroup-v1/memory.rst, "OOM Control").
func (m *cgroup1) oomEvents() (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	events := os.NewFile(uintptr(fd), "oom events")
	control, err := os.Open(filepath.Join(m.Path("memory"), "memory.oom_control"))
	if err == nil {
		defer control.Close()
		err = cgroups.WriteFile(m.Path("memory"), "cgroup.event_control", fmt.Sprintf("%d %d", fd, control.Fd()))
	}
	if err != nil {
		events.Close()
		return nil, err
	}
	return events, nil
}

// Destroy removes the cgroup; nothing may be in it any more.
func (m *cgroup1) Destroy() error {
	err := remove(slices.Sorted(maps.Values(m.GetPaths()))...)
	if m.scope != nil {
		err = then(err, m.scope.stop())
	}
	for _, dir := range m.around {
		err = then(err, cgroups.RemovePath(dir))
	}
	return err
}

// remove removes cgroups, with others that somebody has made inside. For one that is in
// use it tries for a second, and then says by which process. That is not contain's, for
// all of its own have ended: who has put it there can tell what to do about it.
func remove(dirs ...string) error {
	used := slices.DeleteFunc(slices.Compact(dirs), func(dir string) bool { return unix.Rmdir(dir) == nil })
	errs := make([]error, len(used))
	var all sync.WaitGroup
	for i, dir := range used {
		all.Go(func() { errs[i] = cgroups.RemovePath(dir) })
	}
	all.Wait()
	for i, err := range errs {
		if err == nil {
			continue
		}
		if pids, _ := cgroups.GetAllPids(used[i]); len(pids) > 0 {
			return fmt.Errorf("%s stays, for process %d is in it", quoted(used[i]), pids[0])
		}
		return err
	}
	return nil
}

// thaw resumes what somebody has frozen, in dir, a cgroup of v1's freezer, or below: it
// could not even die. On v2 it can.
func thaw(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = cgroups.WriteFile(path, "freezer.state", "THAWED")
		}
		return nil
	})
}

// doors are the descriptors that lead into the cgroup. The kernel looks at who
// has opened them, not at who uses them.
type doors struct {
	files []*os.File
	into  bool // the first is a v2 directory, for clone3(2); else "0" is written to them
	first int  // v1: to so many of them by pid1 itself, which is to take no CPU from others
}

// openDoors opens the doors of m. On v2 that is the directory, or if the process
// that is to enter exists already, its cgroup.procs: that takes longer. On v1 it
// is the file tasks of every hierarchy.
func openDoors(m cgroups.Manager, exists bool) (d doors, err error) {
	var paths []string
	flags := unix.O_WRONLY
	switch g := m.(type) {
	case *cgroup2:
		if paths = []string{g.dir}; exists {
			paths = []string{filepath.Join(g.dir, "cgroup.procs")}
		} else {
			flags, d.into = unix.O_RDONLY|unix.O_DIRECTORY, true
		}
	case *cgroup1:
		paths, d.first = g.tasks()
	}
	for _, path := range paths {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0) // nobody waits for them, as os would
		if err != nil {
			closeAll(d.files)
			return doors{}, &os.PathError{Op: "open", Path: path, Err: err}
		}
		d.files = append(d.files, os.NewFile(uintptr(fd), path))
	}
	return d, nil
}

// tasks returns the file tasks of every hierarchy, and how many of them, at the
// start, are not those of memory and pids: what pid1 takes of these is not the
// program's.
func (m *cgroup1) tasks() (paths []string, first int) {
	var last []string
	dirs := m.GetPaths()
	for _, controller := range slices.Sorted(maps.Keys(dirs)) {
		file := filepath.Join(dirs[controller], "tasks")
		switch {
		case slices.Contains(paths, file) || slices.Contains(last, file):
		case dirs[controller] == dirs["memory"] || dirs[controller] == dirs["pids"]:
			last = append(last, file)
		default:
			paths = append(paths, file)
		}
	}
	return append(paths, last...), len(paths)
}

// cgroupDirs returns all directories of m, inner ones first.
func cgroupDirs(m cgroups.Manager) (dirs []string) {
	switch g := m.(type) {
	case *cgroup2:
		dirs = []string{g.dir}
		if g.scope != nil {
			dirs = append(dirs, g.scope.dir)
		}
	case *cgroup1:
		dirs = append(slices.Compact(slices.Sorted(maps.Values(g.GetPaths()))), g.around...)
	}
	return dirs
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

// lift lifts the limits of m that make processes wait: of CPU time, and of these disks.
// Nothing can be done about a failure.
func lift(m cgroups.Manager, disks []ioLimit) {
	write := func(dir, file, value string) {
		if dir != "" {
			_ = cgroups.WriteFile(dir, file, value)
		}
	}
	if g, ok := m.(*cgroup2); ok {
		write(g.dir, "cpu.max", "max")
		for _, d := range disks {
			write(g.dir, "io.max", fmt.Sprintf("%d:%d rbps=max wbps=max riops=max wiops=max", unix.Major(d.number), unix.Minor(d.number)))
		}
		return
	}
	write(m.Path("cpu"), "cpu.cfs_quota_us", "-1")
	for _, d := range disks {
		for _, file := range []string{"read_bps", "write_bps", "read_iops", "write_iops"} {
			write(m.Path("blkio"), "blkio.throttle."+file+"_device", fmt.Sprintf("%d:%d 0", unix.Major(d.number), unix.Minor(d.number)))
		}
	}
}

// oomReport is what a cgroup says about its want of memory.
type oomReport struct {
	kills uint64 // how many of its processes the kernel has killed for that
	own   bool   // for its own limit, not that of a cgroup around it or the host's
	peak  uint64 // the most memory it has used, bytes; 0: unknown (v2 before 5.19)
}

// ownLimit tells for one of two counters of v1's memory controller, whose files begin
// with its name, what peak says that its limit was reached. memory.failcnt stays 0 in new
// kernels (6.18). Charges come in batches: the peak need not be the limit to the byte.
func ownLimit(dir, counter string) (uint64, error) {
	const batch = 512 << 10
	limit, err := fscommon.GetCgroupParamUint(dir, counter+"limit_in_bytes")
	return limit - min(batch, limit/8), err
}

// memoryCounters1 are those counters.
var memoryCounters1 = [2]string{"memory.", "memory.memsw."}

func readOOM(m cgroups.Manager) (r oomReport) {
	kills := oomKills(m)
	if kills == nil || *kills == 0 {
		return r
	}
	r.kills = *kills
	dir := m.Path("memory")
	if cgroups.IsCgroup2UnifiedMode() {
		n, err := fscommon.GetValueByKey(dir, "memory.events", "oom")
		r.own = err == nil && n > 0
	} else {
		for _, counter := range memoryCounters1 {
			full, err1 := ownLimit(dir, counter)
			most, err2 := fscommon.GetCgroupParamUint(dir, counter+"max_usage_in_bytes")
			r.own = r.own || err1 == nil && err2 == nil && most >= full
		}
	}
	if stats, err := m.Stats(&cgroups.StatsOptions{Controllers: cgroups.Memory}); err == nil {
		r.peak = stats.MemoryStats.Usage.MaxUsage
	}
	return r
}
