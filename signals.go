// Signals: everything that can be caught is caught before the first change to
// the host, kept until the program runs, and then passed to it.

package main

/*
#include <errno.h>
#include <signal.h>
#include <unistd.h>

// os/signal does not do for some signals. SIGPROF ends in the runtime's profiler
// (runtime.sighandler); 34, glibc's SIGRTMIN, is left to C libraries that use it
// themselves (runtime/sigtab_linux_generic.go), so that its default action would
// end contain; and the other real-time signals are queued by the kernel, but
// kept as one bit each by the runtime. A C handler writes them to a pipe.
static int note_fd = -1;

static void note(int sig) {
	int saved = errno;
	unsigned char b = (unsigned char)sig;
	ssize_t n = write(note_fd, &b, 1);
	(void)n;
	errno = saved;
}

static int note_signal(int sig, int fd) {
	struct sigaction sa = {.sa_handler = note, .sa_flags = SA_RESTART | SA_ONSTACK};
	note_fd = fd;
	return sigaction(sig, &sa, NULL);
}
*/
import "C"

import (
	"os"
	"os/signal"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// sigRTMin is glibc's SIGRTMIN; 32 and 33 are glibc's own.
const sigRTMin = unix.Signal(34)

// signals holds what arrives at contain.
type signals struct {
	caught chan os.Signal
}

// catchSignals starts to keep every signal but those that are not the user's
// to send: SIGCHLD is about contain's own children, SIGURG is how the Go
// runtime preempts its threads. Signals that contain's caller ignores (nohup)
// stay ignored, here and in the program (ignoreAsCaller).
//
// The buffer is larger than any caller's burst: the runtime drops a signal
// when the channel is full. Of one that comes again before it was delivered the
// kernel keeps one, as for any process; real-time signals are all kept.
func catchSignals() *signals {
	s := &signals{caught: make(chan os.Signal, 1024)}
	var noted []unix.Signal
	var notified []os.Signal
	for sig := unix.Signal(1); sig <= 64; sig++ {
		switch {
		case sig == unix.SIGKILL || sig == unix.SIGSTOP || sig == unix.SIGCHLD || sig == unix.SIGURG:
		case ignoredByCaller(sig):
			signal.Ignore(sig) // for the runtime may have taken it
		case sig == unix.SIGPROF || sig >= sigRTMin:
			noted = append(noted, sig)
		default:
			notified = append(notified, sig)
		}
	}
	signal.Notify(s.caught, notified...)
	s.catchInC(noted)
	return s
}

// catchInC catches the signals that are not for os/signal. Where no pipe is to
// be had for it they keep their default actions.
func (s *signals) catchInC(sigs []unix.Signal) {
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	for _, sig := range sigs {
		C.note_signal(C.int(sig), C.int(w.Fd()))
	}
	go func() {
		defer w.Close() // and so keeps it from being collected
		var b [1]byte
		for {
			if n, err := r.Read(b[:]); n != 1 || err != nil {
				return
			}
			s.caught <- unix.Signal(b[0])
		}
	}()
}

// pending returns a signal that has arrived already and whose default action
// is to end a process: contain must end of it instead of starting the program.
// Other signals stay queued.
func (s *signals) pending() (unix.Signal, bool) {
	for range len(s.caught) {
		sig := <-s.caught
		if endsProcess(sig) {
			return sig.(unix.Signal), true
		}
		s.caught <- sig
	}
	return 0, false
}

// endsProcess tells whether the default action of a signal is to end a process.
func endsProcess(sig os.Signal) bool {
	switch sig {
	case unix.SIGCONT, unix.SIGWINCH, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		return false
	}
	return true
}

// wait waits for a signal like pending's, or until quit is closed: then it
// returns 0.
func (s *signals) wait(quit <-chan struct{}) unix.Signal {
	var later []os.Signal
	defer func() {
		for _, sig := range later {
			s.caught <- sig
		}
	}()
	for {
		select {
		case <-quit:
			return 0
		case sig := <-s.caught:
			if endsProcess(sig) {
				return sig.(unix.Signal)
			}
			later = append(later, sig)
		}
	}
}

// forward passes every signal on to p until the process ends. A signal for a
// program that has ended is dropped.
func (s *signals) forward(p *libcontainer.Process) {
	for sig := range s.caught {
		_ = p.Signal(sig)
	}
}
