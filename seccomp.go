// The system call filter of the program: Docker's profile, or the user's, for the
// native architecture, and before it what contain refuses besides, with which a program
// could leave its limits, its network or its life. Each such was a way out that a test
// found.
//
// pid1 loads it just before the exec. The profile of the default capabilities is
// compiled already, by "go generate".

package main

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

//go:generate go test -run=^TestCompiledProfile$ -update .

// syscallTable has a line for each system call: its name, and its numbers on amd64, 386,
// arm64 and arm, or -.
//
//go:embed syscalls.tsv
var syscallTable string

// platform is an architecture whose system calls a filter knows.
type platform struct {
	column int    // in syscallTable
	audit  uint32 // its name in seccomp_data (linux/audit.h)
}

var (
	nativePlatform = map[string]platform{"amd64": {1, unix.AUDIT_ARCH_X86_64}, "arm64": {3, unix.AUDIT_ARCH_AARCH64}}[runtime.GOARCH]
	// compatPlatform is that of 32-bit programs on the same machine.
	compatPlatform = map[string]platform{"amd64": {2, unix.AUDIT_ARCH_I386}, "arm64": {4, unix.AUDIT_ARCH_ARM}}[runtime.GOARCH]
)

// numbers returns the numbers of a platform's system calls, by name.
func (p platform) numbers() map[string]uint32 {
	found := map[string]uint32{}
	for line := range strings.Lines(syscallTable) {
		fields := strings.Fields(line)
		if n, err := strconv.ParseUint(fields[p.column], 10, 32); err == nil {
			found[fields[0]] = uint32(n)
		}
	}
	return found
}

// refusal is a system call and what it is answered with. If mask is not 0 it is
// refused only if an argument & mask is not 0, or with equal set, if it is equal
// to mask.
type refusal struct {
	call  string
	errno unix.Errno // 0: it seems to succeed, and does nothing
	arg   uint32
	mask  uint32
	equal bool
}

var refusals = []refusal{
	// See also keepCoreLimit.
	{call: "setrlimit", mask: unix.RLIMIT_CORE, equal: true},
	// With the family in memory, out of sight of the filter. C libraries then use socket.
	{call: "socketcall", errno: unix.ENOSYS, mask: 1, equal: true},
}

// pid1 must run when contain, or the end of the program, has it kill. Nobody in the
// container is to take it from its CPUs, lower its priority or its limits: 300 spinners
// and a pid1 that is idle took 80 s to die. It is PID 1; groups and users could be its.
var keepPID1 = []refusal{
	{call: "sched_setaffinity", errno: unix.EPERM, mask: 1, equal: true},
	{call: "sched_setscheduler", errno: unix.EPERM, mask: 1, equal: true},
	{call: "sched_setparam", errno: unix.EPERM, mask: 1, equal: true},
	{call: "sched_setattr", errno: unix.EPERM, mask: 1, equal: true},
	{call: "setpriority", errno: unix.EPERM, arg: 1, mask: 1, equal: true},
	{call: "setpriority", errno: unix.EPERM, mask: unix.PRIO_PGRP, equal: true},
	{call: "setpriority", errno: unix.EPERM, mask: unix.PRIO_USER, equal: true},
	{call: "ioprio_set", errno: unix.EPERM, arg: 1, mask: 1, equal: true},
	{call: "ioprio_set", errno: unix.EPERM, mask: 2, equal: true}, // IOPRIO_WHO_PGRP
	{call: "ioprio_set", errno: unix.EPERM, mask: 3, equal: true}, // IOPRIO_WHO_USER
	{call: "prlimit64", errno: unix.EPERM, mask: 1, equal: true},
	{call: "rt_sigqueueinfo", errno: unix.EPERM, mask: 1, equal: true},
	{call: "rt_tgsigqueueinfo", errno: unix.EPERM, mask: 1, equal: true},
}

