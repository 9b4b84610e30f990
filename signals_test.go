package main

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the Go runtime can wait for, and what it cannot, is taken as often as it comes.
func TestWhenReadable(t *testing.T) {
	for name, flags := range map[string]int{"does not block": unix.O_NONBLOCK, "blocks": 0} {
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|flags); err != nil {
			t.Fatal(err)
		}
		taken := make(chan byte)
		go whenReadable(os.NewFile(uintptr(pipe[0]), name), func() bool {
			var b [1]byte
			for isReadable(pipe[0]) {
				if n, _ := unix.Read(pipe[0], b[:]); n == 1 {
					taken <- b[0]
				}
			}
			return false
		})
		for _, text := range []string{"a", "bc", "d"} {
			if _, err := unix.Write(pipe[1], []byte(text)); err != nil {
				t.Fatal(err)
			}
			for i := range text {
				select {
				case b := <-taken:
					if b != text[i] {
						t.Errorf("%s: %q of %q", name, b, text)
					}
				case <-time.After(10 * time.Second):
					t.Fatalf("%s: %q is not taken", name, text[i:])
				}
			}
		}
	}
}
