package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The tracer: runs contain with all its processes under ptrace(2), counts their system
// calls, and makes one of them fail. Not strace(1): its when=N counts by thread, and so
// aborts contain at a call before its child has made as many.

// call is one system call of a run, by which it is found again in another run: Go's
// scheduler has them made in another order each time.
type call struct {
	Role string // of the process
	Nr   uint64
	Nth  int // of that system call in that role, from 1
}

// The roles. Processes between contain and pid1, and those that Go makes to look what
// the kernel can do, are "init 1", "init 2"... in the order they are made.
const (
	roleContain = "contain"
	roleInit    = "init "
	roleKeeper  = "keeper"
	rolePID1    = "pid1"
	roleChild   = "child" // of pid1, until it executes
	roleProgram = "program"
	roleOrphan  = "orphan" // whose parent has ended before it could be looked at
)

// traced is a process.
type traced struct {
	pid   int
	role  string
	polls int // how many eventfds it has made
}

// tracer runs contain once. All but stop must be called on one thread.
type tracer struct {
	fault  *call // which is to fail; nil: none
	errno  unix.Errno
	counts map[call]int // Nth is 0
	seen   []call       // all that can fail, in their order; without a fault only
	forks  int

	mu      sync.Mutex // for procs
	procs   map[int]*traced
	threads map[int]*traced

	failing  int    // the thread whose call is being made to fail
	injected string // what failed, in words; "": nothing yet
	late     bool   // it did after the program had ended
	past     bool   // the program has ended
	contain  int
	status   syscall.WaitStatus // contain's
	hung     string             // what was left after the time; "": nothing
}

// trace runs contain with these arguments to its end and that of its processes, with
// its outputs into two files. Whatever is left after the limit is killed, and noted.
func (tr *tracer) trace(args []string, stdout, stderr *os.File, limit time.Duration) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := os.StartProcess(containPath, append([]string{"contain"}, args...), &os.ProcAttr{
		Files: []*os.File{null, stdout, stderr},
		Sys:   &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return err
	}
	tr.contain = p.Pid
	defer p.Release()
	first := &traced{pid: p.Pid, role: roleContain}
	tr.counts, tr.procs, tr.threads = map[call]int{}, map[int]*traced{p.Pid: first}, map[int]*traced{p.Pid: first}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(p.Pid, &ws, unix.WALL, nil); err != nil || !ws.Stopped() {
		return fmt.Errorf("wait for contain to be executed: %v, status %#x", err, ws)
	}
	const options = unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE |
		unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD
	if err := unix.PtraceSetOptions(p.Pid, options); err != nil {
		return err
	}
	timer := time.AfterFunc(limit, tr.stop)
	defer timer.Stop()
	tr.resume(p.Pid, 0)
	return tr.follow()
}

// follow waits for what happens to the processes, until there are none.
func (tr *tracer) follow() error {
	for {
		var ws syscall.WaitStatus
		tid, err := syscall.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case err == unix.EINTR:
		case err == unix.ECHILD:
			return nil
		case err != nil:
			return err
		case ws.Stopped():
			tr.resume(tid, tr.stopped(tid, ws))
		default:
			tr.ended(tid, ws)
		}
	}
}

// stop kills what is left, and notes it.
func (tr *tracer) stop() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var left []string
	for pid, p := range tr.procs {
		left = append(left, p.role+" "+whereabouts(pid))
	}
	tr.hung = strings.Join(left, "; ")
	for pid := range tr.procs {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// whereabouts says in which system calls the threads of a process are.
func whereabouts(pid int) string {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	var all []string
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if nr, _, _ := strings.Cut(strings.TrimSpace(string(text)), " "); nr != strconv.Itoa(unix.SYS_FUTEX) {
			all = append(all, nr)
		}
	}
	return "in " + strings.Join(all, ",")
}

func (tr *tracer) ended(tid int, ws syscall.WaitStatus) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	p := tr.threads[tid]
	delete(tr.threads, tid)
	if p == nil || p.pid != tid {
		return
	}
	delete(tr.procs, tid)
	tr.past = tr.past || p.role == roleProgram
	if tid == tr.contain {
		tr.status = ws
	}
}

