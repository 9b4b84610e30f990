#ifndef THREADS_H
#define THREADS_H

/* complain_to has it said on fd that a thread cannot be started. */
void complain_to(int fd);

/* be_patient has it be waited for, from now on. */
void be_patient(void);

/* As many as the Go runtime starts soon, and more. */
enum { SPARE_THREADS = 12 };
int spare_threads(void);

#endif
