/*
 * Contain at rest: while a program runs on, nothing of Go is needed, which takes 2.6 MB
 * and seven threads. So contain executes itself again, and before Go begins waits here,
 * in one thread and some ten pages, and passes signals on. When there is anything else
 * to do, Go begins, with what rest.go has written down.
 *
 * The process stays the same: its pid, arguments, descriptors, record locks (since Linux
 * 5.11 also those of a process with threads) and children; and PDEATHSIG, because it is
 * the main thread that executes. Signals that are blocked stay pending.
 */
#define _GNU_SOURCE
#include "rest.h"
#include "pid1.h"
#include "threads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int rest_file = -1;
long long rest_ended;

extern char __executable_start, etext[]; /* of the linker's, etext(3) */

/* The threads that do nothing any more. */
enum { THREADS = 128 };
static int parked[THREADS], parked_count, parking;

/* park is a handler of SIGURG, which the Go runtime sends its threads, too. */
static void park(int sig)
{
	int saved = errno, i = __atomic_fetch_add(&parked_count, 1, __ATOMIC_ACQ_REL);
	(void)sig;
	if (i < THREADS)
		__atomic_store_n(&parked[i], (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
	while (__atomic_load_n(&parking, __ATOMIC_ACQUIRE))
		usleep(1000);
	errno = saved;
}

static int is_parked(int tid)
{
	for (int i = 0; i < THREADS; i++)
		if (__atomic_load_n(&parked[i], __ATOMIC_ACQUIRE) == tid)
			return 1;
	return 0;
}

/* park_threads asks all threads but this to park, and tells how many have not. tasks is
 * /proc/self/task. It calls nothing that a parked thread may have locked. */
static int park_threads(int tasks)
{
	char list[8192];
	int left = 0, self = getpid();
	if (lseek(tasks, 0, SEEK_SET) < 0)
		return -1;
	long n = syscall(SYS_getdents64, tasks, list, sizeof list);
	for (long i = 0; i < n;) {
		struct dirent64 *entry = (struct dirent64 *)(list + i);
		int tid = atoi(entry->d_name);
		i += entry->d_reclen;
		if (tid > 0 && tid != self && !is_parked(tid)) {
			left++;
			syscall(SYS_tgkill, self, tid, SIGURG);
		}
	}
	return n > 0 ? left : -1;
}

/* rest_begin executes contain again, to rest; it returns, an errno, only if that cannot
 * be. It must be called on the main thread, with all signals blocked. A thread that has
 * taken a signal and is cut off before it has noted it would lose it; so first all others
 * are parked, in a handler in which they take none. */
int rest_begin(char **argv, char **envp)
{
	struct sigaction sa = {.sa_handler = park, .sa_flags = SA_ONSTACK | SA_RESTART}, before;
	const int tries = 1000;
	int left = -1, err = EAGAIN, tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tasks < 0)
		return errno;
	sigset_t all, mask;
	sigfillset(&all);
	sigfillset(&sa.sa_mask);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	memset(parked, 0, sizeof parked);
	parked_count = 0;
	__atomic_store_n(&parking, 1, __ATOMIC_RELEASE);
	sigaction(SIGURG, &sa, &before);
	for (int i = 0; i < tries && (left = park_threads(tasks)) != 0; i++)
		usleep(100);
	if (left == 0) {
		execve("/proc/self/exe", argv, envp);
		err = errno;
	}
	sigaction(SIGURG, &before, NULL);
	__atomic_store_n(&parking, 0, __ATOMIC_RELEASE);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	close(tasks);
	return err;
}

/* find returns the file that rest.go has written, or -1 if this process was not executed
 * to rest: the variable is not set, or about another process. If it is about this one,
 * but the file is not root's and sealed, as nobody else could have made it, the process
 * ends: it must not take itself for one that is to start the program. */
static int find(struct rest *r)
{
	const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	const char *value = getenv(REST_VARIABLE);
	int pid = 0, fd = -1;
	struct stat st;
	if (value == NULL || sscanf(value, "%d:%d", &pid, &fd) != 2 || pid != getpid())
		return -1;
	int sealed = fcntl(fd, F_GET_SEALS);
	if (sealed >= 0 && (sealed & seals) == seals && fstat(fd, &st) == 0 && st.st_uid == 0 &&
	    pread(fd, r, sizeof *r, 0) == sizeof *r && r->pid == pid)
		return fd;
	signal(SIGPIPE, SIG_IGN);
	dprintf(2, "contain: %s: not what contain has written: %s\n", REST_VARIABLE, strerror(errno));
	_exit(125);
}

static void pass(const struct rest *r, int sig, int how)
{
	siginfo_t info = {.si_signo = sig, .si_code = SI_QUEUE};
	info.si_value.sival_int = how;
	syscall(SYS_pidfd_send_signal, r->program, sig, &info, 0);
}

/* pass_all passes on what has arrived at a signalfd, a SIGCONT last, as signals.take. */
static void pass_all(const struct rest *r, int fd)
{
	struct signalfd_siginfo info;
	int resume = 0;
	while (read(fd, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGCONT)
			resume = 1;
		else
			pass(r, (int)info.ssi_signo, info.ssi_code == SI_KERNEL ? PID1_TO_GROUP : 0);
	}
	if (resume)
		pass(r, SIGCONT, PID1_TO_GROUP);
}

/* pass_noted passes on what was noted before. */
static void pass_noted(const struct rest *r)
{
	unsigned char b;
	while (read(r->notes[0], &b, 1) == 1)
		pass(r, b & ~NOTE_TO_GROUP, b & NOTE_TO_GROUP ? PID1_TO_GROUP : 0);
}

/* sleep_until_needed passes signals on until there is more to do. */
static void sleep_until_needed(const struct rest *r)
{
	struct pollfd fds[3] = {{.events = POLLIN}, {.fd = r->until.report, .events = POLLIN}, {.fd = r->until.oom, .events = POLLIN}};
	long long wait;
	sigset_t caught;
	sigemptyset(&caught);
	for (int sig = 1; sig <= 64; sig++)
		if (r->caught >> (sig - 1) & 1)
			sigaddset(&caught, sig);
	if ((fds[0].fd = signalfd(-1, &caught, SFD_NONBLOCK | SFD_CLOEXEC)) < 0)
		return;
	pass_noted(r);
	/* What has been mapped of the binary by now, and is not needed here: 0.8 MB. */
	madvise(&__executable_start, (size_t)(etext - &__executable_start), MADV_DONTNEED);
	while ((wait = left(&r->until, r->end)) != 0) {
		int n = poll(fds, 3, (int)wait);
		if (fds[1].revents || fds[2].revents || (n < 0 && errno != EINTR))
			break;
		pass_all(r, fds[0].fd);
	}
	close(fds[0].fd);
}

/* rest_was tells whether this process was executed to rest. Then it does so, and returns
 * when Go is to begin; the signals that the runtime would die of before catchSignals are
 * noted already, the rest are blocked. It runs before everything else. */
int rest_was(void)
{
	struct rest r;
	struct timespec now;
	sigset_t all;
	int fd = find(&r);
	if (fd < 0)
		return 0;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, r.name);
	be_patient();
	sleep_until_needed(&r);
	clock_gettime(CLOCK_MONOTONIC, &now);
	rest_file = fd;
	rest_ended = now.tv_sec * 1000000000LL + now.tv_nsec;
	for (int sig = 1; sig <= 64; sig++)
		if (r.noted >> (sig - 1) & 1)
			note_signal(sig, r.notes[1]);
	return 1;
}
