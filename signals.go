// Signals: everything that can be caught is caught before the first change to
// the host, kept until the program runs, and then passed to it.

package main

/*
#include "signals.h"
*/
import "C"

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigRTMin is glibc's SIGRTMIN; 32 and 33 are glibc's own.
const sigRTMin = unix.Signal(34)

// toGroup is added to a signal that came from the kernel, for contain's process
// group: a terminal's Ctrl-C is. The program's group gets it.
const toGroup = unix.Signal(C.NOTE_TO_GROUP)

// panicOn is the name of a signal that makes contain panic, in a binary that its
// linker was told so for a test.
var panicOn string

// signals holds what arrives at contain.
type signals struct {
	caught chan os.Signal // some with toGroup added
	later  []os.Signal    // taken from caught, for the program
	fd     int            // the signalfd of most of them
	notes  [2]int         // a pipe for some, see signals.c
	files  [2]*os.File    // the signalfd, and the end of the pipe that is read
	paused chan struct{}  // says that the barrier was reached
	noting sync.Mutex     // held while what is read from it is kept

	// Held while a SIGCONT is taken from fd, and while contain is stopped: so that
	// none is on its way when it stops.
	mu       sync.Mutex
	resuming atomic.Int32 // SIGCONTs that are on their way to the program

	all, noted uint64 // those that are caught, and of them those that are noted; masks
}

// catchSignals starts to keep every signal but those that are not the user's
// to send: SIGCHLD is about contain's own children, SIGURG is how the Go
// runtime preempts its threads. Signals that contain's caller ignores (nohup)
// stay ignored, here and in the program (pid1.c); but SIGCONT resumes a program
// that ignores it.
//
// Most are blocked from the start (init.go), in every thread and in the processes
// that Go starts, and read from a signalfd. That says who has sent them, it leaves
// real-time signals queued by the kernel, which os/signal would merge, and a
// terminal's Ctrl-Z does not stop an init that has not left the process group yet.
// But the runtime unblocks many in its threads (runtime.blockableSig): these are noted
// in C, because os/signal does not say who has sent them, nor when it has them all, or
// has no hold of them: SIGPROF ends in the profiler (runtime.sighandler), 34 is left to
// C libraries (runtime/sigtab_linux_generic.go), and faults are its own.
//
// The buffer is larger than any caller's burst: what does not fit is dropped, as
// the kernel drops what exceeds RLIMIT_SIGPENDING.
func catchSignals() (*signals, error) {
	var notes [2]int
	if err := unix.Pipe2(notes[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("catch signals: %w", err)
	}
	if err := unix.SetNonblock(notes[0], true); err != nil {
		return nil, fmt.Errorf("catch signals: %w", err)
	}
	return resumeSignals(notes)
}

// resumeSignals is catchSignals for a contain that has woken, with the pipe it had.
func resumeSignals(notes [2]int) (*signals, error) {
	s := &signals{caught: make(chan os.Signal, 4096), paused: make(chan struct{}), notes: notes}
	var set unix.Sigset_t
	for sig := unix.Signal(1); sig <= 64; sig++ {
		switch sig {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD, unix.SIGURG, 32, 33:
			continue
		}
		if ignoredByCaller(sig) && sig != unix.SIGCONT {
			signal.Ignore(sig) // for the runtime may have taken it
			continue
		}
		s.all |= 1 << (sig - 1)
		switch sig {
		case unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGTERM,
			unix.SIGSTKFLT, unix.SIGSYS, unix.SIGPROF, sigRTMin,
			unix.SIGILL, unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV:
			s.noted |= 1 << (sig - 1)
		default:
			set.Val[0] |= 1 << (sig - 1)
		}
	}
	var err error
	if s.fd, err = unix.Signalfd(-1, &set, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("catch signals: %w", err)
	}
	s.files = [2]*os.File{os.NewFile(uintptr(s.fd), "signals"), os.NewFile(uintptr(notes[0]), "noted signals")}
	for sig := 1; sig <= 64; sig++ {
		if s.noted>>(sig-1)&1 != 0 {
			C.note_signal(C.int(sig), C.int(s.notes[1]))
		}
	}
	return s, nil
}

// collect begins to keep what has arrived, and what will.
func (s *signals) collect(c *container) {
	go c.guard(s.readNotes)
	go c.guard(s.read)
}

// keep keeps a signal for the program, unless there are too many already.
func (s *signals) keep(sig unix.Signal) (kept bool) {
	select {
	case s.caught <- sig:
		return true
	default:
		return false
	}
}

// readNotes reads the pipe of signals.c.
func (s *signals) readNotes() {
	whenReadable(s.files[1], func() bool { s.takeNotes(); return false })
}

// takeNotes keeps what has been noted.
func (s *signals) takeNotes() {
	s.noting.Lock()
	defer s.noting.Unlock()
	var b [1]byte
	for {
		if n, err := unix.Read(s.notes[0], b[:]); n != 1 || err != nil {
			return
		}
		s.keep(unix.Signal(b[0]))
	}
}

// read reads the signalfd.
func (s *signals) read() {
	whenReadable(s.files[0], func() bool { s.take(); return false })
}

// whenReadable calls take at once, and whenever there may be something to read from a
// file that does not block, until it is done. take has to read all that there is: of what
// it leaves it is not told again. A wait has no thread and none of Go's processors, both
// of which a waiting call has until Go's monitor sees it.
func whenReadable(file *os.File, take func() (done bool)) {
	waiter, err := file.SyscallConn()
	if err == nil {
		err = waiter.Read(func(uintptr) bool { return take() })
	}
	if err == nil {
		return
	}
	for !take() { // Go's runtime cannot wait for it: epoll_ctl(2) has failed
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(file.Fd()), Events: unix.POLLIN}}, -1)
	}
}

