/*
 * What contain does at rest (rest.c), when it has given back also the memory that the C
 * library has made its own as it began: 48 of 64 kB (measured). What is left are two pages
 * of the stack and two of the heap, which the kernel writes to (rseq). The library cannot be
 * used any more; so contain executes itself once more to wake, which takes 0.4 ms.
 */
#define _GNU_SOURCE
#include "asleep.h"
#include "bare.h"
#include "pid1.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>

#define HERE BARE("asleep")

/* number_at is the first number in a text. */
INLINE long long number_at(const char *text)
{
	long long n = 0;
	while (*text && (*text < '0' || *text > '9'))
		text++;
	while (*text >= '0' && *text <= '9')
		n = 10 * n + (*text++ - '0');
	return n;
}

/* read_text reads a file of the kernel's from its beginning, and what room allows of it. */
INLINE void read_text(int file, char *text, long room)
{
	long n = sys(__NR_pread64, file, text, room - 1, 0);
	text[n > 0 ? n : 0] = 0;
}

/* number_in reads the first number in a cgroup's file: the CPU time, for one. */
HERE static long long number_in(int file)
{
	char text[64];
	read_text(file, text, sizeof text);
	return number_at(text);
}

/* clock_ns is CLOCK_MONOTONIC in nanoseconds, clock_ms in milliseconds. */
HERE static long long clock_ns(void)
{
	long t[2];
	sys(__NR_clock_gettime, CLOCK_MONOTONIC, t, 0, 0);
	return t[0] * 1000000000LL + t[1];
}

HERE long long clock_ms(void) { return clock_ns() / 1000000; }

/* left is how many milliseconds may pass until the next look, or -1: for ever. */
HERE long long left(const struct stop *until, long long end)
{
	long long wall = until->wall < 0 ? -1 : end - clock_ms(), cpu = -1;
	if (until->usage >= 0) {
		cpu = (until->limit - number_in(until->usage)) / until->millisecond;
		cpu = cpu <= 0 ? 0 : cpu / until->parallel + 1;
	}
	if (wall < 0 && until->wall >= 0)
		wall = 0;
	if (wall < 0 || (cpu >= 0 && cpu < wall))
		wall = cpu;
	return wall > 1000000 ? 1000000 : wall;
}

/* await waits so many milliseconds, or -1: for ever, for something to read. */
HERE static int await(struct pollfd *fds, unsigned count, long long wait)
{
	long t[2];
	t[0] = wait / 1000;
	t[1] = wait % 1000 * 1000000;
	return (int)sys6(__NR_ppoll, (long)fds, count, wait < 0 ? 0 : (long)t, 0, 0, 0);
}

/* is_readable tells whether there is something to read, or of a pidfd whether that has
 * ended. */
HERE int is_readable(int fd)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};
	return await(&one, 1, 0) > 0;
}

/* pass sends a signal to pid1, for the program, or as how says. */
HERE void pass(const struct rest *r, int sig, int how)
{
	union {
		siginfo_t info;
		long room[sizeof(siginfo_t) / sizeof(long)];
	} u;
	for (unsigned i = 0; i < sizeof u.room / sizeof *u.room; i++)
		((volatile long *)u.room)[i] = 0; /* volatile: or it becomes a memset */
	u.info.si_signo = sig;
	u.info.si_code = SI_QUEUE;
	u.info.si_int = how;
	sys(__NR_pidfd_send_signal, r->program, sig, &u.info, 0);
}

/* pass_all passes on what has arrived at a signalfd, a SIGCONT last, as signals.take. */
HERE void pass_all(const struct rest *r, int fd)
{
	struct signalfd_siginfo info;
	int resume = 0;
	while (sys(__NR_read, fd, &info, sizeof info, 0) == sizeof info) {
		if (info.ssi_signo == SIGCONT)
			resume |= info.ssi_code != SI_QUEUE || info.ssi_int != RESUMED;
		else
			pass(r, (int)info.ssi_signo, info.ssi_code == SI_KERNEL ? PID1_TO_GROUP : 0);
	}
	if (resume)
		pass(r, SIGCONT, PID1_TO_GROUP);
}

