/*
 * What cannot be done about signals in Go: catching those that the runtime keeps to
 * itself or does not say enough about, and stopping as the program has stopped.
 */
#define _GNU_SOURCE
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int note_fd = -1;

static void note(int sig, siginfo_t *info, void *context)
{
	int saved = errno;
	unsigned char b = (unsigned char)(sig | (info->si_code == SI_KERNEL ? NOTE_TO_GROUP : 0));
	(void)context;
	ssize_t n = write(note_fd, &b, 1);
	(void)n;
	errno = saved;
}

/* note_signal has sig written to fd whenever it arrives, as one byte, with
 * NOTE_TO_GROUP if the kernel has sent it. */
int note_signal(int sig, int fd)
{
	struct sigaction sa = {.sa_sigaction = note, .sa_flags = SA_RESTART | SA_ONSTACK | SA_SIGINFO};
	note_fd = fd;
	return sigaction(sig, &sa, NULL);
}

/* is_stopped tells whether a process is, by its file stat in /proc. */
static int is_stopped(int stat)
{
	char text[64] = "";
	ssize_t n = pread(stat, text, sizeof text - 1, 0);
	char *end = n > 0 ? strrchr(text, ')') : NULL; /* of the name, contain */
	return end && end[1] == ' ' && end[2] == 'T';
}

/* resume is the life of a child: once its parent has stopped it waits until there
 * is something to read from a descriptor, or its other end is closed, and resumes
 * the parent. That cannot do so itself. */
static void resume(pid_t parent, int stat, struct pollfd *fds)
{
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent && !is_stopped(stat))
		usleep(100);
	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	if (getppid() == parent)
		sigqueue(parent, SIGCONT, (union sigval){.sival_int = RESUMED});
	_exit(0);
}

/* stop_as stops the process, or its whole process group, by sig, with the default
 * action of that, until it is resumed by its caller, or there is something to read
 * from report or, if that is not -1, from oom. If a SIGCONT is pending, if the
 * kernel does not let sig stop the process, or if no child can be made, it does
 * nothing.
 *
 * It must be called on the main thread: PDEATHSIG is about the thread that forks,
 * and the kernel prefers that one for signals. All threads have sig and SIGCONT
 * blocked. So a SIGCONT that comes before the stop is seen to be pending here, but
 * for one within the system call: a stop discards it. */
void stop_as(int sig, int group, int report, int oom)
{
	struct pollfd fds[2] = {{.fd = report, .events = POLLIN}, {.fd = oom, .events = POLLIN}};
	sigset_t one, pending;
	pid_t self = getpid();
	int stat = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	if (stat < 0)
		return;
	pid_t child = fork();
	if (child == 0)
		resume(self, stat, fds);
	close(stat);
	if (child < 0)
		return;
	sigemptyset(&one);
	sigaddset(&one, sig);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	sigpending(&pending);
	if (!sigismember(&pending, SIGCONT))
		kill(group ? 0 : self, sig);
	pthread_sigmask(SIG_BLOCK, &one, NULL);
	kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}
