/*
 * The least that the kernel asks for what contain does: the same namespaces, cgroups,
 * mounts, interface and filter, by one system call after another, in one process and
 * the one that becomes the program. Nothing is checked, nothing is undone on an error,
 * nobody reaps or passes signals on: not a tool, but what the tools are measured against.
 *
 *	limit ROOT NAME CPUS BYTES FILTER ADDRESS/LENGTH|- GATEWAY BRIDGE CGROUP... -- program [argument ...]
 *
 * CGROUP is CONTROLLER=DIR: make DIR/NAME there, with the limits of that controller (v2:
 * the only one is "unified"). FILTER is a file of struct sock_filter. The exit status is
 * the program's.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum { most = 16, hard = MS_NOSUID | MS_NOEXEC | MS_NODEV };

/* What argv asks for. */
static char *root, *name, *cpus, *bytes, *filter, *address, *gateway, *bridge, **program;
static struct { const char *controller; char dir[256]; int tasks; } cgroups[most];
static int count;

/* must returns the result of a call; if that has failed, it ends the process. */
static int must(int result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
		_exit(125);
	}
	return result;
}

/* put writes to a file of dir; one that the kernel does not have is passed over. */
static void put(const char *dir, const char *file, const char *text)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s", dir, file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return;
	must(fd, path);
	must(write(fd, text, strlen(text)), path);
	close(fd);
}

static const char *const device_rules[] = {
	"c 1:3 rw", "c 1:5 rw", "c 1:7 rw", "c 1:8 rw", "c 1:9 rw", "c 5:0 rw", "c 5:2 rw", "c 136:* rw",
};

/* limit_cgroup makes the i-th cgroup, sets its limits, and opens the door to it. */
static void limit_cgroup(int i)
{
	const char *controller = cgroups[i].controller, *dir = cgroups[i].dir;
	must(mkdir(dir, 0755), dir);
	if (strcmp(controller, "cpuset") == 0) {
		put(dir, "cpuset.cpus", cpus);
		put(dir, "cpuset.mems", "0");
	} else if (strcmp(controller, "memory") == 0) {
		put(dir, "memory.limit_in_bytes", bytes);
		put(dir, "memory.memsw.limit_in_bytes", bytes);
		put(dir, "memory.kmem.tcp.limit_in_bytes", bytes);
	} else if (strcmp(controller, "pids") == 0) {
		put(dir, "pids.max", "4096");
	} else if (strcmp(controller, "devices") == 0) {
		put(dir, "devices.deny", "a");
		for (unsigned rule = 0; rule < sizeof device_rules / sizeof *device_rules; rule++)
			put(dir, "devices.allow", device_rules[rule]);
	} else if (strcmp(controller, "unified") == 0) { /* but for devices: those are a BPF program */
		put(dir, "cpuset.cpus", cpus);
		put(dir, "memory.max", bytes);
		put(dir, "memory.swap.max", "0");
		put(dir, "memory.oom.group", "1");
		put(dir, "pids.max", "4096");
		cgroups[i].tasks = must(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir);
		return;
	}
	char tasks[512];
	snprintf(tasks, sizeof tasks, "%s/tasks", dir);
	cgroups[i].tasks = must(open(tasks, O_WRONLY | O_CLOEXEC), tasks);
}

/* A batch of netlink messages that go out, and are acknowledged, together. */
static struct batch { _Alignas(struct nlmsghdr) char data[2048]; size_t length; int messages; } batch;

static struct nlmsghdr *message(int type, int flags, const void *body, size_t length)
{
	struct nlmsghdr *m = (struct nlmsghdr *)(batch.data + batch.length);
	*m = (struct nlmsghdr){NLMSG_LENGTH(length), type, NLM_F_REQUEST | NLM_F_ACK | flags, 1, 0};
	memcpy(NLMSG_DATA(m), body, length);
	return m;
}

static struct rtattr *attribute(struct nlmsghdr *m, int type, const void *value, size_t length)
{
	struct rtattr *a = (struct rtattr *)((char *)m + NLMSG_ALIGN(m->nlmsg_len));
	a->rta_type = type;
	a->rta_len = RTA_LENGTH(length);
	if (length > 0)
		memcpy(RTA_DATA(a), value, length);
	m->nlmsg_len = NLMSG_ALIGN(m->nlmsg_len) + RTA_ALIGN(a->rta_len);
	return a;
}

/* nested ends an attribute that the ones after it are in. */
static void nested(struct nlmsghdr *m, struct rtattr *a) { a->rta_len = (char *)m + m->nlmsg_len - (char *)a; }

static void finish(const struct nlmsghdr *m)
{
	batch.length += NLMSG_ALIGN(m->nlmsg_len);
	batch.messages++;
}

