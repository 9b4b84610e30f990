#ifndef THREADS_H
#define THREADS_H

/* complain_to has it said on fd that a thread cannot be started. */
void complain_to(int fd);

/* few_processors has the Go runtime that begins next use two processors, or one in an init.
 * It is called once, after forget_go: it moves the auxiliary vector. */
void few_processors(int init);

/* one_arena makes threads cheaper, which are started then. */
void one_arena(void);

/* be_patient has it be waited for, from now on. */
void be_patient(void);

/* As many as the Go runtime starts soon, and more. */
enum { SPARE_THREADS = 12 };
int spare_threads(void);

#endif
