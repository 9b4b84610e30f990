/*
 * What cannot be done about signals in Go: catching those that the runtime keeps to
 * itself or does not say enough about, and stopping as the program has stopped.
 */
#define _GNU_SOURCE
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int note_fd = -1;

int __real_sigaction(int sig, const struct sigaction *act, struct sigaction *old);

/* The handlers of those that need them for themselves: the Go runtime's, for faults. */
static struct sigaction theirs[65];

static int is_fault(int sig) { return sig == SIGILL || sig == SIGTRAP || sig == SIGBUS || sig == SIGFPE || sig == SIGSEGV; }

/* fault hands a fault of this process's own to the runtime, or without one to the kernel. */
static void fault(int sig, siginfo_t *info, void *context)
{
	if (theirs[sig].sa_flags & SA_SIGINFO)
		theirs[sig].sa_sigaction(sig, info, context);
	else
		signal(sig, SIG_DFL); /* and it happens again */
}

static void note(int sig, siginfo_t *info, void *context)
{
	if (is_fault(sig) && info->si_code > 0) { /* else somebody has sent it */
		fault(sig, info, context);
		return;
	}
	int saved = errno;
	unsigned char b = (unsigned char)(sig | (info->si_code == SI_KERNEL ? NOTE_TO_GROUP : 0));
	ssize_t n = write(note_fd, &b, 1);
	(void)n;
	errno = saved;
}

/* Of those that are noted, a mask. */
static unsigned long long noted;

/* note_signal has sig written to fd whenever it arrives, as one byte, with
 * NOTE_TO_GROUP if the kernel has sent it; but of faults only those that are none, but
 * sent by somebody. */
int note_signal(int sig, int fd)
{
	struct sigaction sa = {.sa_sigaction = note, .sa_flags = SA_RESTART | SA_ONSTACK | SA_SIGINFO}, before;
	sigfillset(&sa.sa_mask); /* awaitHandlers relies on it */
	note_fd = fd;
	if (__real_sigaction(sig, NULL, &before) == 0 && before.sa_sigaction != note)
		theirs[sig] = before;
	noted |= 1ULL << (sig - 1);
	return __real_sigaction(sig, &sa, NULL);
}

/* __wrap_sigaction stands in the place of sigaction (--wrap, ld(1)), by which the Go
 * runtime, when it begins, makes handlers of its own for all signals: those that are
 * noted already, when contain wakes (rest.c), stay so. It refuses in silence also what
 * signal.Reset and the like would do about them; setDefault in status.go goes past it. */
int __wrap_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	if (act && sig > 0 && sig <= 64 && noted >> (sig - 1) & 1) {
		theirs[sig] = *act;
		act = NULL;
	}
	return __real_sigaction(sig, act, old);
}

/* is_stopped tells whether a process is, by its file stat in /proc. */
static int is_stopped(int stat)
{
	char text[64] = "";
	ssize_t n = pread(stat, text, sizeof text - 1, 0);
	char *end = n > 0 ? strrchr(text, ')') : NULL; /* of the name, contain */
	return end && end[1] == ' ' && end[2] == 'T';
}

/* resume is the life of a child: once its parent has stopped it waits until it is
 * to go on, and resumes it. That cannot do so itself. */
static void resume(pid_t parent, int stat, const struct stop *until, long long end)
{
	struct pollfd fds[2] = {{.fd = until->report, .events = POLLIN}, {.fd = until->oom, .events = POLLIN}};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent && !is_stopped(stat))
		usleep(100);
	for (long long wait = left(until, end); wait != 0; wait = left(until, end)) {
		int n = poll(fds, 2, (int)wait);
		if (n > 0 || (n < 0 && errno != EINTR))
			break;
	}
	if (getppid() == parent)
		sigqueue(parent, SIGCONT, (union sigval){.sival_int = RESUMED});
	_exit(0);
}

static sigjmp_buf resumed;

/* on_cont leaves stop_as, with 1 if the SIGCONT is not from resume. */
static void on_cont(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	siglongjmp(resumed, info->si_code == SI_QUEUE && info->si_value.sival_int == RESUMED ? 2 : 1);
}

/* stop_as stops the process, or its whole process group, by sig, with the default
 * action of that, until it is resumed by its caller or as until says. It returns
 * whether a SIGCONT has arrived that is not contain's own; one that comes before the
 * stop prevents it. If the kernel does not let sig stop the process, or if no child
 * can be made, it does nothing.
 *
 * It must be called on the main thread: PDEATHSIG is about the thread that forks,
 * and the kernel prefers that one for signals. All threads have sig and SIGCONT
 * blocked. A stop discards a SIGCONT that is pending; so it is let in here, and cuts
 * off what would follow: none is lost but one within the system call. */
int stop_as(int sig, int group, const struct stop *until)
{
	long long end = clock_ms() + until->wall;
	struct sigaction cont = {.sa_sigaction = on_cont, .sa_flags = SA_SIGINFO | SA_ONSTACK}, before;
	sigset_t cont_set, one;
	pid_t self = getpid();
	volatile pid_t child = -1;
	int stat = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	if (stat < 0)
		return 0;
	sigemptyset(&cont_set);
	sigaddset(&cont_set, SIGCONT);
	sigemptyset(&one);
	sigaddset(&one, sig);
	/* Else the child would note what a terminal sends to the whole group, too. */
	sigset_t all, mask;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	child = fork();
	if (child == 0)
		resume(self, stat, until, end);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	sigaction(SIGCONT, &cont, &before);
	int why = sigsetjmp(resumed, 1);
	if (why == 0 && child > 0) {
		pthread_sigmask(SIG_UNBLOCK, &cont_set, NULL);
		pthread_sigmask(SIG_UNBLOCK, &one, NULL);
		kill(group ? 0 : self, sig);
	}
	pthread_sigmask(SIG_BLOCK, &cont_set, NULL);
	pthread_sigmask(SIG_BLOCK, &one, NULL);
	sigaction(SIGCONT, &before, NULL);
	close(stat);
	if (child > 0) {
		kill(child, SIGKILL);
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return why == 1;
}
