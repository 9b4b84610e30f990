/* Contain at rest without a C library: see asleep.c. */
#ifndef ASLEEP_H
#define ASLEEP_H

#include "rest.h"

#include <linux/securebits.h>

/* Says that a process was executed to rest, or out of it: who controls what contain begins
 * with, the variable and the descriptors, cannot set it, for that takes CAP_SETPCAP; and it
 * stays, but is of no consequence otherwise: contain raises no ambient capabilities. */
enum { MARK = SECBIT_NO_CAP_AMBIENT_RAISE };

struct sleeper {
	struct rest rest;
	int signals;		/* a signalfd */
	char *memory;		/* what is given back */
	unsigned long size, page;
	char **argv, **envp;	/* what contain is executed with */
	char *woken;		/* WOKEN_DIGITS in a string of envp, see rest.h */
	const char *failed;	/* what is said if it cannot be executed */
	unsigned long length;
};

void fall_asleep(const struct sleeper *s);
void pass(const struct rest *r, int sig, int how);
void pass_all(const struct rest *r, int fd);
int is_readable(int fd);

#endif