// keepNamespaces are refusals where the profile is the user's and CAP_SYS_ADMIN is not
// given: in a user namespace everybody has it, can mount cgroup v1 and lift the limits.
// clone3 passes its flags in memory; C libraries then use clone.
var keepNamespaces = []refusal{
	{call: "unshare", errno: unix.EPERM, mask: unix.CLONE_NEWUSER},
	{call: "clone", errno: unix.EPERM, mask: unix.CLONE_NEWUSER},
	{call: "clone3", errno: unix.ENOSYS},
}

// filterOptions are those of a run that its filter depends on.
type filterOptions struct {
	profile string // -seccomp: "", none, or a file
	compat  bool   // -allow-32bit
	capset  bool   // is still needed by pid1's child, to drop CAP_SYS_ADMIN
}

// syscallFilter returns the filter for a program with these capabilities; direct: it is
// PID 1 itself. Nil: none. System calls of another architecture kill: their numbers
// differ.
func (o filterOptions) syscallFilter(caps []string, direct bool) ([]unix.SockFilter, error) {
	if o.profile == "none" {
		return nil, nil
	}
	native, compat, err := o.compiledProfiles(caps)
	if err != nil {
		return nil, err
	}
	list := refusals
	if !direct {
		list = slices.Concat(list, keepPID1)
	}
	if o.profile != "" && !slices.Contains(caps, "CAP_SYS_ADMIN") {
		list = slices.Concat(list, keepNamespaces)
	}
	native = slices.Concat(ownRefusals(nativePlatform, list), native)
	f := []unix.SockFilter{load(offArch), skipIfEqual(nativePlatform.audit, 1)}
	if compat == nil {
		f = slices.Concat(f, []unix.SockFilter{answer(unix.SECCOMP_RET_KILL_PROCESS)}, native)
	} else {
		compat = slices.Concat(ownRefusals(compatPlatform, list), compat)
		f = slices.Concat(f, []unix.SockFilter{jumpFar(len(native))}, native,
			[]unix.SockFilter{skipIfEqual(compatPlatform.audit, 1), answer(unix.SECCOMP_RET_KILL_PROCESS)}, compat)
	}
	if len(f) > unix.BPF_MAXINSNS {
		return nil, fmt.Errorf("-seccomp %s: becomes %d instructions, the kernel takes %d", quoted(o.profile), len(f), unix.BPF_MAXINSNS)
	}
	return f, nil
}

// neededCalls are what pid1's child still does when it has taken the filter.
var neededCalls = []string{"execve", "exit_group", "read", "rt_sigaction", "rt_sigprocmask", "write"}

// allows reports a system call of these that is not always allowed.
func (s ruleSet) allows(calls []string) error {
	numbers := nativePlatform.numbers()
	for _, call := range calls {
		rules := s.calls[numbers[call]]
		if len(rules) == 0 && s.fallback == unix.SECCOMP_RET_ALLOW {
			continue
		}
		if slices.ContainsFunc(rules, func(r rule) bool { return len(r.conditions) > 0 || r.action != unix.SECCOMP_RET_ALLOW }) || len(rules) == 0 {
			return fmt.Errorf("forbids %s, which contain itself needs to start the program", call)
		}
	}
	return nil
}

// compiledProfiles returns what the profile says, for native programs, and for 32-bit
// ones if they are allowed.
func (o filterOptions) compiledProfiles(caps []string) (native, compat []unix.SockFilter, err error) {
	if o.profile == "" && !o.compat && slices.Equal(caps, defaultCaps()) {
		return readFilter(compiledProfile), nil, nil
	}
	profile, err := o.readProfile(caps)
	if err != nil {
		return nil, nil, err
	}
	rules, err := resolve(profile, nativePlatform)
	if err == nil {
		err = rules.allows(neededCalls)
	}
	if err == nil && o.capset {
		err = rules.allows([]string{"capset"})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("-seccomp %s: %w", quoted(o.profile), err)
	}
	native = rules.compile()
	if o.compat {
		if rules, err = resolve(profile, compatPlatform); err == nil {
			compat = rules.compile()
		}
	}
	return native, compat, err
}

