/* Contain at rest: see rest.c and asleep.c. */
#ifndef REST_H
#define REST_H

#include "signals.h"

#include <stdint.h>

/* The variable that says which process is at rest, which descriptor is the file that
 * begins with struct rest, and whether that has slept: then, since when the report can be
 * read, in digits from 'a', the least first. */
#define REST_VARIABLE "_CONTAIN_AT_REST"
#define WOKEN_NOT "----------------"
enum { WOKEN_DIGITS = sizeof WOKEN_NOT - 1 };

struct rest {
	int32_t pid;	  /* of contain */
	int32_t program;  /* a pidfd, of what signals are passed to */
	int32_t exe;	  /* contain's file */
	int32_t notes[2]; /* the pipe of note_signal */
	char name[16];	  /* the process's, PR_GET_NAME */
	uint64_t caught;  /* the signals that are passed on, a mask: bit 0 is signal 1 */
	uint64_t noted;	  /* of these, those of note_signal */
	struct stop until;
	int64_t end; /* by the wall time of that, clock_ms() */

	/* When the kernel has killed for the memory limit, v1: the file memory.oom_control
	 * counts a kill, and one of the others has reached that number of bytes. Or -1. */
	int32_t oom_control, peak[2];
	uint64_t full[2];
};

int rest_begin(char **argv, char **envp, int exe);
int rest_was(void);

/* need_room ends the process if a limit is too low for Go to begin. In init.go. */
void need_room(void);

/* Set when contain has woken: the file; when until.report said so, CLOCK_MONOTONIC
 * nanoseconds, or 0; and whether the program was killed because its time was up. */
extern int rest_file, rest_killed;
extern long long rest_ended;

#endif
