// Resource limits of each process, setrlimit(2): -ulimit and -virtual-memory-limit.
//
// contain sets them from outside, on the process that is about to become the
// program: with contain's own privileges, so that one may be raised where
// contain's caller may, and without a limit on pid1.

package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups/fscommon"
	"golang.org/x/sys/unix"
)

// rlimit is one limit. The names are those of setrlimit(2), in lower case.
type rlimit struct {
	name       string
	soft, hard uint64
}

type rlimitKind struct {
	resource int
	size     bool // in bytes: a unit may be given
}

// rlimitKinds are the limits that can be set. Not core: with another value than
// contain's own the kernel may run the host's core_pattern program.
var rlimitKinds = map[string]rlimitKind{
	"as": {unix.RLIMIT_AS, true}, "cpu": {unix.RLIMIT_CPU, false},
	"data": {unix.RLIMIT_DATA, true}, "fsize": {unix.RLIMIT_FSIZE, true},
	"locks": {unix.RLIMIT_LOCKS, false}, "memlock": {unix.RLIMIT_MEMLOCK, true},
	"msgqueue": {unix.RLIMIT_MSGQUEUE, true}, "nice": {unix.RLIMIT_NICE, false},
	"nofile": {unix.RLIMIT_NOFILE, false}, "nproc": {unix.RLIMIT_NPROC, false},
	"rss": {unix.RLIMIT_RSS, true}, "rtprio": {unix.RLIMIT_RTPRIO, false},
	"rttime": {unix.RLIMIT_RTTIME, false}, "sigpending": {unix.RLIMIT_SIGPENDING, false},
	"stack": {unix.RLIMIT_STACK, true},
}

// parseRlimit reads NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024.
func parseRlimit(s string) (rlimit, error) {
	name, values, ok := strings.Cut(s, "=")
	kind, known := rlimitKinds[name]
	switch {
	case !ok:
		return rlimit{}, errors.New("not NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024")
	case name == "core":
		return rlimit{}, errors.New("core files are always off, see contain(8)")
	case !known:
		return rlimit{}, fmt.Errorf("no such limit (known: %s)", strings.Join(slices.Sorted(maps.Keys(rlimitKinds)), ", "))
	}
	soft, hard, both := strings.Cut(values, ":")
	if !both {
		hard = soft
	}
	l := rlimit{name: name}
	var err error
	if l.soft, err = kind.parse(soft); err == nil {
		l.hard, err = kind.parse(hard)
	}
	if err == nil && l.soft > l.hard {
		err = errors.New("the soft limit is above the hard one")
	}
	return l, err
}

// parse reads one value of a limit.
func (k rlimitKind) parse(s string) (uint64, error) {
	if s == "unlimited" || s == "-1" {
		return unix.RLIM_INFINITY, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	switch {
	case err == nil && isWhole(s):
		return n, nil
	case k.size && !isWhole(s):
		size, err := parseSize(s)
		return uint64(size), err
	case errors.Is(err, strconv.ErrRange):
		return 0, errors.New("too large")
	}
	return 0, errors.New("not a number, or unlimited")
}

// addRlimit adds a limit, instead of an earlier one of that name: of two, the first
// may not allow the second.
func (l *limits) addRlimit(r rlimit) {
	l.rlimits = append(slices.DeleteFunc(l.rlimits, func(old rlimit) bool { return old.name == r.name }), r)
}

// String is the limit as the user writes it.
func (l rlimit) String() string {
	value := func(n uint64) string {
		if n == unix.RLIM_INFINITY {
			return "unlimited"
		}
		return strconv.FormatUint(n, 10)
	}
	return value(l.soft) + ":" + value(l.hard)
}

// check reports a limit that contain may not set, for it is above its own: only
// CAP_SYS_RESOURCE may raise one.
func (l rlimit) check() error {
	var own unix.Rlimit
	if err := unix.Getrlimit(rlimitKinds[l.name].resource, &own); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if most, err := fscommon.GetCgroupParamUint("/proc/sys/fs", "nr_open"); l.name == "nofile" && err == nil && l.hard > most {
		return fmt.Errorf("above %d, the most that this kernel allows (sysctl fs.nr_open)", most)
	}
	if l.hard <= own.Max || mayRaiseLimits() {
		return nil
	}
	return fmt.Errorf("above contain's own hard limit, %d, which it may not raise: it lacks CAP_SYS_RESOURCE", own.Max)
}

// mayRaiseLimits tells whether contain has CAP_SYS_RESOURCE.
func mayRaiseLimits() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&head, &data[0]) == nil && data[0].Effective>>unix.CAP_SYS_RESOURCE&1 == 1
}

// set limits the process pid, of contain's PID namespace.
func (l rlimit) set(pid int) error {
	err := unix.Prlimit(pid, rlimitKinds[l.name].resource, &unix.Rlimit{Cur: l.soft, Max: l.hard}, nil)
	if err != nil {
		return fmt.Errorf("set the program's limit %q: %w", l.name, err)
	}
	return nil
}