// stopped does what is to be done when a thread has stopped, and returns the signal that
// it is to be resumed with.
func (tr *tracer) stopped(tid int, ws syscall.WaitStatus) (signal int) {
	p := tr.threads[tid]
	if p == nil {
		p = tr.adopt(tid)
		if ws.StopSignal() == unix.SIGSTOP { // the first of each
			return 0
		}
	}
	switch sig := ws.StopSignal(); {
	case sig == unix.SIGTRAP|0x80:
		tr.atCall(tid, p)
		return 0
	case ws.TrapCause() == unix.PTRACE_EVENT_EXEC:
		role := roleAfterExec(p)
		tr.mu.Lock()
		defer tr.mu.Unlock()
		p.role, p.polls = role, 0
		return 0
	case ws.TrapCause() > 0:
		return 0
	default:
		return int(sig)
	}
}

// resume lets a thread go on, to its next system call if that may be of interest. (That
// of one that was killed meanwhile fails.)
func (tr *tracer) resume(tid, signal int) {
	p := tr.threads[tid]
	wanted := p.role != roleProgram && p.role != roleOrphan
	if tr.fault != nil {
		wanted = tr.failing == tid || tr.injected == "" && p.role == tr.fault.Role
	}
	if wanted {
		_ = unix.PtraceSyscall(tid, signal)
	} else {
		_ = unix.PtraceCont(tid, signal)
	}
}

// adopt takes note of a thread that is new.
func (tr *tracer) adopt(tid int) *traced {
	pid, parent := statusNumber(tid, "Tgid"), statusNumber(tid, "PPid")
	tr.mu.Lock()
	defer tr.mu.Unlock()
	p := tr.procs[pid]
	if p == nil {
		p = &traced{pid: tid, role: roleOrphan}
		if by := tr.procs[parent]; by != nil {
			p.role = tr.roleOfChild(by)
		}
		tr.procs[tid] = p
	}
	tr.threads[tid] = p
	return p
}

func (tr *tracer) roleOfChild(parent *traced) string {
	switch parent.role {
	case rolePID1:
		return roleChild
	case roleChild, roleProgram:
		return roleProgram
	}
	tr.forks++
	return roleInit + strconv.Itoa(tr.forks)
}

// roleAfterExec is the role of a process that has just executed something.
func roleAfterExec(p *traced) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid))
	switch {
	case strings.HasPrefix(exe, "/memfd:contain-init"):
		return rolePID1
	case p.role == rolePID1 || p.role == roleChild:
		return roleProgram
	case bytes.HasPrefix(name, []byte("contain-keeper\x00")):
		return roleKeeper
	}
	return p.role
}

// statusNumber reads a number from /proc/PID/status, 0 if there is none.
func statusNumber(pid int, name string) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(value))
			return n
		}
	}
	return 0
}

// callInfo is struct ptrace_syscall_info at the entry of a call.
type callInfo struct {
	op   uint8
	_    [3]byte
	arch uint32
	ip   uint64
	sp   uint64
	nr   uint64
	args [6]uint64
}

func readCall(tid int) (info callInfo, err error) {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		return info, errno
	}
	return info, nil
}

// atCall counts a call that a thread has stopped at the entry of, and has it fail if it is
// the one. close(2) closes whatever it returns, others do nothing but fail.
func (tr *tracer) atCall(tid int, p *traced) {
	info, err := readCall(tid)
	if err != nil {
		return // killed
	}
	if info.op == unix.PTRACE_SYSCALL_INFO_EXIT && tid == tr.failing {
		_ = setResult(tid, -int64(tr.errno))
		tr.failing = 0
	}
	if info.op != unix.PTRACE_SYSCALL_INFO_ENTRY {
		return
	}
	this := call{Role: p.role, Nr: info.nr}
	tr.counts[this]++
	this.Nth = tr.counts[this]
	if leftOutOf(p, tid, info) {
		return
	}
	if tr.fault == nil {
		tr.seen = append(tr.seen, this)
		return
	}
	if this != *tr.fault || tr.injected != "" {
		return
	}
	tr.injected, tr.late, tr.failing = describe(tid, info), tr.past, tid
	if info.nr != unix.SYS_CLOSE {
		// A system call filter looks at what comes now: it must allow that.
		_ = setCall(tid, unix.SYS_GETPID)
	}
}

