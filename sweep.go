// What contains that were killed have left: the kernel ends their processes and network
// namespaces, but not cgroups and state entries, nor a veth whose network namespace
// somebody holds. The next start removes them, and "contain gc".
//
// Whose a state entry is a lock on it says, held for life (flock(2)): never an age or a
// pid. Nothing in an entry is believed but the names of cgroups, and only those that
// hold the entry's own id. An entry is there before its cgroup and goes after all that
// it speaks of; it stays where that cannot be seen, and with it the knowledge.

package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/systemd"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// madeName is a file in a state entry that says what the run has made.
const madeName = "made"

// made is what a run has made, as its state entry says.
type made struct {
	cgroups  []string // directories, inner ones first
	cgroupns string   // in which that is where they are, as ns(7) spells it
	netns    string   // of a veth's host end; "": there is none
}

// isEntryFile tells whether a state entry can hold a file of that name: contain's own, or
// libcontainer's.
func isEntryFile(name string) bool {
	return name == madeName || name == "state.json" || name == "exec.fifo" || strings.HasPrefix(name, "state-")
}

// errSwept says that somebody has removed an entry that was not locked yet.
var errSwept = errors.New("the state entry does not stay")

// takeEntry makes a state entry this process's, until the file is closed. It returns
// errSwept if another has taken it to remove it.
func takeEntry(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, errSwept
	} else if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	if err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		err = errSwept
	}
	if err == nil {
		opened, err1 := f.Stat()
		there, err2 := os.Lstat(path)
		if err1 != nil || err2 != nil || !os.SameFile(opened, there) {
			err = errSwept
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// note writes into a state entry what the run makes. (The name of a cgroup holds no
// newline, cgroup_mkdir in kernel/cgroup/cgroup.c.)
func (m made) note(entry *os.File) error {
	text := "cgroupns " + m.cgroupns + "\n"
	if m.netns != "" {
		text += "netns " + m.netns + "\n"
	}
	for _, dir := range m.cgroups {
		text += "cgroup " + dir + "\n"
	}
	return os.WriteFile(filepath.Join(entry.Name(), madeName), []byte(text), 0o600)
}

// noted reads it. Whatever else is found there is passed over.
func noted(entry *os.File) (m made) {
	const most = 64 << 10
	fd, err := unix.Openat(int(entry.Fd()), madeName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return m
	}
	f := os.NewFile(uintptr(fd), madeName)
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, most))
	id := filepath.Base(entry.Name())
	for line := range strings.Lines(string(text)) {
		switch what, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); {
		case what == "cgroupns":
			m.cgroupns = value
		case what == "netns":
			m.netns = value
		case what == "cgroup" && isCgroupOf(value, id):
			m.cgroups = append(m.cgroups, value)
		}
	}
	return m
}

// ownNamespace is the name of contain's own namespace of a kind: cgroup, net.
func ownNamespace(kind string) string {
	name, _ := os.Readlink("/proc/self/ns/" + kind)
	return name
}

// isCgroupOf tells whether dir can be the cgroup of the container id, see
// hierarchy.cgroup and cgroup2Dir. That it is a cgroup at all is for removeCgroup to see.
func isCgroupOf(dir, id string) bool {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
		return false
	}
	own, scope := "contain-"+id, scopeName(id)
	base, around := filepath.Base(dir), filepath.Base(filepath.Dir(dir))
	return base == own || base == scope || base == "program" && around == scope
}

// isID tells whether s can be what newID returns.
func isID(s string) bool { return len(s) == 8 && strings.Trim(s, digits+"abcdef") == "" }

// sweeper removes what the dead have left.
type sweeper struct {
	dir     string            // of the state entries
	unheld  []string          // files of locks there of which this process holds none
	limit   time.Time         // when to leave the rest for the next; zero: never
	wait    time.Duration     // for processes of one entry to end
	removed func(what string) // is told of each thing
}

// sweep looks through all entries. Those whose owner lives, or that another sweeper has,
// are passed over; those of which not all could be removed stay.
func (s sweeper) sweep() error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var failed []error
	for _, e := range entries {
		if !s.limit.IsZero() && time.Now().After(s.limit) {
			break
		}
		if e.IsDir() && isID(e.Name()) {
			if err := s.sweepEntry(filepath.Join(s.dir, e.Name())); err != nil {
				failed = append(failed, err)
			}
		}
	}
	for _, name := range s.unheld {
		if path := filepath.Join(s.dir, name); removeUnused(path) {
			s.removed(path)
		}
	}
	switch {
	case err != nil || len(failed) == 0:
		return err
	case len(failed) > 1:
		return fmt.Errorf("%w (and %d more)", failed[0], len(failed)-1)
	}
	return failed[0]
}

