/*
 * audit [host=NAME] [NAMESPACE:[INODE]]...: what a program can reach from where it
 * runs, one fact a line: class, item, value, separated by tabs, and sorted. The
 * arguments are the host's name and its links in /proc/self/ns. Nothing is changed:
 * files are opened and not written to, and no system call that a filter lets pass is
 * executed, see filter(). Built by audit-build, which makes names.h.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static char **lines;
static size_t line_count;

static void fact(const char *class, const char *item, const char *value)
{
	if (line_count % 1024 == 0)
		lines = realloc(lines, (line_count + 1024) * sizeof *lines);
	if (asprintf(&lines[line_count++], "%s\t%s\t%s", class, item, *value ? value : "none") < 0)
		abort();
}

static void number(const char *class, const char *item, long value)
{
	char text[32];
	snprintf(text, sizeof text, "%ld", value);
	fact(class, item, text);
}

__attribute__((format(printf, 2, 3))) static const char *form(char *to, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	vsnprintf(to, 4096, format, list);
	va_end(list);
	return to;
}

/* one more word of a set */
static void add(char *set, const char *word)
{
	size_t n = strlen(set);
	snprintf(set + n, 4096 - n, "%s%s", n ? "," : "", word);
}

static const char *outcome(int failed) { return failed ? strerrorname_np(errno) : "allowed"; }

/* ---- what a filter answers ----
 *
 * A filter of our own hands those calls to a supervisor whose last argument is MAGIC.
 * The strictest filter decides, and any refusal is stricter: so what the supervisor
 * sees is what the others let pass. It is answered with PASSED, and not executed. */
enum { MAGIC = 0x5ca1ab1e, PASSED = 3999, KILLED = -1, FIRST_NEWER = 471, LAST = 1023 };

struct call {
	int i386; /* by int $0x80 */
	long number, arg[4];
	int answer; /* an errno, 0 if it seems to succeed, PASSED or KILLED */
	char class[12], item[48], word[16]; /* with a word it is one of a set */
};

static struct { /* shared with the child that makes the calls */
	volatile int done;
	int count;
	struct call call[4096];
} *all;

static void ask(const char *class, const char *item, const char *word, struct call call)
{
	snprintf(call.class, sizeof call.class, "%s", class);
	snprintf(call.item, sizeof call.item, "%s", item);
	snprintf(call.word, sizeof call.word, "%s", word);
	all->call[all->count++] = call;
}

static long make(const struct call *c)
{
#ifdef __x86_64__
	if (c->i386) {
		long r;
		__asm__ volatile("push %%rbp\n mov %2, %%ebp\n int $0x80\n pop %%rbp" : "=a"(r)
			: "0"(c->number), "r"(MAGIC), "b"(c->arg[0]), "c"(c->arg[1]), "d"(c->arg[2]), "S"(c->arg[3]), "D"(0L)
			: "memory", "r8", "r9", "r10", "r11");
		errno = -(int)r;
		return (int)r < 0 ? -1 : (int)r;
	}
#endif
	return syscall(c->number, c->arg[0], c->arg[1], c->arg[2], c->arg[3], 0L, (long)MAGIC);
}

/* answer the child's calls until it has ended; whether by itself */
static int supervise(int listener, pid_t child)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	for (int status;;) {
		struct seccomp_notif in = {0};
		struct seccomp_notif_resp out = {.error = -PASSED};
		if (waitpid(child, &status, WNOHANG) == child)
			return WIFEXITED(status);
		if (poll(&p, 1, 5) <= 0 || ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &in) < 0)
			continue;
		out.id = in.id;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &out);
	}
}

/* filter finds the answers to all calls */
static void filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MAGIC, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {COUNT(code), code};
	int listener, status = 1;
	pid_t tester = fork();
	if (tester == 0) {
		alarm(100);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
		while (listener >= 0 && all->done < all->count) {
			pid_t child = fork();
			if (child == 0) {
				for (; all->done < all->count; all->done++)
					all->call[all->done].answer = make(&all->call[all->done]) == -1 ? errno : 0;
				_exit(0);
			}
			if (!supervise(listener, child) && all->done < all->count)
				all->call[all->done++].answer = KILLED;
		}
		_exit(listener < 0);
	}
	waitpid(tester, &status, 0);
	if (status != 0) {
		fprintf(stderr, "audit: the filters could not be asked\n");
		exit(1);
	}
}

