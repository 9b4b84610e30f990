// The system call filter: a short list of calls that capabilities do not keep
// from the program and with which it could leave its limits, its keyring, its
// network or its life. Each refusal was a way out that a test found.
//
// It is classic BPF written by hand, loaded by pid1 just before the exec.
// Compiling a profile with libseccomp at run time costs 3 to 27 ms (measured).

package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data, seccomp(2), on little-endian machines.
const (
	offNumber = 0
	offArch   = 4
	offArg    = 16 // of the lower half of argument 0; each takes 8 bytes
)

// refusal is a system call and what it is answered with. If mask is not 0 it is
// refused only if an argument & mask is not 0, or with equal set, if it is equal
// to mask.
type refusal struct {
	number uint32
	errno  unix.Errno // 0: it seems to succeed, and does nothing
	arg    uint32
	mask   uint32
	equal  bool
}

var refusals = []refusal{
	// A user namespace gives every capability in it: to mount cgroup v1 and lift
	// one's limits, to reach parts of the kernel meant for root. clone3 passes
	// its flags in memory, out of the filter's sight; C libraries then use clone.
	{number: unix.SYS_UNSHARE, errno: unix.EPERM, mask: unix.CLONE_NEWUSER},
	{number: unix.SYS_CLONE, errno: unix.EPERM, mask: unix.CLONE_NEWUSER},
	{number: unix.SYS_CLONE3, errno: unix.ENOSYS},
	// Keys belong to a user, and user 0 is the host's.
	{number: unix.SYS_KEYCTL, errno: unix.EPERM},
	{number: unix.SYS_ADD_KEY, errno: unix.EPERM},
	{number: unix.SYS_REQUEST_KEY, errno: unix.EPERM},
	// See also keepCoreLimit.
	{number: unix.SYS_SETRLIMIT, mask: unix.RLIMIT_CORE, equal: true},
	// Memory and parts of the kernel beyond any cgroup, of no use in here.
	{number: unix.SYS_PERF_EVENT_OPEN, errno: unix.EPERM},
	{number: unix.SYS_BPF, errno: unix.EPERM},
	{number: unix.SYS_USERFAULTFD, errno: unix.EPERM},
	{number: unix.SYS_IO_URING_SETUP, errno: unix.EPERM},
}

// pid1 must run when contain, or the end of the program, has it kill. Nobody in the
// container is to take it from its CPUs, lower its priority or its limits: 300 spinners
// and a pid1 that is idle took 80 s to die. It is PID 1; groups and users could be its.
var keepPID1 = []refusal{
	{number: unix.SYS_SCHED_SETAFFINITY, errno: unix.EPERM, mask: 1, equal: true},
	{number: unix.SYS_SCHED_SETSCHEDULER, errno: unix.EPERM, mask: 1, equal: true},
	{number: unix.SYS_SCHED_SETPARAM, errno: unix.EPERM, mask: 1, equal: true},
	{number: unix.SYS_SCHED_SETATTR, errno: unix.EPERM, mask: 1, equal: true},
	{number: unix.SYS_SETPRIORITY, errno: unix.EPERM, arg: 1, mask: 1, equal: true},
	{number: unix.SYS_SETPRIORITY, errno: unix.EPERM, mask: unix.PRIO_PGRP, equal: true},
	{number: unix.SYS_SETPRIORITY, errno: unix.EPERM, mask: unix.PRIO_USER, equal: true},
	{number: unix.SYS_IOPRIO_SET, errno: unix.EPERM, arg: 1, mask: 1, equal: true},
	{number: unix.SYS_PRLIMIT64, errno: unix.EPERM, mask: 1, equal: true},
	{number: unix.SYS_RT_SIGQUEUEINFO, errno: unix.EPERM, mask: 1, equal: true},
	{number: unix.SYS_RT_TGSIGQUEUEINFO, errno: unix.EPERM, mask: 1, equal: true},
}

// auditArch is the filter's name for this architecture (linux/audit.h).
var auditArch = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// syscallFilter returns the filter, for a program with pid1 or one that is PID 1
// itself. System calls of another architecture than the native one (i386, x32)
// kill: their numbers differ.
func syscallFilter(direct bool) []unix.SockFilter {
	f := []unix.SockFilter{
		load(offArch),
		skipIfEqual(auditArch[runtime.GOARCH], 1),
		answer(unix.SECCOMP_RET_KILL_PROCESS),
	}
	if runtime.GOARCH == "amd64" {
		const x32 = 0x40000000
		// -1 is how a tracer skips a call.
		f = append(f, load(offNumber), skipIfEqual(0xffffffff, 2),
			jump(unix.BPF_JGE, x32, 0, 1), answer(unix.SECCOMP_RET_KILL_PROCESS))
	}
	for _, r := range refusals {
		f = append(f, r.code()...)
	}
	if !direct {
		for _, r := range keepPID1 {
			f = append(f, r.code()...)
		}
	}
	f = append(f, keepCoreLimit()...)
	f = append(f, noTracedExit()...)
	f = append(f, noUserSock()...)
	f = append(f, knownSockets()...) // the last: it allows some
	return append(f, answer(unix.SECCOMP_RET_ALLOW))
}