// maxProfile is the most that is read of a profile: Docker's has 15 kB.
const maxProfile = 1 << 20

// readProfile returns the rules that hold for a program with these capabilities.
func (o filterOptions) readProfile(caps []string) (*specs.LinuxSeccomp, error) {
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
	if o.profile == "" {
		return seccomp.GetDefaultProfile(spec)
	}
	failed := func(err error) (*specs.LinuxSeccomp, error) {
		return nil, fmt.Errorf("-seccomp %s: %w", quoted(o.profile), err)
	}
	// Not waiting for somebody to write to a FIFO.
	f, err := os.OpenFile(o.profile, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) && o.profile == "unconfined" {
		return nil, withHint(fmt.Errorf("-seccomp %s: %w", quoted(o.profile), unix.ENOENT), "-seccomp none is without a filter")
	} else if err != nil {
		return failed(reason(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxProfile+1))
	if err != nil {
		return failed(reason(err))
	}
	if len(text) > maxProfile {
		return failed(errors.New("longer than 1 MiB"))
	}
	profile, err := seccomp.LoadProfile(string(text), spec)
	if err == nil && profile == nil {
		err = errors.New("has no rules; none is without a filter")
	}
	if err != nil {
		return failed(fmt.Errorf("not a seccomp profile: %s", oneLine(err.Error())))
	}
	return profile, nil
}

// resolve turns a profile into rules for one platform. A system call that this has not
// is left out, as libseccomp does: profiles name those of all.
func resolve(profile *specs.LinuxSeccomp, p platform) (ruleSet, error) {
	fallback, err := actionOf(profile.DefaultAction, profile.DefaultErrnoRet)
	if err != nil {
		return ruleSet{}, err
	}
	if len(profile.Flags) > 0 || profile.ListenerPath != "" {
		return ruleSet{}, errors.New("flags and listeners are not supported")
	}
	set := ruleSet{calls: map[uint32][]rule{}, fallback: fallback, newest: math.MaxUint32}
	numbers := p.numbers()
	newest := uint32(0)
	for _, call := range profile.Syscalls {
		action, err := actionOf(call.Action, call.ErrnoRet)
		if err != nil {
			return ruleSet{}, err
		}
		rules, err := rulesOf(call, action)
		if err != nil {
			return ruleSet{}, err
		}
		for _, name := range call.Names {
			if n, ok := numbers[name]; ok {
				set.calls[n] = append(set.calls[n], rules...)
				newest = max(newest, n)
			}
		}
	}
	// Newer calls than the profile's author knew are answered as an old kernel does, so
	// that C libraries do without. runc has the same rule (patchbpf).
	if fallback&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_ERRNO {
		set.newest, set.beyond = newest, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)
	}
	return set, nil
}

// rulesOf returns the rules for each system call of a group. Conditions on different
// arguments must all hold; of several on one, any, as with runc.
func rulesOf(call specs.LinuxSyscall, action uint32) (rules []rule, err error) {
	one := rule{action: action}
	seen := map[uint]bool{}
	for _, c := range call.Args {
		if c.Index > 5 {
			return nil, fmt.Errorf("%s has no argument %d", oneLine(strings.Join(call.Names, ", ")), c.Index)
		}
		switch c.Op {
		case specs.OpEqualTo, specs.OpNotEqual, specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpMaskedEqual:
		default:
			return nil, fmt.Errorf("unknown comparison %s", quoted(string(c.Op)))
		}
		if seen[c.Index] {
			rules = nil
			for _, c := range call.Args {
				rules = append(rules, rule{conditions: []specs.LinuxSeccompArg{c}, action: action})
			}
			return rules, nil
		}
		seen[c.Index] = true
		one.conditions = append(one.conditions, c)
	}
	return []rule{one}, nil
}

