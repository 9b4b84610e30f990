// What contains that were killed have left: the kernel ends their processes and network
// namespaces, but not cgroups and state entries, nor a veth whose network namespace
// somebody holds. The next start removes them, and "contain gc".
//
// Whose a state entry is a lock on it says, held for life (flock(2)): never an age or a
// pid. Nothing in an entry is believed but the names of cgroups, and only those that
// hold the entry's own id. An entry is there before its cgroup and goes after it.

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/systemd"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// cgroupsName is a file in a state entry: the directories of the container's cgroup, a
// line each (cgroup names hold no newline, cgroup_mkdir in kernel/cgroup/cgroup.c).
const cgroupsName = "cgroups"

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

// note writes into a state entry of which cgroups it is.
func note(entry *os.File, m cgroups.Manager) error {
	text := strings.Join(cgroupDirs(m), "\n") + "\n"
	return os.WriteFile(filepath.Join(entry.Name(), cgroupsName), []byte(text), 0o600)
}

// recorded reads which cgroups a state entry is of, inner ones first. Whatever else is
// found there is passed over.
func recorded(entry *os.File) (dirs []string) {
	const most = 64 << 10
	fd, err := unix.Openat(int(entry.Fd()), cgroupsName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), cgroupsName)
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, most))
	id := filepath.Base(entry.Name())
	for line := range strings.Lines(string(text)) {
		if dir := strings.TrimSuffix(line, "\n"); isCgroupOf(dir, id) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
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

var idText = regexp.MustCompile(`^[0-9a-f]{8}$`)

// sweeper removes what the dead have left.
type sweeper struct {
	dir     string            // of the state entries
	unheld  []string          // files of locks there of which this process holds none
	until   time.Time         // when to leave the rest for the next
	removed func(what string) // is told of each thing
}

// sweep looks through all entries. Those whose owner lives, or that another sweeper has,
// are passed over; those of which not all could be removed stay.
func (s sweeper) sweep() error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if idText.MatchString(e.Name()) {
			err = then(err, s.sweepEntry(filepath.Join(s.dir, e.Name())))
		}
	}
	for _, name := range s.unheld {
		path := filepath.Join(s.dir, name)
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		if c, err := openClaims(path); err == nil && c.release() {
			s.removed(path)
		}
	}
	return err
}

func (s sweeper) sweepEntry(path string) error {
	entry, err := takeEntry(path)
	if errors.Is(err, errSwept) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	} else if err != nil {
		return fmt.Errorf("state entry %s: %w", quoted(path), err)
	}
	defer entry.Close()
	id := filepath.Base(path)
	dirs := recorded(entry)
	if err := s.removeCgroups(id, slices.Clone(dirs)); err != nil {
		return err
	}
	if err := stopScope(id, dirs); err != nil {
		return err
	}
	if err := s.removeHostEnd(hostVethOf(id)); err != nil {
		return err
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove state entry %s: %w", quoted(path), reason(err))
	}
	s.removed(path)
	return nil
}

// removeCgroups removes the cgroup of a container, once its processes have ended: it
// ends them, if they outlive their contain.
func (s sweeper) removeCgroups(id string, dirs []string) error {
	for {
		var err error
		dirs = slices.DeleteFunc(dirs, func(dir string) bool {
			failed := s.removeCgroup(dir)
			err = then(err, failed)
			return failed == nil
		})
		if err == nil {
			return nil
		}
		for _, dir := range dirs {
			thaw(dir)
			killIn(dir, id)
		}
		if !time.Now().Before(s.until) {
			return err
		}
		time.Sleep(cgroupEmpties)
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

// removeCgroup removes a cgroup with those in it, if it is one.
func (s sweeper) removeCgroup(dir string) error {
	var fs unix.Statfs_t
	err := unix.Statfs(dir, &fs)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return fmt.Errorf("cgroup %s: %w", quoted(dir), err)
	case fs.Type != unix.CGROUP_SUPER_MAGIC && fs.Type != unix.CGROUP2_SUPER_MAGIC:
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

// cgroupsIn returns the cgroups directly in one.
func cgroupsIn(dir string) (inner []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			inner = append(inner, filepath.Join(dir, e.Name()))
		}
	}
	return inner
}

// killIn kills the processes of the container id in its cgroup dir, and in those in it:
// all there that are in another PID namespace than this process. Others somebody has
// put there.
func killIn(dir, id string) {
	for _, inner := range cgroupsIn(dir) {
		killIn(inner, id)
	}
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return
	}
	pids, _ := cgroups.GetPids(dir)
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		// If the pid is another process's by now, the signal does not reach that.
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
		of, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err == nil && ns != own && strings.Contains(string(of), "/contain-"+id) {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
		unix.Close(fd)
	}
}

// removeHostEnd removes the host end of a veth whose contain is dead. It is there only
// if somebody holds the program's network namespace.
func (s sweeper) removeHostEnd(name string) error {
	link, err := netlink.LinkByName(name)
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) || err == nil && link.Type() != "veth" {
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

// sweepInterfaces removes host ends that no entry names: of programs so short that their
// contain could not see that their network namespace was held. It has set them down.
func (s sweeper) sweepInterfaces() error {
	links, err := unchanged(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("list the interfaces: %w", err)
	}
	for _, link := range links {
		attrs := link.Attrs()
		id, ours := strings.CutPrefix(attrs.Name, hostVethOf(""))
		if ours && idText.MatchString(id) && attrs.Flags&net.FlagUp == 0 && !isRunning(id) {
			err = then(err, s.removeHostEnd(attrs.Name))
		}
	}
	return err
}

// collectGarbage is "contain gc": it removes what dead contains have left, and says what.
func collectGarbage(stateDir string, stdout io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("must be run as root")
	}
	dir, err := filepath.Abs(stateDir)
	if err != nil {
		return fmt.Errorf("-state-dir %s: %w", quoted(stateDir), err)
	}
	if _, err := os.Lstat(dir); err == nil {
		if dir, err = makeStateDir(dir); err != nil {
			return fmt.Errorf("-state-dir %s: %w", quoted(stateDir), err)
		}
	}
	var unwritten error
	s := sweeper{dir: dir, unheld: []string{claimsName, usersName}, until: time.Now().Add(garbageIsBusy), removed: func(what string) {
		_, err := fmt.Fprintf(stdout, "removed %s\n", oneLine(what))
		unwritten = cmp.Or(unwritten, err)
	}}
	err = s.sweepInterfaces()
	err = then(s.sweep(), err)
	return then(err, unwritten)
}