/* each call alone, without arguments */
static const struct { const char *name; int number; } names[] = {
#include "names.h"
	{"cachestat", 451}, {"fchmodat2", 452}, {"map_shadow_stack", 453}, {"futex_wake", 454}, {"futex_wait", 455},
	{"futex_requeue", 456}, {"statmount", 457}, {"listmount", 458}, {"lsm_get_self_attr", 459},
	{"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462}, {"setxattrat", 463}, {"getxattrat", 464},
	{"listxattrat", 465}, {"removexattrat", 466}, {"open_tree_attr", 467}, {"file_getattr", 468},
	{"file_setattr", 469}, {"listns", 470},
};

static const char *name_of(int n)
{
	for (size_t i = 0; i < COUNT(names); i++)
		if (names[i].number == n)
			return names[i].name;
	return n < FIRST_NEWER ? "(numbers without a name)" : "(numbers above 470)";
}

#ifdef __x86_64__ /* the kernel lets uretprobe and uprobe pass by every filter, and kills who uses them */
static int unfiltered(int n) { return n == 335 || n == 336; }
#else
static int unfiltered(int n) { return n < 0; }
#endif

/* sets: of what values of an argument a call accepts */
static const struct { const char *item; long number; int arg, first, last; long fixed[3]; } sets[] = {
	{"netlink protocols", SYS_socket, 2, 0, 22, {AF_NETLINK, SOCK_RAW}},
	{"ptrace requests", SYS_ptrace, 0, 0, 33, {0}},
	{"ptrace requests, new", SYS_ptrace, 0, 0x4200, 0x4213, {0}},
	{"keyctl operations", SYS_keyctl, 0, 0, 32, {0}},
	{"prctl options", SYS_prctl, 0, 1, 80, {0}},
	{"bpf commands", SYS_bpf, 0, 0, 38, {0}},
	{"rlimits set", SYS_prlimit64, 1, 0, 15, {0, 0, 1}},
	{"priorities set", SYS_setpriority, 0, 0, 2, {0, 0, 19}},
	{"io_uring operations", SYS_io_uring_register, 1, 0, 37, {0}},
};

static const struct { const char *item; long number, arg[4]; } ones[] = {
	{"ioctl TIOCSTI", SYS_ioctl, {0, 0x5412}}, {"ioctl TIOCLINUX", SYS_ioctl, {0, 0x541c}},
	{"ioctl TIOCSCTTY", SYS_ioctl, {0, 0x540e}}, {"ioctl TIOCSETD", SYS_ioctl, {0, 0x5423}},
	{"personality PER_LINUX", SYS_personality, {0}}, {"personality PER_LINUX32", SYS_personality, {8}},
	{"personality UNAME26", SYS_personality, {0x20000}}, {"personality UNAME26|PER_LINUX32", SYS_personality, {0x20008}},
	{"personality query", SYS_personality, {0xffffffff}},
	{"personality ADDR_NO_RANDOMIZE", SYS_personality, {0x40000}}, {"personality READ_IMPLIES_EXEC", SYS_personality, {0x400000}},
	{"personality MMAP_PAGE_ZERO", SYS_personality, {0x100000}}, {"personality PER_BSD", SYS_personality, {6}},
	{"prctl PR_SET_SECUREBITS all", SYS_prctl, {PR_SET_SECUREBITS, 0xff}},
	{"prctl PR_CAP_AMBIENT_RAISE", SYS_prctl, {PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE}},
	{"prctl PR_SET_PTRACER any", SYS_prctl, {PR_SET_PTRACER, -1}},
	{"ptrace PTRACE_SEIZE TRACEEXIT", SYS_ptrace, {PTRACE_SEIZE, 0, 0, PTRACE_O_TRACEEXIT}},
	{"mmap PROT_WRITE|PROT_EXEC", SYS_mmap, {0, 4096, 7}},
	{"setns any", SYS_setns, {0}}, {"setns CLONE_NEWNET", SYS_setns, {0, CLONE_NEWNET}},
};

static const struct { const char *name; long flag; } spaces[] = {
	{"NEWUSER", CLONE_NEWUSER}, {"NEWNS", CLONE_NEWNS}, {"NEWCGROUP", CLONE_NEWCGROUP}, {"NEWUTS", CLONE_NEWUTS},
	{"NEWIPC", CLONE_NEWIPC}, {"NEWPID", CLONE_NEWPID}, {"NEWNET", CLONE_NEWNET}, {"NEWTIME", 0x80},
};

static const struct { const char *name; int type; } types[] = {
	{"stream", SOCK_STREAM}, {"dgram", SOCK_DGRAM}, {"raw", SOCK_RAW}, {"seqpacket", SOCK_SEQPACKET}, {"packet", SOCK_PACKET},
};

static void ask_all(void)
{
	char text[4096], word[4096];
	for (int kind = 0; kind < 3; kind++)
		for (int n = 0; n <= LAST; n++)
			if (!unfiltered(n) && kind == (*name_of(n) != '(' ? 0 : n < FIRST_NEWER ? 1 : 2))
				ask("call", name_of(n), "", (struct call){.number = n});
	for (size_t k = 0; k < COUNT(sets); k++)
		for (int v = sets[k].first; v <= sets[k].last; v++) {
			struct call c = {.number = sets[k].number, .arg = {sets[k].fixed[0], sets[k].fixed[1], sets[k].fixed[2]}};
			c.arg[sets[k].arg] = v;
			ask("set", sets[k].item, form(word, "%d", v), c);
		}
	for (int family = 0; family <= 45; family++)
		for (size_t k = 0; k < COUNT(types); k++)
			ask("set", form(text, "sockets of family %d", family), types[k].name, (struct call){.number = SYS_socket, .arg = {family, types[k].type}});
	for (size_t k = 0; k < COUNT(ones); k++)
		ask("argument", ones[k].item, "", (struct call){.number = ones[k].number, .arg = {ones[k].arg[0], ones[k].arg[1], ones[k].arg[2], ones[k].arg[3]}});
	for (size_t k = 0; k < COUNT(spaces); k++) {
		ask("argument", form(text, "unshare %s", spaces[k].name), "", (struct call){.number = SYS_unshare, .arg = {spaces[k].flag}});
		if (spaces[k].flag > 0xff) /* below are signals */
			ask("argument", form(text, "clone %s", spaces[k].name), "", (struct call){.number = SYS_clone, .arg = {spaces[k].flag}});
	}
#ifdef __x86_64__
	ask("entry", "i386 getpid", "", (struct call){.number = 20, .i386 = 1});
	ask("entry", "i386 socketcall", "", (struct call){.number = 102, .arg = {1}, .i386 = 1});
	ask("entry", "x32 getpid", "", (struct call){.number = 0x40000000 | SYS_getpid});
#endif
}

/* answers reports what neighbours of the same name let pass: the words, or any */
static void answers(void)
{
	for (int i = 0, next; i < all->count; i = next) {
		const struct call *c = &all->call[i];
		int a = c->answer;
		const char *value = a == KILLED ? "killed" : a == 0 ? "ignored" : strerrorname_np(a);
		char set[4096] = "";
		for (next = i; next < all->count && strcmp(all->call[next].item, c->item) == 0; next++)
			if (all->call[next].answer == PASSED) {
				value = "allowed";
				add(set, all->call[next].word);
			}
		fact(c->class, c->item, *c->word ? set : value ? value : "refused");
	}
}

/* ---- what the kernel grants ---- */

static const char *capabilities[] = {
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable",
	"net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio",
	"sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time",
	"sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog",
	"wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
};

static void status(void)
{
	static const char *keys[] = {"CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"};
	static const char *words[] = {"bounding", "effective", "permitted", "inheritable", "ambient"};
	unsigned long long mask[5] = {0}, value;
	char line[4096], key[32], set[4096];
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "%31[^:]: %llx", key, &value) != 2)
			continue;
		for (int i = 0; i < 5; i++)
			if (strcmp(key, keys[i]) == 0)
				mask[i] = value;
		if (strcmp(key, "NoNewPrivs") == 0)
			fact("state", "no_new_privs", value ? "on" : "off");
		if (strcmp(key, "Seccomp") == 0)
			fact("state", "seccomp", value == 2 ? "on" : "off");
	}
	for (size_t c = 0; c < COUNT(capabilities); c++) {
		*set = 0;
		for (int i = 0; i < 5; i++)
			if (mask[i] >> c & 1)
				add(set, words[i]);
		fact("set", form(line, "capability %s", capabilities[c]), set);
	}
	number("count", "dumpable", prctl(PR_GET_DUMPABLE));
}