// actionOf returns what the kernel calls an action of a profile.
func actionOf(action specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	data := uint32(0)
	switch action {
	case specs.ActErrno, specs.ActTrace:
		data = uint32(unix.EPERM)
		if errno != nil {
			if *errno > 4095 { // MAX_ERRNO of the kernel
				return 0, fmt.Errorf("errnoRet %d is no error number", *errno)
			}
			data = uint32(*errno)
		}
	}
	switch action {
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO | data, nil
	case specs.ActTrace:
		return unix.SECCOMP_RET_TRACE | data, nil
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	}
	return 0, fmt.Errorf("unknown action %s", quoted(string(action)))
}

// readFilter decodes what encodeFilter has encoded: struct sock_filter, one behind the other.
func readFilter(data []byte) []unix.SockFilter {
	f := make([]unix.SockFilter, len(data)/8)
	_, _ = binary.Decode(data, binary.LittleEndian, f) // all have the same size
	return f
}

func encodeFilter(f []unix.SockFilter) []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, f) // never fails
	return b.Bytes()
}

// ownRefusals refuses what is in the list, and more, or falls through.
func ownRefusals(p platform, list []refusal) (f []unix.SockFilter) {
	numbers := ownNumbers
	if p != nativePlatform {
		numbers = p.numbers()
	} else if runtime.GOARCH == "amd64" {
		const x32 = 0x40000000
		f = append(f, load(offNumber), skipIfEqual(math.MaxUint32, 2),
			jump(unix.BPF_JGE, x32, 0, 1), answer(unix.SECCOMP_RET_KILL_PROCESS))
	}
	for _, r := range list {
		if n, ok := numbers[r.call]; ok {
			f = append(f, r.code(n)...)
		}
	}
	f = append(f, keepCoreLimit(numbers["prlimit64"])...)
	f = append(f, noTracedExit(numbers["ptrace"])...)
	f = append(f, noSignalInfo(numbers["pidfd_send_signal"])...)
	f = append(f, noUserSock(numbers["socket"])...)
	f = append(f, unixPairs(numbers["socketpair"])...)
	return append(f, knownSockets(numbers["socket"])...)
}

// ownNumbers are the native numbers of what contain itself refuses.
var ownNumbers = map[string]uint32{
	"setrlimit": unix.SYS_SETRLIMIT, "prlimit64": unix.SYS_PRLIMIT64, "ptrace": unix.SYS_PTRACE, "socket": unix.SYS_SOCKET,
	"sched_setaffinity": unix.SYS_SCHED_SETAFFINITY, "sched_setscheduler": unix.SYS_SCHED_SETSCHEDULER,
	"sched_setparam": unix.SYS_SCHED_SETPARAM, "sched_setattr": unix.SYS_SCHED_SETATTR,
	"setpriority": unix.SYS_SETPRIORITY, "ioprio_set": unix.SYS_IOPRIO_SET,
	"unshare": unix.SYS_UNSHARE, "clone": unix.SYS_CLONE, "clone3": unix.SYS_CLONE3,
	"pidfd_send_signal": unix.SYS_PIDFD_SEND_SIGNAL, "socketpair": unix.SYS_SOCKETPAIR,
	"rt_sigqueueinfo": unix.SYS_RT_SIGQUEUEINFO, "rt_tgsigqueueinfo": unix.SYS_RT_TGSIGQUEUEINFO,
}

// keepCoreLimit makes prlimit(2) of RLIMIT_CORE seem to succeed. With 1 the
// kernel does not start the host's core_pattern program, but with 0, which every
// program may choose, it does. The limit can still be read: then the pointer
// to the new one, argument 2, is null.
func keepCoreLimit(number uint32) []unix.SockFilter {
	return []unix.SockFilter{
		load(offNumber), jump(unix.BPF_JEQ, number, 0, 7),
		load(offArg + 8), jump(unix.BPF_JEQ, unix.RLIMIT_CORE, 0, 5),
		load(offArg + 16), jump(unix.BPF_JEQ, 0, 0, 2),
		load(offArg + 20), jump(unix.BPF_JEQ, 0, 1, 0),
		answer(unix.SECCOMP_RET_ERRNO),
	}
}

