/*
 * A thread that cannot be started, because there are too many processes: the Go runtime
 * tries for a fifth of a second, and would then print its stack and the registers, and
 * die of SIGABRT. The linker puts __wrap_pthread_create in the place of
 * pthread_create (--wrap, ld(1)), through which the runtime starts all threads but the first.
 * And how many processors the runtime uses, few_processors, and how late its monitor may be
 * woken, MONITOR_SLACK.
 */
#define _GNU_SOURCE
#include "threads.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* few_processors sets the variable by which the Go runtime takes the number of processors
 * that it uses, the first of that name. It would make room for as many as the machine has,
 * which is on the way of a start: 0.7 ms for 64, 18 ms for 256 (measured by that variable).
 * Contain has two things to do at a time, and its init one, as on a single CPU: a hundred
 * pages less, 0.5 ms.
 *
 * The runtime looks for the auxiliary vector behind the variables (create_elf_tables in
 * fs/binfmt_elf.c): so that moves on by a word, over the value of its last pair, which is
 * none. From then on getauxval(3) finds nothing but what the library has kept. */
void few_processors(int init)
{
	static char one[] = "GOMAXPROCS=1", two[] = "GOMAXPROCS=2";
	char **last = environ;
	cpu_set_t cpus;
	int single = sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) == 1;
	while (*last++)
		;
	while (*last) /* pairs of a type and a value */
		last += 2;
	memmove(environ + 1, environ, (size_t)(last + 1 - environ) * sizeof *environ);
	environ[0] = init || single ? one : two;
}

/* one_arena has all threads share that of malloc(3), of which they need next to nothing: to
 * map one for each takes 0.2 to 0.4 ms. */
void one_arena(void)
{
#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, 1);
#endif
}

/* Where to say it, and whether it is to be said at all: while a program runs, others
 * may take all processes for long, and be none of its business. */
static int complaints = 2, patient, said;

void complain_to(int fd) { complaints = fd; }
void be_patient(void) { __atomic_store_n(&patient, 1, __ATOMIC_RELAXED); }

int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/* Spare threads, which wait for what they are to do: pairs of a function and its argument. */
static pthread_mutex_t spares = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t given = PTHREAD_COND_INITIALIZER;
static struct {
	void *(*start)(void *);
	void *arg;
} jobs[SPARE_THREADS];
static int idle, jobs_begin, jobs_end;

static void *spare(void *nothing)
{
	(void)nothing;
	sigset_t urgent; /* awaitHandlers and park_threads send it to all threads */
	sigemptyset(&urgent);
	sigaddset(&urgent, SIGURG);
	pthread_sigmask(SIG_UNBLOCK, &urgent, NULL);
	pthread_mutex_lock(&spares);
	while (jobs_begin == jobs_end)
		pthread_cond_wait(&given, &spares);
	int mine = jobs_begin++;
	pthread_mutex_unlock(&spares);
	pthread_sigmask(SIG_BLOCK, &urgent, NULL); /* as all are when the runtime starts one */
	return jobs[mine].start(jobs[mine].arg);
}

/* spare_threads starts threads for later, once in the life of a process, and tells
 * whether there are SPARE_THREADS. The caller has blocked all signals. */
int spare_threads(void)
{
	pthread_t thread;
	while (idle < SPARE_THREADS && __real_pthread_create(&thread, NULL, spare, NULL) == 0)
		idle++;
	return idle == SPARE_THREADS;
}

/* take_spare gives a spare thread something to do, if there is one. */
static int take_spare(void *(*start)(void *), void *arg)
{
	pthread_mutex_lock(&spares);
	int some = idle > 0;
	if (some) {
		idle--;
		jobs[jobs_end].start = start;
		jobs[jobs_end++].arg = arg;
		pthread_cond_signal(&given);
	}
	pthread_mutex_unlock(&spares);
	return some;
}

/*
 * The first thread that the Go runtime starts is its monitor (sysmon in runtime/proc.go).
 * It looks at the others 20 microseconds after it has looked, or 50 more, which is how
 * late the kernel may wake it (timer slack, prctl(2)): two hundred times in a start, on a
 * processor that has something to do. It may be this late, in nanoseconds: what it would
 * do is to take one of Go's processors from a thread that waits for the kernel, for
 * others to run. Contain has two, unless it has one CPU only, and what waits for long
 * takes none (whenReadable in signals.go); its init has one, and one thing to do.
 */
enum { MONITOR_SLACK = 2000000 };

/* create starts a thread. All but the monitor have the slack of the first, as that of
 * the program is: who starts a thread hands on its own. */
static int create(int monitor, pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	static long usual = -1;
	long own = syscall(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0); /* prctl() cuts it to an int */
	if (usual < 0)
		usual = own;
	syscall(SYS_prctl, PR_SET_TIMERSLACK, monitor ? MONITOR_SLACK : usual, 0, 0, 0);
	int err = __real_pthread_create(thread, attr, start, arg);
	syscall(SYS_prctl, PR_SET_TIMERSLACK, own, 0, 0, 0);
	return err;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	static int begun;
	const int tries = 50, first = !__atomic_exchange_n(&begun, 1, __ATOMIC_RELAXED);
	if (take_spare(start, arg))
		return 0; /* nobody looks at *thread: the runtime's are detached */
	for (int i = 0;; i++) {
		int err = create(first, thread, attr, start, arg);
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