static void self(char **arg)
{
	static const char *kinds[] = {"mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"};
	static const char *usual[] = {"PATH=", "HOME=", "HOSTNAME=", "TERM=", "container="};
	char path[4096], link[256], set[4096] = "";
	struct utsname uts;
	struct rlimit core;
	long extra = 0, strange = 0;
	uname(&uts);
	for (size_t k = 0; k < COUNT(kinds); k++) {
		ssize_t n = readlink(form(path, "/proc/self/ns/%s", kinds[k]), link, sizeof link - 1);
		link[n < 0 ? 0 : n] = 0;
		const char *whose = n < 0 ? "host" : "own";
		for (char **a = arg; *a; a++)
			if (strcmp(*a, link) == 0)
				whose = "host";
		fact("namespace", kinds[k], whose);
	}
	for (; *arg; arg++)
		if (strncmp(*arg, "host=", 5) == 0)
			fact("namespace", "host name", strcmp(*arg + 5, uts.nodename) == 0 ? "host" : "own");
	for (int fd = 3; fd < 4096; fd++)
		extra += fcntl(fd, F_GETFD) >= 0;
	number("count", "descriptors above 2", extra);
	getrlimit(RLIMIT_CORE, &core); /* 1: not even the host's core_pattern program */
	fact("state", "core dumps kept off the host", core.rlim_max == 1 ? "on" : "off");
	for (char **e = environ; *e; e++) {
		int known = 0;
		for (size_t i = 0; i < COUNT(usual); i++)
			known |= strncmp(*e, usual[i], strlen(usual[i])) == 0;
		if (!known)
			add(set, form(path, "%.*s", (int)strcspn(*e, "="), *e));
	}
	fact("set", "variables of the caller", set);
	FILE *f = fopen("/proc/net/unix", "r");
	while (f && fgets(path, sizeof path, f))
		strange += strchr(path, '@') != NULL;
	number("count", "abstract sockets", strange);
}

