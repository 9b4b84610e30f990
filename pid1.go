// The container's init: the code of pid1.c, made into an executable of its own
// that needs no file, and what contain tells it and hears from it.
//
// It costs one exec and one page. A Go init costs 8 MB and 4 ms more (measured),
// and the program itself as PID 1 is spared the signals it has no handler for.

package main

/*
#cgo CFLAGS: -Os
#include "pid1.h"

extern char __start_pid1[], __stop_pid1[];
extern void pid1_main(void);
*/
import "C"

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pid1Path is how libcontainer's init executes pid1: by its descriptor.
const pid1Path = "/proc/self/fd/4"

// pid1Image returns the ELF file of pid1: headers, then the code, in one page.
func pid1Image() []byte {
	const (
		base    = 0x400000
		headers = 192 // more than the headers take, and aligned for the code
	)
	start := uintptr(unsafe.Pointer(&C.__start_pid1))
	code := C.GoBytes(unsafe.Pointer(&C.__start_pid1), C.int(uintptr(unsafe.Pointer(&C.__stop_pid1))-start))
	entry := base + headers + uint64(uintptr(C.pid1_main)-start)
	size := uint64(headers + len(code))
	file := elf.Header64{
		Ident:   [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: elfMachine[runtime.GOARCH],
		Version: uint32(elf.EV_CURRENT),
		Entry:   entry,
		Phoff:   64, Ehsize: 64, Phentsize: elfPhdrSize, Phnum: 2,
	}
	segments := [2]elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 4096},
		{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W)},
	}
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, file) // into memory: cannot fail
	binary.Write(&b, binary.LittleEndian, segments)
	b.Write(make([]byte, headers-b.Len()))
	b.Write(code)
	return b.Bytes()
}

// task is what pid1 is to start, and how. See struct task.
type task struct {
	argv, env []string
	caps      capSet // the program's capabilities
	user      programUser
	newPrivs  bool // it may gain privileges
	filter    []unix.SockFilter
	workdir   string             // "": /
	path      string             // where a program without a slash is looked for
	direct    bool               // the program itself becomes PID 1
	session   bool               // it gets a session of its own
	tty       uint32             // a mask: which of descriptors 0 to 2 are to be the terminal
	front     bool               // the program begins in the terminal's foreground
	doors     doors              // of its cgroup
	cpus      unix.CPUSetDynamic // what it may run on; nil: all of its cgroup
}

// encode writes the task as pid1 reads it: argv and env byte for byte. The
// program is searched for as execvp(3) does.
func (t task) encode() ([]byte, error) {
	paths := []string{t.argv[0]}
	if !strings.Contains(t.argv[0], "/") {
		paths = nil
		for dir := range strings.SplitSeq(t.path, ":") {
			if dir == "" {
				dir = "." // execvp(3)
			}
			paths = append(paths, dir+"/"+t.argv[0])
		}
	}
	into, joins := 0, len(t.doors.files)
	if t.doors.into {
		into, joins = 1, 0
	}
	head := struct { // struct task
		mask, ignored, caps                 uint64
		direct, session, into, joins, first uint32
		filter, cpus, paths, args, envs     uint32
		tty, foreground                     uint32
		uid, gid, privs, workdir            uint32
	}{
		mask: blockedByCaller(), ignored: ignoredMask(), caps: uint64(t.caps),
		direct: flag32(t.direct), session: flag32(t.session), into: uint32(into), joins: uint32(joins), first: uint32(t.doors.first),
		filter: uint32(len(t.filter)), cpus: uint32(len(t.cpus)),
		paths: uint32(len(paths)), args: uint32(len(t.argv)), envs: uint32(len(t.env)),
		tty: t.tty, foreground: flag32(t.front),
		uid: t.user.uid, gid: t.user.gid, privs: flag32(t.newPrivs), workdir: flag32(t.workdir != ""),
	}
	var b bytes.Buffer
	binary.Write(&b, binary.NativeEndian, head)
	binary.Write(&b, binary.NativeEndian, t.filter)
	for _, word := range t.cpus {
		binary.Write(&b, binary.NativeEndian, uint64(word))
	}
	var first []string
	if t.workdir != "" {
		first = []string{t.workdir}
	}
	for _, list := range [][]string{first, paths, t.argv, t.env} {
		for _, s := range list {
			b.WriteString(s)
			b.WriteByte(0)
		}
	}
	if b.Len() > C.PID1_TASK_MAX {
		return nil, errors.New("argument list too long")
	}
	return b.Bytes(), nil
}

