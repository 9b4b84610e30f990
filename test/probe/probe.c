/*
 * The program that the integration tests contain: one static binary that is a
 * whole rootfs. Each verb does one thing and says what came of it on stdout.
 * In C because it must start under limits that no Go runtime fits in, and must
 * be able to catch every signal.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/udp.h>
#include <netinet/ip.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <ctype.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static void say(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

static int fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return 1;
}

/* exit CODE */
static int do_exit(char **arg) { return atoi(arg[0]); }

/* segv: a fault that kills even PID 1 */
static int do_segv(char **arg)
{
	volatile int *volatile nowhere = NULL;
	(void)arg;
	*nowhere = 1;
	return 0;
}

/* abort: as a failed assertion does */
static int do_abort(char **arg)
{
	(void)arg;
	abort();
}

/* raise SIGNAL: with its default action */
static int do_raise(char **arg)
{
	signal(atoi(arg[0]), SIG_DFL);
	raise(atoi(arg[0]));
	say("survived");
	return 0;
}

/* blink COUNT: is stopped and resumed by a child, without a pause */
static int do_blink(char **arg)
{
	pid_t self = getpid();
	if (fork() == 0) {
		for (int i = atoi(arg[0]); i > 0; i--) {
			kill(self, SIGSTOP);
			kill(self, SIGCONT);
		}
		_exit(0);
	}
	while (wait(NULL) < 0)
		;
	say("done");
	return 0;
}

/* stopping: stops on SIGUSR1 */
static int do_stopping(char **arg)
{
	sigset_t usr1;
	int sig;
	(void)arg;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	say("ready");
	sigwait(&usr1, &sig);
	raise(SIGSTOP);
	say("survived");
	return 0;
}

/* queue COUNT: fill so many TCP connections with what nobody reads; print how much
 * they took */
static int do_queue(char **arg)
{
	static char buf[1 << 16];
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof addr;
	int listener = socket(AF_INET, SOCK_STREAM, 0), big = 64 << 20;
	size_t total = 0;
	if (bind(listener, (void *)&addr, length) < 0 || listen(listener, 128) < 0 ||
	    getsockname(listener, (void *)&addr, &length) < 0)
		return fail("listen");
	for (int i = atoi(arg[0]); i > 0; i--) {
		int s = socket(AF_INET, SOCK_STREAM, 0);
		setsockopt(s, SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
		if (connect(s, (void *)&addr, sizeof addr) < 0 || accept(listener, NULL, NULL) < 0)
			return fail("connect");
		for (ssize_t n; (n = send(s, buf, sizeof buf, MSG_DONTWAIT)) > 0;)
			total += n;
	}
	printf("%zu\n", total);
	return 0;
}

/* wait: until killed */
static int do_wait(char **arg)
{
	(void)arg;
	say("ready");
	while (pause())
		;
	return 0;
}

/* signals COUNT: print each signal as it arrives, end after COUNT of them */
static int do_signals(char **arg)
{
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	say("ready");
	for (int n = atoi(arg[0]); n > 0; n--) {
		printf("%d\n", sigwaitinfo(&all, NULL));
		fflush(stdout);
	}
	return 0;
}

/* args ...: print each argument with its length */
static int do_args(char **arg)
{
	for (; *arg; arg++)
		printf("%zu:%s\n", strlen(*arg), *arg);
	return 0;
}

/* sum ...: print how many arguments there are, and the FNV-1a checksum of them
 * all with their zeros */
static int do_sum(char **arg)
{
	unsigned long sum = 0xcbf29ce484222325;
	int n = 0;
	for (; arg[n]; n++) {
		for (size_t i = 0; i <= strlen(arg[n]); i++) {
			sum ^= (unsigned char)arg[n][i];
			sum *= 0x100000001b3;
		}
	}
	printf("%d %016lx\n", n, sum);
	return 0;
}

/* env: print the environment */
static int do_env(char **arg)
{
	(void)arg;
	for (char **e = environ; *e; e++)
		say(*e);
	return 0;
}

/* cat FILE ... */
static int do_cat(char **arg)
{
	char buf[65536];
	for (; *arg; arg++) {
		int fd = open(*arg, O_RDONLY);
		ssize_t n;
		if (fd < 0)
			return fail(*arg);
		while ((n = read(fd, buf, sizeof buf)) > 0)
			if (write(1, buf, n) != n)
				return 1;
		if (n < 0)
			return fail(*arg);
		close(fd);
	}
	return 0;
}

/* copy: stdin to stdout */
static int do_copy(char **arg)
{
	char buf[65536];
	ssize_t n;
	(void)arg;
	while ((n = read(0, buf, sizeof buf)) > 0)
		if (write(1, buf, n) != n)
			return 1;
	return n < 0;
}

/* fds: print what each descriptor refers to */
static int do_fds(char **arg)
{
	char path[64], target[4096];
	(void)arg;
	for (int fd = 0; fd < 256; fd++) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, target, sizeof target - 1);
		if (n < 0)
			continue;
		target[n] = 0;
		printf("%d %s\n", fd, target);
	}
	return 0;
}

/* nulls: exit with bit N set if descriptor N, of 0 to 2, is /dev/null, and bit 3
 * if there is any other than these */