static int netlink(void) { return must(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "netlink"); }

/* deliver sends the batch, and waits for all its acknowledgements. */
static void deliver(int fd, const char *what)
{
	must(send(fd, batch.data, batch.length, 0), what);
	while (batch.messages > 0) {
		char answer[4096];
		int n = must(recv(fd, answer, sizeof answer, 0), what);
		for (struct nlmsghdr *m = (struct nlmsghdr *)answer; NLMSG_OK(m, n); m = NLMSG_NEXT(m, n)) {
			const struct nlmsgerr *e = NLMSG_DATA(m);
			errno = -e->error;
			must(e->error, what);
			batch.messages--;
		}
	}
	batch.length = 0;
}

static void set_up(unsigned index)
{
	struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	finish(message(RTM_NEWLINK, 0, &link, sizeof link));
}

/* make_veth makes a pair: NAME on the bridge, and eth0 with index 2 in pid's netns. */
static void make_veth(pid_t pid)
{
	struct ifinfomsg link = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP}, peer = {.ifi_index = 2};
	unsigned master = if_nametoindex(bridge), netns = pid;
	struct nlmsghdr *m = message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
	attribute(m, IFLA_IFNAME, name, strlen(name) + 1);
	attribute(m, IFLA_MASTER, &master, sizeof master);
	struct rtattr *info = attribute(m, IFLA_LINKINFO, NULL, 0);
	attribute(m, IFLA_INFO_KIND, "veth", 4);
	struct rtattr *data = attribute(m, IFLA_INFO_DATA, NULL, 0);
	struct rtattr *other = attribute(m, VETH_INFO_PEER, &peer, sizeof peer);
	attribute(m, IFLA_IFNAME, "eth0", 5);
	attribute(m, IFLA_NET_NS_PID, &netns, sizeof netns);
	nested(m, other);
	nested(m, data);
	nested(m, info);
	finish(m);
	int fd = netlink();
	deliver(fd, "veth");
	close(fd);
}

/* configure gives eth0 its address and the default route, in the netns of this process. */
static void configure(int fd)
{
	char *slash = strchr(address, '/');
	*slash = 0;
	struct in_addr own, via;
	inet_pton(AF_INET, address, &own);
	inet_pton(AF_INET, gateway, &via);
	unsigned index = 2;
	set_up(index);
	struct ifaddrmsg a = {.ifa_family = AF_INET, .ifa_prefixlen = atoi(slash + 1), .ifa_index = index};
	struct nlmsghdr *m = message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &a, sizeof a);
	attribute(m, IFA_LOCAL, &own, sizeof own);
	attribute(m, IFA_ADDRESS, &own, sizeof own);
	finish(m);
	struct rtmsg r = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC, .rtm_type = RTN_UNICAST};
	m = message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &r, sizeof r);
	attribute(m, RTA_GATEWAY, &via, sizeof via);
	attribute(m, RTA_OIF, &index, sizeof index);
	finish(m);
	deliver(fd, "eth0");
}

static void mount_on(const char *type, const char *where, unsigned long flags, const char *options)
{
	must(mount(type, where, type, flags, options), where);
}

/* show_read_only binds what to where, read-only. What a kernel does not have is passed over. */
static void show_read_only(const char *what, const char *where)
{
	if (mount(what, where, "", MS_BIND | MS_REC, NULL) == 0)
		must(mount("", where, "", hard | MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), where);
}

static void make_devices(void)
{
	static const struct { const char *path; int major, minor; } nodes[] = {
		{"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7},
		{"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0},
	};
	static const char *const links[][2] = {
		{"pts/ptmx", "dev/ptmx"}, {"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"},
		{"/proc/self/fd/1", "dev/stdout"}, {"/proc/self/fd/2", "dev/stderr"},
	};
	umask(0);
	for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++)
		must(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].path);
	umask(022);
	for (unsigned i = 0; i < sizeof links / sizeof *links; i++)
		must(symlink(links[i][0], links[i][1]), links[i][1]);
}

/* show_cgroups mounts each cgroup of this run where runtimes look for their limits. */
static void show_cgroups(void)
{
	if (strcmp(cgroups[0].controller, "unified") == 0) {
		show_read_only(cgroups[0].dir, "sys/fs/cgroup");
		return;
	}
	mount_on("tmpfs", "sys/fs/cgroup", hard, "mode=755,size=64k");
	for (int i = 0; i < count; i++) {
		char where[256];
		snprintf(where, sizeof where, "sys/fs/cgroup/%s", cgroups[i].controller);
		must(mkdir(where, 0755), where);
		show_read_only(cgroups[i].dir, where);
	}
	must(mount("", "sys/fs/cgroup", "", hard | MS_REMOUNT | MS_RDONLY, NULL), "sys/fs/cgroup");
}