// take keeps what has arrived at the signalfd, a SIGCONT last: a process that is
// resumed takes all that is pending before it goes on, and one that was sent SIGTERM
// while it was stopped does nothing more.
func (s *signals) take() {
	const siKernel = 0x80 // SI_KERNEL
	s.mu.Lock()
	defer s.mu.Unlock()
	resume := false
	for {
		var info unix.SignalfdSiginfo
		buf := (*[unsafe.Sizeof(info)]byte)(unsafe.Pointer(&info))[:]
		if n, err := unix.Read(s.fd, buf); n != len(buf) || err != nil {
			break
		}
		switch sig := unix.Signal(info.Signo); {
		case sig == unix.SIGCONT && info.Code == siQueue && info.Int == C.RESUMED:
			// from stop_as, which has resumed contain by it
		case sig == unix.SIGCONT:
			resume = true
		case info.Code == siKernel:
			s.keep(sig | toGroup)
		default:
			s.keep(sig)
		}
	}
	if resume {
		s.resume()
	}
}

// resume keeps a SIGCONT, behind all that was sent before it. s.mu is held.
func (s *signals) resume() {
	awaitHandlers()
	s.takeNotes()
	if s.keep(unix.SIGCONT) {
		s.resuming.Add(1)
	}
}

// awaitHandlers returns when all signals that this process was sent before have been
// noted: none is pending for it, and each thread has taken a signal that was sent to
// it now. While a handler runs all others are blocked, so those before have run.
func awaitHandlers() {
	self := unix.Getpid()
	for range handlersTries {
		if pendingMask("/proc/self/status", "ShdPnd:")&notedMask == 0 {
			break
		}
		time.Sleep(handlersRun)
	}
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Tgkill(self, tid, unix.SIGURG) // the runtime takes no notice of one too many
		}
	}
	for _, t := range threads {
		for range handlersTries {
			if pendingMask("/proc/self/task/"+t.Name()+"/status", "SigPnd:")>>(unix.SIGURG-1)&1 == 0 {
				break
			}
			time.Sleep(handlersRun)
		}
	}
}

// notedMask are the signals that are sent to processes and noted, as in /proc.
const notedMask = 1<<(unix.SIGHUP-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGQUIT-1) | 1<<(unix.SIGABRT-1) |
	1<<(unix.SIGTERM-1) | 1<<(unix.SIGSTKFLT-1) | 1<<(unix.SIGSYS-1) | 1<<(unix.SIGPROF-1) | 1<<(sigRTMin-1) |
	1<<(unix.SIGILL-1) | 1<<(unix.SIGTRAP-1) | 1<<(unix.SIGBUS-1) | 1<<(unix.SIGFPE-1) | 1<<(unix.SIGSEGV-1)

// pendingMask reads one of the masks in a status file of /proc.
func pendingMask(file, name string) uint64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			mask, _ := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return mask
		}
	}
	return 0
}

// pending returns a signal that has arrived already and whose default action
// is to end a process: contain must end of it instead of starting the program.
// Other signals are kept.
func (s *signals) pending() (unix.Signal, bool) {
	now := make(chan struct{})
	close(now)
	sig := s.wait(now)
	return sig, sig != 0
}