static int do_nulls(char **arg)
{
	struct stat st;
	int bits = 0;
	(void)arg;
	for (int fd = 0; fd < 3; fd++)
		if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
			bits |= 1 << fd;
	for (int fd = 3; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			bits |= 8;
	return bits;
}

static int become(char **argv)
{
	execv(argv[0], argv);
	return fail(argv[0]);
}

/* ignore SIGNAL,...|all PROGRAM ...: execute it with these ignored, also those
 * that glibc keeps to itself */
static int do_ignore(char **arg)
{
	unsigned long action[4] = {(unsigned long)SIG_IGN, 0, 0, 0};
	if (!strcmp(arg[0], "all")) {
		for (int sig = 1; sig <= 64; sig++)
			syscall(SYS_rt_sigaction, sig, action, NULL, 8);
	} else {
		for (char *p = strtok(arg[0], ","); p; p = strtok(NULL, ","))
			syscall(SYS_rt_sigaction, atoi(p), action, NULL, 8);
	}
	return become(arg + 1);
}

/* block PROGRAM ...: execute it with all signals blocked, also those that glibc
 * keeps to itself */
static int do_block(char **arg)
{
	unsigned long all = ~0UL;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
	return become(arg);
}

/* deep NAME COUNT PROGRAM ...: execute it below that many new directories, each
 * in the one before */
static int do_deep(char **arg)
{
	for (int n = atoi(arg[1]); n > 0; n--)
		if (mkdir(arg[0], 0755) < 0 || chdir(arg[0]) < 0)
			return fail(arg[0]);
	return become(arg + 2);
}

/* open FILE r|w: print ok or why not */
static int do_open(char **arg)
{
	int fd = open(arg[0], arg[1][0] == 'w' ? O_WRONLY : O_RDONLY);
	if (fd < 0)
		return fail(arg[0]);
	say("ok");
	return 0;
}

/* create FILE: make it, with every permission that the umask leaves */
static int do_create(char **arg)
{
	struct stat st;
	int fd = open(arg[0], O_WRONLY | O_CREAT, 0777);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(arg[0]);
	printf("%o\n", st.st_mode & 07777);
	return 0;
}

/* mode FILE: print its permissions */
static int do_mode(char **arg)
{
	struct stat st;
	if (stat(arg[0], &st) < 0)
		return fail(arg[0]);
	printf("%o\n", st.st_mode & 07777);
	return 0;
}

/* mknod FILE MAJOR MINOR: a character device */
static int do_mknod(char **arg)
{
	if (mknod(arg[0], S_IFCHR | 0666, makedev(atoi(arg[1]), atoi(arg[2]))) < 0)
		return fail(arg[0]);
	say("ok");
	return 0;
}

/* mkdir DIR: print ok or why not */
static int do_mkdir(char **arg)
{
	if (mkdir(arg[0], 0755) < 0)
		return fail(arg[0]);
	say("ok");
	return 0;
}

static int outcome(long ret)
{
	if (ret < 0)
		return fail("refused");
	say("allowed");
	return 0;
}

/* call NAME: make a system call that is, or is not, refused */
static int do_call(char **arg)
{
	struct rlimit core = {0, 0};
	struct perf_event_attr perf = {.type = PERF_TYPE_SOFTWARE, .size = sizeof perf};
	char buf[512] = {0};
	if (!strcmp(arg[0], "unshare-user"))
		return outcome(unshare(CLONE_NEWUSER));
	if (!strcmp(arg[0], "clone-user"))
		return outcome(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
	if (!strcmp(arg[0], "clone3"))
		return outcome(syscall(SYS_clone3, buf, 64));
	if (!strcmp(arg[0], "keyctl"))
		return outcome(syscall(SYS_keyctl, 0, -4, 0));
	if (!strcmp(arg[0], "add_key"))
		return outcome(syscall(SYS_add_key, "user", "x", "y", 1, -4));
	if (!strcmp(arg[0], "pin-1")) {
		cpu_set_t set;
		return outcome(sched_getaffinity(0, sizeof set, &set) || sched_setaffinity(1, sizeof set, &set) ? -1 : 0);
	}
	if (!strcmp(arg[0], "idle-1"))
		return outcome(sched_setscheduler(1, SCHED_IDLE, &(struct sched_param){0}));
	if (!strcmp(arg[0], "nice-1"))
		return outcome(setpriority(PRIO_PROCESS, 1, 19));
	if (!strcmp(arg[0], "nice-user"))
		return outcome(setpriority(PRIO_USER, 0, 19));
	if (!strcmp(arg[0], "nice"))
		return outcome(setpriority(PRIO_PROCESS, 0, 19));
	if (!strcmp(arg[0], "limit-1"))
		return outcome(prlimit(1, RLIMIT_SIGPENDING, &core, NULL));
	if (!strcmp(arg[0], "queue-1"))
		return outcome(sigqueue(1, SIGURG, (union sigval){0}));
	if (!strcmp(arg[0], "usersock"))
		return outcome(socket(AF_NETLINK, SOCK_RAW, 2));
	if (!strcmp(arg[0], "packet"))
		return outcome(socket(AF_PACKET, SOCK_RAW, 0));
	if (!strcmp(arg[0], "vsock"))
		return outcome(socket(AF_VSOCK, SOCK_STREAM, 0));
	if (!strcmp(arg[0], "icmp"))
		return outcome(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	if (!strcmp(arg[0], "old-packet"))
		return outcome(socket(AF_INET, 10 | SOCK_CLOEXEC, htons(3)));
	if (!strcmp(arg[0], "xdp"))
		return outcome(socket(44, SOCK_RAW, 0));
	if (!strcmp(arg[0], "netlink"))
		return outcome(socket(AF_NETLINK, SOCK_RAW, 0));
	if (!strcmp(arg[0], "trace")) {
		pid_t pid = fork();
		if (pid == 0)
			for (;;)
				pause();
		/* The data of other requests is not options. */
		return outcome(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD) ||
			       ptrace(PTRACE_INTERRUPT, pid, 0, PTRACE_O_TRACEEXIT) ? -1 : 0);
	}
	if (!strcmp(arg[0], "trace-exit")) {
		pid_t pid = fork();
		if (pid == 0)
			for (;;)
				pause();
		return outcome(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACEEXIT));
	}
	if (!strcmp(arg[0], "perf"))
		return outcome(syscall(SYS_perf_event_open, &perf, 0, -1, -1, 0));
	if (!strcmp(arg[0], "userfaultfd"))
		return outcome(syscall(SYS_userfaultfd, 0));
	if (!strcmp(arg[0], "io_uring"))
		return outcome(syscall(SYS_io_uring_setup, 1, buf));
	if (!strcmp(arg[0], "core")) {
		setrlimit(RLIMIT_CORE, &core);
		syscall(SYS_setrlimit, RLIMIT_CORE, &core);
		if (getrlimit(RLIMIT_CORE, &core) < 0)
			return fail("getrlimit");
		printf("%lu %lu\n", (unsigned long)core.rlim_cur, (unsigned long)core.rlim_max);
		return 0;
	}
	return 200;
}

/* mount DIR: a tmpfs */
static int do_mount(char **arg)
{
	if (mount("none", arg[0], "tmpfs", 0, NULL) < 0)
		return fail(arg[0]);
	say("ok");
	return 0;
}

static void touch(size_t bytes)
{
	const size_t step = 1 << 20;
	for (size_t done = 0; done < bytes; done += step) {
		size_t n = bytes - done < step ? bytes - done : step;
		char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED) {
			fail("mmap");
			exit(1);
		}
		memset(p, 1, n);
	}
}

