/* What contain does about signals in C, see signals.c. */
#ifndef SIGNALS_H
#define SIGNALS_H

enum { NOTE_TO_GROUP = 0x80 };

/* The value of the SIGCONT by which stop_as resumes contain. */
#define RESUMED 0x64656d75

int note_signal(int sig, int fd);

/* When a stop is to end, other than by a SIGCONT. */
struct stop {
	int report; /* when there is something to read from this */
	int oom;    /* or this; or -1 */

	long long wall;		  /* after so many milliseconds; or -1 */
	int usage;		  /* when the number in this file, CPU time used, */
	long long limit;	  /* reaches this; or usage is -1 */
	long long millisecond;	  /* in its unit, */
	long long parallel;	  /* so many CPUs use it at most */
};

/* When it would have ended by its wall time is end, clock_ms() + wall. In asleep.c. */
long long left(const struct stop *until, long long end);
long long clock_ms(void);

int stop_as(int sig, int group, const struct stop *until);

#endif
