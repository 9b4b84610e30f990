// What contain's init does itself, before libcontainer's code in it runs (init.go), and
// how contain tells it: what would make contain wait later, and what libcontainer takes
// longer for.

package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// setup is a list of steps, each three strings: its kind, and what that is about. In a
// file each string has its zero, and at the end is one more.
type setup [][3]string

// Kinds of steps.
const (
	setSysctl   = "sysctl"  // a name and a value, in the namespaces of the init
	tellOfNetns = "netns"   // contain, that the network namespace is ready for an interface
	showCgroup  = "cgroup"  // a directory, and its name in cgroup2Root
	showCgroups = "cgroups" // the cgroups so far there, and nothing else
)

// takeOver takes from libcontainer's configuration what is to be the init's, and returns
// it. libcontainer has checked it by then.
//
// The network namespace is ready for the interface as soon as the sysctls are set: that
// is made while the init goes on, 0.6 ms less for the program to wait for. On v1 some ten
// cgroups are shown, which libcontainer would take 0.1 ms each for (measured), if this host
// has the directory place for them, which is cgroup2Root.
func takeOver(config *configs.Config, n network, place string) (s setup) {
	for _, name := range slices.SortedFunc(maps.Keys(config.Sysctl), compareSysctls) {
		s = append(s, [3]string{setSysctl, name, config.Sysctl[name]})
	}
	config.Sysctl = nil
	if len(n.address) > 0 {
		s = append(s, [3]string{tellOfNetns})
	}
	top := slices.IndexFunc(config.Mounts, func(m *configs.Mount) bool { return m.Destination == cgroup2Root && m.Device == "tmpfs" })
	// Root of a user namespace may not reach them: contain opens them for libcontainer.
	if top < 0 || config.Namespaces.Contains(configs.NEWUSER) || !exists(place, "") {
		return s
	}
	var others []*configs.Mount
	for _, m := range config.Mounts {
		if name, ok := strings.CutPrefix(m.Destination, cgroup2Root+"/"); ok && m.Device == "bind" {
			s = append(s, [3]string{showCgroup, m.Source, name})
		} else if m != config.Mounts[top] {
			others = append(others, m)
		}
	}
	bind := configs.Mount{Source: cgroup2Root, Destination: cgroup2Root, Device: "bind", Flags: unix.MS_BIND | unix.MS_REC | config.Mounts[top].Flags}
	config.Mounts = append(others, &bind)
	return append(s, [3]string{showCgroups})
}

// compareSysctls puts forwarding first, for a change of it changes others
// (inet_forward_change in net/ipv4/devinet.c), and the rest into some order.
func compareSysctls(a, b string) int {
	forwards := func(name string) bool { return name == "net.ipv4.ip_forward" || strings.HasSuffix(name, ".forwarding") }
	if forwards(a) != forwards(b) {
		return map[bool]int{true: -1, false: 1}[forwards(a)]
	}
	return strings.Compare(a, b)
}

// encode is the contents of the file that the init reads.
func (s setup) encode() []byte {
	var b []byte
	for _, step := range s {
		for _, field := range step {
			b = append(append(b, field...), 0)
		}
	}
	return append(b, 0)
}

// readSetup reads what encode has written to a file, from its beginning.
func readSetup(f io.ReaderAt) (s setup, err error) {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, math.MaxInt64))
	if err != nil {
		return nil, err
	}
	fields := strings.Split(string(text), "\x00")
	for ; len(fields) > 3; fields = fields[3:] {
		s = append(s, [3]string(fields))
	}
	if len(fields) != 2 || fields[0] != "" || fields[1] != "" { // contain would wait for what it does not say
		return nil, errors.New("contain's file for the init is not complete")
	}
	return s, nil
}

// do does the steps. It runs in the container's init, whose mounts are still the host's,
// but private, and whose other namespaces are the program's.
func (s setup) do() error {
	proc := -1
	var shown []looseMount
	for _, step := range s {
		var err error
		switch step[0] {
		case setSysctl:
			if proc < 0 {
				proc, err = newProc()
			}
			if err == nil {
				err = writeSysctl(proc, step[1], step[2])
			}
		case tellOfNetns:
			_, err = unix.Write(reportFD, pid1Report{kind: pid1Netns}.encode())
		case showCgroup:
			t := looseMount{name: step[2]}
			t.fd, err = unix.OpenTree(unix.AT_FDCWD, step[1], unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
			shown = append(shown, t)
		case showCgroups:
			err = mountCgroups(shown)
		default:
			err = errors.New("unknown step")
		}
		switch {
		case err != nil && step[1] == "":
			return fmt.Errorf("%s: %w", step[0], reason(err))
		case err != nil:
			return fmt.Errorf("%s %s: %w", step[0], quoted(step[1]), reason(err))
		}
	}
	if proc >= 0 {
		return unix.Close(proc)
	}
	return nil
}

// newProc returns a procfs that is mounted nowhere: what is mounted at /proc may be
// read-only there, in a container.
func newProc() (int, error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("fsconfig: %w", err)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC)
	if err != nil {
		return -1, fmt.Errorf("mount a procfs: %w", err)
	}
	return mount, nil
}

// writeSysctl sets a kernel parameter, by its name with dots.
func writeSysctl(proc int, name, value string) error {
	fd, err := unix.Openat(proc, "sys/"+strings.ReplaceAll(name, ".", "/"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.WriteString(value)
	return then(err, f.Close())
}

// looseMount is a mount that is attached nowhere yet, and its name where it will be.
type looseMount struct {
	name string
	fd   int
}

// mountCgroups mounts trees at their names in a file system of their own, read-only, at
// the place where cgroups are: libcontainer binds all of it there in the rootfs.
func mountCgroups(shown []looseMount) error {
	err := unix.Mount("tmpfs", cgroup2Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755,size=64k")
	if err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	for _, t := range shown {
		path := cgroup2Root + "/" + t.name
		if err := unix.Mkdir(path, 0o755); err != nil {
			return err
		}
		if err := unix.MoveMount(t.fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("move_mount: %w", err)
		}
		unix.Close(t.fd)
		if err := protect(path); err != nil {
			return err
		}
	}
	return protect(cgroup2Root)
}

// protect makes a mount read-only, and more.
func protect(path string) error {
	const hard = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	return unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|hard, "")
}
