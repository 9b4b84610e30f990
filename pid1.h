/* What contain and the container's init say to each other, see pid1.c. */
#ifndef PID1_H
#define PID1_H

#include <stdint.h>

/* Descriptors. PID1_REPORT is a socket: contain answers READY with one byte. */
enum { PID1_REPORT = 3, PID1_IMAGE = 4, PID1_TASK = 5 };

/* At the start of the file behind PID1_TASK. Then follow the filter, and strings,
 * each with its zero: paths to try, arguments, environment. */
struct task {
	uint64_t mask;		    /* of blocked signals, for the program */
	uint32_t direct;	    /* the program itself becomes PID 1 */
	uint32_t filter;	    /* number of struct sock_filter */
	uint32_t paths, args, envs; /* numbers of strings */
	uint32_t unused;
};

/* More than the kernel takes for arguments and environment together. */
#define PID1_TASK_MAX (64L << 20)

enum {
	PID1_READY = 0x31444950, /* wants to be told to start the program */
	PID1_RUNNING,		 /* value: the program's pid */
	PID1_NOT_FILTERED,	 /* an errno: the kernel refuses the filter */
	PID1_NOT_EXECUTED,	 /* an errno */
	PID1_ENDED,		 /* a wait status */
};

struct report {
	uint32_t kind;
	int32_t value;
};

#endif