/* hog BYTES: use that much memory */
static int do_hog(char **arg)
{
	touch(strtoul(arg[0], NULL, 10));
	say("touched");
	return 0;
}

/* childhog BYTES: have a child do so */
static int do_childhog(char **arg)
{
	pid_t pid = fork();
	if (pid == 0) {
		touch(strtoul(arg[0], NULL, 10));
		_exit(0);
	}
	say("ready");
	while (waitpid(pid, NULL, 0) < 0)
		;
	/* Where the tree dies as a whole, there is no time for this. */
	for (int i = 0; i < 50; i++)
		usleep(100000);
	say("survived");
	return 0;
}

/* shmhog BYTES: fill /dev/shm */
static int do_shmhog(char **arg)
{
	static char buf[1 << 20];
	int fd = open("/dev/shm/hog", O_WRONLY | O_CREAT, 0600);
	if (fd < 0)
		return fail("/dev/shm/hog");
	for (size_t left = strtoul(arg[0], NULL, 10); left > 0;) {
		ssize_t n = write(fd, buf, left < sizeof buf ? left : sizeof buf);
		if (n < 0)
			return fail("write");
		left -= n;
	}
	say("touched");
	return 0;
}

/* forks COUNT: have that many children at once, print how many there were */
static int do_forks(char **arg)
{
	int want = atoi(arg[0]), got = 0;
	for (; got < want; got++) {
		pid_t pid = fork();
		if (pid < 0)
			break;
		if (pid == 0)
			for (;;)
				pause();
	}
	printf("%d %s\n", got, got < want ? strerror(errno) : "ok");
	return 0;
}

/* addrs: print "INTERFACE FLAGS ADDRESS/PREFIX" for each address, "INTERFACE
 * FLAGS" for each interface */
static int do_addrs(char **arg)
{
	struct ifaddrs *list;
	char text[INET6_ADDRSTRLEN];
	(void)arg;
	if (getifaddrs(&list) < 0)
		return fail("getifaddrs");
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		const char *up = i->ifa_flags & 0x10000 /* IFF_LOWER_UP */ ? "up" : "down";
		int bits = 0;
		if (!i->ifa_addr)
			continue;
		switch (i->ifa_addr->sa_family) {
		case AF_PACKET:
			printf("%s %s\n", i->ifa_name, up);
			break;
		case AF_INET:
			bits = __builtin_popcount(((struct sockaddr_in *)i->ifa_netmask)->sin_addr.s_addr);
			inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, text, sizeof text);
			printf("%s %s %s/%d\n", i->ifa_name, up, text, bits);
			break;
		case AF_INET6:
			for (int b = 0; b < 16; b++)
				bits += __builtin_popcount(((struct sockaddr_in6 *)i->ifa_netmask)->sin6_addr.s6_addr[b]);
			inet_ntop(AF_INET6, &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, text, sizeof text);
			printf("%s %s %s/%d\n", i->ifa_name, up, text, bits);
		}
	}
	return 0;
}

/* given STATUS FILE ...: print its addresses, its descriptors and these files, and end
 * with the status */
static int do_given(char **arg)
{
	do_addrs(NULL);
	do_fds(NULL);
	fflush(stdout);
	for (char **file = arg + 1; *file; file++) {
		say(*file);
		do_cat((char *[]){*file, NULL});
		fflush(stdout);
	}
	return atoi(arg[0]);
}

/* serve PORT: echo the messages of one TCP connection */
static int do_serve(char **arg)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(arg[0]))};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(atoi(arg[0]))};
	char buf[4096];
	ssize_t n;
	int one = 1;
	int s = socket(AF_INET6, SOCK_STREAM, 0), c;
	if (s >= 0 && bind(s, (void *)&any, sizeof any) == 0)
		goto bound;
	s = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(s, (void *)&any4, sizeof any4) < 0)
		return fail("bind");
bound:
	if (listen(s, 1) < 0)
		return fail("listen");
	say("ready");
	if ((c = accept(s, NULL, NULL)) < 0)
		return fail("accept");
	while ((n = read(c, buf, sizeof buf)) > 0)
		if (write(c, buf, n) != n)
			return fail("write");
	return n < 0 ? fail("read") : 0;
}

/* dial returns a TCP connection to HOST PORT, or -1 */
static int dial(char **arg)
{
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(arg[1]))};
	struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons(atoi(arg[1]))};
	int s;
	if (inet_pton(AF_INET, arg[0], &to4.sin_addr) == 1) {
		s = socket(AF_INET, SOCK_STREAM, 0);
		return connect(s, (void *)&to4, sizeof to4) < 0 ? -1 : s;
	}
	inet_pton(AF_INET6, arg[0], &to6.sin6_addr);
	s = socket(AF_INET6, SOCK_STREAM, 0);
	return connect(s, (void *)&to6, sizeof to6) < 0 ? -1 : s;
}

