// The other lives of this binary: libcontainer executes it again as the
// container's init (libcontainer/README.md, "Using libcontainer"), and under
// systemd contain does as the scope's keeper.

package main

/*
#cgo LDFLAGS: -Wl,--wrap=pthread_create -Wl,--wrap=sigaction -Wl,--wrap=setgroups -Wl,--wrap=setgid -Wl,--wrap=setuid
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "pid1.h"
#include "rest.h"
#include "threads.h"

// The signals that were ignored when the process began, as a mask. The Go
// runtime replaces most of them by its own handlers before any Go code runs.
static unsigned long long ignored_at_start;
static sigset_t blocked_at_start;

// keep is the whole life of a keeper (systemd.go): it ends when contain, which
// holds the other end of its stdin, ends or wants it to.
static void keep(void) {
	char b;
	while (read(0, &b, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

extern char **environ;

// forget_go hides what the Go runtime would heed of the caller's environment,
// GOMAXPROCS, GODEBUG and others: some print, some end the process; and what nsexec
// would. The names are changed in place, for the runtime looks for the auxiliary vector
// behind the variables.
static void forget_go(void) {
	static const char pipe[] = "_LIBCONTAINER_INITPIPE=";
	for (char **variable = environ; *variable; variable++)
		if (strncmp(*variable, "GO", 2) == 0)
			**variable = '_';
		else if (strncmp(*variable, pipe, sizeof pipe - 1) == 0)
			**variable = '-';
}

// need ends the process if a limit of the caller's is too low for the Go runtime,
// which would print its stack and exit with 2, or for what contain itself writes. All
// signals are blocked, or SIGPIPE is ignored.
static void need(int resource, rlim_t least, const char *limit) {
	struct rlimit r;
	if (getrlimit(resource, &r) < 0 || r.rlim_cur >= least)
		return;
	dprintf(2, "contain: %s is %llu: too low, contain itself needs %llu\n", limit,
		(unsigned long long)r.rlim_cur, (unsigned long long)least);
	_exit(125);
}

void need_room(void) {
	need(RLIMIT_NOFILE, 64, "the limit of open files (ulimit -n)");
	need(RLIMIT_AS, 1900000 * 1024ULL, "the limit of address space in bytes (ulimit -v)");
	need(RLIMIT_DATA, 400000 * 1024ULL, "the limit of data in bytes (ulimit -d)");
}

static void need_limits(void) {
	need_room();
	need(RLIMIT_FSIZE, 65536, "the limit of file sizes in bytes (ulimit -f)");
}

static void see_files(void);

static void see_signals(void) {
	for (int sig = 1; sig <= 64; sig++) {
		unsigned long old[4]; // the kernel's struct; libc would hide 32 and 33
		if (syscall(SYS_rt_sigaction, sig, NULL, old, 8) == 0 && old[0] == (unsigned long)SIG_IGN)
			ignored_at_start |= 1ULL << (sig - 1);
	}
	sigprocmask(SIG_SETMASK, NULL, &blocked_at_start);
}

// Runs before nsexec, libcontainer's own constructor: that one takes over the
// process whenever _LIBCONTAINER_INITPIPE is set, so a caller's environment
// must not be able to set it. argv[0] tells the re-exec from the user; it is
// read from /proc because musl gives constructors no arguments.
__attribute__((constructor(101)))
static void before_everything(void) {
	char name[32] = "";
	one_arena();
	if (rest_was()) {
		few_processors(0);
		see_signals();
		return;
	}
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, name, sizeof name - 1) < 0) {
		// Of an init, contain says that it has ended.
		int err = errno;
		signal(SIGPIPE, SIG_IGN);
		if (getenv("_LIBCONTAINER_INITPIPE") == NULL) {
			need_limits();
			dprintf(2, "contain: read /proc/self/cmdline: %s\n", strerror(err));
		}
		_exit(125);
	}
	close(fd);
	see_signals();
	if (strcmp(name, "contain-keeper") == 0)
		keep();
	if (strcmp(name, "contain-init") != 0) {
		forget_go();
		few_processors(0);
		// Until they are caught; and children begin with what the first thread
		// had blocked: what a terminal sends to the whole process group is for
		// contain, not for an init that has not left the group yet.
		sigset_t all;
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, NULL);
		need_limits(); // it prints: no SIGPIPE
		see_files();
	} else {
		complain_to(PID1_REPORT);
		few_processors(1);
	}
}

// The descriptors from 3 on that the caller has left open, or -1 in their number: too many
// to tell. The program does not get them, but they stay open as long as contain is there:
// a lock, or the other end of a pipe, may depend on it.
static int files_of_caller[64], files_of_caller_count;

static void see_files(void) {
	char list[4096];
	int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n;
	while (dir >= 0 && (n = syscall(SYS_getdents64, dir, list, sizeof list)) > 0) {
		for (long i = 0; i < n && files_of_caller_count >= 0;) {
			struct dirent *entry = (struct dirent *)(list + i);
			int fd = atoi(entry->d_name);
			i += entry->d_reclen;
			if (fd <= 2 || fd == dir)
				continue;
			if (files_of_caller_count == sizeof files_of_caller / sizeof *files_of_caller)
				files_of_caller_count = -1;
			else
				files_of_caller[files_of_caller_count++] = fd;
		}
	}
	if (dir >= 0)
		close(dir);
}

static int count_files(void) {
	return files_of_caller_count;
}

static int file_of_caller(int i) {
	return files_of_caller[i];
}

static unsigned long long was_blocked(void) {
	unsigned long long mask = 0;
	for (int sig = 1; sig <= 64; sig++)
		if (sigismember(&blocked_at_start, sig) == 1)
			mask |= 1ULL << (sig - 1);
	return mask;
}

static unsigned long long was_ignored(void) {
	return ignored_at_start;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // the C half: makes the namespaces before Go starts
	"golang.org/x/sys/unix"
)

// initName is argv[0] of libcontainer's init, known to before_everything too.
const initName = "contain-init"

// reportFD is one end of a socket pair, of which contain has the other: the
// first of libcontainer's ExtraFiles. It is pid1's; before, the init tells by it that the
// network namespace is ready, or in words why it has ended.
const reportFD = C.PID1_REPORT

// init runs before main, and does something in the container's init only.
func init() {
	if len(os.Args) == 0 || os.Args[0] != initName || os.Getenv("_LIBCONTAINER_INITPIPE") == "" {
		return
	}
	dieWithParent()
	beginSetup()
	detachStdio()
	libcontainer.Init() // does not return
}

// dieWithParent makes the kernel kill this process, and with it the whole PID
// namespace, when contain ends, however it ends. libcontainer's own
// ParentDeathSignal does not reach here: nsexec's clones clear it. Once set, it
// survives libcontainer's change of credentials; pid1 asks again, for its exec may
// clear it.
//
// contain may have died already, and getppid(2) cannot tell across PID
// namespaces: the socket whose other end only contain holds does.
func dieWithParent() {
	err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	if err != nil {
		os.Exit(exitFailed)
	}
	contain := []unix.PollFd{{Fd: reportFD}}
	if n, err := unix.Poll(contain, 0); err != nil || n != 0 {
		os.Exit(exitFailed)
	}
}

// beginSetup does what contain has told of in the file behind setupFD. Mounts of the host
// are shared with the init, in both directions, until they are made private.
func beginSetup() {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		failSetup(fmt.Errorf("make the mounts private: %w", err))
	}
	f := os.NewFile(setupFD, "setup")
	s, err := readSetup(f)
	if err == nil {
		err = then(s.do(), f.Close())
	}
	if err != nil {
		failSetup(err)
	}
}

const setupFD = C.PID1_SETUP

// failSetup ends the init, which contain says the reason of.
func failSetup(err error) {
	fmt.Fprintln(os.NewFile(reportFD, "report"), err)
	os.Exit(exitFailed)
}

// rootfsFD is the rootfs, a tree of mounts that is attached nowhere.
const rootfsFD = C.PID1_ROOTFS

// mountRootfs mounts the rootfs at the place that libcontainer takes it from. It
// has made that its working directory. What is mounted in it from now on is seen in here
// only: where DIR is on a shared mount, this tree is its peer still.
func mountRootfs() error {
	place, err := os.Getwd()
	if err == nil {
		err = makeReachable(place)
	}
	if err == nil {
		err = unix.MoveMount(rootfsFD, "", unix.AT_FDCWD, place, unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	if err == nil {
		err = unix.Mount("", pathOf(rootfsFD), "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err == nil {
		err = mountOwnFiles(rootfsFD, C.PID1_FILES)
	}
	return err
}

// makeReachable makes a place for the rootfs at the path dir, if this process cannot go
// there: root of a user namespace has no rights in the host's directories. It sees its
// own from now on.
func makeReachable(dir string) error {
	if _, err := os.Lstat(dir + "/."); !errors.Is(err, unix.EACCES) {
		return err
	}
	top, _, _ := strings.Cut(dir[1:], "/")
	if err := unix.Mount("tmpfs", "/"+top, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	return os.MkdirAll(dir, 0o755)
}

// detachStdio keeps libcontainer's hands off the descriptors 0 to 2, which are
// the program's: it would make root the owner of the files behind them
// (fixStdioPermissions), for good, and print its last error there. It knows
// them as os.Stdin, os.Stdout and os.Stderr.
func detachStdio() {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		os.Exit(exitFailed)
	}
	programStdio = [3]*os.File{os.Stdin, os.Stdout, os.Stderr}
	os.Stdin, os.Stdout = null, null
	os.Stderr = os.NewFile(reportFD, "report")
}

// waitForThreads has the Go runtime wait for a thread that cannot be started, for as
// long as it takes; before, contain ends after a moment, see threads.c.
func waitForThreads() { C.be_patient() }

// programStdio keeps the garbage collector from closing descriptors 0 to 2.
var programStdio [3]*os.File

// ignoredByCaller tells whether the process was started with sig ignored.
func ignoredByCaller(sig unix.Signal) bool { return ignoredMask()>>(sig-1)&1 != 0 }

// ignoredMask is the mask of those signals: bit 0 is signal 1.
func ignoredMask() uint64 { return uint64(C.was_ignored()) }

// filesOfCaller are the descriptors from 3 on that contain was started with; false: they
// are too many to tell.
func filesOfCaller() (fds []int, ok bool) {
	n := C.count_files()
	for i := range max(n, 0) {
		fds = append(fds, int(C.file_of_caller(i)))
	}
	return fds, n >= 0
}

// blockedByCaller is the mask of signals that the process was started with.
func blockedByCaller() uint64 { return uint64(C.was_blocked()) }