/* ---- files ---- */

static const char *access_of(const char *path, const struct stat *st)
{
	int device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode), got = 0, refused;
	char byte;
	alarm(2); /* for those that would wait; the handler does nothing */
	int r = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	refused = r < 0 && (errno == EPERM || errno == EACCES);
	/* What only root may read may act on it: zram-control/hot_add makes a device. */
	if (r >= 0)
		got = device || !(st->st_mode & 0004) || read(r, &byte, 1) > 0;
	/* Root may open any file for writing; few have a mode for it. */
	int w = st->st_mode & 0222 ? open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY) : -1;
	alarm(0);
	close(r);
	close(w);
	if (w >= 0)
		return got ? "rw" : "wo";
	if (device && r < 0)
		return refused ? "none" : "absent";
	return got ? "ro" : r >= 0 ? "empty" : "none";
}

static int below(const char *path, const char *dir) { return strncmp(path, dir, strlen(dir)) == 0; }
static int pid_like(const char *name) { return name[strspn(name, "0123456789")] == 0; }

static int skipped(const char *path, const char *name)
{
	if (strcmp(path, "/proc") == 0)
		return pid_like(name) || strcmp(name, "self") == 0 || strcmp(name, "thread-self") == 0;
	return (strcmp(path, "/sys/fs") == 0 && strcmp(name, "cgroup") == 0) || (strcmp(path, "/dev/pts") == 0 && pid_like(name));
}

static int writable_files;

/* walk reports files, of the big trees one in each directory, and directories of
 * which nothing is shown or that could be written to */