// describe is a call's arguments in words: descriptors and texts as such, if they look so.
func describe(tid int, info callInfo) string {
	var words []string
	for i, arg := range info.args[:4] {
		word := fmt.Sprintf("%#x", arg)
		if target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, int32(arg))); err == nil && i == 0 {
			word = fmt.Sprintf("%d<%s>", arg, target)
		} else if text := textAt(tid, uintptr(arg)); text != "" {
			word = strconv.Quote(text)
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

var printable = regexp.MustCompile(`^[ -~]{2,}`)

func textAt(tid int, address uintptr) string {
	b := make([]byte, 96)
	if n, err := unix.PtracePeekData(tid, address, b); address < 1<<16 || err != nil || n < len(b) {
		return ""
	}
	text, _, _ := bytes.Cut(b, []byte{0})
	return string(printable.Find(text))
}

// cannotFail are system calls that the kernel always does, and those that do not return.
var cannotFail = map[uint64]bool{
	unix.SYS_EXIT: true, unix.SYS_EXIT_GROUP: true, unix.SYS_RT_SIGRETURN: true, unix.SYS_SCHED_YIELD: true,
	unix.SYS_GETPID: true, unix.SYS_GETTID: true, unix.SYS_GETPPID: true, unix.SYS_UMASK: true, unix.SYS_SET_TID_ADDRESS: true,
	unix.SYS_GETUID: true, unix.SYS_GETEUID: true, unix.SYS_GETGID: true, unix.SYS_GETEGID: true,
}

// ofTheRuntime are those without which Go's runtime, or the C library's, ends the process
// at once, by a panic or worse: memory, locks, timers, signals, threads, the poller; random
// numbers, without which crypto/rand does; and those that the C library makes in every
// thread, and aborts if they do not all end alike. They are made to fail in pid1 only.
var ofTheRuntime = map[uint64]bool{
	unix.SYS_MMAP: true, unix.SYS_MUNMAP: true, unix.SYS_MADVISE: true, unix.SYS_MPROTECT: true, unix.SYS_MREMAP: true, unix.SYS_BRK: true,
	unix.SYS_FUTEX: true, unix.SYS_RSEQ: true, unix.SYS_NANOSLEEP: true, unix.SYS_GETRANDOM: true,
	unix.SYS_RT_SIGACTION: true, unix.SYS_RT_SIGPROCMASK: true, unix.SYS_SIGALTSTACK: true,
	unix.SYS_EPOLL_CREATE1: true, unix.SYS_EPOLL_PWAIT: true,
	unix.SYS_SETUID: true, unix.SYS_SETGID: true, unix.SYS_SETGROUPS: true,
}

// leftOutOf tells whether a call is not made to fail.
func leftOutOf(p *traced, tid int, info callInfo) bool {
	role := p.role
	switch {
	case cannotFail[info.nr]:
		return true
	case role == rolePID1 || role == roleChild:
		return false // pid1.c has no runtime
	case archCalls[info.nr]:
		return true
	case role == roleProgram || role == roleOrphan || ofTheRuntime[info.nr]:
		return true
	}
	switch info.nr {
	case unix.SYS_CLONE:
		return info.args[0]&unix.CLONE_THREAD != 0
	case unix.SYS_FCNTL: // the runtime looks whether there are 0 to 2
		return info.args[0] <= 2 && info.args[1] == unix.F_GETFD
	case unix.SYS_EVENTFD2: // each process's first is the poller's
		p.polls++
		return p.polls == 1
	case unix.SYS_CLONE3:
		return wordAt(tid, uintptr(info.args[0]))&unix.CLONE_THREAD != 0
	case unix.SYS_READ, unix.SYS_WRITE:
		return wakes(tid, info.args[0])
	case unix.SYS_EPOLL_CTL:
		return wakes(tid, info.args[2])
	}
	return false
}

// wakes tells whether the poller of the runtime is woken by a descriptor.
func wakes(tid int, fd uint64) bool {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, int32(fd)))
	return err == nil && target == "anon_inode:[eventfd]"
}

// wordAt is the first flag word of struct clone_args.
func wordAt(tid int, address uintptr) uint64 {
	var b [8]byte
	_, _ = unix.PtracePeekData(tid, address, b[:])
	return binary.NativeEndian.Uint64(b[:])
}
