package main

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// replaceFD makes fd a copy of source, or closes it where source is -1, until
// the test ends.
func replaceFD(t *testing.T, fd, source int) {
	t.Helper()
	saved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Dup3(saved, fd, 0); err != nil {
			t.Error(err)
		}
		unix.Close(saved)
	})
	if source < 0 {
		err = unix.Close(fd)
	} else {
		err = unix.Dup3(source, fd, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Standard output and error are the test's own; what holds for input holds
// for them, by the same loop.
func TestCheckStdio(t *testing.T) {
	const directory = " is a directory, through which the program could leave its root"
	tests := []struct {
		name  string
		path  string // "" for closed
		flags int
		want  string
	}{
		{"null", "/dev/null", unix.O_RDONLY, ""},
		{"file", "host_test.go", unix.O_RDONLY, ""},
		{"directory", "/", unix.O_RDONLY, "standard input" + directory},
		{"directory, O_PATH", "/", unix.O_PATH, "standard input" + directory},
		{"link, O_PATH", "/proc/self/exe", unix.O_PATH | unix.O_NOFOLLOW, "standard input is an O_PATH descriptor"},
		{"file, O_PATH", "host_test.go", unix.O_PATH, "standard input is an O_PATH descriptor"},
		{"closed", "", 0, "standard input: bad file descriptor"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source := -1
			if test.path != "" {
				var err error
				if source, err = unix.Open(test.path, test.flags|unix.O_CLOEXEC, 0); err != nil {
					t.Fatal(err)
				}
				defer unix.Close(source)
			}
			replaceFD(t, 0, source)
			if got := text(checkStdio()); got != test.want {
				t.Errorf("checkStdio: %q, want %q", got, test.want)
			}
		})
	}
}

func TestReadCaller(t *testing.T) {
	before := unix.Umask(0o037)
	defer unix.Umask(before)
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil {
		t.Fatal(err)
	}
	var h host
	h.readCaller(options{})
	if h.umask != 0o037 {
		t.Errorf("umask %#o, want 037", h.umask)
	}
	if now := unix.Umask(0o037); now != 0o037 {
		t.Errorf("umask is %#o afterwards", now)
	}
	if h.coreHard != core.Max {
		t.Errorf("core limit %d, want %d", h.coreHard, core.Max)
	}
}

// What was opened is closed.
func TestHostClose(t *testing.T) {
	open := func() *os.File {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	h := host{rootfs: &rootfs{dir: open()}, netns: open()}
	h.close()
	for _, f := range []*os.File{h.rootfs.dir, h.netns} {
		if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("it is open, %v", err)
		}
	}
	host{rootfs: &rootfs{dir: open()}}.close()
}