// soon is pending, but gives a signal that the kernel is delivering time to arrive.
func (s *signals) soon() (unix.Signal, bool) {
	quit := make(chan struct{})
	timer := time.AfterFunc(signalArrives, func() { close(quit) })
	defer timer.Stop()
	sig := s.wait(quit)
	return sig, sig != 0
}

// wait waits for a signal like pending's, or until quit is closed and there is
// none: then it returns 0.
func (s *signals) wait(quit <-chan struct{}) unix.Signal {
	for {
		var sig os.Signal
		select {
		case sig = <-s.caught:
		default:
			select {
			case sig = <-s.caught:
			case <-quit:
				return 0
			}
		}
		if endsProcess(sig) {
			return sig.(unix.Signal) &^ toGroup
		}
		s.later = append(s.later, sig)
	}
}

// endsProcess tells whether the default action of a signal is to end a process.
func endsProcess(sig os.Signal) bool {
	plain := sig.(unix.Signal) &^ toGroup
	return plain != unix.SIGCONT && plain != unix.SIGWINCH && !stopsProcess(plain)
}

// stopsProcess tells whether the default action of a signal that can be caught
// is to stop a process.
func stopsProcess(sig unix.Signal) bool {
	return sig == unix.SIGTSTP || sig == unix.SIGTTIN || sig == unix.SIGTTOU
}

// passEarly passes on what has arrived before the program is executed, and does
// not end it: it finds that pending.
func (s *signals) passEarly(c *container) {
	for _, sig := range s.later {
		s.pass(sig.(unix.Signal), c)
	}
	s.later = nil
}

// forward passes every signal on to c, in the order of their arrival. For a program
// that has ended there is no more than one.
func (s *signals) forward(c *container) {
	for sig := range s.caught {
		if sig == barrier {
			s.paused <- struct{}{}
			continue
		}
		if c.ended.Load() && endsProcess(sig) {
			c.abandon()
			return
		}
		s.pass(sig.(unix.Signal), c)
	}
}

// barrier is put among the signals by pause.
const barrier = unix.Signal(0)

// pause has everything passed on that has arrived, and nothing more taken, until the
// function that it returns is called. False: the program is being killed.
func (s *signals) pause(c *container) (goOn func(), ok bool) {
	s.mu.Lock()
	s.noting.Lock()
	goOn = func() {
		s.noting.Unlock()
		s.mu.Unlock()
	}
	select {
	case s.caught <- barrier:
	case <-c.unread:
		goOn()
		return nil, false
	}
	select {
	case <-s.paused:
		return goOn, true
	case <-c.unread:
		goOn()
		return nil, false
	}
}

// pass passes a caught signal on to the program.
func (s *signals) pass(caught unix.Signal, c *container) {
	sig := caught &^ toGroup
	if panicOn != "" && unix.SignalName(sig) == panicOn {
		panic(panicOn)
	}
	switch sig { // others are for programs that do something else about them
	case unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM:
		c.asked.Store(int64(time.Since(begun)))
	}
	switch {
	case sig == unix.SIGWINCH && c.terminal.resize():
		// the kernel tells the program
	case sig == unix.SIGCONT:
		c.goOn()
		s.resuming.Add(-1)
	case caught != sig:
		c.signal(sig, pid1ToGroup)
	default:
		c.signal(sig, pid1ToProgram)
	}
}

// until is when C is to stop waiting for a signal.
func (c *container) until() C.struct_stop {
	until := C.struct_stop{report: C.int(c.report.Fd()), oom: -1, wall: -1, usage: -1}
	if c.oom != nil {
		until.oom = C.int(c.oom.Fd())
	}
	if left, limited := c.wallTimeLeft(); limited {
		until.wall = C.longlong(left.Milliseconds())
	}
	if c.usage != nil {
		until.usage, until.parallel = C.int(c.usage.Fd()), C.longlong(c.parallel)
		until.limit = C.longlong(c.limits.cpuTime / c.usageUnit)
		until.millisecond = C.longlong(time.Millisecond / c.usageUnit)
	}
	return until
}

// stopAs stops contain as its program was stopped, by sig, so that a shell's jobs,
// fg and bg see the two as one. It returns when contain has been resumed, or must
// go on: the program does, or has ended, at the hands of another, or is to be
// killed for its memory, or its time is up. It must be called on the main thread.
func (s *signals) stopAs(sig unix.Signal, c *container) {
	until := c.until()
	group := C.int(0)
	if c.terminal.wasTyped(sig) {
		group = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resuming.Load() == 0 && C.stop_as(C.int(sig), group, &until) != 0 {
		s.resume()
	}
}
