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
	"strconv"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// setup is a list of steps, each three strings: its kind, and what that is about. In a
// file each string has its zero, and at the end is one more.
type setup [][3]string

// Kinds of steps, with what follows them.
const (
	setSysctl    = "sysctl" // a name and a value, in the namespaces of the init
	raise        = "up"     // an interface
	tellOfNetns  = "netns"  // contain, that the network namespace is ready for an interface
	mountRoot    = "mount the rootfs"
	mountNew     = "mount"          // a place in the rootfs, and what is new there
	makeNode     = "device"         // a path there, and what it is
	bindCgroup   = "cgroup"         // a place there, and the directory that is shown
	protectMount = "protect"        // a place there where all is made
	makeReadonly = "make read-only" // a path there, in a mount
	maskPath     = "mask"           // a path there, in a mount
)

// takeOver takes from libcontainer's configuration what is to be the init's, and returns
// it. libcontainer has checked it by then.
//
// The network namespace is ready for the interface as soon as the sysctls are set: that
// is made while the init goes on, 0.6 ms less for the program to wait for. The rest is
// what libcontainer takes longer for, see mounts.go; but for the symbolic links in /dev
// (doSetupDev), which it makes unless its configuration binds something on /dev, and that
// costs as much. To root of a user namespace it has other ways: contain opens for it what
// that may not reach.
func takeOver(config *configs.Config, n network) (s setup) {
	for _, name := range slices.SortedFunc(maps.Keys(config.Sysctl), compareSysctls) {
		s = append(s, [3]string{setSysctl, name, config.Sysctl[name]})
	}
	config.Sysctl = nil
	if len(config.Networks) > 0 {
		s = append(s, [3]string{raise, "lo"})
		config.Networks = nil
	}
	if len(n.address) > 0 {
		s = append(s, [3]string{tellOfNetns})
	}
	s = append(s, [3]string{mountRoot})
	if config.Namespaces.Contains(configs.NEWUSER) {
		return s
	}
	var protect setup
	for _, m := range config.Mounts {
		flags := m.Flags
		if m.Device == "bind" {
			s = append(s, [3]string{bindCgroup, m.Destination, m.Source})
			continue
		}
		if m.Device == "tmpfs" && flags&unix.MS_RDONLY != 0 { // others are mounted in it
			flags &^= unix.MS_RDONLY
			protect = append(protect, [3]string{protectMount, m.Destination})
		}
		s = append(s, [3]string{mountNew, m.Destination, m.Device + " " + m.Source + " " + strconv.Itoa(flags) + " " + m.Data})
	}
	s = append(s, protect...)
	for _, d := range config.Devices {
		s = append(s, [3]string{makeNode, d.Path, nodeOf(d).numbers()})
	}
	for _, path := range config.ReadonlyPaths {
		s = append(s, [3]string{makeReadonly, path})
	}
	for _, path := range config.MaskPaths {
		s = append(s, [3]string{maskPath, path})
	}
	config.Mounts, config.Devices, config.ReadonlyPaths, config.MaskPaths = nil, nil, nil, nil
	return s
}

// readMount reads what takeOver has written about a mount.
func readMount(at, what string) (*configs.Mount, error) {
	fields := strings.SplitN(what, " ", 4)
	if len(fields) != 4 {
		return nil, errors.New("contain's file for the init does not say what")
	}
	flags, err := strconv.Atoi(fields[2])
	return &configs.Mount{Destination: at, Device: fields[0], Source: fields[1], Flags: flags, Data: fields[3]}, err
}

// readNode reads what takeOver has written about a device.
func readNode(at, what string) (n node, err error) {
	n.path = at
	fields := strings.Fields(what)
	for i, number := range []*int{&n.mode, &n.device, &n.uid, &n.gid} {
		if i == len(fields) {
			return n, errors.New("contain's file for the init does not say what")
		}
		if *number, err = strconv.Atoi(fields[i]); err != nil {
			return n, err
		}
	}
	return n, nil
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
	w := worker{proc: -1}
	for _, step := range s {
		err := w.do(step[0], step[1], step[2])
		switch {
		case err != nil && step[1] == "":
			return fmt.Errorf("%s: %w", step[0], err)
		case err != nil:
			return fmt.Errorf("%s %s: %w", step[0], quoted(step[1]), err)
		}
	}
	w.places.close()
	if w.proc >= 0 { // with -userns
		unix.Close(w.proc)
	}
	return nil
}

// worker does steps.
type worker struct {
	proc   int // a procfs that is mounted nowhere; -1: none
	places places
}

func (w *worker) do(kind, at, what string) error {
	p := &w.places
	switch kind {
	case setSysctl:
		return w.writeSysctl(at, what)
	case raise:
		return raiseInterface(at)
	case tellOfNetns:
		_, err := unix.Write(reportFD, pid1Report{kind: pid1Netns}.encode())
		return err
	case mountRoot:
		p.at = map[string]int{"/": rootfsFD}
		return mountRootfs()
	case mountNew:
		return w.mount(at, what)
	case makeNode:
		n, err := readNode(at, what)
		if err != nil {
			return err
		}
		return p.device(n)
	case bindCgroup:
		return p.bind(at, what)
	case protectMount:
		tree, ok := p.at[at]
		if !ok {
			return errors.New("is not mounted")
		}
		return protect(tree)
	case makeReadonly:
		return p.readonly(at)
	case maskPath:
		return p.cover(at)
	}
	return errors.New("unknown step")
}

// mount mounts a new file system; or the procfs that there is already, see writeSysctl.
func (w *worker) mount(at, what string) error {
	m, err := readMount(at, what)
	if err != nil {
		return err
	}
	tree := -1
	if m.Device == "proc" {
		tree, w.proc = w.proc, -1
	}
	if tree < 0 {
		tree, err = newMount(m)
	}
	if err != nil {
		return err
	}
	return w.places.attach(at, tree)
}

// writeSysctl sets a kernel parameter, by its name with dots, in a procfs of its own: what
// is mounted at /proc may be read-only there, in a container. It becomes the program's.
func (w *worker) writeSysctl(name, value string) (err error) {
	if w.proc < 0 {
		if w.proc, err = newMount(procMount()); err != nil {
			return fmt.Errorf("make a procfs: %w", err)
		}
	}
	fd, err := unix.Openat(w.proc, "sys/"+strings.ReplaceAll(name, ".", "/"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.WriteString(value)
	return reason(then(err, f.Close()))
}

// raiseInterface sets a network interface up, with two calls where netlink takes twenty.
func raiseInterface(name string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) // any can be asked
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return fmt.Errorf("SIOCGIFFLAGS: %w", err)
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("SIOCSIFFLAGS: %w", err)
	}
	return nil
}
