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

	"golang.org/x/sys/unix"
)

// sigRTMin is glibc's SIGRTMIN; 32 and 33 are glibc's own.
const sigRTMin = unix.Signal(34)

// toGroup is added to a signal that came from the kernel, for contain's process
// group: a terminal's Ctrl-C is. The program's group gets it.
const toGroup = unix.Signal(C.NOTE_TO_GROUP)

// signals holds what arrives at contain.
type signals struct {
	caught chan os.Signal // some with toGroup added
	later  []os.Signal    // taken from caught, for the program
	notes  [2]*os.File    // the pipe of signals.c; kept from being collected
}

// catchSignals starts to keep every signal but those that are not the user's
// to send: SIGCHLD is about contain's own children, SIGURG is how the Go
// runtime preempts its threads. Signals that contain's caller ignores (nohup)
// stay ignored, here and in the program (pid1.c); but SIGCONT resumes a program
// that ignores it.
//
// The buffer is larger than any caller's burst: what does not fit is dropped, as
// the kernel drops what exceeds RLIMIT_SIGPENDING. Of a signal that comes again
// before it was delivered the kernel keeps one, as for any process; real-time
// signals are all kept. It must be called on the main thread, which stays.
func catchSignals() (*signals, error) {
	s := &signals{caught: make(chan os.Signal, 4096)}
	var noted []unix.Signal
	var notified []os.Signal
	for sig := unix.Signal(1); sig <= 64; sig++ {
		switch {
		case sig == unix.SIGKILL || sig == unix.SIGSTOP || sig == unix.SIGCHLD || sig == unix.SIGURG:
		case ignoredByCaller(sig) && sig != unix.SIGCONT:
			signal.Ignore(sig) // for the runtime may have taken it
		case sig == unix.SIGPROF || fromTerminal(sig) || sig >= sigRTMin:
			noted = append(noted, sig)
		default:
			notified = append(notified, sig)
		}
	}
	if len(notified) > 0 { // of none it would make all
		signal.Notify(s.caught, notified...)
	}
	if err := s.catchInC(noted); err != nil {
		return nil, fmt.Errorf("catch signals: %w", err)
	}
	return s, nil
}

// catchInC catches the signals that are not for os/signal.
func (s *signals) catchInC(sigs []unix.Signal) (err error) {
	if s.notes[0], s.notes[1], err = os.Pipe(); err != nil {
		return err
	}
	if _, err := C.notes_to(C.int(s.notes[1].Fd())); err != nil {
		return err
	}
	for _, sig := range sigs {
		C.note_signal(C.int(sig))
	}
	go func() {
		var b [1]byte
		for {
			if n, err := s.notes[0].Read(b[:]); n != 1 || err != nil {
				return
			}
			select {
			case s.caught <- unix.Signal(b[0]):
			default: // or the handlers would block
			}
		}
	}()
	return nil
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

// fromTerminal tells whether a signal is one that terminals send.
func fromTerminal(sig unix.Signal) bool {
	switch sig {
	case unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGCONT, unix.SIGWINCH:
		return true
	}
	return stopsProcess(sig)
}

// forward passes every signal on to c, in the order of their arrival, until the
// process ends. A signal for a program that has ended is dropped.
func (s *signals) forward(c *container) {
	for _, sig := range s.later {
		c.pass(sig.(unix.Signal))
	}
	for sig := range s.caught {
		c.pass(sig.(unix.Signal))
	}
}

// pass passes a caught signal on to the program.
func (c *container) pass(caught unix.Signal) {
	sig := caught &^ toGroup
	switch {
	case sig == unix.SIGWINCH && c.terminal.resize():
		// the kernel tells the program
	case sig == unix.SIGCONT:
		c.goOn()
		C.passed_on_cont()
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
func (c *container) stopAs(sig unix.Signal) {
	oom := C.int(-1)
	if c.oom != nil {
		oom = C.int(c.oom.Fd())
	}
	C.stop_as(C.int(sig), C.int(c.report.Fd()), oom)
}
