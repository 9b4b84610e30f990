// Whether a tool really does the job: seen from outside while its program runs, and by
// what is there afterwards. And what it does beyond the job, or not: those are the
// differences between the tools.

package main

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// facts are what was seen of a tool's program.
type facts struct {
	Namespaces  []string // other ones than this process's
	Hierarchies int      // in which it is in another cgroup
	Seccomp     bool
	NoNewPrivs  bool
	Caps        int
	Mounts      int     // it sees
	Devices     int     // entries of /dev
	Masked      bool    // /proc/kcore is not the kernel's
	Processes   int     // of the tool's own, beside it
	Kept        string  // what the first run has made, and no run removes
	GoneAfter   float64 // milliseconds from the end
	GoneLast    string
}

// isGone is how long what a tool has left may take to go; what its first run has made and
// what is there after isKept stays for good.
const isGone, isKept = 10 * time.Second, 2 * time.Second

// check has the row do its job a few times. The error says in what it falls short.
func (w *world) check(r *row) (f facts, err error) {
	before, err := w.state()
	if err != nil {
		return f, err
	}
	if _, err := w.measured(r); err != nil {
		return f, err
	}
	// What a tool makes once and keeps does not count as left.
	if _, _, err := w.settled(r, before, isKept); err != nil {
		return f, err
	}
	first, err := w.state()
	if err != nil {
		return f, err
	}
	if one, err := w.once(r, "/bin/sh", "-c", "exit 7"); err != nil {
		return f, err
	} else if one.code != 7 {
		return f, fmt.Errorf("its status is %d when the program's is 7", one.code)
	}
	one, err := w.startResident(r)
	if err != nil {
		return f, err
	}
	err = w.look(r, one, &f)
	if err = errors.Join(err, w.endAll([]resident{one})); err != nil {
		return f, err
	}
	if _, err := w.measured(r); err != nil {
		return f, err
	}
	left, gone, err := w.settled(r, first, isGone)
	if err == nil && gone == 0 {
		err = fmt.Errorf("leaves %s", strings.Join(left, ", "))
	} else if err != nil {
		return f, err
	}
	f.GoneAfter, f.GoneLast = milliseconds(gone), strings.Join(summary(left), ", ")
	now, stateErr := w.state()
	f.Kept = strings.ReplaceAll(strings.Join(summary(without(now, before)), ", "), w.dir, "DIR")
	return f, errors.Join(err, stateErr)
}

// settled waits until nothing of the row's is there that was not before, and returns how
// long that took, and what went last; or 0, and what is there still.
func (w *world) settled(r *row, before []string, patience time.Duration) (last []string, gone time.Duration, err error) {
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		now, err := w.state()
		if err != nil {
			return nil, 0, err
		}
		more := slices.DeleteFunc(without(now, before), func(s string) bool {
			return r.tool.keeps != "" && strings.HasPrefix(s, "file "+r.tool.keeps)
		})
		if len(more) == 0 {
			return last, time.Since(begin), nil
		}
		if last = more; time.Since(begin) > patience {
			return last, 0, nil
		}
	}
}

// summary names the first few of what was left, and says how many there are.
func summary(left []string) []string {
	const few = 2
	if len(left) > few {
		return append(slices.Clone(left[:few]), fmt.Sprintf("%d more", len(left)-few))
	}
	return left
}

// look checks the program of a resident from outside.
func (w *world) look(r *row, one resident, f *facts) error {
	if len(one.programs) != 1 {
		return fmt.Errorf("%d processes are its program", len(one.programs))
	}
	pid := one.programs[0]
	f.Processes = len(descendants()) - 1
	for _, kind := range []string{"mnt", "pid", "ipc", "uts", "net", "cgroup", "time", "user"} {
		own, _ := os.Readlink("/proc/self/ns/" + kind)
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err == nil && own != theirs {
			f.Namespaces = append(f.Namespaces, kind)
		}
	}
	for _, kind := range []string{"mnt", "pid", "ipc", "uts", "net"} {
		if !slices.Contains(f.Namespaces, kind) {
			return fmt.Errorf("no %s namespace of its own", kind)
		}
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/etc/passwd", pid)); err == nil {
		return errors.New("no root of its own")
	}
	for _, step := range []func() error{
		func() error { return w.lookAtCgroup(pid, f) },
		func() error { return lookAtNetwork(pid, one.address) },
		func() error { return lookAtPrivileges(pid, f) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// lookAtCgroup reads the limits of the program's own cgroup.
func (w *world) lookAtCgroup(pid int, f *facts) error {
	own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	theirs, err := cgroups.ParseCgroupFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return err
	}
	for _, h := range w.cgroups {
		controller := strings.TrimPrefix(h.controller, "unified")
		if controller == "systemd" {
			controller = "name=systemd"
		}
		if theirs[controller] != own[controller] {
			f.Hierarchies++
		}
	}
	limits := []struct{ controller, file, want string }{
		{"memory", "memory.limit_in_bytes", strconv.Itoa(memoryLimit)}, {"cpuset", "cpuset.cpus", w.cpus},
	}
	if w.unified {
		limits[0].file = "memory.max"
	}
	for _, l := range limits {
		i := slices.IndexFunc(w.cgroups, func(h hierarchy) bool { return h.controller == l.controller || h.controller == "unified" })
		if i < 0 {
			return fmt.Errorf("this machine has no hierarchy for %s", l.controller)
		}
		h := w.cgroups[i]
		text, err := os.ReadFile(filepath.Join(h.dir, theirs[strings.TrimPrefix(h.controller, "unified")], l.file))
		if err != nil {
			return err
		}
		if got := strings.TrimSpace(string(text)); got != l.want {
			return fmt.Errorf("%s is %s, not %s", l.file, got, l.want)
		}
	}
	return nil
}

// lookAtNetwork looks into the program's network namespace.
func lookAtNetwork(pid int, address string) error {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return err
	}
	loop := slices.ContainsFunc(links, func(l netlink.Link) bool {
		return l.Attrs().Name == "lo" && l.Attrs().RawFlags&unix.IFF_UP != 0
	})
	if !loop {
		return errors.New("its lo is not up")
	}
	if address == "" {
		if len(links) != 1 {
			return fmt.Errorf("has %d interfaces, not only lo", len(links))
		}
		return nil
	}
	addresses, err := h.AddrList(nil, unix.AF_INET)
	if err != nil {
		return err
	}
	has := slices.ContainsFunc(addresses, func(a netlink.Addr) bool { return a.IPNet.String() == address })
	routes, err := h.RouteList(nil, unix.AF_INET)
	if err != nil {
		return err
	}
	leads := slices.ContainsFunc(routes, func(r netlink.Route) bool {
		return strings.HasSuffix(r.Gw.String(), ".0.1") && (r.Dst == nil || r.Dst.String() == "0.0.0.0/0")
	})
	if !has || !leads {
		return fmt.Errorf("has the address: %v, the default route: %v", has, leads)
	}
	return nil
}

// lookAtPrivileges notes what surrounds the program.
func lookAtPrivileges(pid int, f *facts) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		switch name {
		case "Seccomp":
			f.Seccomp = value == "2"
		case "NoNewPrivs":
			f.NoNewPrivs = value == "1"
		case "CapEff":
			set, err := strconv.ParseUint(value, 16, 64)
			if err != nil {
				return err
			}
			f.Caps = bits.OnesCount64(set)
		}
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return err
	}
	f.Mounts = strings.Count(string(mounts), "\n")
	f.Masked = strings.Contains(string(mounts), " /proc/kcore ")
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/root/dev", pid))
	f.Devices = len(entries)
	return nil
}