static void walk(const char *class, const char *path, int depth)
{
	struct dirent **list;
	struct statfs fs;
	char file[8192];
	int slab = below(path, "/sys/kernel/slab"), big = slab || below(path, "/sys/devices") || below(path, "/sys/module"), sampled = 0;
	int n = scandir(path, &list, NULL, alphasort), files = strcmp(class, "path") == 0;
	int masked = n == 2 && statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
	int writable = statfs(path, &fs) == 0 && !(fs.f_flags & ST_RDONLY);
	if (files && (n < 0 || masked))
		fact(class, path, n < 0 ? "none" : "masked");
	else if (files && writable && below(path, "/sys"))
		fact(class, path, "rw");
	writable_files += writable && strcmp(class, "cgroup") == 0;
	for (int i = 0; i < n; free(list[i++])) {
		struct stat st;
		snprintf(file, sizeof file, "%s/%s", path, list[i]->d_name);
		if (list[i]->d_name[0] == '.' || skipped(path, list[i]->d_name) || lstat(file, &st) < 0)
			continue;
		int device = S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode);
		if (S_ISDIR(st.st_mode) && depth > 1 && !(slab && sampled++))
			walk(class, file, depth - 1);
		else if (strcmp(class, "device") == 0 && device)
			fact(class, file, access_of(file, &st));
		else if (files && device)
			fact(class, file, "masked");
		else if (files && S_ISREG(st.st_mode) && !(big && sampled++))
			fact(class, file, access_of(file, &st));
		else if (strcmp(class, "cgroup") == 0 && S_ISREG(st.st_mode))
			writable_files += strchr(access_of(file, &st), 'w') != NULL;
	}
	if (n >= 0)
		free(list);
}

static void attempt(const char *item, int result) { fact("attempt", item, outcome(result < 0)); }

/* attempts are the last that is done: they may succeed */
static void attempts(void)
{
	const struct { const char *what; mode_t type; dev_t number; } nodes[] = {
		{"null", S_IFCHR, makedev(1, 3)}, {"memory", S_IFCHR, makedev(1, 1)}, {"console", S_IFCHR, makedev(5, 1)},
		{"tun", S_IFCHR, makedev(10, 200)}, {"disk", S_IFBLK, makedev(7, 0)},
	};
	static const char *files[] = {"/dev/audit-node", "/tmp/audit-node"};
	char text[4096];
	for (size_t i = 0; i < 2 * COUNT(nodes); i++) {
		form(text, "mknod of %s in %.4s", nodes[i / 2].what, files[i % 2]);
		attempt(text, mknod(files[i % 2], nodes[i / 2].type | 0600, nodes[i / 2].number));
		unlink(files[i % 2]);
	}
	attempt("a packet socket", socket(AF_PACKET, SOCK_RAW, 0));
	attempt("raise the priority", setpriority(PRIO_PROCESS, 0, -1));
	int failed = mount("none", "/tmp", "no such", 0, NULL);
	attempt("mount", errno == ENODEV ? 0 : failed);
	for (size_t k = COUNT(spaces); k > 0; k--) /* last that of users: it gives all */
		attempt(form(text, "unshare %s", spaces[k - 1].name), unshare(spaces[k - 1].flag));
}

/* the mounts, but for those that mask: the files say that */
static void mounts(void)
{
	char line[8192], where[4096], options[4096], set[4096];
	FILE *f = fopen("/proc/self/mountinfo", "r");
	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "%*s %*s %*s %*s %4095s %4095s", where, options) != 2 || below(where, "/proc/") ||
		    (below(where, "/sys/") && strcmp(where, "/sys/fs/cgroup") != 0))
			continue;
		*set = 0;
		for (char *o = strtok(options, ","); o; o = strtok(NULL, ","))
			if (strcmp(o, "ro") == 0 || strcmp(o, "nosuid") == 0 || strcmp(o, "nodev") == 0 || strcmp(o, "noexec") == 0)
				add(set, o);
		fact("mount", where, set);
	}
}

static void nothing(int sig) { (void)sig; }
static int by_text(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

int main(int argc, char **argv)
{
	struct sigaction wake = {.sa_handler = nothing}; /* without SA_RESTART */
	(void)argc;
	all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		return 1;
	self(argv + 1);
	status();
	ask_all();
	filter();
	answers();
	sigaction(SIGALRM, &wake, NULL);
	mounts();
	walk("path", "/proc", 4);
	walk("path", "/sys", 6);
	walk("device", "/dev", 3);
	walk("device", "/nodes", 1);
	walk("cgroup", "/sys/fs/cgroup", 4);
	number("count", "writable files of cgroups", writable_files);
	attempts();
	qsort(lines, line_count, sizeof *lines, by_text);
	for (size_t i = 0; i < line_count; i++)
		puts(lines[i]);
	return 0;
}
