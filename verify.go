// What was made of the program's process is compared with what was asked for, from
// outside, while it waits to be executed, and its mounts while the init becomes pid1.
// With -userns libcontainer makes the mounts, and skips a mask that it does not find: who
// can rename directories in DIR gets /proc without one, or none at all.

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/runc/libcontainer/configs"
)

// lookAtMounts begins to compare the mounts, beside what the init does to become pid1:
// all are made by then, and nobody else runs there. That is the half of what
// verify takes.
func (c *container) lookAtMounts(init int) <-chan error {
	seen := make(chan error, 1)
	go c.guard(func() {
		defer close(seen)
		seen <- c.verifyMounts(fmt.Sprintf("/proc/%d/", init))
	})
	return seen
}

// verify reports a difference between the process pid, which waits to become the
// program, and what it should be. It runs in contain's namespaces, and needs to see
// into the process (CAP_SYS_PTRACE).
func (c *container) verify(pid, init int, mounts <-chan error) error {
	sees := func(proc string) error { return c.verifySame(proc, fmt.Sprintf("/proc/%d/", init)) }
	for _, look := range []func(proc string) error{c.verifyCredentials, c.verifyNamespaces, c.verifyCgroup, sees, seen(mounts)} {
		err := look(fmt.Sprintf("/proc/%d/", pid))
		if isGone(err) {
			c.kill() // it should be dead
			return errGone
		} else if err != nil {
			return fmt.Errorf("the container is not as it should be: %w", err)
		}
	}
	return nil
}

// seen waits for what lookAtMounts has found.
func seen(mounts <-chan error) func(string) error {
	return func(string) error {
		err, compared := <-mounts
		if !compared {
			err = errors.New("its mounts were not compared") // a panic
		}
		return err
	}
}

// errGone says that the process has been killed, which wait tells more of.
var errGone = errors.New("the program's process is not there any more")

func (c *container) verifyCredentials(proc string) error {
	data, err := os.ReadFile(proc + "status")
	if err != nil {
		return err
	}
	status, t := string(data), c.task
	set := func(s capSet) string { return fmt.Sprintf("%016x", uint64(s)) }
	own, mode, noNewPrivs := t.caps, "2", "1"
	if t.user.uid != 0 {
		own = 0
	}
	if len(t.filter) == 0 {
		mode = c.own.seccomp
	}
	if t.newPrivs {
		noNewPrivs = "0"
	}
	if err := c.verifyFilters(status); err != nil {
		return err
	}
	four := func(id uint32) string { return fmt.Sprintf("%[1]d\t%[1]d\t%[1]d\t%[1]d", c.ids.first+id) }
	for _, f := range []struct{ name, want string }{
		{"Uid", four(t.user.uid)}, {"Gid", four(t.user.gid)}, {"Groups", ""},
		{"CapInh", set(0)}, {"CapPrm", set(own)}, {"CapEff", set(own)}, {"CapBnd", set(t.caps)}, {"CapAmb", set(0)},
		{"NoNewPrivs", noNewPrivs}, {"Seccomp", mode},
	} {
		if got, err := statusField(status, f.name); err != nil || got != f.want {
			return then(fmt.Errorf("%s is %q, not %q", f.name, got, f.want), err)
		}
	}
	return nil
}

// verifyFilters makes sure that the process has one filter more than contain, which may
// have some itself, of a container around it. (Linux 5.9 tells.)
func (c *container) verifyFilters(status string) error {
	now, err := statusField(status, "Seccomp_filters")
	if err != nil || c.own.filters < 0 {
		return nil
	}
	want := c.own.filters
	if len(c.task.filter) > 0 {
		want++
	}
	if now != strconv.Itoa(want) {
		return fmt.Errorf("it has %s system call filters, not %d", now, want)
	}
	return nil
}

