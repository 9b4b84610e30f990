// A look at the host before anything is changed: everything that can be found
// wrong by looking is found here, and ends the run with nothing to undo.

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

// minMemory is the smallest limit that is taken. Some of what sets up the
// container stays charged to it (mounts, namespaces): static programs started
// 500 times of 500 with 1 MiB, 100 of 100 with 640 KiB, 96 of 100 with 512 KiB.
const minMemory = 1 * units.MiB

// checkHost compares opts with the host and returns what the start needs to
// know about it.
func checkHost(opts options) (h host, err error) {
	if os.Geteuid() != 0 {
		return h, errors.New("must be run as root")
	}
	if err := checkStdio(); err != nil {
		return h, err
	}
	if h.rootfs, err = openRootfs(opts.rootfs); err != nil {
		return h, fmt.Errorf("-chroot %s: %w", quoted(opts.rootfs), err)
	}
	if err := checkProgram(h.rootfs, opts.argv[0]); err != nil {
		return h, err
	}
	h.home = h.rootfs.home()
	if opts.memory != 0 && opts.memory < minMemory {
		return h, fmt.Errorf("-memory-limit %s: too small, at least %s in this version",
			quoted(units.BytesSize(float64(opts.memory))), units.BytesSize(minMemory))
	}
	if h.cgroup, err = checkCgroups(opts); err != nil {
		return h, err
	}
	if h.cpus, err = readHostCPUs(h.cgroup); err != nil {
		return h, fmt.Errorf("find the CPUs of this host: %w", err)
	}
	if err := opts.cpus.check(h.cpus); err != nil {
		return h, fmt.Errorf("-cpu-core-ids %s: %w", quoted(opts.cpus.String()), err)
	}
	if len(opts.address) > 0 {
		if h.bridge, err = findBridge(opts.bridge, opts.address); err != nil {
			return h, err
		}
	}
	if err := h.readCaller(); err != nil {
		return h, err
	}
	for _, a := range opts.address {
		if a.Addr().Is6() && !h.ipv6 {
			return h, fmt.Errorf("-network-address %s: this kernel has no IPv6, or it is switched off", quoted(a.String()))
		}
	}
	return h, nil
}

// readCaller reads what the program inherits from contain's caller.
func (h *host) readCaller() error {
	_, err := os.Stat("/proc/sys/net/ipv6")
	h.ipv6 = err == nil
	h.umask = uint32(unix.Umask(0))
	unix.Umask(int(h.umask))
	for resource, hard := range map[int]*uint64{unix.RLIMIT_CORE: &h.coreHard, unix.RLIMIT_SIGPENDING: &h.pendingHard} {
		var limit unix.Rlimit
		if err := unix.Getrlimit(resource, &limit); err != nil {
			return fmt.Errorf("getrlimit: %w", err)
		}
		*hard = limit.Max
	}
	h.affinity = unix.NewCPUSet(maxCPU + 1)
	if err := unix.SchedGetaffinityDynamic(0, h.affinity); err != nil {
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	return nil
}

// inheritedAffinity is the caller's CPU affinity, which the program inherits
// unless it is given CPUs of its own: then nil.
func (h *host) inheritedAffinity(opts options) unix.CPUSetDynamic {
	if opts.cpus != nil {
		return nil
	}
	return h.affinity
}

// checkStdio refuses descriptors that would let the program out: through a
// directory on its stdin it could walk the host by /proc/self/fd/0 (the class
// of CVE-2024-21626), and an O_PATH descriptor is as good.
func checkStdio() error {
	for fd, name := range []string{"standard input", "standard output", "standard error"} {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		case st.Mode&unix.S_IFMT == unix.S_IFDIR:
			return fmt.Errorf("%s is a directory, through which the program could leave its root", name)
		case st.Mode&unix.S_IFMT == unix.S_IFBLK:
			return fmt.Errorf("%s is a block device, which would be open to the program", name)
		case flags&unix.O_PATH != 0:
			return fmt.Errorf("%s is an O_PATH descriptor", name)
		}
	}
	return nil
}
