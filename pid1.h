/* What contain and the container's init say to each other, see pid1.c. */
#ifndef PID1_H
#define PID1_H

#include <stdint.h>

/* Descriptors. PID1_REPORT is a socket: contain answers UNLIMITED and READY with one byte.
 * PID1_SETUP, PID1_ROOTFS and from PID1_FILES on two are not pid1's but init.go's. From
 * PID1_JOIN on lie those that lead into the cgroups of the program. */
enum { PID1_REPORT = 3, PID1_IMAGE, PID1_TASK, PID1_SETUP, PID1_ROOTFS, PID1_FILES, PID1_JOIN = PID1_FILES + 2 };

/* At the start of the file behind PID1_TASK. Then follow the filter, the CPU
 * mask, and strings, each with its zero: paths to try, arguments, environment. */
struct task {
	uint64_t mask;		    /* of blocked signals, for the program */
	uint64_t ignored;	    /* and of ignored ones */
	uint64_t caps;		    /* its capabilities */
	uint32_t direct;	    /* the program itself becomes PID 1 */
	uint32_t session;	    /* it gets a session, else only a process group */
	uint32_t into;		    /* PID1_JOIN is a v2 cgroup to make it in */
	uint32_t joins;		    /* number of files to write "0" to instead */
	uint32_t first;		    /* to so many of them by pid1 too */
	uint32_t filter;	    /* number of struct sock_filter; 0: none */
	uint32_t cpus;		    /* number of uint64_t of its CPU mask */
	uint32_t paths, args, envs; /* numbers of strings */
	uint32_t tty;		    /* which of fd 0 to 2 are to be the terminal; else 0 */
	uint32_t foreground;	    /* the program begins in its foreground */
	uint32_t uid, gid;	    /* whom the program runs as */
	uint32_t privs;		    /* it may gain privileges: no_new_privs is off */
	uint32_t workdir;	    /* the first string is where it begins, else / */
};

/* With these values, by sigqueue(3), contain sends a signal that is for the whole
 * process group of the program, as a terminal's are; and a SIGCONT before which
 * the group is to become the terminal's foreground. */
#define PID1_TO_GROUP 0x70756f72
#define PID1_TO_FRONT 0x6e6f7266

/* More than the kernel takes for arguments and environment together. */
#define PID1_TASK_MAX (64L << 20)

/* What is reported. Up to NOT_EXECUTED the value is an errno. */
enum {
	PID1_NOT_STARTED = 0x31444950, /* no process for the program */
	PID1_NO_TERMINAL,	       /* it cannot have the terminal */
	PID1_NOT_JOINED,	       /* it cannot enter its cgroup */
	PID1_NOT_PINNED,	       /* or be bound to its CPUs */
	PID1_NOT_UNSHARED,	       /* or have a cgroup namespace */
	PID1_NOT_DROPPED,	       /* or be rid of capabilities */
	PID1_NOT_USER,		       /* or become another user */
	PID1_NO_WORKDIR,	       /* or enter its working directory */
	PID1_NOT_FILTERED,	       /* the kernel refuses the filter */
	PID1_NOT_EXECUTED,
	PID1_NETNS,	/* init.go's: the network namespace is ready for an interface */
	PID1_UNLIMITED,	/* the process that becomes another user's waits for its limits */
	PID1_READY,	/* the program waits to be told to start */
	PID1_STOPPED,	/* value: by which signal */
	PID1_CONTINUED, /* after that */
	PID1_ENDED,	/* value: a wait status */
};

/* The exit status of what has not become the program. */
#define PID1_FAILED 125

struct report {
	uint32_t kind;
	int32_t value;
};

#endif
