/*
 * pid1: the init of a container, PID 1 of its PID namespace. It starts the
 * program, passes signals to it, reaps what the program leaves, and says how
 * the program ended. One page of code, no library, no heap.
 *
 * It is not part of contain's own code path: pid1.go copies the section "pid1"
 * of this binary behind an ELF header into a memfd, and libcontainer executes
 * that as its last step. So nothing here may refer to anything outside the
 * section: no constants in .rodata (no string literals, no jump tables, no
 * vectorised copies), no calls of library functions, also not by the compiler.
 *
 * What it inherits:
 *	fd 0-2	the program's
 *	fd 3	(PID1_REPORT) socket to contain, which alone has the other end
 *	fd 4	(PID1_IMAGE) this code
 *	fd 5	(PID1_TASK) what to start: struct task and its strings
 * and the credentials, limits, namespaces and ignored signals of the program.
 *
 * What it does, in this order:
 *	1. asks to be killed with contain, and ends if contain has gone already;
 *	2. blocks all signals: from now on none is lost. (PID 1 is spared signals
 *	   it has no handler for, pid_namespaces(7), but blocked ones stay pending;)
 *	3. reports READY and waits for contain's word: the memory limit is set now
 *	   that libcontainer's big init is gone, and before the program is there;
 *	4. forks the program, which gets a session of its own, the signal mask of
 *	   contain's caller and the system call filter;
 *	5. reports RUNNING, then passes each signal on, and reaps, until the program
 *	   has ended: reports ENDED and ends, and the kernel kills what is left.
 * What it reports is one struct report a time. Should the filter or the exec of
 * the program be refused, the forked child reports NOT_FILTERED or NOT_EXECUTED
 * by itself.
 *
 * With task.direct it becomes the program instead of steps 4 and 5.
 */
#include "pid1.h"

#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define HERE __attribute__((section("pid1"), used, noinline, no_stack_protector))
#define INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
INLINE long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
/* The kernel enters with an aligned stack, C functions expect a return address on it. */
#define ENTRY __attribute__((force_align_arg_pointer))
#elif defined(__aarch64__)
INLINE long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#define ENTRY
#else
#error "pid1 is written for amd64 and arm64"
#endif

#define sys(n, a, b, c, d) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

INLINE void report(uint32_t kind, int32_t value)
{
	struct report r;
	r.kind = kind;
	r.value = value;
	sys(__NR_write, PID1_REPORT, &r, sizeof r, 0);
}

INLINE void quit(void)
{
	for (;;)
		sys(__NR_exit_group, 0, 0, 0, 0);
}

/* strings makes an argument vector of n strings that lie one behind the other
 * from *text on, and moves *text behind them. */
INLINE char **strings(char ***vector, uint32_t n, char **text)
{
	char **first = *vector;
	while (n-- > 0) {
		*(*vector)++ = *text;
		while (*(*text)++)
			;
	}
	*(*vector)++ = 0;
	return first;
}

/* execute becomes the program: the first of the candidates that can be executed
 * (execvp(3) has the same rule). It returns an errno if none can. The filter
 * comes last: it need not allow what was done before. */
HERE static int execute(const struct task *t, char **vector)
{
	struct sock_fprog filter;
	filter.len = (unsigned short)t->filter;
	filter.filter = (struct sock_filter *)(t + 1);
	char *text = (char *)(filter.filter + t->filter);
	char **paths = strings(&vector, t->paths, &text);
	char **argv = strings(&vector, t->args, &text);
	char **envp = strings(&vector, t->envs, &text);
	int denied = 0, err = ENOENT;
	sys(__NR_rt_sigprocmask, SIG_SETMASK, &t->mask, 0, 8);
	int failed = (int)sys(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0);
	if (failed) {
		report(PID1_NOT_FILTERED, -failed);
		quit();
	}
	for (; *paths; paths++) {
		err = -(int)sys(__NR_execve, *paths, argv, envp, 0);
		if (err == EACCES)
			denied = 1;
		else if (err != ENOENT && err != ENOTDIR)
			return err;
	}
	return denied ? EACCES : err;
}

/* become_program does not return. */
HERE static void become_program(const struct task *t)
{
	/* Pointers to the strings of the task, and three at the ends. */
	long n = (t->paths + t->args + t->envs + 3L) * (long)sizeof(char *);
	char **vector = (void *)sys6(__NR_mmap, 0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err = ENOMEM;
	if ((unsigned long)vector < -4096UL) {
		sys(__NR_close, PID1_IMAGE, 0, 0, 0);
		sys(__NR_close, PID1_TASK, 0, 0, 0);
		err = execute(t, vector);
	}
	report(PID1_NOT_EXECUTED, err);
	quit();
}

/* start_program returns the program's pid, or a negative errno. */
HERE static int start_program(void)
{
	struct task *t = (void *)sys6(__NR_mmap, 0, PID1_TASK_MAX, PROT_READ, MAP_PRIVATE, PID1_TASK, 0);
	if ((unsigned long)t >= -4096UL)
		return (int)(long)t;
	if (t->direct)
		become_program(t);
	int pid = (int)sys6(__NR_clone, SIGCHLD, 0, 0, 0, 0, 0);
	if (pid == 0) {
		sys(__NR_setsid, 0, 0, 0, 0);
		become_program(t);
	}
	sys(__NR_munmap, t, PID1_TASK_MAX, 0, 0);
	return pid;
}

/* reap waits for all that have ended, and tells whether the program has: that it
 * reports. */
HERE static int reap(int program)
{
	int status, pid;
	while ((pid = (int)sys(__NR_wait4, -1, &status, WNOHANG, 0)) > 0) {
		if (pid != program)
			continue;
		report(PID1_ENDED, status);
		return 1;
	}
	return 0;
}

/* pid1_main is the entry point. */
ENTRY HERE void pid1_main(void)
{
	uint64_t all = ~0ULL;
	struct pollfd contain;
	/* "contain-init", little-endian. */
	volatile uint64_t name[2]; /* volatile: or they become a constant in .rodata */
	name[0] = 0x2d6e6961746e6f63;
	name[1] = 0x74696e69;

	sys(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
	contain.fd = PID1_REPORT;
	contain.events = 0;
	contain.revents = 0;
	/* A null timeout would wait: a zero one lies in all's second half. */
	uint64_t now[2];
	now[0] = now[1] = 0;
	if (sys(__NR_ppoll, &contain, 1, now, 0) != 0)
		quit();
	sys(__NR_rt_sigprocmask, SIG_SETMASK, &all, 0, 8);
	/* Nobody in the container may look into or write to fd 3. */
	sys(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0);
	sys(__NR_prctl, PR_SET_NAME, name, 0, 0);
	sys(__NR_fcntl, PID1_REPORT, F_SETFD, FD_CLOEXEC, 0);

	report(PID1_READY, 0);
	if (sys(__NR_read, PID1_REPORT, name, 1, 0) != 1)
		quit();
	int program = start_program();
	if (program < 0) {
		report(PID1_NOT_EXECUTED, -program);
		quit();
	}
	for (int fd = 0; fd <= PID1_TASK; fd++)
		if (fd != PID1_REPORT)
			sys(__NR_close, fd, 0, 0, 0);
	report(PID1_RUNNING, program);
	for (;;) {
		int sig = (int)sys(__NR_rt_sigtimedwait, &all, 0, 0, 8);
		if (sig == SIGCHLD) {
			if (reap(program))
				quit();
		} else if (sig > 0) {
			sys(__NR_kill, program, sig, 0, 0);
		}
	}
}