/* knock HOST PORT [FILE]: connect first of all, print how many packets had to be sent
 * again for it, and whether it took the second after which a neighbour is asked again;
 * then print FILE and wait until killed */
static int do_knock(char **arg)
{
	struct tcp_info info;
	struct timespec before, after;
	socklen_t length = sizeof info;
	clock_gettime(CLOCK_MONOTONIC, &before);
	int s = dial(arg);
	clock_gettime(CLOCK_MONOTONIC, &after);
	if (s < 0)
		return fail("connect");
	if (getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return fail("TCP_INFO");
	double took = (after.tv_sec - before.tv_sec) + (after.tv_nsec - before.tv_nsec) / 1e9;
	printf("connected, %u again%s\n", info.tcpi_total_retrans, took < 0.9 ? "" : ", late");
	fflush(stdout);
	return arg[2] ? do_cat(arg + 2) || do_wait(arg) : 0;
}

/* talk HOST PORT COUNT: send COUNT messages and compare each echo */
static int do_talk(char **arg)
{
	char out[64], in[64];
	int count = atoi(arg[2]), s = dial(arg);
	if (s < 0)
		return fail("connect");
	for (int i = 0; i < count; i++) {
		memset(out, 0, sizeof out);
		snprintf(out, sizeof out, "message %d", i);
		if (write(s, out, sizeof out) != sizeof out)
			return fail("write");
		for (size_t got = 0; got < sizeof in;) {
			ssize_t n = read(s, in + got, sizeof in - got);
			if (n <= 0)
				return fail("read");
			got += n;
		}
		if (memcmp(in, out, sizeof in) != 0)
			return fail("echo differs");
	}
	printf("%d messages\n", count);
	return 0;
}

/* tty: print which of descriptors 0 to 2 are terminals, and if there is a
 * controlling one */
static int do_tty(char **arg)
{
	(void)arg;
	for (int fd = 0; fd < 3; fd++) {
		const char *name = ttyname(fd);
		printf("%d %s\n", fd, name ? name : isatty(fd) ? "nameless" : "none");
	}
	if (open("/dev/tty", O_RDWR) < 0)
		return fail("/dev/tty");
	say("/dev/tty");
	return 0;
}

/* upper: stdin to stdout, in upper case: so it differs from an echo */
static int do_upper(char **arg)
{
	char buf[4096];
	ssize_t n;
	(void)arg;
	say("ready");
	while ((n = read(0, buf, sizeof buf)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			buf[i] = toupper((unsigned char)buf[i]);
		if (write(1, buf, n) != n)
			return 1;
	}
	return n < 0;
}

/* raw PROGRAM ...: execute it with the terminal in raw mode */
static int do_raw(char **arg)
{
	struct termios modes;
	if (tcgetattr(0, &modes) < 0)
		return fail("tcgetattr");
	cfmakeraw(&modes);
	tcsetattr(0, TCSANOW, &modes);
	return become(arg);
}

/* digest COUNT: read so many bytes, or to the end; print how many there were and
 * their FNV-1a checksum */
static int do_digest(char **arg)
{
	static unsigned char buf[65536];
	unsigned long sum = 0xcbf29ce484222325, total = 0, want = strtoul(arg[0], NULL, 10);
	ssize_t n;
	say("ready");
	while (total < want && (n = read(0, buf, sizeof buf)) > 0) {
		total += n;
		for (ssize_t i = 0; i < n; i++) {
			sum ^= buf[i];
			sum *= 0x100000001b3;
		}
	}
	printf("digest %lu %016lx\n", total, sum);
	return 0;
}

/* fill COUNT: print so many bytes of all values, which do not repeat soon */
static int do_fill(char **arg)
{
	static unsigned char buf[50000];
	unsigned int x = 1;
	for (size_t left = strtoul(arg[0], NULL, 10); left > 0;) {
		size_t n = left < sizeof buf ? left : sizeof buf;
		for (size_t i = 0; i < n; i++) {
			x = x * 1664525 + 1013904223;
			buf[i] = x >> 24;
		}
		for (size_t done = 0; done < n;) {
			ssize_t w = write(1, buf + done, n - done);
			if (w < 0)
				return fail("write");
			done += w;
		}
		left -= n;
	}
	return 0;
}

/* winch: print the terminal's size, and again after each SIGWINCH, until SIGTERM */
static int do_winch(char **arg)
{
	struct winsize size;
	sigset_t set;
	int sig = 0;
	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	while (sig != SIGTERM) {
		if (ioctl(0, TIOCGWINSZ, &size) < 0)
			return fail("TIOCGWINSZ");
		printf("size %d %d\n", size.ws_row, size.ws_col);
		fflush(stdout);
		sig = sigwaitinfo(&set, NULL);
	}
	return 0;
}

/* orphan: leave a process that holds the terminal and cannot be hung up */
static int do_orphan(char **arg)
{
	int ready[2];
	char c;
	(void)arg;
	if (pipe(ready) < 0)
		return fail("pipe");
	if (fork() == 0) {
		setsid();
		signal(SIGHUP, SIG_IGN);
		close(ready[0]);
		close(ready[1]);
		while (pause())
			;
	}
	close(ready[1]);
	while (read(ready[0], &c, 1) > 0)
		;
	say("leader");
	return 5;
}

/* type TEXT, in whatever way the kernel may allow, into the terminal of a
 * descriptor; print which did */
static void type(const char *how, int fd, const char *text)
{
	struct {
		char code;
		unsigned short place[5];
	} __attribute__((packed)) select = {2, {1, 1, 80, 1, 0}};
	char paste = 3;
	int typed = ioctl(fd, TIOCSTI, text) == 0;
	for (const char *p = text + 1; typed && *p; p++)
		ioctl(fd, TIOCSTI, p);
	printf("%s: %s%s\n", how, typed ? "typed" : "refused",
	       ioctl(fd, TIOCLINUX, &select) == 0 && ioctl(fd, TIOCLINUX, &paste) == 0 ? ", pasted" : "");
	fflush(stdout);
}

/* inject TEXT: try to type it into the terminal on descriptor 0 */
static int do_inject(char **arg)
{
	type("fd 0", 0, arg[0]);
	type("reopened", open("/proc/self/fd/0", O_RDWR), arg[0]);
	if (fork() == 0) {
		setsid();
		ioctl(0, TIOCSCTTY, 1);
		ioctl(0, TIOCSCTTY, 0);
		type("stolen", 0, arg[0]);
		type("reopened by a leader", open("/proc/self/fd/0", O_RDWR), arg[0]);
		_exit(0);
	}
	while (wait(NULL) < 0)
		;
	return 0;
}

/* microseconds of a clock */
static long long us(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

/* burn MS COUNT: so many processes use CPU time for so long, or with 0 for ever */
static int do_burn(char **arg)
{
	long long end = us(CLOCK_MONOTONIC) + atoll(arg[0]) * 1000;
	int first = 1;
	for (int n = atoi(arg[1]); n > 1; n--)
		if (fork() == 0) {
			first = 0;
			break;
		}
	while (atoll(arg[0]) == 0 || us(CLOCK_MONOTONIC) < end)
		;
	while (first && wait(NULL) > 0)
		;
	return 0;
}

/* spend MS: use so much CPU time */
static int do_spend(char **arg)
{
	while (us(CLOCK_PROCESS_CPUTIME_ID) < atoll(arg[0]) * 1000)
		;
	say("spent");
	return 0;
}

/* sleep MS */
static int do_sleep(char **arg)
{
	usleep(atoi(arg[0]) * 1000);
	say("slept");
	return 0;
}

/* repeat COUNT PROGRAM ...: run it so often, one after the other */
static int do_repeat(char **arg)
{
	for (int n = atoi(arg[0]); n > 0; n--) {
		if (fork() == 0)
			_exit(become(arg + 1));
		wait(NULL);
	}
	return 0;
}

/* daemon SECONDS PROGRAM ...: a daemon executes it: a grandchild in a session of its
 * own, left by its parent. Wait for its end, and then so long. */
static int do_daemon(char **arg)
{
	int alive[2];
	char c;
	if (pipe(alive) < 0)
		return fail("pipe");
	if (fork() == 0) {
		close(alive[0]);
		setsid();
		_exit(fork() == 0 ? become(arg + 1) : 0);
	}
	close(alive[1]);
	wait(NULL);
	while (read(alive[0], &c, 1) > 0)
		;
	for (int n = 10 * atoi(arg[0]); n > 0; n--)
		usleep(100000);
	say("survived");
	return 0;
}

/* gate PROGRAM ...: execute it at the end of stdin */
static int do_gate(char **arg)
{
	char c;
	say("ready");
	while (read(0, &c, 1) > 0)
		;
	return become(arg);
}

/* show FILE ...: print them, then wait until killed */
static int do_show(char **arg) { return do_cat(arg) || do_wait(arg); }

/* refuse CALL ERRNO PROGRAM ...: execute it where the kernel answers a system call, by
 * number, with an error */
static int do_refuse(char **arg)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, atoi(arg[0]), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | atoi(arg[1])),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof code / sizeof *code, code};
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
		return fail("seccomp");
	return become(arg + 2);
}

