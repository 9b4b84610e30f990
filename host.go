// A look at the host before anything is changed: everything that can be found
// wrong by looking is found here, and ends the run with nothing to undo.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

// minMemoryPages is the smallest limit that is taken, twice of what the smallest
// static program needs: with less, one may crawl for want of room for its own
// text. TestMemoryFloor finds where they stop to start, in a binary whose linker
// was told another number.
var minMemoryPages = "64"

func minMemory() int64 {
	pages, _ := strconv.ParseInt(minMemoryPages, 10, 64)
	return pages * int64(os.Getpagesize())
}

// checkHost compares opts with the host and returns what the start needs to
// know about it.
func checkHost(opts options) (h host, err error) {
	if os.Geteuid() != 0 {
		return h, errors.New("must be run as root")
	}
	if err := checkStdio(); err != nil {
		return h, err
	}
	bridge := func() (b bridge, err error) { return b, nil }
	if len(opts.address) > 0 {
		bridge = beside(opts.find)
	}
	if h.rootfs, err = openRootfs(opts.rootfs, opts.readOnly); err == nil && !opts.untrusted {
		err = checkTrust(opts.rootfs, h.rootfs.dir)
	}
	if err != nil {
		return h, fmt.Errorf("-chroot %s: %w", quoted(opts.rootfs), err)
	}
	if err := checkProgram(programs{h.rootfs, opts.lookupPath(), opts.calls.compat}, opts.program()); err != nil {
		return h, err
	}
	h.home = h.rootfs.home(opts.user.uid)
	if err := h.readPrivileges(opts.privileges, !opts.init); err != nil {
		return h, err
	}
	if opts.memory != 0 && opts.memory < minMemory() {
		return h, fmt.Errorf("-memory-limit %s: too small, the least is %s",
			quoted(strconv.FormatInt(opts.memory, 10)), units.BytesSize(float64(minMemory())))
	}
	if h.cgroup, err = checkCgroups(opts); err != nil {
		return h, err
	}
	if err := h.cgroup.checkQuota(opts.cpuQuota); err != nil {
		return h, fmt.Errorf("-cpus \"%g\": %w", float64(opts.cpuQuota)/cpuPeriod, err)
	}
	if h.cpus, err = readHostCPUs(h.cgroup); err != nil {
		return h, fmt.Errorf("find the CPUs of this host: %w", err)
	}
	if err := opts.cpus.check(h.cpus); err != nil {
		return h, fmt.Errorf("-cpu-core-ids %s: %w", quoted(opts.cpus.String()), err)
	}
	if err := h.rootfs.checkOwnFiles(opts.network); err != nil {
		return h, err
	}
	if h.netns, err = opts.openNetns(); err != nil {
		return h, err
	}
	if h.bridge, err = bridge(); err != nil {
		return h, err
	}
	if err := h.readCaller(opts); err != nil {
		return h, err
	}
	for _, a := range opts.address {
		if a.Addr().Is6() && !h.ipv6 {
			return h, fmt.Errorf("-network-address %s: this kernel has no IPv6, or it is switched off", quoted(a.String()))
		}
	}
	return h, nil
}

// beside runs f on another thread, and returns what waits for its end, once.
func beside[T any](f func() (T, error)) func() (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil {
				r.err = internalError(p)
			}
			done <- r
		}()
		r.value, r.err = f()
	}()
	return func() (T, error) {
		r := <-done
		return r.value, r.err
	}
}

// close closes what checkHost has opened.
func (h host) close() {
	h.rootfs.close()
	h.netns.Close() // or is nil
}

// readCaller reads what the program inherits from contain's caller.
func (h *host) readCaller(opts options) error {
	for path, there := range map[string]*bool{"/proc/sys/net/ipv6": &h.ipv6, "/proc/self/timens_offsets": &h.timens} {
		_, err := os.Stat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		*there = err == nil
	}
	h.umask = uint32(unix.Umask(0))
	unix.Umask(int(h.umask))
	for resource, hard := range map[int]*uint64{unix.RLIMIT_CORE: &h.coreHard, unix.RLIMIT_SIGPENDING: &h.pendingHard} {
		var limit unix.Rlimit
		if err := unix.Getrlimit(resource, &limit); err != nil {
			return fmt.Errorf("getrlimit: %w", err)
		}
		*hard = limit.Max
	}
	for _, l := range opts.io {
		resolved, err := l.resolve()
		if err != nil {
			return fmt.Errorf("-io-max %s: %w", quoted(l.device), err)
		}
		h.io = append(h.io, resolved)
	}
	for _, l := range opts.rlimits {
		if err := l.check(); err != nil {
			return fmt.Errorf("-ulimit %s: %w", quoted(l.name+"="+l.String()), err)
		}
	}
	h.orphaned = inOrphanedGroup()
	h.tty = planTerminal(opts.tty, !opts.init)
	h.lent = lentTerminals(h.tty.replace)
	h.affinity = unix.NewCPUSet(maxCPU + 1)
	if opts.cpus != nil {
		for _, cpu := range opts.cpus {
			h.affinity.Set(cpu)
		}
		return nil
	}
	if err := unix.SchedGetaffinityDynamic(0, h.affinity); err != nil {
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	return nil
}

// inOrphanedGroup tells whether contain's process group is orphaned: nobody is
// there to resume it, so the kernel does not let a terminal's signals stop it
// (setpgid(2)). It looks at contain's own ancestors in the group only.
func inOrphanedGroup() bool {
	group := unix.Getpgrp()
	session, _ := unix.Getsid(0)
	for pid := unix.Getppid(); pid > 1; pid = parentOf(pid) {
		pgid, err := unix.Getpgid(pid)
		if err != nil {
			return true
		}
		if pgid != group {
			sid, err := unix.Getsid(pid)
			return err != nil || sid != session
		}
	}
	return true
}

// parentOf returns the parent of a process, or 0.
func parentOf(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in brackets, may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// checkStdio refuses descriptors that would let the program out: through a
// directory on its stdin it could walk the host by /proc/self/fd/0 (the class
// of CVE-2024-21626), and an O_PATH descriptor is as good.
func checkStdio() error {
	for _, path := range []string{"/proc/self/fd", os.DevNull} { // as in a bare chroot
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("contain itself needs %s: %w", path, reason(err))
		}
	}
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
