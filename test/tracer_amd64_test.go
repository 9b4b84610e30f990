package test

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Where struct user of ptrace(2) has these registers, in bytes.
const (
	userRax     = 10 * 8
	userOrigRax = 15 * 8
)

// setCall makes a thread that stopped at the entry of a system call make another one.
func setCall(tid int, nr uint64) error { return pokeUser(tid, userOrigRax, nr) }

// setResult makes a thread that stopped at the exit of a system call see that result.
func setResult(tid int, value int64) error { return pokeUser(tid, userRax, uint64(value)) }

func pokeUser(tid int, at uintptr, value uint64) error {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], value)
	_, err := unix.PtracePokeUser(tid, at, b[:])
	return err
}

// archCalls are those that the C library makes as the first of all, to be able to run.
var archCalls = map[uint64]bool{unix.SYS_ARCH_PRCTL: true}