// keepCoreLimit makes prlimit(2) of RLIMIT_CORE seem to succeed. With 1 the
// kernel does not start the host's core_pattern program, but with 0, which every
// program may choose, it does. The limit can still be read: then the pointer
// to the new one, argument 2, is null.
func keepCoreLimit() []unix.SockFilter {
	return []unix.SockFilter{
		load(offNumber), jump(unix.BPF_JEQ, unix.SYS_PRLIMIT64, 0, 7),
		load(offArg + 8), jump(unix.BPF_JEQ, unix.RLIMIT_CORE, 0, 5),
		load(offArg + 16), jump(unix.BPF_JEQ, 0, 0, 2),
		load(offArg + 20), jump(unix.BPF_JEQ, 0, 1, 0),
		answer(unix.SECCOMP_RET_ERRNO),
	}
}

// noTracedExit refuses PTRACE_O_TRACEEXIT: two processes that trace each other's
// exit cannot be killed, not even with their PID namespace.
func noTracedExit() []unix.SockFilter {
	const oldSetOptions = 21 // PTRACE_OLDSETOPTIONS, on amd64
	return []unix.SockFilter{
		load(offNumber), jump(unix.BPF_JEQ, unix.SYS_PTRACE, 0, 7),
		load(offArg),
		skipIfEqual(unix.PTRACE_SETOPTIONS, 2), skipIfEqual(unix.PTRACE_SEIZE, 1),
		jump(unix.BPF_JEQ, oldSetOptions, 0, 3),
		load(offArg + 24), jump(unix.BPF_JSET, unix.PTRACE_O_TRACEEXIT, 0, 1),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)),
	}
}

// noUserSock refuses netlink's protocol between programs: 32M of memory held 1.5 GB of
// messages that nobody reads, charged to no cgroup.
func noUserSock() []unix.SockFilter {
	return []unix.SockFilter{
		load(offNumber), jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, 5),
		load(offArg), jump(unix.BPF_JEQ, unix.AF_NETLINK, 0, 3),
		load(offArg + 16), jump(unix.BPF_JEQ, unix.NETLINK_USERSOCK, 0, 1),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)),
	}
}

// knownSockets allows the families that programs live on. The buffers of some
// others (packet, XDP) are charged to no cgroup, with raw frames one can set up
// the host's IPv6, and virtual sockets know no network namespaces. SOCK_PACKET
// is how Linux 2.0 asked for a packet socket, and still does.
func knownSockets() []unix.SockFilter {
	const typeMask, sockPacket = 0xf, 10
	return []unix.SockFilter{
		load(offNumber), jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, 9),
		load(offArg),
		skipIfEqual(unix.AF_UNIX, 7), skipIfEqual(unix.AF_NETLINK, 6), skipIfEqual(unix.AF_INET6, 5),
		jump(unix.BPF_JEQ, unix.AF_INET, 0, 3),
		load(offArg + 8), {Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: typeMask},
		jump(unix.BPF_JEQ, sockPacket, 0, 1),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)),
	}
}

// code refuses, or falls through.
func (r refusal) code() []unix.SockFilter {
	refuse := answer(unix.SECCOMP_RET_ERRNO | uint32(r.errno))
	switch {
	case r.equal:
		return []unix.SockFilter{
			load(offNumber), jump(unix.BPF_JEQ, r.number, 0, 3),
			load(offArg + 8*r.arg), jump(unix.BPF_JEQ, r.mask, 0, 1), refuse,
		}
	case r.mask != 0:
		return []unix.SockFilter{
			load(offNumber), jump(unix.BPF_JEQ, r.number, 0, 3),
			load(offArg + 8*r.arg), jump(unix.BPF_JSET, r.mask, 0, 1), refuse,
		}
	}
	return []unix.SockFilter{load(offNumber), jump(unix.BPF_JEQ, r.number, 0, 1), refuse}
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// jump skips yes or no instructions.
func jump(test uint16, value uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, Jt: yes, Jf: no, K: value}
}

func skipIfEqual(value uint32, n uint8) unix.SockFilter { return jump(unix.BPF_JEQ, value, n, 0) }

func answer(value uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value}
}
