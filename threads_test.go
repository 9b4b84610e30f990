package main

import (
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// However many processors there are, Go uses two; and it finds what the kernel has put
// behind the variables.
func TestFewProcessors(t *testing.T) {
	if n := runtime.GOMAXPROCS(0); n != min(2, runtime.NumCPU()) {
		t.Errorf("Go uses %d processors", n)
	}
	if runtime.GOARCH != goHostArch() {
		t.Skip("user-mode emulation has no /proc/self/auxv of its own")
	}
	found, err := unix.Auxv()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		t.Fatal(err)
	}
	var want [][2]uintptr
	for ; len(text) >= 16 && text[0] != 0; text = text[16:] {
		want = append(want, [2]uintptr{uintptr(binary.NativeEndian.Uint64(text)), uintptr(binary.NativeEndian.Uint64(text[8:]))})
	}
	if !slices.Equal(found, want) || len(want) < 10 {
		t.Errorf("the auxiliary vector is %v, want %v", found, want)
	}
}
