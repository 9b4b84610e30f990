/* What contain does about signals in C, see signals.c. */
#ifndef SIGNALS_H
#define SIGNALS_H

/* Added to a signal that the kernel has sent, to contain's whole process group. */
enum { NOTE_TO_GROUP = 0x80 };

int notes_to(int fd);
void note_signal(int sig);
void passed_on_cont(void);
void stop_as(int sig, int report, int oom);

#endif
