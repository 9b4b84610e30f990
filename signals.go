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
	"sync"
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
	notes  [2]*os.File    // a pipe for some, see signals.c

	// Held while a SIGCONT is taken from fd, and while contain is stopped: so that
	// none is on its way when it stops.
	mu       sync.Mutex
	resuming int // SIGCONTs that are on their way to the program
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
// But the runtime unblocks many in its threads (runtime.blockableSig): of these
// some are noted in C, because os/signal does not say who has sent them, or has no
// hold of them: SIGPROF ends in the profiler (runtime.sighandler), 34 is left to C
// libraries (runtime/sigtab_linux_generic.go).
//
// The buffer is larger than any caller's burst: what does not fit is dropped, as
// the kernel drops what exceeds RLIMIT_SIGPENDING.
func catchSignals() (*signals, error) {
	s := &signals{caught: make(chan os.Signal, 4096)}
	var set unix.Sigset_t
	var noted []unix.Signal
	var runtimes []os.Signal
	for sig := unix.Signal(1); sig <= 64; sig++ {
		switch sig {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD, unix.SIGURG, 32, 33:
			continue
		}
		if ignoredByCaller(sig) && sig != unix.SIGCONT {
			signal.Ignore(sig) // for the runtime may have taken it
			continue
		}
		switch sig {
		case unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPROF, sigRTMin:
			noted = append(noted, sig)
		case unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV,
			unix.SIGTERM, unix.SIGSTKFLT, unix.SIGSYS:
			runtimes = append(runtimes, sig)
		default:
			set.Val[0] |= 1 << (sig - 1)
		}
	}
	if len(runtimes) > 0 { // of none it would make all
		signal.Notify(s.caught, runtimes...)
	}
	var err error
	if s.fd, err = unix.Signalfd(-1, &set, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK); err == nil {
		s.notes[0], s.notes[1], err = os.Pipe()
	}
	if err != nil {
		return nil, fmt.Errorf("catch signals: %w", err)
	}
	for _, sig := range noted {
		C.note_signal(C.int(sig), C.int(s.notes[1].Fd()))
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

func (s *signals) readNotes() {
	var b [1]byte
	for {
		if n, err := s.notes[0].Read(b[:]); n != 1 || err != nil {
			return
		}
		s.keep(unix.Signal(b[0]))
	}
}

// read reads the signalfd.
func (s *signals) read() {
	var info unix.SignalfdSiginfo
	buf := (*[unsafe.Sizeof(info)]byte)(unsafe.Pointer(&info))[:]
	for {
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, -1)
		s.takeNext(buf, &info)
	}
}

// takeNext takes a signal from the signalfd, by buf into info.
func (s *signals) takeNext(buf []byte, info *unix.SignalfdSiginfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, err := unix.Read(s.fd, buf); n == len(buf) && err == nil {
		s.take(*info)
	}
}

// take keeps the signal that info is about. s.mu is held.
func (s *signals) take(info unix.SignalfdSiginfo) {
	const siKernel = 0x80 // SI_KERNEL
	sig := unix.Signal(info.Signo)
	switch {
	case sig == unix.SIGCONT && info.Code == siQueue && info.Int == C.RESUMED:
		return // from stop_as, which has resumed contain by it
	case sig == unix.SIGCONT:
		if s.keep(sig) {
			s.resuming++
		}
	case info.Code == siKernel:
		s.keep(sig | toGroup)
	default:
		s.keep(sig)
	}
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
		if sig == unix.SIGCONT {
			s.passOthersFirst(c)
		}
		if c.ended.Load() && endsProcess(sig) {
			c.abandon()
			return
		}
		s.pass(sig.(unix.Signal), c)
	}
}

// passOthersFirst passes on what arrives together with a SIGCONT: a process that
// is resumed takes all that is pending before it goes on, and one that was sent
// SIGTERM meanwhile does nothing more. The runtime needs a moment for some.
func (s *signals) passOthersFirst(c *container) {
	moment := time.After(othersArrive)
	for {
		select {
		case sig := <-s.caught:
			s.pass(sig.(unix.Signal), c)
		case <-moment:
			return
		}
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
		c.asked.Store(time.Now().UnixNano())
	}
	switch {
	case sig == unix.SIGWINCH && c.terminal.resize():
		// the kernel tells the program
	case sig == unix.SIGCONT:
		c.goOn()
		s.mu.Lock()
		s.resuming--
		s.mu.Unlock()
	case caught != sig:
		c.signal(sig, pid1ToGroup)
	default:
		c.signal(sig, pid1ToProgram)
	}
}

// stopAs stops contain as its program was stopped, by sig, so that a shell's jobs,
// fg and bg see the two as one. It returns when contain has been resumed, or must
// go on: the program does, or has ended, at the hands of another, or is to be
// killed for its memory. It must be called on the main thread.
func (s *signals) stopAs(sig unix.Signal, c *container) {
	oom := C.int(-1)
	if c.oom != nil {
		oom = C.int(c.oom.Fd())
	}
	group := C.int(0)
	if c.terminal.wasTyped(sig) {
		group = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resuming == 0 {
		C.stop_as(C.int(sig), group, C.int(c.report.Fd()), oom)
	}
}