/* exceeded tells whether the kernel has killed for the memory limit, as readOOM does. */
HERE static int exceeded(const struct rest *r)
{
	const unsigned long long name = 0x6f6d5f6b696c6c20; /* "om_kill " */
	char text[256], *p = text;
	read_text(r->oom_control, text, sizeof text);
	for (unsigned long long last = 0; *p && last != name; p++)
		last = last << 8 | (unsigned char)*p;
	if (number_at(p) == 0)
		return 0;
	for (int i = 0; i < 2; i++)
		if (r->peak[i] >= 0 && (uint64_t)number_in(r->peak[i]) >= r->full[i])
			return 1;
	return 0;
}

/* out_of_memory does what heedOOM does about a notice: then the rest of the program is
 * killed, before Go begins, or the notice was not for its limit. */
HERE static int out_of_memory(const struct rest *r)
{
	const int tries = 100;
	uint64_t count;
	for (int i = 0; i < tries; i++) {
		if (exceeded(r)) {
			pass(r, SIGKILL, 0);
			return 1;
		}
		await(0, 0, 1);
	}
	return sys(__NR_read, r->until.oom, &count, sizeof count, 0) < 0;
}

/* sleep_until_needed passes signals on until there is more to do. */
HERE static void sleep_until_needed(const struct rest *r, int signals)
{
	struct pollfd fds[3];
	long long wait;
	fds[0].fd = signals;
	fds[1].fd = r->until.report;
	fds[2].fd = r->until.oom;
	fds[0].events = fds[1].events = fds[2].events = POLLIN;
	while ((wait = left(&r->until, r->end)) != 0) {
		int n = await(fds, 3, wait);
		if (n < 0 && n != -EINTR)
			return;
		if (n > 0 && (fds[1].revents || (fds[2].revents && out_of_memory(r))))
			return;
		pass_all(r, signals);
	}
}

/* execute executes contain again; it returns only if it cannot. */
HERE static void execute(const struct sleeper *s, int file)
{
	char empty = 0;
	sys(__NR_prctl, PR_SET_SECUREBITS, MARK, 0, 0);
	sys6(__NR_execveat, file, (long)&empty, (long)s->argv, (long)s->envp, AT_EMPTY_PATH, 0);
	sys(__NR_prctl, PR_SET_SECUREBITS, 0, 0, 0);
}

/* execute_copy executes a copy: the file may have been made not executable meanwhile. */
HERE static void execute_copy(const struct sleeper *s)
{
	char name = 0;
	long offset = 0;
	int copy = (int)sys(__NR_memfd_create, &name, MFD_CLOEXEC, 0, 0);
	while (sys(__NR_sendfile, copy, s->exe, &offset, 1L << 30) > 0)
		;
	execute(s, copy);
	sys(__NR_close, copy, 0, 0, 0);
}

/* give_back gives back what is the process's own of memory, but for its stack, from its own
 * frame on: here, and in a page of 64 kB more is kept. */
HERE static void give_back(const struct sleeper *s)
{
	const unsigned long page = 4096, deep = 16 * page, frame = 512;
	unsigned long kept = ((unsigned long)__builtin_frame_address(0) - frame) & ~(page - 1);
	sys(__NR_madvise, s->memory, s->size, MADV_DONTNEED, 0);
	sys(__NR_madvise, kept - deep, deep, MADV_DONTNEED, 0);
}

/* fall_asleep waits until there is more to do than to pass signals on, and then executes
 * contain again, told by s->woken that this has been, and since when the report can be
 * read. It does not return. */
HERE void fall_asleep(const struct sleeper *s)
{
	const struct rest *r = &s->rest;
	give_back(s);
	sleep_until_needed(r, s->signals);
	unsigned long long ended = is_readable(r->until.report) ? (unsigned long long)clock_ns() : 0;
	for (int i = 0; i < WOKEN_DIGITS; i++)
		s->woken[i] = (char)('a' + (ended >> 4 * i & 15));
	for (;;) {
		execute(s, s->exe);
		execute_copy(s);
		pass_all(r, s->signals);
		await(0, 0, 10);
	}
}