/* enter_root makes ROOT, with all that is mounted in it, the root. */
static void enter_root(void)
{
	static const char *const masked[] = {"/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"};
	static const char *const read_only[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
	must(mount("", "/", "", MS_REC | MS_PRIVATE, NULL), "/");
	must(mount(root, root, "", MS_BIND | MS_REC, NULL), root);
	must(chdir(root), root);
	mount_on("proc", "proc", hard, NULL);
	mount_on("tmpfs", "dev", MS_NOSUID | MS_NOEXEC | MS_STRICTATIME, "mode=755,size=65536k");
	must(mkdir("dev/pts", 0755) | mkdir("dev/shm", 0755) | mkdir("dev/mqueue", 0755), "dev");
	mount_on("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5,max=256");
	mount_on("tmpfs", "dev/shm", hard, "mode=1777,size=65536k");
	mount_on("mqueue", "dev/mqueue", hard, NULL);
	mount_on("sysfs", "sys", hard | MS_RDONLY, NULL);
	show_cgroups();
	make_devices();
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount");
	must(chdir("/"), "/");
	for (unsigned i = 0; i < sizeof read_only / sizeof *read_only; i++)
		show_read_only(read_only[i], read_only[i]);
	for (unsigned i = 0; i < sizeof masked / sizeof *masked; i++)
		if (mount("/dev/null", masked[i], "", MS_BIND, NULL) < 0 && errno == ENOTDIR)
			must(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1"), masked[i]);
}

/* drop leaves the program the capabilities that contain does, and the same filter. */
static void drop(int fd)
{
	const unsigned kept = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 13 | 1 << 18 | 1U << 31;
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{kept, kept, 0}};
	for (int i = 0; i <= CAP_LAST_CAP; i++)
		if (i > 31 || !(kept & 1U << i))
			prctl(PR_CAPBSET_DROP, i);
	must(syscall(SYS_capset, &header, data), "capset");
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	static struct sock_filter instructions[BPF_MAXINSNS];
	int length = must(read(fd, instructions, sizeof instructions), filter);
	struct sock_fprog all = {length / sizeof *instructions, instructions};
	must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &all), "seccomp");
}

/* become is the child: it builds its root, enters the cgroups, where mknod is forbidden,
 * when a byte says that eth0 is there, and executes the program. */
static void become(int go)
{
	int profile = must(open(filter, O_RDONLY | O_CLOEXEC), filter);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int fd = netlink();
	set_up(1);
	deliver(fd, "lo");
	sethostname(name, strlen(name));
	setsid();
	enter_root();
	char byte;
	if (*address != '-') {
		must(read(go, &byte, 1) - 1, "the other process");
		configure(fd);
	}
	for (int i = 0; i < count; i++)
		if (strcmp(cgroups[i].controller, "unified") != 0)
			must(write(cgroups[i].tasks, "0", 1), cgroups[i].dir);
	must(unshare(CLONE_NEWCGROUP), "cgroup namespace");
	drop(profile);
	execve(program[0], program, (char *[]){"PATH=/bin", "HOME=/", NULL});
	must(-1, program[0]);
}

static void parse(char **argv)
{
	char **const all[] = {&root, &name, &cpus, &bytes, &filter, &address, &gateway, &bridge};
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		if ((*all[i] = *++argv) == NULL)
			exit(125);
	while (*++argv && strcmp(*argv, "--") != 0 && count < most) {
		cgroups[count].controller = strsep(argv, "=");
		snprintf(cgroups[count++].dir, sizeof cgroups->dir, "%s/%s", *argv, name);
	}
	if (*argv == NULL || argv[1] == NULL || count == 0)
		exit(125);
	program = argv + 1;
}

int main(int argc, char **argv)
{
	(void)argc;
	parse(argv);
	for (int i = 0; i < count; i++)
		limit_cgroup(i);
	int go[2];
	must(pipe2(go, O_CLOEXEC), "pipe");
	struct clone_args args = {
		.flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWTIME,
		.exit_signal = SIGCHLD,
	};
	if (strcmp(cgroups[0].controller, "unified") == 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = cgroups[0].tasks;
	}
	pid_t pid = must(syscall(SYS_clone3, &args, sizeof args), "clone3");
	if (pid == 0)
		become(go[0]);
	if (*address != '-') {
		make_veth(pid);
		must(write(go[1], "x", 1), "the child");
	}
	int status;
	must(waitpid(pid, &status, 0), "wait");
	for (int i = 0; i < count; i++)
		must(rmdir(cgroups[i].dir), cgroups[i].dir);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
