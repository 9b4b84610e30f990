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
#include <linux/securebits.h>
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

int rest_file = -1, rest_killed;
long long rest_ended;

/* Says that a process was executed to rest: who controls what contain begins with, the
 * variable and the descriptors, cannot set it, for that takes CAP_SETPCAP; and it stays,
 * but is of no consequence otherwise: contain raises no ambient capabilities. */
enum { MARK = SECBIT_NO_CAP_AMBIENT_RAISE };

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

/* is_parked tells whether a thread is. */
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
		struct dirent *entry = (struct dirent *)(list + i); /* the kernel's, on 64-bit machines */
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
 * be. It must be called on the main thread. A thread that has taken a signal and is cut
 * off before it has noted it would lose it; so first all others are parked, in a handler
 * in which they take none. */
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
	/* Twice: one that has parked while the list was read may just have made another. */
	for (int i = 0, again = 0; i < tries && again < 2; i++) {
		left = park_threads(tasks);
		again = left == 0 ? again + 1 : 0;
		if (again == 0)
			usleep(100);
	}
	if (left == 0 && prctl(PR_SET_SECUREBITS, MARK, 0, 0, 0) == 0) {
		execve("/proc/self/exe", argv, envp);
		err = errno;
		prctl(PR_SET_SECUREBITS, 0, 0, 0, 0);
	}
	sigaction(SIGURG, &before, NULL);
	__atomic_store_n(&parking, 0, __ATOMIC_RELEASE);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	close(tasks);
	return err;
}

/* find returns the file that rest.go has written, or -1 if this process was not executed
 * to rest: the variable is not set, or about another process. If it is about this one, but
 * contain has not set it, the process ends: were that an error of its own, it would start
 * the program again. */
static int find(struct rest *r)
{
	const char *value = getenv(REST_VARIABLE);
	int pid = 0, fd = -1;
	if (value == NULL || sscanf(value, "%d:%d", &pid, &fd) != 2 || pid != getpid())
		return -1;
	if (prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) == MARK && prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) == 0 &&
	    pread(fd, r, sizeof *r, 0) == sizeof *r && r->pid == pid)
		return fd;
	signal(SIGPIPE, SIG_IGN);
	dprintf(2, "contain: %s: is not contain's own\n", REST_VARIABLE);
	_exit(125);
}

/* pass sends a signal to pid1, for the program, or as how says. */
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
			resume |= info.ssi_code != SI_QUEUE || info.ssi_int != RESUMED;
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

/* exceeded tells whether the kernel has killed for the memory limit, as readOOM does. */
static int exceeded(const struct rest *r)
{
	char text[256] = "";
	ssize_t n = pread(r->oom_control, text, sizeof text - 1, 0);
	const char *kills = n > 0 ? strstr(text, "oom_kill ") : NULL;
	if (kills == NULL || atoll(kills + strlen("oom_kill ")) == 0)
		return 0;
	for (int i = 0; i < 2; i++)
		if (r->peak[i] >= 0 && (uint64_t)number_in(r->peak[i]) >= r->full[i])
			return 1;
	return 0;
}

/* out_of_memory does what heedOOM does about a notice: then the rest of the program is
 * killed, before Go begins, or the notice was not for its limit. */
static int out_of_memory(const struct rest *r)
{
	const int tries = 100;
	uint64_t count;
	for (int i = 0; i < tries; i++) {
		if (exceeded(r)) {
			pass(r, SIGKILL, 0);
			return 1;
		}
		usleep(1000);
	}
	return read(r->until.oom, &count, sizeof count) < 0;
}

/* sleep_until_needed passes signals on until there is more to do. */
static void sleep_until_needed(const struct rest *r, int signals)
{
	struct pollfd fds[3] = {{.fd = signals, .events = POLLIN}, {.fd = r->until.report, .events = POLLIN}, {.fd = r->until.oom, .events = POLLIN}};
	long long wait;
	while ((wait = left(&r->until, r->end)) != 0) {
		int n = poll(fds, 3, (int)wait);
		if (n < 0 && errno != EINTR)
			return;
		if (n > 0 && (fds[1].revents || (fds[2].revents && out_of_memory(r))))
			return;
		pass_all(r, signals);
	}
}

/* is_readable tells whether there is something to read, or of a pidfd whether that has
 * ended. */
static int is_readable(int fd)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};
	return poll(&one, 1, 0) > 0;
}

/* make_room returns when Go has the threads that it needs. Where there are too many
 * processes signals go on being passed on; and a program whose time is up has no say. */
static void make_room(const struct rest *r, int signals)
{
	const int moment = 10, moments = 50;
	for (int i = 0; !spare_threads(); i++) {
		pass_all(r, signals);
		usleep(moment * 1000);
		if (i >= moments && left(&r->until, r->end) == 0 && !is_readable(r->program)) {
			rest_killed = 1;
			pass(r, SIGKILL, 0);
		}
	}
}

/* mask_of is a mask as a set. */
static sigset_t mask_of(uint64_t mask)
{
	sigset_t set;
	sigemptyset(&set);
	for (int sig = 1; sig <= 64; sig++)
		if (mask >> (sig - 1) & 1)
			sigaddset(&set, sig);
	return set;
}

/* rest_was tells whether this process was executed to rest. Then it does so, and returns
 * when Go is to begin: all signals are blocked, but those that the runtime unblocks then
 * are noted already. It runs before everything else. */
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
	sigset_t caught = mask_of(r.caught);
	int signals = signalfd(-1, &caught, SFD_NONBLOCK | SFD_CLOEXEC);
	if (signals >= 0) {
		pass_noted(&r);
		/* What has been mapped of the binary by now, and is not needed here: 0.8 MB. */
		madvise(&__executable_start, (size_t)(etext - &__executable_start), MADV_DONTNEED);
		sleep_until_needed(&r, signals);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (is_readable(r.until.report))
			rest_ended = now.tv_sec * 1000000000LL + now.tv_nsec;
		make_room(&r, signals);
		close(signals);
	}
	for (int sig = 1; sig <= 64; sig++)
		if (r.noted >> (sig - 1) & 1)
			note_signal(sig, r.notes[1]);
	rest_file = fd;
	return 1;
}