/* orphans COUNT: have a child with so many dead children at once, which ends, too;
 * print when all are gone */
static int do_orphans(char **arg)
{
	struct dirent *entry;
	int left, status;
	if (fork() == 0) {
		for (int n = atoi(arg[0]); n > 0; n--) {
			pid_t pid = fork();
			if (pid <= 0)
				_exit(pid < 0);
		}
		_exit(0);
	}
	if (wait(&status) < 0 || status != 0)
		return fail("fork");
	do {
		DIR *proc = opendir("/proc");
		for (left = 0; proc && (entry = readdir(proc));)
			left += isdigit((unsigned char)*entry->d_name) != 0;
		closedir(proc);
	} while (left != 2);
	say("gone");
	return 0;
}

/* churn: have one short-lived child after the other, until the end of stdin; print
 * whether somebody has sent one a signal */
static int do_churn(char **arg)
{
	struct pollfd in = {.fd = 0, .events = POLLIN};
	int status, hurt = 0, n = 0;
	(void)arg;
	say("ready");
	for (; poll(&in, 1, 0) == 0; n++) {
		pid_t pid = fork();
		if (pid == 0) {
			usleep(n % 50 * 20);
			_exit(0);
		}
		if (pid > 0 && waitpid(pid, &status, 0) == pid)
			hurt += status != 0;
	}
	printf("%d hurt\n", hurt);
	return n == 0;
}

/* pend SIGNAL PROGRAM ...: execute it with the signal blocked and pending */
static int do_pend(char **arg)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, atoi(arg[0]));
	sigprocmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), atoi(arg[0])); /* raise would be for one thread */
	return become(arg + 1);
}

/* hold BYTES: use that much memory, until killed */
static int do_hold(char **arg)
{
	touch(strtoul(arg[0], NULL, 10));
	return do_wait(arg);
}

/* cache FILE BYTES: write a file and read it */
static int do_cache(char **arg)
{
	static char buf[1 << 20];
	size_t size = strtoul(arg[1], NULL, 10), got = 0;
	int fd = open(arg[0], O_RDWR | O_CREAT | O_TRUNC, 0600);
	ssize_t n;
	if (fd < 0)
		return fail(arg[0]);
	for (size_t left = size; left > 0; left -= n)
		if ((n = write(fd, buf, left < sizeof buf ? left : sizeof buf)) < 0)
			return fail("write");
	lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, buf, sizeof buf)) > 0)
		got += n;
	say(got == size ? "read" : "lost");
	return 0;
}