// verifyNamespaces makes sure that each is new, or the one to be joined.
func (c *container) verifyNamespaces(proc string) error {
	kinds := []string{"cgroup"}
	for _, ns := range c.config.Namespaces {
		kinds = append(kinds, configs.NsName(ns.Type))
	}
	for _, kind := range kinds {
		program, err := os.Readlink(proc + "ns/" + kind)
		if err != nil {
			return err
		}
		path := c.config.Namespaces.PathOf(configs.NamespaceType("NEW" + strings.ToUpper(kind)))
		if path == "" {
			own, err := os.Readlink("/proc/self/ns/" + kind)
			if err == nil && own == program {
				err = fmt.Errorf("its %s namespace is the host's", kind)
			}
			if err != nil {
				return err
			}
			continue
		}
		there, err := os.Stat(path)
		if err != nil {
			return err
		}
		if got, err := os.Stat(proc + "ns/" + kind); err != nil || !os.SameFile(there, got) {
			return then(fmt.Errorf("its %s namespace is not that of %s", kind, path), err)
		}
	}
	return nil
}

// verifyCgroup makes sure that the process is in the run's cgroups, by their name: of
// every hierarchy with controllers, or the one of v2.
func (c *container) verifyCgroup(proc string) error {
	data, err := os.ReadFile(proc + "cgroup")
	if err != nil {
		return err
	}
	_, v2 := c.cgroup.(*cgroup2)
	name, compared := "/contain-"+c.id, false
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // cgroups(7)
		if len(fields) != 3 || fields[1] == "" && !v2 || strings.HasPrefix(fields[1], "name=") || !c.wasJoined(fields[1]) {
			continue
		}
		compared = true
		within := strings.HasSuffix(fields[2], name) || strings.HasSuffix(fields[2], name+".scope/program")
		if !within && (v2 || !strings.HasSuffix(fields[2], name+".scope")) {
			return fmt.Errorf("its cgroup is %s", quoted(fields[2]))
		}
	}
	if !compared {
		return errors.New("it is in no cgroup")
	}
	return nil
}

// wasJoined tells whether the run has a cgroup with any of these controllers.
func (c *container) wasJoined(controllers string) bool {
	paths := c.cgroup.GetPaths()
	for name := range strings.SplitSeq(controllers, ",") {
		if _, ok := paths[name]; ok {
			return true
		}
	}
	return false
}

// wantedMount is a mount that the program must see.
type wantedMount struct {
	at      string
	fs      string // "": any
	root    string // in that file system; "": any
	options []string
}

// wantedMounts lists those of the configuration. What this kernel has not cannot be
// masked: the host's /proc and /sys show it too.
func wantedMounts(config *configs.Config) (list []wantedMount) {
	for _, m := range config.Mounts {
		w := wantedMount{at: m.Destination, fs: m.Device, options: mountOptions(m.Flags)}
		if m.Device == "bind" {
			w.fs = ""
		}
		list = append(list, w)
	}
	for _, path := range config.ReadonlyPaths {
		if _, err := os.Lstat(path); err == nil {
			// Not of another directory that was called /proc when libcontainer looked.
			list = append(list, wantedMount{at: path, fs: "proc", root: strings.TrimPrefix(path, "/proc"), options: []string{"ro"}})
		}
	}
	null := "tmpfs" // /dev, where the program's own is
	if config.Namespaces.Contains(configs.NEWUSER) {
		null = "" // no devices can be made: the host's are mounted
		for _, d := range config.Devices {
			list = append(list, wantedMount{at: d.Path}) // a symbolic link leads elsewhere
		}
	}
	for _, path := range config.MaskPaths {
		switch info, err := os.Lstat(path); {
		case err != nil:
		case info.IsDir():
			list = append(list, wantedMount{at: path, fs: "tmpfs", root: "/", options: []string{"ro"}})
		default:
			list = append(list, wantedMount{at: path, fs: null, root: "/null"})
		}
	}
	return list
}

