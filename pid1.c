/*
 * pid1: the init of a container, PID 1 of its PID namespace. It starts the
 * program, passes signals to it, reaps what the program leaves, and says how
 * the program stopped and ended. One page of code, no library, no heap.
 *
 * It is not part of contain's own code path: pid1.go copies the section "pid1"
 * of this binary behind an ELF header into a memfd, and libcontainer executes
 * that as its last step. So nothing here may refer to anything outside the
 * section (bare.h).
 *
 * What it inherits:
 *	fd 0-2	the program's
 *	fd 3	(PID1_REPORT) socket to contain, which alone has the other end
 *	fd 4	(PID1_IMAGE) this code
 *	fd 5	(PID1_TASK) what to start: struct task and its strings
 *	fd 10-	(PID1_JOIN) the ways into the program's cgroups
 * and the credentials, rlimits, namespaces of the program; but
 * contain's own cgroup and cgroup namespace, and CAP_SYS_ADMIN.
 *
 * What it does, in this order:
 *	1. asks to be killed with contain, and ends if contain has gone already;
 *	2. blocks all signals: from now on none is lost. (PID 1 is spared signals
 *	   it has no handler for, pid_namespaces(7), but blocked ones stay pending;)
 *	3. if there is a terminal for the program, receives it from contain, and makes
 *	   it its own: so the program's process group has a parent in its session, as
 *	   a shell's job has, and can be stopped (setpgid(2));
 *	4. binds itself to the program's CPUs, and on v1 enters the program's cgroups,
 *	   but for memory and pids: the program can make it work;
 *	5. forks. The child, which will be the program,
 *	   a. gets a process group or a session of its own, and the terminal;
 *	   b. enters its cgroups: nothing that was done before is charged to them;
 *	   c. gets its CPUs, and a cgroup namespace, whose root is its cgroup;
 *	   d. becomes the program's user, whom contain may not limit (prlimit(2)), and so
 *	      first waits, as UNLIMITED, to have its limits; gives up the capabilities
 *	      that it is not to have, and takes the system call filter;
 *	   e. reports READY, and waits for contain's word: contain looks whether all
 *	      this is so;
 *	   f. blocks and ignores the signals that contain's caller did, and executes
 *	      the program. The filter must allow e and f (neededCalls in seccomp.go).
 *	   A step that fails it reports by itself, as NOT_...;
 *	6. keeps one capability, to send signals to any user's program;
 *	7. passes each signal on, and reaps. A stop of the program is reported as
 *	   STOPPED, its going on as CONTINUED;
 *	8. when the program has ended, reports ENDED and ends, and the kernel kills
 *	   what is left. (The end of a session's leader hangs up no pseudo terminal,
 *	   disassociate_ctty, drivers/tty/tty_jobctrl.c: what was written last stays.)
 *
 * With task.direct it becomes the program itself: steps 1 to 3 and 5b to 5f.
 */
#include "pid1.h"
#include "bare.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define HERE BARE("pid1")

/* quit ends the process as contain fails: it is no program that has ended well. */
INLINE void quit(void)
{
	for (;;)
		sys(__NR_exit_group, PID1_FAILED, 0, 0, 0);
}

/* report ends the process if nobody can hear it: contain would wait for ever. */
HERE static void report(uint32_t kind, int32_t value)
{
	struct report r;
	r.kind = kind;
	r.value = value;
	if (sys(__NR_write, PID1_REPORT, &r, sizeof r, 0) != sizeof r)
		quit();
}

HERE static void fail(long ret, uint32_t kind)
{
	report(kind, (int32_t)-ret);
	quit();
}

/* must ends the process if a system call has failed. */
INLINE void must(long ret, uint32_t kind)
{
	if (ret < 0)
		fail(ret, kind);
}