// noTracedExit refuses PTRACE_O_TRACEEXIT: two processes that trace each other's
// exit cannot be killed, not even with their PID namespace.
func noTracedExit(number uint32) []unix.SockFilter {
	const oldSetOptions = 21 // PTRACE_OLDSETOPTIONS, on amd64
	return []unix.SockFilter{
		load(offNumber), jump(unix.BPF_JEQ, number, 0, 7),
		load(offArg),
		skipIfEqual(unix.PTRACE_SETOPTIONS, 2), skipIfEqual(unix.PTRACE_SEIZE, 1),
		jump(unix.BPF_JEQ, oldSetOptions, 0, 3),
		load(offArg + 24), jump(unix.BPF_JSET, unix.PTRACE_O_TRACEEXIT, 0, 1),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)),
	}
}

// noSignalInfo refuses to send a signal with a value by a pidfd: pid1 would take it for
// contain's.
func noSignalInfo(number uint32) []unix.SockFilter {
	return []unix.SockFilter{
		load(offNumber), jump(unix.BPF_JEQ, number, 0, 5),
		load(offArg + 16), jump(unix.BPF_JEQ, 0, 0, 2),
		load(offArg + 20), jump(unix.BPF_JEQ, 0, 1, 0),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)),
	}
}

// unixPairs refuses pairs of sockets that are not UNIX ones: of other families the
// kernel makes one before it finds that it cannot, and loads their modules.
func unixPairs(number uint32) []unix.SockFilter {
	return []unix.SockFilter{
		load(offNumber), jump(unix.BPF_JEQ, number, 0, 3),
		load(offArg), skipIfEqual(unix.AF_UNIX, 1),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)),
	}
}

// noUserSock refuses netlink's protocol between programs: 32M of memory held 1.5 GB of
// messages that nobody reads, charged to no cgroup.
func noUserSock(number uint32) []unix.SockFilter {
	return []unix.SockFilter{
		load(offNumber), jump(unix.BPF_JEQ, number, 0, 5),
		load(offArg), jump(unix.BPF_JEQ, unix.AF_NETLINK, 0, 3),
		load(offArg + 16), jump(unix.BPF_JEQ, unix.NETLINK_USERSOCK, 0, 1),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)),
	}
}

// knownSockets allows the families that programs live on. The buffers of some
// others (packet, XDP) are charged to no cgroup, with raw frames one can set up
// the host's IPv6, and virtual sockets know no network namespaces. SOCK_PACKET
// is how Linux 2.0 asked for a packet socket, and still does. -network-strict and
// -network-bandwidth rely on there being none.
func knownSockets(number uint32) []unix.SockFilter {
	const typeMask, sockPacket = 0xf, 10
	return []unix.SockFilter{
		load(offNumber), jump(unix.BPF_JEQ, number, 0, 9),
		load(offArg),
		skipIfEqual(unix.AF_UNIX, 7), skipIfEqual(unix.AF_NETLINK, 6), skipIfEqual(unix.AF_INET6, 5),
		jump(unix.BPF_JEQ, unix.AF_INET, 0, 3),
		load(offArg + 8), {Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: typeMask},
		jump(unix.BPF_JEQ, sockPacket, 0, 1),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)),
	}
}

// code refuses, or falls through.
func (r refusal) code(number uint32) []unix.SockFilter {
	refuse := answer(unix.SECCOMP_RET_ERRNO | uint32(r.errno))
	switch {
	case r.equal:
		return []unix.SockFilter{
			load(offNumber), jump(unix.BPF_JEQ, number, 0, 3),
			load(offArg + 8*r.arg), jump(unix.BPF_JEQ, r.mask, 0, 1), refuse,
		}
	case r.mask != 0:
		return []unix.SockFilter{
			load(offNumber), jump(unix.BPF_JEQ, number, 0, 3),
			load(offArg + 8*r.arg), jump(unix.BPF_JSET, r.mask, 0, 1), refuse,
		}
	}
	return []unix.SockFilter{load(offNumber), jump(unix.BPF_JEQ, number, 0, 1), refuse}
}
