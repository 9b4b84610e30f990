package test

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sets of registers, as core files name them (linux/elf.h).
const (
	ntPRStatus      = 1
	ntARMSystemCall = 0x404
)

// setCall makes a thread that stopped at the entry of a system call make another one.
func setCall(tid int, nr uint64) error {
	call := int32(nr)
	set := unix.Iovec{Base: (*byte)(unsafe.Pointer(&call)), Len: uint64(unsafe.Sizeof(call))}
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SETREGSET, uintptr(tid), ntARMSystemCall, uintptr(unsafe.Pointer(&set)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// setResult makes a thread that stopped at the exit of a system call see that result.
func setResult(tid int, value int64) error {
	var regs unix.PtraceRegsArm64
	if err := unix.PtraceGetRegSetArm64(tid, ntPRStatus, &regs); err != nil {
		return err
	}
	regs.Regs[0] = uint64(value)
	return unix.PtraceSetRegSetArm64(tid, ntPRStatus, &regs)
}

// archCalls are those that the C library makes as the first of all, to be able to run.
var archCalls = map[uint64]bool{}