/* reserve BYTES: of address space, by an mmap of what is never used, and by malloc */
static int do_reserve(char **arg)
{
	size_t size = strtoul(arg[0], NULL, 10);
	void *volatile p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return fail("mmap");
	munmap(p, size);
	if (!(p = malloc(size)))
		return fail("malloc");
	say("ok");
	return 0;
}

/* bomb: every process forks until it cannot; print how many there are then */
static int do_bomb(char **arg)
{
	struct {
		volatile int tasks, failed, other;
	} *all = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t first = getpid(), pid;
	(void)arg;
	all->tasks = 1;
	do { /* counted before it is there: no count is ever too low */
		__sync_fetch_and_add(&all->tasks, 1);
		pid = fork();
	} while (pid >= 0);
	if (errno != EAGAIN)
		all->other = errno;
	__sync_fetch_and_sub(&all->tasks, 1);
	__sync_fetch_and_add(&all->failed, 1);
	while (getpid() != first)
		pause();
	while (all->failed < all->tasks)
		usleep(1000);
	printf("%d %s\n", all->tasks, strerror(all->other ? all->other : EAGAIN));
	return 0;
}

static void *idle(void *arg)
{
	while (pause())
		;
	return arg;
}

/* threads COUNT: have that many more at once, print how many there were */
static int do_threads(char **arg)
{
	int want = atoi(arg[0]), got = 0, err = 0;
	pthread_attr_t small;
	pthread_t thread;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	while (got < want && (err = pthread_create(&thread, &small, idle, NULL)) == 0)
		got++;
	printf("%d %s\n", got, err ? strerror(err) : "ok");
	return 0;
}

/* crowd COUNT: have that many children, until killed */
static int do_crowd(char **arg)
{
	for (int n = atoi(arg[0]); n > 0; n--) {
		pid_t pid = fork();
		if (pid < 0)
			return fail("fork");
		if (pid == 0)
			idle(NULL);
	}
	return do_wait(arg);
}

/* dups: print how many descriptors there can be */
static int do_dups(char **arg)
{
	int n = 0;
	(void)arg;
	for (int fd = 0; fd < 3; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	while (n < 100000 && dup(1) >= 0)
		n++;
	printf("%d %s\n", n, strerror(errno));
	return 0;
}

/* direct r|w FILE BYTES BLOCK: read or write it past the page cache; print the
 * microseconds that took */
static int do_direct(char **arg)
{
	int out = arg[0][0] == 'w';
	size_t block = strtoul(arg[3], NULL, 10);
	int fd = open(arg[1], O_DIRECT | (out ? O_WRONLY | O_CREAT : O_RDONLY), 0600);
	char *buf = mmap(NULL, block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long long began = us(CLOCK_MONOTONIC);
	ssize_t n;
	if (fd < 0)
		return fail(arg[1]);
	for (size_t left = strtoul(arg[2], NULL, 10); left > 0; left -= n) {
		n = out ? write(fd, buf, block) : read(fd, buf, block);
		if (n != (ssize_t)block)
			return fail(out ? "write" : "read");
	}
	printf("%lld\n", us(CLOCK_MONOTONIC) - began);
	return 0;
}

/* send HOST PORT BYTES: over TCP */
static int do_send(char **arg)
{
	static char buf[1 << 16];
	int s = dial(arg);
	ssize_t n;
	if (s < 0)
		return fail("connect");
	for (size_t left = strtoul(arg[2], NULL, 10); left > 0; left -= n)
		if ((n = write(s, buf, left < sizeof buf ? left : sizeof buf)) < 0)
			return fail("write");
	shutdown(s, SHUT_WR);
	if (read(s, buf, 1) < 0) /* until all has arrived */
		return fail("read");
	return 0;
}

/* blurt HOST PORT BYTES: over TCP, and end before they have arrived */
static int do_blurt(char **arg)
{
	static char buf[1 << 17];
	int s = dial(arg), size = sizeof buf;
	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) < 0)
		return fail("connect");
	if (write(s, buf, atoi(arg[2])) != atoi(arg[2]))
		return fail("write");
	return 0;
}

/* via DEVICE HOST PORT GATEWAY: send a datagram by an interface, whatever the routes
 * say, and nothing more until GATEWAY has ended a connection to the same port */
static int do_via(char **arg)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(arg[2]))};
	char c, *gateway[] = {arg[3], arg[2]};
	int tcp = dial(gateway), udp = socket(AF_INET, SOCK_DGRAM, 0); /* its hardware address is known now */
	inet_pton(AF_INET, arg[1], &to.sin_addr);
	if (tcp < 0 || setsockopt(udp, SOL_SOCKET, SO_BINDTODEVICE, arg[0], strlen(arg[0])) < 0)
		return fail("connect");
	if (sendto(udp, "lie", 3, 0, (void *)&to, sizeof to) < 0)
		return fail("send");
	shutdown(tcp, SHUT_WR);
	if (read(tcp, &c, 1) < 0)
		return fail("read");
	say("sent");
	return 0;
}

/* receive HOST PORT SKIP: over TCP, until the end; print how many bytes came after
 * the first SKIP, and in how many microseconds */
static int do_receive(char **arg)
{
	static char buf[1 << 16];
	int s = dial(arg);
	size_t total = 0, skip = strtoul(arg[2], NULL, 10);
	ssize_t n = 0;
	if (s < 0)
		return fail("connect");
	for (size_t got = 0; got < skip && (n = read(s, buf, sizeof buf)) > 0;)
		got += n;
	long long began = us(CLOCK_MONOTONIC);
	while ((n = read(s, buf, sizeof buf)) > 0)
		total += n;
	printf("%zu %lld\n", total, us(CLOCK_MONOTONIC) - began);
	return n < 0;
}

