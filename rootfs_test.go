package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// entry makes one file of a tree.
type entry func(path string) error

func file(mode os.FileMode, data string) entry {
	return func(path string) error {
		return errors.Join(os.WriteFile(path, []byte(data), 0o600), os.Chmod(path, mode))
	}
}

func link(target string) entry {
	return func(path string) error { return os.Symlink(target, path) }
}

func directory() entry {
	return func(path string) error { return os.Mkdir(path, 0o755) }
}

func fifo() entry {
	return func(path string) error { return unix.Mkfifo(path, 0o755) }
}

type tree map[string]entry

func (tr tree) make(t *testing.T, dir string) {
	t.Helper()
	for name, entry := range tr {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := entry(path); err != nil {
			t.Fatal(err)
		}
	}
}

// newRoot makes DIR of a tree. Beside it, outside of it, is a file called
// canary, which must not be reached.
func newRoot(t *testing.T, tr tree) *rootfs {
	t.Helper()
	base := t.TempDir()
	dir := filepath.Join(base, "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	tree{"canary": file(0o755, buildELF("", nil))}.make(t, base)
	tr.make(t, dir)
	root, err := openRootfs(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(root.close)
	return root
}

func TestOpenRootfs(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	tree{
		"dir/etc/x":        file(0o644, ""),
		"full/proc":        directory(),
		"full/sys":         directory(),
		"full/dev":         directory(),
		"link":             link("dir"),
		"absolute":         link(filepath.Join(base, "dir")),
		"chain":            link("link"),
		"a:b,c=d\\ \n\x1b": directory(),
		"\xff/sub":         directory(),
	}.make(t, base)
	t.Chdir(base)
	tests := []struct{ in, want string }{
		{filepath.Join(base, "dir"), "dir"},
		{"dir", "dir"},
		{"dir/", "dir"},
		{"./dir/etc/..//", "dir"},
		{"//" + base + "//dir", "dir"},
		{".", ""},
		{"full", "full"},
		{"link", "dir"},
		{"absolute", "dir"},
		{"chain/", "dir"},
		{"a:b,c=d\\ \n\x1b", "a:b,c=d\\ \n\x1b"},
		{"\xff/sub", "\xff/sub"},
	}
	for _, test := range tests {
		root, err := openRootfs(test.in, false)
		if err != nil {
			t.Errorf("openRootfs(%q, false): %v", test.in, err)
			continue
		}
		want, err := os.Stat(filepath.Join(base, test.want))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := root.dir.Stat(); err != nil || !os.SameFile(got, want) {
			t.Errorf("openRootfs(%q, false) is not %q (%v)", test.in, test.want, err)
		}
		root.close()
	}
}

func TestOpenRootfsRefuses(t *testing.T) {
	const pseudo = "is in a pseudo file system of the kernel, not usable as a root"
	base := t.TempDir()
	tree{
		"file":            file(0o755, ""),
		"fifo":            fifo(),
		"dangling":        link("nowhere"),
		"loop":            link("loop"),
		"tofile":          link("file"),
		"toroot":          link("/"),
		"proclink/x":      directory(),
		"proclink/proc":   link("x"),
		"sysdangling/sys": link("nowhere"),
		"devfile/dev":     file(0o644, ""),
		"procfifo/proc":   fifo(),
	}.make(t, base)
	t.Chdir(base)
	tests := []struct{ in, want string }{
		{"nowhere", "no such file or directory"},
		{"dir/nowhere", "no such file or directory"},
		{"dangling", "no such file or directory"},
		{"file", "not a directory"},
		{"file/x", "not a directory"},
		{"tofile", "not a directory"},
		{"fifo", "not a directory"},
		{"/dev/null", "not a directory"},
		{"loop", "too many levels of symbolic links"},
		{strings.Repeat("x", 300), "file name too long"},
		{"/", "is the host's own /, not usable as a root"},
		{"//.", "is the host's own /, not usable as a root"},
		{"toroot", "is the host's own /, not usable as a root"},
		{"/proc/self/root", "is the host's own /, not usable as a root"},
		{"/dev", "is the host's own /dev, not usable as a root"},
		{"/proc", pseudo},
		{"/proc/self/fd", pseudo},
		{"/sys", pseudo},
		{"/sys/kernel", pseudo},
		{"proclink", "proc in it is not a directory (it is mounted over)"},
		{"sysdangling", "sys in it is not a directory (it is mounted over)"},
		{"devfile", "dev in it is not a directory (it is mounted over)"},
		{"procfifo", "proc in it is not a directory (it is mounted over)"},
	}
	for _, test := range tests {
		root, err := openRootfs(test.in, false)
		if text(err) != test.want || root != nil {
			t.Errorf("openRootfs(%s, false): %v, want %q", quoted(test.in), err, test.want)
		}
	}
}

func TestOpenRootfsDeletedDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("PWD", "")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := openRootfs(".", false); !errors.Is(err, unix.ENOENT) {
		t.Errorf("openRootfs(., false) in a deleted directory: %v", err)
	}
}

// Whatever a link in DIR says, the file is one of DIR's or none.
func TestRootfsOpenStaysInside(t *testing.T) {
	root := newRoot(t, tree{
		"in":         file(0o644, "inside"),
		"etc/in":     file(0o644, "etc"),
		"relative":   link("etc/in"),
		"absolute":   link("/etc/in"),
		"up":         link("../../../../etc/in"),
		"sub/up":     link("../../in"),
		"upward":     link(".."),
		"out":        link("../canary"),
		"magic":      link("/proc/self/root/in"),
		"chain":      link("/chain2"),
		"chain2":     link("absolute"),
		"loop":       link("loop"),
		"etc/upward": link("../../../.."),
	})
	tree{"outabsolute": link(filepath.Join(filepath.Dir(root.dir.Name()), "canary"))}.make(t, root.dir.Name())
	tests := []struct {
		path, want string
		err        error
	}{
		{"in", "inside", nil},
		{"/in", "inside", nil},
		{"//in", "inside", nil},
		{"./in", "inside", nil},
		{"../in", "inside", nil},
		{"/../../../in", "inside", nil},
		{"etc/../in", "inside", nil},
		{"relative", "etc", nil},
		{"absolute", "etc", nil},
		{"up", "etc", nil},
		{"sub/up", "inside", nil},
		{"upward/in", "inside", nil},
		{"etc/upward/in", "inside", nil},
		{"chain", "etc", nil},
		{"canary", "", unix.ENOENT},
		{"../canary", "", unix.ENOENT},
		{"upward/canary", "", unix.ENOENT},
		{"etc/upward/canary", "", unix.ENOENT},
		{"out", "", unix.ENOENT},
		{"outabsolute", "", unix.ENOENT},
		{filepath.Join(filepath.Dir(root.dir.Name()), "canary"), "", unix.ENOENT},
		{"magic", "", unix.ENOENT},
		{"/proc/self/root/in", "", unix.ENOENT},
		{"loop", "", unix.ELOOP},
		{"in/x", "", unix.ENOTDIR},
		{"", "", unix.ENOENT},
	}
	for _, test := range tests {
		f, err := root.open(test.path, unix.O_RDONLY)
		if !errors.Is(err, test.err) {
			t.Errorf("open(%q): %v, want %v", test.path, err, test.err)
		}
		if err != nil {
			continue
		}
		data, err := io.ReadAll(f)
		if string(data) != test.want || err != nil {
			t.Errorf("open(%q) reads %q, %v; want %q", test.path, data, err, test.want)
		}
		f.Close()
	}
}

func TestReason(t *testing.T) {
	_, err := os.Open("/nonexistent")
	if got := reason(err); got != error(unix.ENOENT) {
		t.Errorf("reason(%v) = %v", err, got)
	}
	plain := errors.New("x")
	if got := reason(plain); got != plain {
		t.Errorf("reason(%v) = %v", plain, got)
	}
}
