// How contain ends: the exit statuses it promises, the mapping from errors and
// wait statuses to them, and the one line it prints about a failure.

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Exit statuses of contain's own, as chroot(1) of coreutils has them.
const (
	exitTimedOut    = 124 // as timeout(1) has it
	exitFailed      = 125 // contain itself failed, or was used wrongly
	exitCannotExec  = 126 // the program was found but cannot be executed
	exitNotFound    = 127 // the program, its interpreter or loader was not found
	exitSignalShift = 128 // + signal, where dying of the signal is impossible
)

// status is how a process ended: by a signal, or else with an exit code.
type status struct {
	code   int
	signal unix.Signal
	typed  bool // the signal was, and is for the whole process group
	cause  string
}

var failed = status{code: exitFailed, cause: causeContain}

// exitError is an error that asks for a particular exit status.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// hintError adds to an error what the user can do about it.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

func withHint(err error, hint string) error { return &hintError{err, hint} }

// then adds to an error what went wrong in undoing things after it; either may
// be nil. (errors.Join would make two lines of them.)
func then(err, undo error) error {
	switch {
	case err == nil:
		return undo
	case undo == nil:
		return err
	}
	return fmt.Errorf("%w; then: %w", err, undo)
}

// statusOf maps an error of contain's own to the status it ends with.
func statusOf(err error) status {
	var e *exitError
	switch {
	case err == nil:
		return status{}
	case errors.As(err, &e):
		return status{code: e.code, cause: causeContain}
	}
	return failed
}

// statusOfWait maps what wait4(2) reported for the program.
func statusOfWait(ws unix.WaitStatus) status {
	if ws.Signaled() {
		return status{signal: ws.Signal(), cause: causeSignal}
	}
	return status{code: ws.ExitStatus(), cause: causeExited}
}

// report prints err as one line, and its hint, if it has one, as a second.
// Control characters are escaped: neither a file name nor a library's error
// can forge a line.
func report(w io.Writer, err error) {
	fmt.Fprintf(w, "contain: %s\n", oneLine(err.Error()))
	var h *hintError
	if errors.As(err, &h) {
		fmt.Fprintf(w, "hint: %s\n", oneLine(h.hint))
	}
}

// unread is a descriptor to which contain writes even if nobody reads it: os.Stderr would die of
// SIGPIPE, before all is undone or with the wrong status.
type unread int

func (d unread) Write(p []byte) (int, error) {
	if err := writeAll(int(d), p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func oneLine(s string) string {
	var b strings.Builder
	for _, r := range strings.TrimRight(s, "\n") {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		q := fmt.Sprintf("%q", r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

// end ends the process and does not return. The caller must be done with
// everything: no deferred function runs.
func (s status) end() {
	if s.typed {
		_ = unix.Kill(0, s.signal) // contain itself is dead of it only next
	}
	if s.signal != 0 {
		dieOf(s.signal)
		os.Exit(exitSignalShift + int(s.signal))
	}
	os.Exit(s.code)
}

// letDie has the usual signals to end end this process at once: it is done, but for
// a line to somebody who may never read it.
func letDie() {
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		if !ignoredByCaller(sig) {
			setDefault(sig)
		}
	}
}

// setDefault gives a signal its default action, and unblocks it in this thread. It
// calls the kernel directly because the Go runtime keeps its own handler on SIGSEGV
// and its like even after signal.Reset.
func setDefault(sig unix.Signal) {
	// struct kernel_sigaction, all zero: SIG_DFL, no flags, empty mask.
	var dfl [4]uint64
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&dfl)), 0, 8, 0, 0)
	set := uint64(1) << (sig - 1)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_UNBLOCK, uintptr(unsafe.Pointer(&set)), 0, 8, 0, 0)
}

// dieOf makes the process die of sig, as strace(1) and sudo(8) do, so that the
// caller's wait status is the one the program would have given. It writes no
// core file: PR_SET_DUMPABLE, unlike RLIMIT_CORE 0, also keeps the kernel from
// starting a core_pattern pipe (core(5)). It returns only where the kernel
// spares the process: contain is PID 1 of a PID namespace.
func dieOf(sig unix.Signal) {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	setDefault(sig)
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), sig)
}