func flag32(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// sealedFile returns an anonymous file with the given contents, which nobody
// can change any more.
func sealedFile(name string, contents []byte) (*os.File, error) {
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 every memfd was executable
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err = f.Write(contents); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("fill memfd: %w", err)
	}
	return f, nil
}

// pid1Report is what pid1 has to say about the program.
type pid1Report struct {
	kind  uint32
	value int32
}

// encode is the report as it is sent.
func (r pid1Report) encode() []byte {
	b := binary.LittleEndian.AppendUint32(nil, r.kind)
	return binary.LittleEndian.AppendUint32(b, uint32(r.value))
}

const (
	pid1NotStarted  = C.PID1_NOT_STARTED
	pid1NotFiltered = C.PID1_NOT_FILTERED
	pid1NotExecuted = C.PID1_NOT_EXECUTED
	pid1Netns       = C.PID1_NETNS
	pid1Unlimited   = C.PID1_UNLIMITED
	pid1Ready       = C.PID1_READY
	pid1Stopped     = C.PID1_STOPPED
	pid1Continued   = C.PID1_CONTINUED
	pid1Ended       = C.PID1_ENDED

	pid1ToProgram = 0 // how a signal is sent: to the program alone
	pid1ToGroup   = C.PID1_TO_GROUP
	pid1ToFront   = C.PID1_TO_FRONT
)

// pid1Failures says which steps of pid1's have failed.
var pid1Failures = map[uint32]string{
	pid1NotStarted:      "start a process for the program",
	C.PID1_NO_TERMINAL:  "give the program its terminal",
	C.PID1_NOT_JOINED:   "enter the program's cgroup",
	C.PID1_NOT_PINNED:   "set the program's CPU affinity",
	C.PID1_NOT_UNSHARED: "make a cgroup namespace",
	C.PID1_NOT_DROPPED:  "drop capabilities",
	C.PID1_NOT_USER:     "become the program's user",
	pid1NotFiltered:     "load the system call filter (needs a kernel with CONFIG_SECCOMP_FILTER)",
}

// readReport reads the next report. It returns io.EOF when pid1 has ended, and
// libcontainer's words if those come instead: it could not execute pid1.
func readReport(r io.Reader) (pid1Report, error) {
	var b [8]byte
	n, err := io.ReadFull(r, b[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return pid1Report{}, err
	}
	report := pid1Report{binary.LittleEndian.Uint32(b[:]), int32(binary.LittleEndian.Uint32(b[4:]))}
	if report.kind >= pid1NotStarted && report.kind <= pid1Ended {
		return report, err
	}
	text, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil {
		return report, err
	}
	return report, fmt.Errorf("start container: %s", bytes.TrimSpace(append(b[:n:n], text...)))
}

// peerOf returns the process, in contain's PID namespace, that has sent what is next
// to be read from r: the kernel says so (SO_PASSCRED, unix(7)). The program's, after
// READY, waits and can only have been killed. At the end it returns 0.
func peerOf(r *os.File) (pid int, err error) {
	var b [1]byte
	control := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	n, size, _, _, err := unix.Recvmsg(int(r.Fd()), b[:], control, unix.MSG_PEEK)
	for err == unix.EINTR {
		n, size, _, _, err = unix.Recvmsg(int(r.Fd()), b[:], control, unix.MSG_PEEK)
	}
	if err != nil || n == 0 {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("credentials of a report: %d, %w", len(messages), err)
	}
	cred, err := unix.ParseUnixCredentials(&messages[0])
	if err != nil {
		return 0, fmt.Errorf("credentials of a report: %w", err)
	}
	return int(cred.Pid), nil
}

// failure is the error that a report is about, if it is about one: why the
// task's program was not started.
func (r pid1Report) failure(t task) error {
	name, errno := t.argv[0], unix.Errno(r.value)
	switch what, failed := pid1Failures[r.kind]; {
	case r.kind == C.PID1_NO_WORKDIR:
		return fmt.Errorf("-workdir %s: %w", quoted(t.workdir), errno)
	case failed:
		return fmt.Errorf("%s: %w", what, errno)
	case r.kind != pid1NotExecuted:
		return nil
	case errno == unix.ENOENT || errno == unix.ENOTDIR:
		return notFound("program %s: %w", quoted(name), errno)
	}
	return cannotExec("program %s: %w", quoted(name), errno)
}
