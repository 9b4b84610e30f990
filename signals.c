/*
 * The signals that os/signal does not do for, and stopping like the program.
 *
 * SIGPROF ends in the Go runtime's profiler (runtime.sighandler); 34, glibc's
 * SIGRTMIN, is left to C libraries that use it themselves
 * (runtime/sigtab_linux_generic.go), so that its default action would end contain;
 * the other real-time signals are queued by the kernel, but kept as one bit each
 * by the runtime; and of those that a terminal sends one must see who has sent
 * them. A handler writes them to a pipe, one byte each.
 */
#define _GNU_SOURCE
#include "signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int note_fd = -1;

/* While the process is stopped: the signal that stopped it, the handler of that,
 * and the child that is to resume it. */
static atomic_int stopped_as, resumer;
static struct sigaction handler_of_stop;

/* Shared with that child: how many SIGCONT others have sent, and how many of them
 * the program has been sent. */
static struct {
	atomic_uint noted, passed_on;
} *conts;

static void note(int sig, siginfo_t *info, void *context)
{
	int saved = errno, stopped = stopped_as;
	int own = info->si_code == SI_QUEUE && info->si_ptr == &note_fd; /* from resume */
	unsigned char b = (unsigned char)sig;
	(void)context;
	if (info->si_code == SI_KERNEL)
		b |= NOTE_TO_GROUP;
	/* The next stop is the program's again. A late word of the last resumer is
	 * not about this stop. */
	if (sig == SIGCONT && stopped && (!own || info->si_pid == resumer))
		sigaction(stopped, &handler_of_stop, NULL);
	if (!own) {
		if (sig == SIGCONT)
			conts->noted++;
		ssize_t n = write(note_fd, &b, 1);
		(void)n;
	}
	errno = saved;
}

/* notes_to has the signals written to fd. It returns 0, or -1 and errno. */
int notes_to(int fd)
{
	void *page = mmap(NULL, sizeof *conts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return -1;
	conts = page;
	note_fd = fd;
	return 0;
}

/* note_signal has sig noted from now on, in this thread at least: until now it is
 * blocked (init.go). */
void note_signal(int sig)
{
	struct sigaction sa = {.sa_sigaction = note, .sa_flags = SA_RESTART | SA_ONSTACK | SA_SIGINFO};
	sigset_t one;
	sigaction(sig, &sa, NULL);
	sigemptyset(&one);
	sigaddset(&one, sig);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
}

/* passed_on_cont counts a SIGCONT that the program has been sent. */
void passed_on_cont(void)
{
	conts->passed_on++;
}

/* resume is the life of a child that stops its parent by sig, waits until there
 * is something to read from a descriptor, or its other end is closed, and resumes
 * it. The parent cannot: it might be told to go on before it has stopped. Once
 * another has resumed it, that is left alone: a SIGCONT takes back a stop that is
 * on its way. All signals are blocked. known is how many SIGCONT were passed on
 * before: if there are more, one is on its way, and perhaps came too early. */
static void resume(pid_t parent, int sig, struct pollfd *fds, unsigned known)
{
	union sigval own = {.sival_ptr = &note_fd};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	sigqueue(parent, sig, own);
	if (conts->noted == known) {
		while (poll(fds, 2, -1) < 0 && errno == EINTR)
			;
		if (conts->noted != known)
			_exit(0);
	}
	sigqueue(parent, SIGCONT, own);
	_exit(0);
}

/* stop_as stops the process by sig, with the default action of that, until it is
 * resumed by its caller, or there is something to read from report or, if that is
 * not -1, from oom. If no child can be made it does nothing. It must be called on
 * the main thread, for PDEATHSIG is about the thread that forks. */
void stop_as(int sig, int report, int oom)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	struct pollfd fds[2] = {{.fd = report, .events = POLLIN}, {.fd = oom, .events = POLLIN}};
	sigset_t all, mask;
	pid_t self = getpid();
	unsigned known = conts->passed_on;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	if (sig != SIGSTOP) {
		sigaction(sig, NULL, &handler_of_stop);
		stopped_as = sig;
		sigaction(sig, &dfl, NULL);
	}
	pid_t child = fork();
	if (child == 0)
		resume(self, sig, fds, known);
	resumer = child;
	sigdelset(&all, sig);
	sigdelset(&all, SIGCONT);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (sig != SIGSTOP)
		sigaction(sig, &handler_of_stop, NULL);
	stopped_as = resumer = 0;
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}
