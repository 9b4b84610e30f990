package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// However many processors there are, Go uses two; and what the kernel has put behind the
// variables is there still, where the Go runtime looks. (Else that reads /proc/self/auxv.)
func TestFewProcessors(t *testing.T) {
	want := fmt.Sprint(min(2, runtime.NumCPU()))
	if n := fmt.Sprint(runtime.GOMAXPROCS(0)); n != want || os.Getenv("GOMAXPROCS") != want {
		t.Errorf("Go uses %s processors, and was told %q, want %s", n, os.Getenv("GOMAXPROCS"), want)
	}
	if runtime.GOARCH != goHostArch() {
		t.Skip("user-mode emulation has no /proc/self/auxv of its own")
	}
	vector, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, fields, _ := strings.Cut(string(stat), ") ")
	bottom, err := strconv.ParseInt(strings.Fields(fields)[25], 10, 64) // startstack
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	words := make([]byte, 1<<16)
	n, err := memory.ReadAt(words, bottom)
	if n == 0 {
		t.Fatal(err)
	}
	words = words[:n]
	next := func() (word uint64) {
		word, words = binary.NativeEndian.Uint64(words), words[8:]
		return word
	}
	next()            // argc
	for next() != 0 { // arguments
	}
	for next() != 0 { // variables
	}
	pairs := bytes.LastIndexFunc(vector, func(r rune) bool { return r != 0 })/16*16 + 16 // but for the last, of zeroes
	if pairs < 10*16 || !bytes.HasPrefix(words, vector[:pairs+8]) {
		t.Errorf("the auxiliary vector is %x, want %x", words[:pairs+8], vector[:pairs+8])
	}
}