// verifySame makes sure that a process sees DIR, and the mounts of the init.
func (c *container) verifySame(proc, init string) error {
	dir, err := c.rootfs.dir.Stat()
	if err != nil {
		return err
	}
	if root, err := os.Stat(proc + "root"); err != nil || !os.SameFile(dir, root) {
		return then(errors.New("its root is not DIR"), err)
	}
	own, err := os.Readlink(proc + "ns/mnt")
	if err != nil {
		return err
	}
	if inits, err := os.Readlink(init + "ns/mnt"); err != nil || own != inits {
		return then(errors.New("its mount namespace is not the init's"), err)
	}
	return nil
}

// verifyMounts makes sure that in DIR is mounted what is to be, and nothing else but
// DIR's own mounts.
func (c *container) verifyMounts(proc string) error {
	table, err := readMounts(proc + "mountinfo")
	if err != nil {
		return err
	}
	mounts, err := c.wanted()
	if err != nil {
		return err
	}
	wanted := map[int]bool{}
	for _, w := range mounts {
		m := table.at(w.at)
		switch {
		case m == nil || m.Mountpoint != w.at, w.fs != "" && m.FSType != w.fs, w.root != "" && m.Root != w.root:
			return fmt.Errorf("%s is not mounted over as it should be", w.at)
		case w.fs == "proc" && m.Minor != table.at("/proc").Minor:
			return fmt.Errorf("%s is of another procfs", w.at)
		}
		options := strings.Split(m.Options, ",")
		for _, o := range w.options {
			if !slices.Contains(options, o) {
				return fmt.Errorf("%s is not mounted %s", w.at, o)
			}
		}
		wanted[m.ID] = true
	}
	if root := table.root(); root != nil {
		wanted[root.ID] = true
	}
	return c.verifyOthers(table, wanted)
}

// verifyOthers makes sure that every mount but the wanted ones is one of DIR's own, or
// a file of contain's.
func (c *container) verifyOthers(table mountTable, wanted map[int]bool) error {
	var host mountTable
	dir := ""
	for _, m := range table {
		if wanted[m.ID] || m.FSType == "tmpfs" && slices.Contains(ownFiles[:], "/etc"+m.Root) {
			continue
		}
		if host == nil {
			var err error
			if host, err = readMounts("/proc/self/mountinfo"); err != nil {
				return err
			}
			// An error: it is deeper than a path can be long, and the end must do.
			dir, _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", c.rootfs.dir.Fd()))
		}
		there := filepath.Join(dir, m.Mountpoint)
		if !slices.ContainsFunc(host, func(h *mountinfo.Info) bool {
			return (h.Mountpoint == there || dir == "" && strings.HasSuffix(h.Mountpoint, there)) && h.Major == m.Major && h.Minor == m.Minor && h.Root == m.Root
		}) {
			return fmt.Errorf("something is mounted on %s (%s)", quoted(m.Mountpoint), m.FSType)
		}
	}
	return nil
}

// mountTable is what proc_pid_mountinfo(5) shows.
type mountTable []*mountinfo.Info

func readMounts(path string) (mountTable, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountinfo.GetMountsFromReader(f, nil)
}

// root returns the mount on / that no other is mounted on.
func (t mountTable) root() *mountinfo.Info {
	at := slices.IndexFunc(t, func(m *mountinfo.Info) bool {
		return m.Mountpoint == "/" && !slices.ContainsFunc(t, func(p *mountinfo.Info) bool { return p.ID == m.Parent })
	})
	if at < 0 {
		return nil
	}
	return t[at]
}

// at returns the mount in which a path without symbolic links lies: from the root on,
// each mount that lies on the way hides what is behind it.
func (t mountTable) at(path string) *mountinfo.Info {
	m := t.root()
	for m != nil {
		var next *mountinfo.Info
		for _, child := range t {
			covers := child.Mountpoint == path || child.Mountpoint == "/" || strings.HasPrefix(path, child.Mountpoint+"/")
			if child.Parent == m.ID && child != m && covers && (next == nil || len(child.Mountpoint) < len(next.Mountpoint)) {
				next = child
			}
		}
		if next == nil {
			return m
		}
		m = next
	}
	return nil
}