/* after SIGNAL PROGRAM ...: say ready, execute it once the signal has come */
static int do_after(char **arg)
{
	sigset_t set;
	int sig;
	sigemptyset(&set);
	sigaddset(&set, atoi(arg[0]));
	sigprocmask(SIG_BLOCK, &set, NULL);
	say("ready");
	sigwait(&set, &sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return become(arg + 1);
}

/* stops COUNT: stop that often, each time after printing which it is */
static int do_stops(char **arg)
{
	for (int i = 1; i <= atoi(arg[0]); i++) {
		printf("%d\n", i);
		fflush(stdout);
		raise(SIGSTOP);
	}
	say("done");
	return 0;
}

static void stop_here(int sig)
{
	(void)sig;
	for (;;)
		raise(SIGSTOP);
}

/* stopterm: take SIGTERM for a reason to stop, always again */
static int do_stopterm(char **arg)
{
	(void)arg;
	signal(SIGTERM, stop_here);
	while (pause())
		;
	return 0;
}

/* meddle FD PROGRAM ...: execute it with the descriptor non-blocking, and its
 * terminal in raw mode */
static int do_meddle(char **arg)
{
	struct termios modes;
	int fd = atoi(arg[0]);
	if (tcgetattr(fd, &modes) < 0)
		return fail("tcgetattr");
	cfmakeraw(&modes);
	tcsetattr(fd, TCSANOW, &modes);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return become(arg + 1);
}

/* interrupt CHARACTER PROGRAM ...: execute it with that as the terminal's key */
static int do_interrupt(char **arg)
{
	struct termios modes;
	if (tcgetattr(0, &modes) < 0)
		return fail("tcgetattr");
	modes.c_cc[VINTR] = arg[0][0];
	tcsetattr(0, TCSANOW, &modes);
	return become(arg + 1);
}

/* line SIGNAL: end of it by its own hand, once there is something to read */
static int do_line(char **arg)
{
	char buf[4096];
	say("ready");
	if (read(0, buf, sizeof buf) > 0)
		raise(atoi(arg[0]));
	return 0;
}

/* keys: stdin to stdout, in upper case, without the terminal's lines: what ends it
 * is the key for that */
static int do_keys(char **arg)
{
	struct termios modes;
	char c;
	(void)arg;
	if (tcgetattr(0, &modes) < 0)
		return fail("tcgetattr");
	modes.c_lflag &= ~(ICANON | ECHO);
	tcsetattr(0, TCSANOW, &modes);
	say("ready");
	while (read(0, &c, 1) == 1 && c != 4) {
		c = toupper((unsigned char)c);
		if (write(1, &c, 1) != 1)
			return 1;
	}
	return c != 4;
}

/* job: as a shell does, have a child in the terminal's foreground, and end of the
 * signal that it ends of */
static int do_job(char **arg)
{
	int status;
	(void)arg;
	signal(SIGTTOU, SIG_IGN);
	pid_t pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		tcsetpgrp(0, getpid());
		do_wait(NULL);
	}
	while (waitpid(pid, &status, 0) < 0)
		;
	tcsetpgrp(0, getpgrp());
	raise(WTERMSIG(status));
	return 0;
}

static struct sockaddr_un unix_address(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	return addr;
}

/* descriptor sends or receives fd, with a byte, and returns it or -1 */
static int descriptor(ssize_t (*pass)(int, struct msghdr *), int sock, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.head = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	char byte = 0;
	struct iovec data = {&byte, 1};
	struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
	if (pass(sock, &m) != 1)
		return -1;
	memcpy(&fd, CMSG_DATA(&control.head), sizeof fd);
	return fd;
}

static ssize_t pass_on(int sock, struct msghdr *m) { return sendmsg(sock, m, 0); }
static ssize_t take_over(int sock, struct msghdr *m) { return recvmsg(sock, m, 0); }

/* hand SOCKET: pass descriptor 0 to who listens there */
static int do_hand(char **arg)
{
	struct sockaddr_un addr = unix_address(arg[0]);
	char byte;
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(s, (void *)&addr, sizeof addr) < 0 || descriptor(pass_on, s, 0) < 0 || read(s, &byte, 1) != 1)
		return fail("hand");
	say("handed");
	return 0;
}

/* hold SOCKET quiet|noisy: listen for a descriptor there, and keep it, or write to
 * it until it cannot be written to */
static int do_holdpty(char **arg)
{
	struct sockaddr_un addr = unix_address(arg[0]);
	int s = socket(AF_UNIX, SOCK_STREAM, 0), c, fd;
	if (bind(s, (void *)&addr, sizeof addr) < 0 || listen(s, 1) < 0)
		return fail("listen");
	say("ready");
	if ((c = accept(s, NULL, NULL)) < 0 || (fd = descriptor(take_over, c, -1)) < 0 || write(c, "", 1) != 1)
		return fail("receive");
	if (!strcmp(arg[1], "quiet"))
		while (pause())
			;
	static char noise[1 << 16]; /* so much that there is always some */
	while (write(fd, noise, sizeof noise) > 0)
		;
	return 0;
}

/* hear PORT: print who sends datagrams, and what, until that is "end" */
static int do_hear(char **arg)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(arg[0]))};
	char text[64] = "";
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(s, (void *)&a, sizeof a) < 0)
		return fail("bind");
	say("ready");
	while (strcmp(text, "end") != 0) {
		socklen_t size = sizeof a;
		ssize_t n = recvfrom(s, text, sizeof text - 1, 0, (void *)&a, &size);
		if (n < 0)
			return fail("receive");
		text[n] = 0;
		printf("%s %s\n", inet_ntoa(a.sin_addr), text);
		fflush(stdout);
	}
	return 0;
}

/* lie SOURCE ADDRESS PORT: send a datagram from another's address, a router's
 * advertisement, another's link-layer address, a datagram to all DHCP clients, and
 * then "end" as oneself */
