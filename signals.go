// Signals: everything that can be caught is caught before the first change to
// the host, kept until the program runs, and then passed to it.

package main

/*
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// os/signal does not do for some signals. SIGPROF ends in the runtime's profiler
// (runtime.sighandler); 34, glibc's SIGRTMIN, is left to C libraries that use it
// themselves (runtime/sigtab_linux_generic.go), so that its default action would
// end contain; the other real-time signals are queued by the kernel, but kept as
// one bit each by the runtime; and of those that stop and resume one must see who
// has sent them. A C handler writes them to a pipe.
static int note_fd = -1;

// While the process is stopped: the signal that stopped it, the handler of that,
// the child that is to resume it; and shared with the child, whether another has.
static volatile sig_atomic_t stopped_as, resumer, *resumed;
static struct sigaction handler_of_stop;

static void note(int sig, siginfo_t *info, void *context) {
	int saved = errno;
	int own = info->si_code == SI_QUEUE && info->si_ptr == &note_fd; // from resume
	unsigned char b = (unsigned char)sig;
	(void)context;
	// The next stop is the program's again. A late word of the last resumer is
	// not about this stop.
	if (sig == SIGCONT && stopped_as && (!own || info->si_pid == resumer))
		sigaction(stopped_as, &handler_of_stop, NULL);
	if (sig == SIGCONT && !own && resumed)
		*resumed = 1;
	if (!own) {
		ssize_t n = write(note_fd, &b, 1);
		(void)n;
	}
	errno = saved;
}

// note_signal has sig caught by note, in this thread at least: the caller may
// have blocked it.
static void note_signal(int sig, int fd) {
	struct sigaction sa = {.sa_sigaction = note, .sa_flags = SA_RESTART | SA_ONSTACK | SA_SIGINFO};
	sigset_t one;
	note_fd = fd;
	sigaction(sig, &sa, NULL);
	sigemptyset(&one);
	sigaddset(&one, sig);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
}

// resume is the life of a child that stops its parent by sig, waits until there
// is something to read from fd, or its other end is closed, and resumes it. The
// parent cannot: it might be told to go on before it has stopped. Once another
// has resumed it, that is left alone: a SIGCONT takes back a stop that is on its
// way. All signals are blocked.
static void resume(pid_t parent, int sig, int fd) {
	struct pollfd report = {.fd = fd, .events = POLLIN};
	union sigval own = {.sival_ptr = &note_fd};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	sigqueue(parent, sig, own);
	if (!*resumed) { // else perhaps too early
		while (poll(&report, 1, -1) < 0 && errno == EINTR)
			;
		if (*resumed)
			_exit(0);
	}
	sigqueue(parent, SIGCONT, own);
	_exit(0);
}

// stop_as stops the process by sig, with the default action of that, until it is
// resumed by its caller, or there is something to read from fd.
static void stop_as(int sig, int fd) {
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t all, mask;
	pid_t self = getpid();
	if (!resumed) {
		void *page = mmap(NULL, sizeof *resumed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (page == MAP_FAILED)
			return;
		resumed = page;
	}
	*resumed = 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	if (sig != SIGSTOP) {
		sigaction(sig, NULL, &handler_of_stop);
		stopped_as = sig;
		sigaction(sig, &dfl, NULL);
	}
	pid_t child = fork();
	if (child == 0)
		resume(self, sig, fd);
	resumer = child;
	sigdelset(&all, sig);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (stopped_as)
		sigaction(sig, &handler_of_stop, NULL);
	stopped_as = resumer = 0;
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
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
// stay ignored, here and in the program (pid1.c).
//
// The buffer is larger than any caller's burst: the runtime drops a signal
// when the channel is full. Of one that comes again before it was delivered the
// kernel keeps one, as for any process; real-time signals are all kept. It must be
// called on the main thread, which stays.
func catchSignals() *signals {
	s := &signals{caught: make(chan os.Signal, 1024)}
	var noted []unix.Signal
	var notified []os.Signal
	for sig := unix.Signal(1); sig <= 64; sig++ {
		switch {
		case sig == unix.SIGKILL || sig == unix.SIGSTOP || sig == unix.SIGCHLD || sig == unix.SIGURG:
		case ignoredByCaller(sig):
			signal.Ignore(sig) // for the runtime may have taken it
		case sig == unix.SIGPROF || sig == unix.SIGCONT || stopsProcess(sig) || sig >= sigRTMin:
			noted = append(noted, sig)
		default:
			notified = append(notified, sig)
		}
	}
	if len(notified) > 0 { // of none it would make all
		signal.Notify(s.caught, notified...)
	}
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
	return sig != unix.SIGCONT && sig != unix.SIGWINCH && !stopsProcess(sig)
}

// stopsProcess tells whether the default action of a signal that can be caught
// is to stop a process.
func stopsProcess(sig os.Signal) bool {
	return sig == unix.SIGTSTP || sig == unix.SIGTTIN || sig == unix.SIGTTOU
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

// stopAs stops contain as its program was stopped, by sig, so that a shell's jobs,
// fg and bg see the two as one. It returns when contain has been resumed, or
// report has something to say: the program goes on, or has ended, at the hands of
// another. It must be called on the main thread, see PDEATHSIG in main.go.
func stopAs(sig unix.Signal, report *os.File) {
	C.stop_as(C.int(sig), C.int(report.Fd()))
}
