// Which file the program is, and whether the kernel can execute it: the
// difference between 126 and 127, with the file that is the cause. libcontainer
// reports neither: its last step, execve, fails after its pipes are closed.
//
// The verdicts are those of execve(2) for root: fs/exec.c, fs/binfmt_elf.c and
// fs/binfmt_script.c.

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// searchPath is the program's PATH.
const searchPath = "/bin:/usr/bin:/sbin:/usr/sbin"

// maxInterpreters is how many #! lines the kernel follows (BINPRM_MAX_RECURSION
// less one; exec.c gives up with ELOOP beyond).
const maxInterpreters = 5

// scriptHead is how much of a file the kernel reads to tell what it is
// (BINPRM_BUF_SIZE).
const scriptHead = 256

// programs is where programs are looked for, and of which kind.
type programs struct {
	*rootfs
	path   string // for names without a slash
	bits32 bool
}

// checkProgram reports why name, as argv[0], would not start: an exitError with 126 or 127.
func checkProgram(in programs, name string) error {
	f, file, err := findProgram(in, name)
	if err != nil {
		return err
	}
	defer f.Close() // of a nil file, too
	return checkExecutable(in, f, file, maxInterpreters)
}

// mountedOver tells whether file lies, or is reached through a directory, where
// DIR's own files are not what the program sees.
func mountedOver(file string) bool {
	for _, p := range []string{file, path.Clean("/" + file)} {
		switch top, _, _ := strings.Cut(strings.TrimLeft(p, "./"), "/"); top {
		case "proc", "sys", "dev":
			return true
		}
	}
	return false
}

func notFound(format string, args ...any) error {
	return &exitError{exitNotFound, fmt.Errorf(format, args...)}
}

func cannotExec(format string, args ...any) error {
	return &exitError{exitCannotExec, fmt.Errorf(format, args...)}
}

// findProgram opens the file that name means: the path itself if it has a
// slash, else the first executable of that name in the path. A nil file
// without an error means that only the start itself can tell.
func findProgram(in programs, name string) (*os.File, string, error) {
	if strings.Contains(name, "/") {
		if mountedOver(name) {
			return nil, name, nil
		}
		f, err := openProgram(in, name)
		return f, name, err
	}
	var denied error
	for dir := range strings.SplitSeq(in.path, ":") {
		file := dir + "/" + name
		f, err := openProgram(in, file)
		if err == nil {
			return f, file, nil
		}
		var e *exitError
		dangling := errors.As(err, new(danglingError))
		if name != "" && denied == nil && (dangling || errors.As(err, &e) && e.code == exitCannotExec) {
			denied = err
		}
	}
	if denied != nil {
		return nil, "", denied
	}
	return nil, "", notFound("program %s: not found in %s", quoted(name), in.path)
}

// danglingError is about a symbolic link that leads nowhere in DIR: what a link to an
// absolute path of the host's becomes in a copied tree.
type danglingError struct{ to string }

func (e danglingError) Error() string {
	return "is a symbolic link to " + quoted(e.to) + ", which is not in DIR"
}

// linkTo returns where a symbolic link in DIR leads, or "".
func (r *rootfs) linkTo(file string) string {
	f, err := r.open(file, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return ""
	}
	defer f.Close()
	var text [unix.PathMax]byte
	n, err := unix.Readlinkat(int(f.Fd()), "", text[:])
	if err != nil {
		return ""
	}
	return string(text[:n])
}

// openProgram opens file for reading if it passes the tests that do not depend
// on its contents.
func openProgram(in programs, file string) (*os.File, error) {
	f, err := in.open(file, unix.O_PATH)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		if to := in.linkTo(file); to != "" {
			err = danglingError{to}
		}
		return nil, notFound("program %s: %w", quoted(file), err)
	case err != nil:
		return nil, cannotExec("program %s: %w", quoted(file), reason(err))
	}
	defer f.Close()
	if err := checkMode(f); err != nil {
		return nil, cannotExec("program %s: %w", quoted(file), err)
	}
	readable, err := reopen(f)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return nil, cannotExec("program %s: %w", quoted(file), err)
	}
	return readable, nil // nil for one that cannot be looked into now
}

// checkMode applies the rules that even root is under.
func checkMode(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return reason(err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return errors.New("is a directory")
	case !info.Mode().IsRegular():
		return errors.New("is not a regular file")
	case info.Mode()&0o111 == 0:
		return errors.New("permission denied (no execute bit is set)")
	case fs.Flags&unix.ST_NOEXEC != 0:
		return errors.New("permission denied (its file system is mounted noexec)")
	}
	return nil
}

// checkExecutable looks into the file as the kernel will, if there is one.
func checkExecutable(in programs, f *os.File, file string, depth int) error {
	if f == nil {
		return nil
	}
	head := make([]byte, scriptHead)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return cannotExec("program %s: %w", quoted(file), reason(err))
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte("#!")):
		return checkScript(in, head, file, depth)
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return checkELF(in, f, file)
	case otherFormats():
		return nil
	case n == 0:
		return cannotExec("program %s: exec format error (the file is empty)", quoted(file))
	}
	return cannotExec("program %s: exec format error (neither ELF nor a script with #!)", quoted(file))
}