func (s sweeper) sweepEntry(path string) error {
	entry, err := takeEntry(path)
	if errors.Is(err, errSwept) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	} else if err != nil {
		return fmt.Errorf("state entry %s: %w", quoted(path), err)
	}
	defer entry.Close()
	files, err := entry.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("state entry %s: %w", quoted(path), reason(err))
	}
	if slices.ContainsFunc(files, func(name string) bool { return !isEntryFile(name) }) {
		return nil // somebody else's directory
	}
	id, made := filepath.Base(path), noted(entry)
	if made.cgroupns != "" && made.cgroupns != ownNamespace("cgroup") {
		return fmt.Errorf("state entry %s: its cgroup is that of another cgroup namespace", quoted(path))
	}
	if err := s.removeCgroups(slices.Clone(made.cgroups)); err != nil {
		return err
	}
	if err := stopScope(id, made.cgroups); err != nil {
		return err
	}
	if err := s.removeHostEndIn(made.netns, hostVethOf(id)); err != nil {
		return err
	}
	for _, name := range files {
		if err := unix.Unlinkat(int(entry.Fd()), name, 0); err != nil {
			return fmt.Errorf("remove %s: %w", quoted(filepath.Join(path, name)), err)
		}
	}
	if err := unix.Rmdir(path); err != nil {
		return fmt.Errorf("remove state entry %s: %w", quoted(path), err)
	}
	s.removed(path)
	return nil
}

// removeCgroups removes the cgroup of a container, once its processes have ended: it
// ends them, if they outlive their contain. Others' processes it does not wait for.
func (s sweeper) removeCgroups(dirs []string) error {
	for until := time.Now().Add(s.wait); ; time.Sleep(cgroupEmpties) {
		var err error
		dirs = slices.DeleteFunc(dirs, func(dir string) bool {
			failed := s.removeCgroup(dir)
			err = cmp.Or(err, failed)
			return failed == nil
		})
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		for _, dir := range dirs {
			thaw(dir)
			if stranger := killIn(dir); stranger != 0 {
				err = fmt.Errorf("cgroup %s stays, for process %d, which is not the program's, is in it", quoted(dir), stranger)
			}
		}
		if !errors.Is(err, unix.EBUSY) || !time.Now().Before(until) {
			return err
		}
	}
}

// stopScope stops the scope that the container's cgroup was in, if it was in one. It ends
// with its last process, but not one whose only process, the keeper, was ending when
// systemd put it there: that one stays for ever.
func stopScope(id string, dirs []string) error {
	scoped := slices.ContainsFunc(dirs, func(dir string) bool { return filepath.Base(dir) == scopeName(id) })
	if !scoped || !systemd.IsRunningSystemd() {
		return nil
	}
	return stopUnit(scopeName(id))
}

// removeCgroup removes a cgroup with those in it. That it is not there is no error, if
// its hierarchy is.
func (s sweeper) removeCgroup(dir string) error {
	there, seen := dir, unix.Statfs_t{}
	err := unix.Statfs(there, &seen)
	for errors.Is(err, unix.ENOENT) && there != "/" {
		there = filepath.Dir(there)
		err = unix.Statfs(there, &seen)
	}
	switch {
	case err != nil:
		return fmt.Errorf("cgroup %s: %w", quoted(dir), err)
	case seen.Type != unix.CGROUP_SUPER_MAGIC && seen.Type != unix.CGROUP2_SUPER_MAGIC:
		return fmt.Errorf("cgroup %s cannot be seen: no cgroups are mounted there", quoted(dir))
	case there != dir:
		return nil
	}
	err = unix.Rmdir(dir)
	if errors.Is(err, unix.EBUSY) {
		for _, inner := range cgroupsIn(dir) {
			if err := s.removeCgroup(inner); err != nil {
				return err
			}
		}
		err = unix.Rmdir(dir)
	}
	if err == nil {
		s.removed(dir)
	} else if !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove cgroup %s: %w", quoted(dir), err)
	}
	return nil
}

// cgroupsIn returns the cgroups directly in one, but for other containers', which have
// entries of their own.
func cgroupsIn(dir string) (inner []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		id, ours := strings.CutPrefix(strings.TrimSuffix(e.Name(), ".scope"), "contain-")
		if e.IsDir() && !(ours && isID(id)) {
			inner = append(inner, filepath.Join(dir, e.Name()))
		}
	}
	return inner
}

// killIn kills the processes of a container in its cgroup dir, and in those in it: all
// there that are in a PID namespace inside of this process's. Others somebody has put
// there: it returns one of them, or 0.
func killIn(dir string) (stranger int) {
	for _, inner := range cgroupsIn(dir) {
		stranger = cmp.Or(killIn(inner), stranger)
	}
	pids, _ := cgroups.GetPids(dir)
	found := map[int]int{} // a pidfd of each
	for _, pid := range pids {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			found[pid] = fd
		}
	}
	// Who is still there has not ended: its pid was not another's. (/proc/PID/cgroup
	// would not tell of one whose first thread has ended.)
	pids, _ = cgroups.GetPids(dir)
	for pid, fd := range found {
		switch {
		case !slices.Contains(pids, pid):
		case isInside(pid):
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		default:
			stranger = pid
		}
		unix.Close(fd)
	}
	return stranger
}

