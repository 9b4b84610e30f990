package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Every jump lands in the filter, and every path ends in an answer: what the
// kernel checks too, but at the start of a container.
func TestSyscallFilterIsWellFormed(t *testing.T) {
	f := syscallFilter(false)
	if len(f) > unix.BPF_MAXINSNS {
		t.Fatalf("%d instructions", len(f))
	}
	for i, in := range f {
		if in.Code&7 == unix.BPF_JMP {
			for _, skip := range []uint8{in.Jt, in.Jf} {
				if i+1+int(skip) >= len(f) {
					t.Errorf("instruction %d jumps to %d of %d", i, i+1+int(skip), len(f))
				}
			}
		}
	}
	if last := f[len(f)-1]; last != answer(unix.SECCOMP_RET_ALLOW) {
		t.Errorf("the last instruction is %+v", last)
	}
}
