/*
 * A thread that cannot be started, because there are too many processes: the Go runtime
 * tries for a fifth of a second, and would then print its stack and the registers, and
 * die of SIGABRT. The linker puts __wrap_pthread_create in the place of
 * pthread_create (--wrap, ld(1)), through which the runtime starts all threads but the first.
 */
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where to say it, and whether it is to be said at all: while a program runs, others
 * may take all processes for long, and be none of its business. */
static int complaints = 2, patient, said;

void complain_to(int fd) { complaints = fd; }
void be_patient(void) { __atomic_store_n(&patient, 1, __ATOMIC_RELAXED); }

int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	const int tries = 50;
	for (int i = 0;; i++) {
		int err = __real_pthread_create(thread, attr, start, arg);
		if (err == 0)
			return 0;
		if (err != EAGAIN || (i >= tries && !__atomic_load_n(&patient, __ATOMIC_RELAXED))) {
			while (__atomic_exchange_n(&said, 1, __ATOMIC_RELAXED))
				pause(); /* another says it */
			dprintf(complaints, "%scannot start a thread: %s%s\n", complaints == 2 ? "contain: " : "", strerror(err),
				err == EAGAIN ? ": too many processes (pids.max, kernel.threads-max), or too little memory" : "");
			_exit(125);
		}
		usleep(10000);
	}
}

/*
 * Credentials of this thread alone. libcontainer's init changes them before it executes
 * pid1, which is the end of all other threads; the C library would interrupt each of
 * them, three times, and wait for it: 0.7 ms (measured).
 */
int __wrap_setgroups(size_t n, const gid_t *list) { return (int)syscall(SYS_setgroups, n, list); }
int __wrap_setgid(gid_t gid) { return (int)syscall(SYS_setgid, gid); }
int __wrap_setuid(uid_t uid) { return (int)syscall(SYS_setuid, uid); }