// otherFormats tells whether the host has binfmt_misc handlers, which can make
// any file executable; then only execve knows.
func otherFormats() bool {
	entries, err := os.ReadDir("/proc/sys/fs/binfmt_misc")
	return err == nil && len(entries) > 2 // more than register and status
}

// checkScript finds the interpreter that a #! line names. head is what the
// kernel looks at: the file's first 256 bytes, or all of it.
func checkScript(in programs, head []byte, file string, depth int) error {
	line, _, whole := bytes.Cut(head[2:], []byte("\n"))
	line = bytes.TrimLeft(line, " \t")
	end := bytes.IndexAny(line, " \t\x00")
	if end < 0 && !whole && len(head) == scriptHead {
		return cannotExec("program %s: exec format error (its #! line is too long)", quoted(file))
	}
	if end >= 0 {
		line = line[:end]
	}
	name := string(line)
	switch {
	case name == "":
		return cannotExec("program %s: exec format error (its #! line names no interpreter)", quoted(file))
	case depth == 0:
		return cannotExec("program %s: too many levels of #! interpreters", quoted(file))
	case mountedOver(name):
		return nil
	}
	f, err := openProgram(in, name)
	if err != nil {
		return about(err, "interpreter %s of program %s", quoted(name), quoted(file))
	}
	defer f.Close()
	return checkExecutable(in, f, name, depth-1)
}

// about renames the file that an exitError of openProgram is about.
func about(err error, format string, args ...any) error {
	var e *exitError
	if !errors.As(err, &e) {
		return err
	}
	return &exitError{e.code, fmt.Errorf(format+": %w", append(args, cause(e.err))...)}
}

// cause returns the innermost error.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// ELF constants, elf(5).
const (
	elfClass64   = 2
	elfExec      = 2
	elfDyn       = 3
	elfInterp    = 3 // PT_INTERP
	elfPhdrSize  = 56
	elfMaxPhdrs  = 65536 / elfPhdrSize // load_elf_phdrs, binfmt_elf.c
	elfMaxInterp = 4096                // PATH_MAX
)

var (
	elfMachine   = map[string]uint16{"amd64": 62, "arm64": 183}
	elfMachine32 = map[string]uint16{"amd64": 3, "arm64": 40}
)

// checkELF compares the file with the machine and finds its loader.
func checkELF(in programs, f *os.File, file string) error {
	var h struct {
		Ident                            [16]byte
		Type, Machine                    uint16
		Version                          uint32
		Entry, Phoff, Shoff              uint64
		Flags                            uint32
		Ehsize, Phentsize, Phnum, Shsize uint16
	}
	broken := func(why string) error {
		if otherFormats() {
			return nil
		}
		return cannotExec("program %s: exec format error (%s)", quoted(file), why)
	}
	// Of a machine's own class and byte order the kernel asks e_machine only.
	err := binary.Read(io.NewSectionReader(f, 0, 64), binary.LittleEndian, &h)
	switch {
	case err != nil:
		return broken("the file is cut short")
	case h.Ident[4] != elfClass64 && h.Machine == elfMachine32[runtime.GOARCH]:
		if in.bits32 {
			return nil
		}
		return cannotExec("program %s: is a 32-bit program, which the system call filter does not allow: -allow-32bit does", quoted(file))
	case h.Machine != elfMachine[runtime.GOARCH], h.Ident[4] != elfClass64 && h.Phentsize != elfPhdrSize:
		return broken("built for another machine than " + runtime.GOARCH)
	case h.Type != elfExec && h.Type != elfDyn:
		return broken("not an executable")
	case h.Phentsize != elfPhdrSize, h.Phnum == 0, h.Phnum > elfMaxPhdrs:
		return broken("bad program headers")
	}
	loader, err := elfLoader(f, h.Phoff, int(h.Phnum))
	if err != nil {
		return broken("bad program headers")
	}
	if loader == "" || mountedOver(loader) {
		return nil
	}
	l, err := openProgram(in, loader)
	if err != nil {
		return about(err, "loader %s of program %s", quoted(loader), quoted(file))
	}
	l.Close()
	return nil
}

// elfLoader returns the path in the file's PT_INTERP header, or "".
func elfLoader(f *os.File, off uint64, n int) (string, error) {
	type header struct {
		Type, Flags                                      uint32
		Offset, Vaddr, Paddr, FileSize, MemSize, Address uint64
	}
	headers := make([]header, n)
	r := io.NewSectionReader(f, int64(off), int64(n)*elfPhdrSize)
	if err := binary.Read(r, binary.LittleEndian, headers); err != nil {
		return "", err
	}
	for _, h := range headers {
		if h.Type != elfInterp {
			continue
		}
		if h.FileSize < 2 || h.FileSize > elfMaxInterp {
			return "", errors.New("bad PT_INTERP")
		}
		text := make([]byte, h.FileSize)
		if _, err := f.ReadAt(text, int64(h.Offset)); err != nil {
			return "", err
		}
		if text[len(text)-1] != 0 {
			return "", errors.New("bad PT_INTERP")
		}
		name, _, _ := bytes.Cut(text, []byte{0})
		return string(name), nil
	}
	return "", nil
}