INLINE void close_from_to(int first, int last)
{
	for (int fd = first; fd <= last; fd++)
		sys(__NR_close, fd, 0, 0, 0);
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

/* set_caps makes caps the permitted and effective capabilities, and empties the
 * inheritable ones. */
HERE static long set_caps(uint64_t caps)
{
	struct __user_cap_header_struct head;
	struct __user_cap_data_struct data[2];
	head.version = _LINUX_CAPABILITY_VERSION_3;
	head.pid = 0;
	for (int i = 0; i < 2; i++) {
		data[i].effective = data[i].permitted = (uint32_t)(caps >> (32 * i));
		data[i].inheritable = 0;
	}
	return sys(__NR_capset, &head, data, 0, 0);
}

/* bound takes all but caps from the bounding set. */
HERE static void bound(uint64_t caps)
{
	for (int cap = 0; cap < 64; cap++)
		if (!(caps >> cap & 1) && sys(__NR_prctl, PR_CAPBSET_READ, cap, 0, 0) == 1)
			must(sys(__NR_prctl, PR_CAPBSET_DROP, cap, 0, 0), PID1_NOT_DROPPED);
}

/* drop leaves the process no more than caps, also when it executes another
 * program. */
HERE static void drop(uint64_t caps)
{
	bound(caps);
	must(set_caps(caps), PID1_NOT_DROPPED);
}

/* await reports what contain is to answer with a byte, and waits for that. */
HERE static void await(uint32_t kind)
{
	char go;
	report(kind, 0);
	long n = sys(__NR_read, PID1_REPORT, &go, 1, 0);
	must(n, PID1_NOT_STARTED);
	if (n == 0)
		quit();
}

/* become_user gives up being root, but keeps the capabilities that it is permitted
 * until the exec. */
HERE static void become_user(const struct task *t)
{
	must(sys(__NR_setgroups, 0, 0, 0, 0), PID1_NOT_USER);
	if (t->uid == 0 && t->gid == 0)
		return;
	await(PID1_UNLIMITED);
	sys(__NR_prctl, PR_SET_KEEPCAPS, 1, 0, 0);
	must(sys(__NR_setresgid, t->gid, t->gid, t->gid, 0), PID1_NOT_USER);
	must(sys(__NR_setresuid, t->uid, t->uid, t->uid, 0), PID1_NOT_USER);
	if (t->direct) /* that has cleared it */
		sys(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
}

/* filter_calls takes the system call filter. */
HERE static void filter_calls(const struct task *t)
{
	struct sock_fprog filter;
	filter.len = (unsigned short)t->filter;
	filter.filter = (struct sock_filter *)(t + 1);
	if (filter.len)
		must(sys(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0), PID1_NOT_FILTERED);
}

/* limit_power leaves the process the program's user, capabilities, directory and
 * filter. To take a filter, without no_new_privs, needs CAP_SYS_ADMIN. */
HERE static void limit_power(const struct task *t, const char *workdir, int tty)
{
	uint64_t caps = t->uid ? 0 : t->caps;
	bound(t->caps);
	become_user(t);
	if (tty >= 0)
		sys(__NR_close, tty, 0, 0, 0);
	must(set_caps(t->privs ? caps | 1ULL << CAP_SYS_ADMIN : caps), PID1_NOT_DROPPED);
	if (t->workdir)
		must(sys(__NR_chdir, workdir, 0, 0, 0), PID1_NO_WORKDIR);
	filter_calls(t);
	if (t->privs)
		must(set_caps(caps), PID1_NOT_DROPPED);
}

/* join enters cgroups. A "0" written is the writer itself: on v1, and other than
 * a pid, it waits for no RCU grace period, 8 ms in the mean
 * (cgroup_procs_write_start, kernel/cgroup/cgroup.c). */
HERE static void join(uint32_t from, uint32_t to)
{
	char self = '0';
	for (uint32_t i = from; i < to; i++)
		must(sys(__NR_write, PID1_JOIN + i, &self, 1, 0), PID1_NOT_JOINED);
}

/* pin binds the process to the program's CPUs. */
HERE static void pin(const struct task *t)
{
	const void *cpus = (const struct sock_filter *)(t + 1) + t->filter;
	if (t->cpus)
		must(sys(__NR_sched_setaffinity, 0, 8 * t->cpus, cpus, 0), PID1_NOT_PINNED);
}

/* confine brings the process into what the program is to run in. */
HERE static void confine(const struct task *t)
{
	join(t->direct ? 0 : t->first, t->joins);
	pin(t); /* again: a cgroup may have lifted it */
	must(sys(__NR_unshare, CLONE_NEWCGROUP, 0, 0, 0), PID1_NOT_UNSHARED);
}

/* execute becomes the program: the first of the candidates that can be executed
 * (execvp(3) has the same rule). It returns an errno if none can. */
HERE static int execute(char **paths, char **argv, char **envp)
{
	int denied = 0, err = ENOENT;
	for (; *paths; paths++) {
		err = -(int)sys(__NR_execve, *paths, argv, envp, 0);
		if (err == EACCES)
			denied = 1;
		else if (err != ENOENT && err != ENOTDIR)
			return err;
	}
	return denied ? EACCES : err;
}

/* take_signals makes the dispositions and the mask those of contain's caller. An
 * exec makes the rest SIG_DFL, and pid1 itself has handlers for none. */
HERE static void take_signals(const struct task *t)
{
	volatile uint64_t action[4]; /* struct sigaction, the kernel's */
	action[0] = (uint64_t)SIG_IGN;
	action[1] = action[2] = action[3] = 0;
	for (int sig = 1; sig <= 64; sig++)
		if (t->ignored >> (sig - 1) & 1)
			must(sys(__NR_rt_sigaction, sig, action, 0, 8), PID1_NOT_STARTED);
	must(sys(__NR_rt_sigprocmask, SIG_SETMASK, &t->mask, 0, 8), PID1_NOT_STARTED);
}

/* become_program does not return. */
HERE static void become_program(const struct task *t, int tty)
{
	char *text = (char *)((uint64_t *)((struct sock_filter *)(t + 1) + t->filter) + t->cpus);
	/* Pointers to the strings of the task, and three at the ends. */
	long n = (t->paths + t->args + t->envs + 3L) * (long)sizeof(char *);

	confine(t);
	for (int fd = 0; fd < 3; fd++)
		if (t->tty >> fd & 1)
			must(sys(__NR_dup3, tty, fd, 0, 0), PID1_NO_TERMINAL);
	close_from_to(PID1_IMAGE, PID1_JOIN + (int)(t->into + t->joins) - 1);
	long memory = sys6(__NR_mmap, 0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory < 0 && memory > -4096)
		must(memory, PID1_NOT_STARTED);
	const char *workdir = text;
	while (t->workdir && *text++)
		;
	char **vector = (char **)memory;
	char **paths = strings(&vector, t->paths, &text);
	char **argv = strings(&vector, t->args, &text);
	char **envp = strings(&vector, t->envs, &text);

	limit_power(t, workdir, tty);
	await(PID1_READY);
	take_signals(t);
	report(PID1_NOT_EXECUTED, execute(paths, argv, envp));
	quit();
}

/* receive_terminal receives a descriptor from contain, of at least that number,
 * and makes it the controlling terminal of this session. */
HERE static int receive_terminal(int least)
{
	union {
		struct cmsghdr head;
		uint64_t room[4];
	} control;
	char byte;
	struct iovec data;
	volatile struct msghdr message; /* volatile: or pieces of it become constants */
	data.iov_base = &byte;
	data.iov_len = 1;
	message.msg_name = 0;
	message.msg_namelen = 0;
	message.msg_iov = &data;
	message.msg_iovlen = 1;
	message.msg_control = &control;
	message.msg_controllen = CMSG_SPACE(sizeof(int));
	message.msg_flags = 0;
	if (sys(__NR_recvmsg, PID1_REPORT, &message, 0, 0) != 1)
		quit();
	if (message.msg_controllen < CMSG_LEN(sizeof(int)))
		must(-EMFILE, PID1_NO_TERMINAL);
	int fd = *(int *)(void *)CMSG_DATA(&control.head);
	int tty = (int)sys(__NR_fcntl, fd, F_DUPFD, least, 0);
	must(tty, PID1_NO_TERMINAL);
	sys(__NR_close, fd, 0, 0, 0);
	must(sys(__NR_ioctl, tty, TIOCSCTTY, 0, 0), PID1_NO_TERMINAL);
	return tty;
}

/* set_foreground makes group the foreground of the terminal; a process of the
 * background is allowed to if SIGTTOU is blocked. */
INLINE void set_foreground(int tty, int group)
{
	sys(__NR_ioctl, tty, TIOCSPGRP, &group, 0);
}

/* start_program forks, into the v2 cgroup if there is one: that way too there
 * is no wait. It returns the program's pid. */
HERE static int start_program(const struct task *t, int tty)
{
	struct clone_args args;
	clear(&args, sizeof args);
	args.exit_signal = SIGCHLD;
	if (t->into) {
		args.flags = CLONE_INTO_CGROUP;
		args.cgroup = PID1_JOIN;
	}
	long pid = sys(__NR_clone3, &args, sizeof args, 0, 0);
	must(pid, PID1_NOT_STARTED);
	if (pid != 0)
		return (int)pid;
	must(t->session ? sys(__NR_setsid, 0, 0, 0, 0) : sys(__NR_setpgid, 0, 0, 0, 0), PID1_NOT_STARTED);
	if (t->foreground)
		set_foreground(tty, (int)sys(__NR_getpid, 0, 0, 0, 0));
	become_program(t, tty);
	return 0;
}

/* reap waits for all that have ended, and reports what happened to the program.
 * It tells whether that has ended, or it can no longer be told. */
HERE static int reap(int program, int tty)
{
	int status, pid;
	while ((pid = (int)sys(__NR_wait4, -1, &status, WNOHANG | WUNTRACED | WCONTINUED, 0)) > 0) {
		if (pid != program)
			continue;
		if (WIFSTOPPED(status)) {
			/* From now on it has to ask, by another stop. */
			if (tty >= 0)
				set_foreground(tty, (int)sys(__NR_getpid, 0, 0, 0, 0));
			report(PID1_STOPPED, WSTOPSIG(status));
		} else if (WIFCONTINUED(status)) {
			report(PID1_CONTINUED, 0);
		} else {
			report(PID1_ENDED, status);
			return 1;
		}
	}
	return pid < 0 && pid != -ECHILD;
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

	must(sys(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0), PID1_NOT_STARTED);
	contain.fd = PID1_REPORT;
	contain.events = 0;
	contain.revents = 0;
	uint64_t now[2]; /* a null timeout would wait */
	now[0] = now[1] = 0;
	long gone = sys(__NR_ppoll, &contain, 1, now, 0);
	must(gone, PID1_NOT_STARTED);
	if (gone)
		quit();
	must(sys(__NR_rt_sigprocmask, SIG_SETMASK, &all, 0, 8), PID1_NOT_STARTED);
	/* What is pending was sent to contain's process group, contain has it too. */
	while (sys(__NR_rt_sigtimedwait, &all, 0, now, 8) > 0)
		;
	/* Nobody in the container may look into or write to fd 3. */
	must(sys(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0), PID1_NOT_STARTED);
	sys(__NR_prctl, PR_SET_NAME, name, 0, 0);
	must(sys(__NR_fcntl, PID1_REPORT, F_SETFD, FD_CLOEXEC, 0), PID1_NOT_STARTED);

	long memory = sys6(__NR_mmap, 0, PID1_TASK_MAX, PROT_READ, MAP_PRIVATE, PID1_TASK, 0);
	if (memory < 0 && memory > -4096)
		must(memory, PID1_NOT_STARTED);
	const struct task *t = (const struct task *)memory;
	int last = PID1_JOIN + (int)(t->into + t->joins) - 1;
	int tty = t->tty ? receive_terminal(last + 1) : -1;
	if (t->direct)
		become_program(t, tty);
	join(0, t->first);
	pin(t);
	int program = start_program(t, tty);
	close_from_to(0, PID1_REPORT - 1);
	close_from_to(PID1_IMAGE, last);
	sys(__NR_munmap, memory, PID1_TASK_MAX, 0, 0);
	drop(1ULL << CAP_KILL);
	for (;;) {
		siginfo_t info;
		int sig = (int)sys(__NR_rt_sigtimedwait, &all, &info, 0, 8);
		if (sig == SIGCHLD) {
			if (reap(program, tty))
				quit();
		} else if (sig > 0) {
			int how = info.si_code == SI_QUEUE ? info.si_int : 0;
			if (how == PID1_TO_FRONT)
				set_foreground(tty, program);
			if ((how != PID1_TO_GROUP && how != PID1_TO_FRONT) || sys(__NR_kill, -program, sig, 0, 0) < 0)
				sys(__NR_kill, program, sig, 0, 0);
		}
	}
}