static int do_lie(char **arg)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(arg[2]))};
	struct sockaddr_in6 all = {.sin6_family = AF_INET6};
	struct { struct iphdr ip; struct udphdr udp; char text[4]; } packet = {
		.ip = {.version = 4, .ihl = 5, .tot_len = htons(sizeof packet), .ttl = 9, .protocol = IPPROTO_UDP},
		.udp = {.source = htons(9), .dest = htons(atoi(arg[2])), .len = htons(sizeof packet.udp + 4)}, .text = "lie",
	};
	struct sockaddr_in clients = {.sin_family = AF_INET, .sin_port = htons(68), .sin_addr.s_addr = INADDR_BROADCAST};
	unsigned char router[16] = {134, 0, 0, 0, 64, 0, 7, 8}, option[16] = {133, [8] = 1, 1, 2, 0, 0, 0, 0, 17};
	int raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), six = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), hops = 255;
	int udp = socket(AF_INET, SOCK_DGRAM, 0), yes = 1;
	inet_pton(AF_INET, arg[0], &packet.ip.saddr);
	inet_pton(AF_INET, arg[1], &packet.ip.daddr);
	to.sin_addr.s_addr = packet.ip.daddr;
	inet_pton(AF_INET6, "ff02::1", &all.sin6_addr);
	setsockopt(six, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops);
	if (raw < 0 || six < 0 || sendto(raw, &packet, sizeof packet, 0, (void *)&to, sizeof to) < 0)
		return fail("lie");
	if (sendto(six, router, sizeof router, 0, (void *)&all, sizeof all) < 0)
		return fail("advertise");
	if (sendto(six, option, sizeof option, 0, (void *)&all, sizeof all) < 0)
		return fail("solicit");
	setsockopt(udp, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes);
	if (sendto(udp, "offer", 5, 0, (void *)&clients, sizeof clients) < 0)
		return fail("offer");
	if (sendto(udp, "end", 3, 0, (void *)&to, sizeof to) < 0)
		return fail("send");
	return 0;
}

/* outlive: do not die with the parent */
static int do_outlive(char **arg)
{
	if (prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) < 0)
		return fail("prctl");
	return do_wait(arg);
}

static void *go_on(void *arg) { do_outlive(arg); return NULL; }

/* leaderless: the same, with the first thread ended */
static int do_leaderless(char **arg)
{
	pthread_t other;
	if (prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) < 0 || pthread_create(&other, NULL, go_on, arg) != 0)
		return fail("leaderless");
	pthread_exit(NULL);
}

static const struct {
	const char *name;
	int args;
	int (*run)(char **);
} verbs[] = {
	{"exit", 1, do_exit}, {"segv", 0, do_segv}, {"abort", 0, do_abort}, {"raise", 1, do_raise},
	{"blink", 1, do_blink}, {"queue", 1, do_queue}, {"stopping", 0, do_stopping}, {"wait", 0, do_wait}, {"signals", 1, do_signals}, {"args", 0, do_args}, {"sum", 0, do_sum},
	{"env", 0, do_env}, {"cat", 1, do_cat}, {"copy", 0, do_copy},
	{"fds", 0, do_fds}, {"nulls", 0, do_nulls}, {"ignore", 2, do_ignore}, {"block", 1, do_block}, {"deep", 3, do_deep},
	{"open", 2, do_open}, {"create", 1, do_create}, {"mode", 1, do_mode},
	{"mknod", 3, do_mknod}, {"mkdir", 1, do_mkdir},
	{"call", 1, do_call}, {"mount", 1, do_mount}, {"hog", 1, do_hog},
	{"childhog", 1, do_childhog}, {"shmhog", 1, do_shmhog},
	{"forks", 1, do_forks}, {"addrs", 0, do_addrs}, {"serve", 1, do_serve},
	{"talk", 3, do_talk}, {"knock", 2, do_knock}, {"tty", 0, do_tty}, {"upper", 0, do_upper}, {"raw", 1, do_raw},
	{"digest", 1, do_digest}, {"fill", 1, do_fill}, {"winch", 0, do_winch}, {"orphan", 0, do_orphan},
	{"inject", 1, do_inject}, {"after", 2, do_after}, {"stops", 1, do_stops}, {"stopterm", 0, do_stopterm}, {"meddle", 2, do_meddle},
	{"interrupt", 2, do_interrupt}, {"line", 1, do_line}, {"keys", 0, do_keys}, {"job", 0, do_job},
	{"hand", 1, do_hand}, {"holdpty", 2, do_holdpty},
	{"burn", 2, do_burn}, {"spend", 1, do_spend}, {"sleep", 1, do_sleep},
	{"repeat", 2, do_repeat}, {"daemon", 2, do_daemon}, {"gate", 1, do_gate}, {"pend", 2, do_pend},
	{"hold", 1, do_hold}, {"cache", 2, do_cache}, {"reserve", 1, do_reserve}, {"bomb", 0, do_bomb},
	{"threads", 1, do_threads}, {"crowd", 1, do_crowd}, {"dups", 0, do_dups},
	{"direct", 4, do_direct}, {"send", 3, do_send}, {"receive", 3, do_receive}, {"blurt", 3, do_blurt}, {"via", 4, do_via},
	{"refuse", 3, do_refuse}, {"orphans", 1, do_orphans}, {"churn", 0, do_churn}, {"hear", 1, do_hear}, {"lie", 3, do_lie}, {"outlive", 0, do_outlive}, {"leaderless", 0, do_leaderless}, {"given", 1, do_given}, {"show", 1, do_show},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof verbs / sizeof *verbs; i++)
		if (strcmp(argv[1], verbs[i].name) == 0 && argc - 2 >= verbs[i].args)
			return verbs[i].run(argv + 2);
	fprintf(stderr, "probe: no such verb, or too few arguments\n");
	return 200;
}
