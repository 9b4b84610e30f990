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

#ifndef MFD_EXEC /* since Linux 6.3 */
#define MFD_EXEC 0x10
#endif

/* number_at is the first number in a text, or 0 if there is none. */
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

/* left is how many milliseconds may pass until the next look, a quarter of an hour at most,
 * for what is used may be more than it seems; or -1: for ever. */
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

/* wait_for waits so many milliseconds, or -1: for ever, for one of count files to be ready.
 * It returns how many are, or a negative errno (ppoll(2)). */
HERE static int wait_for(struct pollfd *fds, unsigned count, long long wait)
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
	return wait_for(&one, 1, 0) > 0;
}

/* pass sends a signal to pid1, for the program, or as how says. */
HERE void pass(const struct rest *r, int sig, int how)
{
	siginfo_t info;
	clear(&info, sizeof info);
	info.si_signo = sig;
	info.si_code = SI_QUEUE;
	info.si_int = how;
	sys(__NR_pidfd_send_signal, r->program, sig, &info, 0);
}

/* pass_all passes on what has arrived at a signalfd, a SIGCONT last, as signals.take; but
 * not what copy has caused, which the kernel sends in contain's own name. */
HERE void pass_all(const struct rest *r, int fd)
{
	struct signalfd_siginfo info;
	int resume = 0;
	while (sys(__NR_read, fd, &info, sizeof info, 0) == sizeof info) {
		if (info.ssi_signo == SIGCONT)
			resume |= info.ssi_code != SI_QUEUE || info.ssi_int != RESUMED;
		else if (info.ssi_signo != SIGXFSZ || (int32_t)info.ssi_pid != r->pid)
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
		wait_for(0, 0, 1);
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
		int n = wait_for(fds, 3, wait);
		if (n < 0 && n != -EINTR)
			return;
		if (n > 0 && (fds[1].revents || (fds[2].revents && out_of_memory(r))))
			return;
		pass_all(r, signals);
	}
}

/* execute_again executes a file with contain's arguments, marked as contain's own; it
 * returns, unmarked, only if that cannot be. */
HERE static void execute_again(const struct sleeper *s, int file)
{
	char empty = 0;
	sys(__NR_prctl, PR_SET_SECUREBITS, MARK, 0, 0);
	sys6(__NR_execveat, file, (long)&empty, (long)s->argv, (long)s->envp, AT_EMPTY_PATH, 0);
	sys(__NR_prctl, PR_SET_SECUREBITS, 0, 0, 0);
}

/* copy is a copy of contain's file in memory, which can be executed; or negative. */
HERE static int copy(const struct sleeper *s)
{
	const char *name = s->rest.name;
	long offset = 0;
	int file = (int)sys(__NR_memfd_create, name, MFD_CLOEXEC | MFD_EXEC, 0, 0);
	if (file == -EINVAL) /* before Linux 6.3 every memfd was executable */
		file = (int)sys(__NR_memfd_create, name, MFD_CLOEXEC, 0, 0);
	long n;
	while ((n = sys(__NR_sendfile, file, s->rest.exe, &offset, 1L << 30)) > 0)
		;
	return n == 0 ? file : (int)n; /* half of it would be executed, too */
}

/* wake executes contain again, or a copy: its file may have been made not executable
 * meanwhile. If neither can be for a second, nobody can undo anything, but the next start. */
HERE static void wake(const struct sleeper *s)
{
	const int moment = 10, moments = 100;
	execute_again(s, s->rest.exe);
	int file = copy(s);
	for (int i = 0; i < moments; i++) {
		execute_again(s, s->rest.exe);
		execute_again(s, file);
		pass_all(&s->rest, s->signals);
		wait_for(0, 0, moment);
	}
	pass(&s->rest, SIGKILL, 0);
	sys(__NR_write, 2, s->failed, s->length, 0);
	for (;;)
		sys(__NR_exit_group, PID1_FAILED, 0, 0, 0);
}

/* give_back gives back the pages of the binary that have become the process's own, and the
 * stack below this function's frame: its locals, and what may lie below the pointer (the red
 * zone of the System V ABI) are less than frame. */
HERE static void give_back(const struct sleeper *s)
{
	const unsigned long page = s->page, deep = 16 * page, frame = 512;
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
	wake(s);
}
