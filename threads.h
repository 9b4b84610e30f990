#ifndef THREADS_H
#define THREADS_H

/* complain_to has it said on fd that a thread cannot be started. */
void complain_to(int fd);

/* few_processors has the Go runtime, when it begins, make do with few. */
void few_processors(int init);

/* be_patient has it be waited for, from now on. */
void be_patient(void);

/* As many as the Go runtime starts soon, and more. */
enum { SPARE_THREADS = 12 };
int spare_threads(void);

#endif
