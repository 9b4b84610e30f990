// Which capabilities the program has: Docker's default less two, and what is added
// and dropped.

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// capabilityNames are all of capabilities(7), by number.
var capabilityNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// capSet is a set of capabilities: bit n is capability n.
type capSet uint64

func capsOf(bits ...int) (s capSet) {
	for _, bit := range bits {
		s |= 1 << bit
	}
	return s
}

// defaultCapSet are Docker's less MKNOD and AUDIT_WRITE. NET_RAW is there because a
// ping with file capabilities fails to execute without it.
var defaultCapSet = capsOf(unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL,
	unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_RAW, unix.CAP_SETFCAP, unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_SETUID,
	unix.CAP_SYS_CHROOT)

func defaultCaps() []string { return defaultCapSet.names() }

// pid1CapSet is what pid1 needs to make a program: a cgroup namespace, a user, and fewer
// capabilities.
var pid1CapSet = capsOf(unix.CAP_SYS_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_KILL)

// names lists the set as libcontainer spells it.
func (s capSet) names() (list []string) {
	for bit, name := range capabilityNames {
		if s>>bit&1 != 0 {
			list = append(list, "CAP_"+name)
		}
	}
	return list
}

// capChange is a value of -cap-add or -cap-drop: a set, and whether it was ALL.
type capChange struct {
	set capSet
	all bool
}

// parseCapability reads a name with or without CAP_, in any case, or ALL.
func parseCapability(s string) (capChange, error) {
	name := strings.TrimPrefix(strings.ToUpper(s), "CAP_")
	if name == "ALL" {
		return capChange{set: 1<<len(capabilityNames) - 1, all: true}, nil
	}
	if bit := slices.Index(capabilityNames[:], name); bit >= 0 {
		return capChange{set: 1 << bit}, nil
	}
	return capChange{}, errors.New("no capability of this name, see capabilities(7)")
}

// add adds a value of the same flag.
func (c *capChange) add(more capChange) {
	c.set |= more.set
	c.all = c.all || more.all
}

// capabilities returns the program's capabilities: the default ones, or with
// -cap-drop ALL none, or with -cap-add ALL all that contain has; then what was added;
// then less what was dropped. Docker has the same rule.
func (p privileges) capabilities(own capSet) (capSet, error) {
	set := defaultCapSet
	if p.capDrop.all && !p.capAdd.all {
		return p.checkOwn(p.capAdd.set, own)
	}
	if p.capAdd.all {
		set = own
	}
	if p.capDrop.all {
		return 0, errors.New("-cap-add ALL and -cap-drop ALL exclude each other")
	}
	if !p.capAdd.all {
		set |= p.capAdd.set
	}
	return p.checkOwn(set&^p.capDrop.set, own)
}

// checkOwn reports an added capability that contain itself does not have to give.
func (p privileges) checkOwn(set, own capSet) (capSet, error) {
	if missing := set & p.capAdd.set &^ own; missing != 0 && !p.capAdd.all {
		return 0, fmt.Errorf("-cap-add %s: contain itself does not have it", missing.names()[0])
	}
	return set & own, nil
}

// ownStatus is what contain itself may do: nothing that it starts can do more.
type ownStatus struct {
	caps       capSet // the bounding set
	noNewPrivs bool
	seccomp    string // mode
	filters    int    // -1: the kernel does not tell
}

func readOwnStatus() (s ownStatus, err error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return s, err
	}
	if s.caps, err = capSetIn(string(text), "CapBnd"); err != nil {
		return s, err
	}
	s.caps &= 1<<len(capabilityNames) - 1
	value, err := statusField(string(text), "NoNewPrivs")
	s.noNewPrivs = value == "1"
	if err == nil {
		s.seccomp, err = statusField(string(text), "Seccomp")
	}
	s.filters = -1
	if value, err := statusField(string(text), "Seccomp_filters"); err == nil {
		s.filters, _ = strconv.Atoi(value)
	}
	return s, err
}

// capSetIn returns a set from the contents of /proc/PID/status, proc_pid_status(5).
func capSetIn(status, field string) (capSet, error) {
	value, err := statusField(status, field)
	if err != nil {
		return 0, err
	}
	mask, err := strconv.ParseUint(value, 16, 64)
	return capSet(mask), err
}

// statusField returns a line of /proc/PID/status. The only one that a program chooses,
// Name, is the first, with its newlines escaped.
func statusField(status, field string) (string, error) {
	for line := range strings.Lines(status) {
		if name, value, ok := strings.Cut(line, ":"); ok && name == field {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("the kernel does not tell %s", field)
}