// isInside tells whether a process is in a PID namespace inside of contain's.
func isInside(pid int) bool {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return len(strings.Fields(numbers)) > 1
		}
	}
	return false
}

// removeHostEndIn removes the host end of a veth that was made in a netns. In another than
// contain's own it cannot; then the entry stays as long as there is that namespace.
func (s sweeper) removeHostEndIn(netns, name string) error {
	switch {
	case netns == "":
		return nil
	case netns == ownNamespace("net"):
		return s.removeHostEnd(name)
	case isInUse(netns):
		return fmt.Errorf("interface %s may be left in another network namespace, %s: contain gc there removes it", name, oneLine(netns))
	}
	return nil
}

// isInUse tells whether a thread is in a netns, or it has a name of ip-netns(8)'s.
func isInUse(netns string) bool {
	processes, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*/ns/net")
	if slices.ContainsFunc(processes, func(path string) bool {
		name, err := os.Readlink(path)
		return err == nil && name == netns
	}) {
		return true
	}
	named, _ := filepath.Glob("/run/netns/*")
	return slices.ContainsFunc(named, func(path string) bool {
		var st unix.Stat_t
		return unix.Stat(path, &st) == nil && fmt.Sprintf("net:[%d]", st.Ino) == netns
	})
}

// removeHostEnd removes the host end of a veth whose contain is dead. It is there only
// if somebody holds the program's network namespace.
func (s sweeper) removeHostEnd(name string) error {
	link, err := netlink.LinkByName(name)
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) || err == nil && !isHostEnd(link) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if errors.Is(err, unix.ENODEV) { // its namespace has ended meanwhile
		return nil
	} else if err != nil {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	s.removed("interface " + name)
	return nil
}

func isHostEnd(link netlink.Link) bool {
	return link.Type() == "veth" && bytes.Equal(link.Attrs().HardwareAddr, hostMAC)
}

// sweepInterfaces removes host ends that no entry names: of programs so short that their
// contain could not see that their network namespace was held. It has set them down.
// Others that are down go by themselves within a moment.
func (s sweeper) sweepInterfaces() error {
	left, err := deadHostEnds()
	if err != nil || len(left) == 0 {
		return err
	}
	time.Sleep(2 * netnsIsHeld)
	again, err := deadHostEnds()
	for _, name := range again {
		if slices.Contains(left, name) {
			err = then(err, s.removeHostEnd(name))
		}
	}
	return err
}

// deadHostEnds lists those that are down, and whose other end is in a netns that no
// process is in.
func deadHostEnds() (names []string, err error) {
	links, err := unchanged(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	var used []int
	for _, link := range links {
		attrs := link.Attrs()
		id, ours := strings.CutPrefix(attrs.Name, hostVethOf(""))
		if !ours || !isID(id) || !isHostEnd(link) || attrs.Flags&net.FlagUp != 0 {
			continue
		}
		if used == nil {
			used = netnsInUse()
		}
		if !slices.Contains(used, attrs.NetNsID) {
			names = append(names, attrs.Name)
		}
	}
	return names, nil
}

// netnsInUse returns the netns that threads are in, by the numbers that contain's own
// has given them.
func netnsInUse() (ids []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*/ns/net")
	seen := map[string]bool{}
	for _, path := range paths {
		name, err := os.Readlink(path)
		if err != nil || seen[name] {
			continue
		}
		seen[name] = true
		if f, err := os.Open(path); err == nil {
			if id, err := netlink.GetNetNsIdByFd(int(f.Fd())); err == nil {
				ids = append(ids, id)
			}
			f.Close()
		}
	}
	return ids
}

// collectGarbage is "contain gc": it removes what dead contains have left, and says what.
func collectGarbage(stateDir string, stdout io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("must be run as root")
	}
	dir, err := filepath.Abs(stateDir)
	if err == nil {
		_, err = os.Lstat(dir)
	}
	switch {
	case err == nil:
		dir, err = makeStateDir(dir)
	case errors.Is(err, os.ErrNotExist) && stateDir == defaultStateDir:
		return nil
	}
	if err != nil {
		return fmt.Errorf("-state-dir %s: %w", quoted(stateDir), reason(err))
	}
	var unwritten error
	s := sweeper{dir: dir, unheld: []string{claimsName, usersName}, wait: garbageIsBusy, removed: func(what string) {
		_, err := fmt.Fprintf(stdout, "removed %s\n", oneLine(what))
		unwritten = cmp.Or(unwritten, err)
	}}
	err = s.sweepInterfaces()
	err = then(s.sweep(), err)
	return then(err, unwritten)
}
