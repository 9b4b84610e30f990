/*
 * Contain at rest: while a program runs on, nothing of Go is needed, which takes 2 MB
 * and seven threads. So contain executes itself again, and before Go begins waits here, in
 * one thread and four pages (asleep.c), and passes signals on. When there is anything
 * else to do, it executes itself once more, and Go begins, with what rest.go has written
 * down.
 *
 * The process stays the same: its pid, arguments, descriptors, record locks (since Linux
 * 5.11 also those of a process with threads) and children; and PDEATHSIG, because it is
 * the main thread that executes. Signals that are blocked stay pending.
 */
#define _GNU_SOURCE
#include "rest.h"
#include "asleep.h"
#include "pid1.h"
#include "threads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int rest_file = -1, rest_killed;
long long rest_ended;

extern char __executable_start, end[]; /* of the linker's, end(3) */

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

/* rest_begin executes exe, contain's file, to rest; it returns, an errno, only if that
 * cannot be, as then it could not wake either. It must be called on the main thread. A
 * thread that has taken a signal and is cut off before it has noted it would lose it; so
 * first all others are parked, in a handler in which they take none. */
int rest_begin(char **argv, char **envp, int exe)
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
		syscall(SYS_execveat, exe, "", argv, envp, AT_EMPTY_PATH);
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
 * to rest or out of it: the variable is not set, or about another process. If it is about
 * this one, but contain has not set it, or the file is not root's and sealed, the process
 * ends: were that an error of its own, it would start the program again. */
static int find(struct rest *r, char **woken)
{
	char *value = getenv(REST_VARIABLE);
	struct stat file;
	int pid = 0, fd = -1, length = 0;
	if (value == NULL || sscanf(value, "%d:%d:%n", &pid, &fd, &length) != 2 || pid != getpid())
		return -1;
	*woken = value + length;
	if (prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) == MARK && prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) == 0 &&
	    length > 0 && strlen(*woken) == WOKEN_DIGITS && fstat(fd, &file) == 0 && file.st_uid == 0 &&
	    fcntl(fd, F_GET_SEALS) == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) &&
	    pread(fd, r, sizeof *r, 0) == sizeof *r && r->pid == pid)
		return fd;
	signal(SIGPIPE, SIG_IGN);
	dprintf(2, "contain: %s: is not contain's own\n", REST_VARIABLE);
	_exit(125);
}

/* pass_noted passes on what was noted before. */
static void pass_noted(const struct rest *r)
{
	unsigned char b;
	while (read(r->notes[0], &b, 1) == 1)
		pass(r, b & ~NOTE_TO_GROUP, b & NOTE_TO_GROUP ? PID1_TO_GROUP : 0);
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

/* arguments_before returns argv, which lies before the environment: the number of them,
 * they, and a null pointer (create_elf_tables in fs/binfmt_elf.c). A library need not hand
 * it to a constructor: musl does not. */
static char **arguments_before(char **envp)
{
	char **argv = envp - 1;
	for (long count = 0; (long)argv[-1] != count; count++)
		argv--;
	return argv;
}

/* ignore_library has two signals ignored that the C library keeps to itself, and does not
 * block: it has no handlers for them yet. */
static void ignore_library(void)
{
	unsigned long action[4] = {(unsigned long)SIG_IGN}; /* struct sigaction, the kernel's */
	for (int sig = 32; sig <= 33; sig++)
		syscall(SYS_rt_sigaction, sig, action, NULL, 8);
}

/* go_to_sleep does not return. */
static void go_to_sleep(struct sleeper *s)
{
	static const char failed[] = "contain: cannot execute its own file any more\n";
	s->argv = arguments_before(environ);
	s->envp = environ;
	s->memory = &__executable_start;
	s->size = (size_t)(end - &__executable_start);
	s->page = (unsigned long)sysconf(_SC_PAGESIZE);
	s->failed = failed;
	s->length = sizeof failed - 1;
	fall_asleep(s);
}

/* when_ended reads what fall_asleep has written. */
static long long when_ended(const char *woken)
{
	unsigned long long ended = 0;
	for (int i = 0; i < WOKEN_DIGITS; i++)
		ended |= (unsigned long long)(woken[i] - 'a') << 4 * i;
	return (long long)ended;
}

/* rest_was tells whether this process was executed to rest, and has. If it has not, it
 * does, and does not return; if it has, or cannot, Go is to begin: all signals are blocked,
 * but those that the runtime unblocks then are noted already. It runs before everything
 * else. */
int rest_was(void)
{
	struct sleeper s;
	const struct rest *r = &s.rest;
	sigset_t all;
	int fd = find(&s.rest, &s.woken);
	if (fd < 0)
		return 0;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, r->name);
	be_patient();
	sigset_t caught = mask_of(r->caught);
	s.signals = signalfd(-1, &caught, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s.signals >= 0) {
		if (*s.woken == *WOKEN_NOT) {
			ignore_library();
			pass_noted(r);
			go_to_sleep(&s);
		} else {
			rest_ended = when_ended(s.woken);
			need_room(); /* somebody may have lowered them meanwhile: prlimit(2) */
		}
		make_room(r, s.signals);
		close(s.signals);
	}
	for (int sig = 1; sig <= 64; sig++)
		if (r->noted >> (sig - 1) & 1)
			note_signal(sig, r->notes[1]);
	rest_file = fd;
	return 1;
}
